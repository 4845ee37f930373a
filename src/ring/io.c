/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ring/io.h"

#include <assert.h>
#include <errno.h>

#include "ring/queue-internal.h"
#include "state/stats.h"

static const bool io_moves[N_IO_STATES][N_IO_STATES] = {
	[IO_IDLE] = {[IO_AT_KERNEL] = true},
	[IO_AT_KERNEL] = {[IO_WAITING] = true, [IO_AT_BACKEND] = true, [IO_DEAD] = true},
	[IO_WAITING] = {[IO_AT_BACKEND] = true},
	[IO_AT_BACKEND] = {[IO_ANSWERED] = true},
	[IO_ANSWERED] = {[IO_AT_KERNEL] = true},
};

bool io_may_go(enum io_state from, enum io_state to)
{
	return io_moves[from][to];
}

void io_go(struct io *io, enum io_state to)
{
	assert(io_may_go((enum io_state)io->state, to));
	io->state = (uint8_t)to;
}

/*
 * What a user of the block device may see. The kernel passes some errors through and turns others
 * into EIO; those that would ask the user to do our retrying are EIO here.
 */
static int io_error_for_kernel(int r)
{
	switch (r) {
	case -EAGAIN:
	case -EINTR:
	case -EBUSY:
	case -ENOMEM:
		return -EIO;
	case -EDQUOT:
		return -ENOSPC;
	default:
		return r;
	}
}

static void io_count(const struct io *io, int r)
{
	struct stats_queue *s = io->queue->config.stats;
	struct stats_op *op = &s->op[io->op];

	stats_add(&op->count, 1);
	if (io->retries)
		stats_add(&s->retries, io->retries);
	if (r == 0) {
		stats_add(&op->bytes, io->len_bytes);
		return;
	}
	__atomic_store_n(&s->last_error_op, io->op, __ATOMIC_RELAXED);
	__atomic_store_n(&s->last_errno, -r, __ATOMIC_RELAXED);
	__atomic_store_n(&s->last_error_offset, io->offset_bytes, __ATOMIC_RELAXED);
	stats_add(&op->errors, 1);
	queue_note_failure(io->queue);
}

void io_complete(struct io *io, int r)
{
	const struct queue *q = io->queue;

	if (q->config.ops->on_complete)
		q->config.ops->on_complete(q->backend_ctx, io, r);
	else
		io_complete_final(io, r);
}

void io_complete_final(struct io *io, int r)
{
	assert(r <= 0); /* else our bug, never a runtime error */
	r = io_error_for_kernel(r);
	io_count(io, r);
	/* Never a short count: kernel 7.3 takes it for the whole and loses the rest. */
	if (r == 0 && (io->op == IO_READ || io->op == IO_WRITE))
		r = (int)io->len_bytes;
	queue_answer(io, r);
}

struct io_uring_sqe *io_sqe(struct io *io)
{
	return worker_sqe(io->queue->worker);
}

void io_sqe_done(struct io *io, struct io_uring_sqe *sqe)
{
	sqe->user_data = io_user_data(IO_SOURCE_BACKEND, io);
}
