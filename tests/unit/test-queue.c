/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue without ublk. The commands of abi/io-cmd.h are replaced: FETCH and COMMIT become harmless
 * SQEs that complete as the driver's would, and each slot has a script of requests. A slot whose
 * script is at its end gets what a stopped device gives: -ENODEV, which fallocate() on /dev/null
 * happens to answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <liburing.h>

#include "ring/event.h"
#include "ring/queue.h"
#include "ring/worker.h"
#include "state/stats.h"
#include "util/cleanup.h"

#define DEPTH        4
#define MAX_REQUESTS 8
#define MAX_IO       (64 << 10)

enum at_end {
	END_ABORT, /* as when the device is stopped */
	END_IDLE,  /* no request comes any more */
	END_BAD,   /* a result that no driver gives */
};

/* What the fake driver does; filled in before the queue starts, read when it has ended. */
static struct {
	struct io_desc requests[DEPTH][MAX_REQUESTS];
	unsigned n_requests[DEPTH];
	enum at_end at_end;
	int null_fd;
	int never_fd; /* eventfd that is never readable */
	uint64_t never_value;

	unsigned next[DEPTH];
	int32_t results[DEPTH][MAX_REQUESTS];
	unsigned n_results[DEPTH];
	const void *bufs[DEPTH];
} driver;

static void driver_prepare(struct io_uring_sqe *sqe, uint16_t tag)
{
	if (driver.next[tag] < driver.n_requests[tag]) {
		io_uring_prep_nop(sqe);
		return;
	}
	switch (driver.at_end) {
	case END_ABORT:
		io_uring_prep_fallocate(sqe, driver.null_fd, 0, 0, 1);
		break;
	case END_IDLE:
		io_uring_prep_read(sqe, driver.never_fd, &driver.never_value, 8, 0);
		break;
	case END_BAD:
		io_uring_prep_read(sqe, -1, &driver.never_value, 8, 0);
		break;
	}
}

void io_cmd_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue, uint16_t tag,
		  const void *buf)
{
	driver.bufs[tag] = buf;
	driver_prepare(sqe, tag);
}

void io_cmd_commit_and_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			     uint16_t tag, const void *buf, int32_t result)
{
	driver.results[tag][driver.n_results[tag]++] = result;
	driver_prepare(sqe, tag);
}

void io_cmd_set_auto_buf(struct io_uring_sqe *sqe, uint16_t index, bool fallback)
{
}

uint64_t io_user_copy_offset_bytes(uint16_t queue, uint16_t tag, uint32_t offset_bytes)
{
	return offset_bytes;
}

size_t io_desc_map_len_bytes(uint16_t depth, uint32_t desc_size_bytes)
{
	return 4096;
}

uint64_t io_desc_map_offset_bytes(uint16_t queue, uint32_t desc_size_bytes)
{
	return 0;
}

void io_desc_decode(const void *map, uint32_t desc_size_bytes, uint16_t tag,
		    struct io_desc *ret_desc)
{
	*ret_desc = driver.requests[tag][driver.next[tag]++];
}

/* ---- a backend that does what the test says ---- */

static struct {
	int result;
	bool through_ring; /* answer from on_cqe() */
	int wait_fd;       /* through the ring, when this is readable */
	unsigned n_submits;
	uint64_t value;
} disk;

static void disk_submit(void *ctx, struct io *io)
{
	struct io_uring_sqe *sqe;

	__atomic_add_fetch(&disk.n_submits, 1, __ATOMIC_RELEASE);
	if (!disk.through_ring) {
		io_complete(io, disk.result);
		return;
	}
	sqe = io_sqe(io);
	if (disk.wait_fd >= 0)
		io_uring_prep_read(sqe, disk.wait_fd, &disk.value, 8, 0);
	else
		io_uring_prep_nop(sqe);
	io_sqe_done(io, sqe);
}

static void disk_on_cqe(void *ctx, struct io *io, int res)
{
	io_complete(io, res < 0 ? res : disk.result);
}

static const struct io_ops disk_ops = {.submit = disk_submit, .on_cqe = disk_on_cqe};

/* ---- fixture ---- */

static const struct limits disk_limits = {
	.size_bytes = 1 << 20,
	.logical_block_bytes = 4096,
	.physical_block_bytes = 4096,
	.max_io_bytes = MAX_IO,
	.max_discard_bytes = 1 << 20,
};

static struct stats_queue stats;
static int event_fd, dev_fd;

