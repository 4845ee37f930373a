/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Limits, with a clock that the tests set. What real threads do to them: test-throttle-threads.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ring/throttle.h"
#include "util/cleanup.h"

#define KIB      (1ULL << 10)
#define MIB      (1ULL << 20)
#define MS       1000000ULL
#define S        1000000000ULL
#define N_QUEUES 8

/* One that asks for the next as soon as it has got one, @depth at a time. */
struct load {
	unsigned queue;
	enum io_op op;
	uint64_t len_bytes;
	unsigned depth;
	uint64_t period_ns; /* not at once: one each time */

	struct io *ios;
	uint64_t next_ns;
	uint64_t n_done;
	uint64_t max_wait_ns;
};

struct sim {
	struct throttle *t;
	struct throttle_queue queues[N_QUEUES];
	uint64_t late_ns[N_QUEUES]; /* how long it takes to wake a queue up */
	uint64_t wake_ns[N_QUEUES];
	uint64_t now_ns;
	struct load loads[16];
	unsigned n_loads;
};

static void sim_start(struct sim *s, const struct throttle_rates *rates)
{
	*s = (struct sim){.now_ns = 5000 * S};
	assert_int_equal(throttle_new(&s->t), 0);
	assert_false(throttle_is_on(s->t));
	assert_int_equal(throttle_set(s->t, rates), 0);
}

static struct load *sim_add(struct sim *s, const struct load *load)
{
	struct load *l = &s->loads[s->n_loads++];

	assert_true(s->n_loads <= ARRAY_SIZE(s->loads));
	*l = *load;
	l->ios = calloc(l->depth, sizeof(*l->ios));
	assert_non_null(l->ios);
	for (unsigned i = 0; i < l->depth; i++)
		l->ios[i] = (struct io){.op = l->op, .len_bytes = l->len_bytes};
	return l;
}

static void sim_stop(struct sim *s)
{
	for (unsigned i = 0; i < s->n_loads; i++)
		free(s->loads[i].ios);
	assert_null(throttle_free(s->t));
}

static struct load *sim_load_of(struct sim *s, const struct io *io)
{
	for (unsigned i = 0; i < s->n_loads; i++) {
		if (io >= s->loads[i].ios && io < s->loads[i].ios + s->loads[i].depth)
			return &s->loads[i];
	}
	fail();
	return NULL;
}

/* done_bytes: when it was sent; state: it is waiting. */
static void sim_done(struct sim *s, struct load *l, struct io *io)
{
	l->n_done++;
	l->max_wait_ns = MAX(l->max_wait_ns, s->now_ns - io->done_bytes);
	io->state = 0;
}

static void sim_send(struct sim *s, struct load *l, struct io *io)
{
	do {
		io->done_bytes = s->now_ns;
		io->state = 1;
		if (!throttle_admit(&s->queues[l->queue], s->t, io, s->now_ns))
			return;
		sim_done(s, l, io);
	} while (!l->period_ns);
}

static void sim_send_new(struct sim *s, unsigned queue)
{
	for (unsigned i = 0; i < s->n_loads; i++) {
		struct load *l = &s->loads[i];

		if (l->queue != queue || s->now_ns < l->next_ns)
			continue;
		l->next_ns = l->period_ns ? s->now_ns + l->period_ns : UINT64_MAX;
		for (unsigned j = 0; j < l->depth; j++) {
			if (l->ios[j].state)
				continue;
			sim_send(s, l, &l->ios[j]);
			if (l->period_ns)
				break;
		}
	}
}

/* One turn of a queue, and when the next one is. */
static void sim_turn(struct sim *s, unsigned queue)
{
	uint64_t wait_ns = 0;
	struct io *io;

	sim_send_new(s, queue);
	while ((io = throttle_next(&s->queues[queue], s->t, s->now_ns, &wait_ns))) {
		struct load *l = sim_load_of(s, io);

		sim_done(s, l, io);
		if (!l->period_ns)
			sim_send(s, l, io);
	}
	assert_true(wait_ns > 0);
	assert_int_equal(throttle_is_empty(&s->queues[queue]), wait_ns == UINT64_MAX);
	s->wake_ns[queue] = UINT64_MAX;
	if (wait_ns != UINT64_MAX)
		s->wake_ns[queue] = s->now_ns + wait_ns + s->late_ns[queue];
	for (unsigned i = 0; i < s->n_loads; i++) {
		if (s->loads[i].queue == queue)
			s->wake_ns[queue] = MIN(s->wake_ns[queue], s->loads[i].next_ns);
	}
}

