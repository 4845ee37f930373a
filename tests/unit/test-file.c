/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=file with regular files: opening them, and what requests do. */
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "file-fixture.h"

static void need_discard(const struct fixture *f)
{
	if (f->limits.max_discard_bytes == 0) {
		print_message("the file system of %s has no holes\n", dir);
		skip();
	}
}

static void test_create_sparse(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	f->req.size_bytes = 1ULL << 32;
	open_backend(f);
	assert_string_equal(file_backend.get_target(f->b), f->path);
	st = stat_of(f->path);
	assert_int_equal(st.st_size, 1ULL << 32);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(st.st_blocks * 512 < 1 << 20);
	assert_int_equal(f->limits.size_bytes, 1ULL << 32);
	assert_true(f->limits.write_cache && f->limits.fua && !f->limits.read_only);
	assert_int_equal(f->limits.max_write_zeroes_bytes, LIMITS_MAX_RANGE_BYTES);
	expect(f, (1ULL << 32) - BUF_BYTES, BUF_BYTES, 0);
}

static void test_create_prealloc_keeps_its_space(void **state)
{
	struct fixture *f = *state;

	f->conf.create = FILE_CREATE_PREALLOC;
	if (file_backend.open(&f->req, &f->b, &f->limits) == -EOPNOTSUPP)
		skip();
	fake_queue_start(&f->q, &file_backend, f->b);
	assert_true(stat_of(f->path).st_blocks * 512 >= (off_t)FILE_BYTES);
	/* mkfs discards the whole device: it must not undo what was asked for. */
	assert_int_equal(f->limits.max_discard_bytes, 0);
	fill(f, 0, BUF_BYTES, 0x11);
	fake_queue_reset(&f->q);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 0, FILE_BYTES), 0);
	assert_int_equal(f->q.sqes[0].opcode, IORING_OP_FALLOCATE);
	assert_int_equal(f->q.sqes[0].len, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	expect(f, 0, BUF_BYTES, 0);
	assert_true(stat_of(f->path).st_blocks * 512 >= (off_t)FILE_BYTES);
}

static void test_create_needs_leave_and_size(void **state)
{
	struct fixture *f = *state;

	f->conf.create = FILE_CREATE_NO;
	assert_int_equal(try_open(f, NULL, false), -ENOENT);
	f->conf.create = FILE_CREATE_SPARSE;
	assert_int_equal(try_open(f, NULL, true), -ENOENT);
	assert_int_equal(try_open(f, "/proc/no/such/file", false), -ENOENT);
	f->req.size_bytes = 0;
	assert_int_equal(try_open(f, NULL, false), -EINVAL);
	assert_false(exists(f->path));
}

static void test_failed_create_leaves_nothing(void **state)
{
	const enum file_create how[] = {FILE_CREATE_SPARSE, FILE_CREATE_PREALLOC};
	struct fixture *f = *state;

	f->req.size_bytes = 1ULL << 62;
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		f->conf.create = how[i];
		assert_true(try_open(f, NULL, false) < 0);
		assert_false(exists(f->path));
	}
}

static void test_size_of_an_existing_file(void **state)
{
	struct fixture *f = *state;

	make_file(f->path, FILE_BYTES / 2);
	f->conf.create = FILE_CREATE_NO;
	assert_int_equal(try_open(f, NULL, false), -EINVAL); /* smaller */
	f->conf.create = FILE_CREATE_SPARSE;
	assert_int_equal(try_open(f, NULL, true), -EINVAL); /* not to be grown */
	assert_int_equal(stat_of(f->path).st_size, FILE_BYTES / 2);
	assert_int_equal(try_open(f, NULL, false), 0);
	assert_int_equal(stat_of(f->path).st_size, FILE_BYTES);

	f->req.size_bytes = FILE_BYTES / 2;
	assert_int_equal(try_open(f, NULL, false), -EINVAL); /* larger: never cut */
	assert_int_equal(stat_of(f->path).st_size, FILE_BYTES);

	f->req.size_bytes = 0;
	f->conf.create = FILE_CREATE_NO;
	open_backend(f);
	assert_int_equal(f->limits.size_bytes, FILE_BYTES);
}

