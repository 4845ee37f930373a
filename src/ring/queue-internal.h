/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by io.c, queue.c and worker.c: what queues and workers are made of. */
#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "ring/queue.h"
#include "ring/throttle.h"
#include "ring/worker.h"

/* The char device, and what the backend registers. */
#define QUEUE_N_FILES 8

/* Stands in user_data beside a pointer to the slot, whose alignment leaves these bits free. */
#define IO_SOURCE_MASK 7ULL

enum io_source {
	IO_SOURCE_KERNEL,  /* FETCH or COMMIT of a slot */
	IO_SOURCE_BACKEND, /* an SQE of the backend for a slot */
	IO_SOURCE_WAKE,    /* the worker's own wake-up descriptor */
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
	bool have_ring;
	bool have_files;
	unsigned n_files;
	uint8_t *file_used; /* of n_files */
	struct queue *queues;
	unsigned n_queues; /* atomic: also read by workers_pick() */
	unsigned turn;
	bool look;      /* a queue may have come to its end */
	bool throttled; /* a queue has requests that wait for their time */
	uint64_t wake_value;
	uint32_t beat; /* of the last wake-up; slots note it when they go to the backend */

	/* shared */
	int wake_fd;
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

struct queue {
	struct queue_config config;
	struct worker *worker;
	bool own_worker;
	bool joined;        /* queue_start() has succeeded */
	struct queue *next; /* of the worker */
	enum queue_state state;
	unsigned cmd_flags; /* IO_CMD_* for our commands */
	int dev_file;       /* descriptor or index, as the flags say */
	unsigned files[QUEUE_N_FILES];
	unsigned n_files;
	void *descs; /* the kernel's descriptors, read-only */
	size_t descs_bytes;
	void *bufs; /* depth buffers; pages are taken when first written */
	size_t bufs_bytes;
	struct io *ios;
	void *backend_ctx;
	bool have_backend_ctx;
	struct throttle_queue throttle; /* slots in IO_WAITING */
	unsigned turn;
	unsigned n_dead;       /* slots in IO_DEAD */
	unsigned n_at_backend; /* slots in IO_AT_BACKEND */

	/* shared with the controlling thread */
	int stop;  /* atomic */
	int drain; /* atomic */
	int ended; /* atomic, release: result is valid */
	int gone;  /* atomic, release: the worker's thread touches it no more */
	int result;
	int broken;                 /* atomic: -errno of a command that must not fail */
	int failed;                 /* atomic: a request has failed since queue_take_failed() */
	uint32_t slow_beats;        /* atomic; 0: nobody asks */
	uint32_t slow_n;            /* atomic */
	uint32_t slow_op;           /* atomic */
	uint64_t slow_offset_bytes; /* atomic */
};

static inline uint64_t queue_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static inline uint64_t io_user_data(enum io_source source, const struct io *io)
{
	return (uint64_t)(uintptr_t)io | source;
}

/* ---- io.c ---- */

/* Asserts that it may. */
void io_go(struct io *io, enum io_state to);

/* ---- worker.c, for queues; on the worker's thread ---- */

/* Never fails: a full ring is submitted first. */
struct io_uring_sqe *worker_sqe(struct worker *w);
/* Index of a registered file, or -errno: use the descriptor. */
int worker_register_file(struct worker *w, int fd);
void worker_unregister_file(struct worker *w, unsigned index);
void worker_wake(struct worker *w); /* any thread */

/* ---- queue.c, for workers; on the worker's thread ---- */

void queue_on_cqe(uint64_t user_data, int res);
/* Go on with what waited for its time. Nanoseconds until there is more; UINT64_MAX: nothing waits. */
uint64_t queue_release(struct queue *q, uint64_t now_ns);
/* What the controlling thread wants of it now. */
void queue_look_at_flags(struct queue *q);
/* All slots have come back for good. */
bool queue_is_dead(const struct queue *q);
/* Only commands are left, which leaving the ring cancels. */
bool queue_ends_with_ring(const struct queue *q);
/* Draining, and nothing but the answers is left to do. */
bool queue_is_quiet(const struct queue *q);
/* Give the answers that were kept. Nothing may be reaped from here on. */
void queue_answer_all(struct queue *q);
/* Out of the worker's list, with all that its thread has. Nothing of it is with the ring any more. */
void queue_leave(struct queue *q, int r);
void queue_look_for_slow(struct queue *q);

/* ---- for io.c ---- */

/* A request has failed: tell the controlling thread, which reports it when it sees fit. */
void queue_note_failure(struct queue *q);
/* The answer of a slot, with the next turn's system call, or kept while draining. */
void queue_answer(struct io *io, int32_t result);