static int setup(void **state)
{
	memset(&driver, 0, sizeof(driver));
	memset(&stats, 0, sizeof(stats));
	disk.result = 0;
	disk.through_ring = false;
	disk.wait_fd = -1;
	disk.n_submits = 0;
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	driver.never_fd = eventfd(0, EFD_CLOEXEC);
	driver.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	dev_fd = memfd_create("descriptors", MFD_CLOEXEC);
	return event_fd < 0 || driver.never_fd < 0 || driver.null_fd < 0 || dev_fd < 0 ||
	       ftruncate(dev_fd, 4096) < 0;
}

static int teardown(void **state)
{
	close(event_fd);
	close(driver.never_fd);
	close(driver.null_fd);
	close(dev_fd);
	return 0;
}

static struct queue *start(const struct limits *limits)
{
	const struct queue_config config = {
		.dev_fd = dev_fd,
		.depth = DEPTH,
		.desc_size_bytes = 24,
		.limits = limits,
		.ops = &disk_ops,
		.stats = &stats,
		.event_fd = event_fd,
	};
	struct queue *q = NULL;

	assert_int_equal(queue_start(&config, &q), 0);
	return q;
}

static void add(unsigned tag, enum io_op op, uint64_t offset, uint64_t len)
{
	driver.requests[tag][driver.n_requests[tag]++] =
		(struct io_desc){.op = op, .offset_bytes = offset, .len_bytes = len};
}

/* Until the thread has ended; a queue that never does fails the test by its time limit. */
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

static void test_answers_are_whole_lengths_or_zero(void **state)
{
	struct queue *q;

	add(0, IO_READ, 0, 4096);
	add(0, IO_WRITE, 8192, MAX_IO);
	add(1, IO_FLUSH, 0, 0);
	add(1, IO_DISCARD, 0, 1 << 20);
	q = start(&disk_limits);
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	assert_int_equal(driver.n_results[0], 2);
	assert_int_equal(driver.results[0][0], 4096);
	assert_int_equal(driver.results[0][1], MAX_IO);
	assert_int_equal(driver.n_results[1], 2);
	assert_int_equal(driver.results[1][0], 0);
	assert_int_equal(driver.results[1][1], 0);
	assert_int_equal(stats.op[IO_READ].bytes, 4096);
	assert_int_equal(stats.op[IO_WRITE].count, 1);
	assert_int_equal(stats.op[IO_DISCARD].bytes, 1 << 20);
	assert_int_equal(stats.in_flight, 0);
	assert_true(stats.turns > 0);
	assert_true(stats.tid > 0);
}

static void test_requests_beyond_the_limits_never_reach_the_backend(void **state)
{
	struct limits read_only = disk_limits;
	struct queue *q;

	add(0, IO_READ, 512, 4096);                 /* no block */
	add(0, IO_READ, 0, 512);                    /* no block */
	add(0, IO_READ, (1 << 20) - 4096, 8192);    /* over the end */
	add(0, IO_READ, UINT64_MAX - 4095, 8192);   /* wraps */
	add(0, IO_READ, 0, MAX_IO + 4096);          /* larger than the buffer */
	add(0, IO_WRITE, 0, 0);                     /* nothing */
	add(1, IO_WRITE_ZEROES, 0, 4096);           /* not offered */
	add(1, IO_OTHER, 0, 4096);                  /* not known */
	add(1, IO_DISCARD, 0, (1ULL << 20) + 4096); /* over the end */
	q = start(&disk_limits);
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(driver.results[0][i], -EIO);
	assert_int_equal(driver.results[1][0], -EOPNOTSUPP);
	assert_int_equal(driver.results[1][1], -EOPNOTSUPP);
	assert_int_equal(driver.results[1][2], -EIO);
	assert_int_equal(disk.n_submits, 0);

	memset(&driver.next, 0, sizeof(driver.next));
	memset(&driver.n_requests, 0, sizeof(driver.n_requests));
	memset(&driver.n_results, 0, sizeof(driver.n_results));
	read_only.read_only = true;
	add(0, IO_WRITE, 0, 4096);
	add(0, IO_READ, 0, 4096);
	q = start(&read_only);
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	assert_int_equal(driver.results[0][0], -EIO);
	assert_int_equal(driver.results[0][1], 4096);
	assert_int_equal(disk.n_submits, 1);
}