static void test_odd_sizes_are_refused(void **state)
{
	struct fixture *f = *state;

	f->req.size_bytes = 0;
	make_file(f->path, 0);
	assert_int_equal(try_open(f, NULL, false), -EINVAL);
	assert_int_equal(truncate(f->path, 4096 + 100), 0);
	assert_int_equal(try_open(f, NULL, false), -EINVAL);
	assert_int_equal(truncate(f->path, 4096 + 512), 0);
	f->req.logical_block_bytes = 4096;
	assert_int_equal(try_open(f, NULL, false), -EINVAL);
	assert_int_equal(stat_of(f->path).st_size, 4096 + 512);
	assert_int_equal(truncate(f->path, 8192), 0);
	assert_int_equal(try_open(f, NULL, false), 0);
}

static void test_prealloc_grows_with_blocks(void **state)
{
	struct fixture *f = *state;

	make_file(f->path, FILE_BYTES / 2);
	f->conf.create = FILE_CREATE_PREALLOC;
	if (try_open(f, NULL, false) == -EOPNOTSUPP)
		skip();
	assert_int_equal(stat_of(f->path).st_size, FILE_BYTES);
	assert_true(stat_of(f->path).st_blocks * 512 >= (off_t)FILE_BYTES / 2);
}

static void test_other_kinds_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(try_open(f, dir, false), -EINVAL);
	assert_int_equal(try_open(f, "/dev/null", false), -EINVAL);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(try_open(f, NULL, false), -EINVAL); /* and does not hang */
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink("nowhere", f->path), 0);
	assert_int_equal(try_open(f, NULL, false), -EEXIST);
}

static void test_one_writer_or_many_readers(void **state)
{
	struct fixture *f = *state;
	char hard[320], soft[320];

	snprintf(hard, sizeof(hard), "%s.hard", f->path);
	snprintf(soft, sizeof(soft), "%s.soft", f->path);
	open_backend(f);
	assert_int_equal(link(f->path, hard), 0);
	assert_int_equal(symlink(f->path, soft), 0);
	assert_int_equal(try_open(f, NULL, false), -EBUSY);
	assert_int_equal(try_open(f, hard, false), -EBUSY);
	assert_int_equal(try_open(f, soft, false), -EBUSY);
	assert_int_equal(try_open(f, soft, true), -EBUSY);
	close_backend(f);
	assert_int_equal(try_open(f, hard, false), 0);

	f->req.read_only = true;
	open_backend(f);
	assert_int_equal(try_open(f, hard, true), 0);
	f->req.read_only = false;
	assert_int_equal(try_open(f, hard, false), -EBUSY);
	close_backend(f);
	unlink(hard);
	unlink(soft);
}

/* A service that was confined before its definition was written: not read-only, not retried. */
static void test_old_sandbox_is_told(void **state)
{
	struct fixture *f = *state;

	open_backend(f);
	close_backend(f);
	setenv("UBLKD_SANDBOX", "/srv/another.img", 1);
	assert_int_equal(try_open(f, "/nonexistent/backing", false), -EACCES);
	assert_int_equal(try_open(f, NULL, false), 0); /* it is in reach, by whatever drop-in */
	setenv("UBLKD_SANDBOX", "/nonexistent/backing", 1);
	assert_int_equal(try_open(f, "/nonexistent/backing", false), -ENOENT);
	unsetenv("UBLKD_SANDBOX");
	assert_int_equal(try_open(f, "/nonexistent/backing", false), -ENOENT);
}

