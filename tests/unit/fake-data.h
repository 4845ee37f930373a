/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What is written by a fake queue, and has to be read again. Asserts that it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake-queue.h"

#define BLOCK_BYTES 4096
#define N_BLOCKS    32

/* Many requests at once, of a block each. */
struct fake_blocks {
	uint64_t first_bytes; /* where on the device they are */
	uint64_t step_bytes;
	struct fake_io ios[N_BLOCKS];
	uint8_t bufs[N_BLOCKS][BLOCK_BYTES];
};

/* @buf holds @len_bytes. */
static inline void fake_queue_fill(struct queue *q, uint64_t offset_bytes, uint64_t len_bytes,
				   uint8_t *buf, int byte)
{
	memset(buf, byte, len_bytes);
	assert_int_equal(fake_queue_do(q, IO_WRITE, 0, offset_bytes, len_bytes, buf), 0);
}

static inline void fake_queue_expect(struct queue *q, uint64_t offset_bytes, uint64_t len_bytes,
				     uint8_t *buf, int byte)
{
	memset(buf, ~byte, len_bytes);
	assert_int_equal(fake_queue_do(q, IO_READ, 0, offset_bytes, len_bytes, buf), 0);
	for (uint64_t i = 0; i < len_bytes; i++)
		assert_int_equal(buf[i], (uint8_t)byte);
}

/* Until the backend says so. */
static inline void fake_queue_wait_reachable(struct queue *q, bool reachable)
{
	while (q->unreachable == reachable)
		fake_queue_look(q, 1);
}

/* A write has the block's number and @byte. */
static inline void fake_blocks_submit(struct fake_blocks *b, struct queue *q, enum io_op op,
				      int byte)
{
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		memset(b->bufs[i], op == IO_WRITE ? byte : 0, BLOCK_BYTES);
		if (op == IO_WRITE)
			b->bufs[i][17] = (uint8_t)i;
		b->ios[i] =
			(struct fake_io){.io = {.op = op,
						.offset_bytes = b->first_bytes + i * b->step_bytes,
						.len_bytes = BLOCK_BYTES,
						.buf = b->bufs[i]}};
		fake_queue_submit(q, &b->ios[i]);
	}
}

/* All of them end with @r. */
static inline void fake_blocks_end(struct fake_blocks *b, struct queue *q, int r)
{
	fake_queue_run(q);
	for (unsigned i = 0; i < N_BLOCKS; i++)
		assert_int_equal(b->ios[i].res, r);
}

static inline void fake_blocks_fill(struct fake_blocks *b, struct queue *q, int byte)
{
	fake_blocks_submit(b, q, IO_WRITE, byte);
	fake_blocks_end(b, q, 0);
}

static inline void fake_blocks_expect(struct fake_blocks *b, struct queue *q, int byte)
{
	fake_blocks_submit(b, q, IO_READ, 0);
	fake_blocks_end(b, q, 0);
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		assert_int_equal(b->bufs[i][17], i);
		assert_int_equal(b->bufs[i][0], byte);
		assert_int_equal(b->bufs[i][BLOCK_BYTES - 1], byte);
	}
}
