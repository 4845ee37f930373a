/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue with FEATURE_BATCH_IO, without ublk. The commands of abi/batch-cmd.h are replaced by SQEs
 * that complete as the driver's would: PREP as a NOP, COMMIT as a write of its elements to nowhere,
 * which answers with their length, and FETCH as a read from a socket with the buffers of its group,
 * where each message has tags in it. That FETCH is good for one message only, so that the queue has
 * to send the next. One that shall be aborted is what a stopped device gives: -ENODEV, which
 * fallocate() on /dev/null happens to answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <liburing.h>

#include "abi/batch-cmd.h"
#include "abi/features.h"
#include "ring/queue.h"
#include "state/stats.h"
#include "util/cleanup.h"

#define DEPTH  4
#define MAX_IO (16 << 10)

struct elem {
	uint16_t tag;
	uint16_t buf_index;
	int32_t result;
};

static struct {
	unsigned n_requests;      /* left of the script: each tag gets them in turn */
	unsigned n_fetches_to_go; /* until one is aborted; 0: never */
	uint16_t first_tag;       /* instead of all of them, one that is not there */
	int takes_less;           /* elements that a COMMIT leaves */

	int tags[2];
	int null_fd;
	unsigned n_prepared;
	unsigned n_fetches;
	unsigned n_commits; /* atomic */
	unsigned n_results;
	int32_t results[64];
	uint16_t buf_indexes[DEPTH];
} driver;

static struct stats_queue stats;
static int event_fd, dev_fd, hold_fd;
static uint64_t hold_value;
static bool is_held; /* requests wait for hold_fd */

static void driver_give(const uint16_t *tags, size_t n)
{
	size_t bytes = n * sizeof(*tags);

	if (n > 0 && send(driver.tags[1], tags, bytes, 0) != (ssize_t)bytes)
		abort();
}

size_t batch_elem_size_bytes(unsigned flags)
{
	return sizeof(struct elem);
}

void batch_elem_encode(const struct batch_elem *e, unsigned flags, uint8_t *ret_raw)
{
	const struct elem raw = {.tag = e->tag, .buf_index = e->buf_index, .result = e->result};

	memcpy(ret_raw, &raw, sizeof(raw));
}

static void driver_prepare(struct io_uring_sqe *sqe, const struct batch_cmd *cmd)
{
	const struct elem *elems = cmd->elems;
	uint16_t tags[DEPTH];
	size_t n = 0;

	io_uring_prep_nop(sqe);
	driver.n_prepared += cmd->n_elems;
	for (unsigned i = 0; i < cmd->n_elems; i++)
		driver.buf_indexes[elems[i].tag] = elems[i].buf_index;
	for (; n < DEPTH && driver.n_requests > 0; driver.n_requests--, n++)
		tags[n] = driver.first_tag ? driver.first_tag : elems[n].tag;
	driver_give(tags, n);
}

static void driver_commit(struct io_uring_sqe *sqe, const struct batch_cmd *cmd)
{
	const struct elem *elems = cmd->elems;
	uint16_t tags[DEPTH];
	size_t n = 0;

	for (unsigned i = 0; i < cmd->n_elems; i++) {
		driver.results[driver.n_results++ % ARRAY_SIZE(driver.results)] = elems[i].result;
		if (driver.n_requests > 0) {
			driver.n_requests--;
			tags[n++] = elems[i].tag;
		}
	}
	driver_give(tags, n);
	io_uring_prep_write(sqe, driver.null_fd, elems,
			    (unsigned)((cmd->n_elems - driver.takes_less) * sizeof(*elems)), 0);
	__atomic_add_fetch(&driver.n_commits, 1, __ATOMIC_RELEASE);
}

void batch_cmd_encode(struct io_uring_sqe *sqe, int fd, unsigned flags, const struct batch_cmd *cmd)
{
	if (cmd->op == BATCH_PREPARE)
		driver_prepare(sqe, cmd);
	else
		driver_commit(sqe, cmd);
}

void batch_cmd_encode_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			    uint16_t buf_group)
{
	if (++driver.n_fetches == driver.n_fetches_to_go) {
		io_uring_prep_fallocate(sqe, driver.null_fd, 0, 0, 1);
		return;
	}
	io_uring_prep_read(sqe, driver.tags[0], NULL, 256, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = buf_group;
}

/* ---- what is the same with one command for each slot ---- */

void io_cmd_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue, uint16_t tag,
		  const void *buf)
{
	abort();
}

void io_cmd_commit_and_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			     uint16_t tag, const void *buf, int32_t result)
{
	abort();
}

void io_cmd_set_auto_buf(struct io_uring_sqe *sqe, uint16_t index, bool fallback)
{
	abort();
}

uint64_t io_user_copy_offset_bytes(uint16_t queue, uint16_t tag, uint32_t offset_bytes)
{
	return 4096 + tag * MAX_IO + offset_bytes;
}

size_t io_desc_map_len_bytes(uint16_t depth, uint32_t desc_size_bytes)
{
	return 4096;
}

