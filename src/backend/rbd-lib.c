/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library is loaded when the first device wants it, and librados with it: 30 MB of code and as
 * many other libraries, which servers of other devices do not need, nor machines without Ceph.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "backend/rbd.h"
#include "util/log.h"

#define RBD_SONAME "librbd.so.1"

struct rbd_lib rbd_lib;

static const struct {
	const char *name;
	size_t at; /* of the field */
} rbd_lib_functions[] = {
	{"rados_conf_read_file", offsetof(struct rbd_lib, conf_read_file)},
	{"rados_conf_set", offsetof(struct rbd_lib, conf_set)},
	{"rados_connect", offsetof(struct rbd_lib, connect)},
	{"rados_create", offsetof(struct rbd_lib, create)},
	{"rados_ioctx_create", offsetof(struct rbd_lib, ioctx_create)},
	{"rados_ioctx_destroy", offsetof(struct rbd_lib, ioctx_destroy)},
	{"rados_ioctx_set_namespace", offsetof(struct rbd_lib, ioctx_set_namespace)},
	{"rados_set_pool_full_try", offsetof(struct rbd_lib, set_pool_full_try)},
	{"rados_shutdown", offsetof(struct rbd_lib, shutdown)},
	{"rbd_aio_create_completion", offsetof(struct rbd_lib, aio_create_completion)},
	{"rbd_aio_discard", offsetof(struct rbd_lib, aio_discard)},
	{"rbd_aio_flush", offsetof(struct rbd_lib, aio_flush)},
	{"rbd_aio_get_return_value", offsetof(struct rbd_lib, aio_get_return_value)},
	{"rbd_aio_is_complete", offsetof(struct rbd_lib, aio_is_complete)},
	{"rbd_aio_read", offsetof(struct rbd_lib, aio_read)},
	{"rbd_aio_release", offsetof(struct rbd_lib, aio_release)},
	{"rbd_aio_write", offsetof(struct rbd_lib, aio_write)},
	{"rbd_aio_write_zeroes", offsetof(struct rbd_lib, aio_write_zeroes)},
	{"rbd_close", offsetof(struct rbd_lib, close)},
	{"rbd_get_size", offsetof(struct rbd_lib, get_size)},
	{"rbd_get_stripe_unit", offsetof(struct rbd_lib, get_stripe_unit)},
	{"rbd_lock_acquire", offsetof(struct rbd_lib, lock_acquire)},
	{"rbd_lock_break", offsetof(struct rbd_lib, lock_break)},
	{"rbd_lock_get_owners", offsetof(struct rbd_lib, lock_get_owners)},
	{"rbd_lock_get_owners_cleanup", offsetof(struct rbd_lib, lock_get_owners_cleanup)},
	{"rbd_metadata_get", offsetof(struct rbd_lib, metadata_get)},
	{"rbd_metadata_remove", offsetof(struct rbd_lib, metadata_remove)},
	{"rbd_metadata_set", offsetof(struct rbd_lib, metadata_set)},
	{"rbd_open", offsetof(struct rbd_lib, open)},
	{"rbd_open_read_only", offsetof(struct rbd_lib, open_read_only)},
	{"rbd_update_unwatch", offsetof(struct rbd_lib, update_unwatch)},
	{"rbd_update_watch", offsetof(struct rbd_lib, update_watch)},
	{"rbd_watchers_list", offsetof(struct rbd_lib, watchers_list)},
	{"rbd_watchers_list_cleanup", offsetof(struct rbd_lib, watchers_list_cleanup)},
};

/* Those of librados, on which it depends, are found with it. */
static int rbd_lib_fill(void *so)
{
	struct rbd_lib lib;

	for (size_t i = 0; i < ARRAY_SIZE(rbd_lib_functions); i++) {
		void *f = dlsym(so, rbd_lib_functions[i].name);

		if (!f)
			return -ENOSYS;
		memcpy((char *)&lib + rbd_lib_functions[i].at, &f, sizeof(f));
	}
	rbd_lib = lib;
	return 0;
}

int rbd_lib_load(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int r = 0;

	/* The manager opens several devices at once. */
	pthread_mutex_lock(&lock);
	if (!rbd_lib.create) {
		void *so = dlopen(RBD_SONAME, RTLD_NOW | RTLD_LOCAL);

		r = so ? rbd_lib_fill(so) : -EOPNOTSUPP;
		if (!so)
			(void)log_at(LOG_ERR, r,
				     "Type=rbd needs librbd, which cannot be loaded: %s",
				     dlerror());
		else if (r < 0)
			(void)log_at(LOG_ERR, r, "Type=rbd needs librbd of Ceph 16 or newer");
	}
	pthread_mutex_unlock(&lock);
	return r < 0 ? -EOPNOTSUPP : 0;
}
