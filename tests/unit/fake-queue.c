/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ring/event.h"
#include "ring/queue.h"
#include "ring/ring.h"
#include "util/cleanup.h"

/* In user_data, beside the pointer to the slot: the result is in the slot. */
#define FAKED  1ULL
/* Not a slot but a struct queue_event. */
#define EVENT  2ULL
/* Of a command that nobody waits for. */
#define NOBODY 4ULL

/*
 * Linux 7.2 was seen to lose requests for worker threads: when a thread closes its last ring and
 * opens another one, whose requests find the workers of the first on their way out. A real queue
 * has a thread for its only ring; ours keeps a second one open. (liburing's pull request 1529 is
 * about the exit of those workers.)
 */
static void fake_queue_keep_workers(void)
{
	static _Thread_local struct io_uring ring;
	static _Thread_local bool open;
	int r;

	if (open)
		return;
	r = io_uring_queue_init(1, &ring, 0);
	assert(r == 0);
	open = true;
}

void fake_queue_start(struct queue *q, const struct backend_ops *ops, struct backend *b)
{
	struct ring_enter how;
	int r;

	*q = (struct queue){.refuse_fds = q->refuse_fds, .id = q->id, .data = q->data};
	fake_queue_keep_workers();
	r = ring_init_queue(&q->ring, FAKE_QUEUE_DEPTH, 0, false, &how);
	assert(r == 0);
	r = io_uring_register_files_sparse(&q->ring, 4);
	assert(r == 0);
	q->ops = ops->io;
	q->backend = b;
	q->ctx = b;
	if (q->ops->queue_init) {
		r = q->ops->queue_init(b, q, &q->ctx);
		assert(r == 0);
	}
}

void fake_queue_stop(struct queue *q)
{
	assert(q->n_inflight == 0);
	assert(q->next_fake == q->n_fake); /* what was injected has been used */
	if (q->ops->queue_deinit)
		q->ops->queue_deinit(q->ctx);
	io_uring_queue_exit(&q->ring);
}

int queue_register_fd(struct queue *q, int fd)
{
	int r;

	if (q->refuse_fds)
		return -ENFILE;
	r = io_uring_register_files_update(&q->ring, 2, &fd, 1);
	return r < 0 ? r : 2;
}

uint16_t queue_get_depth(const struct queue *q)
{
	return FAKE_QUEUE_DEPTH;
}

uint16_t queue_get_id(const struct queue *q)
{
	return q->id;
}

void fake_queue_inject(struct queue *q, int res)
{
	assert(q->n_fake < ARRAY_SIZE(q->fake_res));
	q->fake_res[q->n_fake++] = res;
}

void fake_queue_reset(struct queue *q)
{
	assert(q->next_fake == q->n_fake);
	q->n_fake = q->next_fake = 0;
	q->n_sqes = 0;
}

struct io_uring_sqe *io_sqe(struct io *io)
{
	struct io_uring_sqe *sqe;

	assert(io->state == IO_AT_BACKEND);
	/* liburing clears what is left of an earlier SQE: up to 2.3 in io_uring_prep_*(), since then
	 * here. So neither may be left out, and nothing may be written in between. */
	sqe = io_uring_get_sqe(&io->queue->ring);
	assert(sqe);
	return sqe;
}

void io_sqe_done(struct io *io, struct io_uring_sqe *sqe)
{
	struct fake_io *f = (struct fake_io *)io;
	struct queue *q = io->queue;

	assert(io->state == IO_AT_BACKEND);
	if (q->n_sqes < ARRAY_SIZE(q->sqes))
		q->sqes[q->n_sqes++] = *sqe;
	sqe->user_data = (uintptr_t)f;
	if (q->next_fake < q->n_fake) {
		f->fake_res = q->fake_res[q->next_fake++];
		io_uring_prep_nop(sqe);
		sqe->user_data = (uintptr_t)f | FAKED;
	}
}

static void fake_queue_arm(struct queue *q, struct queue_event *e, struct io_uring_sqe *sqe)
{
	assert(!e->armed);
	sqe->user_data = (uintptr_t)e | EVENT;
	e->armed = true;
	e->cancelled = false;
	e->queue = q;
}

void queue_wait_fd(struct queue *q, struct queue_event *e, int fd, unsigned events)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	assert(sqe);
	io_uring_prep_poll_add(sqe, fd, events);
	fake_queue_arm(q, e, sqe);
}

void queue_wait_ns(struct queue *q, struct queue_event *e, uint64_t ns)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	assert(sqe);
	e->ts = (struct __kernel_timespec){.tv_sec = (int64_t)(ns / 1000000000),
					   .tv_nsec = (int64_t)(ns % 1000000000)};
	io_uring_prep_timeout(sqe, &e->ts, 0, 0);
	fake_queue_arm(q, e, sqe);
}

