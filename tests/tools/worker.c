/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A worker is a thread with a ring and a request in flight for each of its lanes. What io_uring has no
 * operation for on every kernel, discard, the worker does by itself, with the others in flight.
 */
#include <inttypes.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <string.h>

#include "torture.h"

#define MOST_REPORTS 20

struct slot {
	struct lane lane;
	struct op op;
	void *buf;
};

struct worker {
	struct run *run;
	uint32_t first_lane;
	struct slot *slots;
	struct io_uring ring;
	bool has_ring;
	uint32_t n_in_flight;
	struct totals *totals;
};

static bool worker_may_report(struct worker *w)
{
	return atomic_fetch_add(&w->run->n_reports, 1) < MOST_REPORTS;
}

static void worker_error(struct worker *w, struct slot *s, const char *what, int r)
{
	w->totals->n_errors++;
	if (!worker_may_report(w))
		return;
	errno = -r;
	fprintf(stderr,
		"error: %s of %" PRIu32 " at %" PRIu64 " (lane %" PRIu32 ", operation %" PRIu32
		"): %m\n",
		what, s->op.len_bytes, s->op.offset_bytes, w->first_lane + (uint32_t)(s - w->slots),
		s->op.number);
}

/* What was read at @offset_bytes against what must be there. */
static void worker_check(struct worker *w, struct slot *s, const char *what, uint64_t offset_bytes,
			 uint64_t len_bytes)
{
	const struct plan *p = &w->run->plan;
	uint32_t first = lane_block(&s->lane, offset_bytes);
	struct look look;

	for (uint64_t at = 0; at < len_bytes; at += p->block_bytes, first++) {
		uint32_t state = s->lane.states[first];
		enum verdict v;

		if (state == STATE_UNKNOWN)
			continue;
		w->totals->n_checked++;
		v = pattern_judge((char *)s->buf + at, p->block_bytes, p->seed, offset_bytes + at,
				  state, &look);
		w->totals->n_verdicts[v]++;
		if (v == VERDICT_SAME || !worker_may_report(w))
			continue;
		fprintf(stderr,
			"mismatch at %" PRIu64 " (lane %" PRIu32 ", %s after operation %" PRIu32
			"): %s: expected %s %" PRIu32 ", found %zu words of %" PRIu32 " to %" PRIu32
			", %zu of zeros, %zu foreign (sector %" PRIu32 ")\n",
			offset_bytes + at, w->first_lane + (uint32_t)(s - w->slots), what,
			s->lane.number, verdict_names[v],
			state == STATE_ZERO ? "zeros" : "generation", state, look.n_valid,
			look.lowest, look.highest, look.n_zero, look.n_foreign, look.sector);
	}
}

/* One that was acknowledged before the power went must be there after. */
static void worker_log(struct worker *w, struct slot *s)
{
	char line[64];
	int n;

	if (w->run->log_fd < 0 || (s->op.kind != OP_FLUSH && s->op.kind != OP_FUA))
		return;
	n = snprintf(line, sizeof(line), "%s %" PRIu32 " %" PRIu32 " .\n", op_names[s->op.kind],
		     w->first_lane + (uint32_t)(s - w->slots), s->op.number);
	if (write(w->run->log_fd, line, (size_t)n) != n)
		worker_error(w, s, "log", -errno);
}

static void worker_time_gap(struct run *run)
{
	uint64_t now = now_ns(), last = atomic_exchange(&run->last_ns, now);
	uint64_t gap = now > last ? now - last : 0, most = atomic_load(&run->largest_gap_ns);

	while (gap > most && !atomic_compare_exchange_weak(&run->largest_gap_ns, &most, gap))
		;
}

static void worker_finish(struct worker *w, struct slot *s, int r)
{
	struct totals *t = w->totals;
	bool moves = s->op.kind <= OP_FUA; /* as many bytes as it returns */

	worker_time_gap(w->run);
	if (r < 0 || (moves && (uint32_t)r != s->op.len_bytes)) {
		worker_error(w, s, op_names[s->op.kind], r < 0 ? r : -EREMOTEIO);
		if (s->op.kind != OP_READ && s->op.len_bytes) {
			/* what is there now is not known */
			memset(s->lane.states + lane_block(&s->lane, s->op.offset_bytes), 0,
			       s->op.len_bytes / s->lane.plan->block_bytes *
				       sizeof(*s->lane.states));
		}
		return;
	}
	t->n_ops[s->op.kind]++;
	if (s->op.kind == OP_READ) {
		t->read_bytes += s->op.len_bytes;
		worker_check(w, s, "read", s->op.offset_bytes, s->op.len_bytes);
	} else if (moves) {
		t->written_bytes += s->op.len_bytes;
	}
	lane_apply(&s->lane, &s->op);
	worker_log(w, s);
}

static bool worker_goes_on(struct run *run, struct slot *s)
{
	if (atomic_load_explicit(&torture_stop, memory_order_relaxed))
		return false;
	if (run->n_operations && s->lane.number >= run->n_operations + STATE_FIRST - 1)
		return false;
	return now_ns() < run->deadline_ns;
}

