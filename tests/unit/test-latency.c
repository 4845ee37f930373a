/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/latency.h"

#include "golden.h"
#include "util/cleanup.h"

#include <inttypes.h>

static void test_each_bucket_holds_what_it_says(void **state)
{
	for (unsigned i = 0; i < LATENCY_N_BUCKETS; i++) {
		assert_int_equal(latency_bucket(latency_low_ns(i)), i);
		assert_int_equal(latency_bucket(latency_low_ns(i + 1) - 1), i);
		assert_true(latency_low_ns(i) < latency_low_ns(i + 1));
	}
	assert_int_equal(latency_low_ns(0), 0);
	assert_int_equal(latency_low_ns(LATENCY_N_BUCKETS), LATENCY_MAX_NS);
	assert_int_equal(latency_bucket(LATENCY_MAX_NS), LATENCY_N_BUCKETS - 1);
	assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_N_BUCKETS - 1);
}

/* Above 2 us; below, the steps of 64 ns are what there is. */
static void test_error_is_below_three_per_cent(void **state)
{
	for (uint64_t ns = 2048; ns < LATENCY_MAX_NS; ns += ns / 500 + 1) {
		unsigned i = latency_bucket(ns);
		uint64_t middle = (latency_low_ns(i) + latency_low_ns(i + 1)) / 2;
		uint64_t error = MAX(middle, ns) - MIN(middle, ns);

		if (error * 100 > ns * 3)
			fail_msg("%" PRIu64 " ns is taken for %" PRIu64, ns, middle);
	}
}

static void assert_about(uint64_t ns, uint64_t want_ns)
{
	uint64_t error = MAX(ns, want_ns) - MIN(ns, want_ns);

	if (error * 100 > want_ns * 3)
		fail_msg("%" PRIu64 " ns, not about %" PRIu64, ns, want_ns);
}

static void test_percentiles(void **state)
{
	uint64_t b[LATENCY_N_BUCKETS] = {0};

	assert_int_equal(latency_percentile(b, 500), 0);
	b[latency_bucket(5000)] = 1;
	for (unsigned p = 0; p <= 1000; p += 100)
		assert_about(latency_percentile(b, p), 5000);
	b[latency_bucket(5000)] = 0;
	/* 10, 20, 30 us ... 10 ms: once each */
	for (unsigned i = 1; i <= 1000; i++)
		b[latency_bucket(i * 10000ULL)]++;
	assert_about(latency_percentile(b, 1), 10000);
	assert_about(latency_percentile(b, 500), 5000000);
	assert_about(latency_percentile(b, 990), 9900000);
	assert_about(latency_percentile(b, 999), 9990000);
	assert_about(latency_percentile(b, 1000), 10000000);
}

static void test_percentiles_of_huge_numbers(void **state)
{
	uint64_t b[LATENCY_N_BUCKETS] = {0};

	b[latency_bucket(3000)] = UINT64_MAX / 4 * 3;
	b[latency_bucket(1000000)] = UINT64_MAX / 4;
	assert_about(latency_percentile(b, 740), 3000);
	assert_about(latency_percentile(b, 760), 1000000);
}

static void test_count_below_a_bound(void **state)
{
	uint64_t b[LATENCY_N_BUCKETS] = {0};

	b[latency_bucket(1023)] = 1;
	b[latency_bucket(1024)] = 2;
	b[latency_bucket(1 << 20)] = 4;
	b[latency_bucket(UINT64_MAX)] = 8;
	assert_int_equal(latency_count_below(b, 0), 0);
	assert_int_equal(latency_count_below(b, 1024), 1);
	assert_int_equal(latency_count_below(b, 2048), 3);
	assert_int_equal(latency_count_below(b, 1 << 20), 3);
	assert_int_equal(latency_count_below(b, 1 << 21), 7);
	assert_int_equal(latency_count_below(b, LATENCY_MAX_NS / 2), 7);
	assert_int_equal(latency_count_below(b, LATENCY_MAX_NS), 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_bucket_holds_what_it_says),
		cmocka_unit_test(test_error_is_below_three_per_cent),
		cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_percentiles_of_huge_numbers),
		cmocka_unit_test(test_count_below_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
