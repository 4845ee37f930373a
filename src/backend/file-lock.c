/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One writer, or readers only; and who has the file if it is not us.
 *
 * The kernel takes an io_uring apart some time after its process has ended, and only then lets the
 * files of the ring go. So the successor of a server that crashed may find its file locked by a
 * process that is no more. A holder that can be named is final; for any other we wait a little.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

#include "backend/file.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/mounts.h"

#define HOLDER_TEXT_MAX 256

#define RELEASE_TIMEOUT_MS  5000
#define TAKEOVER_TIMEOUT_MS 30000 /* a device is waiting, and giving up costs its users dearly */
#define RELEASE_POLL_MS     20

static void file_format_process(int pid, char text[static HOLDER_TEXT_MAX])
{
	char path[64], comm[32] = "";
	AUTO_FCLOSE FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = '\0';
	snprintf(text, HOLDER_TEXT_MAX, "process %d (%s)", pid, comm[0] ? comm : "?");
}

/* One that is only waited for by its parent, or about to be, has nothing open but its rings. */
static bool file_is_process_alive(int pid)
{
	char path[64], line[512] = "";
	AUTO_FCLOSE FILE *f = NULL;
	const char *state;

	if (kill(pid, 0) < 0 && errno == ESRCH)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return true;        /* as far as we are told */
	state = strrchr(line, ')'); /* behind the name, which may be anything */
	return !state || strncmp(state, ") ", 2) != 0 || (state[2] != 'Z' && state[2] != 'X');
}

/* From /proc/locks, which names the device as the inode does: not on btrfs, say. */
static bool file_find_lock_owner(const struct stat *st, char text[static HOLDER_TEXT_MAX])
{
	AUTO_FCLOSE FILE *f = fopen("/proc/locks", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		unsigned dev_major, dev_minor;
		unsigned long long ino;
		int pid;

		if (sscanf(line, "%*u: FLOCK %*s %*s %d %x:%x:%llu", &pid, &dev_major, &dev_minor,
			   &ino) != 4)
			continue;
		if (dev_major != major(st->st_dev) || dev_minor != minor(st->st_dev) ||
		    ino != st->st_ino || pid <= 0)
			continue;
		if (!file_is_process_alive(pid))
			continue; /* it has ended, only its ring has not */
		file_format_process(pid, text);
		return true;
	}
	return false;
}

/* A device-mapper or md device on top. */
static bool file_find_block_holder(const struct stat *st, char text[static HOLDER_TEXT_MAX])
{
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(st->st_rdev),
		 minor(st->st_rdev));
	d = opendir(path);
	if (!d)
		return false;
	while ((e = readdir(d)) && e->d_name[0] == '.')
		;
	if (e)
		snprintf(text, HOLDER_TEXT_MAX, "/dev/%.200s", e->d_name);
	closedir(d);
	return e;
}

static bool file_find_block_mount(const struct stat *st, char text[static HOLDER_TEXT_MAX])
{
	struct mounts mounts = {0};
	bool found = false;

	(void)mounts_read("/proc/self/mountinfo", &mounts); /* for a message: without it, too */
	for (size_t i = 0; !found && i < mounts.n_mounts; i++) {
		found = mounts.mounts[i].dev == st->st_rdev && mounts.mounts[i].target;
		if (found)
			snprintf(text, HOLDER_TEXT_MAX, "the mount on %s", mounts.mounts[i].target);
	}
	mounts_deinit(&mounts);
	return found;
}

static bool file_find_holder(const struct stat *st, char text[static HOLDER_TEXT_MAX])
{
	if (S_ISBLK(st->st_mode))
		return file_find_block_holder(st, text) || file_find_block_mount(st, text);
	return file_find_lock_owner(st, text);
}

bool file_wait_for_release(const struct backend *b, unsigned *waited_ms)
{
	unsigned timeout_ms = b->takeover ? TAKEOVER_TIMEOUT_MS : RELEASE_TIMEOUT_MS;
	char holder[HOLDER_TEXT_MAX];

	if (*waited_ms >= timeout_ms || file_find_holder(&b->st, holder))
		return false;
	usleep(RELEASE_POLL_MS * 1000);
	*waited_ms += RELEASE_POLL_MS;
	return true;
}

int file_log_busy(const char *path, const struct stat *st)
{
	char holder[HOLDER_TEXT_MAX];

	if (!file_find_holder(st, holder))
		snprintf(holder, sizeof(holder), "somebody else");
	return log_message(
		MESSAGE_BACKING_IN_USE, LOG_ERR, -EBUSY,
		"%s is in use by %s: it can have one writer or many readers, release it there first",
		path, holder);
}

int file_lock(const struct backend *b)
{
	unsigned waited_ms = 0;

	/* A writer has claimed its block device with O_EXCL; readers of one are not counted. */
	if (b->is_block)
		return 0;
	while (flock(b->fd, (b->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return log_error_errno(-errno, "cannot lock %s: %m", b->path);
		if (!file_wait_for_release(b, &waited_ms))
			return file_log_busy(b->path, &b->st);
	}
	return 0;
}

void file_unlock(const struct backend *b)
{
	if (b->fd >= 0 && !b->is_block)
		flock(b->fd, LOCK_UN);
}
