/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Counters of a device in a shared mapping of /run/ublkd/NAME/stats. Each queue has a block of its
 * own cache lines, which only its thread writes, without atomic read-modify-write: readers see every
 * counter whole but not all of them at one instant. Readers need no answer from the server.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/cleanup.h"

#define STATS_MAGIC   0x73746b6c62755331ULL
#define STATS_VERSION 1
#define STATS_N_OPS   8 /* indexed by enum io_op of abi/io-cmd.h; the rest is room */

struct stats_op {
	uint64_t count; /* completed requests, failed ones included */
	uint64_t bytes; /* of those that succeeded */
	uint64_t errors;
};

struct stats_queue {
	_Alignas(64) struct stats_op op[STATS_N_OPS];
	uint64_t retries;           /* of the backend: short transfers and -EAGAIN */
	uint64_t turns;             /* system calls of the queue's loop */
	uint64_t last_error_offset; /* bytes */
	uint32_t last_error_op;
	int32_t last_errno; /* positive; 0: none yet */
	int32_t tid;        /* of the thread that serves the queue */
	uint32_t in_flight; /* requests with the backend */
};

struct stats_header {
	uint64_t magic;
	uint32_t version;
	uint32_t n_queues;
	uint32_t queue_size_bytes; /* distance of two blocks; the first follows at 64 */
	uint32_t n_ops;
	uint8_t reserved[40];
};

struct stats {
	struct stats_header *header; /* NULL: not open */
	size_t map_bytes;
};

unsigned stats_get_n_queues(const struct stats *s);

/* Only the queue's thread; readers use the same on their own mapping. */
struct stats_queue *stats_get_queue(const struct stats *s, unsigned queue);

/* Add on the writer's side: one writer, so a plain load and a store that cannot tear. */
static inline void stats_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t stats_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Makes the file anew, all zero, for the server of the name, which holds its lock. The memory is there
 * on return: a full /run cannot kill the writer later. */
int stats_create(const char *name, unsigned n_queues, struct stats *ret_s);

/* Go on counting where a predecessor stopped, if it had as many queues. */
void stats_continue(struct stats *s, const struct stats *from);

/* Maps it read-only. -ENOENT; -EPROTO: of another version; -EBADMSG: no such file at all. */
int stats_open(const char *name, struct stats *ret_s);

void stats_close(struct stats *s);
