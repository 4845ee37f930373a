/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/latency.h"

#include <assert.h>

#define SUB (1U << LATENCY_SUB_SHIFT)

static_assert(LATENCY_MAX_NS == 1ULL << (LATENCY_UNIT_SHIFT + LATENCY_SUB_SHIFT +
					 LATENCY_N_BUCKETS / SUB - 1),
	      "that is where as many buckets end");

uint64_t latency_low_ns(unsigned bucket)
{
	const unsigned shift = bucket < SUB ? 0 : bucket / SUB - 1;
	const uint64_t n = bucket < SUB ? bucket : SUB + bucket % SUB;

	return n << shift << LATENCY_UNIT_SHIFT;
}

uint64_t latency_count_below(const uint64_t buckets[static LATENCY_N_BUCKETS], uint64_t ns)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LATENCY_N_BUCKETS; i++) {
		if (ns < LATENCY_MAX_NS && latency_low_ns(i) >= ns)
			break;
		n += buckets[i];
	}
	return n;
}

uint64_t latency_percentile(const uint64_t buckets[static LATENCY_N_BUCKETS], unsigned per_mille)
{
	uint64_t total = 0, rank, n = 0;

	for (unsigned i = 0; i < LATENCY_N_BUCKETS; i++)
		total += buckets[i];
	if (total == 0)
		return 0;
	/* rounded up, and never the zeroth; without overflow */
	rank = total / 1000 * per_mille + (total % 1000 * per_mille + 999) / 1000;
	if (rank == 0)
		rank = 1;
	for (unsigned i = 0; i < LATENCY_N_BUCKETS; i++) {
		n += buckets[i];
		if (n >= rank)
			return (latency_low_ns(i) + latency_low_ns(i + 1)) / 2;
	}
	return LATENCY_MAX_NS;
}
