/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "util/capability.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/systemd.h"

extern char **environ;

int process_block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return log_error_errno(-errno, "cannot block signals: %m");
	return 0;
}

int process_set_up(void)
{
	int r;

	(void)signal(SIGPIPE, SIG_IGN);

	/* One heap for all threads: the queues' threads do not allocate once they run. */
	(void)mallopt(M_ARENA_MAX, 1);

	/* Our own allocations must not wait for write-back that only we can serve. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_debug_errno(-errno, "cannot set PR_SET_IO_FLUSHER: %m");

	/* Nothing of us may have to be read from a disk, which may be our own. What comes later is
	 * locked when first touched: most of the request buffers never are. */
	if (mlockall(MCL_CURRENT) < 0 || mlockall(MCL_FUTURE | MCL_ONFAULT) < 0)
		log_debug_errno(-errno, "cannot lock memory: %m");

	/* What PR_SET_IO_FLUSHER wanted. Threads inherit that flag, and this lack, so that none of
	 * them takes space which file systems hold back for those that have the capability. */
	r = capability_drop(CAP_SYS_RESOURCE);
	if (r < 0)
		return log_error_errno(r, "cannot drop CAP_SYS_RESOURCE: %m");
	return 0;
}

int process_load_module(void)
{
	char program[] = "modprobe", quiet[] = "-q", module[] = "ublk_drv";
	char *const argv[] = {program, quiet, module, NULL};
	int status;
	pid_t pid;
	int r;

	r = posix_spawnp(&pid, program, NULL, NULL, argv, environ);
	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENODEV;
}

void process_watch_mounts(sd_event *event, sd_event_io_handler_t handler, void *arg)
{
	AUTO_CLOSE int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	sd_event_source *source;

	if (fd < 0 || sd_event_add_io(event, &source, fd, EPOLLPRI, handler, arg) < 0)
		return;
	sd_event_source_set_io_fd_own(source, true);
	(void)TAKE_FD(fd);
	sd_event_source_set_floating(source, true);
	sd_event_source_unref(source);
}

bool process_is_last(void)
{
	bool stopping = false;

	return systemd_is_stopping(&stopping) == 0 && stopping;
}
