/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening what Path= names: found or created, of the right kind, and locked. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "backend/file.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/sandbox.h"

static bool file_is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

int file_sync_dir(const char *path)
{
	AUTO_FREE char *dir = strdup(path);
	AUTO_CLOSE int fd = -1;
	char *slash;

	if (!dir)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	slash[slash == dir ? 1 : 0] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

void file_remove_created(struct backend *b)
{
	struct stat st;

	/* What has another file in its place by now is not ours. */
	if (b->created && stat(b->path, &st) == 0 && file_is_same(&st, &b->st))
		unlink(b->path);
	b->created = false;
}

static bool file_is_denied(int r)
{
	return r == -EROFS || r == -EACCES || r == -EPERM;
}

static int file_log_cannot(const char *what, const struct backend *b, int r)
{
	/* what is not there may be hidden */
	if ((file_is_denied(r) || r == -ENOENT) && !sandbox_is_for(b->path))
		return sandbox_log_is_old(b->path, r);
	if (r == -EPERM && b->is_block && sandbox_is_there() && strncmp(b->path, "/dev/", 5) != 0)
		return log_error_errno(
			r, "cannot %s %s: %m; Path= has to name a device by its path below /dev",
			what, b->path);
	return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r, "cannot %s %s: %m", what, b->path);
}

static int file_create(const struct backend_request *req, struct backend *b)
{
	const struct file_conf *conf = req->conf;
	int fd;

	if ((conf->create == FILE_CREATE_NO || req->read_only) && !sandbox_is_for(b->path))
		return sandbox_log_is_old(b->path, -ENOENT);
	if (conf->create == FILE_CREATE_NO)
		return log_message(
			MESSAGE_BACKING_FAILED, LOG_ERR, -ENOENT,
			"%s does not exist: set Create=sparse or Create=prealloc to make it",
			b->path);
	if (req->read_only)
		return log_error_errno(-ENOENT,
				       "%s does not exist, and with ReadOnly=yes it is not created",
				       b->path);
	if (req->size_bytes == 0)
		return log_error_errno(-EINVAL,
				       "cannot create %s without a size: set Size=", b->path);
	fd = open(b->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0 && errno == EEXIST)
		return log_error_errno(
			-EEXIST,
			"cannot create %s: it is a symbolic link that leads nowhere, or was made by somebody else just now",
			b->path);
	if (fd < 0)
		return file_log_cannot("create", b, -errno);
	b->fd = fd;
	b->created = true;
	return 0;
}

/* Whether what was opened for writing says in another way that nobody is to write. */
static bool file_refuses_writes(int fd, const struct stat *st)
{
	int read_only = 0;

	if (S_ISBLK(st->st_mode))
		return ioctl(fd, BLKROGET, &read_only) == 0 && read_only;
	/* Those with CAP_DAC_OVERRIDE may, but whoever took all three bits away meant something. */
	return !(st->st_mode & (S_IWUSR | S_IWGRP | S_IWOTH));
}

/*
 * O_EXCL claims a block device, by whatever name, against mounts and other O_EXCL. A lock on the
 * node instead would keep udev from looking at it for as long as we live. Regular files ignore it.
 */
static int file_open_writable(const char *path, const struct stat *st)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (file_refuses_writes(fd, st))
		return -EROFS;
	return TAKE_FD(fd);
}

static int file_open_existing(const struct backend_request *req, struct backend *b)
{
	unsigned waited_ms = 0;
	int r = -EROFS;

	if (!req->read_only) {
		do
			r = file_open_writable(b->path, &b->st);
		while (r == -EBUSY && file_wait_for_release(b, &waited_ms));
		if (r == -EBUSY)
			return file_log_busy(b->path, &b->st);
		/* Not to be made read-only by a sandbox that was for something else. */
		if (r < 0 && (!file_is_denied(r) || !sandbox_is_for(b->path)))
			return file_log_cannot("open", b, r);
		b->fd = r;
	}
	if (r < 0) {
		b->read_only = true;
		b->fd = open(b->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (b->fd < 0)
			return file_log_cannot("open", b, -errno);
		if (!req->read_only)
			log_notice("%s cannot be written (%s), so the device is read-only too",
				   b->path, strerror(-r));
	}
	return 0;
}

static int file_find(const struct backend_request *req, struct backend *b)
{
	struct stat st;
	int r;

	if (stat(b->path, &b->st) < 0) {
		if (errno != ENOENT)
			return file_log_cannot("find", b, -errno);
		if (req->takeover)
			return log_error_errno(
				-ENOENT,
				"%s is gone, with the data of a device that is in use: put it back",
				b->path);
		r = file_create(req, b);
		if (r < 0)
			return r;
		if (fstat(b->fd, &b->st) < 0)
			return log_error_errno(-errno, "cannot look at %s: %m", b->path);
		return 0;
	}
	b->is_block = S_ISBLK(b->st.st_mode);
	if (!b->is_block && !S_ISREG(b->st.st_mode))
		return log_error_errno(-EINVAL, "%s is neither a regular file nor a block device",
				       b->path);
	r = file_open_existing(req, b);
	if (r < 0)
		return r;
	if (fstat(b->fd, &st) < 0)
		return log_error_errno(-errno, "cannot look at %s: %m", b->path);
	if (!file_is_same(&st, &b->st))
		return log_error_errno(
			-EINVAL, "%s was replaced by another file just now: try again", b->path);
	return 0;
}

/* When somebody read the device last is not when somebody read the file, and costs every read some
 * time. Only the file's owner may say so, and whoever has CAP_FOWNER. */
static void file_keep_atime(const struct backend *b)
{
	int flags = fcntl(b->fd, F_GETFL);

	if (flags >= 0)
		(void)fcntl(b->fd, F_SETFL, flags | O_NOATIME);
}

int file_open_backing(const struct backend_request *req, struct backend *b)
{
	const struct file_conf *conf = req->conf;
	int r;

	b->read_only = req->read_only;
	b->takeover = req->takeover;
	r = file_find(req, b);
	if (r < 0)
		return r;
	r = file_lock(b);
	if (r < 0) {
		b->created = false; /* whoever was quicker to lock it has it now */
		return r;
	}
	file_keep_atime(b);
	b->allocated = !b->is_block && conf->create == FILE_CREATE_PREALLOC;
	return file_set_size(req, b);
}
