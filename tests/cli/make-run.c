/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * usage: make-run NAME N_QUEUES [busy | again]
 * Makes what a server of that name would leave in $UBLKD_STATE_DIR: state of this boot, and counters; with "busy" not
 * all zero. "again": counts as much once more in the file that is there, as a server at work would.
 */
#include <string.h>

#include "abi/io-cmd.h"
#include "state/state.h"
#include "state/stats.h"
#include "util/parse.h"

static void count(struct stats_queue *q, enum io_op op, uint64_t bytes, uint64_t ns)
{
	stats_add(&q->op[op].count, 1);
	stats_add(&q->op[op].bytes, bytes);
	stats_add(&q->op[op].latency_ns, ns);
	stats_add(&q->latency[stats_class(op)][latency_bucket(ns)], 1);
}

static void keep_busy(struct stats *s)
{
	for (unsigned i = 0; i < stats_get_n_queues(s); i++) {
		struct stats_queue *q = stats_get_queue(s, i);

		for (unsigned n = 1; n <= 1000; n++)
			count(q, IO_READ, 4096, n * 10000ULL);
		for (unsigned n = 1; n <= 100; n++)
			count(q, IO_WRITE, 65536, n * 1000000ULL);
		count(q, IO_FLUSH, 0, 3000000);
		count(q, IO_DISCARD, 1 << 20, 700);
		count(q, IO_WRITE_ZEROES, 0, 20000000000);
		stats_add(&q->op[IO_WRITE_ZEROES].errors, 1);
		stats_add(&q->op[IO_WRITE_ZEROES].errnos[stats_errno_index(ENOSPC)], 1);
		q->in_flight = 3;
		q->tid = (int32_t)(100 + i);
		stats_add(&q->turns, 1103);
		stats_add(&q->backend_ns, 5000000000);
		stats_add(&q->waited_ns, 1500000000);
		stats_add(&q->full_ns, 250000000);
	}
	stats_count_recovery(s, 1000000000, 1250000000);
}

/* The file as its writer has it. */
static int make(const char *name, unsigned n_queues, bool again, struct stats *ret)
{
	struct stats old = {0};
	int r = again ? stats_open(name, &old) : 0;

	if (r == 0)
		r = stats_create(name, n_queues, 128, ret);
	if (r == 0 && again)
		stats_continue(ret, &old);
	stats_close(&old);
	return r;
}

int main(int argc, char **argv)
{
	struct state st = {
		.dev_id = 7, .pid = 1, .backend = (char *)"null", .definition = (char *)""};
	const bool again = argc > 3 && strcmp(argv[3], "again") == 0;
	AUTO_CLOSE int lock = -1;
	uint32_t n_queues = 0;
	struct stats s;
	int r;

	if (argc < 3 || parse_u32(argv[2], &n_queues) < 0)
		return 64;
	st.target = (char *)"a \"quoted\\path\"";
	st.cookie = state_cookie(argv[1]);
	r = state_lock(argv[1], &lock);
	if (r >= 0)
		r = state_boot_id(st.boot_id);
	if (r >= 0)
		r = state_write(argv[1], &st);
	if (r >= 0)
		r = make(argv[1], n_queues, again, &s);
	if (r < 0) {
		fprintf(stderr, "make-run: %s\n", strerror(-r));
		return 1;
	}
	if (argc > 3)
		keep_busy(&s);
	stats_close(&s);
	return 0;
}