uint64_t io_desc_map_offset_bytes(uint16_t queue, uint32_t desc_size_bytes)
{
	return 0;
}

static enum io_op next_op;
static uint32_t next_flags;

void io_desc_decode(const void *map, uint32_t desc_size_bytes, uint16_t tag,
		    struct io_desc *ret_desc)
{
	*ret_desc = (struct io_desc){
		.op = next_op,
		.flags = next_flags,
		.offset_bytes = tag * 4096,
		.len_bytes = 4096,
	};
}

/* ---- a backend ---- */

static unsigned seen_data; /* IO_CAN() of what requests came with */

static void disk_submit(void *ctx, struct io *io)
{
	struct io_uring_sqe *sqe;
	int r = 0;

	seen_data |= IO_CAN(io->data);
	if (io->data != IO_DATA_FIXED && io->op == IO_READ)
		r = io_put_zeros(io, 0, io->len_bytes);
	if (!is_held) {
		io_complete(io, r);
		return;
	}
	sqe = io_sqe(io);
	io_uring_prep_read(sqe, hold_fd, &hold_value, sizeof(hold_value), 0);
	io_sqe_done(io, sqe);
}

static void disk_on_cqe(void *ctx, struct io *io, int res)
{
	io_complete(io, 0);
}

/* ---- fixture ---- */

static const struct limits limits = {
	.size_bytes = 1 << 20,
	.logical_block_bytes = 4096,
	.physical_block_bytes = 4096,
	.max_io_bytes = MAX_IO,
};

static int setup(void **state)
{
	memset(&driver, 0, sizeof(driver));
	memset(&stats, 0, sizeof(stats));
	seen_data = 0;
	is_held = false;
	next_op = IO_READ;
	next_flags = 0;
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	hold_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	driver.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	dev_fd = memfd_create("device", MFD_CLOEXEC);
	return event_fd < 0 || hold_fd < 0 || driver.null_fd < 0 || dev_fd < 0 ||
	       ftruncate(dev_fd, 4096 + DEPTH * MAX_IO) < 0 ||
	       socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, driver.tags) < 0;
}

static int teardown(void **state)
{
	close(event_fd);
	close(hold_fd);
	close(driver.null_fd);
	close(dev_fd);
	close(driver.tags[0]);
	close(driver.tags[1]);
	return 0;
}

static struct queue *start(uint64_t flags, unsigned data)
{
	static struct io_ops ops;
	const struct queue_config config = {
		.dev_fd = dev_fd,
		.depth = DEPTH,
		.desc_size_bytes = 24,
		.features = FEATURE_BATCH_IO | flags,
		.limits = &limits,
		.ops = &ops,
		.stats = &stats,
		.event_fd = event_fd,
	};
	struct queue *q = NULL;

	ops = (struct io_ops){.data = data, .submit = disk_submit, .on_cqe = disk_on_cqe};
	assert_int_equal(queue_start(&config, &q), 0);
	return q;
}

static void wait_for_commits(unsigned n)
{
	while (__atomic_load_n(&driver.n_commits, __ATOMIC_ACQUIRE) < n)
		;
}

/* A queue that never ends fails the test by its time limit. */
static int wait_end(struct queue *q)
{
	int r = 1;

	while (!queue_has_ended(q, &r)) {
		struct pollfd p = {.fd = event_fd, .events = POLLIN};
		uint64_t n;

		poll(&p, 1, -1);
		(void)!read(event_fd, &n, sizeof(n));
	}
	return r;
}

/* ---- tests ---- */

static void test_one_commit_answers_all_of_a_turn(void **state)
{
	struct queue *q;

	driver.n_requests = DEPTH;
	q = start(0, 0);
	wait_for_commits(1);
	queue_stop(q);
	assert_int_equal(driver.n_prepared, DEPTH);
	assert_int_equal(driver.n_commits, 1);
	assert_int_equal(driver.n_results, DEPTH);
	for (unsigned i = 0; i < DEPTH; i++)
		assert_int_equal(driver.results[i], 4096);
	assert_int_equal(stats.op[IO_READ].count, DEPTH);
	assert_int_equal(seen_data, IO_CAN(IO_DATA_BUF));
}

/* More than there are elements for, so that they are used again. */
static void test_elements_are_used_in_turn(void **state)
{
	struct queue *q;

	driver.n_requests = 50 * DEPTH + 3;
	q = start(0, 0);
	while (stats_read(&stats.op[IO_READ].count) < 50 * DEPTH + 3)
		;
	wait_for_commits(51);
	queue_stop(q);
	assert_int_equal(driver.n_results, 50 * DEPTH + 3);
	for (unsigned i = 0; i < ARRAY_SIZE(driver.results); i++)
		assert_int_equal(driver.results[i], 4096);
}

static void test_a_stopped_device_ends_the_queue(void **state)
{
	struct queue *q;

	driver.n_fetches_to_go = 1;
	q = start(0, 0);
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
}

