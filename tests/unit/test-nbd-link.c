/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=nbd: a connection that is lost, slow, or of no use, and what becomes of requests meanwhile. */
#include <poll.h>

#include "nbd-fixture.h"

static unsigned n_asked;

static bool count_and_interrupt(void *arg)
{
	return ++n_asked > 3;
}

static void test_start_waits_for_the_server(void **state)
{
	struct fixture *f = *state;
	struct backend *b = NULL;

	f->conf.timeout_ns = 300 * MS;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -ENOENT);
	f->conf.timeout_ns = 0;
	f->req.interrupt = count_and_interrupt;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -ECANCELED);
	assert_int_equal(n_asked, 4);
	assert_null(b);
}

static void test_killed_server_loses_nothing(void **state)
{
	struct fixture *f = *state;

	start(f, DELAY_LINE);
	for (int i = 0; i < 3; i++) {
		fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x40 + i);
		fake_queue_look(&f->q, 0);
		usleep(20000);
		kill_server(f);
		fake_queue_wait_reachable(&f->q, false);
		assert_int_equal(f->q.n_inflight, N_BLOCKS);
		assert_non_null(
			strstr(nbd_backend.get_trouble(f->b, NULL), "no connection to nbd"));
		begin_server(f, i < 2 ? DELAY_LINE : FILE_LINE);
		fake_blocks_end(&f->blocks, &f->q, 0);
		assert_int_equal(f->q.n_reconnects, i + 1);
	}
	fake_blocks_expect(&f->blocks, &f->q, 0x42);
}

/* More than a socket takes at once. */
static void submit_large(struct fixture *f, enum io_op op, int byte)
{
	const size_t len = BUF_BYTES / N_BLOCKS;

	if (op == IO_WRITE)
		memset(f->buf, byte, BUF_BYTES);
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		f->blocks.ios[i] = (struct fake_io){.io = {.op = op,
							   .offset_bytes = i * len,
							   .len_bytes = len,
							   .buf = f->buf + i * len}};
		fake_queue_submit(&f->q, &f->blocks.ios[i]);
	}
}

static void test_servers_come_and_go_under_load(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	for (int i = 0; i < 60; i++) {
		submit_large(f, IO_WRITE, i + 1);
		for (int n = i % 7; n > 0; n--)
			fake_queue_turn(&f->q);
		if (i % 5 == 0) {
			kill_server(f);
			begin_server(f, FILE_LINE);
		} else if (i % 5 == 1) {
			freeze_server(f);
			fake_queue_look(&f->q, 0);
			kill(f->server, SIGCONT);
		}
		fake_blocks_end(&f->blocks, &f->q, 0);
		submit_large(f, IO_READ, 0);
		fake_blocks_end(&f->blocks, &f->q, 0);
		for (size_t at = 0; at < BUF_BYTES; at++)
			assert_int_equal(f->buf[at], i + 1);
	}
}

static void test_frozen_server_is_waited_for(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	fake_blocks_fill(&f->blocks, &f->q, 0x50);
	freeze_server(f);
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x51);
	fake_queue_look(&f->q, 1); /* the watch: nothing has come of the requests */
	assert_int_equal(f->q.n_inflight, N_BLOCKS);
	kill(f->server, SIGCONT);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_blocks_expect(&f->blocks, &f->q, 0x51);
	assert_int_equal(f->q.n_reconnects, 0);
}

/* The kernel says that there is something to read, and there is not. */
static void wake_for_nothing(struct fixture *f)
{
	struct nbd_link *l = f->q.ctx;

	f->q.ops->on_event(l, &l->readable, POLLIN);
}

static void test_a_wake_up_for_nothing_keeps_nothing_from_being_sent(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	wake_for_nothing(f);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0x61);
	freeze_server(f);
	/* Some of it is on its way, one has been sent in part, and the rest has not. */
	submit_large(f, IO_WRITE, 0x62);
	fake_queue_look(&f->q, 0);
	wake_for_nothing(f);
	assert_int_equal(f->q.n_inflight, N_BLOCKS);
	kill(f->server, SIGCONT);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x62);
	assert_int_equal(f->q.n_reconnects, 0);
}

