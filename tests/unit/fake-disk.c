/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

static void disk_apply(struct backend *b, const struct io *io, uint64_t n)
{
	uint8_t *at = b->data + io->offset_bytes;

	if (io->op == IO_READ)
		memcpy(io->buf, at, n);
	else if (io->op == IO_WRITE)
		memcpy(at, io->buf, n);
	else if (io->op != IO_FLUSH)
		memset(at, 0, n);
}

static void disk_step(struct backend *b, struct io *io)
{
	struct io_uring_sqe *sqe;

	if (io->phase-- == 0) {
		if (io->op != IO_READ && io->op != IO_FLUSH &&
		    next_random(&b->random) % 1000000 < b->fail_ppm) {
			io_complete(io, -EREMOTEIO);
			return;
		}
		disk_apply(b, io, io->len_bytes);
		io_complete(io, 0);
		return;
	}
	sqe = io_sqe(io);
	io_uring_prep_nop(sqe);
	io_sqe_done(io, sqe);
}

static void disk_submit(void *ctx, struct io *io)
{
	struct backend *b = ctx;

	__atomic_add_fetch(&b->n_requests[io->op], 1, __ATOMIC_RELAXED);
	if (b->at_once) {
		disk_apply(b, io, io->len_bytes);
		io_complete(io, 0);
		return;
	}
	b->n_fua += !!(io->flags & IO_FUA);
	assert_int_equal(io->done_bytes + io->retries + io->phase, 0);
	assert_true(io->op == IO_FLUSH || io->len_bytes > 0);
	io->phase = (unsigned)(next_random(&b->random) % 4);
	if (io->op == IO_WRITE)
		disk_apply(b, io, io->len_bytes / SECTOR / 2 * SECTOR);
	disk_step(b, io);
}

static void disk_on_cqe(void *ctx, struct io *io, int res)
{
	assert_int_equal(res, 0);
	disk_step(ctx, io);
}

static int disk_write(struct backend *b, uint64_t offset_bytes, const void *buf, size_t len_bytes)
{
	memcpy(b->data + offset_bytes, buf, len_bytes);
	return 0;
}

const struct backend_conf_type disk_conf_type = {.name = "disk"};
const struct backend_ops disk_backend = {
	.conf = &disk_conf_type,
	.write = disk_write,
	.io = &(const struct io_ops){.submit = disk_submit, .on_cqe = disk_on_cqe},
};

int faults_setup(void **state)
{
	struct faults *f = calloc(1, sizeof(*f));

	*state = f;
	if (!f)
		return -1;
	f->conf.error = EIO;
	f->conf.seed = 1;
	f->disk.data = calloc(1, DISK_BYTES);
	f->buf = aligned_alloc(4096, 1 << 20);
	f->limits = (struct limits){
		.size_bytes = DISK_BYTES,
		.logical_block_bytes = SECTOR,
		.max_io_bytes = MAX_IO,
		.max_discard_bytes = DISK_BYTES,
		.max_write_zeroes_bytes = DISK_BYTES,
		.write_cache = true,
		.fua = true,
	};
	return f->disk.data && f->buf ? 0 : -1;
}

int faults_teardown(void **state)
{
	struct faults *f = *state;

	free(f->disk.data);
	free(f->buf);
	free(f);
	return 0;
}

void faults_wrap(struct faults *f)
{
	f->ops = &disk_backend;
	f->b = &f->disk;
	assert_int_equal(fault_wrap(&f->conf, &f->ops, &f->b, &f->limits, false), 0);
	fake_queue_start(&f->q, f->ops, f->b);
}

void faults_unwrap(struct faults *f)
{
	fake_queue_stop(&f->q);
	assert_null(f->ops->close(f->b));
}
