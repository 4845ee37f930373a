/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/registry.h"
#include "fake-disk.h"

#define ALL_PPM 1000000U

static char dir[64];

static int do_io(struct faults *f, enum io_op op, uint32_t flags, uint64_t offset, uint64_t len)
{
	return fake_queue_do(&f->q, op, flags, offset, len, f->buf);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void test_errors_come_at_their_rate(void **state)
{
	const enum io_op ops[] = {IO_READ, IO_WRITE, IO_FLUSH, IO_DISCARD, IO_WRITE_ZEROES};
	const unsigned percent[] = {5, 10, 20, 50, 10};
	struct faults *f = *state;

	f->conf.read_errors_ppm = 50000;
	f->conf.write_errors_ppm = 100000;
	f->conf.flush_errors_ppm = 200000;
	f->conf.discard_errors_ppm = 500000;
	f->conf.error = ENOSPC;
	faults_wrap(f);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		unsigned failed = 0, n = 8000;

		for (unsigned j = 0; j < n; j++) {
			int r = do_io(f, ops[i], 0, 0, ops[i] == IO_FLUSH ? 0 : SECTOR);

			assert_true(r == 0 || r == -ENOSPC);
			failed += r < 0;
			f->q.n_sqes = 0;
		}
		assert_in_range(failed, n * percent[i] / 100 * 7 / 10,
				n * percent[i] / 100 * 13 / 10);
		assert_int_equal(f->disk.n_requests[ops[i]], n - failed); /* never half a request */
	}
	faults_unwrap(f);
}

static void run_pattern(struct faults *f, uint64_t seed, uint16_t queue, uint8_t ret[static 500])
{
	f->conf.seed = seed;
	f->conf.write_errors_ppm = 300000;
	f->q.id = queue;
	faults_wrap(f);
	for (unsigned i = 0; i < 500; i++)
		ret[i] = do_io(f, IO_WRITE, 0, 0, SECTOR) < 0;
	faults_unwrap(f);
}

static void test_same_seed_same_faults(void **state)
{
	struct faults *f = *state;
	uint8_t first[500], again[500], other_seed[500], other_queue[500];
	unsigned differ = 0;

	run_pattern(f, 7, 0, first);
	run_pattern(f, 7, 0, again);
	run_pattern(f, 8, 0, other_seed);
	run_pattern(f, 7, 1, other_queue);
	assert_memory_equal(first, again, sizeof(first));
	for (unsigned i = 0; i < 500; i++)
		differ += first[i] != other_seed[i];
	assert_in_range(differ, 120, 300); /* 42% of them, as of what is independent */
	differ = 0;
	for (unsigned i = 0; i < 500; i++)
		differ += first[i] != other_queue[i];
	assert_in_range(differ, 120, 300);
}

static void test_latency(void **state)
{
	struct faults *f = *state;
	uint64_t start = now_ms(), ms;
	struct fake_io io[FAKE_QUEUE_DEPTH] = {0};

	f->conf.latency_ns = 30000000;
	f->conf.jitter_ns = 20000000;
	faults_wrap(f);
	for (unsigned i = 0; i < FAKE_QUEUE_DEPTH; i++) {
		io[i].io = (struct io){.op = IO_READ, .len_bytes = SECTOR, .buf = f->buf};
		fake_queue_submit(&f->q, &io[i]);
		assert_false(io[i].done);
	}
	while (now_ms() < start + 29) {
		fake_queue_turn(&f->q);
		for (unsigned i = 0; i < FAKE_QUEUE_DEPTH && now_ms() < start + 29; i++)
			assert_false(io[i].done);
	}
	fake_queue_run(&f->q);
	ms = now_ms() - start;
	assert_in_range(ms, 40, 1000); /* together, and none is 20 ms without jitter */
	faults_unwrap(f);
}

