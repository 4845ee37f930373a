/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of units as systemd has them: by its manual, and by systemd-escape where there is one. */
#include "util/unit-name.h"

#include "golden.h"
#include "util/cleanup.h"

#include <string.h>
#include <sys/wait.h>

static const struct {
	const char *path, *name;
} cases[] = {
	{"/", "-.device"},
	{"/dev/ublk/data", "dev-ublk-data.device"},
	{"/dev/ublk/my-data", "dev-ublk-my\\x2ddata.device"},
	{"/dev/disk/by-id/ublk-data", "dev-disk-by\\x2did-ublk\\x2ddata.device"},
	{"/dev/ublk/a.b_c", "dev-ublk-a.b_c.device"},
	{"/.hidden/.file", "\\x2ehidden-.file.device"},
	{"/with blank", "with\\x20blank.device"},
	{"/a:b@c%d\\e\"f'g", "a:b\\x40c\\x25d\\x5ce\\x22f\\x27g.device"},
	{"/\xc3\xa4/\xe2\x82\xac", "\\xc3\\xa4-\\xe2\\x82\\xac.device"},
};

static void test_path_becomes_name(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *name = NULL;

		assert_int_equal(unit_name_from_path(cases[i].path, "device", &name), 0);
		assert_string_equal(name, cases[i].name);
	}
}

/* stdout of systemd-escape, without its last newline; NULL: there is no such program */
static char *escape_by_systemd(const char *path)
{
	int fds[2], status;
	char text[1024];
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execlp("systemd-escape", "systemd-escape", "--path", "--suffix=device", path, NULL);
		_exit(127);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return NULL;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0 && len > 0);
	text[len - 1] = '\0';
	return strdup(text);
}

static void test_systemd_agrees(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *name = escape_by_systemd(cases[i].path);

		if (!name)
			skip();
		assert_string_equal(name, cases[i].name);
	}
}

static void test_every_byte_as_systemd(void **state)
{
	char path[300] = "/x", *at = path + 2;
	AUTO_FREE char *ours = NULL, *theirs = NULL;

	/* in parts, since a name has at most 255 bytes */
	for (unsigned c = 1; c < 256; c++) {
		if (c == '/')
			continue;
		*at++ = (char)c;
		if (at - path < 50 && c < 255)
			continue;
		*at = '\0';
		at = path + 2;
		free(TAKE_PTR(ours));
		free(TAKE_PTR(theirs));
		theirs = escape_by_systemd(path);
		if (!theirs)
			skip();
		assert_int_equal(unit_name_from_path(path, "device", &ours), 0);
		assert_string_equal(ours, theirs);
	}
}

static void test_name_has_an_end(void **state)
{
	char path[300];
	char *name = NULL;

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[1 + 255 - 7] = '\0';
	assert_int_equal(unit_name_from_path(path, "device", &name), 0);
	assert_int_equal(strlen(name), 255);
	free(TAKE_PTR(name));
	path[1 + 255 - 7] = 'a';
	path[1 + 256 - 7] = '\0';
	assert_int_equal(unit_name_from_path(path, "device", &name), -ENAMETOOLONG);
	assert_null(name);
}

static void test_words_are_quoted(void **state)
{
	const char *const words[][3] = {
		{"/srv/data", "\"/srv/data\"", "/srv/data"},
		{"/my data/100%", "\"/my data/100%%\"", "/my data/100%%"},
		{"/a\"b\\c'$d", "\"/a\\\"b\\\\c'$d\"", "/a\"b\\c'$d"},
	};
	char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		assert_int_equal(unit_quote(words[i][0], &text), 0);
		assert_string_equal(text, words[i][1]);
		free(TAKE_PTR(text));
		assert_int_equal(unit_escape_percent(words[i][0], &text), 0);
		assert_string_equal(text, words[i][2]);
		free(TAKE_PTR(text));
	}
	assert_int_equal(unit_quote("/a\tb", &text), -EILSEQ);
	assert_int_equal(unit_escape_percent("/a\x7f", &text), -EILSEQ);
	assert_null(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_becomes_name),
		cmocka_unit_test(test_systemd_agrees),
		cmocka_unit_test(test_every_byte_as_systemd),
		cmocka_unit_test(test_name_has_an_end),
		cmocka_unit_test(test_words_are_quoted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