static void test_a_request_does_not_wait_for_the_answer_of_another(void **state)
{
	struct fixture *f = *state;
	struct fake_io slow = {
		.io = {.op = IO_DISCARD, .offset_bytes = SIZE_BYTES / 2, .len_bytes = 65536},
	};

	start(f, NBDKIT "--filter=delay file @image delay-trim=1000ms");
	for (int i = 0; i < 3; i++) {
		fake_queue_submit(&f->q, &slow);
		wake_for_nothing(f);
		for (int op = IO_READ; op <= IO_WRITE; op++) {
			fake_blocks_submit(&f->blocks, &f->q, (enum io_op)op, 0x64 + i);
			while (f->q.n_inflight > 1 && !slow.done)
				fake_queue_look(&f->q, 1);
		}
		assert_false(slow.done);
		fake_queue_run(&f->q);
		assert_int_equal(slow.res, 0);
	}
}

/* As with a word of TLS that is no answer, which it reads and says nothing of. */
static void test_a_connection_that_waits_for_no_answer_is_renewed(void **state)
{
	struct fixture *f = *state;
	struct nbd_link *l;

	start(f, FILE_LINE);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0x68);
	l = f->q.ctx;
	assert_int_equal(nbd_lib.aio_notify_read(l->h), 0);
	assert_int_not_equal(nbd_lib.aio_is_ready(l->h), 1);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0x68);
	assert_int_equal(f->q.n_reconnects, 1);
	/* The last flush is not given to such a one either. */
	assert_int_equal(nbd_lib.aio_notify_read(l->h), 0);
	fake_queue_stop(&f->q);
	assert_int_equal(nbd_backend.flush(f->b), 0);
	f->b = nbd_backend.close(f->b);
}

static void test_requests_fail_after_the_timeout(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns;

	f->conf.timeout_ns = 400 * MS;
	start(f, FILE_LINE);
	fake_blocks_fill(&f->blocks, &f->q, 0x60);
	/* It hangs, */
	freeze_server(f);
	start_ns = clock_now_ns();
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x61);
	fake_blocks_end(&f->blocks, &f->q, -EIO);
	assert_true(clock_now_ns() - start_ns >= 400 * MS && f->q.unreachable);
	assert_int_equal(do_io(f, IO_READ, 0, 0, 4096), -EIO);
	/* another one is there, */
	other_server(f, FILE_LINE);
	fake_queue_wait_reachable(&f->q, true);
	fake_blocks_fill(&f->blocks, &f->q, 0x62);
	fake_blocks_expect(&f->blocks, &f->q, 0x62);
	/* and goes. */
	kill_server(f);
	start_ns = clock_now_ns();
	fake_blocks_submit(&f->blocks, &f->q, IO_READ, 0);
	fake_blocks_end(&f->blocks, &f->q, -EIO);
	assert_true(clock_now_ns() - start_ns >= 300 * MS);
	begin_server(f, FILE_LINE);
	fake_queue_wait_reachable(&f->q, true);
	fake_blocks_expect(&f->blocks, &f->q, 0x62);
}

static void test_another_server_is_refused(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	fake_queue_fill(&f->q, 4 << 20, 65536, f->buf, 0x70); /* and not again, as the others */
	fake_blocks_fill(&f->blocks, &f->q, 0x70);
	other_server(f, NBDKIT "memory 16M");
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x71);
	wait_trouble(f, "another size");
	/* As large, and empty. */
	other_server(f, NBDKIT "memory 8M");
	wait_trouble(f, "does not have what it had acknowledged");
	other_server(f, NBDKIT "-r file @image");
	wait_trouble(f, "another size or other abilities");
	assert_int_equal(f->q.n_inflight, N_BLOCKS);
	assert_int_equal(f->q.n_reconnects, 0);
	other_server(f, FILE_LINE);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_blocks_expect(&f->blocks, &f->q, 0x71);
	assert_int_equal(f->q.n_reconnects, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_start_waits_for_the_server),
		TEST(test_killed_server_loses_nothing),
		TEST(test_servers_come_and_go_under_load),
		TEST(test_frozen_server_is_waited_for),
		TEST(test_a_wake_up_for_nothing_keeps_nothing_from_being_sent),
		TEST(test_a_request_does_not_wait_for_the_answer_of_another),
		TEST(test_a_connection_that_waits_for_no_answer_is_renewed),
		TEST(test_requests_fail_after_the_timeout),
		TEST(test_another_server_is_refused),
	};

	return run_with_servers(tests, ARRAY_SIZE(tests));
}
