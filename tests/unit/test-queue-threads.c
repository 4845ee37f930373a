/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Queues on real threads, each with a thread that controls it, as the manager and a server have
 * them. Made for a thread sanitizer, which sees all that our threads share: flags, statistics,
 * limits, jobs, the beginning and the end of queues and workers.
 *
 * Of io_uring it sees nothing: not what the kernel writes (completions, what was read, the value of
 * the wake-up), and not that a completion comes after what led to it. The first cannot be judged
 * here at all, nor can the data in buffers. The second would give false alarms where one thread
 * writes to an eventfd and another is woken up by its ring, if the order of anything else hung on
 * that; but here all of that goes by atomics, mutexes and semaphores as well. What it does need to
 * be told is that a ring may lie where one of another thread was: liburing unmaps by a system call
 * of its own. So there is a mutex around the beginning and the end of a ring. Nothing is suppressed.
 *
 * The driver is faked at link time (abi/io-cmd.h): FETCH and COMMIT are a NOP, which is a request,
 * or what a stopped device gives, which fallocate() on /dev/null happens to answer: -ENODEV.
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
#include <time.h>

#include <cmocka.h>
#include <liburing.h>

#include "ring/queue.h"
#include "ring/throttle.h"
#include "ring/worker.h"
#include "state/stats.h"
#include "util/cleanup.h"

#define N_DEVICES 4
#define N_ROUNDS  5
#define DEPTH     4
#define MAX_IO    (64 << 10)
#define MIB       (1ULL << 20)

struct backend {
	struct workers *set; /* to pick a worker of; NULL: one of its own */
	unsigned n_requests; /* of each slot, then the device is stopped; 0: drained some time */
	struct worker *worker;
	unsigned n_changes; /* what the controlling thread does before it waits for the end */
	struct limits limits;
	struct throttle *throttle;
	struct stats_queue stats;
	int dev_fd; /* its descriptors; at first its number */
	int event_fd;
	pthread_t thread;
	int result; /* of the controlling thread */

	/* the worker's */
	unsigned n_given[DEPTH];
	unsigned n_answered;
};

static struct backend devices[N_DEVICES];
static int null_fd;
static pthread_barrier_t all_started;

/* ---- rings ---- */

static pthread_mutex_t rings = PTHREAD_MUTEX_INITIALIZER;

int __real_io_uring_queue_init_params(unsigned n, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned n, struct io_uring *ring, struct io_uring_params *p);
void __real_io_uring_queue_exit(struct io_uring *ring);
void __wrap_io_uring_queue_exit(struct io_uring *ring);

int __wrap_io_uring_queue_init_params(unsigned n, struct io_uring *ring, struct io_uring_params *p)
{
	int r;

	pthread_mutex_lock(&rings);
	r = __real_io_uring_queue_init_params(n, ring, p);
	pthread_mutex_unlock(&rings);
	return r;
}

void __wrap_io_uring_queue_exit(struct io_uring *ring)
{
	pthread_mutex_lock(&rings);
	__real_io_uring_queue_exit(ring);
	pthread_mutex_unlock(&rings);
}

/* ---- the driver ---- */

static void driver_prepare(struct io_uring_sqe *sqe, const struct backend *d, uint16_t tag)
{
	if (d->n_requests == 0 || d->n_given[tag] < d->n_requests)
		io_uring_prep_nop(sqe);
	else
		io_uring_prep_fallocate(sqe, null_fd, 0, 0, 1);
}

void io_cmd_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue, uint16_t tag,
		  const void *buf)
{
	driver_prepare(sqe, &devices[queue], tag);
}

void io_cmd_commit_and_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			     uint16_t tag, const void *buf, int32_t result)
{
	devices[queue].n_answered++;
	driver_prepare(sqe, &devices[queue], tag);
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
	struct backend *d = &devices[*(const unsigned *)map];
	unsigned n = d->n_given[tag]++;

	*ret_desc = (struct io_desc){.op = n % 2 ? IO_WRITE : IO_READ,
				     .offset_bytes = n % 200 * 4096,
				     .len_bytes = n % 7 ? 4096 : MAX_IO};
}

/* ---- the backend: some at once, some by the ring, some fail ---- */