void queue_cancel(struct queue_event *e)
{
	struct io_uring_sqe *sqe;

	if (!e->armed || e->cancelled)
		return;
	e->cancelled = true;
	sqe = io_uring_get_sqe(&e->queue->ring);
	assert(sqe);
	io_uring_prep_cancel64(sqe, (uintptr_t)e | EVENT, 0);
	sqe->user_data = NOBODY;
}

void queue_set_reachable(struct queue *q, bool reachable)
{
	q->unreachable = !reachable;
	q->n_reconnects += reachable;
}

static uint8_t *fake_queue_data(const struct io *io, uint64_t at)
{
	const struct fake_io *f = (const struct fake_io *)io;

	assert(io->state == IO_AT_BACKEND && io->data != IO_DATA_FIXED);
	return (uint8_t *)(io->data == IO_DATA_KERNEL ? f->kernel_buf : io->buf) + at;
}

int io_get_data(const struct io *io, uint64_t at, void *to, size_t n)
{
	assert(io->op == IO_WRITE && at + n <= io->len_bytes);
	memcpy(to, fake_queue_data(io, at), n);
	return 0;
}

int io_put_data(const struct io *io, uint64_t at, const void *from, size_t n)
{
	assert(io->op == IO_READ && at + n <= io->len_bytes);
	memcpy(fake_queue_data(io, at), from, n);
	return 0;
}

int io_put_zeros(const struct io *io, uint64_t at, size_t n)
{
	assert(io->op == IO_READ && at + n <= io->len_bytes);
	memset(fake_queue_data(io, at), 0, n);
	return 0;
}

void io_complete(struct io *io, int r)
{
	assert(r <= 0 && io->state == IO_AT_BACKEND);
	if (io->queue->ops->on_complete)
		io->queue->ops->on_complete(io->queue->ctx, io, r);
	else
		io_complete_final(io, r);
}

void io_complete_final(struct io *io, int r)
{
	struct fake_io *f = (struct fake_io *)io;

	assert(r <= 0 && io->state == IO_AT_BACKEND);
	io->state = IO_AT_KERNEL;
	io->queue->n_inflight--;
	io->queue->tags &= ~(1ULL << io->tag);
	f->res = r;
	f->done = true;
	if (f->kernel_buf)
		io->buf = f->kernel_buf;
}

void fake_queue_submit(struct queue *q, struct fake_io *f)
{
	f->io.queue = q;
	f->io.state = IO_AT_BACKEND;
	f->io.done_bytes = 0;
	f->io.retries = 0;
	f->io.phase = 0;
	f->done = false;
	if (q->data != IO_DATA_BUF && io_has_data(&f->io)) {
		assert(q->ops->data & IO_CAN(q->data));
		f->io.data = q->data;
		f->kernel_buf = f->io.buf;
		f->io.buf = NULL; /* the backend has no business with it */
	}
	assert(q->n_inflight < FAKE_QUEUE_DEPTH);
	f->io.tag = (uint16_t)__builtin_ctzll(~q->tags);
	f->io.buf_index = f->io.tag;
	q->tags |= 1ULL << f->io.tag;
	q->n_inflight++;
	q->ops->submit(q->ctx, &f->io);
}

static void fake_queue_on_cqe(struct queue *q, uint64_t user_data, int res)
{
	struct queue_event *e = (struct queue_event *)(uintptr_t)(user_data & ~EVENT);
	struct fake_io *f = (struct fake_io *)(uintptr_t)(user_data & ~FAKED);

	if (user_data == NOBODY)
		return;
	if (!(user_data & EVENT)) {
		q->ops->on_cqe(q->ctx, &f->io, user_data & FAKED ? f->fake_res : res);
		return;
	}
	e->armed = false;
	q->ops->on_event(q->ctx, e, res);
}

void fake_queue_look(struct queue *q, unsigned n_wait)
{
	struct io_uring_cqe *cqe;
	int r = io_uring_submit_and_wait(&q->ring, n_wait);

	assert(r >= 0 || r == -EINTR);
	while (io_uring_peek_cqe(&q->ring, &cqe) == 0) {
		const uint64_t user_data = cqe->user_data;
		const int res = cqe->res;

		io_uring_cqe_seen(&q->ring, cqe);
		fake_queue_on_cqe(q, user_data, res);
	}
}

void fake_queue_turn(struct queue *q)
{
	if (q->n_inflight > 0)
		fake_queue_look(q, 1);
}

void fake_queue_run(struct queue *q)
{
	while (q->n_inflight > 0)
		fake_queue_turn(q);
}

int fake_queue_do(struct queue *q, enum io_op op, uint32_t flags, uint64_t offset_bytes,
		  uint64_t len_bytes, void *buf)
{
	struct fake_io f = {.io = {.op = op,
				   .flags = flags,
				   .offset_bytes = offset_bytes,
				   .len_bytes = len_bytes,
				   .buf = buf}};

	fake_queue_submit(q, &f);
	fake_queue_run(q);
	return f.res;
}