/* The kernel may let go of a dead server's ring, and of the files in it, after its process. */
static void test_successor_of_a_killed_server_gets_the_file(void **state)
{
	struct fixture *f = *state;

	f->req.logical_block_bytes = 4096;
	for (unsigned i = 0; i < 2; i++) {
		int fds[2], status;
		pid_t pid;
		char c;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct fake_io io = {
				.io = {.op = IO_WRITE, .len_bytes = BUF_BYTES, .buf = f->buf}};

			if (file_backend.open(&f->req, &f->b, &f->limits) < 0)
				_exit(1);
			fake_queue_start(&f->q, &file_backend, f->b);
			fake_queue_submit(&f->q, &io);
			io_uring_submit(&f->q.ring);
			if (write(fds[1], "", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		close(fds[1]);
		assert_int_equal(read(fds[0], &c, 1), 1);
		close(fds[0]);
		assert_int_equal(try_open(f, NULL, false), -EBUSY); /* alive: at once */
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(try_open(f, NULL, false), 0);
	}
}

static void test_read_only_file_makes_read_only_device(void **state)
{
	struct fixture *f = *state;

	make_file(f->path, FILE_BYTES);
	assert_int_equal(chmod(f->path, 0444), 0);
	open_backend(f);
	assert_true(f->limits.read_only);
	assert_false(f->limits.write_cache || f->limits.fua);
	assert_int_equal(f->limits.max_discard_bytes, 0);
	assert_int_equal(f->limits.max_write_zeroes_bytes, 0);
	expect(f, 0, 4096, 0);
	assert_int_equal(file_backend.flush(f->b), 0);
}

static void test_last_flush_notices_a_file_that_is_too_short(void **state)
{
	struct fixture *f = *state;

	make_file(f->path, FILE_BYTES);
	open_backend(f);
	assert_int_equal(truncate(f->path, FILE_BYTES - 4096), 0);
	assert_int_equal(file_backend.flush(f->b), -EIO);
	assert_int_equal(truncate(f->path, FILE_BYTES), 0);
	assert_int_equal(file_backend.flush(f->b), 0);
}

static void test_block_sizes(void **state)
{
	struct fixture *f = *state;

	f->conf.direct_io = DIRECT_IO_NO;
	open_backend(f);
	assert_int_equal(f->limits.logical_block_bytes, 512);
	assert_int_equal(f->limits.dma_alignment_bytes, 0);
	close_backend(f);

	f->req.logical_block_bytes = 4096;
	f->conf.direct_io = DIRECT_IO_AUTO;
	open_backend(f);
	assert_int_equal(f->limits.logical_block_bytes, 4096);
	assert_true(f->limits.physical_block_bytes >= 4096);
	close_backend(f);

	f->req.logical_block_bytes = 512; /* whatever direct I/O needs: auto makes it possible */
	open_backend(f);
	assert_int_equal(f->limits.logical_block_bytes, 512);
	fill(f, 512, 512, 0x12);
	expect(f, 512, 512, 0x12);
}

static void test_data_goes_where_it_belongs(void **state)
{
	const enum direct_io modes[] = {DIRECT_IO_NO, DIRECT_IO_AUTO};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		uint8_t got[8192];
		int fd;

		f->conf.direct_io = modes[i];
		f->q.refuse_fds = i == 0; /* with and without a registered file */
		open_backend(f);
		fill(f, 4096, 8192, 0x21 + (int)i);
		assert_int_equal(f->q.sqes[0].flags, i == 0 ? 0 : IOSQE_FIXED_FILE);
		fd = open(f->path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(pread(fd, got, sizeof(got), 4096), sizeof(got));
		assert_memory_equal(got, f->buf, sizeof(got));
		close(fd);
		expect(f, 4096, 8192, 0x21 + (int)i);
		expect(f, 0, 4096, 0);
		assert_int_equal(file_backend.flush(f->b), 0);
		close_backend(f);
	}
}

static void test_flush_and_fua(void **state)
{
	struct fixture *f = *state;

	open_backend(f);
	fill(f, 0, 4096, 0x31);
	assert_int_equal(do_io(f, IO_WRITE, IO_FUA, 0, 4096), 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_FUA, 0, 4096), 0);
	assert_int_equal(f->q.sqes[0].rw_flags, 0);
	assert_int_equal(f->q.sqes[1].rw_flags, RWF_DSYNC);
	assert_int_equal(f->q.sqes[2].opcode, IORING_OP_FSYNC);
	assert_int_equal(f->q.sqes[2].fsync_flags, IORING_FSYNC_DATASYNC);
	assert_int_equal(f->q.sqes[3].opcode, IORING_OP_STATX);
	assert_int_equal(f->q.sqes[f->q.n_sqes - 1].opcode, IORING_OP_FSYNC);
	assert_true(f->q.n_sqes > 5);
}

static void test_holes_and_zeros(void **state)
{
	const enum io_op ops[] = {IO_DISCARD, IO_WRITE_ZEROES};
	struct fixture *f = *state;
	blkcnt_t before;

	open_backend(f);
	need_discard(f);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		fill(f, 0, BUF_BYTES, 0x41);
		assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
		before = stat_of(f->path).st_blocks;
		assert_int_equal(do_io(f, ops[i], 0, 65536, 131072), 0);
		assert_true((before - stat_of(f->path).st_blocks) * 512 >= 131072 - 8192);
		expect(f, 0, 65536, 0x41);
		expect(f, 65536, 131072, 0);
		expect(f, 196608, 4096, 0x41);
	}
	before = stat_of(f->path).st_blocks;
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_NOUNMAP, 0, 65536), 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_true(stat_of(f->path).st_blocks >= before);
	expect(f, 0, 65536, 0);
	assert_int_equal(stat_of(f->path).st_size, FILE_BYTES);
}