static void test_errors_reach_the_kernel_and_are_counted(void **state)
{
	static const int cases[][2] = {
		{-EIO, -EIO},   {-ENOSPC, -ENOSPC}, {-EDQUOT, -ENOSPC},      {-EAGAIN, -EIO},
		{-EINTR, -EIO}, {-EBUSY, -EIO},     {-ETIMEDOUT, -ETIMEDOUT}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t n = 0;
		struct queue *q;

		teardown(NULL);
		assert_int_equal(setup(NULL), 0);
		disk.result = cases[i][0];
		disk.through_ring = i % 2;
		add(2, IO_WRITE, 8192, 4096);
		add(2, IO_WRITE, 4096, 4096);
		driver.at_end = END_IDLE;
		q = start(&disk_limits);
		while (stats_read(&stats.op[IO_WRITE].errors) < 2)
			;
		assert_int_equal(read(event_fd, &n, sizeof(n)), sizeof(n));
		assert_int_equal(n, 1); /* one wake-up for all errors until they are taken */
		assert_true(queue_take_failed(q));
		assert_false(queue_take_failed(q));
		queue_stop(q);
		assert_int_equal(driver.results[2][0], cases[i][1]);
		assert_int_equal(stats.op[IO_WRITE].count, 2);
		assert_int_equal(stats.op[IO_WRITE].bytes, 0);
		assert_int_equal(stats.op[IO_WRITE].errnos[stats_errno_index(-cases[i][1])], 2);
		assert_int_equal(stats.last_errno, -cases[i][1]);
		assert_int_equal(stats.last_error_op, IO_WRITE);
		assert_int_equal(stats.last_error_offset, 4096);
	}
}

static uint64_t sum_latency(unsigned class)
{
	return latency_count_below(stats.latency[class], LATENCY_MAX_NS);
}

/* Each answer is in one histogram, those that the backend gives at once, too. */
static void test_every_request_is_timed(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct queue *q;

		teardown(NULL);
		assert_int_equal(setup(NULL), 0);
		disk.through_ring = i;
		for (unsigned tag = 0; tag < DEPTH; tag++)
			add(tag, IO_READ, 0, 4096);
		add(0, IO_WRITE, 8192, 4096);
		add(1, IO_FLUSH, 0, 0);
		add(2, IO_DISCARD, 0, 1 << 20);
		add(3, IO_WRITE_ZEROES, 0, 4096); /* is refused */
		q = start(&disk_limits);
		assert_int_equal(wait_end(q), 0);
		queue_stop(q);
		assert_int_equal(sum_latency(stats_class(IO_READ)), DEPTH);
		assert_int_equal(sum_latency(stats_class(IO_WRITE)), 1);
		assert_int_equal(sum_latency(stats_class(IO_FLUSH)), 1);
		assert_int_equal(sum_latency(stats_class(IO_OTHER)), 2);
		assert_true(stats.op[IO_READ].latency_ns > 0);
		assert_true(stats.op[IO_WRITE_ZEROES].latency_ns > 0);
		assert_int_equal(stats.op[IO_WRITE_ZEROES].errnos[stats_errno_index(EOPNOTSUPP)],
				 1);
		assert_int_equal(stats.backend_ns > 0, i);
		assert_true(stats.seen_ns > 0);
	}
}

/* All slots wait for the backend some time, which is known when it is over. */
static void test_time_at_full_depth(void **state)
{
	AUTO_CLOSE int hold = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	const uint64_t n = DEPTH;
	struct queue *q;

	disk.through_ring = true;
	disk.wait_fd = hold;
	for (unsigned tag = 0; tag < DEPTH; tag++)
		add(tag, IO_READ, 0, 4096);
	q = start(&disk_limits);
	while (__atomic_load_n(&disk.n_submits, __ATOMIC_ACQUIRE) < DEPTH)
		;
	usleep(20000); /* the least that is to be measured */
	assert_int_equal(write(hold, &n, sizeof(n)), sizeof(n));
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	assert_true(stats.full_ns >= 15000000);
	assert_true(stats.backend_ns >= DEPTH * 15000000ULL);
	assert_true(latency_percentile(stats.latency[stats_class(IO_READ)], 1) >= 15000000);
	assert_true(stats.op[IO_READ].latency_ns >= DEPTH * 15000000ULL);
}

static void test_every_slot_has_a_buffer_of_its_own(void **state)
{
	struct queue *q;

	driver.at_end = END_IDLE;
	q = start(&disk_limits);
	for (unsigned tag = 0; tag < DEPTH; tag++) {
		assert_int_equal((uintptr_t)driver.bufs[tag] % 4096, 0);
		for (unsigned other = 0; other < tag; other++) {
			ptrdiff_t d =
				(const char *)driver.bufs[tag] - (const char *)driver.bufs[other];

			assert_true(d >= MAX_IO || -d >= MAX_IO);
		}
	}
	queue_stop(q);
}

