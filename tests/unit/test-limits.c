/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* On machines of any number of CPUs: sysconf() says here how many there are. */
#include "device/limits.h"

#include "golden.h"

#include <unistd.h>

static long n_cpus;

long __real_sysconf(int name);
long __wrap_sysconf(int name);

long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN ? n_cpus : __real_sysconf(name);
}

static unsigned queues(long cpus, unsigned count, unsigned backend_max)
{
	const struct device_conf conf = {.n_queues = count};
	const struct limits l = {.max_queues = backend_max};

	n_cpus = cpus;
	return limits_n_queues(&conf, &l);
}

static void test_auto_is_one_for_each_cpu_up_to_four(void **state)
{
	static const struct {
		long cpus;
		unsigned want;
	} cases[] = {{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 4}, {64, 4}, {4096, 4}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(queues(cases[i].cpus, 0, 0), cases[i].want);
}

static void test_auto_without_a_number_of_cpus_is_one(void **state)
{
	assert_int_equal(queues(-1, 0, 0), 1);
	assert_int_equal(queues(0, 0, 0), 1);
}

/* How many CPUs there are is the kernel's to say, which makes no more queues than that. */
static void test_a_number_is_taken_as_it_is(void **state)
{
	assert_int_equal(queues(1, 16, 0), 16);
	assert_int_equal(queues(64, 64, 0), 64);
	assert_int_equal(queues(64, 1, 0), 1);
}

static void test_a_backend_has_no_more_than_it_can(void **state)
{
	assert_int_equal(queues(64, 0, 1), 1);
	assert_int_equal(queues(64, 16, 2), 2);
	assert_int_equal(queues(2, 0, 16), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auto_is_one_for_each_cpu_up_to_four),
		cmocka_unit_test(test_auto_without_a_number_of_cpus_is_one),
		cmocka_unit_test(test_a_number_is_taken_as_it_is),
		cmocka_unit_test(test_a_backend_has_no_more_than_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
