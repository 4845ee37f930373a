/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/parse.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aULL

struct number_case {
	const char *text;
	int r;
	uint64_t value;
};

static void check_numbers(const struct number_case *c, size_t n,
			  int (*parse)(const char *s, uint64_t *ret))
{
	for (; n > 0; n--, c++) {
		uint64_t v = UNTOUCHED;

		print_message("\"%s\"\n", c->text);
		assert_int_equal(parse(c->text, &v), c->r);
		assert_int_equal(v, c->r < 0 ? UNTOUCHED : c->value);
	}
}

static void test_u64_takes_digits_only(void **state)
{
	static const struct number_case cases[] = {
		{"0", 0, 0},
		{"007", 0, 7},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"99999999999999999999999999999", -ERANGE, 0},
		{"99999999999999999999999999999x", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1.0", -EINVAL, 0},
	};

	check_numbers(cases, ARRAY_SIZE(cases), parse_u64);
}

static void test_u32_ends_where_it_ends(void **state)
{
	uint32_t v = 1;

	assert_int_equal(parse_u32("4294967295", &v), 0);
	assert_int_equal(v, UINT32_MAX);
	assert_int_equal(parse_u32("4294967296", &v), -ERANGE);
	assert_int_equal(parse_u32("x", &v), -EINVAL);
	assert_int_equal(v, UINT32_MAX);
}

static void test_size_has_one_suffix_of_base_1024(void **state)
{
	static const struct number_case cases[] = {
		{"0", 0, 0},
		{"4096", 0, 4096},
		{"4096B", 0, 4096},
		{"1K", 0, 1ULL << 10},
		{"1M", 0, 1ULL << 20},
		{"1G", 0, 1ULL << 30},
		{"1T", 0, 1ULL << 40},
		{"1P", 0, 1ULL << 50},
		{"15E", 0, 15ULL << 60},
		{"16E", -ERANGE, 0},
		{"18014398509481984K", -ERANGE, 0},
		{"18014398509481983K", 0, 18014398509481983ULL << 10},
		{"18446744073709551616", -ERANGE, 0},
		{"1k", -EINVAL, 0},
		{"1KB", -EINVAL, 0},
		{"1KiB", -EINVAL, 0},
		{"1 K", -EINVAL, 0},
		{"1.5G", -EINVAL, 0},
		{"K", -EINVAL, 0},
		{"-1K", -EINVAL, 0},
		{"99999999999999999999Q", -EINVAL, 0},
		{"", -EINVAL, 0},
	};

	check_numbers(cases, ARRAY_SIZE(cases), parse_size);
}

