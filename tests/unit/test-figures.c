/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/figures.h"

#include "golden.h"
#include "state/state.h"

#include <errno.h>

static const char *const names[] = {"a", "b", "c"};
static int locks[3];

static int setup(void **state)
{
	char *base = strdup("/tmp/test-figures.XXXXXX");

	if (!base || !mkdtemp(base))
		return -1;
	setenv("UBLKD_STATE_DIR", base, 1);
	for (size_t i = 0; i < 3; i++) {
		if (state_lock(names[i], &locks[i]) < 0)
			return -1;
	}
	*state = base;
	return 0;
}

static int teardown(void **state)
{
	AUTO_FREE char *base = *state;

	for (size_t i = 0; i < 3; i++) {
		state_remove(names[i], UINT32_MAX);
		close(locks[i]);
	}
	return rmdir(base);
}

static void make(const char *name, unsigned n_queues, struct stats *ret)
{
	assert_int_equal(stats_create(name, n_queues, 64, ret), 0);
}

static void count(struct stats *s, unsigned queue, enum io_op op, uint64_t ns)
{
	struct stats_queue *q = stats_get_queue(s, queue);

	stats_add(&q->op[op].count, 1);
	stats_add(&q->op[op].bytes, 512);
	stats_add(&q->op[op].latency_ns, ns);
	stats_add(&q->latency[stats_class(op)][latency_bucket(ns)], 1);
	q->in_flight = 5;
	q->unreachable = 1;
	q->reconnects = 3;
	stats_get_device(s)->recoveries = 2;
}

static void test_sum_over_queues(void **state)
{
	struct device_figures f;
	struct stats s;

	make("a", 2, &s);
	count(&s, 0, IO_READ, 5000);
	count(&s, 1, IO_READ, 7000);
	count(&s, 1, IO_DISCARD, 1000);
	count(&s, 1, IO_WRITE_ZEROES, 3000);
	assert_int_equal(figures_read("a", &f), 0);
	assert_int_equal(f.n_queues, 2);
	assert_int_equal(f.depth, 64);
	assert_int_equal(f.device.recoveries, 2);
	assert_int_equal(f.queues[0].op[IO_READ].count, 1);
	assert_int_equal(f.total.op[IO_READ].bytes, 1024);
	assert_int_equal(f.total.in_flight, 10);
	assert_int_equal(f.total.unreachable, 2);
	assert_int_equal(f.total.reconnects, 6);
	assert_int_equal(figures_count(&f.total), 4);
	assert_int_equal(figures_class_count(&f.total, stats_class(IO_READ)), 2);
	assert_int_equal(figures_class_ns(&f.total, stats_class(IO_READ)), 12000);
	/* discards and the like share a histogram */
	assert_int_equal(figures_class_count(&f.total, stats_class(IO_OTHER)), 2);
	assert_int_equal(figures_class_ns(&f.total, stats_class(IO_OTHER)), 4000);
	figures_deinit(&f);
	stats_close(&s);
}

static void test_what_came_within_an_interval(void **state)
{
	struct device_figures then, now;
	struct stats s;

	make("a", 1, &s);
	for (unsigned i = 0; i < 100; i++)
		count(&s, 0, IO_READ, 1000000);
	assert_int_equal(figures_read("a", &then), 0);
	for (unsigned i = 0; i < 3; i++)
		count(&s, 0, IO_READ, 50000);
	assert_int_equal(figures_read("a", &now), 0);
	now.at_ns = then.at_ns + 2000000000;
	figures_since(&now, &then);
	assert_int_equal(now.interval_ns, 2000000000);
	assert_int_equal(now.total.op[IO_READ].count, 3);
	assert_int_equal(now.queues[0].op[IO_READ].count, 3);
	/* not of the hundred before */
	assert_true(latency_percentile(now.total.latency[0], 999) < 60000);
	assert_int_equal(now.total.in_flight, 5);
	assert_int_equal(now.total.unreachable, 1);
	assert_int_equal(now.total.reconnects, 0);
	figures_deinit(&now);
	figures_deinit(&then);
	stats_close(&s);
}

static void test_counters_that_begin_anew(void **state)
{
	struct device_figures then, now;
	struct stats s;

	make("a", 1, &s);
	for (unsigned i = 0; i < 10; i++)
		count(&s, 0, IO_WRITE, 1000);
	assert_int_equal(figures_read("a", &then), 0);
	stats_close(&s);
	make("a", 1, &s);
	count(&s, 0, IO_WRITE, 1000);
	assert_int_equal(figures_read("a", &now), 0);
	figures_since(&now, &then);
	assert_int_equal(now.total.op[IO_WRITE].count, 1);
	figures_deinit(&now);
	stats_close(&s);
	make("a", 3, &s); /* it even looks different now */
	count(&s, 2, IO_WRITE, 1000);
	assert_int_equal(figures_read("a", &now), 0);
	figures_since(&now, &then);
	assert_int_equal(now.total.op[IO_WRITE].count, 1);
	figures_deinit(&now);
	figures_deinit(&then);
	stats_close(&s);
}

static void test_devices_come_and_go(void **state)
{
	struct fleet_figures then, now;
	struct stats a, b, c;

	make("a", 1, &a);
	make("b", 1, &b);
	count(&a, 0, IO_READ, 1000);
	count(&b, 0, IO_READ, 1000);
	assert_int_equal(fleet_figures_read(NULL, &then), 0);
	assert_int_equal(then.n, 2);
	assert_int_equal(state_remove("a", UINT32_MAX), 0);
	make("c", 1, &c);
	count(&b, 0, IO_READ, 1000);
	count(&c, 0, IO_READ, 1000);
	assert_int_equal(fleet_figures_read(NULL, &now), 0);
	assert_int_equal(now.n, 2);
	fleet_figures_since(&now, &then);
	assert_string_equal(now.devices[0].name, "b");
	assert_int_equal(now.devices[0].total.op[IO_READ].count, 1);
	assert_string_equal(now.devices[1].name, "c");
	assert_int_equal(now.devices[1].total.op[IO_READ].count, 1);
	assert_true(now.devices[1].interval_ns > 0);
	fleet_figures_deinit(&now);
	fleet_figures_deinit(&then);
	stats_close(&a);
	stats_close(&b);
	stats_close(&c);
}

static void test_file_of_another_version(void **state)
{
	struct fleet_figures f;
	struct stats a, b;

	make("a", 1, &a);
	make("b", 1, &b);
	a.header->version++;
	assert_int_equal(fleet_figures_read("a", &f), -EPROTO);
	assert_int_equal(fleet_figures_read("c", &f), -ENOENT);
	assert_int_equal(fleet_figures_read(NULL, &f), 0);
	assert_int_equal(f.n, 1);
	assert_string_equal(f.devices[0].name, "b");
	assert_string_equal(f.foreign, "a");
	fleet_figures_deinit(&f);
	stats_close(&a);
	stats_close(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sum_over_queues),          TEST(test_what_came_within_an_interval),
		TEST(test_counters_that_begin_anew), TEST(test_devices_come_and_go),
		TEST(test_file_of_another_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
