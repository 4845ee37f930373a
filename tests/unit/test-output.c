/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/output.h"

#include "golden.h"

static void test_sizes_for_people(void **state)
{
	const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0"},
		{1, "1"},
		{1023, "1023"},
		{1024, "1K"},
		{1536, "1.5K"},
		{1024 + 50, "1K"},
		{1024 + 52, "1.1K"},
		{1048524, "1023.9K"},
		{1048525, "1M"},
		{1048575, "1M"},
		{107374182400, "100G"},
		{1000000000000, "931.3G"},
		{4294901760, "4G"},
		{1ULL << 50, "1P"},
		{(1ULL << 60) - 1, "1E"},
		{1ULL << 63, "8E"},
		{UINT64_MAX, "16E"},
	};
	char buf[OUTPUT_SIZE_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(output_size(cases[i].bytes, buf), cases[i].text);
}

static void test_json_is_utf8_whatever_comes(void **state)
{
	const char *const cases[][2] = {
		{"", "\"\""},
		{"a\"b\n", "\"a\\\"b\\n\""},
		{"/srv/\xc3\xa9", "\"/srv/\xc3\xa9\""},
		{"/srv/\xe9x", "\"/srv/?x\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *o = output_json_text(cases[i][0]);

		assert_string_equal(
			json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE),
			cases[i][1]);
		json_object_put(o);
	}
	assert_null(output_json_text(NULL));
}

static void test_times_for_people(void **state)
{
	const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{0, "0ns"},
		{64, "64ns"},
		{999, "999ns"},
		{1000, "1us"},
		{1234, "1.23us"},
		{12345, "12.3us"},
		{123456, "123us"},
		{999499, "999us"},
		{999500, "1ms"},
		{20000000, "20ms"},
		{1500000000, "1.5s"},
		{100000000000, "100s"},
		{600000000000, "10m"},
		{36000000000000, "10h"},
	};
	char buf[OUTPUT_SIZE_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(output_time(cases[i].ns, buf), cases[i].text);
	assert_non_null(output_time(UINT64_MAX, buf));
}

static void test_rates_for_people(void **state)
{
	char buf[OUTPUT_SIZE_MAX];

	assert_string_equal(output_rate(0, buf), "0");
	assert_string_equal(output_rate(0.5, buf), "0.5");
	assert_string_equal(output_rate(999.4, buf), "999");
	assert_string_equal(output_rate(999.6, buf), "1k");
	assert_string_equal(output_rate(12345, buf), "12.3k");
	assert_string_equal(output_rate(2500000, buf), "2.5M");
	assert_string_equal(output_rate(1e14, buf), "100000G");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_for_people),
		cmocka_unit_test(test_times_for_people),
		cmocka_unit_test(test_rates_for_people),
		cmocka_unit_test(test_json_is_utf8_whatever_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