static void test_size_is_written_as_it_is_read(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0"},
		{1023, "1023"},
		{1024, "1K"},
		{4097, "4097"},
		{1536 << 10, "1536K"},
		{15ULL << 60, "15E"},
		{UINT64_MAX, "18446744073709551615"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[SIZE_TEXT_MAX];
		uint64_t bytes;

		assert_string_equal(format_size(cases[i].bytes, text), cases[i].text);
		assert_int_equal(parse_size(text, &bytes), 0);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void test_duration_adds_up_its_units(void **state)
{
	static const uint64_t second = 1000000000;
	const struct number_case cases[] = {
		{"0", 0, 0},
		{"90", 0, 90 * second},
		{"5min 20s", 0, 320 * second},
		{"5min20s", 0, 320 * second},
		{"1h30m", 0, 5400 * second},
		{"1h 30", 0, 3630 * second},
		{"2 weeks 1day", 0, 15 * 86400 * second},
		{"250ms", 0, 250000000},
		{"1us 1ns", 0, 1001},
		{"infinity", 0, UINT64_MAX},
		{"18446744073", 0, 18446744073 * second},
		{"18446744074", -ERANGE, 0},
		{"18446744073709551615ns", -ERANGE, 0}, /* would be infinity */
		{"30501w", -ERANGE, 0},
		{"1.5s", -EINVAL, 0},
		{"-1s", -EINVAL, 0},
		{"s", -EINVAL, 0},
		{"5 parsecs", -EINVAL, 0},
		{"5S", -EINVAL, 0},
		{"", -EINVAL, 0},
		{" 5", -EINVAL, 0},
		{"infinity 1s", -EINVAL, 0},
	};

	check_numbers(cases, ARRAY_SIZE(cases), parse_duration);
}

static void test_duration_is_written_as_it_is_read(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{0, "0"},
		{1, "1ns"},
		{1001, "1001ns"},
		{90 * NS_PER_S, "90s"},
		{NS_PER_S / 2, "500ms"},
		{120 * NS_PER_S, "2min"},
		{86400 * NS_PER_S, "1d"},
		{UINT64_MAX - 1, "18446744073709551614ns"},
		{UINT64_MAX, "infinity"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[DURATION_TEXT_MAX];
		uint64_t ns;

		assert_string_equal(format_duration(cases[i].ns, text), cases[i].text);
		assert_int_equal(parse_duration(text, &ns), 0);
		assert_int_equal(ns, cases[i].ns);
	}
}

static void test_percent_is_exact_to_a_millionth(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint32_t ppm;
		const char *again; /* NULL: the same text */
	} cases[] = {
		{"0%", 0, 0, NULL},
		{"0.0001%", 0, 1, NULL},
		{"0.1%", 0, 1000, NULL},
		{"0.1000%", 0, 1000, "0.1%"},
		{"5%", 0, 50000, NULL},
		{"05.05%", 0, 50500, "5.05%"},
		{"99.9999%", 0, 999999, NULL},
		{"100%", 0, 1000000, NULL},
		{"100.0%", 0, 1000000, "100%"},
		{"100.0001%", -ERANGE, 0, NULL},
		{"101%", -ERANGE, 0, NULL},
		{"99999999999999999999999%", -ERANGE, 0, NULL},
		{"0.00001%", -EINVAL, 0, NULL},
		{"0.00000000000000000001%", -EINVAL, 0, NULL},
		{"5", -EINVAL, 0, NULL},
		{"5 %", -EINVAL, 0, NULL},
		{"5%%", -EINVAL, 0, NULL},
		{"5.%", -EINVAL, 0, NULL},
		{".5%", -EINVAL, 0, NULL},
		{"-1%", -EINVAL, 0, NULL},
		{"0,1%", -EINVAL, 0, NULL},
		{"%", -EINVAL, 0, NULL},
		{"", -EINVAL, 0, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[PERCENT_TEXT_MAX];
		uint32_t ppm = 7;

		print_message("\"%s\"\n", cases[i].text);
		assert_int_equal(parse_percent(cases[i].text, &ppm), cases[i].r);
		assert_int_equal(ppm, cases[i].r < 0 ? 7 : cases[i].ppm);
		if (cases[i].r == 0)
			assert_string_equal(format_percent(ppm, text),
					    cases[i].again ?: cases[i].text);
	}
}

static void test_bool_knows_its_words(void **state)
{
	static const char *const yes[] = {"yes", "YES", "true", "on", "y", "t", "1"};
	static const char *const no[] = {"no", "No", "false", "off", "n", "f", "0"};
	static const char *const neither[] = {"", "2", "ja", "yes ", "o", "10"};
	bool v;

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		v = false;
		assert_int_equal(parse_bool(yes[i], &v), 0);
		assert_true(v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		v = true;
		assert_int_equal(parse_bool(no[i], &v), 0);
		assert_false(v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(neither); i++)
		assert_int_equal(parse_bool(neither[i], &v), -EINVAL);
}

static void test_mode_is_octal(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint32_t mode;
	} cases[] = {
		{"0660", 0, 0660},
		{"660", 0, 0660},
		{"0", 0, 0},
		{"7777", 0, 07777},
		{"10000", -ERANGE, 0},
		{"00000000000000660", 0, 0660},
		{"888", -EINVAL, 0},
		{"0x1", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"u=rw", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"99999999999999", -EINVAL, 0},
		{"777777777777", -ERANGE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t mode = 1;

		assert_int_equal(parse_mode(cases[i].text, &mode), cases[i].r);
		assert_int_equal(mode, cases[i].r < 0 ? 1 : cases[i].mode);
	}
}

static void test_path_is_absolute_and_gets_normalized(void **state)
{
	static const struct {
		const char *text;
		const char *path; /* NULL: refused */
	} cases[] = {
		{"/", "/"},
		{"/a", "/a"},
		{"//a//b//", "/a/b"},
		{"/./a/./b/.", "/a/b"},
		{"/.a/..b/c..", "/.a/..b/c.."},
		{"/a b;c #d/[e]", "/a b;c #d/[e]"},
		{"///", "/"},
		{"/...", "/..."},
		{"", NULL},
		{"a", NULL},
		{"./a", NULL},
		{"~/a", NULL},
		{"/a/../b", NULL},
		{"/..", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *path = NULL;

		assert_int_equal(parse_path(cases[i].text, &path), cases[i].path ? 0 : -EINVAL);
		if (cases[i].path)
			assert_string_equal(path, cases[i].path);
		else
			assert_null(path);
	}
}

static void test_path_fits_the_kernel(void **state)
{
	AUTO_FREE char *path = NULL;
	char text[5002];

	memset(text, 'a', sizeof(text));
	text[0] = '/';
	text[256] = '\0'; /* a name of 255 */
	assert_int_equal(parse_path(text, &path), 0);
	free(TAKE_PTR(path));
	text[256] = 'a';
	text[257] = '\0';
	assert_int_equal(parse_path(text, &path), -ENAMETOOLONG);

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? 'a' : '/';
	text[4096] = '\0';
	assert_int_equal(parse_path(text, &path), -ENAMETOOLONG);
	text[4094] = '\0';
	assert_int_equal(parse_path(text, &path), 0);
}

static void test_utf8_has_one_form_only(void **state)
{
	static const char *const valid[] = {
		"",
		"a",
		"\xc3\xa4",
		"\xe2\x82\xac",
		"\xf0\x9f\x92\xbe",
		"\xef\xbf\xbf",
		"\xf4\x8f\xbf\xbf",
		"\xed\x9f\xbf",
		"\xee\x80\x80",
		"a\xc2\x80z",
	};
	static const char *const invalid[] = {
		"\x80", /* goes on with nothing */
		"\xc3", /* ends early */
		"\xe2\x82",
		"\xf0\x9f\x92",
		"\xc3"
		"a",
		"\xe2\x82"
		"a",
		"\xc0\x80", /* overlong */
		"\xc1\xbf",
		"\xe0\x9f\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",     /* surrogate */
		"\xf4\x90\x80\x80", /* above U+10FFFF */
		"\xf8\x88\x80\x80\x80",
		"\xff",
	};

	for (size_t i = 0; i < ARRAY_SIZE(valid); i++)
		assert_true(utf8_is_valid(valid[i], strlen(valid[i])));
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
		assert_false(utf8_is_valid(invalid[i], strlen(invalid[i])));
	assert_true(utf8_is_valid("a\0b", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64_takes_digits_only),
		cmocka_unit_test(test_u32_ends_where_it_ends),
		cmocka_unit_test(test_size_has_one_suffix_of_base_1024),
		cmocka_unit_test(test_size_is_written_as_it_is_read),
		cmocka_unit_test(test_duration_adds_up_its_units),
		cmocka_unit_test(test_duration_is_written_as_it_is_read),
		cmocka_unit_test(test_percent_is_exact_to_a_millionth),
		cmocka_unit_test(test_bool_knows_its_words),
		cmocka_unit_test(test_mode_is_octal),
		cmocka_unit_test(test_path_is_absolute_and_gets_normalized),
		cmocka_unit_test(test_path_fits_the_kernel),
		cmocka_unit_test(test_utf8_has_one_form_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
