/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <time.h>

#include "state/state.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/messages.h"

#define RELOAD_STEP_MS    20
#define RELOAD_DEADLINE_S 60

/* -ESRCH: nobody serves it. */
static int reload_open_server(const char *name, pid_t *ret_pid, int *ret_fd)
{
	const struct timespec step = {.tv_nsec = RELOAD_STEP_MS * 1000000L};
	AUTO_CLOSE int fd = -1;
	pid_t pid = 0, again = 0;
	int r = -EAGAIN;

	/* for as long as a server that has just taken the lock needs to write its number down */
	for (int i = 0; i < 50 && r == -EAGAIN; i++) {
		r = state_get_owner(name, &pid);
		if (r == -EAGAIN)
			nanosleep(&step, NULL);
	}
	if (r < 0)
		return r;
	if (pid == 0)
		return -ESRCH;
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		return -errno;
	/* The number may have passed to another process just before it was opened. */
	r = state_get_owner(name, &again);
	if (r < 0)
		return r;
	if (again != pid)
		return -ESRCH;
	*ret_pid = pid;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* How many reloads there have been; one that cannot be read is like none, and replaced by the next. */
static uint64_t reload_count(const char *name)
{
	AUTO_FREE char *text = NULL;
	uint64_t n = 0;
	int result;

	(void)state_read_reload(name, &n, &result, &text);
	return n;
}

static int reload_wait(const char *name, uint64_t before, int server_fd, int *ret_result,
		       char **ret_text)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct pollfd p = {.fd = server_fd, .events = POLLIN};
		AUTO_FREE char *text = NULL;
		int result, n_ended;
		uint64_t n;

		n_ended = poll(&p, 1, RELOAD_STEP_MS);
		/* after the poll: one that is done and then ends has reloaded all the same */
		if (state_read_reload(name, &n, &result, &text) == 0 && n != before) {
			*ret_result = result;
			*ret_text = TAKE_PTR(text);
			return 0;
		}
		if (n_ended > 0)
			return -ESRCH;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= RELOAD_DEADLINE_S)
			return -ETIMEDOUT;
	}
}

static int reload_log_result(int result, const char *text)
{
	if (result < 0)
		return log_message(MESSAGE_RELOAD_FAILED, LOG_ERR, result, "not reloaded: %s",
				   *text ? text : "the server's log says why");
	log_info("reloaded%s%s", *text ? ": " : "", text);
	return 0;
}

int reload_request(const char *name)
{
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int fd = -1;
	uint64_t before;
	pid_t pid = 0;
	int result, r;

	r = reload_open_server(name, &pid, &fd);
	if (r == -ESRCH)
		return log_at(LOG_ERR, r,
			      "no process serves it, so that none can be told to reload");
	if (r < 0)
		return log_error_errno(r, "cannot tell which process serves it: %m");
	before = reload_count(name);
	if (pidfd_send_signal(fd, SIGHUP, NULL, 0) < 0)
		return log_error_errno(-errno, "cannot tell process %d to reload: %m", (int)pid);
	r = reload_wait(name, before, fd, &result, &text);
	if (r == -ESRCH)
		return log_at(LOG_ERR, r, "process %d ended before it had reloaded", (int)pid);
	if (r < 0)
		return log_at(LOG_ERR, r,
			      "process %d has not reloaded within %d s; its log says what "
			      "it does",
			      (int)pid, RELOAD_DEADLINE_S);
	return reload_log_result(result, text);
}
