/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files on file systems with a fault or a lack, and block devices. It needs root for its mounts, in
 * a mount namespace of its own, and for loop devices, which vanish with their last user; it is
 * skipped without. The rest of the backend is in test-file.c, which needs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/registry.h"
#include "fake-data.h"
#include "util/cleanup.h"

#define BUF_BYTES (1U << 20)

static char dir[64];

struct fixture {
	char path[128];
	struct file_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	uint8_t *buf;
	int loop_fd; /* keeps the loop device; -1: none */
	char image[96];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->buf = mmap(NULL, BUF_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->buf, MAP_FAILED);
	f->loop_fd = -1;
	snprintf(f->path, sizeof(f->path), "%s/mnt/img", dir);
	snprintf(f->image, sizeof(f->image), "%s/loop.img", dir);
	f->conf = (struct file_conf){
		.path = f->path, .create = FILE_CREATE_SPARSE, .direct_io = DIRECT_IO_AUTO};
	f->req = (struct backend_request){
		.device = "unit", .conf = &f->conf, .size_bytes = 8 * BUF_BYTES};
	*state = f;
	return 0;
}

static void close_backend(struct fixture *f)
{
	if (f->b) {
		fake_queue_stop(&f->q);
		f->b = file_backend.close(f->b);
	}
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char mnt[80];

	close_backend(f);
	if (f->loop_fd >= 0)
		close(f->loop_fd);
	unlink(f->image);
	snprintf(mnt, sizeof(mnt), "%s/mnt", dir);
	umount2(mnt, MNT_DETACH);
	munmap(f->buf, BUF_BYTES);
	free(f);
	return 0;
}

static void mount_here(const char *type, const char *options)
{
	char mnt[80];

	snprintf(mnt, sizeof(mnt), "%s/mnt", dir);
	assert_int_equal(mount("test-file", mnt, type, 0, options), 0);
}

static int try_open(const struct fixture *f)
{
	struct backend *b = NULL;
	struct limits limits;
	int r = file_backend.open(&f->req, &b, &limits);

	assert_true((r == 0) == (b != NULL));
	file_backend.close(b);
	return r;
}

static void open_backend(struct fixture *f)
{
	assert_int_equal(file_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &file_backend, f->b);
}

static int do_io(struct fixture *f, enum io_op op, uint32_t flags, uint64_t offset, uint64_t len)
{
	return fake_queue_do(&f->q, op, flags, offset, len, f->buf);
}

static void test_full_file_system(void **state)
{
	struct fixture *f = *state;
	uint64_t at;
	int r;

	mount_here("tmpfs", "size=4M");
	open_backend(f);
	for (at = 0; at < 8 * BUF_BYTES; at += BUF_BYTES) {
		r = do_io(f, IO_WRITE, 0, at, BUF_BYTES);
		if (r < 0)
			break;
	}
	assert_int_equal(r, -ENOSPC);
	assert_true(at >= 2 * BUF_BYTES);
	/* NOUNMAP takes the space too: tmpfs has no ZERO_RANGE, so zeros are written. */
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_NOUNMAP, 7 * BUF_BYTES, BUF_BYTES), -ENOSPC);
	/* The device lives on, and what is given back can be used. */
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0);
	assert_true(f->limits.max_discard_bytes > 0);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 0, 8 * BUF_BYTES), 0);
	fake_queue_fill(&f->q, 6 * BUF_BYTES, BUF_BYTES, f->buf, 0x13);
	fake_queue_expect(&f->q, 6 * BUF_BYTES, BUF_BYTES, f->buf, 0x13);
}

static void test_no_space_to_preallocate(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	mount_here("tmpfs", "size=4M");
	f->conf.create = FILE_CREATE_PREALLOC;
	assert_int_equal(try_open(f), -ENOSPC);
	assert_int_equal(access(f->path, F_OK), -1);

	fd = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BUF_BYTES), 0);
	close(fd);
	assert_int_equal(try_open(f), -ENOSPC);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, BUF_BYTES); /* as it was */
}

static void test_file_system_that_can_do_nothing(void **state)
{
	struct fixture *f = *state;

	mount_here("ramfs", NULL);
	f->conf.direct_io = DIRECT_IO_YES;
	assert_int_equal(try_open(f), -EINVAL);
	assert_int_equal(access(f->path, F_OK), -1); /* created, and removed again */
	f->conf.create = FILE_CREATE_PREALLOC;
	f->conf.direct_io = DIRECT_IO_AUTO;
	assert_int_equal(try_open(f), -EOPNOTSUPP);
	assert_int_equal(access(f->path, F_OK), -1);

	f->conf.create = FILE_CREATE_SPARSE;
	open_backend(f);
	assert_int_equal(f->limits.max_discard_bytes, 0);
	assert_true(f->limits.max_write_zeroes_bytes > 0);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x14);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 512, 3 * BUF_BYTES), 0);
	fake_queue_expect(&f->q, 0, 512, f->buf, 0x14);
	fake_queue_expect(&f->q, 512, BUF_BYTES, f->buf, 0);
}

