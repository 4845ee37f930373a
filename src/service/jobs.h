/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What blocks, off the main thread: a few threads, each with a control ring of its own, run jobs in
 * the order in which they came. One thread is always there; others come with work and go without.
 * When jobs wait and none has ended for a while, one more thread is made (up to a limit): what hangs
 * in one device must not hold up the others.
 *
 * A job's memory is its owner's, who leaves it alone from jobs_add() to jobs_take().
 */
#include "ring/ctrl.h"

struct jobs;

struct job {
	void (*run)(struct job *job, struct ctrl *ctrl); /* on a thread of the pool */
	struct job *next;                                /* of jobs.c */
};

/**
 * jobs_new() - make the pool, with its first thread
 * @n_threads:	at most so many run if all goes well; at least 1
 *
 * Silent. Signals are blocked in the threads as in the caller. Return: 0; what ctrl_open() gives;
 * else -errno.
 */
int jobs_new(unsigned n_threads, struct jobs **ret);

/* Waits for the jobs that are still running or waiting. Takes NULL, returns NULL. */
struct jobs *jobs_free(struct jobs *p);
DEFINE_AUTO(struct jobs *, jobs_free);

/* Never fails and never waits. */
void jobs_add(struct jobs *p, struct job *job);

/* Readable while jobs_take() has something to give. */
int jobs_get_fd(const struct jobs *p);

/* The next job that has ended, or NULL. */
struct job *jobs_take(struct jobs *p);

/* Has none ended for a while, although some wait? Then there is one thread more from here on. To be
 * called about once a second. */
void jobs_help(struct jobs *p);

unsigned jobs_count_threads(struct jobs *p);
