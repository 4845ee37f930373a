/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan.h"

#include <assert.h>

const char *const op_names[N_OPS] = {
	[OP_READ] = "read",       [OP_WRITE] = "write", [OP_FUA] = "fua",     [OP_FLUSH] = "flush",
	[OP_DISCARD] = "discard", [OP_ZERO] = "zero",   [OP_PUNCH] = "punch",
};

int lane_init(struct lane *l, const struct plan *p, uint32_t index)
{
	uint64_t n_blocks = p->lane_bytes / p->block_bytes;

	assert(n_blocks > 0 && n_blocks <= UINT32_MAX);
	*l = (struct lane){
		.plan = p,
		.first_bytes = p->offset_bytes + index * p->lane_bytes,
		.random = pattern_mix(p->seed + index + 1),
		.number = STATE_FIRST - 1,
		.n_blocks = (uint32_t)n_blocks,
		.states = calloc(n_blocks, sizeof(*l->states)), /* STATE_UNKNOWN */
	};
	return l->states ? 0 : -ENOMEM;
}

void lane_deinit(struct lane *l)
{
	free(l->states);
	l->states = NULL;
}

/* 0 to @below - 1. The bias of a remainder does not matter here. */
static uint32_t lane_random(struct lane *l, uint32_t below)
{
	l->random += 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(pattern_mix(l->random) >> 32) % below;
}

static enum op_kind lane_random_kind(struct lane *l)
{
	uint32_t sum = 0, at;

	for (unsigned k = 0; k < N_OPS; k++)
		sum += l->plan->weights[k];
	at = lane_random(l, sum);
	for (unsigned k = 0; k < N_OPS; k++) {
		if (at < l->plan->weights[k])
			return k;
		at -= l->plan->weights[k];
	}
	assert(false);
	return OP_READ;
}

void lane_next(struct lane *l, struct op *ret)
{
	const struct plan *p = l->plan;
	uint32_t most = MIN(p->max_bytes / p->block_bytes, l->n_blocks);
	uint32_t of_ten = lane_random(l, 10), n, first;

	/* half of them are small, as they are in life, and a fifth is as long as it gets */
	if (of_ten < 5)
		most = MIN(most, 8U);
	else if (of_ten < 8)
		most = MIN(most, 64U);
	n = 1 + lane_random(l, most);
	first = lane_random(l, l->n_blocks - n + 1);
	*ret = (struct op){
		.kind = lane_random_kind(l),
		.number = ++l->number,
		.offset_bytes = l->first_bytes + (uint64_t)first * p->block_bytes,
		.len_bytes = n * p->block_bytes,
	};
	if (ret->kind == OP_FLUSH)
		ret->len_bytes = 0;
}

void lane_apply(struct lane *l, const struct op *op)
{
	uint32_t first = lane_block(l, op->offset_bytes), n = op->len_bytes / l->plan->block_bytes;
	uint32_t state = op->number;

	switch (op->kind) {
	case OP_WRITE:
	case OP_FUA:
		break;
	case OP_ZERO:
	case OP_PUNCH:
		state = STATE_ZERO;
		break;
	case OP_DISCARD:
		state = l->plan->discard_zeroes ? STATE_ZERO : STATE_UNKNOWN;
		break;
	default:
		return;
	}
	for (uint32_t i = first; i < first + n; i++)
		l->states[i] = state;
}
