/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * One queue of a device on a worker: its slots, its descriptors, its buffers. The worker's thread
 * does nothing but: reap what came in, hand requests to the backend, give answers to the kernel; one
 * system call per turn. It does not allocate, lock or log once the queue runs.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/params.h"
#include "ring/io.h"

struct stats_queue;
struct throttle;
struct worker;

struct queue_config {
	struct worker *worker; /* outlives the queue; NULL: the queue has one of its own */
	int dev_fd;            /* char device, stays the caller's */
	uint16_t id;
	uint16_t depth;
	uint32_t desc_size_bytes;    /* stride of the descriptors */
	bool legacy;                 /* as ctrl_is_legacy() */
	uint64_t features;           /* FEATURE_* that the device was made with */
	uint64_t spin_ns;            /* for a worker of its own: see there */
	const struct limits *limits; /* what requests are checked against; size_bytes may grow */
	const struct io_ops *ops;    /* of the backend */
	struct backend *backend;
	struct throttle *throttle; /* of the device; NULL: no limits, for ever */
	struct stats_queue *stats; /* the thread is its only writer */
	const cpu_set_t *cpus;     /* for a worker of its own; NULL: anywhere */
	int event_fd;              /* eventfd that is written when the queue has ended */
};

/*
 * What a queue is about to do.
 *
 *	SERVING		until the kernel has taken all slots away, or it is told to stop or drain
 *	STOPPING	until the backend has given back what it has
 *	DRAINING	answers are kept, so no slot gets a new request; what there is is completed
 *	DRAINED		the answers were given and nothing was reaped since: for a successor
 *	ENDED		final; the worker has forgotten it
 */
enum queue_state {
	QUEUE_SERVING,
	QUEUE_STOPPING,
	QUEUE_DRAINING,
	QUEUE_DRAINED,
	QUEUE_ENDED,
	N_QUEUE_STATES,
};

bool queue_may_go(enum queue_state from, enum queue_state to);

/**
 * queue_start() - all slots are with the kernel on return
 * @config:	copied, but what it points to must outlive the queue
 *
 * Silent. Return: 0; -errno of what failed on the thread: ring, mapping, buffers, the backend's
 * queue_init(), or FETCH.
 */
int queue_start(const struct queue_config *config, struct queue **ret);

/* True if it has ended, with its result: 0 when all slots came back or were drained, else -errno. */
bool queue_has_ended(const struct queue *q, int *ret_r);

/* Has a request failed since the last call? The event_fd is written again only after this call. */
bool queue_take_failed(struct queue *q);

/**
 * queue_drain() - finish what there is and take nothing new, for a successor
 *
 * Does not wait. The queue ends when all queues of its worker have been drained or have ended, since
 * the ring must not be looked at between the last answer and its end. Users of the device wait from
 * here until a successor takes it over. Nobody gets an error.
 */
void queue_drain(struct queue *q);

/**
 * queue_stop() - end the queue and free it, with its worker if that is its own
 *
 * Waits for requests that are with the backend. Before it the device must have been stopped, or the
 * queue drained: else requests that arrive after it are answered by nobody. On a shared worker
 * all slots must be on their way back. Takes NULL, returns NULL.
 */
struct queue *queue_stop(struct queue *q);

/* As worker_beat(), of the worker it runs on, for a queue that has its own. */
bool queue_beat(struct queue *q);

/* Limits have changed: what waits is judged anew. */
void queue_kick(struct queue *q);

/* Requests that are with the backend for at least as many beats; and one of them. */
struct queue_slow {
	unsigned n;
	enum io_op op;
	uint64_t offset_bytes;
};

/* As the thread found at its last beat, with @n_beats of queue_set_slow(). */
void queue_get_slow(const struct queue *q, struct queue_slow *ret);
void queue_set_slow(struct queue *q, unsigned n_beats);

/**
 * queue_register_fd() - make a descriptor cheap to use in the queue's SQEs
 *
 * From queue_init() only. Return: index for IOSQE_FIXED_FILE; -errno: use the descriptor itself.
 */
int queue_register_fd(struct queue *q, int fd);

/**
 * queue_set_reachable() - tell whether what lies behind the queue answers
 *
 * On the queue's thread. It is counted, and the controlling thread is told by the event_fd.
 */
void queue_set_reachable(struct queue *q, bool reachable);

uint16_t queue_get_depth(const struct queue *q);
uint16_t queue_get_id(const struct queue *q);
