/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "ublkd reload" and servers of several kinds, each a child with the lock of the name. */
#include "service/reload.h"

#include "golden.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "state/state.h"
#include "util/log.h"

static char root[64];
static char said[512];

enum kind {
	RELOADS,       /* says so after each signal */
	RELOADS_TWICE, /* before it is asked, and then */
	REFUSES,
	DIES,
};

static void serve(enum kind kind, int ready_fd)
{
	AUTO_CLOSE int lock = -1;
	uint64_t n = 0;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (state_lock("data", &lock) < 0)
		_exit(2);
	if (kind == RELOADS_TWICE && state_write_reload("data", ++n, -EIO, "an old one") < 0)
		_exit(3);
	if (write(ready_fd, "", 1) != 1)
		_exit(4);
	for (;;) {
		if (sigwait(&set, &sig) != 0 || kind == DIES)
			_exit(0);
		n++;
		if (state_write_reload("data", n, kind == REFUSES ? -EUCLEAN : 0,
				       kind == REFUSES ? "2 errors" : "Size=") < 0)
			_exit(5);
	}
}

static pid_t start(enum kind kind)
{
	int fds[2];
	pid_t child;
	char c;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		serve(kind, fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	close(fds[0]);
	return child;
}

static void stop(pid_t child)
{
	int status;

	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
}

static int setup(void **state)
{
	char path[80];

	strcpy(root, "/tmp/test-reload.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(path, sizeof(path), "%s/run", root);
	setenv("UBLKD_STATE_DIR", path, 1);
	said[0] = '\0';
	log_set_capture(said, sizeof(said));
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	log_set_capture(NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void test_outcome_is_waited_for(void **state)
{
	pid_t child = start(RELOADS);

	assert_int_equal(reload_request("data"), 0);
	assert_int_equal(reload_request("data"), 0);
	stop(child);
}

static void test_old_outcome_does_not_count(void **state)
{
	pid_t child = start(RELOADS_TWICE);

	assert_int_equal(reload_request("data"), 0);
	stop(child);
}

static void test_refused(void **state)
{
	pid_t child = start(REFUSES);

	assert_int_equal(reload_request("data"), -EUCLEAN);
	assert_non_null(strstr(said, "2 errors"));
	stop(child);
}

static void test_server_that_ends(void **state)
{
	pid_t child = start(DIES);

	assert_int_equal(reload_request("data"), -ESRCH);
	assert_non_null(strstr(said, "ended before"));
	stop(child);
}

static void test_nobody_serves_it(void **state)
{
	pid_t child;

	assert_int_equal(reload_request("data"), -ESRCH);
	child = start(RELOADS);
	stop(child);
	assert_int_equal(reload_request("data"), -ESRCH);
	assert_int_equal(reload_request(STATE_MANAGER), -ESRCH);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_outcome_is_waited_for),
		TEST(test_old_outcome_does_not_count),
		TEST(test_refused),
		TEST(test_server_that_ends),
		TEST(test_nobody_serves_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
