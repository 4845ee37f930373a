/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* How requests and their data go between the kernel and us: CopyMode=, BatchIO=, BufferMemory=. */
#include "device/device-internal.h"

/**
 * data_plane_choose() - what a new device shall be made with
 * @ret_flags:	FEATURE_* to ask for
 *
 * Logging. By the definition, by what the kernel has, and by what the backend can do; settles the
 * limits that depend on it. Return: 0; -EOPNOTSUPP: not here, what the definition asks for.
 */
int data_plane_choose(struct device *d, uint64_t *ret_flags);

/* "zero copy, batched"; of the flags of a device. */
const char *data_plane_to_string(uint64_t flags);
