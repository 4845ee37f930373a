/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an opened file can do: asked of the file itself, never guessed from a version number. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <linux/ioctl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "backend/file.h"
#include "util/log.h"
#include "util/parse.h"

/* Discard as a command of io_uring: Linux 6.12, newer than the headers of Debian 12. */
#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

/* What direct I/O asks for; offset_bytes is 0 if there is none. */
struct alignment {
	uint32_t memory_bytes;
	uint32_t offset_bytes;
};

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static uint32_t page_bytes(void)
{
	return (uint32_t)sysconf(_SC_PAGESIZE);
}

/* A number from the queue of a disk, also for one of its partitions; 0 if there is none. */
static uint64_t file_read_queue_attr(dev_t dev, const char *name)
{
	const char *const up[] = {"", "../"};
	char path[128], text[32];
	uint64_t value;

	for (size_t i = 0; i < ARRAY_SIZE(up); i++) {
		AUTO_FCLOSE FILE *f = NULL;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(dev),
			 minor(dev), up[i], name);
		f = fopen(path, "re");
		if (!f || !fgets(text, sizeof(text), f))
			continue;
		text[strcspn(text, "\n")] = '\0';
		return parse_u64(text, &value) == 0 ? value : 0;
	}
	return 0;
}

static int file_set_direct(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) < 0)
		return -errno;
	return 0;
}

/* By trying, for a file system that cannot say it: 0 if nothing works. O_DIRECT is set. */
static uint32_t file_try_alignment(int fd)
{
	uint32_t max = page_bytes();
	AUTO_FREE void *buf = aligned_alloc(max, max);

	for (uint32_t n = 512; buf && n <= max; n *= 2) {
		if (pread(fd, buf, n, 0) >= 0)
			return n;
		if (errno != EINVAL)
			return 0;
	}
	return 0;
}

/* Leaves O_DIRECT set on the file if there is direct I/O. */
static struct alignment file_find_alignment(const struct backend *b)
{
	struct alignment a = {0};
	struct statx stx = {0};

	if (file_set_direct(b->fd, true) < 0)
		return a;
	if (statx(b->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    stx.stx_mask & STATX_DIOALIGN) {
		/* 0: the kernel would take the flag and go through the page cache all the same */
		a.memory_bytes = stx.stx_dio_mem_align;
		a.offset_bytes = stx.stx_dio_offset_align;
	} else if (b->is_block) {
		a.memory_bytes = a.offset_bytes = b->block_bytes;
	} else {
		a.memory_bytes = a.offset_bytes = file_try_alignment(b->fd);
	}
	/* More than a page is neither a block size nor the alignment of a buffer here. */
	if (!is_power_of_two(a.offset_bytes) || !is_power_of_two(a.memory_bytes) ||
	    a.offset_bytes > page_bytes() || a.memory_bytes > page_bytes()) {
		file_set_direct(b->fd, false);
		return (struct alignment){0};
	}
	return a;
}

/* Sets *ret_alignment; its offset_bytes is 0 if the file goes through the page cache. */
static int file_choose_direct(const struct backend_request *req, const struct backend *b,
			      struct alignment *ret_alignment)
{
	const struct file_conf *conf = req->conf;
	struct alignment a = {0};
	int r;

	if (conf->direct_io != DIRECT_IO_NO)
		a = file_find_alignment(b);
	if (conf->direct_io == DIRECT_IO_YES && a.offset_bytes == 0)
		return log_error_errno(
			-EINVAL,
			"%s lies on a file system without direct I/O: set DirectIO=auto or DirectIO=no",
			b->path);
	if (conf->direct_io == DIRECT_IO_AUTO && a.offset_bytes == 0)
		log_notice(
			"%s lies on a file system without direct I/O: it goes through the page cache",
			b->path);
	if (a.offset_bytes && req->logical_block_bytes &&
	    req->logical_block_bytes < a.offset_bytes) {
		if (conf->direct_io == DIRECT_IO_YES)
			return log_error_errno(
				-EINVAL,
				"LogicalBlockSize=%u is below the %u bytes that direct I/O to %s needs: set LogicalBlockSize=%u or DirectIO=no",
				req->logical_block_bytes, a.offset_bytes, b->path, a.offset_bytes);
		r = file_set_direct(b->fd, false);
		if (r < 0)
			return log_error_errno(r, "cannot turn direct I/O to %s off: %m", b->path);
		log_notice(
			"LogicalBlockSize=%u is below the %u bytes that direct I/O to %s needs: it goes through the page cache",
			req->logical_block_bytes, a.offset_bytes, b->path);
		a = (struct alignment){0};
	}
	*ret_alignment = a;
	return 0;
}

void file_prep_trim(struct io_uring_sqe *sqe, int fd, uint64_t offset_bytes, uint64_t len_bytes)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
	sqe->addr = offset_bytes;
	sqe->addr3 = len_bytes;
}

struct trim_probe {
	int fd;
	bool can;
};

