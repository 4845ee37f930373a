/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PowerCut=yes: a volatile write cache, as a disk has one. It is this process's memory, so a SIGKILL
 * is the power cut: of what was not flushed, some was written and some was not, in no order, and
 * some in part. What a FLUSH or FUA acknowledged is there.
 *
 * A plain WRITE is, as is drawn for it, passed down at once; or kept until the next FLUSH; or torn:
 * kept, and its first blocks passed down, too. FUA, DISCARD and WRITE_ZEROES go down. A FLUSH
 * writes down what is kept, waits for what others are writing down, and then flushes below.
 *
 * The inner backend gets all of it through the slot of the request: its struct io is made to say
 * what part is wanted, as often as it takes, and says at the end what it said at the beginning. For
 * the writes of a FLUSH, which has no data, the slot's buffer takes a copy: what is in the cache
 * may change meanwhile, and half of a block must not go down.
 *
 * All queues share the cache. Here, and only here, a request takes a lock, copies under it, and
 * touches memory for the first time. What has to wait for another request looks again a little
 * later, as that may be another queue's.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "backend/fault-internal.h"
#include "util/log.h"

#define WAIT_NS      200000
#define MAX_DRAINS   8
#define MAX_IO_BYTES (1U << 20) /* of fault_power_drain() */

enum power_next {
	POWER_AGAIN, /* the stage has changed */
	POWER_BELOW, /* the struct io is ready for the inner backend */
	POWER_WAIT,
};

static enum power_next power_below(const struct fault_queue *fq, struct io *io, enum io_op op,
				   uint32_t flags, uint64_t offset, uint64_t len, void *buf)
{
	if (!fq->b->inner_has_fua)
		flags &= ~IO_FUA;
	io->op = op;
	io->flags = flags;
	io->offset_bytes = offset;
	io->len_bytes = len;
	io->buf = buf;
	return POWER_BELOW;
}

static enum power_next power_end(struct fault_slot *s, int r)
{
	s->stage = STAGE_END;
	s->result = r;
	return POWER_AGAIN;
}

static enum power_next power_read(struct fault_queue *fq, struct io *io)
{
	struct fault_cache *c = fq->b->cache;
	struct fault_slot *s = fault_slot(fq, io);
	uint64_t offset = s->whole.offset_bytes, len = s->whole.len_bytes;
	uint8_t *buf = s->buf;

	s->at_bytes +=
		fault_cache_read(c, offset + s->at_bytes, len - s->at_bytes, buf + s->at_bytes);
	if (s->at_bytes == len)
		return power_end(s, 0);
	/* What is not in the cache now: nothing newer can be missed, whatever happens meanwhile. */
	return power_below(fq, io, IO_READ, s->whole.flags, offset + s->at_bytes,
			   fault_cache_gap(c, offset + s->at_bytes, len - s->at_bytes),
			   buf + s->at_bytes);
}

static enum power_next power_write(struct fault_queue *fq, struct io *io)
{
	struct fault_cache *c = fq->b->cache;
	struct fault_slot *s = fault_slot(fq, io);
	uint64_t from = s->whole.offset_bytes, len = s->whole.len_bytes;
	uint64_t n_blocks = len / fq->block_bytes;
	unsigned fate = (unsigned)(fault_draw(fq, s, DRAW_FATE) % 4);
	uint64_t torn;

	s->range = (struct fault_range){.from = from, .end = from + len};
	if (s->whole.flags & IO_FUA) {
		s->stage = STAGE_THROUGH;
		return POWER_AGAIN;
	}
	/* It never waits: where something is under way, it is kept. */
	if ((fate == 0 || fault_cache_is_full(c)) && !fault_range_overlaps(c, from, from + len)) {
		s->stage = STAGE_THROUGH;
		return POWER_AGAIN;
	}
	fault_cache_keep(c, from, len, s->buf);
	if (fate != 1 || n_blocks < 2)
		return power_end(s, 0);
	torn = (1 + fault_draw(fq, s, DRAW_TEAR) % (n_blocks - 1)) * fq->block_bytes;
	if (fault_range_overlaps(c, from, from + torn))
		return power_end(s, 0);
	s->range.end = from + torn;
	s->stage = STAGE_TORN;
	fault_range_add(c, &s->range);
	return power_below(fq, io, IO_WRITE, 0, from, torn, s->buf);
}

