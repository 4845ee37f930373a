/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library is loaded when the first device wants it. It brings 15 others with it: linked with them,
 * each server of any device took 10 ms more to start, for which its users wait at a takeover, and had
 * them all locked in memory.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "backend/nbd-lib.h"
#include "util/cleanup.h"
#include "util/log.h"

#define NBD_SONAME "libnbd.so.0"

struct nbd_lib nbd_lib;

static const struct {
	const char *name;
	size_t at; /* of the field */
} nbd_lib_functions[] = {
	{"nbd_aio_connect", offsetof(struct nbd_lib, aio_connect)},
	{"nbd_aio_connect_tcp", offsetof(struct nbd_lib, aio_connect_tcp)},
	{"nbd_aio_disconnect", offsetof(struct nbd_lib, aio_disconnect)},
	{"nbd_aio_flush", offsetof(struct nbd_lib, aio_flush)},
	{"nbd_aio_get_direction", offsetof(struct nbd_lib, aio_get_direction)},
	{"nbd_aio_get_fd", offsetof(struct nbd_lib, aio_get_fd)},
	{"nbd_aio_is_closed", offsetof(struct nbd_lib, aio_is_closed)},
	{"nbd_aio_is_dead", offsetof(struct nbd_lib, aio_is_dead)},
	{"nbd_aio_is_ready", offsetof(struct nbd_lib, aio_is_ready)},
	{"nbd_aio_notify_read", offsetof(struct nbd_lib, aio_notify_read)},
	{"nbd_aio_notify_write", offsetof(struct nbd_lib, aio_notify_write)},
	{"nbd_aio_pread", offsetof(struct nbd_lib, aio_pread)},
	{"nbd_aio_pwrite", offsetof(struct nbd_lib, aio_pwrite)},
	{"nbd_aio_trim", offsetof(struct nbd_lib, aio_trim)},
	{"nbd_aio_zero", offsetof(struct nbd_lib, aio_zero)},
	{"nbd_can_flush", offsetof(struct nbd_lib, can_flush)},
	{"nbd_can_fua", offsetof(struct nbd_lib, can_fua)},
	{"nbd_can_multi_conn", offsetof(struct nbd_lib, can_multi_conn)},
	{"nbd_can_trim", offsetof(struct nbd_lib, can_trim)},
	{"nbd_can_zero", offsetof(struct nbd_lib, can_zero)},
	{"nbd_close", offsetof(struct nbd_lib, close)},
	{"nbd_create", offsetof(struct nbd_lib, create)},
	{"nbd_get_block_size", offsetof(struct nbd_lib, get_block_size)},
	{"nbd_get_errno", offsetof(struct nbd_lib, get_errno)},
	{"nbd_get_error", offsetof(struct nbd_lib, get_error)},
	{"nbd_get_size", offsetof(struct nbd_lib, get_size)},
	{"nbd_is_read_only", offsetof(struct nbd_lib, is_read_only)},
	{"nbd_is_rotational", offsetof(struct nbd_lib, is_rotational)},
	{"nbd_set_export_name", offsetof(struct nbd_lib, set_export_name)},
	{"nbd_set_pread_initialize", offsetof(struct nbd_lib, set_pread_initialize)},
	{"nbd_set_request_structured_replies",
	 offsetof(struct nbd_lib, set_request_structured_replies)},
	{"nbd_set_tls", offsetof(struct nbd_lib, set_tls)},
	{"nbd_set_tls_certificates", offsetof(struct nbd_lib, set_tls_certificates)},
	{"nbd_set_tls_hostname", offsetof(struct nbd_lib, set_tls_hostname)},
	{"nbd_set_tls_psk_file", offsetof(struct nbd_lib, set_tls_psk_file)},
	{"nbd_set_tls_username", offsetof(struct nbd_lib, set_tls_username)},
	{"nbd_set_tls_verify_peer", offsetof(struct nbd_lib, set_tls_verify_peer)},
};

static int nbd_lib_fill(void *so)
{
	struct nbd_lib lib;

	for (size_t i = 0; i < ARRAY_SIZE(nbd_lib_functions); i++) {
		void *f = dlsym(so, nbd_lib_functions[i].name);

		if (!f && nbd_lib_functions[i].at != offsetof(struct nbd_lib, set_tls_hostname))
			return -ENOSYS;
		memcpy((char *)&lib + nbd_lib_functions[i].at, &f, sizeof(f));
	}
	nbd_lib = lib;
	return 0;
}

int nbd_lib_load(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int r = 0;

	/* The manager opens several devices at once. */
	pthread_mutex_lock(&lock);
	if (!nbd_lib.create) {
		void *so = dlopen(NBD_SONAME, RTLD_NOW | RTLD_LOCAL);

		r = so ? nbd_lib_fill(so) : -EOPNOTSUPP;
		if (!so)
			(void)log_at(LOG_ERR, r,
				     "Type=nbd needs libnbd, which cannot be loaded: %s",
				     dlerror());
		else if (r < 0)
			(void)log_at(LOG_ERR, r, "Type=nbd needs libnbd 1.14 or newer");
	}
	pthread_mutex_unlock(&lock);
	return r < 0 ? -EOPNOTSUPP : 0;
}

int nbd_errno(void)
{
	int r = nbd_lib.get_errno();

	return r > 0 ? r : EIO;
}
