/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The size of what was opened: asked for, given, and grown under a device that is in use. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>

#include "backend/file.h"
#include "util/log.h"
#include "util/parse.h"

static int file_allocate(int fd, uint64_t offset_bytes, uint64_t len_bytes)
{
	int r;

	do
		r = fallocate(fd, 0, (off_t)offset_bytes, (off_t)len_bytes);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int file_log_no_space(const struct backend *b, uint64_t missing_bytes)
{
	char missing[SIZE_TEXT_MAX], available[SIZE_TEXT_MAX];
	struct statvfs fs;

	if (fstatvfs(b->fd, &fs) < 0)
		return log_error_errno(-ENOSPC, "no space to allocate %s for %s",
				       format_size(missing_bytes, missing), b->path);
	return log_error_errno(
		-ENOSPC,
		"no space to allocate %s for %s: its file system has %s left; make room or set Create=sparse",
		format_size(missing_bytes, missing), b->path,
		format_size((uint64_t)fs.f_bavail * fs.f_frsize, available));
}

/* A file that cannot have the new size keeps the one it had. */
static int file_grow(const struct backend *b, enum file_create create, uint64_t from_bytes,
		     uint64_t to_bytes)
{
	char size[SIZE_TEXT_MAX];
	int r = 0;

	if (create == FILE_CREATE_PREALLOC)
		r = file_allocate(b->fd, from_bytes, to_bytes - from_bytes);
	else if (ftruncate(b->fd, (off_t)to_bytes) < 0)
		r = -errno;
	if (r == 0 && fsync(b->fd) < 0)
		r = -errno;
	if (r == 0 && b->created)
		r = file_sync_dir(b->path);
	if (r == 0)
		return 0;

	/* A failed fallocate() may have got part of the way. */
	if (ftruncate(b->fd, (off_t)from_bytes) < 0)
		log_warning("cannot take %s back to its former size: %s", b->path, strerror(errno));
	if (r == -ENOSPC)
		return file_log_no_space(b, to_bytes - from_bytes);
	if (r == -EOPNOTSUPP && create == FILE_CREATE_PREALLOC)
		return log_error_errno(
			r,
			"the file system of %s cannot allocate space in advance: set Create=sparse",
			b->path);
	return log_error_errno(r, "cannot give %s the size %s: %m", b->path,
			       format_size(to_bytes, size));
}

/* From what it has to what the definition asks for. */
static int file_fit(const struct backend_request *req, struct backend *b, uint64_t have_bytes,
		    uint64_t want_bytes)
{
	const struct file_conf *conf = req->conf;
	char have_text[SIZE_TEXT_MAX], want_text[SIZE_TEXT_MAX];
	int r;

	format_size(have_bytes, have_text);
	format_size(want_bytes, want_text);
	if (want_bytes == 0)
		return log_error_errno(
			-EINVAL, "%s is empty: set Size=, and Create=sparse or Create=prealloc",
			b->path);
	if (have_bytes > want_bytes)
		return log_error_errno(
			-EINVAL,
			"%s has %s, more than Size=%s: nothing is ever cut off, set Size=%s to serve all of it",
			b->path, have_text, want_text, have_text);
	if (have_bytes == want_bytes)
		return 0;
	if (b->read_only)
		return log_error_errno(
			-EINVAL, "%s has %s, less than Size=%s, and is read-only: set Size=%s",
			b->path, have_text, want_text, have_text);
	if (conf->create == FILE_CREATE_NO)
		return log_error_errno(
			-EINVAL,
			"%s has %s, less than Size=%s: set Create=sparse or Create=prealloc to let it grow",
			b->path, have_text, want_text);
	r = file_grow(b, conf->create, have_bytes, want_bytes);
	if (r < 0)
		return r;
	if (b->created && have_bytes == 0)
		log_info("created %s with %s", b->path, want_text);
	else
		log_info("%s has grown from %s to %s", b->path, have_text, want_text);
	return 0;
}

/* What was lost cannot be served, and to make it longer again would give that the look of zeros. */
static int file_check_not_shorter(const struct backend *b, uint64_t have_bytes,
				  uint64_t device_bytes)
{
	char have_text[SIZE_TEXT_MAX], device_text[SIZE_TEXT_MAX];

	if (have_bytes >= device_bytes)
		return 0;
	return log_error_errno(
		-EINVAL, "%s has %s, less than the %s of its device, which is in use", b->path,
		format_size(have_bytes, have_text), format_size(device_bytes, device_text));
}

static int file_get_regular_size(const struct backend *b, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(b->fd, &st) < 0)
		return log_error_errno(-errno, "cannot look at %s: %m", b->path);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int file_get_block_size(const struct backend *b, uint64_t *ret_bytes)
{
	if (ioctl(b->fd, BLKGETSIZE64, ret_bytes) < 0)
		return log_error_errno(-errno, "cannot get the size of %s: %m", b->path);
	return 0;
}

static int file_check_whole(const struct backend_request *req, const struct backend *b,
			    uint64_t have_bytes)
{
	char have[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];

	if (!req->size_bytes || req->size_bytes == have_bytes)
		return 0;
	return log_error_errno(
		-EINVAL,
		"%s has %s and not Size=%s: a block device is served as a whole, leave Size= out",
		b->path, format_size(have_bytes, have), format_size(req->size_bytes, want));
}

int file_set_size(const struct backend_request *req, struct backend *b)
{
	uint64_t have_bytes = 0;
	int r, block_bytes = 0;

	/* Again, now that nobody else can change it who asks for the lock. */
	r = b->is_block ? file_get_block_size(b, &have_bytes)
			: file_get_regular_size(b, &have_bytes);
	if (r < 0)
		return r;
	if (b->is_block && ioctl(b->fd, BLKSSZGET, &block_bytes) < 0)
		return log_error_errno(-errno, "cannot get the block size of %s: %m", b->path);
	if (b->is_block && have_bytes == 0)
		return log_error_errno(-ENOMEDIUM, "%s has a size of 0: no medium?", b->path);
	b->block_bytes = (uint32_t)block_bytes;
	b->size_bytes = req->size_bytes ? req->size_bytes : have_bytes;
	if (req->takeover) /* more than the device has is served after the next reload */
		return file_check_not_shorter(b, have_bytes, b->size_bytes);
	if (b->is_block)
		return file_check_whole(req, b, have_bytes);
	return file_fit(req, b, have_bytes, b->size_bytes);
}

int file_resize(struct backend *b, const struct backend_request *req, uint64_t *ret_size_bytes)
{
	uint64_t have_bytes = 0, want_bytes;
	int r;

	r = b->is_block ? file_get_block_size(b, &have_bytes)
			: file_get_regular_size(b, &have_bytes);
	if (r < 0)
		return r;
	r = file_check_not_shorter(b, have_bytes, b->size_bytes);
	if (r < 0)
		return r;
	want_bytes = req->size_bytes ? req->size_bytes : have_bytes;
	if (want_bytes > b->size_bytes) {
		r = b->is_block ? file_check_whole(req, b, have_bytes)
				: file_fit(req, b, have_bytes, want_bytes);
		if (r < 0)
			return r;
		__atomic_store_n(&b->size_bytes, want_bytes, __ATOMIC_RELEASE);
	}
	*ret_size_bytes = b->size_bytes;
	return 0;
}