static void sim_run(struct sim *s, uint64_t for_ns)
{
	uint64_t end_ns = s->now_ns + for_ns;

	for (unsigned q = 0; q < N_QUEUES; q++)
		s->wake_ns[q] = s->now_ns;
	for (;;) {
		unsigned next = 0;

		for (unsigned q = 1; q < N_QUEUES; q++) {
			if (s->wake_ns[q] < s->wake_ns[next])
				next = q;
		}
		if (s->wake_ns[next] > end_ns)
			break;
		s->now_ns = s->wake_ns[next];
		sim_turn(s, next);
	}
	s->now_ns = end_ns;
}

static uint64_t done_bytes(const struct sim *s, enum io_op op)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n_loads; i++)
		n += s->loads[i].op == op ? s->loads[i].n_done * s->loads[i].len_bytes : 0;
	return n;
}

static uint64_t done_requests(const struct sim *s, enum io_op op)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n_loads; i++)
		n += s->loads[i].op == op ? s->loads[i].n_done : 0;
	return n;
}

static void assert_within(uint64_t got, uint64_t want, unsigned percent)
{
	assert_in_range(got, want - want * percent / 100, want + want * percent / 100);
}

static void test_rates_are_reached_and_kept(void **state)
{
	const struct throttle_rates bytes = {.read_bytes = 100 * MIB, .write_bytes = 50 * MIB};
	const uint64_t mixes[][4] = {
		{4 * KIB}, {1 * MIB}, {512, 1 * MIB}, {4 * KIB, 16 * KIB, 17 * KIB, 256 * KIB}};

	for (size_t i = 0; i < ARRAY_SIZE(mixes); i++) {
		for (unsigned n_queues = 1; n_queues <= 2; n_queues++) {
			struct sim s;

			sim_start(&s, &bytes);
			for (unsigned j = 0; j < n_queues * 8; j++) {
				if (mixes[i][j % 4])
					sim_add(&s, &(struct load){.queue = j % n_queues,
								   .op = j / 4 % 2,
								   .len_bytes = mixes[i][j % 4],
								   .depth = 16});
				s.late_ns[j % n_queues] = 70000;
			}
			sim_run(&s, 10 * S);
			if (n_queues == 2)
				assert_within(done_bytes(&s, IO_WRITE), 500 * MIB, 2);
			assert_within(done_bytes(&s, IO_READ), 1000 * MIB, 2);
			sim_stop(&s);
		}
	}
}

static void test_requests_are_counted(void **state)
{
	const struct throttle_rates rates = {.read_iops = 10000, .write_iops = 777};
	struct sim s;

	sim_start(&s, &rates);
	sim_add(&s, &(struct load){.op = IO_READ, .len_bytes = 4 * KIB, .depth = 8});
	sim_add(&s, &(struct load){.op = IO_READ, .len_bytes = MIB, .depth = 8, .queue = 1});
	sim_add(&s, &(struct load){.op = IO_WRITE, .len_bytes = 4 * KIB, .depth = 8});
	sim_run(&s, 10 * S);
	assert_within(done_requests(&s, IO_READ), 100000, 2);
	assert_within(done_requests(&s, IO_WRITE), 7770, 2);
	/* Small ones do not have less than their half. */
	assert_within(s.loads[0].n_done, 50000, 5);
	sim_stop(&s);
}

static void test_the_lower_of_two_limits_counts(void **state)
{
	const uint64_t lens[] = {4 * KIB, 128 * KIB};

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		const struct throttle_rates rates = {.write_bytes = 64 * MIB, .write_iops = 1000};
		struct sim s;

		sim_start(&s, &rates);
		sim_add(&s, &(struct load){.op = IO_WRITE, .len_bytes = lens[i], .depth = 64});
		sim_run(&s, 10 * S);
		assert_within(done_requests(&s, IO_WRITE), i == 0 ? 10000 : 5120, 2);
		sim_stop(&s);
	}
}

