/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What a run does. The device is cut into lanes; each lane has one operation under way at a time, so
 * the order of its operations, and with it what each of its blocks must hold, depends on the seed
 * only: not on timing, nor on the other lanes. A run can be repeated, and replayed by who verifies
 * the device after a power cut.
 */
#include <stdbool.h>
#include <stdint.h>

#include "pattern.h"
#include "util/cleanup.h"

enum op_kind {
	OP_READ,
	OP_WRITE,
	OP_FUA,     /* a write that is durable when it is acknowledged */
	OP_FLUSH,   /* makes all before it durable */
	OP_DISCARD, /* BLKDISCARD */
	OP_ZERO,    /* zeros that keep the room allocated */
	OP_PUNCH,   /* zeros that give it back */
	N_OPS,
};

extern const char *const op_names[N_OPS];

struct op {
	enum op_kind kind;
	uint64_t offset_bytes; /* of the device */
	uint32_t len_bytes;    /* 0: OP_FLUSH */
	uint32_t number;       /* from STATE_FIRST on: the generation of what it writes */
};

struct plan {
	uint64_t seed;
	uint32_t n_lanes;
	uint32_t block_bytes;
	uint64_t offset_bytes, lane_bytes; /* of the first lane, of each */
	uint32_t max_bytes;                /* of one operation */
	uint32_t weights[N_OPS];           /* how often each is done, out of their sum */
	bool discard_zeroes;               /* what was discarded reads as zeros */
};

struct lane {
	const struct plan *plan; /* not owned */
	uint64_t first_bytes;    /* where it begins */
	uint64_t random;
	uint32_t number; /* of the last operation */
	uint32_t n_blocks;
	uint32_t *states; /* of each block, after the last operation that was applied */
};

int lane_init(struct lane *l, const struct plan *p, uint32_t index);
void lane_deinit(struct lane *l);

/* The next operation, always the same one for a plan, a lane and a number. */
void lane_next(struct lane *l, struct op *ret);

/* It was acknowledged: this is what must be there now. */
void lane_apply(struct lane *l, const struct op *op);

/* Index of a block in lane_states. */
static inline uint32_t lane_block(const struct lane *l, uint64_t offset_bytes)
{
	return (uint32_t)((offset_bytes - l->first_bytes) / l->plan->block_bytes);
}
