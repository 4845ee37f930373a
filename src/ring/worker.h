/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * A worker: a thread and its ring, which serve any number of queues. A process that serves one
 * device gives each queue a worker of its own, on the queue's CPUs; the manager has a fixed set of
 * workers for the queues of all devices. A thread has one ring for all its life.
 *
 * The functions here are for the threads that control devices. Silent.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/cleanup.h"

struct worker;
struct workers;

struct worker_config {
	char name[24];         /* of the thread; 15 bytes of it are seen */
	unsigned n_sqes;       /* what may be queued in one turn; more costs a system call */
	unsigned n_cqes;       /* 0: twice as many */
	unsigned n_files;      /* registered files, for all its queues; 0: plain descriptors */
	unsigned n_bufs;       /* slots for the pages of requests, for all its queues */
	uint64_t spin_ns;      /* how long to look for work before sleeping; 0: not at all */
	const cpu_set_t *cpus; /* where it may run; NULL: anywhere. Not kept. */
};

/* Returns when the thread runs. 0; -errno of thread or ring: -EPERM if io_uring is disabled. */
int worker_start(const struct worker_config *config, struct worker **ret);

/**
 * worker_stop() - end the thread, and with it the ring
 *
 * All its queues have ended, see queue_stop(). Commands that are still with the kernel are
 * cancelled. Takes NULL, returns NULL.
 */
struct worker *worker_stop(struct worker *w);

/* Run a function on the worker's thread between two turns. Waits for it and returns its result;
 * -ESHUTDOWN: the thread has ended. */
int worker_call(struct worker *w, int (*fn)(struct worker *w, void *arg), void *arg);

/**
 * worker_beat() - has the thread turned since the last beat?
 *
 * Wakes it up to find out at the next call, so one that sleeps as it should answers too. True also
 * for the first call. One thread calls it.
 */
bool worker_beat(struct worker *w);

/* A fixed set of workers. */
int workers_new(unsigned n, struct workers **ret);

/* No queue is left. Takes NULL, returns NULL. */
struct workers *workers_free(struct workers *set);
DEFINE_AUTO(struct workers *, workers_free);

/* The one with the least to do. */
struct worker *workers_pick(struct workers *set);

/* worker_beat() of all. */
bool workers_beat(struct workers *set);
