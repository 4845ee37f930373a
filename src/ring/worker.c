/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loop: one system call sends what was queued and waits for what comes, then each completion
 * goes to the queue it belongs to. What others want of the thread (jobs) and what they changed
 * (flags of queues) it looks at when it was woken up, never otherwise.
 *
 * With DEFER_TASKRUN, requests are delivered only within a call that reaps. So after the last
 * answers were submitted without reaping, nothing can come that would go down with the ring: that is
 * how queues are drained. All queues of a ring therefore end together then.
 */
#include "ring/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "ring/queue-internal.h"
#include "ring/ring.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define WORKER_STACK_BYTES (256 << 10)

/*
 * Of a worker in a set, for the queues of many devices. Without registered files: Linux 6.12 lets
 * go of one only when every command that was there before has ended, also those of other devices,
 * so that a device that was stopped would stay open, and its image locked, for as long as another
 * one is idle. Seen: 24 devices stopped in 27 s, in 1.3 s without.
 */
#define WORKERS_N_SQES 2048
#define WORKERS_N_CQES 16384
#define WORKERS_N_BUFS 16384 /* what a ring can have */

/* An eventfd takes this without blocking until 2^64 - 1 have come together. */
void worker_wake(struct worker *w)
{
	uint64_t one = 1;

	while (write(w->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

struct io_uring_sqe *worker_sqe(struct worker *w)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

	while (!sqe) { /* a shared ring is smaller than the sum of its slots */
		(void)ring_enter(&w->ring, &w->enter, 0, NULL);
		sqe = io_uring_get_sqe(&w->ring);
	}
	return sqe;
}

void worker_flush(struct worker *w)
{
	while (w->unsent) {
		struct queue *q = w->unsent;

		w->unsent = q->next_unsent;
		q->unsent = false;
		batch_send(q);
	}
}

int worker_submit(struct worker *w)
{
	int r;

	worker_flush(w);
	r = ring_enter(&w->ring, &w->enter, 0, NULL);
	return r == -EAGAIN || r == -EBUSY || r == -EINTR ? 0 : MIN(r, 0);
}

static void worker_arm_wake(struct worker *w)
{
	struct io_uring_sqe *sqe = worker_sqe(w);

	io_uring_prep_read(sqe, w->wake_fd, &w->wake_value, sizeof(w->wake_value), 0);
	sqe->user_data = IO_SOURCE_WAKE;
}

static void worker_run_jobs(struct worker *w)
{
	struct worker_job *job, *next;

	pthread_mutex_lock(&w->lock);
	job = TAKE_PTR(w->jobs);
	pthread_mutex_unlock(&w->lock);
	for (; job; job = next) {
		next = job->next;
		job->r = w->ended ? -ESHUTDOWN : job->fn(w, job->arg);
		sem_post(&job->done); /* the job is its owner's from here on */
	}
}

static void worker_on_wake(struct worker *w)
{
	uint32_t asked = __atomic_load_n(&w->asked, __ATOMIC_ACQUIRE);

	worker_arm_wake(w);
	if (asked != w->beat) {
		w->beat = asked;
		for (struct queue *q = w->queues; q; q = q->next)
			queue_look_for_slow(q);
		__atomic_store_n(&w->answered, asked, __ATOMIC_RELEASE);
	}
	worker_run_jobs(w);
	w->look = true;
}

/* Of those that were drained, none may go before all of them can. */
static bool worker_is_drained(const struct worker *w)
{
	for (const struct queue *q = w->queues; q; q = q->next) {
		if (!queue_is_quiet(q))
			return false;
	}
	return w->queues;
}

/* True: the ring must not be used any more. */
static bool worker_look(struct worker *w)
{
	struct queue *q, *next;

	w->look = false;
	for (q = w->queues; q; q = next) {
		next = q->next;
		queue_look_at_flags(q);
		if (queue_is_dead(q)) {
			if (queue_end_events(q))
				queue_leave(q, 0);
		} else if (queue_ends_with_ring(q)) {
			return true;
		}
	}
	if (!worker_is_drained(w))
		return false;
	for (q = w->queues; q; q = q->next)
		queue_answer_all(q);
	(void)worker_submit(w);
	return true;
}

void worker_settle(struct worker *w)
{
	const uint64_t ns = clock_now_ns() - w->now_ns;

	for (struct queue *q = TAKE_PTR(w->at_once), *next; q; q = next) {
		next = TAKE_PTR(q->next_at_once);
		queue_time_at_once(q, ns);
	}
}

static void worker_on_cqe(struct worker *w, const struct io_uring_cqe *cqe)
{
	switch ((enum io_source)(cqe->user_data & IO_SOURCE_MASK)) {
	case IO_SOURCE_KERNEL:
	case IO_SOURCE_BACKEND:
		queue_on_cqe(cqe->user_data, cqe->res);
		break;
	case IO_SOURCE_BATCH:
		batch_on_tags(cqe);
		break;
	case IO_SOURCE_BATCH_DONE:
		batch_on_done(cqe);
		break;
	case IO_SOURCE_WAKE:
		worker_on_wake(w);
		break;
	case IO_SOURCE_IDLE:
		worker_on_idle_timer(w);
		break;
	case IO_SOURCE_EVENT:
		queue_on_event(cqe->user_data, cqe->res);
		break;
	case IO_SOURCE_NONE:
		break;
	}
}

static void worker_run(struct worker *w)
{
	while (w->queues || !__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		int r;

		/* Sends answers and backend I/O, and waits for what comes next, in one call. */
		r = worker_wait(w);
		if (r < 0) {
			w->result = r;
			return;
		}
		w->turn++;
		w->now_ns = clock_now_ns();
		io_uring_for_each_cqe(&w->ring, head, cqe)
		{
			worker_on_cqe(w, cqe);
			n++;
		}
		io_uring_cq_advance(&w->ring, n);
		if (w->at_once)
			worker_settle(w);
		if (w->look && worker_look(w))
			return;
	}
}

/*
 * The ring stays open until the thread is gone. Linux 6.12 hands requests that come while the ring
 * is being closed to the thread if it still lives, which then delivers them to nobody, behind the
 * back of whoever aborts what the server has: the device never becomes quiesced, and the kernel
 * holds its mutex for good. A thread that is exiting gives them back.
 */
static void worker_teardown(struct worker *w)
{
	/* The kernel takes a ring apart when it finds the time, files and the claims on them last.
	 * With commands in flight it would wait for them here, so those must be gone. */
	if (w->have_files && !w->queues)
		(void)io_uring_unregister_files(&w->ring);
	w->have_files = false;
	while (w->queues)
		queue_leave(w->queues, w->result);
	pthread_mutex_lock(&w->lock);
	w->ended = true; /* who comes now is sent away */
	pthread_mutex_unlock(&w->lock);
	worker_run_jobs(w);
}

struct worker_start {
	const struct worker_config *config;
	struct worker *worker;
	sem_t started;
	int r;
};

static int worker_setup(struct worker *w, const struct worker_config *c)
{
	int r;

	prctl(PR_SET_NAME, c->name, 0, 0, 0);
	w->tid = gettid();
	/* Before any memory is touched, so that it comes from the right node. A CPU set that the
	 * service may not use at all is no reason to fail. */
	if (c->cpus)
		(void)sched_setaffinity(0, sizeof(*c->cpus), c->cpus);
	/* Memory that we need must not wait for write-back to our own device. Inherited from the
	 * main thread where that was allowed to; not fatal by hand without CAP_SYS_RESOURCE. */
	(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	w->spin_ns = c->spin_ns;
	r = ring_init_queue(&w->ring, c->n_sqes, c->n_cqes, c->spin_ns > 0, &w->enter);
	if (r < 0)
		return r;
	w->have_ring = true;
	/* Without one it waits as usual. */
	if (w->enter.counts_as_io)
		w->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* plain descriptors work too */
	w->have_files = w->n_files > 0 && io_uring_register_files_sparse(&w->ring, w->n_files) == 0;
	worker_arm_wake(w);
	return 0;
}

static void *worker_thread(void *arg)
{
	struct worker_start *start = arg;
	struct worker *w = start->worker;

	start->r = w->result = worker_setup(w, start->config);
	sem_post(&start->started); /* gone from here on */
	if (w->result == 0)
		worker_run(w);
	worker_teardown(w);
	return NULL;
}

static struct worker *worker_free(struct worker *w)
{
	if (!w)
		return NULL;
	if (w->have_ring)
		io_uring_queue_exit(&w->ring); /* its thread has ended */
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	if (w->idle_fd >= 0)
		close(w->idle_fd);
	pthread_mutex_destroy(&w->lock);
	free(w->file_used);
	free(w->buf_used);
	free(w);
	return NULL;
}
DEFINE_AUTO(struct worker *, worker_free);

int worker_start(const struct worker_config *config, struct worker **ret)
{
	AUTO(worker_free) struct worker *w = calloc(1, sizeof(*w));
	struct worker_start start = {.config = config, .worker = w};
	pthread_attr_t attr;
	int r;

	if (!w)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	w->n_files = config->n_files;
	w->n_bufs = config->n_bufs;
	w->file_used = calloc(1, MAX(config->n_files, 1U));
	w->wake_fd = eventfd(0, EFD_CLOEXEC);
	w->idle_fd = -1;
	if (!w->file_used)
		return -ENOMEM;
	if (w->wake_fd < 0)
		return -errno;
	sem_init(&start.started, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
	r = -pthread_create(&w->thread, &attr, worker_thread, &start);
	pthread_attr_destroy(&attr);
	if (r == 0) {
		while (sem_wait(&start.started) < 0)
			;
		r = start.r;
		if (r < 0)
			pthread_join(w->thread, NULL);
	}
	sem_destroy(&start.started);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct worker *worker_stop(struct worker *w)
{
	if (!w)
		return NULL;
	__atomic_store_n(&w->stop, 1, __ATOMIC_RELEASE);
	worker_wake(w);
	pthread_join(w->thread, NULL);
	return worker_free(w);
}

int worker_call(struct worker *w, int (*fn)(struct worker *w, void *arg), void *arg)
{
	struct worker_job job = {.fn = fn, .arg = arg}, **end;
	bool ended;

	sem_init(&job.done, 0, 0);
	pthread_mutex_lock(&w->lock);
	ended = w->ended;
	for (end = &w->jobs; *end; end = &(*end)->next)
		;
	if (!ended)
		*end = &job;
	pthread_mutex_unlock(&w->lock);
	if (ended)
		return -ESHUTDOWN;
	worker_wake(w);
	while (sem_wait(&job.done) < 0)
		;
	sem_destroy(&job.done);
	return job.r;
}

bool worker_beat(struct worker *w)
{
	uint32_t asked = __atomic_load_n(&w->asked, __ATOMIC_RELAXED);
	bool answered = __atomic_load_n(&w->answered, __ATOMIC_ACQUIRE) == asked;

	if (answered)
		__atomic_store_n(&w->asked, asked + 1, __ATOMIC_RELEASE);
	worker_wake(w);
	return answered;
}

/* ---- sets ---- */

struct workers {
	unsigned n;
	struct worker *workers[];
};

int workers_new(unsigned n, struct workers **ret)
{
	AUTO(workers_free)
	struct workers *set = calloc(1, sizeof(*set) + n * sizeof(set->workers[0]));

	if (!set)
		return -ENOMEM;
	for (; set->n < n; set->n++) {
		struct worker_config config = {
			.n_sqes = WORKERS_N_SQES,
			.n_cqes = WORKERS_N_CQES,
			.n_bufs = WORKERS_N_BUFS,
		};
		int r;

		snprintf(config.name, sizeof(config.name), "ublkd-w%u", set->n);
		r = worker_start(&config, &set->workers[set->n]);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(set);
	return 0;
}

struct workers *workers_free(struct workers *set)
{
	if (!set)
		return NULL;
	for (unsigned i = 0; i < set->n; i++)
		worker_stop(set->workers[i]);
	free(set);
	return NULL;
}

struct worker *workers_pick(struct workers *set)
{
	struct worker *best = set->workers[0];

	for (unsigned i = 1; i < set->n; i++) {
		if (__atomic_load_n(&set->workers[i]->n_queues, __ATOMIC_RELAXED) <
		    __atomic_load_n(&best->n_queues, __ATOMIC_RELAXED))
			best = set->workers[i];
	}
	return best;
}

bool workers_beat(struct workers *set)
{
	bool all = true;

	for (unsigned i = 0; i < set->n; i++)
		all &= worker_beat(set->workers[i]);
	return all;
}
