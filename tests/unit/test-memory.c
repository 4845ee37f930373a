/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/registry.h"
#include "fake-data.h"
#include "util/cleanup.h"

#define BUF_BYTES (1U << 20)

struct fixture {
	struct backend *b;
	struct limits limits;
	struct queue q;
	uint64_t page_bytes;
	int fd; /* the backend's memfd */
	uint8_t *buf;
	uint8_t *zeros;
};

static int find_memfd(const char *name)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int found = -1;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char target[256];
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

		if (n < 0)
			continue;
		target[n] = '\0';
		if (strstr(target, name))
			found = atoi(e->d_name);
	}
	closedir(d);
	return found;
}

static uint64_t allocated_bytes(const struct fixture *f)
{
	struct stat st;

	assert_int_equal(fstat(f->fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Where that of every request is. */
static enum io_data data = IO_DATA_BUF;

static struct memory_conf conf;

static void setup(struct fixture *f, uint64_t size_bytes)
{
	const struct backend_request req = {
		.device = "unit", .conf = &conf, .size_bytes = size_bytes};

	*f = (struct fixture){0};
	assert_int_equal(memory_backend.open(&req, &f->b, &f->limits), 0);
	f->q.data = data;
	fake_queue_start(&f->q, &memory_backend, f->b);
	f->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	f->fd = memory_backend.get_kept_fd(f->b);
	assert_int_equal(f->fd, find_memfd("memfd:ublk-unit"));
	f->buf = malloc(BUF_BYTES);
	f->zeros = calloc(1, BUF_BYTES);
	assert_true(f->buf && f->zeros);
}

static void teardown(struct fixture *f)
{
	fake_queue_stop(&f->q);
	assert_null(memory_backend.close(f->b));
	assert_int_equal(find_memfd("memfd:ublk-unit"), -1);
	free(f->buf);
	free(f->zeros);
}

static void test_limits(void **state)
{
	struct fixture f;

	setup(&f, 8 << 20);
	assert_int_equal(f.limits.size_bytes, 8 << 20);
	assert_int_equal(f.limits.logical_block_bytes, 512);
	assert_int_equal(f.limits.physical_block_bytes, f.page_bytes);
	assert_int_equal(f.limits.discard_granularity_bytes, f.page_bytes);
	assert_int_equal(f.limits.max_discard_bytes, LIMITS_MAX_RANGE_BYTES);
	assert_int_equal(f.limits.max_write_zeroes_bytes, LIMITS_MAX_RANGE_BYTES);
	assert_false(f.limits.write_cache || f.limits.fua || f.limits.read_only);
	teardown(&f);
}

static void test_reading_holes_takes_no_memory(void **state)
{
	struct fixture f;

	setup(&f, 1ULL << 40);
	fake_queue_expect(&f.q, 0, BUF_BYTES, f.buf, 0);
	fake_queue_expect(&f.q, (1ULL << 40) - BUF_BYTES, BUF_BYTES, f.buf, 0);
	assert_int_equal(allocated_bytes(&f), 0);
	fake_queue_fill(&f.q, (1ULL << 39) + 512, 512, f.buf, 0x11);
	fake_queue_expect(&f.q, 1ULL << 39, 512, f.buf, 0);
	fake_queue_expect(&f.q, (1ULL << 39) + 512, 512, f.buf, 0x11);
	/* A read across written and unwritten pages takes none either. */
	assert_int_equal(
		fake_queue_do(&f.q, IO_READ, 0, (1ULL << 39) - BUF_BYTES / 2, BUF_BYTES, f.buf), 0);
	assert_memory_equal(f.buf, f.zeros, BUF_BYTES / 2 + 512);
	assert_int_equal(f.buf[BUF_BYTES / 2 + 512], 0x11);
	assert_int_equal(allocated_bytes(&f), f.page_bytes);
	teardown(&f);
}

static void test_discard_gives_memory_back(void **state)
{
	const enum io_op ops[] = {IO_DISCARD, IO_WRITE_ZEROES};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct fixture f;
		uint64_t page;

		setup(&f, 8 << 20);
		page = f.page_bytes;
		fake_queue_fill(&f.q, 0, BUF_BYTES, f.buf, 0x22);
		assert_int_equal(allocated_bytes(&f), BUF_BYTES);
		/* From inside the second page to inside the fifth one. */
		assert_int_equal(
			fake_queue_do(&f.q, ops[i], 0, 2 * page - 512, 2 * page + 1024, NULL), 0);
		assert_int_equal(allocated_bytes(&f), BUF_BYTES - 2 * page);
		fake_queue_expect(&f.q, 0, 2 * page - 512, f.buf, 0x22);
		fake_queue_expect(&f.q, 2 * page - 512, 2 * page + 1024, f.buf, 0);
		fake_queue_expect(&f.q, 4 * page + 512, page - 512, f.buf, 0x22);
		assert_int_equal(allocated_bytes(&f), BUF_BYTES - 2 * page);
		/* Within one page nothing can be given back. */
		assert_int_equal(fake_queue_do(&f.q, ops[i], 0, 512, 512, NULL), 0);
		fake_queue_expect(&f.q, 0, 512, f.buf, 0x22);
		fake_queue_expect(&f.q, 512, 512, f.buf, 0);
		fake_queue_expect(&f.q, 1024, 512, f.buf, 0x22);
		teardown(&f);
	}
}

static void test_discard_of_holes_asks_the_kernel_nothing(void **state)
{
	struct fixture f;

	setup(&f, 1ULL << 40);
	fake_queue_fill(&f.q, 0, 4096, f.buf, 0x33);
	assert_int_equal(fake_queue_do(&f.q, IO_DISCARD, 0, 1 << 20, LIMITS_MAX_RANGE_BYTES, NULL),
			 0);
	assert_int_equal(f.q.n_sqes, 0);
	assert_int_equal(fake_queue_do(&f.q, IO_DISCARD, 0, 0, LIMITS_MAX_RANGE_BYTES, NULL), 0);
	assert_int_equal(f.q.n_sqes, 1);
	assert_int_equal(allocated_bytes(&f), 0);
	teardown(&f);
}

static void test_discard_stops_before_its_end(void **state)
{
	struct fixture f;

	setup(&f, 1 << 20);
	fake_queue_fill(&f.q, 0, 1 << 20, f.buf, 0x44);
	/* All but the last sector of the device, whose page must stay. */
	assert_int_equal(fake_queue_do(&f.q, IO_DISCARD, 0, 0, (1 << 20) - 512, NULL), 0);
	fake_queue_expect(&f.q, 0, (1 << 20) - 512, f.buf, 0);
	fake_queue_expect(&f.q, (1 << 20) - 512, 512, f.buf, 0x44);
	assert_int_equal(allocated_bytes(&f), f.page_bytes);
	teardown(&f);
}

static void test_size_need_not_be_whole_pages(void **state)
{
	const uint64_t size = (1 << 16) + 512;
	struct fixture f;

	setup(&f, size);
	fake_queue_fill(&f.q, size - 1024, 1024, f.buf, 0x55);
	fake_queue_expect(&f.q, size - 1024, 1024, f.buf, 0x55);
	assert_int_equal(fake_queue_do(&f.q, IO_DISCARD, 0, size - 512, 512, NULL), 0);
	fake_queue_expect(&f.q, size - 1024, 512, f.buf, 0x55);
	fake_queue_expect(&f.q, size - 512, 512, f.buf, 0);
	/* The last page may become a whole one, so it stays. */
	assert_int_equal(allocated_bytes(&f), 2 * f.page_bytes);
	teardown(&f);
}

static void test_nounmap_keeps_pages(void **state)
{
	struct fixture f;

	setup(&f, 1ULL << 36);
	for (unsigned i = 0; i < 5; i++)
		fake_queue_fill(&f.q, i * (uint64_t)BUF_BYTES, BUF_BYTES, f.buf, 0x66);
	assert_int_equal(
		fake_queue_do(&f.q, IO_WRITE_ZEROES, IO_NOUNMAP, 512, LIMITS_MAX_RANGE_BYTES, NULL),
		0);
	assert_true(f.q.n_sqes >= 4); /* others had their turn in between */
	assert_int_equal(allocated_bytes(&f), 5 * BUF_BYTES);
	fake_queue_expect(&f.q, 0, 512, f.buf, 0x66);
	fake_queue_expect(&f.q, 512, BUF_BYTES, f.buf, 0);
	fake_queue_expect(&f.q, 4 * BUF_BYTES, BUF_BYTES, f.buf, 0);
	teardown(&f);
}

static void test_failed_discard_keeps_data(void **state)
{
	struct fixture f;

	setup(&f, 8 << 20);
	fake_queue_fill(&f.q, 0, BUF_BYTES, f.buf, 0x77);
	fake_queue_inject(&f.q, -EIO);
	assert_int_equal(fake_queue_do(&f.q, IO_DISCARD, 0, 0, BUF_BYTES, NULL), -EIO);
	fake_queue_expect(&f.q, 0, BUF_BYTES, f.buf, 0x77);
	teardown(&f);
}

static void test_retries_are_bounded(void **state)
{
	struct fake_io io = {.io = {.op = IO_DISCARD, .len_bytes = BUF_BYTES}};
	struct fixture f;

	setup(&f, 8 << 20);
	fake_queue_fill(&f.q, 0, BUF_BYTES, f.buf, 0x77);
	fake_queue_inject(&f.q, -EAGAIN);
	fake_queue_inject(&f.q, -EINTR);
	fake_queue_submit(&f.q, &io);
	fake_queue_run(&f.q);
	assert_int_equal(io.res, 0);
	assert_int_equal(io.io.retries, 2);
	fake_queue_expect(&f.q, 0, BUF_BYTES, f.buf, 0);

	fake_queue_fill(&f.q, 0, BUF_BYTES, f.buf, 0x78);
	for (unsigned i = 0; i < 9; i++)
		fake_queue_inject(&f.q, -EAGAIN);
	fake_queue_submit(&f.q, &io);
	fake_queue_run(&f.q);
	assert_int_equal(io.res, -EAGAIN);
	assert_int_equal(io.io.retries, 8);
	fake_queue_expect(&f.q, 0, BUF_BYTES, f.buf, 0x78);
	teardown(&f);
}

static void test_memfd_cannot_be_shrunk(void **state)
{
	struct fixture f;

	setup(&f, 1 << 20);
	assert_int_equal(ftruncate(f.fd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(f.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	teardown(&f);
}

static void test_impossible_sizes_are_refused(void **state)
{
	const uint64_t sizes[] = {0, 1ULL << 62, UINT64_MAX - 511};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct backend_request req = {
			.device = "unit", .conf = &conf, .size_bytes = sizes[i]};
		struct limits limits;
		struct backend *b;

		assert_true(memory_backend.open(&req, &b, &limits) < 0);
		assert_int_equal(find_memfd("memfd:ublk-unit"), -1);
	}
	assert_null(memory_backend.close(NULL));
}

/* Another server goes on with the memory, and the one before is gone. */
static void take_over(struct fixture *f, uint64_t size_bytes)
{
	const struct backend_request req = {.device = "unit",
					    .conf = &conf,
					    .size_bytes = size_bytes,
					    .takeover = true,
					    .kept_fd = dup(f->fd)};

	assert_true(req.kept_fd >= 0);
	fake_queue_stop(&f->q);
	assert_null(memory_backend.close(f->b));
	assert_int_equal(memory_backend.open(&req, &f->b, &f->limits), 0);
	assert_int_equal(f->limits.size_bytes, size_bytes);
	assert_int_equal(close(req.kept_fd), 0); /* it has its own */
	f->q.data = data;
	fake_queue_start(&f->q, &memory_backend, f->b);
	f->fd = memory_backend.get_kept_fd(f->b);
	assert_int_equal(fcntl(f->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void test_takeover_finds_data_and_holes(void **state)
{
	const uint64_t size = (1ULL << 38) + 512;
	struct fixture f;
	uint64_t page;

	setup(&f, size);
	page = f.page_bytes;
	fake_queue_fill(&f.q, 0, 3 * page, f.buf, 0x31);
	fake_queue_fill(&f.q, 64 * page - 512, 1024, f.buf,
			0x32); /* on both sides of a word of the bitmap */
	fake_queue_fill(&f.q, size - 512, 512, f.buf, 0x33);
	fake_queue_fill(&f.q, 1ULL << 30, BUF_BYTES, f.buf, 0x34);
	assert_int_equal(fake_queue_do(&f.q, IO_DISCARD, 0, page, page, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t before = allocated_bytes(&f);

		take_over(&f, size);
		fake_queue_expect(&f.q, 0, page, f.buf, 0x31);
		fake_queue_expect(&f.q, page, page, f.buf, 0);
		fake_queue_expect(&f.q, 2 * page, page, f.buf, 0x31);
		fake_queue_expect(&f.q, 3 * page, 61 * page - 512, f.buf, 0);
		fake_queue_expect(&f.q, 64 * page - 512, 1024, f.buf, 0x32);
		fake_queue_expect(&f.q, 64 * page + 512, BUF_BYTES, f.buf, 0);
		fake_queue_expect(&f.q, 1ULL << 30, BUF_BYTES, f.buf, 0x34);
		fake_queue_expect(&f.q, size - BUF_BYTES, BUF_BYTES - 512, f.buf, 0);
		fake_queue_expect(&f.q, size - 512, 512, f.buf, 0x33);
		assert_int_equal(allocated_bytes(&f), before);
	}
	/* What the former server populated, this one gives back. */
	assert_int_equal(fake_queue_do(&f.q, IO_DISCARD, 0, 1ULL << 30, BUF_BYTES, NULL), 0);
	assert_int_equal(allocated_bytes(&f), 5 * page);
	teardown(&f);
}

static void test_takeover_needs_the_memory(void **state)
{
	struct backend_request req = {.device = "unit",
				      .conf = &conf,
				      .size_bytes = 1 << 20,
				      .takeover = true,
				      .kept_fd = -1};
	struct limits limits;
	struct backend *b;
	struct fixture f;

	assert_int_equal(memory_backend.open(&req, &b, &limits), -ENODATA);
	req.kept_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(memory_backend.open(&req, &b, &limits), -EINVAL);
	close(req.kept_fd);
	req.kept_fd = memfd_create("unit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(req.kept_fd, 1 << 20), 0);
	assert_int_equal(memory_backend.open(&req, &b, &limits), -EINVAL); /* may be cut */
	close(req.kept_fd);

	setup(&f, 1 << 20);
	fake_queue_fill(&f.q, 512, 512, f.buf, 0x35);
	req.kept_fd = f.fd;
	req.size_bytes = (1 << 20) + 512;
	assert_int_equal(memory_backend.open(&req, &b, &limits), -EINVAL); /* too small */
	take_over(&f, 1 << 16); /* the former one was about to grow */
	fake_queue_expect(&f.q, 0, 512, f.buf, 0);
	fake_queue_expect(&f.q, 512, 512, f.buf, 0x35);
	teardown(&f);
}

static uint64_t resize(struct fixture *f, uint64_t size_bytes)
{
	const struct backend_request req = {
		.device = "unit", .conf = &conf, .size_bytes = size_bytes};
	uint64_t got = 0;

	assert_int_equal(memory_backend.resize(f->b, &req, &got), 0);
	return got;
}

static void test_grows_and_never_shrinks(void **state)
{
	const uint64_t sizes[] = {(1 << 16) + 1024, 1 << 17, 1ULL << 33, (1ULL << 40) + 512};
	uint64_t size = (1 << 16) + 512, page;
	struct fixture f;

	setup(&f, size);
	page = f.page_bytes;
	fake_queue_fill(&f.q, 0, size, f.buf, 0x41);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(resize(&f, sizes[i]), sizes[i]);
		assert_int_equal(resize(&f, size), sizes[i]);
		fake_queue_expect(&f.q, size - 512, 512, f.buf, 0x41);
		fake_queue_expect(&f.q, size, MIN(sizes[i] - size, BUF_BYTES), f.buf, 0);
		fake_queue_fill(&f.q, sizes[i] - 512, 512, f.buf, 0x41);
		fake_queue_expect(&f.q, sizes[i] - 512, 512, f.buf, 0x41);
		if (i > 0)
			fake_queue_expect(&f.q, sizes[i] - 1024, 512, f.buf, 0);
		size = sizes[i];
	}
	fake_queue_expect(&f.q, 0, (1 << 16) + 512, f.buf, 0x41);
	assert_int_equal(allocated_bytes(&f), ((1 << 16) / page + 4) * page);
	assert_int_equal(ftruncate(f.fd, 4096), -1);
	take_over(&f, size);
	fake_queue_expect(&f.q, 0, (1 << 16) + 512, f.buf, 0x41);
	fake_queue_expect(&f.q, size - 512, 512, f.buf, 0x41);
	teardown(&f);
}

static void test_growth_that_is_impossible_changes_nothing(void **state)
{
	struct fixture f;

	setup(&f, 1 << 20);
	fake_queue_fill(&f.q, 0, 512, f.buf, 0x42);
	for (unsigned shift = 47; shift < 64; shift++) { /* a process has less than 2^47 */
		const struct backend_request req = {
			.device = "unit", .conf = &conf, .size_bytes = 1ULL << shift};
		uint64_t got = 7;

		assert_true(memory_backend.resize(f.b, &req, &got) < 0);
		assert_int_equal(got, 7);
		fake_queue_expect(&f.q, 0, 512, f.buf, 0x42);
	}
	assert_int_equal(resize(&f, 2 << 20), 2 << 20);
	fake_queue_fill(&f.q, (2 << 20) - 512, 512, f.buf, 0x43);
	fake_queue_expect(&f.q, (2 << 20) - 512, 512, f.buf, 0x43);
	teardown(&f);
}

/* A discard up to the end must not take what is written behind it once the device has grown. */
static void test_discard_at_the_old_end_spares_the_new_part(void **state)
{
	const uint64_t size = (1 << 16) + 512;
	struct fake_io discard = {.io = {.op = IO_DISCARD, .len_bytes = size}};
	struct fixture f;

	setup(&f, size);
	fake_queue_fill(&f.q, 0, size, f.buf, 0x44);
	fake_queue_submit(&f.q, &discard); /* its hole is not punched yet */
	resize(&f, 1 << 20);
	fake_queue_fill(&f.q, size, 512, f.buf, 0x45);
	fake_queue_run(&f.q);
	assert_int_equal(discard.res, 0);
	fake_queue_expect(&f.q, 0, size, f.buf, 0);
	fake_queue_expect(&f.q, size, 512, f.buf, 0x45);
	teardown(&f);
}

/* Random operations, compared with what a plain array says. */
static void test_model(void **state)
{
	const uint64_t size = (256 << 10) + 1536;
	const enum io_op ops[] = {IO_READ,  IO_READ,    IO_WRITE,
				  IO_WRITE, IO_DISCARD, IO_WRITE_ZEROES};
	uint8_t *shadow = calloc(1, size);
	struct fixture f;

	assert_non_null(shadow);
	setup(&f, size);
	srandom(1);
	for (unsigned i = 0; i < 20000; i++) {
		enum io_op op = ops[(size_t)random() % ARRAY_SIZE(ops)];
		uint64_t from = (uint64_t)random() % (size / 512);
		uint64_t n = 1 + (uint64_t)random() % (random() % 4 ? 24 : size / 512);

		n = MIN(n, size / 512 - from) * 512;
		from *= 512;
		if (op == IO_WRITE) {
			memset(f.buf, (int)random(), n);
			memcpy(shadow + from, f.buf, n);
		} else if (op != IO_READ) {
			memset(shadow + from, 0, n);
		}
		assert_int_equal(
			fake_queue_do(&f.q, op, random() % 2 ? IO_NOUNMAP : 0, from, n, f.buf), 0);
		if (op == IO_READ)
			assert_memory_equal(f.buf, shadow + from, n);
	}
	teardown(&f);
	free(shadow);
}

struct worker {
	struct backend *b;
	unsigned id;
	bool failed;
	pthread_t thread;
};

/* Every other page is mine: nobody else may change what I find there. */
static void *worker_run(void *arg)
{
	struct worker *w = arg;
	uint8_t shadow[64] = {0}, *buf = malloc(4096);
	unsigned seed = w->id;
	struct queue q = {0};

	fake_queue_start(&q, &memory_backend, w->b);
	for (unsigned i = 0; i < 10000 && buf; i++) {
		unsigned page = (unsigned)rand_r(&seed) % 64;
		uint64_t at = (page * 2 + w->id) * 4096ULL;

		switch (rand_r(&seed) % 3) {
		case 0:
			shadow[page] = (uint8_t)rand_r(&seed);
			memset(buf, shadow[page], 4096);
			w->failed |= fake_queue_do(&q, IO_WRITE, 0, at, 4096, buf) != 0;
			break;
		case 1:
			shadow[page] = 0;
			w->failed |= fake_queue_do(&q, IO_DISCARD, 0, at, 4096, NULL) != 0;
			break;
		default:
			w->failed |= fake_queue_do(&q, IO_READ, 0, at, 4096, buf) != 0;
			for (unsigned j = 0; j < 4096; j++)
				w->failed |= buf[j] != shadow[page];
		}
	}
	fake_queue_stop(&q);
	w->failed |= !buf;
	free(buf);
	return NULL;
}

/* Also while it grows. */
static void test_queues_share_without_a_lock(void **state)
{
	struct fixture f;
	struct worker w[2];

	setup(&f, 1 << 20);
	for (unsigned i = 0; i < 2; i++) {
		w[i] = (struct worker){.b = f.b, .id = i};
		assert_int_equal(pthread_create(&w[i].thread, NULL, worker_run, &w[i]), 0);
	}
	for (uint64_t mib = 2; mib <= 64; mib++)
		assert_int_equal(resize(&f, mib << 20), mib << 20);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		assert_false(w[i].failed);
	}
	teardown(&f);
}

/* How many mappings the memfd has, all of them from where a huge page may begin. */
static unsigned count_aligned_maps(void)
{
	char line[512];
	unsigned n = 0;
	AUTO_FCLOSE FILE *maps = fopen("/proc/self/maps", "re");

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "memfd:ublk-unit"))
			continue;
		assert_int_equal(strtoull(line, NULL, 16) % (2 << 20), 0);
		n++;
	}
	return n;
}

/* That they are taken, where the kernel was told to, is seen in a guest. */
static void test_huge_pages_find_their_place(void **state)
{
	struct backend_request req = {.device = "unit", .conf = &conf, .size_bytes = 9 << 20};
	struct fixture f;
	uint64_t is_bytes;

	setup(&f, 3 << 20);
	assert_int_equal(count_aligned_maps(), 1);
	fake_queue_fill(&f.q, 0, 8192, f.buf, 0x21);
	assert_int_equal(memory_backend.resize(f.b, &req, &is_bytes), 0);
	assert_int_equal(count_aligned_maps(), 2);
	fake_queue_expect(&f.q, 0, 8192, f.buf, 0x21);
	fake_queue_fill(&f.q, 8 << 20, 8192, f.buf, 0x22);
	fake_queue_expect(&f.q, 8 << 20, 8192, f.buf, 0x22);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_reading_holes_takes_no_memory),
		cmocka_unit_test(test_discard_gives_memory_back),
		cmocka_unit_test(test_discard_of_holes_asks_the_kernel_nothing),
		cmocka_unit_test(test_discard_stops_before_its_end),
		cmocka_unit_test(test_size_need_not_be_whole_pages),
		cmocka_unit_test(test_nounmap_keeps_pages),
		cmocka_unit_test(test_failed_discard_keeps_data),
		cmocka_unit_test(test_retries_are_bounded),
		cmocka_unit_test(test_memfd_cannot_be_shrunk),
		cmocka_unit_test(test_impossible_sizes_are_refused),
		cmocka_unit_test(test_takeover_finds_data_and_holes),
		cmocka_unit_test(test_takeover_needs_the_memory),
		cmocka_unit_test(test_grows_and_never_shrinks),
		cmocka_unit_test(test_growth_that_is_impossible_changes_nothing),
		cmocka_unit_test(test_discard_at_the_old_end_spares_the_new_part),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_queues_share_without_a_lock),
	};

	int n_failed = cmocka_run_group_tests_name("data in buffers", tests, NULL, NULL);

	const struct CMUnitTest huge_tests[] = {
		cmocka_unit_test(test_huge_pages_find_their_place),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_queues_share_without_a_lock),
	};

	data = IO_DATA_KERNEL;
	n_failed += cmocka_run_group_tests_name("data with the kernel", tests, NULL, NULL);
	conf.huge_pages = true;
	return n_failed + cmocka_run_group_tests_name("huge pages", huge_tests, NULL, NULL);
}
