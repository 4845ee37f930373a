/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/features.h"

#include "golden.h"

/* GET_FEATURES of Linux 7.3: every bit that this project has seen a kernel report. */
#define FEATURES_OF_7_3 0x1fffff

static void test_table_covers_each_bit_once_in_order(void **state)
{
	uint64_t all = 0;

	for (size_t i = 0; i < n_features; i++) {
		assert_true(features[i].flag == 1ULL << i);
		assert_true(features[i].name[0] != '\0');
		assert_true(features[i].meaning[0] != '\0');
		assert_true(features[i].since[0] >= '6' && features[i].since[1] == '.');
		all |= features[i].flag;
	}
	assert_true(all == FEATURES_OF_7_3);
}

static void test_find(void **state)
{
	assert_string_equal(feature_find(1ULL << 0)->name, "SUPPORT_ZERO_COPY");
	assert_string_equal(feature_find(1ULL << 4)->name, "USER_RECOVERY_REISSUE");
	assert_string_equal(feature_find(1ULL << 9)->name, "USER_RECOVERY_FAIL_IO");
	assert_string_equal(feature_find(1ULL << 15)->name, "BATCH_IO");
	assert_string_equal(feature_find(1ULL << 20)->name, "IO_DESC_SIZE");
	assert_null(feature_find(0));
	assert_null(feature_find(1ULL << 21));
	assert_null(feature_find(1ULL << 63));
	assert_null(feature_find(3));
}

static void test_find_name(void **state)
{
	for (size_t i = 0; i < n_features; i++)
		assert_ptr_equal(feature_find_name(features[i].name), &features[i]);
	assert_null(feature_find_name(""));
	assert_null(feature_find_name("user_copy"));
	assert_null(feature_find_name("UBLK_F_USER_COPY"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_covers_each_bit_once_in_order),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_find_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
