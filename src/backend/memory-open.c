/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of Type=memory: a memfd, so that it can outlive its server in somebody's hands, and
 * can grow while it is mapped. Nothing but the memfd has to be kept: a successor finds the
 * populated pages in it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "backend/memory.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

/* Since Linux 6.3, which else complains in its log about a memfd that does not say. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

/* What the kernel does with MADV_HUGEPAGE on a memfd, as "always within_size advise [never] deny force". */
#define SHMEM_ENABLED  "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define HUGE_PAGE_SIZE "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"

/* All that a process of a machine with four levels of page tables could map. */
#define MEMORY_MAX_BYTES (1ULL << 47)

DEFINE_AUTO(struct backend *, memory_close);

static uint64_t memory_whole_pages_bytes(const struct backend *b, uint64_t size_bytes)
{
	return (size_bytes + b->page_bytes - 1) / b->page_bytes * b->page_bytes;
}

static size_t memory_bitmap_bytes(const struct backend *b, uint64_t size_bytes)
{
	uint64_t n_pages = (size_bytes + b->page_bytes - 1) / b->page_bytes;

	return (n_pages + MEMORY_WORD_PAGES - 1) / MEMORY_WORD_PAGES * sizeof(*b->populated);
}

static int memory_create(const char *device, uint64_t size_bytes)
{
	char name[128];
	AUTO_CLOSE int fd = -1;

	snprintf(name, sizeof(name), "ublk-%s", device);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return -errno;
	/* Whoever gets the descriptor later cannot take the pages from under the mapping. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Without a bit of the device's part being set: that reads as zeros, and takes no memory. */
static int memory_reserve_bitmap(struct backend *b)
{
	void *p = mmap(NULL, memory_bitmap_bytes(b, MEMORY_MAX_BYTES), PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	b->populated = p;
	return 0;
}

/* 0, or the size of a huge page. */
static uint64_t memory_find_huge_page(const struct backend_request *req)
{
	const struct memory_conf *conf = req->conf;
	AUTO_FREE char *enabled = NULL, *size = NULL;
	uint64_t size_bytes = 0;

	if (!conf->huge_pages)
		return 0;
	if (fd_read_file(AT_FDCWD, HUGE_PAGE_SIZE, 64, &size, NULL) == 0)
		size_bytes = strtoull(size, NULL, 10);
	if (size_bytes == 0 || fd_read_file(AT_FDCWD, SHMEM_ENABLED, 256, &enabled, NULL) < 0) {
		log_notice("HugePages=yes has no effect: this kernel has none for a memfd");
		return 0;
	}
	if (strstr(enabled, "[never]") || strstr(enabled, "[deny]"))
		log_notice(
			"HugePages=yes has no effect until \"advise\" is written to " SHMEM_ENABLED
			", see ublk.conf(5); what is written from then on has them");
	return size_bytes;
}

/* Where address and offset are multiples of @align_bytes alike, as huge pages need it. */
static void *memory_map_at(int fd, uint64_t map_bytes, uint64_t align_bytes)
{
	uint8_t *area, *at, *end;
	void *p;

	if (align_bytes == 0)
		return mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	area = mmap(NULL, map_bytes + align_bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return MAP_FAILED;
	end = area + map_bytes + align_bytes;
	at = area + (align_bytes - (uintptr_t)area % align_bytes) % align_bytes;
	p = mmap(at, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED) {
		munmap(area, map_bytes + align_bytes);
		return MAP_FAILED;
	}
	if (at > area)
		munmap(area, (size_t)(at - area));
	if (at + map_bytes < end)
		munmap(at + map_bytes, (size_t)(end - at) - map_bytes);
	(void)madvise(p, map_bytes, MADV_HUGEPAGE); /* EINVAL without THP, which was said */
	return p;
}

/* The memfd has @map_bytes, or more. From here on the queues use this mapping. */
static int memory_map(struct backend *b, uint64_t map_bytes)
{
	struct memory_map *map;
	int r = 0;

	if (mprotect(b->populated, memory_bitmap_bytes(b, map_bytes), PROT_READ | PROT_WRITE) < 0)
		return -errno;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	map->size_bytes = map_bytes;
	map->p = memory_map_at(b->fd, map_bytes, b->align_bytes);
	if (map->p == MAP_FAILED) {
		r = -errno;
		free(map);
		return r;
	}
	if (madvise(map->p, map_bytes, MADV_DONTDUMP) < 0 ||
	    madvise(map->p, map_bytes, MADV_DONTFORK) < 0) {
		r = -errno;
		munmap(map->p, map_bytes);
		free(map);
		return r;
	}
	map->older = b->maps;
	b->maps = map;
	atomic_store_explicit(&b->data, map->p, memory_order_release);
	return 0;
}

/* What the predecessor populated, which reads as holes until its bits are set. */
static int memory_find_populated(struct backend *b)
{
	off_t data, hole = 0;

	for (;;) {
		data = lseek(b->fd, hole, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno; /* ENXIO: only a hole is left */
		hole = lseek(b->fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if ((uint64_t)data >= b->maps->size_bytes)
			return 0;
		memory_set_populated(
			b, (uint64_t)data >> b->page_shift,
			(MIN((uint64_t)hole, b->maps->size_bytes) - 1) / b->page_bytes + 1);
	}
}

static void memory_warn_if_beyond_ram(uint64_t size_bytes)
{
	char size[SIZE_TEXT_MAX], have[SIZE_TEXT_MAX];
	struct sysinfo si;
	uint64_t have_bytes;

	if (sysinfo(&si) < 0)
		return;
	have_bytes = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit >> 20 << 20;
	if (size_bytes > have_bytes)
		log_warning(
			"Size=%s is more than the machine's %s of memory and swap: a full device ends with the OOM killer",
			format_size(size_bytes, size), format_size(have_bytes, have));
}

static int memory_open_new(const struct backend_request *req, struct backend *b)
{
	uint64_t map_bytes = memory_whole_pages_bytes(b, req->size_bytes);
	char size[SIZE_TEXT_MAX];
	int r;

	r = memory_create(req->device, map_bytes);
	if (r < 0)
		return log_error_errno(r, "cannot create a memfd of Size=%s: %m",
				       format_size(req->size_bytes, size));
	b->fd = r;
	r = memory_map(b, map_bytes);
	if (r < 0)
		return log_error_errno(r, "cannot map the memory of a device with Size=%s: %m",
				       format_size(req->size_bytes, size));
	memory_warn_if_beyond_ram(req->size_bytes);
	return 0;
}

static int memory_open_kept(const struct backend_request *req, struct backend *b)
{
	uint64_t map_bytes = memory_whole_pages_bytes(b, req->size_bytes);
	char size[SIZE_TEXT_MAX], have[SIZE_TEXT_MAX];
	struct stat st;
	int r;

	if (req->kept_fd < 0)
		return log_error_errno(
			-ENODATA,
			"the memory of the device is gone: nobody kept its memfd when the former server ended");
	b->fd = fcntl(req->kept_fd, F_DUPFD_CLOEXEC, 3);
	if (b->fd < 0)
		return log_error_errno(-errno, "cannot use the memfd that was kept: %m");
	r = fcntl(b->fd, F_GET_SEALS);
	if (r < 0 || !(r & F_SEAL_SHRINK))
		return log_error_errno(
			-EINVAL, "the descriptor that was kept is no memfd of a memory device");
	if (fstat(b->fd, &st) < 0)
		return log_error_errno(-errno, "cannot look at the memfd that was kept: %m");
	/* Larger: the former server ended between this and telling the kernel. */
	if ((uint64_t)st.st_size < map_bytes)
		return log_error_errno(-EINVAL,
				       "the memfd that was kept has %s, less than the device's %s",
				       format_size((uint64_t)st.st_size, have),
				       format_size(req->size_bytes, size));
	r = memory_map(b, map_bytes);
	if (r < 0)
		return log_error_errno(r, "cannot map the memfd that was kept: %m");
	r = memory_find_populated(b);
	if (r < 0)
		return log_error_errno(r, "cannot find the data in the memfd that was kept: %m");
	return 0;
}

int memory_open(const struct backend_request *req, struct backend **ret, struct limits *ret_limits)
{
	AUTO(memory_close) struct backend *b = NULL;
	char size[SIZE_TEXT_MAX];
	int r;

	if (req->size_bytes == 0)
		return log_error_errno(-EINVAL,
				       "a memory device has no size of its own: set Size=");
	if (req->size_bytes > MEMORY_MAX_BYTES)
		return log_error_errno(-EFBIG, "Size=%s is beyond what a memory device can have",
				       format_size(req->size_bytes, size));
	b = calloc(1, sizeof(*b));
	if (!b)
		return log_error_errno(-ENOMEM, "no memory for a memory device");
	b->fd = -1;
	b->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	b->page_shift = (unsigned)__builtin_ctzll(b->page_bytes);
	b->size_bytes = req->size_bytes;
	b->align_bytes = memory_find_huge_page(req);
	r = memory_reserve_bitmap(b);
	if (r < 0)
		return log_error_errno(r, "cannot reserve address space for a memory device: %m");
	r = req->takeover ? memory_open_kept(req, b) : memory_open_new(req, b);
	if (r < 0)
		return r;

	*ret_limits = (struct limits){
		.size_bytes = req->size_bytes,
		.logical_block_bytes = req->logical_block_bytes ? req->logical_block_bytes : 512,
		.physical_block_bytes = (uint32_t)b->page_bytes,
		.max_discard_bytes = req->read_only ? 0 : LIMITS_MAX_RANGE_BYTES,
		.max_write_zeroes_bytes = req->read_only ? 0 : LIMITS_MAX_RANGE_BYTES,
		.discard_granularity_bytes = (uint32_t)b->page_bytes,
		.read_only = req->read_only,
		/* No write cache: there is nothing behind that would be more durable. */
	};
	*ret = TAKE_PTR(b);
	return 0;
}

int memory_get_kept_fd(const struct backend *b)
{
	return b->fd;
}

int memory_resize(struct backend *b, const struct backend_request *req, uint64_t *ret_size_bytes)
{
	uint64_t map_bytes = memory_whole_pages_bytes(b, req->size_bytes);
	char size[SIZE_TEXT_MAX];
	struct stat st;
	int r = 0;

	if (req->size_bytes > MEMORY_MAX_BYTES)
		return log_error_errno(-EFBIG, "Size=%s is beyond what a memory device can have",
				       format_size(req->size_bytes, size));
	if (req->size_bytes > b->size_bytes) {
		/* The seal also keeps us from cutting what an earlier attempt had made larger. */
		if (fstat(b->fd, &st) < 0 ||
		    ((uint64_t)st.st_size < map_bytes && ftruncate(b->fd, (off_t)map_bytes) < 0))
			r = -errno;
		if (r == 0 && map_bytes > b->maps->size_bytes)
			r = memory_map(b, map_bytes);
		if (r < 0)
			return log_error_errno(
				r, "cannot let the memory of the device grow to Size=%s: %m",
				format_size(req->size_bytes, size));
		memory_warn_if_beyond_ram(req->size_bytes);
		b->size_bytes = req->size_bytes;
	}
	*ret_size_bytes = b->size_bytes;
	return 0;
}

struct backend *memory_close(struct backend *b)
{
	struct memory_map *map, *older;

	if (!b)
		return NULL;
	for (map = b->maps; map; map = older) {
		older = map->older;
		munmap(map->p, map->size_bytes);
		free(map);
	}
	if (b->populated)
		munmap(b->populated, memory_bitmap_bytes(b, MEMORY_MAX_BYTES));
	if (b->fd >= 0)
		close(b->fd);
	free(b);
	return NULL;
}