static void test_ranges_of_4g_are_cut_into_steps(void **state)
{
	struct fixture *f = *state;
	uint64_t done = 0;

	f->req.size_bytes = 8ULL << 30;
	open_backend(f);
	need_discard(f);
	fill(f, 4ULL << 30, BUF_BYTES, 0x51);
	fake_queue_reset(&f->q);
	assert_int_equal(do_io(f, IO_DISCARD, 0, (1ULL << 30) - 4096, LIMITS_MAX_RANGE_BYTES), 0);
	assert_int_equal(f->q.n_sqes, 5);
	for (unsigned i = 0; i < f->q.n_sqes; i++) {
		assert_int_equal(f->q.sqes[i].off, (1ULL << 30) - 4096 + done);
		done += f->q.sqes[i].addr; /* a range's length */
	}
	assert_int_equal(done, LIMITS_MAX_RANGE_BYTES);
	expect(f, 4ULL << 30, BUF_BYTES, 0);
}

static void test_write_zeroes_falls_back(void **state)
{
	struct fixture *f = *state;

	open_backend(f);
	fill(f, 0, BUF_BYTES, 0x61);
	fill(f, BUF_BYTES, BUF_BYTES, 0x62);
	fill(f, 2 * BUF_BYTES, BUF_BYTES, 0x63);

	/* An unaligned range says nothing of the next one. */
	fake_queue_reset(&f->q);
	fake_queue_inject(&f->q, -EINVAL);
	fake_queue_inject(&f->q, -EINVAL);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 512 * 8, 512 * 8), 0);
	assert_int_equal(f->q.n_sqes, 3);
	assert_int_equal(f->q.sqes[2].opcode, IORING_OP_WRITE);
	expect(f, 0, 4096, 0x61);
	expect(f, 4096, 4096, 0);
	expect(f, 8192, 4096, 0x61);

	/* A file that cannot is asked once. */
	fake_queue_reset(&f->q);
	fake_queue_inject(&f->q, -EOPNOTSUPP);
	fake_queue_inject(&f->q, -EOPNOTSUPP);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 4096, 2 * BUF_BYTES), 0);
	assert_int_equal(f->q.n_sqes, 4); /* two refused, two writes */
	assert_int_equal(f->q.sqes[0].len, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	assert_int_equal(f->q.sqes[1].len, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	expect(f, 0, 4096, 0x61);
	expect(f, 4096, BUF_BYTES, 0);
	expect(f, 4096 + BUF_BYTES, BUF_BYTES, 0);
	expect(f, 4096 + 2 * BUF_BYTES, 4096, 0x63);
	fake_queue_reset(&f->q);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_FUA, 0, 4096), 0);
	assert_int_equal(f->q.n_sqes, 2);
	assert_int_equal(f->q.sqes[0].opcode, IORING_OP_WRITE);
	assert_int_equal(f->q.sqes[1].opcode, IORING_OP_FSYNC);

	/* A discard is a hint: nothing is written instead. */
	fake_queue_reset(&f->q);
	fake_queue_inject(&f->q, -EOPNOTSUPP);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(f->q.n_sqes, 1);
}

