/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device-state.h"
#include "util/cleanup.h"

/* Every move: what is not named here must not be. */
static void test_a_device_moves_as_the_table_says(void **state)
{
	static const enum device_state moves[][2] = {
		{DEVICE_NEW, DEVICE_ADDED},  {DEVICE_NEW, DEVICE_FOUND},
		{DEVICE_ADDED, DEVICE_LIVE}, {DEVICE_FOUND, DEVICE_NEW},
		{DEVICE_FOUND, DEVICE_LIVE}, {DEVICE_LIVE, DEVICE_STOPPED},
		{DEVICE_LIVE, DEVICE_LEFT},
	};

	for (enum device_state from = 0; from < N_DEVICE_STATES; from++) {
		for (enum device_state to = 0; to < N_DEVICE_STATES; to++) {
			bool want = false;

			for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
				want |= moves[i][0] == from && moves[i][1] == to;
			assert_int_equal(device_may_go(from, to), want);
		}
	}
}

/* A device that was stopped or left is never started again: some kernels do not survive it. */
static void test_the_ends_are_final(void **state)
{
	for (enum device_state to = 0; to < N_DEVICE_STATES; to++) {
		assert_false(device_may_go(DEVICE_STOPPED, to));
		assert_false(device_may_go(DEVICE_LEFT, to));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_device_moves_as_the_table_says),
		cmocka_unit_test(test_the_ends_are_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