static void test_read_only_file_system(void **state)
{
	struct fixture *f = *state;
	char mnt[80];

	mount_here("tmpfs", "size=4M");
	open_backend(f);
	fake_queue_fill(&f->q, 0, 4096, f->buf, 0x15);
	close_backend(f);
	snprintf(mnt, sizeof(mnt), "%s/mnt", dir);
	/* The file of the ring may be busy a little longer. */
	for (unsigned i = 0; i < 500; i++) {
		if (mount(NULL, mnt, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
			break;
		assert_int_equal(errno, EBUSY);
		usleep(10000);
	}
	open_backend(f);
	assert_true(f->limits.read_only && !f->limits.write_cache);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0x15);
	close_backend(f);
	assert_int_equal(unlink(f->path), -1);
	snprintf(f->path, sizeof(f->path), "%s/mnt/other", dir);
	assert_int_equal(try_open(f), -EROFS);
}

/* A loop device over a sparse file of 8M; its path goes into the definition. */
static void make_loop(struct fixture *f, uint32_t block_bytes, uint32_t flags)
{
	struct loop_config config = {.block_size = block_bytes,
				     .info.lo_flags = flags | LO_FLAGS_AUTOCLEAR};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int image = -1;

	if (control < 0) {
		print_message("no loop devices here: %s\n", strerror(errno));
		skip();
	}
	image = open(f->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(image >= 0);
	assert_int_equal(ftruncate(image, 8 * BUF_BYTES), 0);
	config.fd = (uint32_t)image;
	for (unsigned i = 0; i < 20 && f->loop_fd < 0; i++) {
		snprintf(f->path, sizeof(f->path), "/dev/loop%d",
			 ioctl(control, LOOP_CTL_GET_FREE));
		f->loop_fd = open(f->path, O_RDWR | O_CLOEXEC);
		if (f->loop_fd >= 0 && ioctl(f->loop_fd, LOOP_CONFIGURE, &config) < 0) {
			assert_int_equal(errno, EBUSY); /* somebody else was quicker */
			close(f->loop_fd);
			f->loop_fd = -1;
		}
	}
	close(control);
	assert_true(f->loop_fd >= 0);
	f->conf.create = FILE_CREATE_NO;
}

static void test_block_device(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;

	make_loop(f, 512, 0);
	f->conf.direct_io = DIRECT_IO_YES;
	open_backend(f);
	assert_int_equal(f->limits.size_bytes, 8 * BUF_BYTES);
	assert_int_equal(f->limits.logical_block_bytes, 512);
	assert_true(f->limits.write_cache && f->limits.fua && !f->limits.read_only);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x21);
	assert_int_equal(do_io(f, IO_WRITE, IO_FUA, BUF_BYTES, 4096), 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(stat(f->image, &before), 0);
	if (f->limits.max_discard_bytes > 0) {
		assert_int_equal(do_io(f, IO_DISCARD, 0, 65536, 131072), 0);
		assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
		assert_int_equal(stat(f->image, &after), 0);
		assert_true(after.st_blocks < before.st_blocks);
		fake_queue_expect(&f->q, 65536, 131072, f->buf, 0); /* true of a loop device */
	}
	fake_queue_expect(&f->q, 0, 65536, f->buf, 0x21);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 512, 4096), 0);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_NOUNMAP, 8192, 4096), 0);
	fake_queue_expect(&f->q, 0, 512, f->buf, 0x21);
	fake_queue_expect(&f->q, 512, 4096, f->buf, 0);
	fake_queue_expect(&f->q, 4608, 8192 - 4608, f->buf, 0x21);
	fake_queue_expect(&f->q, 8192, 4096, f->buf, 0);
	fake_queue_expect(&f->q, 12288, 4096, f->buf, 0x21);
	assert_int_equal(file_backend.flush(f->b), 0);
}

static void test_block_device_size_and_claim(void **state)
{
	struct fixture *f = *state;
	struct backend *second;
	struct limits limits;

	make_loop(f, 512, 0);
	f->req.size_bytes = 4 * BUF_BYTES;
	assert_int_equal(try_open(f), -EINVAL);
	f->req.size_bytes = 0;
	open_backend(f);
	assert_int_equal(try_open(f), -EBUSY);
	f->req.read_only = true; /* readers of a block device are not counted */
	assert_int_equal(file_backend.open(&f->req, &second, &limits), 0);
	assert_true(limits.read_only);
	file_backend.close(second);
	f->req.read_only = false;
	close_backend(f);
	assert_int_equal(try_open(f), 0);
}

