/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A resource (bytes or requests, read or write) is a line in time. A request reserves in it as much
 * time as it costs at that rate, behind all who came before, and goes when its time begins; so it
 * may be of any length, and the debt is paid by those behind it. An idle line falls back behind the
 * clock, by BURST_NS at most: that much may go at once. Nobody gives a reservation back, and being
 * woken up late costs a request nothing but that delay: the rate is kept in any case.
 *
 * Each queue has at most one reservation for its large and one for its small requests; the others
 * wait behind them in the queue. So the queues take turns, request by request, and none starves:
 * what is before a request that is the first of its queue is a request or two of each other queue.
 *
 * A small request would wait long behind large ones in the line. For those there is a lane beside
 * it, at half the rate. A small one pays in both and goes at the earlier of the two times, so the
 * large ones wait that much longer, but keep the other half.
 *
 * Limits are replaced as a whole and the old ones kept until the end: what a queue reserves in
 * those at the same moment is lost, and does no harm to the new ones. A reload costs some bytes.
 */
#include "ring/throttle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

#define NS_PER_S 1000000000ULL
#define BURST_NS 20000000ULL

/* Far behind any clock, and sums of such times and costs stay within 64 bits. */
#define MAX_TIME_NS   (1ULL << 63)
#define MAX_COST_NS   (1ULL << 61)
#define MAX_RATE      (1ULL << 62)
#define MAX_LEN_BYTES (1ULL << 32)

/* In one line of the cache: whoever takes from one resource of a direction takes from both. */
struct resource {
	uint64_t per_s;   /* 0: no limit */
	uint64_t line_ns; /* atomic: until when it is reserved */
	uint64_t lane_ns; /* atomic */
};

enum direction {
	THROTTLE_READ,
	THROTTLE_WRITE,
	N_DIRECTIONS,
};

struct throttle_limits {
	struct throttle_limits *older;
	struct {
		struct resource bytes;
		struct resource requests;
	} __attribute__((aligned(64))) directions[N_DIRECTIONS];
};

int throttle_new(struct throttle **ret)
{
	struct throttle *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*ret = t;
	return 0;
}

struct throttle *throttle_free(struct throttle *t)
{
	struct throttle_limits *older;

	if (!t)
		return NULL;
	for (; t->all; t->all = older) {
		older = t->all->older;
		free(t->all);
	}
	free(t);
	return NULL;
}

int throttle_set(struct throttle *t, const struct throttle_rates *rates)
{
	struct throttle_limits *l = NULL;

	if (memcmp(rates, &t->rates, sizeof(*rates)) == 0)
		return 0; /* and no reservation is lost */
	if (rates->read_bytes || rates->write_bytes || rates->read_iops || rates->write_iops) {
		l = aligned_alloc(_Alignof(struct throttle_limits), sizeof(*l));
		if (!l)
			return -ENOMEM;
		*l = (struct throttle_limits){.older = t->all};
		l->directions[THROTTLE_READ].bytes.per_s = MIN(rates->read_bytes, MAX_RATE);
		l->directions[THROTTLE_READ].requests.per_s = MIN(rates->read_iops, MAX_RATE);
		l->directions[THROTTLE_WRITE].bytes.per_s = MIN(rates->write_bytes, MAX_RATE);
		l->directions[THROTTLE_WRITE].requests.per_s = MIN(rates->write_iops, MAX_RATE);
		t->all = l;
	}
	t->rates = *rates;
	__atomic_store_n(&t->limits, l, __ATOMIC_RELEASE);
	return 0;
}

static bool throttle_has_data(const struct io *io)
{
	return io->op == IO_READ || io->op == IO_WRITE;
}

static bool throttle_is_small(const struct io *io)
{
	return throttle_has_data(io) && io->len_bytes <= THROTTLE_SMALL_BYTES;
}

