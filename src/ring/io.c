/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ring/io.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ring/queue-internal.h"
#include "state/stats.h"

#define TO(state) (1U << (state))

/* A bit for each state that comes next. */
static const uint8_t io_moves[N_IO_STATES] = {
	[IO_IDLE] = TO(IO_AT_KERNEL),
	[IO_AT_KERNEL] = TO(IO_WAITING) | TO(IO_AT_BACKEND) | TO(IO_DEAD),
	[IO_WAITING] = TO(IO_AT_BACKEND),
	[IO_AT_BACKEND] = TO(IO_ANSWERED),
	[IO_ANSWERED] = TO(IO_AT_KERNEL),
};

bool io_may_go(enum io_state from, enum io_state to)
{
	return io_moves[from] & TO(to);
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

static void io_count(const struct io *io)
{
	struct queue *q = io->queue;
	struct stats_queue *s = q->config.stats;
	const uint64_t ns = q->worker->now_ns - io->start_ns;

	stats_add(&s->op[io->op].count, 1);
	if (ns > 0) {
		stats_add(&s->op[io->op].latency_ns, ns);
		stats_add(&s->latency[stats_class(io->op)][latency_bucket(ns)], 1);
	} else { /* how long is not known before the end of the turn */
		q->at_once[io->op]++;
		if (q->n_at_once++ == 0) {
			q->next_at_once = q->worker->at_once;
			q->worker->at_once = q;
		}
	}
	if (io->retries)
		stats_add(&s->retries, io->retries);
}

static void io_fail(struct io *io, int r)
{
	struct stats_queue *s = io->queue->config.stats;

	r = io_error_for_kernel(r);
	__atomic_store_n(&s->last_error_op, io->op, __ATOMIC_RELAXED);
	__atomic_store_n(&s->last_errno, -r, __ATOMIC_RELAXED);
	__atomic_store_n(&s->last_error_offset, io->offset_bytes, __ATOMIC_RELAXED);
	stats_add(&s->op[io->op].errors, 1);
	stats_add(&s->op[io->op].errnos[stats_errno_index(-r)], 1);
	queue_note_failure(io->queue);
	queue_answer(io, r);
}

void io_complete(struct io *io, int r)
{
	const struct queue *q = io->queue;

	if (q->config.ops->on_complete)
		q->config.ops->on_complete(q->backend_ctx, io, r);
	else
		io_complete_final(io, r);
}

/* Some bytes at a time if need be: a copy ends early where a page is not there yet. */
static int io_copy(const struct io *io, uint64_t at, uint8_t *p, size_t n)
{
	const struct queue_config *c = &io->queue->config;

	while (n > 0) {
		off_t pos = (off_t)io_user_copy_offset_bytes(c->id, io->tag, (uint32_t)at);
		ssize_t done = io->op == IO_WRITE ? pread(c->dev_fd, p, n, pos)
						  : pwrite(c->dev_fd, p, n, pos);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EFAULT)
			return -ENOSPC;
		if (done <= 0)
			return -EIO;
		at += (uint64_t)done;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

int io_get_data(const struct io *io, uint64_t at, void *to, size_t n)
{
	if (io->data == IO_DATA_KERNEL)
		return io_copy(io, at, to, n);
	memcpy(to, (const uint8_t *)io->buf + at, n);
	return 0;
}

int io_put_data(const struct io *io, uint64_t at, const void *from, size_t n)
{
	if (io->data == IO_DATA_KERNEL)
		return io_copy(io, at, (uint8_t *)(uintptr_t)from, n);
	memcpy((uint8_t *)io->buf + at, from, n);
	return 0;
}

int io_put_zeros(const struct io *io, uint64_t at, size_t n)
{
	static const uint8_t zeros[64 << 10];
	int r = 0;

	if (io->data != IO_DATA_KERNEL) {
		memset((uint8_t *)io->buf + at, 0, n);
		return 0;
	}
	while (n > 0 && r == 0) {
		size_t step = MIN(n, sizeof(zeros));

		r = io_put_data(io, at, zeros, step);
		at += step;
		n -= step;
	}
	return r;
}

void io_complete_final(struct io *io, int r)
{
	assert(r <= 0); /* else our bug, never a runtime error */
	if (io->data == IO_DATA_BOUNCED && io->op == IO_READ && r == 0) {
		io->data = IO_DATA_KERNEL;
		r = io_put_data(io, 0, io->buf, io->len_bytes);
	}
	io_count(io);
	if (r < 0) {
		io_fail(io, r);
		return;
	}
	stats_add(&io->queue->config.stats->op[io->op].bytes, io->len_bytes);
	/* Never a short count: kernel 7.3 takes it for the whole and loses the rest. */
	queue_answer(io, io_has_data(io) ? (int32_t)io->len_bytes : 0);
}

struct io_uring_sqe *io_sqe(struct io *io)
{
	return worker_sqe(io->queue->worker);
}

void io_sqe_done(struct io *io, struct io_uring_sqe *sqe)
{
	sqe->user_data = io_user_data(IO_SOURCE_BACKEND, io);
}