static void disk_submit(void *ctx, struct io *io)
{
	struct io_uring_sqe *sqe;

	if (io->offset_bytes / 4096 % 3) {
		io_complete(io, io->offset_bytes / 4096 % 50 == 49 ? -EIO : 0);
		return;
	}
	sqe = io_sqe(io);
	io_uring_prep_nop(sqe);
	io_sqe_done(io, sqe);
}

static void disk_on_cqe(void *ctx, struct io *io, int res)
{
	io_complete(io, res);
}

static const struct io_ops disk_ops = {.submit = disk_submit, .on_cqe = disk_on_cqe};

/* ---- a controlling thread ---- */

static void sleep_us(unsigned us)
{
	const struct timespec ts = {.tv_nsec = (long)us * 1000};

	nanosleep(&ts, NULL);
}

static int device_start(struct backend *d, struct queue **ret)
{
	const struct queue_config config = {
		.worker = d->worker,
		.dev_fd = d->dev_fd,
		.id = (uint16_t)(d - devices),
		.depth = DEPTH,
		.desc_size_bytes = 24,
		.limits = &d->limits,
		.ops = &disk_ops,
		.backend = d,
		.throttle = d->throttle,
		.stats = &d->stats,
		.event_fd = d->event_fd,
	};

	memset(d->n_given, 0, sizeof(d->n_given));
	d->n_answered = 0;
	memset(&d->stats, 0, sizeof(d->stats));
	return queue_start(&config, ret);
}

/* Everything that a reload, a watchdog and a reader of statistics may do to one that serves. */
static void device_change(struct backend *d, struct queue *q, unsigned n)
{
	const struct throttle_rates rates[] = {
		{0}, {.read_bytes = 64 * MIB, .write_iops = 20000}, {.write_bytes = 1ULL << 32}};
	struct queue_slow slow;

	(void)throttle_set(d->throttle, &rates[n % ARRAY_SIZE(rates)]);
	queue_kick(q);
	queue_set_slow(q, n % 3);
	queue_get_slow(q, &slow);
	if (!d->worker)
		(void)queue_beat(q);
	(void)queue_take_failed(q);
	(void)stats_read(&d->stats.op[IO_READ].count);
	__atomic_store_n(&d->limits.size_bytes, (n + 1) * MIB, __ATOMIC_RELAXED);
	sleep_us(200);
}

/* Until the queue has ended; one that never does fails the test by its time limit. */
static int device_end(struct backend *d, struct queue *q)
{
	unsigned n_given = 0;
	uint64_t n_counted = 0, n;
	int r = 1;

	while (!queue_has_ended(q, &r)) {
		struct pollfd p = {.fd = d->event_fd, .events = POLLIN};

		poll(&p, 1, -1);
		(void)!read(d->event_fd, &n, sizeof(n));
		(void)queue_take_failed(q);
	}
	queue_stop(q);
	for (unsigned tag = 0; tag < DEPTH; tag++)
		n_given += d->n_given[tag];
	for (unsigned op = 0; op < STATS_N_OPS; op++)
		n_counted += d->stats.op[op].count;
	if (r == 0 && (n_given == 0 || n_given != d->n_answered || n_given != n_counted))
		r = -EILSEQ;
	return r;
}

static void *device_thread(void *arg)
{
	struct backend *d = arg;
	struct queue *q = NULL;

	if (d->set)
		d->worker = workers_pick(d->set);
	d->result = device_start(d, &q);
	/* Drained, the first would take the worker of others along before they are there. */
	if (d->set && d->n_requests == 0)
		pthread_barrier_wait(&all_started);
	if (d->result < 0)
		return NULL;
	for (unsigned i = 0; i < d->n_changes; i++)
		device_change(d, q, i);
	if (d->n_requests == 0)
		queue_drain(q);
	d->result = device_end(d, q);
	return NULL;
}

static void start_all(struct workers *set, unsigned n_requests)
{
	for (unsigned i = 0; i < N_DEVICES; i++) {
		devices[i].set = set;
		devices[i].n_requests = n_requests;
		devices[i].n_changes = 20 + 10 * i;
		devices[i].limits.size_bytes = MIB;
		assert_int_equal(
			pthread_create(&devices[i].thread, NULL, device_thread, &devices[i]), 0);
	}
}

