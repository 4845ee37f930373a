/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/stats.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "state/state-internal.h"
#include "util/fd.h"

#define STATS_FILE         "stats"
#define STATS_MAX_QUEUES   4096
#define STATS_HEADER_BYTES 64
#define STATS_QUEUES_AT    128

static_assert(sizeof(struct stats_header) == STATS_HEADER_BYTES,
	      "what follows begins a cache line");
static_assert(sizeof(struct stats_device) == 64, "its own cache line");
static_assert(sizeof(struct stats_queue) % 64 == 0, "blocks share no cache line");
static_assert(sizeof(struct stats_queue) == 25728, "a new size is a new STATS_VERSION");
static_assert(offsetof(struct stats_queue, op) % 64 == 0, "what is written often is together");

static size_t stats_map_bytes(unsigned n_queues)
{
	return STATS_QUEUES_AT + n_queues * sizeof(struct stats_queue);
}

unsigned stats_get_n_queues(const struct stats *s)
{
	return (unsigned)((s->map_bytes - STATS_QUEUES_AT) / sizeof(struct stats_queue));
}

struct stats_queue *stats_get_queue(const struct stats *s, unsigned queue)
{
	/* by our own length: what the file says could change under a reader */
	assert(queue < stats_get_n_queues(s));
	return (struct stats_queue *)(void *)((char *)s->header + STATS_QUEUES_AT) + queue;
}

struct stats_device *stats_get_device(const struct stats *s)
{
	return (struct stats_device *)(void *)((char *)s->header + STATS_HEADER_BYTES);
}

static int stats_map_new(int fd, unsigned n_queues, unsigned depth, struct stats *ret_s)
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
		.depth = depth,
		.device_at = STATS_HEADER_BYTES,
		.queues_at = STATS_QUEUES_AT,
		.latency_at = offsetof(struct stats_queue, latency),
		.op_at = offsetof(struct stats_queue, op),
		.op_size_bytes = sizeof(struct stats_op),
		.n_classes = STATS_N_CLASSES,
		.n_buckets = LATENCY_N_BUCKETS,
		.unit_shift = LATENCY_UNIT_SHIFT,
		.sub_shift = LATENCY_SUB_SHIFT,
		.n_errnos = STATS_N_ERRNOS,
	};
	return 0;
}

int stats_create(const char *name, unsigned n_queues, unsigned depth, struct stats *ret_s)
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
	r = stats_map_new(fd, n_queues, depth, &s);
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
	*stats_get_device(s) = *stats_get_device(from);
	stats_get_device(s)->left_ns = 0;
	if (stats_get_n_queues(s) != stats_get_n_queues(from))
		return;
	for (unsigned i = 0; i < stats_get_n_queues(s); i++) {
		struct stats_queue *q = stats_get_queue(s, i);

		*q = *stats_get_queue(from, i);
		q->tid = 0;
		q->in_flight = 0;
		q->unreachable = 0;
	}
}

uint64_t stats_get_seen_ns(const struct stats *s)
{
	const uint64_t left_ns = stats_read(&stats_get_device(s)->left_ns);
	uint64_t seen_ns = 0;

	for (unsigned i = 0; i < stats_get_n_queues(s); i++)
		seen_ns = MAX(seen_ns, stats_read(&stats_get_queue(s, i)->seen_ns));
	return left_ns ? left_ns : seen_ns;
}

void stats_count_recovery(struct stats *s, uint64_t seen_ns, uint64_t now_ns)
{
	struct stats_device *d = stats_get_device(s);
	/* a time to come is not one of this machine's clock */
	uint64_t pause_ns = seen_ns < now_ns ? now_ns - seen_ns : 0;

	stats_add(&d->recoveries, 1);
	stats_add(&d->pause_ns, pause_ns);
	__atomic_store_n(&d->last_pause_ns, pause_ns, __ATOMIC_RELAXED);
	if (pause_ns > d->max_pause_ns)
		__atomic_store_n(&d->max_pause_ns, pause_ns, __ATOMIC_RELAXED);
}

static int stats_check(const struct stats_header *h, size_t file_bytes)
{
	if (h->magic != STATS_MAGIC)
		return -EBADMSG;
	if (h->version != STATS_VERSION)
		return -EPROTO;
	if (h->queue_size_bytes != sizeof(struct stats_queue) || h->n_ops != STATS_N_OPS ||
	    h->queues_at != STATS_QUEUES_AT || h->n_buckets != LATENCY_N_BUCKETS ||
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
