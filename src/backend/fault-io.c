/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request on its way to the inner backend. It looks whether it shall hang, is delayed, may fail,
 * and then goes on, each step an SQE of the slot's, so that nothing blocks and nothing is allocated.
 *
 * What becomes of a request depends on Seed=, on the number of its queue, and on how many requests
 * of that queue came before it since the server started; on nothing else. So with one queue and a
 * user who does one thing at a time, a run can be repeated as a whole. With several queues, or with
 * requests that come in another order, the faults are the same but meet other requests.
 *
 * A request that fails is not seen by the inner backend at all.
 */
#include <errno.h>
#include <fcntl.h>

#include "backend/fault-internal.h"
#include "ring/queue.h"

#define NS_PER_SECOND 1000000000ULL
#define HANG_LOOK_NS  100000000ULL
#define PPM           1000000U

/* A bijection that spreads each bit over all others. */
static uint64_t fault_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	x ^= x >> 29;
	x *= 0xa0761d6478bd642fULL;
	x ^= x >> 32;
	return x;
}

uint64_t fault_draw(const struct fault_queue *fq, const struct fault_slot *s, uint32_t draw)
{
	/* The constant keeps zeroes, which the mix maps to themselves, from being all alike. */
	uint64_t x = fault_mix(fq->b->conf->seed + 0x9e3779b97f4a7c15ULL);

	x = fault_mix(x ^ (uint64_t)fq->id << 32 ^ draw);
	return fault_mix(x + s->number * 0xd1342543de82ef95ULL);
}

static bool fault_hits(const struct fault_queue *fq, const struct fault_slot *s, uint32_t draw,
		       uint32_t ppm)
{
	return ppm > 0 && fault_draw(fq, s, draw) % PPM < ppm;
}

void fault_sleep(struct fault_queue *fq, struct io *io, enum fault_phase phase, uint64_t ns)
{
	struct fault_slot *s = fault_slot(fq, io);
	struct io_uring_sqe *sqe = io_sqe(io);

	s->phase = phase;
	s->timer = (struct __kernel_timespec){
		.tv_sec = (long long)(ns / NS_PER_SECOND),
		.tv_nsec = (long long)(ns % NS_PER_SECOND),
	};
	io_uring_prep_timeout(sqe, &s->timer, 0, 0);
	io_sqe_done(io, sqe);
}

void fault_finish(struct fault_queue *fq, struct io *io, int r)
{
	fault_slot(fq, io)->phase = FAULT_IDLE;
	io_complete_final(io, r);
}

static uint32_t fault_error_ppm(const struct fault_conf *c, enum io_op op)
{
	switch (op) {
	case IO_READ:
		return c->read_errors_ppm;
	case IO_WRITE:
	case IO_WRITE_ZEROES:
		return c->write_errors_ppm;
	case IO_FLUSH:
		return c->flush_errors_ppm;
	case IO_DISCARD:
		return c->discard_errors_ppm;
	case IO_OTHER:
	case N_IO_OPS:
		break;
	}
	return 0;
}

static void fault_pass(struct fault_queue *fq, struct io *io)
{
	const struct fault_conf *c = fq->b->conf;
	struct fault_slot *s = fault_slot(fq, io);

	if (fault_hits(fq, s, DRAW_ERROR, fault_error_ppm(c, io->op))) {
		fault_finish(fq, io, -c->error);
		return;
	}
	if (c->lying_flush)
		io->flags &= ~IO_FUA;
	if (io->op == IO_FLUSH && c->lying_flush) {
		fault_finish(fq, io, 0);
		return;
	}
	if (fq->b->cache) {
		fault_power_start(fq, io);
		return;
	}
	/* The inner backend gets nothing that it does not offer: see fault_wrap(). */
	if (!fq->b->inner_has_fua)
		io->flags &= ~IO_FUA;
	if (io->op == IO_FLUSH && !fq->b->inner_has_cache) {
		fault_finish(fq, io, 0);
		return;
	}
	s->phase = FAULT_BELOW;
	fq->b->inner_ops->io->submit(fq->inner_ctx, io);
}

static void fault_delay(struct fault_queue *fq, struct io *io)
{
	const struct fault_conf *c = fq->b->conf;
	struct fault_slot *s = fault_slot(fq, io);
	uint64_t ns = c->latency_ns;

	if (c->jitter_ns > 0)
		ns += fault_draw(fq, s, DRAW_JITTER) % (c->jitter_ns + 1);
	if (ns > 0)
		fault_sleep(fq, io, FAULT_DELAY, ns);
	else
		fault_pass(fq, io);
}

