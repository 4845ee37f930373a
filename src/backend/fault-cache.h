/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * The write cache of [Fault] PowerCut=yes: blocks that were acknowledged and are not written down,
 * in this process's memory only. A block is, in this order,
 *
 *	not there	what lies below is the newest
 *	kept		newer than below; the next FLUSH writes it down
 *	on its way	newer than below, and a request that puts this content or a later one below
 *			is under way; then it is not there any more, or kept again if that failed
 *
 * Its other half is the list of such requests: none starts before an earlier one with a block in
 * common has ended, or the one below could be the older.
 *
 * All of it is guarded by the mutex that fault_cache_lock() takes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cleanup.h"

struct fault_cache;

/* A request that changes what lies below, or waits to do so. All zeroes: not in the list. */
struct fault_range {
	uint64_t from;
	uint64_t end;
	uint64_t ticket; /* later ones have higher ones; 0: not in the list */
	struct fault_range *prev;
	struct fault_range *next;
};

/* Reserves address space for a device of that size. -ENOMEM if there is not so much. */
int fault_cache_new(uint64_t size_bytes, uint32_t block_bytes, struct fault_cache **ret);
struct fault_cache *fault_cache_free(struct fault_cache *c);
DEFINE_AUTO(struct fault_cache *, fault_cache_free);

void fault_cache_lock(struct fault_cache *c);
void fault_cache_unlock(struct fault_cache *c);

/* The device grows. -ENOMEM. */
int fault_cache_grow(struct fault_cache *c, uint64_t size_bytes);

/* Offsets and lengths of all that follows are multiples of the block. */
void fault_cache_keep(struct fault_cache *c, uint64_t offset, uint64_t len, const void *buf);

/* Copies blocks from the cache up to the first that is not there. Returns how many bytes. */
uint64_t fault_cache_read(const struct fault_cache *c, uint64_t offset, uint64_t len, void *buf);
/* How many bytes from @offset on are not there. */
uint64_t fault_cache_gap(const struct fault_cache *c, uint64_t offset, uint64_t len);

/* The first kept blocks in a range, up to one that is not. False: there is none. */
bool fault_cache_find(const struct fault_cache *c, uint64_t from, uint64_t end, uint64_t max_bytes,
		      uint64_t *ret_offset, uint64_t *ret_len);

/* A request that changes these blocks below begins: what was kept is on its way. */
void fault_cache_begin(struct fault_cache *c, uint64_t offset, uint64_t len);
/* It has ended: what has not been kept anew since is not there any more, or after all kept. */
void fault_cache_end(struct fault_cache *c, uint64_t offset, uint64_t len, bool ok);

uint64_t fault_cache_size_bytes(const struct fault_cache *c);
uint64_t fault_cache_kept_bytes(const struct fault_cache *c);
/* No more should be kept: it is as large as a disk's. */
bool fault_cache_is_full(const struct fault_cache *c);
/* How often a request failed and left blocks kept: as they were, or anew since it began. */
uint64_t fault_cache_n_failed(const struct fault_cache *c);
/* Stays where it is until the device grows. */
const void *fault_cache_data(const struct fault_cache *c, uint64_t offset);

/* The list. Whoever is in it comes out with fault_range_remove() and no other way. */
void fault_range_add(struct fault_cache *c, struct fault_range *r);
void fault_range_remove(struct fault_cache *c, struct fault_range *r);
/* No earlier one has a block in common with it. */
bool fault_range_may_start(const struct fault_range *r);
bool fault_range_overlaps(const struct fault_cache *c, uint64_t from, uint64_t end);
/* A number above the tickets of all that are in the list, and whether such a one is still there. */
uint64_t fault_range_ticket(const struct fault_cache *c);
bool fault_range_has_before(const struct fault_cache *c, uint64_t ticket);