static void test_stop_of_an_idle_queue_returns(void **state)
{
	struct queue *q;
	int r;

	driver.at_end = END_IDLE;
	q = start(&disk_limits);
	assert_false(queue_has_ended(q, &r));
	queue_stop(q);
}

static void test_stop_waits_for_the_backend(void **state)
{
	AUTO_CLOSE int hold = eventfd(0, EFD_CLOEXEC);
	uint64_t one = 1;
	struct queue *q;
	pid_t child;

	disk.through_ring = true;
	disk.wait_fd = hold;
	driver.at_end = END_IDLE;
	add(3, IO_READ, 0, 4096);
	q = start(&disk_limits);
	while (__atomic_load_n(&disk.n_submits, __ATOMIC_ACQUIRE) == 0)
		;
	assert_int_equal(stats.in_flight, 1);
	child = fork(); /* lets go while queue_stop() waits */
	assert_true(child >= 0);
	if (child == 0) {
		usleep(50000);
		_exit(write(hold, &one, sizeof(one)) != sizeof(one));
	}
	queue_stop(q);
	assert_int_equal(driver.n_results[3], 1);
	assert_int_equal(driver.results[3][0], 4096);
}

static void test_an_answer_that_must_not_be_ends_the_queue(void **state)
{
	struct queue *q;

	driver.at_end = END_BAD;
	add(0, IO_READ, 0, 4096);
	q = start(&disk_limits);
	assert_int_equal(wait_end(q), -EBADF);
	queue_stop(q);
}

static int failing_init(struct backend *b, struct queue *q, void **ret_ctx)
{
	return -EMFILE;
}

static void test_start_tells_what_failed(void **state)
{
	const struct io_ops failing = {.queue_init = failing_init, .submit = disk_submit};
	struct queue_config config = {
		.dev_fd = dev_fd,
		.depth = DEPTH,
		.desc_size_bytes = 24,
		.limits = &disk_limits,
		.ops = &failing,
		.stats = &stats,
		.event_fd = event_fd,
	};
	struct queue *q = NULL;

	assert_int_equal(queue_start(&config, &q), -EMFILE);
	config.ops = &disk_ops;
	config.dev_fd = driver.never_fd; /* cannot be mapped */
	assert_int_equal(queue_start(&config, &q), -ENODEV);
	assert_null(q);
}

/* Let go of the request that waits for disk.wait_fd. */
static void release(int hold)
{
	uint64_t one = 1;

	assert_int_equal(write(hold, &one, sizeof(one)), sizeof(one));
}

static void wait_submits(unsigned n)
{
	while (__atomic_load_n(&disk.n_submits, __ATOMIC_ACQUIRE) < n)
		;
}

static void test_drain_answers_all_and_takes_nothing_new(void **state)
{
	AUTO_CLOSE int hold = eventfd(0, EFD_CLOEXEC);
	struct queue *q;
	int r = 1;

	disk.through_ring = true;
	disk.wait_fd = hold;
	driver.at_end = END_IDLE;
	add(1, IO_READ, 0, 4096);
	add(1, IO_WRITE, 8192, 4096); /* is there as soon as the first is answered */
	q = start(&disk_limits);
	wait_submits(1);
	queue_drain(q);
	usleep(20000);
	assert_false(queue_has_ended(q, &r)); /* waits for the backend */
	assert_int_equal(driver.n_results[1], 0);
	release(hold);
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	assert_int_equal(driver.n_results[1], 1);
	assert_int_equal(driver.results[1][0], 4096);
	assert_int_equal(disk.n_submits, 1); /* the second is for the successor */
}

static void test_drain_of_an_idle_queue_ends_it(void **state)
{
	struct queue *q;

	driver.at_end = END_IDLE;
	q = start(&disk_limits);
	queue_drain(q);
	assert_int_equal(wait_end(q), 0);
	queue_stop(q);
	for (unsigned tag = 0; tag < DEPTH; tag++)
		assert_int_equal(driver.n_results[tag], 0);
}

