/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=file under a device that is alive: taken over from a server that has ended, and grown. */
#include <sys/file.h>
#include <sys/wait.h>

#include "file-fixture.h"

/* ---- takeover ---- */

static void test_takeover_makes_and_changes_nothing(void **state)
{
	const enum file_create how[] = {FILE_CREATE_NO, FILE_CREATE_SPARSE, FILE_CREATE_PREALLOC};
	struct fixture *f = *state;

	f->req.takeover = true;
	f->req.kept_fd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		f->conf.create = how[i];
		assert_int_equal(try_open(f, NULL, false), -ENOENT);
		assert_false(exists(f->path));
		make_file(f->path, FILE_BYTES - 512);
		assert_int_equal(try_open(f, NULL, false), -EINVAL);
		assert_int_equal(stat_of(f->path).st_size, FILE_BYTES - 512);
		assert_int_equal(truncate(f->path, 2 * FILE_BYTES), 0);
		open_backend(f);
		assert_int_equal(f->limits.size_bytes, FILE_BYTES); /* what the device has */
		assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
		file_backend.abandon(f->b);
		assert_true(exists(f->path));
		assert_int_equal(stat_of(f->path).st_size, 2 * FILE_BYTES);
		assert_int_equal(stat_of(f->path).st_blocks, 0);
		close_backend(f);
		unlink(f->path);
	}
}

static unsigned n_usleep_skipped;
static bool skip_usleep;

int __wrap_usleep(useconds_t us);
int __real_usleep(useconds_t us);

int __wrap_usleep(useconds_t us)
{
	if (!skip_usleep)
		return __real_usleep(us);
	n_usleep_skipped += us / 1000;
	return 0;
}

/*
 * The file locked by a process that has ended but was not waited for, while another keeps it open:
 * as an io_uring does that is still being taken apart. Returns the end of a pipe: closed, the file
 * is free. *ret_pid is to be waited for.
 */