static void test_short_transfers_go_on(void **state)
{
	const enum io_op ops[] = {IO_READ, IO_WRITE};
	struct fixture *f = *state;

	f->conf.direct_io = DIRECT_IO_NO;
	open_backend(f);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		fake_queue_reset(&f->q);
		fake_queue_inject(&f->q, 4096);
		fake_queue_inject(&f->q, 100);
		assert_int_equal(do_io(f, ops[i], 0, 8192, 65536), 0);
		assert_int_equal(f->q.n_sqes, 3);
		assert_int_equal(f->q.sqes[1].off, 8192 + 4096);
		assert_int_equal(f->q.sqes[1].len, 65536 - 4096);
		assert_int_equal(f->q.sqes[2].off, 8192 + 4096 + 100);
		assert_int_equal(f->q.sqes[2].len, 65536 - 4096 - 100);
		assert_ptr_equal(f->q.sqes[2].addr, f->buf + 4096 + 100);
		fake_queue_reset(&f->q);
		fake_queue_inject(&f->q, 4096);
		fake_queue_inject(&f->q, 0);
		assert_int_equal(do_io(f, ops[i], 0, 8192, 65536), -EIO);
	}
}

/* As above, with a request's pages in the ring's table, where addresses count from 0. */
static void test_registered_pages_are_used_in_place(void **state)
{
	const struct {
		enum io_op op;
		uint8_t opcode;
	} cases[] = {{IO_READ, IORING_OP_READ_FIXED}, {IO_WRITE, IORING_OP_WRITE_FIXED}};
	struct fixture *f = *state;

	f->conf.direct_io = DIRECT_IO_NO;
	f->q.data = IO_DATA_FIXED;
	open_backend(f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_queue_reset(&f->q);
		fake_queue_inject(&f->q, 4096);
		fake_queue_inject(&f->q, 65536 - 4096);
		assert_int_equal(do_io(f, cases[i].op, IO_FUA, 8192, 65536), 0);
		assert_int_equal(f->q.n_sqes, 2);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(f->q.sqes[k].opcode, cases[i].opcode);
			assert_int_equal(f->q.sqes[k].buf_index, 0); /* of the first slot */
			assert_int_equal(f->q.sqes[k].addr, k * 4096);
			assert_int_equal(f->q.sqes[k].off, 8192 + k * 4096);
			assert_int_equal(f->q.sqes[k].rw_flags,
					 cases[i].op == IO_WRITE ? RWF_DSYNC : 0);
		}
	}
	/* What has no data has no pages. */
	fake_queue_reset(&f->q);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(f->q.sqes[0].opcode, IORING_OP_FSYNC);
}

