/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Type=rbd, in parts:
 *
 *	rbd-lib.c	the library
 *	rbd-image.c	the cluster and the image, which is opened, locked and watched
 *	rbd-link.c	requests of a queue, and their answers
 *	rbd.c		the backend as the device sees it
 *
 * Threads: the main one, those of the queues, and the library's own, which call back. The image is
 * for all of them; a queue has its link.
 */
#include <rados/librados.h>
#include <rbd/librbd.h>
#include <stdatomic.h>

#include "backend/backend.h"
#include "ring/event.h"
#include "ring/queue.h"
#include "util/cleanup.h"

#define RBD_NS_PER_S UINT64_C(1000000000)

/* ---- rbd-lib.c ---- */

/* What is used of the two libraries. Filled by rbd_lib_load(), and the same for all from then on. */
struct rbd_lib {
	__typeof__(&rados_conf_read_file) conf_read_file;
	__typeof__(&rados_conf_set) conf_set;
	__typeof__(&rados_connect) connect;
	__typeof__(&rados_create) create;
	__typeof__(&rados_ioctx_create) ioctx_create;
	__typeof__(&rados_ioctx_destroy) ioctx_destroy;
	__typeof__(&rados_ioctx_set_namespace) ioctx_set_namespace;
	__typeof__(&rados_set_pool_full_try) set_pool_full_try;
	__typeof__(&rados_shutdown) shutdown;
	__typeof__(&rbd_aio_create_completion) aio_create_completion;
	__typeof__(&rbd_aio_discard) aio_discard;
	__typeof__(&rbd_aio_flush) aio_flush;
	__typeof__(&rbd_aio_get_return_value) aio_get_return_value;
	__typeof__(&rbd_aio_is_complete) aio_is_complete;
	__typeof__(&rbd_aio_read) aio_read;
	__typeof__(&rbd_aio_release) aio_release;
	__typeof__(&rbd_aio_write) aio_write;
	__typeof__(&rbd_aio_write_zeroes) aio_write_zeroes;
	__typeof__(&rbd_close) close;
	__typeof__(&rbd_get_size) get_size;
	__typeof__(&rbd_get_stripe_unit) get_stripe_unit;
	__typeof__(&rbd_lock_acquire) lock_acquire;
	__typeof__(&rbd_lock_break) lock_break;
	__typeof__(&rbd_lock_get_owners) lock_get_owners;
	__typeof__(&rbd_lock_get_owners_cleanup) lock_get_owners_cleanup;
	__typeof__(&rbd_metadata_get) metadata_get;
	__typeof__(&rbd_metadata_remove) metadata_remove;
	__typeof__(&rbd_metadata_set) metadata_set;
	__typeof__(&rbd_open) open;
	__typeof__(&rbd_open_read_only) open_read_only;
	__typeof__(&rbd_update_unwatch) update_unwatch;
	__typeof__(&rbd_update_watch) update_watch;
	__typeof__(&rbd_watchers_list) watchers_list;
	__typeof__(&rbd_watchers_list_cleanup) watchers_list_cleanup;
};
extern struct rbd_lib rbd_lib;

/* Logging. Before anything else of it. 0 or -EOPNOTSUPP. */
int rbd_lib_load(void);

/* ---- rbd-image.c ---- */

/* Why requests do not get what they want. */
enum rbd_trouble {
	RBD_SILENT,   /* no answer */
	RBD_SHUT_OUT, /* the cluster does not take anything from us */
};

struct backend {
	const struct rbd_conf *conf; /* during open() */
	char *text;                  /* for people */
	char *owner;                 /* what stands in the image while we have the lock; or NULL */
	char *keyring;               /* credential; NULL: the cluster's configuration knows one */
	uint64_t timeout_ns;
	rados_t cluster;
	rados_ioctx_t pool;
	rbd_image_t image;
	uint64_t size_bytes; /* main thread: as last seen */
	uint64_t watch;
	bool watches;
	bool read_only;
	int event_fd;         /* of the device */
	_Atomic bool changed; /* the image, and the device does not know */
	_Atomic bool gave_up; /* nothing was heard for Timeout= */
	_Atomic int trouble;
	char trouble_text[320]; /* main thread */
};

/* Logging, blocks. Whatever it has opened is in @b also on failure. */
int rbd_image_open(struct backend *b, const struct backend_request *req);
/* From here on nothing of it is used. */
void rbd_image_close(struct backend *b);
/* How long the cluster may take for one thing, from now on. 0: for ever. */
void rbd_image_set_patience(struct backend *b, uint64_t ns);

/* ---- rbd-link.c; on the queue's thread ---- */

struct rbd_request {
	struct rbd_link *link;
	struct io *io;
	int64_t result;           /* of the answer */
	struct rbd_request *next; /* of those with an answer */
};

struct rbd_link {
	struct backend *b;
	struct queue *queue;
	int event_fd;
	_Atomic(struct rbd_request *) answers; /* the newest first */
	_Atomic unsigned n_calling;            /* threads of the library that are with us */
	struct queue_event answered, watch;
	unsigned n_sent;
	uint64_t heard_ns; /* last answer, or when something was asked after a pause */
	bool unreachable;  /* and said so */
	struct rbd_request requests[];
};

int rbd_link_new(struct backend *b, struct queue *q, struct rbd_link **ret);
/* All requests have their answers. */
void rbd_link_free(struct rbd_link *l);
void rbd_link_submit(struct rbd_link *l, struct io *io);
void rbd_link_on_event(struct rbd_link *l, struct queue_event *e);