static void test_what_counts_against_what(void **state)
{
	const struct throttle_rates read = {.read_bytes = 1, .read_iops = 1};
	const struct throttle_rates write = {.write_bytes = 1, .write_iops = 1};
	const struct throttle_rates write_bytes = {.write_bytes = 1};
	const struct {
		const struct throttle_rates *rates;
		bool waits[N_IO_OPS];
	} cases[] = {
		{&read, {[IO_READ] = true}},
		{&write, {[IO_WRITE] = true, [IO_DISCARD] = true, [IO_WRITE_ZEROES] = true}},
		{&write_bytes, {[IO_WRITE] = true}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (unsigned op = 0; op < IO_OTHER; op++) {
			struct io io[2] = {{.op = op, .len_bytes = op == IO_FLUSH ? 0 : MIB}};
			uint64_t wait_ns = 0;
			struct sim s;

			io[1] = io[0];
			sim_start(&s, cases[i].rates);
			assert_true(throttle_is_on(s.t));
			assert_true(throttle_admit(&s.queues[0], s.t, &io[0], s.now_ns));
			assert_int_equal(!throttle_admit(&s.queues[0], s.t, &io[1], s.now_ns),
					 cases[i].waits[op]);
			assert_null(throttle_next(&s.queues[0], s.t, s.now_ns, &wait_ns));
			assert_int_equal(wait_ns != UINT64_MAX, cases[i].waits[op]);
			sim_stop(&s);
		}
	}
}

static void test_small_requests_pass_large_ones(void **state)
{
	const struct throttle_rates rates = {.write_bytes = 10 * MIB};
	const unsigned n_queues[] = {1, N_QUEUES};

	for (size_t i = 0; i < ARRAY_SIZE(n_queues); i++) {
		struct load *small;
		struct sim s;

		sim_start(&s, &rates);
		for (unsigned q = 0; q < n_queues[i]; q++)
			sim_add(&s,
				&(struct load){
					.queue = q, .op = IO_WRITE, .len_bytes = MIB, .depth = 64});
		small = sim_add(&s, &(struct load){.op = IO_WRITE,
						   .len_bytes = 4 * KIB,
						   .depth = 4,
						   .period_ns = 20 * MS});
		sim_run(&s, 60 * S);
		assert_in_range(small->n_done, 2999, 3001);
		assert_in_range(small->max_wait_ns, 0, 5 * MS); /* a large one costs 100 ms */
		assert_within(done_bytes(&s, IO_WRITE), 600 * MIB, 2);
		sim_stop(&s);
	}
}

static void test_small_and_large_ones_share(void **state)
{
	const struct throttle_rates rates = {.read_bytes = 40 * MIB};

	for (unsigned n_queues = 1; n_queues <= 4; n_queues *= 2) {
		uint64_t small = 0;
		struct sim s;

		sim_start(&s, &rates);
		for (unsigned q = 0; q < n_queues; q++) {
			sim_add(&s, &(struct load){.queue = q, .len_bytes = MIB, .depth = 32});
			sim_add(&s, &(struct load){.queue = q, .len_bytes = 4 * KIB, .depth = 32});
		}
		sim_run(&s, 20 * S);
		for (unsigned q = 0; q < n_queues; q++)
			small += s.loads[2 * q + 1].n_done * 4 * KIB;
		assert_within(small, 400 * MIB, 5);
		assert_within(done_bytes(&s, IO_READ), 800 * MIB, 2);
		/* The first of its kind in a queue waits for the others once, at half the rate. */
		for (unsigned i = 0; i < s.n_loads; i += 2)
			assert_in_range(s.loads[i].max_wait_ns, 0,
					(32 * n_queues + 8) * 2 * S / 40);
		sim_stop(&s);
	}
}

static void test_queues_take_turns(void **state)
{
	const struct throttle_rates rates = {.write_bytes = 64 * MIB};
	struct sim s;

	sim_start(&s, &rates);
	for (unsigned q = 0; q < N_QUEUES; q++) {
		sim_add(&s,
			&(struct load){
				.queue = q, .op = IO_WRITE, .len_bytes = 64 * KIB, .depth = 32});
		s.late_ns[q] = q * 200000ULL; /* some are slow to wake up, and lose nothing */
	}
	/* This one looks all the time, since it has reads to do. */
	sim_add(&s,
		&(struct load){.op = IO_READ, .len_bytes = 512, .depth = 1, .period_ns = 10000});
	sim_run(&s, 10 * S);
	for (unsigned q = 0; q < N_QUEUES; q++)
		assert_within(s.loads[q].n_done, 1280, 4);
	assert_within(done_bytes(&s, IO_WRITE), 640 * MIB, 2);
	sim_stop(&s);
}

/* What nobody asked for in time is not asked for later, but for a moment. */
static void test_burst_after_idleness_is_small(void **state)
{
	const struct throttle_rates rates = {.write_bytes = 100 * MIB};
	struct load *l;
	struct sim s;

	sim_start(&s, &rates);
	l = sim_add(&s, &(struct load){.op = IO_WRITE, .len_bytes = 4 * KIB, .depth = 64});
	s.now_ns += 3600 * S;
	sim_run(&s, 0);
	assert_in_range(l->n_done * 4 * KIB, MIB, 5 * MIB);
	sim_stop(&s);
}

static void test_change_counts_at_once(void **state)
{
	const struct throttle_rates slow = {.write_bytes = 1, .write_iops = 1};
	const struct throttle_rates fast = {.write_bytes = 100 * MIB};
	const struct throttle_rates faster = {.write_bytes = 200 * MIB};
	struct sim s;

	sim_start(&s, &slow);
	sim_add(&s, &(struct load){.op = IO_WRITE, .len_bytes = 64 * KIB, .depth = 32});
	sim_add(&s, &(struct load){.op = IO_WRITE, .len_bytes = 64 * KIB, .depth = 32, .queue = 1});
	sim_run(&s, 100 * S);
	assert_int_equal(done_requests(&s, IO_WRITE), 1); /* the first costs 18 hours */
	assert_int_equal(throttle_set(s.t, &fast), 0);
	sim_run(&s, 10 * S);
	assert_within(done_bytes(&s, IO_WRITE), 1000 * MIB, 2);
	assert_int_equal(throttle_set(s.t, &fast), 0); /* changes nothing */
	sim_run(&s, 10 * S);
	assert_within(done_bytes(&s, IO_WRITE), 2000 * MIB, 2);
	assert_int_equal(throttle_set(s.t, &faster), 0);
	sim_run(&s, 10 * S);
	assert_within(done_bytes(&s, IO_WRITE), 4000 * MIB, 2);
	s.loads[0].n_done = s.loads[1].n_done = 0;
	assert_int_equal(throttle_set(s.t, &slow), 0);
	sim_run(&s, 10 * S);
	assert_int_equal(done_requests(&s, IO_WRITE), 1);
	sim_stop(&s);
}

static unsigned take_all(struct throttle_queue *tq, struct throttle *t, uint64_t now_ns)
{
	uint64_t wait_ns = 0;
	unsigned n = 0;

	while (throttle_next(tq, t, now_ns, &wait_ns))
		n++;
	assert_int_equal(wait_ns, UINT64_MAX);
	assert_true(throttle_is_empty(tq));
	return n;
}

static void test_limits_that_are_removed_hold_nothing_back(void **state)
{
	const struct throttle_rates slow = {.read_iops = 1, .write_iops = 1};
	const struct throttle_rates only_read = {.read_iops = 1};
	const struct throttle_rates none = {0};
	struct io ios[40];
	uint64_t wait_ns;
	struct sim s;

	for (unsigned how = 0; how < 3; how++) {
		unsigned n = 0;

		sim_start(&s, &slow);
		for (unsigned i = 0; i < ARRAY_SIZE(ios); i++) {
			ios[i] = (struct io){.op = i % 2 ? IO_READ : IO_WRITE,
					     .len_bytes = i % 4 < 2 ? 512 : MIB};
			n += !throttle_admit(&s.queues[0], s.t, &ios[i], s.now_ns);
		}
		assert_int_equal(n, 38);
		if (how == 0) { /* the queue ends */
			assert_int_equal(take_all(&s.queues[0], NULL, s.now_ns), 38);
		} else if (how == 1) {
			assert_int_equal(throttle_set(s.t, &none), 0);
			assert_false(throttle_is_on(s.t));
			assert_int_equal(take_all(&s.queues[0], s.t, s.now_ns), 38);
			assert_true(throttle_admit(&s.queues[0], s.t, &ios[0], s.now_ns));
		} else {
			assert_int_equal(throttle_set(s.t, &only_read), 0);
			for (n = 0; throttle_next(&s.queues[0], s.t, s.now_ns, &wait_ns); n++)
				;
			assert_int_equal(n, 19 + 1); /* and a first read, under the new ones */
			assert_in_range(wait_ns, 1, S);
		}
		sim_stop(&s);
	}
}

static void test_order_is_kept_among_equals(void **state)
{
	const struct throttle_rates rates = {.write_iops = 100};
	struct io ios[20];
	uint64_t wait_ns = 0;
	struct sim s;

	sim_start(&s, &rates);
	for (unsigned i = 0; i < ARRAY_SIZE(ios); i++) {
		ios[i] = (struct io){.op = IO_WRITE, .len_bytes = 4096};
		while (throttle_admit(&s.queues[0], s.t, &ios[i], s.now_ns))
			;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ios); s.now_ns += wait_ns) {
		struct io *io = throttle_next(&s.queues[0], s.t, s.now_ns, &wait_ns);

		if (!io)
			continue;
		assert_ptr_equal(io, &ios[i++]);
		wait_ns = 0;
	}
	assert_true(throttle_is_empty(&s.queues[0]));
	sim_stop(&s);
}

