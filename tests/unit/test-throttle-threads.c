/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits with queues on real threads, and with the real clock, so that only what no delay can change
 * is checked: nothing is lost, no rate is exceeded, nobody is left out. Made for a thread sanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ring/throttle.h"
#include "util/cleanup.h"

#define N_QUEUES 4
#define DEPTH    16
#define MIB      (1ULL << 20)
#define MS       1000000ULL

struct queue {
	struct throttle *t;
	bool *stop;
	pthread_t thread;
	uint64_t n_sent;
	uint64_t n_done;     /* atomic */
	uint64_t done_bytes; /* atomic */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000),
				    .tv_nsec = (long)(ns % 1000000000)};

	nanosleep(&ts, NULL);
}

static void queue_done(struct queue *q, struct io *io)
{
	__atomic_fetch_add(&q->done_bytes, io->len_bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&q->n_done, 1, __ATOMIC_RELAXED);
	io->state = IO_IDLE;
}

/* As many as there are slots, small and large; what is done makes room for another. */
static void *queue_run(void *arg)
{
	struct queue *q = arg;
	struct throttle_queue tq = {0};
	struct io ios[DEPTH] = {0}, *io;
	uint64_t wait_ns;

	while (!__atomic_load_n(q->stop, __ATOMIC_RELAXED)) {
		for (unsigned i = 0; i < DEPTH; i++) {
			if (ios[i].state == IO_AT_BACKEND)
				continue;
			ios[i] = (struct io){.op = IO_WRITE,
					     .state = IO_AT_BACKEND,
					     .len_bytes = i % 2 ? 4096 : 65536};
			q->n_sent++;
			if (!throttle_is_on(q->t) || throttle_admit(&tq, q->t, &ios[i], now_ns()))
				queue_done(q, &ios[i]);
		}
		wait_ns = UINT64_MAX;
		while ((io = throttle_next(&tq, q->t, now_ns(), &wait_ns)))
			queue_done(q, io);
		sleep_ns(MIN(wait_ns, MS)); /* nobody wakes us up */
	}
	while ((io = throttle_next(&tq, NULL, now_ns(), &wait_ns)))
		queue_done(q, io);
	return NULL;
}

static void start(struct queue *queues, struct throttle *t, bool *stop)
{
	for (unsigned i = 0; i < N_QUEUES; i++) {
		queues[i] = (struct queue){.t = t, .stop = stop};
		assert_int_equal(pthread_create(&queues[i].thread, NULL, queue_run, &queues[i]), 0);
	}
}

static void stop_all(struct queue *queues, bool *stop)
{
	__atomic_store_n(stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < N_QUEUES; i++) {
		assert_int_equal(pthread_join(queues[i].thread, NULL), 0);
		assert_int_equal(queues[i].n_done, queues[i].n_sent); /* each just once */
	}
}

static uint64_t done_bytes(const struct queue *queues)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < N_QUEUES; i++)
		n += __atomic_load_n(&queues[i].done_bytes, __ATOMIC_RELAXED);
	return n;
}

static void test_threads_together_keep_the_rate(void **state)
{
	const struct throttle_rates rates = {.write_bytes = 64 * MIB};
	struct queue queues[N_QUEUES];
	struct throttle *t = NULL;
	uint64_t from_ns, done, least = UINT64_MAX;
	bool stop = false;

	assert_int_equal(throttle_new(&t), 0);
	assert_int_equal(throttle_set(t, &rates), 0);
	from_ns = now_ns();
	start(queues, t, &stop);
	sleep_ns(400 * MS);
	done = done_bytes(queues);
	/* What the rate gives, a burst of 20 ms in line and lane, and a request of each queue. */
	assert_in_range(done, 1,
			(now_ns() - from_ns + 40 * MS) * 64 * MIB / 1000000000 +
				N_QUEUES * (65536 + 4096));
	for (unsigned i = 0; i < N_QUEUES; i++)
		least = MIN(least, __atomic_load_n(&queues[i].n_done, __ATOMIC_RELAXED));
	assert_true(least > 0);
	stop_all(queues, &stop);
	throttle_free(t);
}

static void test_limits_change_under_threads(void **state)
{
	const struct throttle_rates slow = {.write_bytes = 1, .write_iops = 1};
	const struct throttle_rates fast = {.write_bytes = 1ULL << 30, .write_iops = 1000000};
	const struct throttle_rates none = {0};
	struct queue queues[N_QUEUES];
	struct throttle *t = NULL;
	bool stop = false;

	assert_int_equal(throttle_new(&t), 0);
	start(queues, t, &stop);
	for (unsigned i = 0; i < 60; i++) {
		const struct throttle_rates *rates[] = {&slow, &fast, &none};
		uint64_t before;

		assert_int_equal(throttle_set(t, rates[i % 3]), 0);
		sleep_ns(MS);
		if (i % 3 == 0)
			continue;
		/* What was slow has no part in it any more. */
		before = done_bytes(queues);
		for (unsigned j = 0; j < 5000 && done_bytes(queues) == before; j++)
			sleep_ns(MS);
		assert_true(done_bytes(queues) > before);
	}
	stop_all(queues, &stop);
	throttle_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_together_keep_the_rate),
		cmocka_unit_test(test_limits_change_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