static void test_read_only_block_device(void **state)
{
	struct fixture *f = *state;

	make_loop(f, 512, LO_FLAGS_READ_ONLY);
	open_backend(f);
	assert_true(f->limits.read_only);
	assert_int_equal(f->limits.max_discard_bytes, 0);
	assert_int_equal(f->limits.max_write_zeroes_bytes, 0);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0);
	assert_int_equal(try_open(f), 0);
}

static void test_grown_block_device(void **state)
{
	struct fixture *f = *state;
	uint64_t size = 0;

	make_loop(f, 512, 0);
	f->req.size_bytes = 0;
	open_backend(f);
	assert_int_equal(file_backend.resize(f->b, &f->req, &size), 0);
	assert_int_equal(size, 8 * BUF_BYTES);
	assert_int_equal(truncate(f->image, 16 * BUF_BYTES), 0);
	assert_int_equal(ioctl(f->loop_fd, LOOP_SET_CAPACITY, 0), 0);
	assert_int_equal(file_backend.resize(f->b, &f->req, &size), 0);
	assert_int_equal(size, 16 * BUF_BYTES);
	fake_queue_fill(&f->q, 15 * BUF_BYTES, BUF_BYTES, f->buf, 0x41);
	fake_queue_expect(&f->q, 15 * BUF_BYTES, BUF_BYTES, f->buf, 0x41);
	f->req.size_bytes = 32 * BUF_BYTES; /* it is what it is */
	assert_int_equal(file_backend.resize(f->b, &f->req, &size), -EINVAL);
	f->req.size_bytes = 0;
	assert_int_equal(truncate(f->image, 8 * BUF_BYTES), 0);
	assert_int_equal(ioctl(f->loop_fd, LOOP_SET_CAPACITY, 0), 0);
	assert_int_equal(file_backend.resize(f->b, &f->req, &size), -EINVAL);
	assert_int_equal(size, 16 * BUF_BYTES);
	close_backend(f);

	f->req.takeover = true;
	f->req.size_bytes = 4 * BUF_BYTES; /* of the device, which has not heard of more */
	open_backend(f);
	assert_int_equal(f->limits.size_bytes, 4 * BUF_BYTES);
	close_backend(f);
	f->req.size_bytes = 9 * BUF_BYTES;
	assert_int_equal(try_open(f), -EINVAL);
}

static void test_smaller_blocks_than_the_device(void **state)
{
	struct fixture *f = *state;

	make_loop(f, 4096, 0);
	f->conf.direct_io = DIRECT_IO_YES;
	f->req.logical_block_bytes = 512;
	assert_int_equal(try_open(f), -EINVAL);
	f->req.logical_block_bytes = 0;
	open_backend(f);
	assert_int_equal(f->limits.logical_block_bytes, 4096);
	close_backend(f);

	f->conf.direct_io = DIRECT_IO_AUTO;
	f->req.logical_block_bytes = 512;
	open_backend(f);
	assert_int_equal(f->limits.logical_block_bytes, 512);
	assert_int_equal(f->limits.max_discard_bytes, 0);
	fake_queue_fill(&f->q, 0, 8192, f->buf, 0x31);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 512, 512), 0);
	fake_queue_expect(&f->q, 0, 512, f->buf, 0x31);
	fake_queue_expect(&f->q, 512, 512, f->buf, 0);
	fake_queue_expect(&f->q, 1024, 8192 - 1024, f->buf, 0x31);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_full_file_system),
		TEST(test_no_space_to_preallocate),
		TEST(test_file_system_that_can_do_nothing),
		TEST(test_read_only_file_system),
		TEST(test_block_device),
		TEST(test_block_device_size_and_claim),
		TEST(test_read_only_block_device),
		TEST(test_grown_block_device),
		TEST(test_smaller_blocks_than_the_device),
	};
	char mnt[80];
	int r;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		fprintf(stderr, "skipped: needs root and a mount namespace\n");
		return 77;
	}
	strcpy(dir, "/var/tmp/test-file-root-XXXXXX");
	snprintf(mnt, sizeof(mnt), "%s/mnt", mkdtemp(dir) ? dir : "");
	if (mkdir(mnt, 0700) < 0) {
		perror(mnt);
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(mnt);
	rmdir(dir);
	return r;
}
