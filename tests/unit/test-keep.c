/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors from systemd's store: who gets them, and that none stays open without an owner. */
#include "service/keep.h"

#include "golden.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/cleanup.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

static int notify_fd = -1;

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* What systemd has been told, in order; "" if there is no more. */
static const char *told(void)
{
	static char text[256];
	ssize_t n = recv(notify_fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void test_taken_once(void **state)
{
	assert_int_equal(keep_take_fd(NULL, "b"), FIRST_FD + 1);
	assert_int_equal(keep_take_fd(NULL, "b"), -1);
	assert_int_equal(keep_take_fd(NULL, "nobody"), -1);
	assert_true(is_open(FIRST_FD + 1)); /* it is the taker's */
	assert_string_equal(told(), "");
	close(FIRST_FD + 1);
}

/* A device that is made anew does not go on with what an earlier one of its name left. */
static void test_replaced_is_closed(void **state)
{
	assert_int_equal(keep_fd(NULL, "a", -1), 0);
	assert_false(is_open(FIRST_FD));
	assert_int_equal(keep_take_fd(NULL, "a"), -1);
	assert_string_equal(told(), "FDSTOREREMOVE=1\nFDNAME=data-a");
	assert_string_equal(told(), "");
}

static void test_rest_is_closed(void **state)
{
	assert_true(is_open(FIRST_FD + 2));
	keep_forget_rest();
	assert_false(is_open(FIRST_FD + 2));
	assert_int_equal(keep_take_fd(NULL, "c"), -1);
	assert_string_equal(told(), "FDSTOREREMOVE=1\nFDNAME=data-c");
	assert_string_equal(told(), "");
}

/* As systemd starts a process. */
static int inherit(const char *names, int n)
{
	char text[16];

	for (int fd = FIRST_FD; fd < FIRST_FD + n; fd++) {
		int memfd = memfd_create("test-keep", 0);

		if (memfd < 0 || (memfd != fd && dup2(memfd, fd) < 0))
			return -1;
		if (memfd != fd)
			close(memfd);
	}
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%d", n);
	setenv("LISTEN_FDS", text, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	keep_init();
	return 0;
}

static int setup(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int len;

	/* out of the way of those that are inherited */
	notify_fd = fcntl(fd, F_DUPFD_CLOEXEC, 64);
	len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "test-keep-%d",
		       (int)getpid());
	len += (int)offsetof(struct sockaddr_un, sun_path) + 1;
	if (notify_fd < 0 || bind(notify_fd, (struct sockaddr *)&address, (socklen_t)len) < 0)
		return -1;
	close(TAKE_FD(fd));
	address.sun_path[0] = '@';
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	return inherit("data-a:data-b:data-c", 3);
}

static int teardown(void **state)
{
	return close(notify_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken_once),
		cmocka_unit_test(test_replaced_is_closed),
		cmocka_unit_test(test_rest_is_closed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
