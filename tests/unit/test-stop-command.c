/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tool of each layer, as words. */
#include "cli/stop.h"

#include "golden.h"

static void test_command(void **state)
{
	const char *words[STOP_COMMAND_MAX];
	struct stack_step lv = {.kind = STACK_LVM, .object = (char *)"vg-thin"};
	struct stack_step other = {.kind = STACK_OTHER, .object = (char *)"drbd0"};
	char buf[64], small[8];

	assert_int_equal(stop_command(&lv, words, buf, sizeof(buf)), 0);
	assert_string_equal(words[0], "lvchange");
	assert_string_equal(words[3], "/dev/mapper/vg-thin");
	assert_null(words[4]);
	assert_int_equal(stop_command(&lv, words, small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(stop_command(&other, words, buf, sizeof(buf)), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
