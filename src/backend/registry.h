/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include "backend/backend.h"

/* The one list of backends in this build, NULL-terminated. */
extern const struct backend_ops *const backends[];

/* NULL: this build has no backend of that Type=. */
const struct backend_ops *backend_find(const struct backend_conf_type *type);
