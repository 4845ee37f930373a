/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/stats.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "state/state-internal.h"
#include "util/fd.h"

#define STATS_FILE         "stats"
#define STATS_MAX_QUEUES   4096
#define STATS_HEADER_BYTES 64

static_assert(sizeof(struct stats_header) == STATS_HEADER_BYTES, "blocks start at a cache line");
static_assert(sizeof(struct stats_queue) % 64 == 0, "blocks share no cache line");
static_assert(sizeof(struct stats_queue) == 256, "a new size is a new STATS_VERSION");

static size_t stats_map_bytes(unsigned n_queues)
{
	return STATS_HEADER_BYTES + n_queues * sizeof(struct stats_queue);
}

unsigned stats_get_n_queues(const struct stats *s)
{
	return (unsigned)((s->map_bytes - STATS_HEADER_BYTES) / sizeof(struct stats_queue));
}

struct stats_queue *stats_get_queue(const struct stats *s, unsigned queue)
{
	/* by our own length: what the file says could change under a reader */
	assert(queue < stats_get_n_queues(s));
	return (struct stats_queue *)(void *)((char *)s->header + STATS_HEADER_BYTES) + queue;
}

static int stats_map_new(int fd, unsigned n_queues, struct stats *ret_s)
{
	const size_t map_bytes = stats_map_bytes(n_queues);
	void *map;
	int r;

	r = posix_fallocate(fd, 0, (off_t)map_bytes);
	if (r != 0)
		return -r;
	map = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_s = (struct stats){.header = map, .map_bytes = map_bytes};
	*ret_s->header = (struct stats_header){
		.magic = STATS_MAGIC,
		.version = STATS_VERSION,
		.n_queues = n_queues,
		.queue_size_bytes = sizeof(struct stats_queue),
		.n_ops = STATS_N_OPS,
	};
	return 0;
}

int stats_create(const char *name, unsigned n_queues, struct stats *ret_s)
{
	AUTO_CLOSE int dir = -1, fd = -1;
	AUTO_FREE char *temp = NULL;
	struct stats s = {0};
	int r;

	if (n_queues == 0 || n_queues > STATS_MAX_QUEUES)
		return -EINVAL;
	r = state_open_dir(name, false, &dir);
	if (r == 0)
		r = fd_create_temp(dir, STATS_FILE, 0644, &temp, &fd);
	if (r < 0)
		return r;
	r = stats_map_new(fd, n_queues, &s);
	/* a new file each time: whoever still reads the old one keeps a whole one */
	if (r == 0 && renameat(dir, temp, dir, STATS_FILE) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir, temp, 0);
		stats_close(&s);
		return r;
	}
	*ret_s = s;
	return 0;
}

void stats_continue(struct stats *s, const struct stats *from)
{
	if (stats_get_n_queues(s) != stats_get_n_queues(from))
		return;
	for (unsigned i = 0; i < stats_get_n_queues(s); i++) {
		struct stats_queue *q = stats_get_queue(s, i);

		*q = *stats_get_queue(from, i);
		q->tid = 0;
		q->in_flight = 0;
	}
}

static int stats_check(const struct stats_header *h, size_t file_bytes)
{
	if (h->magic != STATS_MAGIC)
		return -EBADMSG;
	if (h->version != STATS_VERSION)
		return -EPROTO;
	if (h->queue_size_bytes != sizeof(struct stats_queue) || h->n_ops != STATS_N_OPS ||
	    h->n_queues == 0 || h->n_queues > STATS_MAX_QUEUES ||
	    file_bytes != stats_map_bytes(h->n_queues))
		return -EBADMSG;
	return 0;
}

int stats_open(const char *name, struct stats *ret_s)
{
	AUTO_CLOSE int dir = -1, fd = -1;
	struct stats_header header;
	struct stat st;
	void *map;
	int r;

	r = state_open_dir(name, false, &dir);
	if (r < 0)
		return r;
	fd = openat(dir, STATS_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		return -EBADMSG;
	r = stats_check(&header, (size_t)st.st_size);
	if (r < 0)
		return r;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_s = (struct stats){.header = map, .map_bytes = (size_t)st.st_size};
	return 0;
}

void stats_close(struct stats *s)
{
	if (s->header)
		munmap(s->header, s->map_bytes);
	*s = (struct stats){0};
}
