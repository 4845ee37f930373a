/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/nbd-words.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/search.h"

#define MAX_WORDS 6

static const struct {
	const char *text, *words[MAX_WORDS];
} good[] = {
	{"", {NULL}},
	{" \t ", {NULL}},
	{"nbdkit", {"nbdkit"}},
	{" a  b\tc ", {"a", "b", "c"}},
	{"a \"b c\" 'd e'", {"a", "b c", "d e"}},
	{"a=\"b c\"d", {"a=b cd"}},
	{"\"\" ''", {"", ""}},
	{"a\\ b \\\\ \\\"", {"a b", "\\", "\""}},
	{"\"a'\\\"b\" 'c\"\\d'", {"a'\"b", "c\"\\d"}},
	{"$HOME %i ~ *", {"$HOME", "%i", "~", "*"}},
};

static const struct {
	const char *text, *why;
} bad[] = {
	{"a \"b", "no end"},
	{"'", "no end"},
	{"a \\", "backslash"},
	{"\"a\\", "backslash"},
};

static const struct {
	const char *command, *paths, *found[MAX_WORDS];
} with_paths[] = {
	{"/usr/bin/nbdkit memory 1G", NULL, {NULL}},
	{"qemu-nbd -f qcow2 /srv/a.qcow2", NULL, {"/srv/a.qcow2"}},
	{"nbdkit file file=/srv//a/ dir=b /c/../d", NULL, {"/srv/a"}},
	{"nbdkit file /srv/a", "/srv/b '/srv/c d'", {"/srv/b", "/srv/c d"}},
	{NULL, NULL, {NULL}},
};

static void same_words(char **words, const char *const *want)
{
	unsigned n = 0;

	for (; want[n]; n++) {
		assert_non_null(words[n]);
		assert_string_equal(words[n], want[n]);
	}
	assert_null(words[n]);
}

static void test_words(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		AUTO(conf_strv_free) char **words = NULL;
		const char *why;

		assert_int_equal(nbd_words_split(good[i].text, &words, &why), 0);
		same_words(words, good[i].words);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char **words = NULL;
		const char *why = "";

		assert_int_equal(nbd_words_split(bad[i].text, &words, &why), -EINVAL);
		assert_non_null(strstr(why, bad[i].why));
		assert_null(words);
	}
}

static void test_paths(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(with_paths); i++) {
		const struct nbd_conf conf = {.command = (char *)with_paths[i].command,
					      .paths = (char *)with_paths[i].paths};
		AUTO(conf_strv_free) char **paths = NULL;

		assert_int_equal(nbd_words_paths(&conf, &paths), 0);
		same_words(paths, with_paths[i].found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
