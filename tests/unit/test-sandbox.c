/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a process finds out about its sandbox. */
#include "util/sandbox.h"

#include "golden.h"
#include "util/cleanup.h"

#include <stdlib.h>

static void test_no_sandbox_is_for_all(void **state)
{
	unsetenv("UBLKD_SANDBOX");
	assert_false(sandbox_is_there());
	assert_true(sandbox_is_for("/srv/a.img"));
}

static void test_sandbox_names_its_paths(void **state)
{
	const struct {
		const char *paths, *path;
		bool is_for;
	} cases[] = {
		{"", "/a", false},        {"/a", "/a", true},
		{"/a", "/a/b", false},    {"/a/b", "/a", false},
		{"/a/b", "/b", false},    {"/a:/b", "/a", true},
		{"/a:/b", "/b", true},    {"/aa:/a", "/a", true},
		{"/x/a:/y", "/a", false}, {"/with:colon", "/with:colon", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setenv("UBLKD_SANDBOX", cases[i].paths, 1);
		assert_true(sandbox_is_there());
		assert_int_equal(sandbox_is_for(cases[i].path), cases[i].is_for);
	}
	unsetenv("UBLKD_SANDBOX");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_sandbox_is_for_all),
		cmocka_unit_test(test_sandbox_names_its_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
