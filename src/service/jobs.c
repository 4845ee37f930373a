/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One mutex guards both lists and the table of threads; nobody does I/O under it but for the write
 * to the eventfd. A thread that goes marks its place in the table, and is joined by whoever wants
 * the place next. Only the main thread makes threads.
 */
#include "service/jobs.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <time.h>

#define JOBS_THREADS_MAX  32
#define JOBS_STACK_BYTES  (512 << 10)
#define JOBS_IDLE_S       5
#define JOBS_HELP_AFTER_S 5

enum jobs_thread_state {
	JOBS_THREAD_NONE,
	JOBS_THREAD_OPENING, /* its control ring */
	JOBS_THREAD_RUNNING,
	JOBS_THREAD_ENDED, /* to be joined */
};

struct jobs_thread {
	struct jobs *pool;
	pthread_t id;
	enum jobs_thread_state state; /* guarded by mutex */
	int result;                   /* of ctrl_open(); guarded by mutex */
};

struct jobs_list {
	struct job *first, **end;
};

struct jobs {
	pthread_mutex_t mutex;
	pthread_cond_t work;    /* something to do, or the end */
	pthread_cond_t changed; /* the state of a thread */
	int event_fd;           /* counts what is in done */
	unsigned n_wanted;

	/* All of it guarded by mutex. */
	struct jobs_list waiting;
	struct jobs_list done;
	struct jobs_thread threads[JOBS_THREADS_MAX];
	unsigned n_threads; /* opening or running */
	unsigned n_idle;
	unsigned n_waiting;
	struct timespec moved; /* when a job was last begun or ended */
	bool ending;
};

static void jobs_list_init(struct jobs_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static void jobs_list_push(struct jobs_list *l, struct job *job)
{
	job->next = NULL;
	*l->end = job;
	l->end = &job->next;
}

static struct job *jobs_list_pop(struct jobs_list *l)
{
	struct job *job = l->first;

	if (!job)
		return NULL;
	l->first = TAKE_PTR(job->next);
	if (!l->first)
		l->end = &l->first;
	return job;
}

/* ---- threads ---- */

/* The next job; NULL: this thread is not needed any more. Called and returns with the mutex held. */
static struct job *jobs_wait(struct jobs *p, const struct jobs_thread *t)
{
	const bool stays = t == &p->threads[0];
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += JOBS_IDLE_S;
	p->n_idle++;
	while (!p->waiting.first && !p->ending && r == 0) {
		if (stays)
			pthread_cond_wait(&p->work, &p->mutex);
		else
			r = pthread_cond_timedwait(&p->work, &p->mutex, &until);
	}
	p->n_idle--;
	if (!p->waiting.first)
		return NULL;
	p->n_waiting--;
	clock_gettime(CLOCK_MONOTONIC, &p->moved);
	return jobs_list_pop(&p->waiting);
}

static void jobs_finish(struct jobs *p, struct job *job)
{
	const uint64_t one = 1;
	ssize_t written;

	clock_gettime(CLOCK_MONOTONIC, &p->moved);
	jobs_list_push(&p->done, job);
	written = write(p->event_fd, &one, sizeof(one));
	assert(written == sizeof(one)); /* it cannot overflow */
	(void)written;
}

static void *jobs_thread_main(void *arg)
{
	struct jobs_thread *t = arg;
	struct jobs *p = t->pool;
	struct ctrl *ctrl = NULL;
	struct job *job;
	int r;

	r = ctrl_open(&ctrl);
	pthread_mutex_lock(&p->mutex);
	t->result = r;
	t->state = JOBS_THREAD_RUNNING;
	pthread_cond_broadcast(&p->changed);
	while (r == 0 && (job = jobs_wait(p, t))) {
		pthread_mutex_unlock(&p->mutex);
		job->run(job, ctrl);
		pthread_mutex_lock(&p->mutex);
		jobs_finish(p, job);
	}
	p->n_threads--;
	pthread_mutex_unlock(&p->mutex);

	ctrl_close(ctrl);

	pthread_mutex_lock(&p->mutex);
	t->state = JOBS_THREAD_ENDED;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

static void jobs_join(struct jobs_thread *t)
{
	pthread_join(t->id, NULL); /* it has nothing to do any more but to return */
	t->state = JOBS_THREAD_NONE;
}

/* With the mutex held. */
static int jobs_start_thread(struct jobs *p, struct jobs_thread **ret)
{
	struct jobs_thread *t = NULL;
	pthread_attr_t attr;
	int r;

	for (size_t i = 0; i < JOBS_THREADS_MAX && !t; i++) {
		if (p->threads[i].state == JOBS_THREAD_ENDED)
			jobs_join(&p->threads[i]);
		if (p->threads[i].state == JOBS_THREAD_NONE)
			t = &p->threads[i];
	}
	if (!t)
		return -EAGAIN;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, JOBS_STACK_BYTES);
	t->pool = p;
	t->state = JOBS_THREAD_OPENING;
	r = -pthread_create(&t->id, &attr, jobs_thread_main, t);
	pthread_attr_destroy(&attr);
	if (r < 0) {
		t->state = JOBS_THREAD_NONE;
		return r;
	}
	pthread_setname_np(t->id, "ublkd-job");
	p->n_threads++;
	*ret = t;
	return 0;
}

/* ---- pool ---- */

static void jobs_init(struct jobs *p, unsigned n_threads)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&p->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&p->changed, NULL);
	jobs_list_init(&p->waiting);
	jobs_list_init(&p->done);
	p->n_wanted = MAX(1U, MIN(n_threads, (unsigned)JOBS_THREADS_MAX));
}