static void fault_look(struct fault_queue *fq, struct io *io)
{
	struct io_uring_sqe *sqe = io_sqe(io);

	/* In a thread of the kernel's: the file may lie on something slow. */
	io_uring_prep_statx(sqe, AT_FDCWD, fq->b->conf->hang_while, AT_SYMLINK_NOFOLLOW, 0,
			    &fq->statx);
	fault_slot(fq, io)->phase = FAULT_LOOK;
	io_sqe_done(io, sqe);
}

static void fault_submit(void *ctx, struct io *io)
{
	struct fault_queue *fq = ctx;

	*fault_slot(fq, io) = (struct fault_slot){.number = fq->n_requests++};
	if (fq->b->conf->hang_while)
		fault_look(fq, io);
	else
		fault_delay(fq, io);
}

/*
 * The inner backend is told that less was transferred than was. A transfer that ends early ends at
 * a block, and it always makes way.
 */
static int fault_shorten(struct fault_queue *fq, const struct io *io, int res)
{
	struct fault_slot *s = fault_slot(fq, io);
	uint32_t block = fq->block_bytes, n_blocks, draw;

	if (res <= 0 || (io->op != IO_READ && io->op != IO_WRITE))
		return res;
	draw = DRAW_SHORT + 2 * s->n_cqes++;
	n_blocks = (uint32_t)res / block;
	if (n_blocks < 2 || !fault_hits(fq, s, draw, fq->b->conf->short_ppm))
		return res;
	return (int)((1 + (uint32_t)(fault_draw(fq, s, draw + 1) % (n_blocks - 1))) * block);
}

static void fault_on_cqe(void *ctx, struct io *io, int res)
{
	struct fault_queue *fq = ctx;

	switch (fault_slot(fq, io)->phase) {
	case FAULT_LOOK:
		/* A file of which nothing can be told is as good as not there. */
		if (res == 0 || res == -EAGAIN || res == -EINTR)
			fault_sleep(fq, io, FAULT_HANG, HANG_LOOK_NS);
		else
			fault_delay(fq, io);
		break;
	case FAULT_HANG:
		fault_look(fq, io);
		break;
	case FAULT_DELAY:
		fault_pass(fq, io);
		break;
	case FAULT_WAIT:
		fault_power_go(fq, io);
		break;
	case FAULT_IDLE:
	case FAULT_BELOW:
		fq->b->inner_ops->io->on_cqe(fq->inner_ctx, io, fault_shorten(fq, io, res));
		break;
	}
}

static void fault_on_event(void *ctx, struct queue_event *e, int res)
{
	struct fault_queue *fq = ctx;

	fq->b->inner_ops->io->on_event(fq->inner_ctx, e, res);
}

static void fault_on_complete(void *ctx, struct io *io, int r)
{
	struct fault_queue *fq = ctx;

	if (fq->b->cache && fault_slot(fq, io)->phase == FAULT_BELOW)
		fault_power_complete(fq, io, r);
	else /* or the queue has refused the request itself, and there was no submit() */
		fault_finish(fq, io, r);
}

static int fault_queue_init(struct backend *b, struct queue *q, void **ret_ctx)
{
	const struct io_ops *inner = b->inner_ops->io;
	uint16_t depth = queue_get_depth(q);
	struct fault_queue *fq;
	int r;

	fq = calloc(1, sizeof(*fq) + depth * sizeof(fq->slots[0]));
	if (!fq)
		return -ENOMEM;
	fq->b = b;
	fq->depth = depth;
	fq->id = queue_get_id(q);
	fq->max_io_bytes = b->limits->max_io_bytes;
	fq->block_bytes = b->limits->logical_block_bytes;
	fq->inner_ctx = b->inner;
	if (inner->queue_init) {
		r = inner->queue_init(b->inner, q, &fq->inner_ctx);
		if (r < 0) {
			free(fq);
			return r;
		}
	}
	*ret_ctx = fq;
	return 0;
}

static void fault_queue_deinit(void *ctx)
{
	struct fault_queue *fq = ctx;
	const struct io_ops *inner = fq->b->inner_ops->io;

	if (inner->queue_deinit)
		inner->queue_deinit(fq->inner_ctx);
	if (fq->b->cache)
		fault_power_forget(fq);
	free(fq);
}

const struct io_ops fault_io = {
	.queue_init = fault_queue_init,
	.queue_deinit = fault_queue_deinit,
	.submit = fault_submit,
	.on_cqe = fault_on_cqe,
	.on_event = fault_on_event,
	.on_complete = fault_on_complete,
};
