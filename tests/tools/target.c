/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "target.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "util/cleanup.h"

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Whether an attribute of the request queue is above 0. */
static bool target_has(dev_t dev, const char *attribute)
{
	AUTO_FCLOSE FILE *f = NULL;
	char path[128];
	unsigned long long value = 0;

	/* a partition has its disk's */
	for (unsigned i = 0; i < 2 && !f; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(dev),
			 minor(dev), i ? "../" : "", attribute);
		f = fopen(path, "re");
	}
	return f && fscanf(f, "%llu", &value) == 1 && value > 0;
}

static int target_ask(struct target *t, bool direct)
{
	struct stat st;
	int block;

	if (fstat(t->fd, &st) < 0)
		return -errno;
	t->is_device = S_ISBLK(st.st_mode);
	if (!t->is_device) {
		t->size_bytes = (uint64_t)st.st_size;
		t->block_bytes = direct ? 4096 : 512; /* what direct I/O wants at most */
		t->can_discard = t->can_punch = true;
		return 0;
	}
	if (ioctl(t->fd, BLKGETSIZE64, &t->size_bytes) < 0 || ioctl(t->fd, BLKSSZGET, &block) < 0)
		return -errno;
	t->block_bytes = (uint32_t)block;
	t->can_discard = target_has(st.st_rdev, "discard_max_bytes");
	t->can_punch = target_has(st.st_rdev, "write_zeroes_max_bytes");
	return 0;
}

int target_open(struct target *t, const char *path, bool direct, bool write)
{
	int r;

	*t = (struct target){.path = path};
	t->fd = open(path, (write ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0) | O_CLOEXEC);
	r = t->fd < 0 ? -errno : target_ask(t, direct);
	if (r < 0) {
		errno = -r;
		fprintf(stderr, "cannot open %s: %m\n", path);
		target_close(t);
	}
	return r;
}

void target_close(struct target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

int target_discard(const struct target *t, uint64_t offset_bytes, uint64_t len_bytes)
{
	int r;

	if (t->is_device)
		r = ioctl(t->fd, BLKDISCARD, (uint64_t[]){offset_bytes, len_bytes});
	else
		r = fallocate(t->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)offset_bytes, (off_t)len_bytes);
	return r < 0 ? -errno : 0;
}

int target_pread(const struct target *t, void *buf, uint64_t len_bytes, uint64_t offset_bytes)
{
	ssize_t n = pread(t->fd, buf, len_bytes, (off_t)offset_bytes);

	if (n < 0)
		return -errno;
	return (uint64_t)n == len_bytes ? 0 : -EIO;
}

int target_pwrite(const struct target *t, const void *buf, uint64_t len_bytes,
		  uint64_t offset_bytes)
{
	ssize_t n = pwrite(t->fd, buf, len_bytes, (off_t)offset_bytes);

	if (n < 0)
		return -errno;
	return (uint64_t)n == len_bytes ? 0 : -EIO;
}

int target_forget(const struct target *t)
{
	int r;

	if (fdatasync(t->fd) < 0)
		return -errno;
	if (t->is_device)
		return ioctl(t->fd, BLKFLSBUF) < 0 ? -errno : 0;
	r = posix_fadvise(t->fd, 0, 0, POSIX_FADV_DONTNEED);
	return -r;
}