int jobs_new(unsigned n_threads, struct jobs **ret)
{
	AUTO(jobs_free) struct jobs *p = NULL;
	AUTO_CLOSE int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	struct jobs_thread *first;
	int r;

	if (event_fd < 0)
		return -errno;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	jobs_init(p, n_threads);
	p->event_fd = TAKE_FD(event_fd);
	pthread_mutex_lock(&p->mutex);
	r = jobs_start_thread(p, &first);
	while (r == 0 && first->state == JOBS_THREAD_OPENING)
		pthread_cond_wait(&p->changed, &p->mutex);
	if (r == 0)
		r = first->result;
	pthread_mutex_unlock(&p->mutex);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

struct jobs *jobs_free(struct jobs *p)
{
	if (!p)
		return NULL;
	pthread_mutex_lock(&p->mutex);
	p->ending = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->mutex);
	/* All are in the table, and nobody but this thread adds to it. */
	for (size_t i = 0; i < JOBS_THREADS_MAX; i++) {
		bool is_there;

		pthread_mutex_lock(&p->mutex);
		is_there = p->threads[i].state != JOBS_THREAD_NONE;
		pthread_mutex_unlock(&p->mutex);
		if (is_there)
			jobs_join(&p->threads[i]);
	}
	pthread_cond_destroy(&p->changed);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->mutex);
	close(p->event_fd);
	free(p);
	return NULL;
}

void jobs_add(struct jobs *p, struct job *job)
{
	struct jobs_thread *more;

	pthread_mutex_lock(&p->mutex);
	if (p->n_waiting == 0)
		clock_gettime(CLOCK_MONOTONIC, &p->moved);
	jobs_list_push(&p->waiting, job);
	p->n_waiting++;
	/* Without another one the first will do it, if later. */
	if (p->n_waiting > p->n_idle && p->n_threads < p->n_wanted)
		(void)jobs_start_thread(p, &more);
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->mutex);
}

int jobs_get_fd(const struct jobs *p)
{
	return p->event_fd;
}

struct job *jobs_take(struct jobs *p)
{
	struct job *job;
	uint64_t one;

	pthread_mutex_lock(&p->mutex);
	job = jobs_list_pop(&p->done);
	if (job && read(p->event_fd, &one, sizeof(one)) != sizeof(one))
		assert(!"as many are counted as are in the list");
	pthread_mutex_unlock(&p->mutex);
	return job;
}

void jobs_help(struct jobs *p)
{
	struct jobs_thread *more;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&p->mutex);
	if (p->n_waiting > 0 && p->n_idle == 0 && now.tv_sec - p->moved.tv_sec >= JOBS_HELP_AFTER_S)
		(void)jobs_start_thread(p, &more);
	pthread_mutex_unlock(&p->mutex);
}

unsigned jobs_count_threads(struct jobs *p)
{
	unsigned n;

	pthread_mutex_lock(&p->mutex);
	n = p->n_threads;
	pthread_mutex_unlock(&p->mutex);
	return n;
}
