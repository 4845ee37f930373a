/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include "backend/backend.h"

/* The one list of backends in this build, NULL-terminated. */
extern const struct backend_ops *const backends[];

/* One for each file here; all but registry.c find them through the list. */
extern const struct backend_ops null_backend;
extern const struct backend_ops memory_backend;
extern const struct backend_ops file_backend;
extern const struct backend_ops nbd_backend; /* if the build has libnbd */
extern const struct backend_ops rbd_backend; /* if the build has librbd */

/* NULL: this build has no backend of that Type=. */
const struct backend_ops *backend_find(const struct backend_conf_type *type);