static long double cost_ns(uint64_t n, uint64_t per_s)
{
	long double ns = 1e9L * (long double)n / (long double)per_s;

	return MIN(ns, (long double)(1ULL << 61)); /* 73 years */
}

/* Neither overflows nor divides by zero: what waits has the time that it should have. */
static void check_extreme(uint64_t read_bytes, uint64_t read_iops, uint64_t len_bytes,
			  uint64_t now_ns)
{
	const struct throttle_rates r = {.read_bytes = read_bytes, .read_iops = read_iops};
	long double want_ns =
		MAX(cost_ns(MIN(len_bytes, 1ULL << 32), read_bytes), cost_ns(1, read_iops));
	struct io ios[2 * N_QUEUES];
	uint64_t wait_ns = 0;
	struct sim s;

	sim_start(&s, &r);
	for (unsigned i = 0; i < ARRAY_SIZE(ios); i++) {
		ios[i] = (struct io){.op = IO_READ, .len_bytes = len_bytes};
		throttle_admit(&s.queues[i % N_QUEUES], s.t, &ios[i], now_ns);
		if (i != 1)
			continue;
		/* It waits for the first one, but for what could go in a burst. */
		throttle_next(&s.queues[1], s.t, now_ns, &wait_ns);
		if (want_ns > 21 * MS) {
			assert_true(wait_ns >= want_ns * 0.9999L - 20 * MS - 1);
			assert_true(wait_ns <= want_ns);
		} else if (now_ns > 20 * MS) {
			assert_true(wait_ns == UINT64_MAX);
		}
	}
	for (unsigned q = 0; q < N_QUEUES; q++) {
		while (throttle_next(&s.queues[q], s.t, now_ns, &wait_ns))
			;
		assert_true(wait_ns > 0);
		assert_true(wait_ns == UINT64_MAX || wait_ns <= 1ULL << 63);
		take_all(&s.queues[q], s.t, 1ULL << 63);
	}
	sim_stop(&s);
}

