/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Histograms of times: linear below 2 us in steps of 64 ns, and above that 32 buckets for each power
 * of two, so that a bucket is at most 3.1 % wide and its middle at most 1.6 % from what is in it. The
 * last one also has all that took longer than 17 s.
 */
#include <stdint.h>

#define LATENCY_UNIT_SHIFT 6 /* ns */
#define LATENCY_SUB_SHIFT  5 /* buckets of a power of two */
#define LATENCY_N_BUCKETS  768
#define LATENCY_MAX_NS     (1ULL << 34) /* where the last one ends, but for what is longer */

/* The bucket that a time belongs to. Some ten instructions: it is on the way of every request. */
static inline unsigned latency_bucket(uint64_t ns)
{
	const uint64_t n = ns >> LATENCY_UNIT_SHIFT;
	const unsigned shift =
		63 - LATENCY_SUB_SHIFT - (unsigned)__builtin_clzll(n | 1U << LATENCY_SUB_SHIFT);
	const uint64_t i = ((uint64_t)shift << LATENCY_SUB_SHIFT) + (n >> shift);

	return i < LATENCY_N_BUCKETS ? (unsigned)i : LATENCY_N_BUCKETS - 1;
}

/* The first time that belongs to a bucket; of LATENCY_N_BUCKETS: LATENCY_MAX_NS. */
uint64_t latency_low_ns(unsigned bucket);

/* How many there are below a time at which a bucket begins; of LATENCY_MAX_NS or longer: all. */
uint64_t latency_count_below(const uint64_t buckets[static LATENCY_N_BUCKETS], uint64_t ns);

/**
 * latency_percentile() - the time that so many are not above
 * @per_mille:	500: the median
 *
 * Return: the middle of the bucket; 0: it is empty.
 */
uint64_t latency_percentile(const uint64_t buckets[static LATENCY_N_BUCKETS], unsigned per_mille);