/* And what is with the backend then ends before it. */
static void test_a_queue_ends_after_its_last_answer(void **state)
{
	uint64_t n = 1;
	struct queue *q;
	int r;

	driver.n_requests = DEPTH;
	driver.n_fetches_to_go = 2;
	is_held = true;
	q = start(0, 0);
	while (__atomic_load_n(&stats.in_flight, __ATOMIC_RELAXED) < DEPTH)
		;
	for (unsigned i = 0; i < DEPTH; i++) {
		assert_false(queue_has_ended(q, &r));
		assert_int_equal(write(hold_fd, &n, sizeof(n)), sizeof(n));
	}
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	assert_int_equal(driver.n_results, DEPTH);
}

static void test_a_commit_that_takes_less_is_a_failure(void **state)
{
	struct queue *q;

	driver.n_requests = DEPTH;
	driver.takes_less = 1;
	q = start(0, 0);
	wait_for_commits(1);
	queue_kick(q); /* with the next thing that happens: nobody waits for a COMMIT */
	assert_int_equal(wait_end(q), -EPROTO);
	queue_stop(q);
}

static void test_a_tag_that_is_none_is_a_failure(void **state)
{
	struct queue *q;

	driver.n_requests = 1;
	driver.first_tag = DEPTH;
	q = start(0, 0);
	assert_int_equal(wait_end(q), -EPROTO);
	queue_stop(q);
	assert_int_equal(stats.op[IO_READ].count, 0);
}

static void test_drained_answers_go_out_together(void **state)
{
	uint64_t n = DEPTH;
	struct queue *q;

	driver.n_requests = DEPTH;
	is_held = true;
	q = start(0, 0);
	while (__atomic_load_n(&stats.in_flight, __ATOMIC_RELAXED) < DEPTH)
		;
	queue_drain(q);
	assert_int_equal(write(hold_fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	assert_int_equal(driver.n_commits, 1);
	assert_int_equal(driver.n_results, DEPTH);
}

/* The fake char device has a place for the data of each slot, as the driver has with USER_COPY. */
static void check_place(unsigned tag, int byte)
{
	uint8_t got[4096];

	assert_int_equal(pread(dev_fd, got, sizeof(got),
			       (off_t)io_user_copy_offset_bytes(0, (uint16_t)tag, 0)),
			 sizeof(got));
	for (size_t i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], byte);
}

static void fill_places(int byte)
{
	uint8_t data[4096];

	memset(data, byte, sizeof(data));
	for (unsigned tag = 0; tag < DEPTH; tag++)
		assert_int_equal(pwrite(dev_fd, data, sizeof(data),
					(off_t)io_user_copy_offset_bytes(0, (uint16_t)tag, 0)),
				 sizeof(data));
}

static void run_modes(uint64_t flags, unsigned data, unsigned want_seen)
{
	struct queue *q;

	fill_places(0xee);
	driver.n_requests = DEPTH;
	q = start(flags, data);
	wait_for_commits(1);
	queue_stop(q);
	assert_int_equal(seen_data, want_seen);
	for (unsigned i = 0; i < DEPTH; i++)
		assert_int_equal(driver.results[i], 4096);
}

static void test_user_copy(void **state)
{
	/* by the backend itself, which gives zeros */
	run_modes(FEATURE_USER_COPY, IO_CAN(IO_DATA_KERNEL), IO_CAN(IO_DATA_KERNEL));
	for (unsigned tag = 0; tag < DEPTH; tag++)
		check_place(tag, 0);
}

static void test_user_copy_through_a_buffer(void **state)
{
	run_modes(FEATURE_USER_COPY, 0, IO_CAN(IO_DATA_BOUNCED));
	for (unsigned tag = 0; tag < DEPTH; tag++)
		check_place(tag, 0);
}

static void test_zero_copy(void **state)
{
	run_modes(FEATURE_AUTO_BUF_REG | FEATURE_USER_COPY, IO_CAN(IO_DATA_FIXED),
		  IO_CAN(IO_DATA_FIXED));
	for (unsigned tag = 0; tag < DEPTH; tag++) {
		check_place(tag, 0xee); /* nobody has copied anything */
		for (unsigned other = 0; other < tag; other++)
			assert_true(driver.buf_indexes[tag] != driver.buf_indexes[other]);
	}
}

static void test_zero_copy_of_what_could_not_be_registered(void **state)
{
	next_flags = IO_NEED_REG_BUF;
	run_modes(FEATURE_AUTO_BUF_REG | FEATURE_USER_COPY, IO_CAN(IO_DATA_FIXED),
		  IO_CAN(IO_DATA_BOUNCED));
	for (unsigned tag = 0; tag < DEPTH; tag++)
		check_place(tag, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_one_commit_answers_all_of_a_turn),
		TEST(test_elements_are_used_in_turn),
		TEST(test_a_stopped_device_ends_the_queue),
		TEST(test_a_queue_ends_after_its_last_answer),
		TEST(test_a_commit_that_takes_less_is_a_failure),
		TEST(test_a_tag_that_is_none_is_a_failure),
		TEST(test_drained_answers_go_out_together),
		TEST(test_user_copy),
		TEST(test_user_copy_through_a_buffer),
		TEST(test_zero_copy),
		TEST(test_zero_copy_of_what_could_not_be_registered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
