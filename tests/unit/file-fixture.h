/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * A file for the backend, in a directory of the file system that TMPDIR is on, or /var/tmp, and the
 * queue that works with it. The tests know no other one.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/registry.h"
#include "fake-queue.h"
#include "util/cleanup.h"

#define BUF_BYTES  (1U << 20)
#define FILE_BYTES (4ULL << 20)

static char dir[256];

struct fixture {
	char path[300];
	struct file_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	uint8_t *buf; /* page-aligned */
};

/* A definition with Size=4M and Create=sparse, not opened yet. */
static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->buf = mmap(NULL, BUF_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->buf, MAP_FAILED);
	snprintf(f->path, sizeof(f->path), "%s/img", dir);
	f->conf = (struct file_conf){
		.path = f->path, .create = FILE_CREATE_SPARSE, .direct_io = DIRECT_IO_AUTO};
	f->req = (struct backend_request){
		.device = "unit", .conf = &f->conf, .size_bytes = FILE_BYTES};
	*state = f;
	return 0;
}

static inline void close_backend(struct fixture *f)
{
	if (f->b) {
		fake_queue_stop(&f->q);
		f->b = file_backend.close(f->b);
	}
	assert_null(f->b);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	close_backend(f);
	unlink(f->path);
	munmap(f->buf, BUF_BYTES);
	free(f);
	return 0;
}

static inline void open_backend(struct fixture *f)
{
	assert_int_equal(file_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &file_backend, f->b);
}

/* What open() says, without keeping it open. */
static inline int try_open(const struct fixture *f, const char *path, bool read_only)
{
	struct file_conf conf = f->conf;
	struct backend_request req = f->req;
	struct backend *b = NULL;
	struct limits limits;
	int r;

	if (path)
		conf.path = (char *)path;
	req.conf = &conf;
	req.read_only |= read_only;
	r = file_backend.open(&req, &b, &limits);
	assert_true((r == 0) == (b != NULL));
	file_backend.close(b);
	return r;
}

static inline void make_file(const char *path, uint64_t size_bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
	close(fd);
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st;
}

static inline bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static inline int do_io(struct fixture *f, enum io_op op, uint32_t flags, uint64_t offset,
			uint64_t len)
{
	return fake_queue_do(&f->q, op, flags, offset, len, f->buf);
}

static inline void fill(struct fixture *f, uint64_t offset, uint64_t len, int byte)
{
	memset(f->buf, byte, len);
	assert_int_equal(do_io(f, IO_WRITE, 0, offset, len), 0);
}

static inline void expect(struct fixture *f, uint64_t offset, uint64_t len, int byte)
{
	memset(f->buf, ~byte, len);
	assert_int_equal(do_io(f, IO_READ, 0, offset, len), 0);
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(f->buf[i], byte);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What main() does. A macro, since cmocka takes the tests as an array. */
#define RUN_TESTS(tests)                                                                           \
	(make_directory() < 0 ? 1 : remove_directory(cmocka_run_group_tests(tests, NULL, NULL)))

static inline int make_directory(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test-file-XXXXXX", tmp ? tmp : "/var/tmp");
	if (mkdtemp(dir))
		return 0;
	perror(dir);
	return -errno;
}

static inline int remove_directory(int r)
{
	rmdir(dir);
	return r;
}