static enum power_next power_through(struct fault_queue *fq, struct io *io)
{
	struct fault_cache *c = fq->b->cache;
	struct fault_slot *s = fault_slot(fq, io);

	if (s->range.ticket == 0)
		fault_range_add(c, &s->range);
	if (!fault_range_may_start(&s->range))
		return POWER_WAIT;
	fault_cache_begin(c, s->whole.offset_bytes, s->whole.len_bytes);
	s->begun = true;
	return power_below(fq, io, s->whole.op, s->whole.flags, s->whole.offset_bytes,
			   s->whole.len_bytes, s->buf);
}

static enum power_next power_drain(struct fault_queue *fq, struct io *io)
{
	struct fault_cache *c = fq->b->cache;
	struct fault_slot *s = fault_slot(fq, io);
	uint64_t offset, len;

	if (s->range.ticket == 0) {
		if (!fault_cache_find(c, s->at_bytes, fault_cache_size_bytes(c), fq->max_io_bytes,
				      &offset, &len)) {
			s->stage = STAGE_SETTLE;
			s->ticket = fault_range_ticket(c);
			return POWER_AGAIN;
		}
		s->range = (struct fault_range){.from = offset, .end = offset + len};
		fault_range_add(c, &s->range);
	}
	if (!fault_range_may_start(&s->range))
		return POWER_WAIT;
	/* Meanwhile others may have put some of it down. */
	if (!fault_cache_find(c, s->range.from, s->range.end, fq->max_io_bytes, &offset, &len)) {
		s->at_bytes = s->range.end;
		fault_range_remove(c, &s->range);
		return POWER_AGAIN;
	}
	s->range.from = offset;
	s->range.end = offset + len;
	s->at_bytes = s->range.end;
	fault_cache_read(c, offset, len, s->buf);
	fault_cache_begin(c, offset, len);
	s->begun = true;
	return power_below(fq, io, IO_WRITE, 0, offset, len, s->buf);
}

static enum power_next power_settle(struct fault_queue *fq, struct io *io)
{
	const struct fault_cache *c = fq->b->cache;
	struct fault_slot *s = fault_slot(fq, io);

	/* They may have taken on their way what was kept when this FLUSH came. */
	if (fault_range_has_before(c, s->ticket))
		return POWER_WAIT;
	/* One of them failed: what it left behind is our task again. */
	if (fault_cache_n_failed(c) != s->n_failed) {
		if (++s->n_drains == MAX_DRAINS)
			return power_end(s, -EIO);
		s->n_failed = fault_cache_n_failed(c);
		s->at_bytes = 0;
		s->stage = STAGE_DRAIN;
		return POWER_AGAIN;
	}
	if (!fq->b->inner_has_cache)
		return power_end(s, 0);
	s->stage = STAGE_SYNC;
	return power_below(fq, io, IO_FLUSH, s->whole.flags, 0, 0, s->buf);
}

/* What next? With the lock held. */
static enum power_next power_next(struct fault_queue *fq, struct io *io)
{
	switch (fault_slot(fq, io)->stage) {
	case STAGE_READ:
		return power_read(fq, io);
	case STAGE_WRITE:
		return power_write(fq, io);
	case STAGE_THROUGH:
		return power_through(fq, io);
	case STAGE_DRAIN:
		return power_drain(fq, io);
	case STAGE_SETTLE:
		return power_settle(fq, io);
	case STAGE_TORN:
	case STAGE_SYNC:
	case STAGE_END:
		break;
	}
	assert(false);
	return POWER_WAIT;
}

/* The inner backend is done with what power_next() prepared. */
static void power_result(struct fault_queue *fq, struct io *io, int r)
{
	struct fault_cache *c = fq->b->cache;
	struct fault_slot *s = fault_slot(fq, io);

	s->n_retries += io->retries;
	fault_cache_lock(c);
	if (s->begun)
		fault_cache_end(c, s->range.from, s->range.end - s->range.from, r == 0);
	s->begun = false;
	if (s->range.ticket > 0)
		fault_range_remove(c, &s->range);
	fault_cache_unlock(c);
	if (s->stage == STAGE_READ)
		s->at_bytes += io->len_bytes;
	if (r < 0 || (s->stage != STAGE_READ && s->stage != STAGE_DRAIN))
		power_end(s, r);
}