static void join_all(void)
{
	for (unsigned i = 0; i < N_DEVICES; i++) {
		assert_int_equal(pthread_join(devices[i].thread, NULL), 0);
		assert_int_equal(devices[i].result, 0);
	}
}

/* ---- tests ---- */

static int setup(void **state)
{
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	pthread_barrier_init(&all_started, NULL, N_DEVICES);
	for (unsigned i = 0; i < N_DEVICES; i++) {
		struct backend *d = &devices[i];

		*d = (struct backend){.limits = {.size_bytes = MIB,
						 .logical_block_bytes = 4096,
						 .physical_block_bytes = 4096,
						 .max_io_bytes = MAX_IO}};
		d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		d->dev_fd = memfd_create("descriptors", MFD_CLOEXEC);
		if (throttle_new(&d->throttle) < 0 || ftruncate(d->dev_fd, 4096) < 0 ||
		    pwrite(d->dev_fd, &i, sizeof(i), 0) != sizeof(i))
			return -1;
	}
	return null_fd < 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < N_DEVICES; i++) {
		throttle_free(devices[i].throttle);
		close(devices[i].event_fd);
		close(devices[i].dev_fd);
	}
	close(null_fd);
	pthread_barrier_destroy(&all_started);
	return 0;
}

static void test_devices_with_workers_of_their_own_are_drained(void **state)
{
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		start_all(NULL, 0);
		join_all();
	}
}

static void test_devices_with_workers_of_their_own_are_stopped(void **state)
{
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		start_all(NULL, 200);
		join_all();
	}
}

static void test_devices_come_and_go_on_shared_workers(void **state)
{
	struct workers *set = NULL;

	assert_int_equal(workers_new(2, &set), 0);
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		start_all(set, 200);
		for (unsigned i = 0; i < 10; i++) {
			(void)workers_beat(set);
			sleep_us(100);
		}
		join_all();
	}
	/* They end together, and their workers with them. */
	start_all(set, 0);
	join_all();
	workers_free(set);
}

struct caller {
	struct worker *w;
	unsigned *n_calls; /* the worker's */
	unsigned n;
	pthread_t thread;
};

static int count_call(struct worker *w, void *arg)
{
	return (int)++*(unsigned *)arg;
}

/* Until the worker has ended under it. */
static void *caller_thread(void *arg)
{
	struct caller *c = arg;
	int r;

	while ((r = worker_call(c->w, count_call, c->n_calls)) > 0) {
		c->n++;
		sleep_us(50);
	}
	return (void *)(intptr_t)r;
}

static void test_calls_and_beats_while_a_worker_serves_and_ends(void **state)
{
	const struct worker_config config = {.name = "test", .n_sqes = 64, .n_files = 8};

	for (unsigned round = 0; round < N_ROUNDS; round++) {
		struct caller callers[3];
		unsigned n_calls = 0, n = 0;
		struct worker *w = NULL;

		assert_int_equal(worker_start(&config, &w), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(callers); i++) {
			callers[i] = (struct caller){.w = w, .n_calls = &n_calls};
			assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_thread,
							&callers[i]),
					 0);
		}
		devices[0].worker = w;
		devices[0].n_requests = 0;
		devices[0].n_changes = 30;
		assert_int_equal(
			pthread_create(&devices[0].thread, NULL, device_thread, &devices[0]), 0);
		for (unsigned i = 0; i < 20; i++) {
			(void)worker_beat(w);
			sleep_us(100);
		}
		pthread_join(devices[0].thread, NULL);
		assert_int_equal(devices[0].result, 0);
		for (unsigned i = 0; i < ARRAY_SIZE(callers); i++) {
			void *r;

			pthread_join(callers[i].thread, &r);
			assert_int_equal((intptr_t)r, -ESHUTDOWN);
			n += callers[i].n;
		}
		worker_stop(w);
		assert_int_equal(n, n_calls);
		assert_true(n > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_devices_with_workers_of_their_own_are_drained,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_devices_with_workers_of_their_own_are_stopped,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_devices_come_and_go_on_shared_workers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_calls_and_beats_while_a_worker_serves_and_ends,
						setup, teardown),
	};

	return cmocka_run_group_tests_name("queue-threads", tests, NULL, NULL);
}