static void worker_queue(struct worker *w, struct slot *s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	const struct op *op = &s->op;
	int fd = w->run->target.fd;

	switch (op->kind) {
	case OP_READ:
		io_uring_prep_read(sqe, fd, s->buf, op->len_bytes, op->offset_bytes);
		break;
	case OP_FUA:
	case OP_WRITE:
		pattern_fill(s->buf, op->len_bytes, w->run->plan.seed, op->offset_bytes,
			     op->number);
		io_uring_prep_write(sqe, fd, s->buf, op->len_bytes, op->offset_bytes);
		sqe->rw_flags = op->kind == OP_FUA ? RWF_DSYNC : 0;
		break;
	case OP_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	default:
		/* of a block device the first is BLKZEROOUT, the second zeros that may unmap */
		io_uring_prep_fallocate(sqe, fd,
					op->kind == OP_ZERO
						? FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
						: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)op->offset_bytes, op->len_bytes);
		break;
	}
	io_uring_sqe_set_data(sqe, s);
	w->n_in_flight++;
}

/* The next operation of a lane that has none under way. */
static int worker_advance(struct worker *w, struct slot *s)
{
	while (worker_goes_on(w->run, s)) {
		int r;

		lane_next(&s->lane, &s->op);
		if (s->op.kind != OP_DISCARD) {
			worker_queue(w, s);
			return 0;
		}
		r = io_uring_submit(&w->ring);
		if (r < 0)
			return r;
		worker_finish(w, s,
			      target_discard(&w->run->target, s->op.offset_bytes, s->op.len_bytes));
	}
	return 0;
}

static int worker_work(struct worker *w)
{
	for (uint32_t i = 0; i < w->run->depth; i++) {
		int r = worker_advance(w, w->slots + i);

		if (r < 0)
			return r;
	}
	while (w->n_in_flight > 0) {
		struct io_uring_cqe *cqe;
		int r = io_uring_submit_and_wait(&w->ring, 1);

		if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY)
			return r;
		while (io_uring_peek_cqe(&w->ring, &cqe) == 0) {
			struct slot *s = io_uring_cqe_get_data(cqe);

			r = cqe->res;
			io_uring_cqe_seen(&w->ring, cqe);
			w->n_in_flight--;
			worker_finish(w, s, r);
			r = worker_advance(w, s);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The self-test: makes one block wrong. -ENODATA: there is none that was written. */
static int worker_corrupt(struct worker *w)
{
	const struct plan *p = &w->run->plan;

	for (uint32_t i = 0; i < w->run->depth; i++) {
		struct slot *s = w->slots + i;

		for (uint32_t b = 0; b < s->lane.n_blocks; b++) {
			uint64_t at = s->lane.first_bytes + (uint64_t)b * p->block_bytes;
			uint32_t state = s->lane.states[b];

			if (state <= STATE_FIRST)
				continue;
			pattern_fill(s->buf, p->block_bytes, p->seed, at, state);
			if (w->run->corrupt == VERDICT_LOST)
				memset(s->buf, 0, p->block_bytes);
			else if (w->run->corrupt == VERDICT_STALE)
				pattern_fill(s->buf, p->block_bytes, p->seed, at, state - 1);
			else if (w->run->corrupt == VERDICT_TORN)
				memset(s->buf, 0, p->block_bytes / 2);
			else
				pattern_fill(s->buf, p->block_bytes, p->seed, at + p->block_bytes,
					     state);
			fprintf(stderr, "corrupted the block at %" PRIu64 "\n", at);
			return target_pwrite(&w->run->target, s->buf, p->block_bytes, at);
		}
	}
	return -ENODATA;
}

static void worker_check_all(struct worker *w, struct slot *s)
{
	const struct lane *l = &s->lane;
	uint64_t end = l->first_bytes + (uint64_t)l->n_blocks * l->plan->block_bytes, len;

	for (uint64_t at = l->first_bytes; at < end; at += len) {
		int r;

		len = MIN(end - at, l->plan->max_bytes);
		s->op = (struct op){
			.offset_bytes = at, .len_bytes = (uint32_t)len, .number = l->number};
		r = target_pread(&w->run->target, s->buf, len, at);
		if (r < 0)
			worker_error(w, s, "read at the end", r);
		else
			worker_check(w, s, "read at the end", at, len);
	}
}

static int worker_init(struct worker *w)
{
	int r = io_uring_queue_init(w->run->depth, &w->ring, 0);

	if (r < 0)
		return r;
	w->has_ring = true;
	w->slots = calloc(w->run->depth, sizeof(*w->slots));
	if (!w->slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->run->depth; i++) {
		r = lane_init(&w->slots[i].lane, &w->run->plan, w->first_lane + i);
		if (r < 0)
			return r;
		if (posix_memalign(&w->slots[i].buf, 4096, w->run->plan.max_bytes))
			return -ENOMEM;
	}
	return 0;
}

static void worker_deinit(struct worker *w)
{
	for (uint32_t i = 0; w->slots && i < w->run->depth; i++) {
		lane_deinit(&w->slots[i].lane);
		free(w->slots[i].buf);
	}
	free(w->slots);
}

int worker_run(struct run *run, uint32_t index, struct totals *totals)
{
	struct worker w = {.run = run, .first_lane = index * run->depth, .totals = totals};
	int r = worker_init(&w);

	if (r == 0)
		r = worker_work(&w);
	/* no request may write to a buffer that is freed */
	if (w.has_ring)
		io_uring_queue_exit(&w.ring);
	if (r == 0 && index == 0 && run->corrupt != VERDICT_SAME)
		r = worker_corrupt(&w);
	if (r == 0)
		r = target_forget(&run->target);
	for (uint32_t i = 0; r == 0 && i < run->depth; i++)
		worker_check_all(&w, w.slots + i);
	if (w.n_in_flight == 0)
		worker_deinit(&w); /* else the process ends at once */
	return r;
}