static void test_hang_and_release(void **state)
{
	struct faults *f = *state;
	struct fake_io io[2] = {0};
	char path[128];
	uint64_t start;
	int fd;

	snprintf(path, sizeof(path), "%s/hang", dir);
	f->conf.hang_while = path;
	faults_wrap(f);
	assert_int_equal(do_io(f, IO_WRITE, 0, 0, SECTOR), 0); /* no such file: no hang */
	fd = open(path, O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	start = now_ms();
	for (unsigned i = 0; i < 2; i++) {
		io[i].io = (struct io){
			.op = i ? IO_WRITE : IO_FLUSH, .len_bytes = i ? SECTOR : 0, .buf = f->buf};
		fake_queue_submit(&f->q, &io[i]);
	}
	while (now_ms() < start + 250)
		fake_queue_turn(&f->q);
	assert_false(io[0].done || io[1].done);
	assert_int_equal(f->disk.n_requests[IO_FLUSH], 0);
	assert_int_equal(unlink(path), 0);
	fake_queue_run(&f->q);
	assert_int_equal(io[0].res, 0);
	assert_int_equal(io[1].res, 0);
	assert_in_range(now_ms() - start, 250, 2000);
	faults_unwrap(f);
}

static void make_pattern(uint8_t *buf, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = (uint8_t)next_random(&seed);
}

/* Over Type=file, at a path that is new. */
static void open_file(struct faults *f, struct file_conf *fc, uint64_t size, uint32_t block)
{
	struct backend_request req = {
		.device = "test",
		.conf = fc,
		.size_bytes = size,
		.logical_block_bytes = block,
		.kept_fd = -1,
	};

	f->limits = (struct limits){0};
	f->ops = &file_backend;
	assert_int_equal(f->ops->open(&req, &f->b, &f->limits), 0);
	f->limits.max_io_bytes = 1 << 20;
	assert_int_equal(fault_wrap(&f->conf, &f->ops, &f->b, &f->limits, false), 0);
	fake_queue_start(&f->q, f->ops, f->b);
}

static void test_short_transfers_change_no_data(void **state)
{
	struct faults *f = *state;
	uint8_t *want = malloc(1 << 20);
	uint64_t random = 3;
	char path[128];
	unsigned n_requests = 0;

	assert_non_null(want);
	snprintf(path, sizeof(path), "%s/short", dir);
	for (unsigned mode = 0; mode < 4; mode++) {
		struct file_conf fc = {
			.path = path,
			.create = FILE_CREATE_SPARSE,
			.direct_io = mode % 2 ? DIRECT_IO_AUTO : DIRECT_IO_NO,
		};

		f->conf.short_ppm = mode < 2 ? ALL_PPM : 300000;
		open_file(f, &fc, 1 << 20, 4096);
		make_pattern(want, 1 << 20, mode);
		memcpy(f->buf, want, 1 << 20);
		assert_int_equal(do_io(f, IO_WRITE, IO_FUA, 0, 1 << 20), 0);
		assert_true(f->q.n_sqes > 1 || mode >= 2);
		memset(f->buf, 0, 1 << 20);
		assert_int_equal(do_io(f, IO_READ, 0, 0, 1 << 20), 0);
		assert_memory_equal(f->buf, want, 1 << 20);
		for (unsigned i = 0; i < 300; i++) {
			uint64_t at = next_random(&random) % 200, n = 1 + next_random(&random) % 50;

			fake_queue_reset(&f->q);
			if (i % 2) {
				make_pattern(want + at * 4096, n * 4096, random);
				memcpy(f->buf, want + at * 4096, n * 4096);
			}
			assert_int_equal(
				do_io(f, i % 2 ? IO_WRITE : IO_READ, 0, at * 4096, n * 4096), 0);
			assert_memory_equal(f->buf, want + at * 4096, n * 4096);
			n_requests += f->q.n_sqes;
		}
		fake_queue_stop(&f->q);
		f->ops->close(f->b);
		unlink(path);
	}
	assert_true(n_requests > 4 * 300 * 2); /* there were some */
	free(want);
}

static void test_what_is_not_asked_for_changes_nothing(void **state)
{
	struct memory_conf conf = {0};
	struct backend_request req = {
		.device = "test", .conf = &conf, .size_bytes = DISK_BYTES, .kept_fd = -1};
	struct faults *f = *state;
	struct limits before;

	f->ops = &memory_backend;
	assert_int_equal(f->ops->open(&req, &f->b, &f->limits), 0);
	f->limits.max_io_bytes = MAX_IO;
	before = f->limits;
	assert_int_equal(fault_wrap(&f->conf, &f->ops, &f->b, &f->limits, false), 0);
	assert_memory_equal(&before, &f->limits, sizeof(before));
	assert_ptr_equal(f->ops->conf, memory_backend.conf);
	assert_true(f->ops->get_kept_fd(f->b) >= 0);
	assert_null(f->ops->abandon); /* the memory has none */
	assert_int_equal(f->ops->flush(f->b), 0);
	fake_queue_start(&f->q, f->ops, f->b);
	memset(f->buf, 0x5a, SECTOR);
	assert_int_equal(do_io(f, IO_WRITE, IO_FUA, SECTOR, SECTOR), 0);
	memset(f->buf, 0, SECTOR);
	assert_int_equal(do_io(f, IO_READ, 0, SECTOR, SECTOR), 0);
	assert_int_equal(f->buf[SECTOR - 1], 0x5a);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(f->q.n_sqes, 0);
	faults_unwrap(f);
}

static void test_write_cache_is_announced(void **state)
{
	const struct backend_ops without_write = {.conf = &disk_conf_type, .io = disk_backend.io};
	struct faults *f = *state;

	f->limits.write_cache = f->limits.fua = false;
	f->conf.power_cut = true;
	f->ops = &without_write;
	f->b = &f->disk;
	assert_int_equal(fault_wrap(&f->conf, &f->ops, &f->b, &f->limits, false), -EOPNOTSUPP);
	assert_ptr_equal(f->ops, &without_write);
	assert_ptr_equal(f->b, &f->disk);
	assert_false(f->limits.write_cache);

	faults_wrap(f);
	assert_true(f->limits.write_cache && f->limits.fua);
	assert_int_equal(do_io(f, IO_WRITE, IO_FUA, 0, SECTOR), 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(f->disk.n_fua, 0); /* below there is no such thing */
	assert_int_equal(f->disk.n_requests[IO_FLUSH], 0);
	assert_int_equal(f->disk.n_requests[IO_WRITE], 1);
	faults_unwrap(f);

	/* In use, so it is too late to tell the kernel. */
	f->limits.write_cache = f->limits.fua = false;
	f->ops = &disk_backend;
	f->b = &f->disk;
	assert_int_equal(fault_wrap(&f->conf, &f->ops, &f->b, &f->limits, true), 0);
	assert_false(f->limits.write_cache || f->limits.fua);
	fake_queue_start(&f->q, f->ops, f->b);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(do_io(f, IO_WRITE, 0, 0, SECTOR), 0);
	assert_int_equal(f->disk.n_requests[IO_WRITE], 21);
	faults_unwrap(f);

	f->limits.write_cache = f->limits.fua = false;
	f->limits.read_only = true;
	faults_wrap(f);
	assert_false(f->limits.write_cache || f->limits.fua);
	assert_int_equal(do_io(f, IO_READ, 0, 0, SECTOR), 0);
	faults_unwrap(f);
}

static void test_a_cache_wants_the_data(void **state)
{
	struct faults *f = *state;

	f->limits.no_data = true;
	faults_wrap(f);
	assert_true(f->limits.no_data);
	faults_unwrap(f);
	f->conf.power_cut = true;
	faults_wrap(f);
	assert_false(f->limits.no_data);
	faults_unwrap(f);
}

static void test_lying_flush_reaches_nothing(void **state)
{
	struct faults *f = *state;

	f->conf.lying_flush = true;
	faults_wrap(f);
	assert_int_equal(do_io(f, IO_WRITE, IO_FUA, 0, SECTOR), 0);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_FUA, 0, SECTOR), 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(f->disk.n_requests[IO_WRITE], 1);
	assert_int_equal(f->disk.n_requests[IO_FLUSH], 0);
	assert_int_equal(f->disk.n_fua, 0);
	faults_unwrap(f);
}

static void test_power_cut_over_a_file(void **state)
{
	struct file_conf fc = {.create = FILE_CREATE_SPARSE, .direct_io = DIRECT_IO_AUTO};
	struct backend_request req = {.device = "test", .conf = &fc, .kept_fd = -1};
	struct faults *f = *state;
	uint8_t *want = malloc(1 << 20), *got = malloc(1 << 20);
	uint64_t size;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/power", dir);
	fc.path = path;
	f->conf.power_cut = true;
	assert_non_null(want);
	assert_non_null(got);
	open_file(f, &fc, 512 << 10, 4096);
	make_pattern(want, 1 << 20, 1);
	memcpy(f->buf, want, 1 << 20);
	for (uint64_t at = 0; at < 512 << 10; at += 16384)
		assert_int_equal(fake_queue_do(&f->q, IO_WRITE, 0, at, 16384, f->buf + at), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, got, 512 << 10, 0), 512 << 10);
	assert_memory_not_equal(got, want, 512 << 10);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(pread(fd, got, 512 << 10, 0), 512 << 10);
	assert_memory_equal(got, want, 512 << 10);

	/* It grows, and what is kept of the new part survives a stop. */
	req.size_bytes = 1 << 20;
	assert_int_equal(f->ops->resize(f->b, &req, &size), 0);
	assert_int_equal(size, 1 << 20);
	memcpy(f->buf, want, 1 << 20);
	for (uint64_t at = 512 << 10; at < 1 << 20; at += 16384)
		assert_int_equal(fake_queue_do(&f->q, IO_WRITE, 0, at, 16384, f->buf + at), 0);
	fake_queue_stop(&f->q);
	assert_int_equal(pread(fd, got, 1 << 20, 0), 1 << 20);
	assert_memory_not_equal(got, want, 1 << 20);
	assert_int_equal(f->ops->flush(f->b), 0);
	assert_int_equal(pread(fd, got, 1 << 20, 0), 1 << 20);
	assert_memory_equal(got, want, 1 << 20);
	f->ops->close(f->b);
	close(fd);
	unlink(path);
	free(want);
	free(got);
}

