/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * After a power cut. The log names the plan and each flush and FUA write that was acknowledged, so the lanes can be
 * replayed up to there. What a lane did after its last flush may be there or not, in any order, and torn: such blocks
 * are counted apart. All else must be what the last flush, or a FUA write since, has made durable, or newer.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "torture.h"

/* The log may lack the last three lines, all of one lane, which then was under way to its fourth flush. */
#define UNSEEN_FLUSHES 4
#define MOST_AHEAD     100000
#define MOST_REPORTS   20

struct ack {
	uint32_t lane, number;
	bool is_flush;
};

struct block {
	uint32_t age;        /* operation that it must hold at least; 0: may hold anything */
	uint32_t later_zero; /* operation since that may have made it zeros */
	bool is_zero;        /* that operation made zeros */
};

struct verify {
	struct plan plan;
	struct target target;
	struct ack *acks;
	size_t n_acks, max_acks;
	uint64_t n_blocks, n_newer, n_torn_unflushed, n_errors;
	uint64_t n_verdicts[N_VERDICTS];
	unsigned n_reports;
};

#define PLAN_FORMAT                                                                                \
	"plan %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %d"

void plan_print(const struct plan *p, int fd)
{
	char line[320];
	int n = snprintf(line, sizeof(line), PLAN_FORMAT, p->seed, p->n_lanes, p->block_bytes,
			 p->offset_bytes, p->lane_bytes, p->max_bytes, p->discard_zeroes);

	for (unsigned i = 0; i < N_OPS; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, " %" PRIu32, p->weights[i]);
	n += snprintf(line + n, sizeof(line) - (size_t)n, " .\n");
	if (write(fd, line, (size_t)n) != n)
		fprintf(stderr, "cannot write to the log: %m\n");
}

int plan_parse(const char *line, struct plan *ret)
{
	struct plan p = {0};
	int zeroes, at = 0, n = 0;
	uint64_t sum = 0;

	if (sscanf(line,
		   "plan %" SCNu64 " %" SCNu32 " %" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNu32
		   " %d%n",
		   &p.seed, &p.n_lanes, &p.block_bytes, &p.offset_bytes, &p.lane_bytes,
		   &p.max_bytes, &zeroes, &at) != 7)
		return -EINVAL;
	p.discard_zeroes = zeroes;
	for (unsigned i = 0; i < N_OPS; i++, at += n) {
		if (sscanf(line + at, "%" SCNu32 "%n", p.weights + i, &n) != 1)
			return -EINVAL;
		sum += p.weights[i];
	}
	if (strcmp(line + at, " .\n") || sum == 0 || p.n_lanes == 0 || p.block_bytes == 0 ||
	    p.block_bytes % SECTOR_BYTES || p.max_bytes < p.block_bytes ||
	    p.lane_bytes < p.block_bytes)
		return -EINVAL;
	*ret = p;
	return 0;
}

static int verify_add_ack(struct verify *v, const struct ack *ack)
{
	if (v->n_acks == v->max_acks) {
		size_t max = v->max_acks ? v->max_acks * 2 : 1024;
		struct ack *more = reallocarray(v->acks, max, sizeof(*more));

		if (!more)
			return -ENOMEM;
		v->acks = more;
		v->max_acks = max;
	}
	v->acks[v->n_acks++] = *ack;
	return 0;
}