static void test_short_direct_transfers_go_on_at_a_block(void **state)
{
	struct fixture *f = *state;
	uint32_t align;

	f->req.logical_block_bytes = 4096;
	open_backend(f);
	align = f->limits.dma_alignment_bytes;
	if (align < 512) {
		print_message("no direct I/O on %s\n", dir);
		skip();
	}
	fake_queue_inject(&f->q, 4096 + 100);
	fake_queue_inject(&f->q, 100);
	assert_int_equal(do_io(f, IO_READ, 0, 0, 16384), -EIO); /* 100 bytes: it ends here */
	assert_int_equal(f->q.n_sqes, 2);
	assert_int_equal(f->q.sqes[1].off, 4096);
	assert_int_equal(f->q.sqes[1].len, 16384 - 4096);
}

static void test_retries_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct fake_io io = {.io = {.op = IO_READ, .len_bytes = 4096, .buf = f->buf}};

	open_backend(f);
	fake_queue_inject(&f->q, -EAGAIN);
	fake_queue_inject(&f->q, -EINTR);
	fake_queue_submit(&f->q, &io);
	fake_queue_run(&f->q);
	assert_int_equal(io.res, 0);
	assert_int_equal(io.io.retries, 2);
	assert_int_equal(f->q.sqes[1].flags & IOSQE_ASYNC, 0);
	assert_int_equal(f->q.sqes[2].flags & IOSQE_ASYNC, IOSQE_ASYNC);
	expect(f, 0, 4096, 0);

	fake_queue_reset(&f->q);
	for (unsigned i = 0; i < 9; i++)
		fake_queue_inject(&f->q, -EAGAIN);
	assert_int_equal(do_io(f, IO_READ, 0, 0, 4096), -EIO);
}

static void test_errors_come_through(void **state)
{
	const enum io_op ops[] = {IO_READ, IO_WRITE, IO_FLUSH, IO_DISCARD, IO_WRITE_ZEROES};
	const int errors[] = {-EIO, -ENOSPC, -EDQUOT, -EROFS, -ENOMEM};
	struct fixture *f = *state;

	open_backend(f);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(errors); j++) {
			fake_queue_inject(&f->q, errors[j]);
			assert_int_equal(do_io(f, ops[i], 0, 0, ops[i] == IO_FLUSH ? 0 : 4096),
					 errors[j]);
			fake_queue_reset(&f->q);
		}
	}
	expect(f, 0, 4096, 0); /* and it goes on */
}

static void test_shrunk_file(void **state)
{
	const enum direct_io modes[] = {DIRECT_IO_NO, DIRECT_IO_AUTO};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		f->conf.direct_io = modes[i];
		open_backend(f);
		fill(f, 0, 65536, 0x71);
		assert_int_equal(truncate(f->path, 16384 + 700), 0);
		expect(f, 0, 16384, 0x71);
		assert_int_equal(do_io(f, IO_READ, 0, 0, 65536), -EIO);
		assert_int_equal(do_io(f, IO_READ, 0, 16384, 4096), -EIO);
		assert_int_equal(do_io(f, IO_READ, 0, 32768, 4096), -EIO);
		expect(f, 0, 16384, 0x71);
		/* A write behind the end works, but what was acknowledged before is gone. */
		fill(f, 65536, 4096, 0x72);
		assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), -EIO);
		assert_int_equal(truncate(f->path, (off_t)FILE_BYTES), 0);
		assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
		assert_int_equal(truncate(f->path, 65536), 0);
		close_backend(f);
		assert_int_equal(try_open(f, NULL, false), 0); /* grown again */
	}
}

