/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * The interface of the kernel's ublk driver up to Linux 7.3, in the kernel's own spelling. It is
 * ours since the headers that distributions package are older than the kernels that we serve.
 * Integers are in host byte order; nothing outside src/abi includes this.
 */
#include "abi/uapi-ctrl.h"   /* IWYU pragma: export */
#include "abi/uapi-io.h"     /* IWYU pragma: export */
#include "abi/uapi-params.h" /* IWYU pragma: export */
