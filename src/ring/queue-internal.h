/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by the files of queues and workers: what a queue is made of. */
#include "ring/event.h"
#include "ring/queue.h"
#include "ring/throttle.h"
#include "ring/worker-internal.h"
#include "state/stats.h"

/* The char device, and what the backend registers. */
#define QUEUE_N_FILES 8

/* Answers and requests of a queue in batches: batch.c. */
struct batch {
	unsigned flags; /* BATCH_*; without any, elements have no buffer */
	unsigned elem_bytes;
	uint8_t *elems; /* of n_elems, used in turn */
	unsigned n_elems;
	unsigned first; /* of those that are not sent yet */
	unsigned n_unsent;
	unsigned n_cmds;    /* PREP and COMMIT that are under way */
	unsigned cmd_bytes; /* of elements, that they have to take */
	unsigned n_inline;  /* of the commands, that the worker does not wake up for */
	struct io_uring_buf_ring *bufs;
	unsigned n_bufs;
	uint16_t buf_group; /* 0: none */
	uint16_t *tags;     /* what the buffers hold: BATCH_TAGS each */
	bool aborted;       /* no more requests will come */
};

struct queue {
	struct queue_config config;
	struct worker *worker;
	bool own_worker;
	bool joined;        /* queue_start() has succeeded */
	struct queue *next; /* of the worker */
	struct queue *next_unsent;
	bool unsent; /* in the worker's list */
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
	struct batch *batch; /* NULL: one command for each answer */
	bool copies;         /* the kernel copies data from and to io->buf */
	bool fixed;          /* and here it registers a request's pages */
	bool have_fixed;     /* first_buf is ours */
	unsigned first_buf;
	void *backend_ctx;
	bool have_backend_ctx;
	struct queue_event *events;     /* armed ones of the backend */
	bool leaving;                   /* and none of them concerns it any more */
	struct throttle_queue throttle; /* slots in IO_WAITING */
	unsigned turn;
	uint64_t turn_ns; /* of its last turn */
	struct queue *next_at_once;
	unsigned n_at_once; /* answered in the turn they came with, and not timed yet: the sum of */
	unsigned at_once[N_IO_OPS];
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

/* ---- io.c ---- */

/* Asserts that it may. */
void io_go(struct io *io, enum io_state to);

/* ---- batch.c; on the worker's thread ---- */

int batch_init(struct queue *q);
void batch_deinit(struct queue *q);
/* All slots to the kernel. */
void batch_start(struct queue *q);
/* The answer of a slot; batch_send() puts those there are into an SQE. */
void batch_add(struct queue *q, const struct io *io);
void batch_send(struct queue *q);
/* No more requests will come, and no command is under way. */
bool batch_is_over(const struct batch *b);
void batch_on_tags(const struct io_uring_cqe *cqe);
void batch_on_done(const struct io_uring_cqe *cqe);

/* ---- event.c; on the worker's thread ---- */

void queue_on_event(uint64_t user_data, int res);
/* For a queue that is dead: true if nothing comes any more, else the worker looks again when it has. */
bool queue_end_events(struct queue *q);

/* ---- queue.c, for workers and batches; on the worker's thread ---- */

/* Something of it came with this turn. */
void queue_count_turn(struct queue *q);
/* The turn took so long, and so did what was answered within it. */
void queue_time_at_once(struct queue *q, uint64_t ns);
/* The kernel has a request in this slot. */
void queue_request(struct queue *q, struct io *io);
/* Something happened that must not: -errno. */
void queue_break(struct queue *q, int r);

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