static void test_many_at_once(void **state)
{
	struct fake_io io[FAKE_QUEUE_DEPTH] = {0};
	struct fixture *f = *state;

	open_backend(f);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < FAKE_QUEUE_DEPTH; i++) {
			uint8_t *buf = f->buf + i * 4096;

			memset(buf, round == 0 ? (int)i : 0xff, 4096);
			io[i].io = (struct io){.op = round == 0 ? IO_WRITE : IO_READ,
					       .offset_bytes = (FAKE_QUEUE_DEPTH - i) * 8192ULL,
					       .len_bytes = 4096,
					       .buf = buf};
			fake_queue_submit(&f->q, &io[i]);
		}
		fake_queue_run(&f->q);
	}
	for (unsigned i = 0; i < FAKE_QUEUE_DEPTH; i++) {
		assert_int_equal(io[i].res, 0);
		assert_int_equal(f->buf[i * 4096], i);
		assert_int_equal(f->buf[i * 4096 + 4095], i);
	}
}

/* Random operations, compared with what a plain array says. */
static void run_model(struct fixture *f, uint64_t block)
{
	const enum io_op ops[] = {IO_READ,         IO_READ,    IO_WRITE, IO_WRITE,
				  IO_WRITE_ZEROES, IO_DISCARD, IO_FLUSH};
	uint8_t *shadow = calloc(1, BUF_BYTES);

	assert_non_null(shadow);
	f->req.size_bytes = BUF_BYTES;
	f->req.logical_block_bytes = (uint32_t)block;
	open_backend(f);
	srandom(2);
	for (unsigned i = 0; i < 1500; i++) {
		enum io_op op = ops[(size_t)random() % ARRAY_SIZE(ops)];
		uint64_t from = (uint64_t)random() % (BUF_BYTES / block);
		uint64_t n = 1 + (uint64_t)random() % (random() % 4 ? 24 : BUF_BYTES / block);

		n = MIN(n, BUF_BYTES / block - from) * block;
		from *= block;
		if (op == IO_DISCARD && f->limits.max_discard_bytes == 0)
			continue;
		if (op == IO_FLUSH)
			from = n = 0;
		if (op == IO_WRITE) {
			memset(f->buf, (int)random(), n);
			memcpy(shadow + from, f->buf, n);
		} else if (op == IO_WRITE_ZEROES || op == IO_DISCARD) {
			memset(shadow + from, 0, n);
		}
		assert_int_equal(do_io(f, op, random() % 2 ? IO_NOUNMAP : 0, from, n), 0);
		if (op == IO_READ)
			assert_memory_equal(f->buf, shadow + from, n);
	}
	close_backend(f);
	free(shadow);
}

static void test_model_direct(void **state)
{
	run_model(*state, 4096);
}

static void test_model_buffered(void **state)
{
	struct fixture *f = *state;

	f->conf.direct_io = DIRECT_IO_NO;
	run_model(f, 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_sparse),
		TEST(test_create_prealloc_keeps_its_space),
		TEST(test_create_needs_leave_and_size),
		TEST(test_failed_create_leaves_nothing),
		TEST(test_size_of_an_existing_file),
		TEST(test_odd_sizes_are_refused),
		TEST(test_prealloc_grows_with_blocks),
		TEST(test_other_kinds_are_refused),
		TEST(test_one_writer_or_many_readers),
		TEST(test_old_sandbox_is_told),
		TEST(test_successor_of_a_killed_server_gets_the_file),
		TEST(test_read_only_file_makes_read_only_device),
		TEST(test_last_flush_notices_a_file_that_is_too_short),
		TEST(test_block_sizes),
		TEST(test_data_goes_where_it_belongs),
		TEST(test_flush_and_fua),
		TEST(test_holes_and_zeros),
		TEST(test_ranges_of_4g_are_cut_into_steps),
		TEST(test_write_zeroes_falls_back),
		TEST(test_short_transfers_go_on),
		TEST(test_registered_pages_are_used_in_place),
		TEST(test_short_direct_transfers_go_on_at_a_block),
		TEST(test_retries_are_bounded),
		TEST(test_errors_come_through),
		TEST(test_shrunk_file),
		TEST(test_many_at_once),
		TEST(test_model_direct),
		TEST(test_model_buffered),
	};

	return RUN_TESTS(tests);
}
