/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"

#include "golden.h"

#include <fcntl.h>

static const struct table_column columns[] = {
	{"NAME", false, 0},
	{"COUNT", true, 0},
	{"DETAIL", true, 2},
	{"MORE", true, 1},
};

/* What is printed goes to a file, since libsmartcols takes stdout. */
static void print(const struct table *t, bool no_legend, unsigned width, char *buf, size_t size)
{
	char path[] = "/tmp/test-table.XXXXXX";
	AUTO_CLOSE int fd = mkstemp(path);
	AUTO_CLOSE int saved = dup(STDOUT_FILENO);
	ssize_t n;

	fflush(stdout);
	assert_true(fd >= 0 && saved >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
	assert_int_equal(table_print(t, no_legend, width), 0);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	n = pread(fd, buf, size - 1, 0);
	assert_true(n >= 0);
	buf[n] = '\0';
	unlink(path);
}

static void test_narrow_terminals_see_less(void **state)
{
	const char *const cells[] = {"data", "12", "some", ""};
	AUTO(table_free) struct table *t = NULL;
	char buf[512];

	assert_int_equal(table_new(columns, ARRAY_SIZE(columns), &t), 0);
	assert_int_equal(table_add(t, cells, "red"), 0);
	print(t, false, 0, buf, sizeof(buf));
	assert_string_equal(buf, "NAME COUNT DETAIL MORE\ndata    12   some    -\n");
	print(t, true, 0, buf, sizeof(buf));
	assert_string_equal(buf, "data    12   some    -\n");
	print(t, false, 22, buf, sizeof(buf));
	assert_non_null(strstr(buf, "DETAIL"));
	print(t, false, 21, buf, sizeof(buf));
	assert_null(strstr(buf, "DETAIL"));
	assert_non_null(strstr(buf, "MORE"));
	print(t, false, 5, buf, sizeof(buf));
	assert_null(strstr(buf, "MORE"));
	assert_non_null(strstr(buf, "COUNT")); /* never without */
}

static void test_equal_columns_go_together(void **state)
{
	static const struct table_column pairs[] = {
		{"NAME", false, 0, 6}, {"READ", true, 1}, {"P99", true, 2},
		{"WRITE", true, 1},    {"P99", true, 2},
	};
	const char *const cells[] = {"a-long-name", "1", "2", "3", "4"};
	AUTO(table_free) struct table *t = NULL;
	char buf[512];

	assert_int_equal(table_new(pairs, ARRAY_SIZE(pairs), &t), 0);
	assert_int_equal(table_add(t, cells, NULL), 0);
	print(t, false, 0, buf, sizeof(buf));
	assert_non_null(strstr(buf, "a-long-name    1   2     3   4\n"));
	/* of a name, so much is enough */
	print(t, false, 25, buf, sizeof(buf));
	assert_non_null(strstr(buf, "P99 WRITE P99"));
	print(t, false, 24, buf, sizeof(buf));
	assert_null(strstr(buf, "P99"));
	assert_non_null(strstr(buf, "READ WRITE"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_narrow_terminals_see_less),
		cmocka_unit_test(test_equal_columns_go_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
