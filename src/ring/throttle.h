/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Limits of a device: bytes and requests per second, over all of its queues, without a lock and
 * without a timer for each request. A queue asks before submit(); what has to wait it keeps here,
 * and sleeps no longer than until the time of the first.
 */
#include <stdbool.h>
#include <stdint.h>

#include "ring/io.h"

/* READ and WRITE up to here do not wait behind larger ones. */
#define THROTTLE_SMALL_BYTES (16U << 10)

/* Per second; 0: no limit. DISCARD and WRITE_ZEROES count as requests that write, without bytes. */
struct throttle_rates {
	uint64_t read_bytes;
	uint64_t write_bytes;
	uint64_t read_iops;
	uint64_t write_iops;
};

struct throttle_limits;

/* One for a device. Its limits are replaced as a whole, so a pointer tells old ones from new. */
struct throttle {
	struct throttle_limits *limits; /* atomic; NULL: none are set */
	/* the main thread's */
	struct throttle_rates rates;
	struct throttle_limits *all; /* also former ones: queues may still be using those */
};

#define THROTTLE_N_LINES 4 /* read and write, small and large */

/* One for a queue, its thread only. All zeroes to begin with. */
struct throttle_queue {
	struct throttle_line {
		struct io *first;
		struct io *last;
		const struct throttle_limits *limits; /* that gave first its time; NULL: none yet */
		uint64_t go_ns;
	} lines[THROTTLE_N_LINES];
	unsigned n; /* in all of them */
	/* Of costs in whole ns, by resource: so that many small ones add up to what they should. */
	uint64_t rest[4];
};

/* Silent: 0 or -ENOMEM. Without limits. */
int throttle_new(struct throttle **ret);
/* Takes NULL, returns NULL. All queues have been stopped. */
struct throttle *throttle_free(struct throttle *t);

/**
 * throttle_set() - limits from now on
 * @rates:	all 0: none
 *
 * Main thread, also while queues run. What waits under the former limits is judged anew in the next
 * throttle_next() of its queue, which has to be woken up for that.
 * Silent: 0, or -ENOMEM and the former limits stay.
 */
int throttle_set(struct throttle *t, const struct throttle_rates *rates);

/* What a request costs where there are no limits. */
static inline bool throttle_is_on(const struct throttle *t)
{
	return __atomic_load_n(&t->limits, __ATOMIC_RELAXED);
}

/**
 * throttle_admit() - may a request go to the backend?
 * @now_ns:	CLOCK_MONOTONIC
 *
 * Return: true: at once, and its cost has been taken; false: it waits here until throttle_next()
 * gives it back. A FLUSH never waits.
 */
bool throttle_admit(struct throttle_queue *tq, struct throttle *t, struct io *io, uint64_t now_ns);

/**
 * throttle_next() - a request whose time has come
 * @t:		NULL: everything goes at once, for a queue that is to end
 * @ret_wait_ns:	set only if there is none: until the first one's time; UINT64_MAX: nobody waits
 *
 * To be called until it returns NULL. Return: the request, whose cost has been taken; NULL.
 */
struct io *throttle_next(struct throttle_queue *tq, struct throttle *t, uint64_t now_ns,
			 uint64_t *ret_wait_ns);

static inline bool throttle_is_empty(const struct throttle_queue *tq)
{
	return tq->n == 0;
}