/* Reserve @cost_ns at the end of a line, or of a lane up to @max_ns; returns when it begins. */
static uint64_t throttle_append(uint64_t *end_ns, uint64_t cost_ns, uint64_t max_ns,
				uint64_t now_ns)
{
	uint64_t oldest_ns = now_ns > BURST_NS ? now_ns - BURST_NS : 0;
	uint64_t old_ns = __atomic_load_n(end_ns, __ATOMIC_RELAXED);
	uint64_t start_ns, new_ns;

	do {
		start_ns = MAX(old_ns, oldest_ns);
		new_ns = MAX(start_ns, MIN(start_ns + cost_ns, max_ns));
	} while (!__atomic_compare_exchange_n(end_ns, &old_ns, new_ns, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return start_ns;
}

static uint64_t throttle_reserve(struct resource *r, uint64_t n, bool small, uint64_t now_ns,
				 uint64_t *rest)
{
	uint64_t product, cost_ns, line_ns, lane_ns;

	if (r->per_s == 0)
		return 0;
	if (*rest >= r->per_s) /* of other limits */
		*rest = 0;
	product = MIN(n, MAX_LEN_BYTES) * NS_PER_S + *rest;
	*rest = product % r->per_s;
	cost_ns = MIN(product / r->per_s, MAX_COST_NS);
	line_ns = throttle_append(&r->line_ns, cost_ns, MAX_TIME_NS, now_ns);
	if (!small)
		return line_ns;
	/* Never longer than the line: where no large ones are, it has nothing to give or to owe. */
	lane_ns = throttle_append(&r->lane_ns, 2 * cost_ns, line_ns + 2 * cost_ns, now_ns);
	return MIN(line_ns, lane_ns);
}

/* When it may go. */
static uint64_t throttle_take(struct throttle_queue *tq, struct throttle_limits *l,
			      const struct io *io, uint64_t now_ns)
{
	enum direction d = io->op == IO_READ ? THROTTLE_READ : THROTTLE_WRITE;
	bool small = throttle_is_small(io);
	uint64_t bytes_ns = 0, requests_ns;

	if (throttle_has_data(io))
		bytes_ns = throttle_reserve(&l->directions[d].bytes, io->len_bytes, small, now_ns,
					    &tq->rest[2 * d]);
	requests_ns = throttle_reserve(&l->directions[d].requests, 1, small, now_ns,
				       &tq->rest[2 * d + 1]);
	return MAX(bytes_ns, requests_ns);
}

static struct throttle_line *throttle_line(struct throttle_queue *tq, const struct io *io)
{
	return &tq->lines[(io->op == IO_READ ? 0 : 2) + (throttle_is_small(io) ? 0 : 1)];
}

bool throttle_admit(struct throttle_queue *tq, struct throttle *t, struct io *io, uint64_t now_ns)
{
	struct throttle_limits *l = __atomic_load_n(&t->limits, __ATOMIC_ACQUIRE);
	struct throttle_line *line = throttle_line(tq, io);

	if (!l || io->op == IO_FLUSH)
		return true;
	if (!line->first) {
		line->go_ns = throttle_take(tq, l, io, now_ns);
		line->limits = l;
		if (line->go_ns <= now_ns)
			return true;
		line->first = io;
	} else {
		line->last->next = io;
	}
	line->last = io;
	io->next = NULL;
	tq->n++;
	return false;
}

static struct io *throttle_pop(struct throttle_queue *tq, struct throttle_line *line)
{
	struct io *io = line->first;

	line->first = io->next;
	line->limits = NULL;
	io->next = NULL;
	tq->n--;
	return io;
}

struct io *throttle_next(struct throttle_queue *tq, struct throttle *t, uint64_t now_ns,
			 uint64_t *ret_wait_ns)
{
	struct throttle_limits *l = t ? __atomic_load_n(&t->limits, __ATOMIC_ACQUIRE) : NULL;
	struct throttle_line *earliest = NULL;

	for (unsigned i = 0; tq->n > 0 && i < THROTTLE_N_LINES; i++) {
		struct throttle_line *line = &tq->lines[i];

		if (!line->first)
			continue;
		if (!l)
			return throttle_pop(tq, line);
		if (line->limits != l) {
			line->go_ns = throttle_take(tq, l, line->first, now_ns);
			line->limits = l;
		}
		if (!earliest || line->go_ns < earliest->go_ns)
			earliest = line;
	}
	if (earliest && earliest->go_ns <= now_ns)
		return throttle_pop(tq, earliest);
	*ret_wait_ns = earliest ? earliest->go_ns - now_ns : UINT64_MAX;
	return NULL;
}
