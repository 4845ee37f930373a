/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a process gives up by itself. */
#include "util/capability.h"

#include "golden.h"
#include "util/cleanup.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sys/syscall.h>

static uint64_t get_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	assert_int_equal(data[0].effective, data[0].permitted);
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

static void *store_capabilities(void *arg)
{
	*(uint64_t *)arg = get_capabilities();
	return NULL;
}

/* With none to begin with, as users have, there is little to see. */
static void test_one_capability_goes(void **state)
{
	const uint64_t before = get_capabilities();
	const uint64_t want = before & ~(1ULL << CAP_SYS_RESOURCE | 1ULL << CAP_BPF);
	uint64_t of_thread = 1;
	pthread_t thread;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(capability_drop(CAP_SYS_RESOURCE), 0);
		assert_int_equal(capability_drop(CAP_BPF), 0);
		assert_true(get_capabilities() == want);
	}
	assert_int_equal(pthread_create(&thread, NULL, store_capabilities, &of_thread), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(of_thread == want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_capability_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
