/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * One slot of a queue: a request, its buffer, and who owns both.
 *
 * A slot goes round: the kernel has it (FETCH), a request arrives and the backend has it
 * (submit()), io_complete() gives it back (COMMIT_AND_FETCH). From submit() to io_complete() slot
 * and buffer are the backend's alone. All of it happens on the queue's thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/io-cmd.h"

struct backend;
struct queue;
struct queue_event;

/*
 *	IDLE		nobody's: to AT_KERNEL, with FETCH
 *	AT_KERNEL	a command is with the kernel: to AT_BACKEND, to WAITING if the device has a limit
 *			that says so, or DEAD on -ENODEV
 *	WAITING		for its time: to AT_BACKEND
 *	AT_BACKEND	submit() was called: to ANSWERED, with io_complete()
 *	ANSWERED	the buffer is the kernel's again: to AT_KERNEL, with COMMIT_AND_FETCH, at once
 *			or, while the queue drains, when all others are answered too
 *	DEAD		final
 */
enum io_state {
	IO_IDLE,
	IO_AT_KERNEL,
	IO_WAITING,
	IO_AT_BACKEND,
	IO_ANSWERED,
	IO_DEAD,
	N_IO_STATES,
};

bool io_may_go(enum io_state from, enum io_state to);

/* Where the data of a READ or WRITE is. */
enum io_data {
	IO_DATA_BUF,     /* at io->buf */
	IO_DATA_BOUNCED, /* at io->buf, and a READ is given to the kernel when it is complete */
	IO_DATA_FIXED,   /* its pages are the ring's registered buffer buf_index, from 0 on */
	IO_DATA_KERNEL,  /* with the kernel: io_get_data(), io_put_data() */
};

#define IO_CAN(data) (1U << (data))

struct io {
	/* the request: read only for the backend */
	enum io_op op;
	uint32_t flags; /* IO_FUA, IO_NOUNMAP */
	uint64_t offset_bytes;
	uint64_t len_bytes;
	enum io_data data;
	uint16_t buf_index;
	void *buf; /* page-aligned, of the device's max_io_bytes */

	/* the backend's own, zeroed before every submit() */
	uint64_t done_bytes;
	uint32_t retries;
	uint32_t phase;

	/* the queue's */
	struct queue *queue;
	uint16_t tag;
	uint8_t state;     /* enum io_state */
	int32_t result;    /* while ANSWERED */
	uint32_t beat;     /* of the worker, when it went to the backend */
	uint64_t start_ns; /* of the turn it came with */
	struct io *next;   /* while it waits in a throttle_queue */
};

/* Operations of a backend on the queue's thread. Only queue_init() may block. */
struct io_ops {
	/*
	 * IO_CAN(IO_DATA_FIXED), IO_CAN(IO_DATA_KERNEL): where a request's data may be, beside
	 * io->buf. A request whose data is elsewhere comes with a buffer all the same.
	 */
	unsigned data;
	bool at_once; /* requests complete within submit(), but for rare ones */
	/* optional; *ret_ctx is what the others get, else they get the struct backend */
	int (*queue_init)(struct backend *b, struct queue *q, void **ret_ctx);
	void (*queue_deinit)(void *ctx); /* optional */
	void (*submit)(void *ctx, struct io *io);
	void (*on_cqe)(void *ctx, struct io *io, int res); /* an SQE that submit() queued */
	/* what was asked for with ring/event.h has come: events of poll(), 0 or -ETIME, or -errno */
	void (*on_event)(void *ctx, struct queue_event *e, int res);
	/*
	 * Optional, for what stands between queue and backend: gets what the backend gave to
	 * io_complete(), and passes it on, now or later, with io_complete_final().
	 */
	void (*on_complete)(void *ctx, struct io *io, int r);
};

/**
 * io_complete() - the backend is done with a request
 * @io:	from submit(); not to be touched any more
 * @r:	0: all of it is done; else -errno
 *
 * Queue thread only; exactly once for each submit(), also from within it. The answer goes to the
 * kernel with the queue's next system call. Errors are counted, never logged.
 */
void io_complete(struct io *io, int r);

/* The same behind on_complete(): the answer goes to the kernel. */
void io_complete_final(struct io *io, int r);

static inline bool io_has_data(const struct io *io)
{
	return io->op == IO_READ || io->op == IO_WRITE;
}

/**
 * io_get_data() - copy some of what a WRITE wants written
 * @at:	bytes from the start of the request
 *
 * Queue thread, between submit() and io_complete(); not of IO_DATA_FIXED. One system call if the
 * data is with the kernel, else a copy within memory.
 * Return: 0; -ENOSPC: @to is memory that there is none for; -EIO.
 */
int io_get_data(const struct io *io, uint64_t at, void *to, size_t n);

/* The same for a READ, the other way. The whole of it must be filled in before io_complete(). */
int io_put_data(const struct io *io, uint64_t at, const void *from, size_t n);
int io_put_zeros(const struct io *io, uint64_t at, size_t n);

/**
 * io_sqe() - an SQE of the queue's ring for a request
 * @io:	from submit(); has no other SQE under way
 *
 * Queue thread only. Cannot fail: the ring has room for one SQE of each slot. The caller prepares
 * it with io_uring_prep_*() and then calls io_sqe_done(), which sets its user_data.
 */
struct io_uring_sqe *io_sqe(struct io *io);
void io_sqe_done(struct io *io, struct io_uring_sqe *sqe);
