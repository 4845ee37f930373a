/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backend/registry.h"

#include <stddef.h>

const struct backend_ops *const backends[] = {
	&null_backend, &memory_backend, &file_backend,
#ifdef HAVE_NBD
	&nbd_backend,
#endif
#ifdef HAVE_RBD
	&rbd_backend,
#endif
	NULL,
};

const struct backend_ops *backend_find(const struct backend_conf_type *type)
{
	for (size_t i = 0; backends[i]; i++) {
		if (backends[i]->conf == type)
			return backends[i];
	}
	return NULL;
}