static void power_finish(struct fault_queue *fq, struct io *io)
{
	struct fault_slot *s = fault_slot(fq, io);

	io->op = s->whole.op;
	io->flags = s->whole.flags;
	io->offset_bytes = s->whole.offset_bytes;
	io->len_bytes = s->whole.len_bytes;
	io->buf = s->buf;
	io->retries = s->n_retries;
	fault_finish(fq, io, s->result);
}

void fault_power_go(struct fault_queue *fq, struct io *io)
{
	struct fault_slot *s = fault_slot(fq, io);

	/* A loop, since an inner backend may be done with each of many parts within submit(). */
	while (s->stage != STAGE_END) {
		enum power_next next;

		fault_cache_lock(fq->b->cache);
		do
			next = power_next(fq, io);
		while (next == POWER_AGAIN && s->stage != STAGE_END);
		fault_cache_unlock(fq->b->cache);
		if (next == POWER_WAIT) {
			fault_sleep(fq, io, FAULT_WAIT, WAIT_NS);
			return;
		}
		if (next == POWER_AGAIN)
			break;
		io->done_bytes = 0;
		io->retries = 0;
		io->phase = 0;
		s->phase = FAULT_BELOW;
		s->completed = false;
		s->in_submit = true;
		fq->b->inner_ops->io->submit(fq->inner_ctx, io);
		s->in_submit = false;
		if (!s->completed)
			return;
		power_result(fq, io, s->result);
	}
	power_finish(fq, io);
}

void fault_power_complete(struct fault_queue *fq, struct io *io, int r)
{
	struct fault_slot *s = fault_slot(fq, io);

	if (s->in_submit) {
		s->completed = true;
		s->result = r;
		return;
	}
	power_result(fq, io, r);
	fault_power_go(fq, io);
}

void fault_power_start(struct fault_queue *fq, struct io *io)
{
	struct fault_cache *c = fq->b->cache;
	struct fault_slot *s = fault_slot(fq, io);

	s->whole = (struct io_desc){
		.op = io->op,
		.flags = io->flags,
		.offset_bytes = io->offset_bytes,
		.len_bytes = io->len_bytes,
	};
	s->buf = io->buf;
	switch (io->op) {
	case IO_READ:
		s->stage = STAGE_READ;
		break;
	case IO_WRITE:
		s->stage = STAGE_WRITE;
		break;
	case IO_FLUSH:
		s->stage = STAGE_DRAIN;
		fault_cache_lock(c);
		s->n_failed = fault_cache_n_failed(c);
		fault_cache_unlock(c);
		break;
	case IO_DISCARD:
	case IO_WRITE_ZEROES:
		s->stage = STAGE_THROUGH;
		s->range = (struct fault_range){
			.from = io->offset_bytes,
			.end = io->offset_bytes + io->len_bytes,
		};
		break;
	case IO_OTHER:
	case N_IO_OPS:
		power_end(s, -EOPNOTSUPP);
		break;
	}
	fault_power_go(fq, io);
}

void fault_power_forget(struct fault_queue *fq)
{
	struct fault_cache *c = fq->b->cache;

	fault_cache_lock(c);
	for (unsigned i = 0; i < fq->depth; i++) {
		struct fault_slot *s = &fq->slots[i];

		if (s->range.ticket == 0)
			continue;
		if (s->begun)
			fault_cache_end(c, s->range.from, s->range.end - s->range.from, false);
		fault_range_remove(c, &s->range);
	}
	fault_cache_unlock(c);
}

int fault_power_drain(struct backend *b)
{
	struct fault_cache *c = b->cache;
	uint64_t offset, len, at = 0, kept;
	int r = 0;

	fault_cache_lock(c);
	kept = fault_cache_kept_bytes(c);
	if (b->conf->lying_flush && kept > 0)
		log_warning("LyingFlush=yes: %" PRIu64
			    " bytes that were written and never flushed are lost",
			    kept);
	while (!b->conf->lying_flush && r == 0 &&
	       fault_cache_find(c, at, fault_cache_size_bytes(c), MAX_IO_BYTES, &offset, &len)) {
		r = b->inner_ops->write(b->inner, offset, fault_cache_data(c, offset), len);
		fault_cache_begin(c, offset, len);
		fault_cache_end(c, offset, len, r == 0);
		at = offset + len;
	}
	fault_cache_unlock(c);
	return r;
}
