/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/stop.h"

#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>

#include "state/holders.h"
#include "util/systemd-jobs.h"
#include "util/systemd.h"

/* udev looks at a device whose users change, and lets go of it soon. */
#define SETTLE_TRIES 20
#define SETTLE_MS    100

extern char **environ;

__attribute__((format(printf, 3, 4))) static void stop_fail(struct stop_result *ret, int status,
							    const char *format, ...)
{
	va_list args;

	ret->status = status;
	va_start(args, format);
	vsnprintf(ret->reason, sizeof(ret->reason), format, args);
	va_end(args);
}

/* systemd-cryptsetup@ may be called otherwise, and a mount be nobody's: then the tool does it. */
static bool stop_has_unit(const struct stack_step *s)
{
	enum systemd_unit_state state;

	return s->unit && systemd_get_unit_state(s->unit, &state) == 0 &&
	       systemd_unit_is_busy(state);
}

const char *stop_means(const struct stack_step *s, char *buf, size_t size)
{
	const char *words[STOP_COMMAND_MAX];
	char object[STOP_REASON_BYTES];
	size_t len = 0;

	buf[0] = '\0';
	if (stop_has_unit(s) || (s->unit && s->kind == STACK_UBLK)) {
		snprintf(buf, size, "%s", s->unit);
		return buf;
	}
	if (stop_command(s, words, object, sizeof(object)) < 0)
		return buf;
	for (size_t i = 0; words[i] && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? " " : "", words[i]);
	return buf;
}

/* The last thing that a tool has said. Returns buf. */
static const char *stop_last_line(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);
	char *line;

	buf[MAX(n, 0)] = '\0';
	while (n > 0 && buf[n - 1] == '\n')
		buf[--n] = '\0';
	line = strrchr(buf, '\n');
	return line ? line + 1 : buf;
}

static void stop_run_tool(const struct stack_step *s, struct stop_result *ret)
{
	const char *words[STOP_COMMAND_MAX];
	char object[STOP_REASON_BYTES], said[STOP_REASON_BYTES / 2];
	AUTO_CLOSE int fd = memfd_create("said", MFD_CLOEXEC);
	posix_spawn_file_actions_t actions;
	int status = 0, r;
	pid_t pid;

	if (stop_command(s, words, object, sizeof(object)) < 0) {
		stop_fail(ret, 1, "there is no tool for it that ublkctl knows; stop it by hand");
		return;
	}
	posix_spawn_file_actions_init(&actions);
	if (fd >= 0) {
		posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
		posix_spawn_file_actions_adddup2(&actions, fd, STDERR_FILENO);
	}
	r = posix_spawnp(&pid, words[0], &actions, NULL, (char *const *)words, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r > 0) {
		stop_fail(ret, 1, "%s: %s; install it, or stop this by hand", words[0],
			  strerror(r));
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		stop_fail(ret, 1, "%s; see who uses it, and try again",
			  fd >= 0 ? stop_last_line(fd, said, sizeof(said)) : words[0]);
}

static void stop_run_unit(const struct stack_step *s, struct stop_result *ret)
{
	struct systemd_job job = {.verb = SYSTEMD_STOP, .unit = s->unit};
	int r = systemd_run_jobs(&job, 1, 1, NULL, NULL);

	if (r < 0)
		stop_fail(ret, 1, "cannot ask systemd: %s", strerror(-r));
	else if (job.result < 0)
		stop_fail(ret, 1, "%s: %s; systemctl status %s says why", s->unit,
			  *job.text ? job.text : strerror(-job.result), s->unit);
}

/* Whoever is left holds it for longer than a look. */
static bool stop_is_free(uint32_t dev_id, struct stop_result *ret)
{
	const struct timespec pause = {.tv_nsec = SETTLE_MS * 1000 * 1000L};
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};
	char by[STOP_REASON_BYTES / 2];

	for (unsigned i = 0; i < SETTLE_TRIES; i++) {
		int r = holders_find(dev_id, h);

		if (r == -ENODEV || (r == 0 && h->n == 0))
			return true;
		nanosleep(&pause, NULL);
	}
	stop_fail(ret, EX_TEMPFAIL, "%s; end that, and try again",
		  h->n > 0 ? holders_to_string(h, by, sizeof(by)) : "cannot tell who uses it");
	return false;
}

static void stop_run_ublk(const struct stack_step *s, uint32_t dev_id, struct stop_result *ret)
{
	if (!stop_is_free(dev_id, ret))
		return;
	if (stop_has_unit(s))
		stop_run_unit(s, ret);
	else
		stop_fail(ret, 1,
			  "%s does not run: end the server that was started by hand, or remove "
			  "what a dead one left with ublkctl gc",
			  s->unit);
}

void stop_run_step(const struct stack_step *s, uint32_t dev_id, struct stop_result *ret)
{
	*ret = (struct stop_result){0};
	if (s->kind == STACK_UBLK)
		stop_run_ublk(s, dev_id, ret);
	else if (stop_has_unit(s))
		stop_run_unit(s, ret);
	else
		stop_run_tool(s, ret);
}