static int ack_compare(const void *a, const void *b)
{
	const struct ack *x = a, *y = b;

	if (x->lane != y->lane)
		return x->lane < y->lane ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* A line that was cut off, and what others print, counts for nothing. */
static int verify_read_line(struct verify *v, const char *line)
{
	struct ack ack;
	int at = 0;

	if (!strncmp(line, "plan ", 5))
		return v->plan.n_lanes ? -EINVAL : plan_parse(line, &v->plan);
	if (sscanf(line, "flush %" SCNu32 " %" SCNu32 "%n", &ack.lane, &ack.number, &at) == 2)
		ack.is_flush = true;
	else if (sscanf(line, "fua %" SCNu32 " %" SCNu32 "%n", &ack.lane, &ack.number, &at) == 2)
		ack.is_flush = false;
	else
		return 0;
	if (strcmp(line + at, " .\n"))
		return 0;
	return ack.lane < v->plan.n_lanes && ack.number >= STATE_FIRST ? verify_add_ack(v, &ack)
								       : -EINVAL;
}

static int verify_read_log(struct verify *v, const char *path)
{
	AUTO_FCLOSE FILE *f = fopen(path, "re");
	AUTO_FREE char *line = NULL;
	size_t size = 0, number = 0;

	if (!f) {
		fprintf(stderr, "cannot open %s: %m\n", path);
		return -errno;
	}
	while (getline(&line, &size, f) > 0) {
		int r = verify_read_line(v, line);

		number++;
		if (r < 0) {
			fprintf(stderr, "%s:%zu: %s\n", path, number, strerror(-r));
			return r;
		}
	}
	if (v->plan.n_lanes == 0 || v->n_acks == 0) {
		fprintf(stderr, "%s: tells of no %s\n", path, v->plan.n_lanes ? "flush" : "plan");
		return -ENODATA;
	}
	qsort(v->acks, v->n_acks, sizeof(*v->acks), ack_compare);
	return 0;
}

/* One operation of the replay: @durable: acknowledged, and it or a flush after it made it last. */
static void blocks_apply(struct block *blocks, const struct lane *l, const struct op *op,
			 bool durable)
{
	bool zeroes = op->kind == OP_ZERO || op->kind == OP_PUNCH ||
		      (op->kind == OP_DISCARD && l->plan->discard_zeroes);
	struct block *b = blocks + lane_block(l, op->offset_bytes),
		     *end = b + op->len_bytes / l->plan->block_bytes;

	if (op->kind == OP_READ || op->kind == OP_FLUSH)
		return;
	for (; b < end; b++) {
		if (op->kind == OP_DISCARD && !zeroes)
			*b = (struct block){
				0}; /* and what is written over it later is known only with a flush */
		else if (durable)
			*b = (struct block){.age = op->number, .is_zero = zeroes};
		else if (zeroes)
			b->later_zero = op->number;
	}
}

/* What the blocks of a lane must hold, from its @n acknowledgements. */
static void verify_replay(struct lane *l, const struct ack *acks, size_t n, struct block *blocks)
{
	uint32_t last_flush = 0, last = n ? acks[n - 1].number : 0, first_unseen;
	unsigned n_unseen = 0;
	size_t at = 0;

	for (size_t i = 0; i < n; i++)
		if (acks[i].is_flush)
			last_flush = acks[i].number;
	for (first_unseen = last + 1;
	     n_unseen < UNSEEN_FLUSHES && l->number < first_unseen + MOST_AHEAD;) {
		struct op op;
		bool acked;

		lane_next(l, &op);
		while (at < n && acks[at].number < op.number)
			at++;
		acked = op.number <= last_flush || (at < n && acks[at].number == op.number);
		blocks_apply(blocks, l, &op, acked);
		n_unseen += op.number >= first_unseen && (op.kind == OP_FLUSH || op.kind == OP_FUA);
	}
}

/* SAME: as it must be or newer. *@ret_torn: parts of it are of two operations, both of which may be there. */
static enum verdict verify_judge(const struct block *b, const struct look *l, size_t n_words,
				 bool *ret_torn)
{
	bool zeros_fit = b->is_zero || b->later_zero > b->age;
	bool old = l->n_valid && l->lowest < b->age;

	*ret_torn = false;
	if (l->n_zero == n_words)
		return zeros_fit ? VERDICT_SAME : VERDICT_LOST;
	if (l->n_foreign == n_words)
		return VERDICT_FOREIGN;
	if (l->n_valid == n_words && l->lowest == l->highest)
		return old ? VERDICT_STALE : VERDICT_SAME;
	if (old || l->n_foreign || (l->n_zero && !zeros_fit))
		return VERDICT_TORN;
	*ret_torn = true;
	return VERDICT_SAME;
}

static void verify_block(struct verify *v, uint32_t lane, const struct block *b, const void *buf,
			 uint64_t at)
{
	struct look l;
	enum verdict verdict;
	bool torn;

	if (b->age == 0)
		return;
	pattern_look(buf, v->plan.block_bytes, v->plan.seed, at, &l);
	verdict = verify_judge(b, &l, v->plan.block_bytes / sizeof(uint64_t), &torn);
	v->n_blocks++;
	v->n_verdicts[verdict]++;
	if (torn)
		v->n_torn_unflushed++;
	else if (verdict == VERDICT_SAME && (l.n_zero ? !b->is_zero : l.lowest > b->age))
		v->n_newer++;
	if (verdict != VERDICT_SAME && v->n_reports++ < MOST_REPORTS)
		fprintf(stderr,
			"mismatch at %" PRIu64 " (lane %" PRIu32 "): %s: %s of operation %" PRIu32
			" were acknowledged, found %zu words of %" PRIu32 " to %" PRIu32
			", %zu of zeros, %zu foreign (sector %" PRIu32 ")\n",
			at, lane, verdict_names[verdict], b->is_zero ? "zeros" : "data", b->age,
			l.n_valid, l.lowest, l.highest, l.n_zero, l.n_foreign, l.sector);
}

static int verify_lane(struct verify *v, uint32_t index, const struct ack *acks, size_t n)
{
	struct lane l;
	AUTO_FREE struct block *blocks = NULL;
	AUTO_FREE char *buf = malloc(v->plan.max_bytes);
	uint64_t end, len;
	int r = lane_init(&l, &v->plan, index);

	if (r == 0)
		blocks = calloc(l.n_blocks, sizeof(*blocks));
	if (!blocks || !buf) {
		lane_deinit(&l);
		return -ENOMEM;
	}
	verify_replay(&l, acks, n, blocks);
	end = l.first_bytes + (uint64_t)l.n_blocks * v->plan.block_bytes;
	for (uint64_t at = l.first_bytes; at < end; at += len) {
		len = MIN(end - at, v->plan.max_bytes / v->plan.block_bytes * v->plan.block_bytes);
		r = target_pread(&v->target, buf, len, at);
		if (r < 0) {
			v->n_errors++;
			fprintf(stderr, "cannot read at %" PRIu64 ": %s\n", at, strerror(-r));
			continue;
		}
		for (uint64_t i = 0; i < len; i += v->plan.block_bytes)
			verify_block(v, index, blocks + lane_block(&l, at + i), buf + i, at + i);
	}
	lane_deinit(&l);
	return 0;
}

static int verify_all(struct verify *v)
{
	size_t first = 0, end;
	int r = target_forget(&v->target);

	for (uint32_t lane = 0; r == 0 && lane < v->plan.n_lanes; lane++, first = end) {
		for (end = first; end < v->n_acks && v->acks[end].lane == lane; end++)
			;
		r = verify_lane(v, lane, v->acks + first, end - first);
	}
	return r;
}

int verify_log(const char *path, const char *device)
{
	struct verify v = {.target.fd = -1};
	uint64_t n_wrong = 0;
	int r = verify_read_log(&v, path);

	if (r == 0)
		r = target_open(&v.target, device, false, false);
	if (r == 0) {
		r = verify_all(&v);
		if (r < 0)
			fprintf(stderr, "cannot verify %s: %s\n", device, strerror(-r));
	}
	target_close(&v.target);
	free(v.acks);
	if (r < 0)
		return 2;
	printf("{\"acknowledged\":%zu,\"blocks\":%" PRIu64 ",\"newer\":%" PRIu64
	       ",\"torn_unflushed\":%" PRIu64,
	       v.n_acks, v.n_blocks, v.n_newer, v.n_torn_unflushed);
	for (unsigned i = VERDICT_SAME + 1; i < N_VERDICTS; i++) {
		if (i == VERDICT_AHEAD)
			continue; /* is newer here */
		printf(",\"%s\":%" PRIu64, verdict_names[i], v.n_verdicts[i]);
		n_wrong += v.n_verdicts[i];
	}
	printf(",\"errors\":%" PRIu64 "}\n", v.n_errors);
	return n_wrong || v.n_errors ? 1 : 0;
}