static void test_extreme_rates_lengths_and_times(void **state)
{
	const uint64_t rates[] = {1,          2,          999999999, S,         S + 1,
				  1ULL << 32, 1ULL << 62, INT64_MAX, UINT64_MAX};
	const uint64_t lens[] = {512, MIB, UINT32_MAX, 1ULL << 40, UINT64_MAX};
	const uint64_t times[] = {0, 1, 21 * MS, 1ULL << 62};

	for (size_t i = 0; i < ARRAY_SIZE(rates) * ARRAY_SIZE(rates); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(lens) * ARRAY_SIZE(times); j++)
			check_extreme(rates[i % ARRAY_SIZE(rates)], rates[i / ARRAY_SIZE(rates)],
				      lens[j % ARRAY_SIZE(lens)], times[j / ARRAY_SIZE(lens)]);
	}
}

/* Costs of some ns and a fraction: the fractions add up. */
static void test_very_high_rates_are_kept_too(void **state)
{
	const struct throttle_rates rates = {.read_bytes = 300000000000};
	struct sim s;
	struct load *l;

	sim_start(&s, &rates);
	l = sim_add(&s, &(struct load){.op = IO_READ, .len_bytes = 16 * KIB, .depth = 64});
	sim_run(&s, MS); /* the burst too */
	l->n_done = 0;
	l->len_bytes = 512;
	for (unsigned i = 0; i < l->depth; i++)
		l->ios[i].len_bytes = 512;
	sim_run(&s, MS);
	assert_within(done_bytes(&s, IO_READ), 300000000, 2);
	sim_stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates_are_reached_and_kept),
		cmocka_unit_test(test_requests_are_counted),
		cmocka_unit_test(test_the_lower_of_two_limits_counts),
		cmocka_unit_test(test_what_counts_against_what),
		cmocka_unit_test(test_small_requests_pass_large_ones),
		cmocka_unit_test(test_small_and_large_ones_share),
		cmocka_unit_test(test_queues_take_turns),
		cmocka_unit_test(test_burst_after_idleness_is_small),
		cmocka_unit_test(test_change_counts_at_once),
		cmocka_unit_test(test_limits_that_are_removed_hold_nothing_back),
		cmocka_unit_test(test_order_is_kept_among_equals),
		cmocka_unit_test(test_extreme_rates_lengths_and_times),
		cmocka_unit_test(test_very_high_rates_are_kept_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
