/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What a backend is: a table of functions, one file each, listed in registry.c. backend_ops run on
 * the main thread and may block; io_ops (ring/io.h) run on the queues' threads and may not.
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/params.h"
#include "conf/backend-conf.h"
#include "ring/io.h"

struct backend;

/* What a definition asks of its backend, beside the backend's own keys. */
struct backend_request {
	const char *device;  /* name, for messages */
	const char *dir;     /* of the device in /run, for what has to be in a file system */
	const void *conf;    /* of ops->conf->size bytes */
	uint64_t size_bytes; /* 0: whatever there is */
	uint32_t logical_block_bytes; /* 0: whatever is best */
	bool read_only;
	/* A device that is alive goes on with this backend: nothing is made, cut or cleared. */
	bool takeover;
	/* Asked several times a second while open() waits for somebody: true if it should give up, with
	 * -ECANCELED. NULL: it never should. */
	bool (*interrupt)(void *arg);
	void *interrupt_arg;
	/* Written when take_change() has something to tell. -1: nobody asks. */
	int event_fd;
	int kept_fd; /* what get_kept_fd() of the predecessor gave; the backend dups it; -1: none */
};

struct backend_ops {
	const struct backend_conf_type *conf; /* its name is the value of Type= */

	/*
	 * Logging. Checks, creates and locks what lies behind, and says what it can do: the fields
	 * of *ret_limits that it leaves 0 get their defaults from the device. May set read_only
	 * where the request did not. -EBUSY: somebody else has it; -EINVAL: the definition does not
	 * fit what is there.
	 */
	int (*open)(const struct backend_request *req, struct backend **ret,
		    struct limits *ret_limits);
	/* Optional: what lies behind, for people; valid until close(). */
	const char *(*get_target)(const struct backend *b);
	/*
	 * Optional: why requests wait, for people, where queues have said with queue_set_reachable()
	 * that they do; valid until the next call. *ret_next stays as it is if they fail after
	 * Timeout=, else it is what happens instead, and what can be done.
	 */
	const char *(*get_trouble)(struct backend *b, const char **ret_next);
	/* Logging, optional: everything written so far is on stable storage. */
	int (*flush)(struct backend *b);
	/*
	 * Logging, optional: write whole logical blocks, while the queues have nothing under way.
	 * @buf begins at a multiple of the logical block.
	 */
	int (*write)(struct backend *b, uint64_t offset_bytes, const void *buf, size_t len_bytes);
	/*
	 * Optional: a descriptor without which a successor could not go on, because the data are in
	 * it (memory). It stays the backend's. A backend that has this cannot be taken over without.
	 */
	int (*get_kept_fd)(const struct backend *b);
	/*
	 * Logging, optional, while the queues run: make what lies behind as large as the request
	 * says (0: look how large it is now), never smaller. *ret_size_bytes is its size then. The
	 * device lets no request behind the old size through until it knows the new one.
	 */
	int (*resize)(struct backend *b, const struct backend_request *req,
		      uint64_t *ret_size_bytes);
	/* Optional, while the queues run: has its size changed since the last call? See resize(). */
	bool (*take_change)(struct backend *b);
	/* Logging, optional, before close(): the device never came up, so what open() made goes. */
	void (*abandon)(struct backend *b);
	/* Optional; takes NULL, returns NULL. All queues have been stopped. */
	struct backend *(*close)(struct backend *b);
	const struct io_ops *io;
};
