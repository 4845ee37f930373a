/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When the machine goes down: what is taken down, and when somebody is not waited for any more. */
#include "service/linger.h"

#include "golden.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "state/holders.h"
#include "state/state.h"
#include "util/log.h"
#include "util/systemd.h"

#define SERVER 4711

static uint64_t now_ms;
static const char *running;    /* unit of the only job that runs; NULL: none does */
static unsigned *n_taken_down; /* by other processes */
static bool never_ends;
static int signal_sent;
static char said[1024];

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	*ts = (struct timespec){.tv_sec = (time_t)(now_ms / 1000),
				.tv_nsec = (long)(now_ms % 1000) * 1000000};
	return 0;
}

int __wrap_systemd_has_running_job(bool (*ignored)(const char *unit), bool *ret);
int __wrap_systemd_has_running_job(bool (*ignored)(const char *unit), bool *ret)
{
	*ret = running && !ignored(running);
	return 0;
}

int __wrap_holders_find(uint32_t dev_id, struct holders *h);
int __wrap_holders_find(uint32_t dev_id, struct holders *h)
{
	assert_int_equal(dev_id, 3);
	h->items = calloc(1, sizeof(*h->items));
	assert_non_null(h->items);
	h->items[0] = (struct holder){.kind = HOLDER_MOUNT, .text = strdup("/srv/data")};
	h->n = 1;
	return 0;
}

int __wrap_state_read(const char *name, struct state *ret_s);
int __wrap_state_read(const char *name, struct state *ret_s)
{
	assert_string_equal(name, "data");
	*ret_s = (struct state){.dev_id = 3};
	return 0;
}

void __wrap_take_down(uint32_t dev_id, int fd);
void __wrap_take_down(uint32_t dev_id, int fd)
{
	if (dev_id != 3)
		_exit(1);
	++*n_taken_down;
	if (never_ends)
		pause();
	dprintf(fd, "unmounted /srv/data\n");
}

int __wrap_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number)
{
	signal_sent = number;
	return 0;
}

/* In the child. */
void __wrap_sync(void);
void __wrap_sync(void)
{
}

static int setup(void **state)
{
	now_ms = 5000;
	running = NULL;
	*n_taken_down = 0;
	never_ends = false;
	signal_sent = 0;
	said[0] = '\0';
	log_set_capture(said, sizeof(said));
	return 0;
}

static void test_nobody_is_hurried_while_units_end(void **state)
{
	static const char *const others[] = {"srv-data.mount", "postgresql.service",
					     "session-1.scope", "ublkx@data.service"};
	static const char *const ours[] = {NULL, "ublk@data.service", "ublkd.service",
					   "ublk-reap.service", "umount.target"};
	struct linger l = {0};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		running = others[i];
		linger_look(&l, 0);
		assert_false(linger_is_due(&l, 0));
	}
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		l = (struct linger){0};
		running = ours[i];
		linger_look(&l, 0);
		assert_true(linger_is_due(&l, 0));
		assert_false(linger_is_due(&l, 1));
	}
	/* somebody came back: all begins anew */
	running = "srv-data.mount";
	linger_look(&l, LINGER_TICKS);
	assert_false(linger_is_due(&l, LINGER_TICKS));
}

static void test_what_is_free_is_taken_down(void **state)
{
	struct linger l = {0};

	linger_look(&l, 0);
	linger_deal(&l, "data", SERVER);
	assert_int_equal(*n_taken_down, 1);
	assert_int_equal(signal_sent, 0);
}

/* What does not answer when it is taken down keeps nobody from going on, and nothing else is begun. */
static void test_who_takes_down_may_wait_for_ever(void **state)
{
	struct linger l = {0};
	pid_t taker;

	never_ends = true;
	linger_look(&l, 0);
	linger_deal(&l, "data", SERVER);
	taker = l.taker;
	assert_true(taker > 0);
	linger_deal(&l, "data", SERVER);
	assert_int_equal(l.taker, taker);
	assert_int_equal(*n_taken_down, 1);
	now_ms += LINGER_HOLD_MS;
	linger_deal(&l, "data", SERVER);
	assert_int_equal(signal_sent, SIGKILL);
	syscall(SYS_kill, taker, SIGKILL);
	assert_int_equal(waitpid(taker, NULL, 0), taker);
	close(l.taker_fd);
}

static void test_who_holds_on_is_given_up(void **state)
{
	struct linger l = {0};

	linger_look(&l, 0);
	now_ms += LINGER_HOLD_MS - 1;
	linger_look(&l, LINGER_TICKS);
	linger_deal(&l, "data", SERVER);
	assert_int_equal(signal_sent, 0);
	assert_int_equal(*n_taken_down, 1);
	assert_string_equal(said, "");
	now_ms++;
	linger_deal(&l, "data", SERVER);
	assert_int_equal(signal_sent, SIGKILL);
	assert_int_equal(*n_taken_down, 1);
	assert_non_null(strstr(said, "still mounted on /srv/data"));
	assert_non_null(strstr(said, "is on the disk"));
	assert_true(l.gave_up && l.synced);
}

static void test_only_a_stopped_server_is_continued(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	linger_continue(pid);
	assert_int_equal(signal_sent, 0);
	syscall(SYS_kill, pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	linger_continue(pid);
	assert_int_equal(signal_sent, SIGCONT);
	syscall(SYS_kill, pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nobody_is_hurried_while_units_end),
		TEST(test_what_is_free_is_taken_down),
		TEST(test_who_takes_down_may_wait_for_ever),
		TEST(test_who_holds_on_is_given_up),
		TEST(test_only_a_stopped_server_is_continued),
	};

	n_taken_down = mmap(NULL, sizeof(*n_taken_down), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
