/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What a block holds. Each word of 8 bytes tells by itself which generation wrote it, given the seed
 * of the run and the place where it is found: so a block that is wrong can be told to be lost, stale,
 * torn or foreign. A generation is the number of the operation that wrote it within its lane.
 */
#include <stddef.h>
#include <stdint.h>

#define SECTOR_BYTES 512

/* States of a block. All above STATE_ZERO are generations. */
#define STATE_UNKNOWN 0U /* not written yet, or discarded */
#define STATE_ZERO    1U
#define STATE_FIRST   2U

enum verdict {
	VERDICT_SAME,    /* as expected */
	VERDICT_LOST,    /* zeros */
	VERDICT_STALE,   /* an older generation, or any where zeros must be */
	VERDICT_AHEAD,   /* a later generation */
	VERDICT_TORN,    /* some of it is of another generation or zeros */
	VERDICT_FOREIGN, /* was never written here */
	N_VERDICTS,
};

extern const char *const verdict_names[N_VERDICTS];

/* What the words of a block say. */
struct look {
	size_t n_zero, n_valid, n_foreign; /* words */
	uint32_t lowest, highest;          /* generations of the valid ones */
	size_t n_lowest;                   /* words of the lowest */
	uint32_t sector; /* low bits of what a foreign block says that it is; 0: nothing */
};

/* @buf: @len bytes, a multiple of SECTOR_BYTES, that begin at @offset_bytes of the device. */
void pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset_bytes, uint32_t generation);
void pattern_look(const void *buf, size_t len, uint64_t seed, uint64_t offset_bytes,
		  struct look *ret);

/* One block against its @state, not STATE_UNKNOWN. *@ret is set unless the verdict is SAME. */
enum verdict pattern_judge(const void *buf, size_t len, uint64_t seed, uint64_t offset_bytes,
			   uint32_t state, struct look *ret);

/* A number from another, each bit of it depends on every bit. */
uint64_t pattern_mix(uint64_t x);