static void check_text(const struct fault_conf *conf, const char *want)
{
	char *text = fault_describe(conf);

	assert_string_equal(text, want);
	free(text);
}

static void test_describe(void **state)
{
	char path[] = "/run/hang";

	check_text(&(struct fault_conf){.error = EIO}, "none, as [Fault] says nothing");
	check_text(&(struct fault_conf){.error = ENOSPC,
					.read_errors_ppm = 5,
					.write_errors_ppm = 10000,
					.flush_errors_ppm = 1000000,
					.discard_errors_ppm = 25000},
		   "0.0005% of reads fail with ENOSPC, 1% of writes fail with ENOSPC, "
		   "100% of flushes fail with ENOSPC, 2.5% of discards fail with ENOSPC");
	check_text(&(struct fault_conf){.latency_ns = 10000000}, "requests take 10 ms more");
	check_text(&(struct fault_conf){.jitter_ns = 10000000}, "requests take up to 10 ms more");
	check_text(&(struct fault_conf){.latency_ns = 10000000, .jitter_ns = 500000},
		   "requests take 10 to 10.5 ms more");
	check_text(&(struct fault_conf){.short_ppm = 1000,
					.hang_while = path,
					.lying_flush = true,
					.power_cut = true},
		   "0.1% of transfers end early, requests hang while there is a /run/hang, "
		   "a kill of the server is a power cut, flushes do nothing");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, faults_setup, faults_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_errors_come_at_their_rate),
		TEST(test_same_seed_same_faults),
		TEST(test_latency),
		TEST(test_hang_and_release),
		TEST(test_short_transfers_change_no_data),
		TEST(test_what_is_not_asked_for_changes_nothing),
		TEST(test_write_cache_is_announced),
		TEST(test_a_cache_wants_the_data),
		TEST(test_lying_flush_reaches_nothing),
		TEST(test_power_cut_over_a_file),
		TEST(test_describe),
	};
	const char *tmp = getenv("TMPDIR");
	int r;

	snprintf(dir, sizeof(dir), "%s/test-fault-XXXXXX", tmp ? tmp : "/var/tmp");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return r;
}