static struct queue *start_with(struct worker *w, const struct io_ops *ops)
{
	const struct queue_config config = {
		.worker = w,
		.dev_fd = dev_fd,
		.depth = DEPTH,
		.desc_size_bytes = 24,
		.limits = &disk_limits,
		.ops = ops,
		.stats = &stats,
		.event_fd = event_fd,
	};
	struct queue *q = NULL;

	assert_int_equal(queue_start(&config, &q), 0);
	return q;
}

static struct queue *start_on(struct worker *w)
{
	return start_with(w, &disk_ops);
}

static void test_queues_share_a_worker(void **state)
{
	struct workers *set = NULL;
	struct queue *a, *b;
	int r;

	assert_int_equal(workers_new(1, &set), 0);
	assert_true(workers_beat(set));
	add(0, IO_READ, 0, 4096);
	add(1, IO_FLUSH, 0, 0);
	a = start_on(workers_pick(set)); /* takes both, and is told that its device was stopped */
	assert_int_equal(wait_end(a), 0);
	assert_int_equal(driver.results[0][0], 4096);
	assert_int_equal(driver.n_results[1], 1);
	queue_stop(a);
	/* The worker goes on with others, which end together when they are drained. */
	driver.at_end = END_IDLE;
	a = start_on(workers_pick(set));
	b = start_on(workers_pick(set));
	queue_drain(a);
	while (!workers_beat(set))
		;
	while (!workers_beat(set))
		; /* it has turned since, so it has seen the order */
	assert_false(queue_has_ended(a, &r));
	queue_drain(b);
	while (!queue_has_ended(a, &r) || !queue_has_ended(b, &r))
		;
	queue_stop(a);
	queue_stop(b);
	workers_free(set);
}

/* A backend that waits for other things than its requests. */
static struct {
	struct queue *queue;
	struct queue_event brief, never;
	struct io *io;
	int brief_res, never_res; /* 1: it has not come */
	bool cancel;              /* "never", when a request comes */
	bool gone;
} waits;

static int waits_queue_init(struct backend *b, struct queue *q, void **ret_ctx)
{
	waits.queue = q;
	queue_wait_fd(q, &waits.never, driver.never_fd, POLLIN);
	*ret_ctx = &waits;
	return 0;
}

static void waits_queue_deinit(void *ctx)
{
	waits.gone = !waits.never.armed; /* nothing is to come any more */
}

static void waits_submit(void *ctx, struct io *io)
{
	waits.io = io;
	queue_wait_ns(waits.queue, &waits.brief, 1000000);
	if (waits.cancel)
		queue_cancel(&waits.never);
}

static void waits_on_event(void *ctx, struct queue_event *e, int res)
{
	if (waits.gone || e->armed)
		abort();
	if (e == &waits.never) {
		waits.never_res = res;
		return;
	}
	waits.brief_res = res;
	queue_set_reachable(waits.queue, false);
	io_complete(waits.io, 0);
}

static const struct io_ops waits_ops = {
	.queue_init = waits_queue_init,
	.queue_deinit = waits_queue_deinit,
	.submit = waits_submit,
	.on_event = waits_on_event,
};

/* On a ring that goes on without the queue, nothing of it may come afterwards. */
static void test_events_come_once_and_end_with_the_queue(void **state)
{
	struct workers *set = NULL;

	assert_int_equal(workers_new(1, &set), 0);
	for (unsigned cancel = 0; cancel < 2; cancel++) {
		struct queue *q;

		memset(&waits, 0, sizeof(waits));
		memset(driver.next, 0, sizeof(driver.next));
		waits.brief_res = waits.never_res = 1;
		waits.cancel = cancel;
		if (cancel == 0)
			add(0, IO_READ, 0, 4096);
		q = start_with(workers_pick(set), &waits_ops);
		assert_int_equal(wait_end(q), 0);
		queue_stop(q);
		assert_int_equal(waits.brief_res, -ETIME);
		assert_int_equal(waits.never_res, cancel ? -ECANCELED : 1);
		assert_true(waits.gone && stats.unreachable);
		assert_int_equal(driver.results[0][cancel], 4096);
	}
	workers_free(set);
}

static bool slow_job_runs;

static int slow_job(struct worker *w, void *arg)
{
	int *hold = arg;
	uint64_t n;

	__atomic_store_n(&slow_job_runs, true, __ATOMIC_RELEASE);
	return (int)read(*hold, &n, sizeof(n));
}

static void *call_slow_job(void *arg)
{
	void **args = arg;

	(void)worker_call(args[0], slow_job, args[1]);
	return NULL;
}

