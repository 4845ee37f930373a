/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pool of the manager, with control rings that count only (ctrl_open(), ctrl_close()). */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "service/jobs.h"
#include "util/cleanup.h"

#define MANY 1000

static struct {
	pthread_mutex_t mutex;
	unsigned n_open;    /* guarded by mutex */
	unsigned n_opened;  /* guarded by mutex */
	unsigned fail_from; /* the so-manieth and later fail; 0: none */
} rings = {.mutex = PTHREAD_MUTEX_INITIALIZER};

struct ctrl {
	pthread_t opener;
	bool busy;
};

int ctrl_open(struct ctrl **ret)
{
	struct ctrl *c;
	bool fails;

	pthread_mutex_lock(&rings.mutex);
	fails = ++rings.n_opened >= rings.fail_from && rings.fail_from > 0;
	rings.n_open += !fails;
	pthread_mutex_unlock(&rings.mutex);
	if (fails)
		return -ENFILE;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->opener = pthread_self();
	*ret = c;
	return 0;
}

struct ctrl *ctrl_close(struct ctrl *c)
{
	if (!c)
		return NULL;
	pthread_mutex_lock(&rings.mutex);
	rings.n_open--;
	pthread_mutex_unlock(&rings.mutex);
	free(c);
	return NULL;
}

/* Only for who asks what time it is: waits are by the real clock. */
static time_t clock_ahead_s;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = __real_clock_gettime(id, ts);

	ts->tv_sec += __atomic_load_n(&clock_ahead_s, __ATOMIC_RELAXED);
	return r;
}

struct work {
	struct job job;
	unsigned n_runs;
	bool foreign_ring; /* one that another thread opened, or uses */
	sem_t *gate;       /* to be waited for */
};

static void work_run(struct job *job, struct ctrl *ctrl)
{
	struct work *w = (struct work *)job;

	w->foreign_ring |= ctrl->busy || !pthread_equal(ctrl->opener, pthread_self());
	ctrl->busy = true;
	if (w->gate)
		sem_wait(w->gate);
	w->n_runs++;
	ctrl->busy = false;
}

static int setup(void **state)
{
	rings.n_open = rings.n_opened = rings.fail_from = 0;
	clock_ahead_s = 0;
	return 0;
}

static bool is_readable(const struct jobs *p, int timeout_ms)
{
	struct pollfd fd = {.fd = jobs_get_fd(p), .events = POLLIN};

	return poll(&fd, 1, timeout_ms) == 1;
}

static struct work *take(struct jobs *p)
{
	struct job *job;

	assert_true(is_readable(p, 10000));
	job = jobs_take(p);
	assert_non_null(job);
	return (struct work *)job;
}

static void test_each_job_runs_once(void **state)
{
	static struct work works[MANY];
	AUTO(jobs_free) struct jobs *p = NULL;

	assert_int_equal(jobs_new(4, &p), 0);
	assert_false(is_readable(p, 0));
	assert_null(jobs_take(p));
	for (size_t i = 0; i < MANY; i++) {
		works[i] = (struct work){.job = {.run = work_run}};
		jobs_add(p, &works[i].job);
	}
	for (size_t i = 0; i < MANY; i++)
		(void)take(p);
	assert_null(jobs_take(p));
	assert_false(is_readable(p, 0));
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(works[i].n_runs, 1);
		assert_false(works[i].foreign_ring);
	}
	p = jobs_free(p);
	assert_in_range(rings.n_opened, 1, 4);
	assert_int_equal(rings.n_open, 0);
}

/* Also by who ran before, so that a ring is used again. */
static void test_one_thread_keeps_the_order(void **state)
{
	struct work works[8] = {0};
	AUTO(jobs_free) struct jobs *p = NULL;

	assert_int_equal(jobs_new(1, &p), 0);
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
			works[i].job.run = work_run;
			jobs_add(p, &works[i].job);
		}
		for (size_t i = 0; i < ARRAY_SIZE(works); i++)
			assert_ptr_equal(take(p), &works[i]);
	}
	assert_int_equal(rings.n_opened, 1);
}

static void test_no_ring_no_pool(void **state)
{
	struct jobs *p = NULL;

	rings.fail_from = 1;
	assert_int_equal(jobs_new(4, &p), -ENFILE);
	assert_null(p);
}

static void test_the_first_thread_does_it_alone(void **state)
{
	struct work works[8] = {0};
	AUTO(jobs_free) struct jobs *p = NULL;

	rings.fail_from = 2;
	assert_int_equal(jobs_new(4, &p), 0);
	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		works[i].job.run = work_run;
		jobs_add(p, &works[i].job);
	}
	for (size_t i = 0; i < ARRAY_SIZE(works); i++)
		(void)take(p);
}

/* All threads hang: no more than wanted are made at once, one more comes with time. */
static void test_jobs_that_hang_get_company(void **state)
{
	struct work stuck[2] = {0}, other = {.job = {.run = work_run}};
	AUTO(jobs_free) struct jobs *p = NULL;
	sem_t gate;

	sem_init(&gate, 0, 0);
	assert_int_equal(jobs_new(2, &p), 0);
	for (size_t i = 0; i < ARRAY_SIZE(stuck); i++) {
		stuck[i] = (struct work){.job = {.run = work_run}, .gate = &gate};
		jobs_add(p, &stuck[i].job);
	}
	jobs_add(p, &other.job);
	jobs_help(p);
	assert_false(is_readable(p, 100));
	assert_int_equal(jobs_count_threads(p), 2);
	clock_ahead_s = 3;
	jobs_help(p);
	assert_false(is_readable(p, 100));
	clock_ahead_s = 7;
	jobs_help(p);
	assert_ptr_equal(take(p), &other);
	sem_post(&gate);
	sem_post(&gate);
	(void)take(p);
	(void)take(p);
	p = jobs_free(p);
	assert_int_equal(rings.n_open, 0);
	sem_destroy(&gate);
}

static void test_the_end_waits_for_what_was_asked_for(void **state)
{
	struct work works[16] = {0};
	struct jobs *p = NULL;

	assert_int_equal(jobs_new(2, &p), 0);
	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		works[i].job.run = work_run;
		jobs_add(p, &works[i].job);
	}
	assert_null(jobs_free(p));
	assert_null(jobs_free(NULL));
	for (size_t i = 0; i < ARRAY_SIZE(works); i++)
		assert_int_equal(works[i].n_runs, 1);
	assert_int_equal(rings.n_open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_each_job_runs_once, setup),
		cmocka_unit_test_setup(test_one_thread_keeps_the_order, setup),
		cmocka_unit_test_setup(test_no_ring_no_pool, setup),
		cmocka_unit_test_setup(test_the_first_thread_does_it_alone, setup),
		cmocka_unit_test_setup(test_jobs_that_hang_get_company, setup),
		cmocka_unit_test_setup(test_the_end_waits_for_what_was_asked_for, setup),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
