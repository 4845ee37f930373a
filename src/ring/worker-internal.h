/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by the files of queues and workers: what a worker is made of. */
#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "ring/ring.h"
#include "ring/worker.h"

struct queue;

/* Stands in user_data beside a pointer to the slot, the queue or the event, whose alignment leaves these bits
 * free. */
#define IO_SOURCE_MASK 7ULL

enum io_source {
	IO_SOURCE_KERNEL,     /* FETCH or COMMIT of a slot */
	IO_SOURCE_BACKEND,    /* an SQE of the backend for a slot */
	IO_SOURCE_BATCH,      /* tags of a queue */
	IO_SOURCE_BATCH_DONE, /* PREP or COMMIT of many tags of a queue */
	IO_SOURCE_WAKE,       /* the worker's own wake-up descriptor */
	IO_SOURCE_IDLE,       /* and its timer */
	IO_SOURCE_EVENT,      /* what a backend waits for: ring/event.h */
	IO_SOURCE_NONE,       /* nobody's: of a command that is not waited for */
};

/* What is to be done on a worker's thread; on the caller's stack. */
struct worker_job {
	int (*fn)(struct worker *w, void *arg);
	void *arg;
	int r;
	sem_t done;
	struct worker_job *next;
};

struct worker {
	struct io_uring ring;
	struct ring_enter enter;
	bool have_ring;
	bool have_files;
	unsigned n_files;
	uint8_t *file_used; /* of n_files */
	unsigned n_bufs;
	uint8_t *buf_used; /* NULL: the ring has no such table yet */
	uint16_t last_buf_group;
	struct queue *unsent; /* those with answers that are in no SQE yet */
	unsigned
		n_inline; /* commands that end within the call that sends them, and were not reaped */
	struct queue *queues;
	unsigned n_queues; /* atomic: also read by workers_pick() */
	unsigned turn;
	uint64_t now_ns;       /* CLOCK_MONOTONIC at the beginning of the turn */
	struct queue *at_once; /* those that have answered what came in this turn */
	bool look;             /* a queue may have come to its end */
	bool throttled;        /* a queue has requests that wait for their time */
	bool busy;             /* something has come since the idle timer was set */
	bool quiet;            /* nothing came until it went off */
	bool idle_armed;
	bool idle_fd_is_set; /* registered with the ring */
	struct __kernel_timespec idle_timer;
	uint64_t spin_ns;
	unsigned spin_skips;
	unsigned spin_penalty;
	uint64_t wake_value;
	uint32_t beat; /* of the last wake-up; slots note it when they go to the backend */

	/* shared */
	int wake_fd;
	int idle_fd;       /* the worker's own; -1: not needed */
	int stop;          /* atomic */
	uint32_t asked;    /* atomic: beats */
	uint32_t answered; /* atomic */
	int result;        /* of the thread; valid when it has ended */
	pthread_mutex_t lock;
	struct worker_job *jobs; /* guarded by lock; taken only when there was a wake-up */
	bool ended;              /* guarded by lock where the thread may still run */
	pid_t tid;
	pthread_t thread;
};

/* @p: the slot, the queue, or the event. */
static inline uint64_t io_user_data(enum io_source source, const void *p)
{
	return (uint64_t)(uintptr_t)p | source;
}

static inline void *io_user_pointer(uint64_t user_data)
{
	return (void *)(uintptr_t)(user_data & ~IO_SOURCE_MASK);
}

/* ---- worker.c, for queues; on the worker's thread ---- */

/* Never fails: a full ring is submitted first. */
struct io_uring_sqe *worker_sqe(struct worker *w);
/* Everything that was queued, without waiting. 0, or a ring error. */
int worker_submit(struct worker *w);
/* Answers that are not in an SQE yet get one. */
void worker_flush(struct worker *w);
void worker_wake(struct worker *w); /* any thread */

/* The turn has come to its end, for the times of those in w->at_once. */
void worker_settle(struct worker *w);

/* ---- worker-tables.c; on the worker's thread ---- */

/* Index of a registered file, or -errno: use the descriptor. */
int worker_register_file(struct worker *w, int fd);
void worker_unregister_file(struct worker *w, unsigned index);
/* Slots for pages of requests, side by side. -ENOSPC: others have them. */
int worker_take_bufs(struct worker *w, unsigned n, unsigned *ret_first);
void worker_return_bufs(struct worker *w, unsigned first, unsigned n);

/* ---- worker-wait.c ---- */

/* One turn: send, and wait for something. 0, or an error that ends the worker. */
int worker_wait(struct worker *w);
void worker_on_idle_timer(struct worker *w);
