/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What is used of libnbd, which is loaded when the first device wants it. */
#include <libnbd.h>

/* What is used of the library. Filled by nbd_lib_load(), and the same for all from then on. */
struct nbd_lib {
	__typeof__(&nbd_aio_connect) aio_connect;
	__typeof__(&nbd_aio_connect_tcp) aio_connect_tcp;
	__typeof__(&nbd_aio_disconnect) aio_disconnect;
	__typeof__(&nbd_aio_flush) aio_flush;
	__typeof__(&nbd_aio_get_direction) aio_get_direction;
	__typeof__(&nbd_aio_get_fd) aio_get_fd;
	__typeof__(&nbd_aio_is_closed) aio_is_closed;
	__typeof__(&nbd_aio_is_dead) aio_is_dead;
	__typeof__(&nbd_aio_is_ready) aio_is_ready;
	__typeof__(&nbd_aio_notify_read) aio_notify_read;
	__typeof__(&nbd_aio_notify_write) aio_notify_write;
	__typeof__(&nbd_aio_pread) aio_pread;
	__typeof__(&nbd_aio_pwrite) aio_pwrite;
	__typeof__(&nbd_aio_trim) aio_trim;
	__typeof__(&nbd_aio_zero) aio_zero;
	__typeof__(&nbd_can_flush) can_flush;
	__typeof__(&nbd_can_fua) can_fua;
	__typeof__(&nbd_can_multi_conn) can_multi_conn;
	__typeof__(&nbd_can_trim) can_trim;
	__typeof__(&nbd_can_zero) can_zero;
	__typeof__(&nbd_close) close;
	__typeof__(&nbd_create) create;
	__typeof__(&nbd_get_block_size) get_block_size;
	__typeof__(&nbd_get_errno) get_errno;
	__typeof__(&nbd_get_error) get_error;
	__typeof__(&nbd_get_size) get_size;
	__typeof__(&nbd_is_read_only) is_read_only;
	__typeof__(&nbd_is_rotational) is_rotational;
	__typeof__(&nbd_set_export_name) set_export_name;
	__typeof__(&nbd_set_pread_initialize) set_pread_initialize;
	__typeof__(&nbd_set_request_structured_replies) set_request_structured_replies;
	__typeof__(&nbd_set_tls) set_tls;
	__typeof__(&nbd_set_tls_certificates) set_tls_certificates;
	int (*set_tls_hostname)(struct nbd_handle *h, const char *hostname); /* 1.22, else NULL */
	__typeof__(&nbd_set_tls_psk_file) set_tls_psk_file;
	__typeof__(&nbd_set_tls_username) set_tls_username;
	__typeof__(&nbd_set_tls_verify_peer) set_tls_verify_peer;
};
extern struct nbd_lib nbd_lib;

/* Logging. Before anything else of it. 0 or -EOPNOTSUPP. */
int nbd_lib_load(void);

/* Of a function that has failed: never 0. */
int nbd_errno(void);
