/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * A queue without a device: drives a backend's io_ops over a real ring, on the test's own thread.
 * It replaces src/ring/io.c and queue.c at link time, notes every SQE of the backend, and can
 * answer SQEs itself instead of the kernel.
 */
#include <liburing.h>
#include <stdbool.h>

#include "backend/backend.h"
#include "ring/io.h"

#define FAKE_QUEUE_DEPTH 64 /* bits of queue->tags */

/* A slot. Set op, flags, offset, length and buf of io; then fake_queue_submit(). */
struct fake_io {
	struct io io;
	bool done;
	int res;          /* what io_complete() was told */
	void *kernel_buf; /* where the data is that the backend does not get as io.buf */
	int fake_res;
};

struct queue {
	struct io_uring ring;
	const struct io_ops *ops;
	struct backend *backend;
	void *ctx;
	/* What the test sets before the start. */
	bool refuse_fds; /* queue_register_fd() fails */
	uint16_t id;
	enum io_data data; /* where that of every request is: io.buf is the test's in any case */

	bool unreachable; /* as it last said */
	unsigned n_reconnects;
	unsigned n_inflight; /* slots with the backend */
	uint64_t tags;       /* in use */

	/* Results for the next SQEs, which the kernel then sees as a NOP. */
	int fake_res[32];
	unsigned n_fake;
	unsigned next_fake;

	/* SQEs of the backend, as it left them. */
	struct io_uring_sqe sqes[128];
	unsigned n_sqes;
};

void fake_queue_start(struct queue *q, const struct backend_ops *ops, struct backend *b);
void fake_queue_stop(struct queue *q);

/* The next SQE of the backend ends with this result and does nothing. May be called repeatedly. */
void fake_queue_inject(struct queue *q, int res);

/* Forget injected results and noted SQEs. */
void fake_queue_reset(struct queue *q);

void fake_queue_submit(struct queue *q, struct fake_io *f);

/* Wait for the next completions, if anything is with the backend. */
void fake_queue_turn(struct queue *q);

/* Completions and events that are there, after so many have come; also while nothing is with the backend. */
void fake_queue_look(struct queue *q, unsigned n_wait);

/* Until nothing is with the backend any more. */
void fake_queue_run(struct queue *q);

/* One request from submit() to io_complete(). Returns what it was completed with. */
int fake_queue_do(struct queue *q, enum io_op op, uint32_t flags, uint64_t offset_bytes,
		  uint64_t len_bytes, void *buf);