/* A range of no bytes is refused with -EINVAL, but only by a kernel and a device that discard. */
static void *file_probe_trim(void *arg)
{
	struct trim_probe *p = arg;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	if (io_uring_queue_init(1, &ring, 0) < 0)
		return NULL; /* the queue's ring will fail too, and tell */
	file_prep_trim(io_uring_get_sqe(&ring), p->fd, 0, 0);
	if (io_uring_submit_and_wait(&ring, 1) >= 0 && io_uring_peek_cqe(&ring, &cqe) == 0)
		p->can = cqe->res == -EINVAL;
	io_uring_queue_exit(&ring);
	return NULL;
}

/*
 * The ring gets a thread of its own, which ends with it. On Linux 7.2 a thread that closes its only
 * ring and opens another may lose requests of the new one, and the main thread has commands for
 * the driver to send.
 */
static bool file_can_trim(const struct backend *b)
{
	struct trim_probe probe = {.fd = b->fd};
	pthread_t thread;

	if (file_read_queue_attr(b->st.st_rdev, "discard_max_bytes") == 0)
		return false;
	if (pthread_create(&thread, NULL, file_probe_trim, &probe) != 0)
		return false;
	pthread_join(thread, NULL);
	return probe.can;
}

/* A hole behind the end changes nothing. */
static bool file_can_punch(const struct backend *b)
{
	const uint64_t align = 1 << 20;
	uint64_t behind = (b->size_bytes + align - 1) / align * align;

	return fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)behind,
			 (off_t)align) == 0;
}

static void file_probe_ranges(const struct backend *b, struct limits *limits)
{
	uint64_t granularity = limits->physical_block_bytes;
	bool can = false;

	if (b->read_only)
		return;
	limits->max_write_zeroes_bytes = LIMITS_MAX_RANGE_BYTES; /* at worst they are written */
	if (b->is_block) {
		/* Below the device's own block the page cache helps with data, but not here. */
		can = limits->logical_block_bytes >= b->block_bytes && file_can_trim(b);
		granularity = file_read_queue_attr(b->st.st_rdev, "discard_granularity");
	} else if (!b->allocated) {
		can = file_can_punch(b);
	}
	if (can)
		limits->max_discard_bytes = LIMITS_MAX_RANGE_BYTES;
	if (!is_power_of_two(granularity) || granularity < limits->logical_block_bytes ||
	    granularity > LIMITS_MAX_RANGE_BYTES / 2)
		granularity = limits->logical_block_bytes;
	limits->discard_granularity_bytes = (uint32_t)granularity;
}

static int file_probe_blocks(const struct backend_request *req, const struct backend *b,
			     struct alignment a, struct limits *limits)
{
	uint32_t logical = MAX(512U, MAX(a.offset_bytes, b->block_bytes));
	unsigned physical = (unsigned)b->st.st_blksize;
	char size[SIZE_TEXT_MAX];

	logical = req->logical_block_bytes ? req->logical_block_bytes : MIN(logical, page_bytes());
	if (b->is_block && ioctl(b->fd, BLKPBSZGET, &physical) < 0)
		physical = logical;
	if (!b->is_block)
		physical = MIN(physical, page_bytes()); /* 1M on NFS: advice, not a block */
	if (!is_power_of_two(physical) || physical < logical)
		physical = logical;
	if (b->size_bytes % logical)
		return log_error_errno(
			-EINVAL,
			"the size of %s, %s, is no multiple of the logical block of %u bytes: %s",
			b->path, format_size(b->size_bytes, size), logical,
			req->logical_block_bytes || logical == 512
				? "change either"
				: "change it, or set LogicalBlockSize= and DirectIO=auto");
	limits->logical_block_bytes = logical;
	limits->physical_block_bytes = physical;
	return 0;
}

/* Advice of the disk below, as far as the kernel would take it from us. */
static void file_probe_topology(const struct backend *b, struct limits *limits)
{
	const uint64_t max = 256ULL << 20;
	uint64_t io_min = file_read_queue_attr(b->st.st_rdev, "minimum_io_size");
	uint64_t io_opt = file_read_queue_attr(b->st.st_rdev, "optimal_io_size");

	if (is_power_of_two(io_min) && io_min >= limits->physical_block_bytes && io_min <= max)
		limits->io_min_bytes = (uint32_t)io_min;
	if (is_power_of_two(io_opt) && io_opt >= limits->physical_block_bytes && io_opt <= max)
		limits->io_opt_bytes = (uint32_t)io_opt;
}

int file_probe(const struct backend_request *req, struct backend *b, struct limits *ret_limits)
{
	struct limits limits = {.size_bytes = b->size_bytes, .read_only = b->read_only};
	struct alignment a = {0};
	int r;

	r = file_choose_direct(req, b, &a);
	if (r < 0)
		return r;
	b->align_bytes = a.offset_bytes ? a.offset_bytes : 1;
	limits.dma_alignment_bytes = a.memory_bytes;
	r = file_probe_blocks(req, b, a, &limits);
	if (r < 0)
		return r;
	if (b->is_block)
		file_probe_topology(b, &limits);
	file_probe_ranges(b, &limits);
	limits.rotational =
		file_read_queue_attr(b->is_block ? b->st.st_rdev : b->st.st_dev, "rotational") == 1;
	/* Direct I/O ends in the cache of a disk, and buffered I/O in the page cache. */
	limits.write_cache = limits.fua = !b->read_only;
	*ret_limits = limits;
	return 0;
}
