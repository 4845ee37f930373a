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

#include "state/latency.h"
#include "util/cleanup.h"

#define STATS_MAGIC     0x73746b6c62755331ULL
#define STATS_VERSION   2
#define STATS_N_OPS     8 /* indexed by enum io_op of abi/io-cmd.h; the rest is room */
#define STATS_N_ERRNOS  12
#define STATS_N_CLASSES 4

struct stats_op {
	uint64_t count; /* completed requests, failed ones included */
	uint64_t bytes; /* of those that succeeded */
	uint64_t errors;
	uint64_t latency_ns;             /* sum: from arrival to the answer */
	uint64_t errnos[STATS_N_ERRNOS]; /* sum: errors; as stats_errno() */
};

/*
 * Times are taken once for each turn of a queue's loop. What arrives in a turn arrives at its
 * beginning, and is answered at the beginning of the turn that brings the backend's result: so a
 * request that the backend takes more than a turn for is timed to within the length of a turn. One
 * that is answered in the turn it came with was there until the turn's end.
 */
struct stats_queue {
	_Alignas(64) uint64_t retries; /* of the backend: short transfers and -EAGAIN */
	uint64_t turns;                /* system calls of the queue's loop */
	uint64_t backend_ns;           /* sum over requests: with a backend, beyond one turn */
	uint64_t waited_ns;            /* sum over requests: for their time, by [Limits] */
	uint64_t full_ns;              /* time in which every slot had a request */
	uint64_t seen_ns;              /* CLOCK_MONOTONIC: last sign of life */
	uint64_t last_error_offset;    /* bytes */
	uint32_t last_error_op;
	int32_t last_errno;   /* positive; 0: none yet */
	int32_t tid;          /* of the thread that serves the queue */
	uint32_t in_flight;   /* requests with the backend */
	uint32_t unreachable; /* 1: what lies behind does not answer, and is looked for */
	uint32_t reserved[1];
	uint64_t reconnects; /* times that it was found again */
	uint64_t reserved2[5];
	struct stats_op op[STATS_N_OPS];
	uint64_t latency[STATS_N_CLASSES][LATENCY_N_BUCKETS]; /* as stats_class() */
};

/* Of the device; the main thread is its only writer. Times are of CLOCK_MONOTONIC, which goes on from
 * one server to the next. */
struct stats_device {
	uint64_t recoveries;    /* servers that took the device over */
	uint64_t pause_ns;      /* sum: from the last sign of life before until it was live again */
	uint64_t last_pause_ns; /* of the last one */
	uint64_t max_pause_ns;
	uint64_t left_ns; /* a server left it to a successor; 0: it did not */
	uint64_t reserved[3];
};

/* What lies where, for whoever reads it without this file. */
struct stats_header {
	uint64_t magic;
	uint32_t version;
	uint32_t n_queues;
	uint32_t queue_size_bytes; /* distance of two blocks */
	uint32_t n_ops;
	uint32_t depth;         /* slots of a queue */
	uint32_t device_at;     /* byte of struct stats_device */
	uint32_t queues_at;     /* byte of the first block */
	uint32_t latency_at;    /* byte of the first histogram, from the start of a block */
	uint32_t op_at;         /* byte of the first stats_op, likewise */
	uint32_t op_size_bytes; /* distance of two */
	uint16_t n_classes;     /* histograms of a block */
	uint16_t n_buckets;     /* of a histogram, of 8 bytes each */
	uint8_t unit_shift;     /* of latency.h */
	uint8_t sub_shift;
	uint16_t n_errnos;
	uint8_t reserved[8];
};

struct stats {
	struct stats_header *header; /* NULL: not open */
	size_t map_bytes;
};

/* The histogram of an operation: READ, WRITE, FLUSH, and one for all others. */
static inline unsigned stats_class(unsigned op)
{
	return op < STATS_N_CLASSES ? op : STATS_N_CLASSES - 1;
}

/* Of stats_op.errnos: which one a positive errno is counted in. */
unsigned stats_errno_index(int error);
/* The other way; 0: all that have none of their own. */
int stats_errno(unsigned index);

struct stats_device *stats_get_device(const struct stats *s);

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
int stats_create(const char *name, unsigned n_queues, unsigned depth, struct stats *ret_s);

/* Go on counting where a predecessor stopped: what the device has; the queues' if there are as many. */
void stats_continue(struct stats *s, const struct stats *from);

/* The last sign of life of who wrote it, or when he left the device; 0: there is none. */
uint64_t stats_get_seen_ns(const struct stats *s);

/* A successor has made the device live again: @now_ns, and when it had been before. */
void stats_count_recovery(struct stats *s, uint64_t seen_ns, uint64_t now_ns);

/* Maps it read-only. -ENOENT; -EPROTO: of another version; -EBADMSG: no such file at all. */
int stats_open(const char *name, struct stats *ret_s);

void stats_close(struct stats *s);
