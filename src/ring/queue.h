/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * One queue of a device: a thread, its ring, its slots. The thread does nothing but: reap what came
 * in, hand requests to the backend, give answers to the kernel; one system call per turn. It does
 * not allocate, lock or log once it runs.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/params.h"
#include "ring/io.h"

struct stats_queue;

struct queue_config {
	int dev_fd; /* char device, stays the caller's */
	uint16_t id;
	uint16_t depth;
	uint32_t desc_size_bytes;    /* stride of the descriptors */
	bool legacy;                 /* as ctrl_is_legacy() */
	const struct limits *limits; /* what requests are checked against */
	const struct io_ops *ops;    /* of the backend */
	struct backend *backend;
	struct stats_queue *stats; /* the thread is its only writer */
	const cpu_set_t *cpus;     /* where the thread may run; NULL: anywhere */
	int event_fd;              /* eventfd that is written when the thread has ended */
};

/**
 * queue_start() - start the thread; all slots are with the kernel on return
 * @config:	copied, but what it points to must outlive the queue
 *
 * Main thread. Silent. Return: 0; -errno of what failed on the thread: ring, mapping, buffers,
 * the backend's queue_init(), or FETCH.
 */
int queue_start(const struct queue_config *config, struct queue **ret);

/* True if the thread has ended, with its result: 0 when all slots came back, else -errno. */
bool queue_has_ended(const struct queue *q, int *ret_r);

/* Has a request failed since the last call? The event_fd is written again only after this call. */
bool queue_take_failed(struct queue *q);

/**
 * queue_stop() - end the thread and free the queue
 *
 * Main thread. Waits for requests that are with the backend. Before it the device must have been
 * stopped, else requests that arrive after it are answered by nobody. Takes NULL, returns NULL.
 */
struct queue *queue_stop(struct queue *q);

/**
 * queue_register_fd() - make a descriptor cheap to use in the queue's SQEs
 *
 * From queue_init() only. Return: index for IOSQE_FIXED_FILE; -errno: use the descriptor itself.
 */
int queue_register_fd(struct queue *q, int fd);

/* The queue's ring, for what a backend must register itself; from queue_init() only. */
struct io_uring *queue_get_ring(struct queue *q);