static int lock_by_the_dead(const char *path, pid_t *ret_pid)
{
	int hold[2], ready[2];
	siginfo_t info;
	char c;

	assert_int_equal(pipe(hold), 0);
	assert_int_equal(pipe(ready), 0);
	*ret_pid = fork();
	assert_true(*ret_pid >= 0);
	if (*ret_pid == 0) {
		int fd = open(path, O_RDWR | O_CLOEXEC);

		close(hold[1]);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
			_exit(1);
		if (fork() == 0) {
			if (write(ready[1], "", 1) != 1)
				_exit(1);
			_exit(read(hold[0], &c, 1) != 0);
		}
		_exit(0);
	}
	close(hold[0]);
	close(ready[1]);
	assert_int_equal(waitid(P_PID, (id_t)*ret_pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(info.si_status, 0);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return hold[1];
}

static void test_takeover_waits_longer_for_the_dead(void **state)
{
	struct fixture *f = *state;
	int hold, status;
	pid_t pid;

	make_file(f->path, FILE_BYTES);
	f->req.kept_fd = -1;
	hold = lock_by_the_dead(f->path, &pid);
	skip_usleep = true;
	n_usleep_skipped = 0;
	assert_int_equal(try_open(f, NULL, false), -EBUSY);
	assert_int_equal(n_usleep_skipped, 5000);
	f->req.takeover = true;
	n_usleep_skipped = 0;
	assert_int_equal(try_open(f, NULL, false), -EBUSY);
	assert_int_equal(n_usleep_skipped, 30000);
	skip_usleep = false;
	close(hold);
	assert_int_equal(try_open(f, NULL, false), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void test_takeover_does_not_wait_for_the_living(void **state)
{
	struct fixture *f = *state;
	struct fixture other = *f;

	open_backend(f);
	other.req.takeover = true;
	other.req.kept_fd = -1;
	skip_usleep = true;
	n_usleep_skipped = 0;
	assert_int_equal(try_open(&other, NULL, false), -EBUSY);
	assert_int_equal(n_usleep_skipped, 0);
	skip_usleep = false;
}

/* ---- growth ---- */

static int try_resize(struct fixture *f, uint64_t size_bytes, uint64_t *ret_size_bytes)
{
	f->req.size_bytes = size_bytes;
	return file_backend.resize(f->b, &f->req, ret_size_bytes);
}

static void expect_resize(struct fixture *f, uint64_t ask_bytes, uint64_t got_bytes)
{
	uint64_t size = 0;

	assert_int_equal(try_resize(f, ask_bytes, &size), 0);
	assert_int_equal(size, got_bytes);
	assert_true((uint64_t)stat_of(f->path).st_size >= got_bytes);
}

static void expect_no_resize(struct fixture *f, uint64_t ask_bytes, int r)
{
	off_t before = stat_of(f->path).st_size;
	uint64_t size = 7;

	assert_int_equal(try_resize(f, ask_bytes, &size), r);
	assert_int_equal(size, 7);
	assert_int_equal(stat_of(f->path).st_size, before);
}

static void test_grows_to_the_size_that_is_asked_for(void **state)
{
	const enum file_create how[] = {FILE_CREATE_SPARSE, FILE_CREATE_PREALLOC};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		f->conf.create = how[i];
		f->req.size_bytes = FILE_BYTES;
		if (file_backend.open(&f->req, &f->b, &f->limits) == -EOPNOTSUPP)
			skip();
		fake_queue_start(&f->q, &file_backend, f->b);
		fill(f, FILE_BYTES - 4096, 4096, 0x51);
		expect_resize(f, 2 * FILE_BYTES, 2 * FILE_BYTES);
		if (how[i] == FILE_CREATE_PREALLOC)
			assert_true(stat_of(f->path).st_blocks * 512 >= (off_t)(2 * FILE_BYTES));
		expect(f, FILE_BYTES - 4096, 4096, 0x51);
		expect(f, FILE_BYTES, BUF_BYTES, 0);
		fill(f, 2 * FILE_BYTES - 4096, 4096, 0x52);
		expect(f, 2 * FILE_BYTES - 4096, 4096, 0x52);
		expect_resize(f, FILE_BYTES, 2 * FILE_BYTES); /* never smaller */
		expect_no_resize(f, 1ULL << 62, -EFBIG);
		/* From now on it is missed if it goes. */
		assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
		assert_int_equal(truncate(f->path, FILE_BYTES), 0);
		assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), -EIO);
		assert_int_equal(file_backend.flush(f->b), -EIO);
		expect_no_resize(f, 3 * FILE_BYTES, -EINVAL);
		expect_no_resize(f, 0, -EINVAL);
		close_backend(f);
		unlink(f->path);
	}
}

static void test_grows_with_a_file_that_has_grown(void **state)
{
	struct fixture *f = *state;

	make_file(f->path, FILE_BYTES);
	f->conf.create = FILE_CREATE_NO;
	f->req.size_bytes = 0;
	open_backend(f);
	expect_resize(f, 0, FILE_BYTES);
	assert_int_equal(truncate(f->path, 2 * FILE_BYTES), 0);
	expect_resize(f, 0, 2 * FILE_BYTES);
	fill(f, 2 * FILE_BYTES - 4096, 4096, 0x53);
	/* By itself only if that is allowed, and nothing is ever cut off. */
	expect_no_resize(f, 3 * FILE_BYTES, -EINVAL);
	assert_int_equal(truncate(f->path, 4 * FILE_BYTES), 0);
	expect_no_resize(f, 3 * FILE_BYTES, -EINVAL);
	expect_resize(f, 4 * FILE_BYTES, 4 * FILE_BYTES);
	close_backend(f);

	f->req.size_bytes = 0;
	f->req.read_only = true;
	f->conf.create = FILE_CREATE_SPARSE;
	open_backend(f);
	expect_no_resize(f, 5 * FILE_BYTES, -EINVAL);
	assert_int_equal(truncate(f->path, 5 * FILE_BYTES), 0);
	expect_resize(f, 0, 5 * FILE_BYTES);
}

/* It was told the size before the file grew, and looks at it after. */
static void test_flush_during_growth_does_not_fail(void **state)
{
	struct fixture *f = *state;
	struct fake_io io = {.io = {.op = IO_FLUSH}};
	struct io_uring_cqe *cqe;

	open_backend(f);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	fake_queue_reset(&f->q);
	fake_queue_inject(&f->q, 0); /* SYNC */
	fake_queue_inject(&f->q, 0); /* SIZE, which leaves what the one before was told */
	fake_queue_submit(&f->q, &io);
	assert_int_equal(io_uring_submit_and_wait(&f->q.ring, 1), 1);
	assert_int_equal(io_uring_peek_cqe(&f->q.ring, &cqe), 0);
	io_uring_cqe_seen(&f->q.ring, cqe);
	f->q.ops->on_cqe(f->q.ctx, &io.io, 0);
	assert_int_equal(f->q.sqes[1].opcode, IORING_OP_STATX);
	expect_resize(f, 2 * FILE_BYTES, 2 * FILE_BYTES);
	fake_queue_run(&f->q);
	assert_int_equal(io.res, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_takeover_makes_and_changes_nothing),
		TEST(test_takeover_waits_longer_for_the_dead),
		TEST(test_takeover_does_not_wait_for_the_living),
		TEST(test_grows_to_the_size_that_is_asked_for),
		TEST(test_grows_with_a_file_that_has_grown),
		TEST(test_flush_during_growth_does_not_fail),
	};

	return RUN_TESTS(tests);
}
