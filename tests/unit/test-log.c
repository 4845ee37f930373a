/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/log.h"

/* stderr of this test is a pipe, so that what was written can be read. */
static int pipe_fds[2], old_stderr;

static int setup(void **state)
{
	unsetenv("JOURNAL_STREAM");
	old_stderr = dup(STDERR_FILENO);
	if (old_stderr < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0 ||
	    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) < 0)
		return -1;
	return dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	log_set_level(LOG_INFO);
	return 0;
}

static const char *written(void)
{
	static char text[1 << 16];
	ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);

	text[MAX(n, 0)] = '\0';
	return text;
}

static void test_stderr_has_device_level_and_text(void **state)
{
	const char *before = log_set_device("data");

	log_error("no %s", "space");
	(void)log_set_device(before);
	assert_int_equal(log_warning_errno(-EACCES, "cannot open: %m"), -EACCES);
	assert_string_equal(written(),
			    "data: error: no space\nwarning: cannot open: Permission denied\n");
}

static void test_levels(void **state)
{
	int level = -1;

	log_debug("not yet");
	assert_int_equal(log_level_from_string("debug", &level), 0);
	log_set_level(level);
	log_debug("now");
	assert_string_equal(written(), "debug: now\n");
	assert_int_equal(log_level_from_string("loud", &level), -EINVAL);
	assert_int_equal(level, LOG_DEBUG);
}

static void test_errno_survives(void **state)
{
	errno = ENOTTY;
	log_info("x");
	assert_int_equal(errno, ENOTTY);
}

static void test_the_last_error_is_captured(void **state)
{
	char text[16] = "";

	log_set_capture(text, sizeof(text));
	log_warning("only a warning");
	assert_string_equal(text, "");
	log_error("first");
	log_error_errno(-ENOENT, "no: %m");
	log_info("behind it");
	assert_string_equal(text, "no: No such fil");
	log_set_capture(NULL, 0);
	log_error("not captured");
	assert_string_equal(text, "no: No such fil");
}

static void test_thread_writes_everything_in_order(void **state)
{
	char want[4096] = "";

	assert_int_equal(log_start(), 0);
	for (int i = 0; i < 100; i++) {
		log_info("%d", i);
		snprintf(want + strlen(want), sizeof(want) - strlen(want), "info: %d\n", i);
	}
	log_stop(10000);
	assert_string_equal(written(), want);
}

/* Last: the thread stays stuck in its write. */
static void test_a_reader_that_does_not_read_costs_no_time(void **state)
{
	struct timespec a, b;

	assert_int_equal(log_start(), 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 5000; i++)
		log_info("%01000d", i); /* 5 MB into a pipe of 64 KiB */
	log_stop(100);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_in_range(b.tv_sec - a.tv_sec, 0, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stderr_has_device_level_and_text, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errno_survives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_last_error_is_captured, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thread_writes_everything_in_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_reader_that_does_not_read_costs_no_time,
						setup, teardown),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* the stuck thread, when the last test closes its pipe */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
