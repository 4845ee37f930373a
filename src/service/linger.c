/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "service/held.h"
#include "service/take-down.h"
#include "state/holders.h"
#include "state/state.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/systemd.h"

#define LINGER_SYNC_MS 15000
#define LINGER_TAKE_MS 1000 /* then the other devices are looked after meanwhile */
#define LINGER_STEP_NS 100000000L

/* Units whose jobs do not count: our own, and those that only stand for others. */
static bool linger_is_ours(const char *unit)
{
	static const char *const patterns[] = {"ublk@*.service", "ublkd.service",
					       "ublk-reap*.service", "*.target"};

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		if (fnmatch(patterns[i], unit, 0) == 0)
			return true;
	}
	return false;
}

void linger_look(struct linger *l, unsigned tick)
{
	bool others = true;

	if (tick % LINGER_TICKS != 0)
		return;
	(void)systemd_has_running_job(linger_is_ours, &others);
	if (others)
		l->alone_ms = 0;
	else if (l->alone_ms == 0)
		l->alone_ms = clock_now_ns() / 1000000;
}

bool linger_is_due(const struct linger *l, unsigned tick)
{
	return tick % LINGER_TICKS == 0 && l->alone_ms > 0;
}

/* The third word of /proc/PID/stat, behind a command in brackets that may hold anything. */
static bool linger_is_stopped(pid_t pid)
{
	AUTO_FREE char *text = NULL;
	const char *end;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fd_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return false;
	end = strrchr(text, ')');
	return end && strncmp(end, ") T", 3) == 0;
}

void linger_continue(pid_t server)
{
	if (!linger_is_stopped(server) || kill(server, SIGCONT) < 0)
		return;
	log_message(
		MESSAGE_STOPPED_SERVER_CONTINUED, LOG_WARNING, 0,
		"the server, process %d, had been stopped (SIGSTOP): it goes on, since its device "
		"would hold up the shutdown",
		(int)server);
}

/* In a process of its own: what does not answer would keep it for ever. True: all is written. */
static bool linger_sync(void)
{
	const struct timespec step = {.tv_nsec = LINGER_STEP_NS};
	uint64_t end = clock_now_ns() / 1000000 + LINGER_SYNC_MS;
	pid_t pid = fork();

	if (pid == 0) {
		sync();
		_exit(0);
	}
	while (pid > 0 && clock_now_ns() / 1000000 < end) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

/* What the one who takes down has done. False: it is still at it. */
static bool linger_has_taken_down(struct linger *l, int within_ms)
{
	struct pollfd end = {.fd = l->taker_fd}; /* hangs up when the other side has gone */
	char text[4096], *rest = NULL;
	ssize_t n;

	if (poll(&end, 1, within_ms) <= 0)
		return false;
	(void)waitpid(l->taker, NULL, 0);
	n = read(l->taker_fd, text, sizeof(text) - 1);
	text[MAX(n, 0)] = '\0';
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log_info("%s, which nobody uses any more", line);
	close(l->taker_fd);
	l->taker = 0;
	return true;
}

/*
 * What somebody kept systemd from taking down may be free by now. In a process of its own, as above, and one at
 * a time, for all devices.
 */
static void linger_take_down(struct linger *l, uint32_t dev_id)
{
	int fds[2];

	if (l->taker > 0 && !linger_has_taken_down(l, 0))
		return;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	l->taker = fork();
	if (l->taker == 0) {
		take_down(dev_id, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	l->taker_fd = fds[0];
	if (l->taker > 0)
		(void)linger_has_taken_down(l, LINGER_TAKE_MS);
	else
		close(fds[0]);
}

static void linger_give_up(struct linger *l, const struct holders *h, pid_t server)
{
	char text[HELD_TEXT_BYTES];

	/* Once, and for all devices: behind the first one that has no server, it would wait. */
	if (!l->gave_up)
		l->synced = linger_sync();
	l->gave_up = true;
	log_message(
		MESSAGE_SHUTDOWN_GAVE_UP, LOG_ERR, 0,
		"the device is still %s, %u s after all else has ended: the shutdown goes on "
		"without waiting for that. %s; what is written from now on is lost",
		held_describe(h, text), LINGER_HOLD_MS / 1000,
		l->synced ? "What was written until now is on the disk"
			  : "What was written until now could not be brought to the disk in time");
	(void)kill(server, SIGKILL);
}

void linger_deal(struct linger *l, const char *name, pid_t server)
{
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};
	struct state s = {0};
	uint32_t dev_id;
	int r;

	r = state_read(name, &s);
	dev_id = s.dev_id;
	state_deinit(&s);
	if (r < 0)
		return; /* it is just going */
	if (clock_now_ns() / 1000000 < l->alone_ms + LINGER_HOLD_MS)
		linger_take_down(l, dev_id);
	else if (holders_find(dev_id, h) == 0)
		linger_give_up(l, h, server);
}