static void test_a_thread_that_does_not_turn_misses_its_beat(void **state)
{
	const struct worker_config config = {.name = "test", .n_sqes = 8, .n_files = 8};
	AUTO_CLOSE int hold = eventfd(0, EFD_CLOEXEC);
	struct worker *w = NULL;
	pthread_t caller;

	assert_int_equal(worker_start(&config, &w), 0);
	assert_true(worker_beat(w));
	while (!worker_beat(w))
		;
	assert_int_equal(pthread_create(&caller, NULL, call_slow_job, (void *[]){w, &hold}), 0);
	while (!__atomic_load_n(&slow_job_runs, __ATOMIC_ACQUIRE))
		;
	(void)worker_beat(w); /* asks; one from before may have been answered */
	usleep(20000);
	assert_false(worker_beat(w));
	release(hold);
	pthread_join(caller, NULL);
	while (!worker_beat(w))
		;
	worker_stop(w);
}

static void test_slow_requests_are_seen_by_their_beats(void **state)
{
	AUTO_CLOSE int hold = eventfd(0, EFD_CLOEXEC);
	struct queue_slow slow;
	struct queue *q;

	disk.through_ring = true;
	disk.wait_fd = hold;
	driver.at_end = END_IDLE;
	add(2, IO_WRITE, 8192, 4096);
	q = start(&disk_limits);
	queue_set_slow(q, 2);
	wait_submits(1);
	queue_get_slow(q, &slow);
	assert_int_equal(slow.n, 0);
	do {
		(void)queue_beat(q);
		queue_get_slow(q, &slow);
	} while (slow.n == 0);
	assert_int_equal(slow.n, 1);
	assert_int_equal(slow.op, IO_WRITE);
	assert_int_equal(slow.offset_bytes, 8192);
	release(hold);
	do {
		(void)queue_beat(q);
		queue_get_slow(q, &slow);
	} while (slow.n > 0);
	queue_stop(q);
}

/* Every move, allowed or not: what is not named here must not be. */
static void test_states_move_as_the_tables_say(void **state)
{
	static const enum io_state io[][2] = {
		{IO_IDLE, IO_AT_KERNEL},     {IO_AT_KERNEL, IO_AT_BACKEND},
		{IO_AT_KERNEL, IO_WAITING},  {IO_AT_KERNEL, IO_DEAD},
		{IO_WAITING, IO_AT_BACKEND}, {IO_AT_BACKEND, IO_ANSWERED},
		{IO_ANSWERED, IO_AT_KERNEL}};
	static const enum queue_state queue[][2] = {
		{QUEUE_SERVING, QUEUE_STOPPING}, {QUEUE_SERVING, QUEUE_DRAINING},
		{QUEUE_SERVING, QUEUE_ENDED},    {QUEUE_STOPPING, QUEUE_ENDED},
		{QUEUE_DRAINING, QUEUE_DRAINED}, {QUEUE_DRAINING, QUEUE_ENDED},
		{QUEUE_DRAINED, QUEUE_ENDED},
	};

	for (enum io_state from = 0; from < N_IO_STATES; from++) {
		for (enum io_state to = 0; to < N_IO_STATES; to++) {
			bool want = false;

			for (size_t i = 0; i < ARRAY_SIZE(io); i++)
				want |= io[i][0] == from && io[i][1] == to;
			assert_int_equal(io_may_go(from, to), want);
		}
	}
	for (enum queue_state from = 0; from < N_QUEUE_STATES; from++) {
		for (enum queue_state to = 0; to < N_QUEUE_STATES; to++) {
			bool want = false;

			for (size_t i = 0; i < ARRAY_SIZE(queue); i++)
				want |= queue[i][0] == from && queue[i][1] == to;
			assert_int_equal(queue_may_go(from, to), want);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_are_whole_lengths_or_zero, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_requests_beyond_the_limits_never_reach_the_backend, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors_reach_the_kernel_and_are_counted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_every_request_is_timed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_time_at_full_depth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_slot_has_a_buffer_of_its_own, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_stop_of_an_idle_queue_returns, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_stop_waits_for_the_backend, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_answer_that_must_not_be_ends_the_queue,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_start_tells_what_failed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain_answers_all_and_takes_nothing_new, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_drain_of_an_idle_queue_ends_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_queues_share_a_worker, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events_come_once_and_end_with_the_queue, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_thread_that_does_not_turn_misses_its_beat,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_requests_are_seen_by_their_beats, setup,
						teardown),
		cmocka_unit_test(test_states_move_as_the_tables_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
