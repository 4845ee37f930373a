/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pattern.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "util/cleanup.h"

#define SECTOR_WORDS (SECTOR_BYTES / sizeof(uint64_t))

const char *const verdict_names[N_VERDICTS] = {
	[VERDICT_SAME] = "same",   [VERDICT_LOST] = "lost", [VERDICT_STALE] = "stale",
	[VERDICT_AHEAD] = "ahead", [VERDICT_TORN] = "torn", [VERDICT_FOREIGN] = "foreign",
};

uint64_t pattern_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xe9846af9b1a615dULL;
	x ^= x >> 32;
	x *= 0xe9846af9b1a615dULL;
	return x ^ x >> 28;
}

/* What is in a word beside its generation: depends on the place. */
static uint64_t pattern_key(uint64_t seed, uint64_t sector, size_t i)
{
	/* the first word of a sector is readable anywhere, so that a misplaced one is told */
	return i ? pattern_mix(seed + sector * SECTOR_WORDS + i) : pattern_mix(~seed);
}

static uint64_t pattern_word(uint64_t seed, uint64_t sector, size_t i, uint32_t generation)
{
	uint32_t check = i ? ~generation : (uint32_t)sector;

	return pattern_key(seed, sector, i) ^ ((uint64_t)generation << 32 | check);
}

/* Whether the word was written here, and if so, by whom. */
static bool pattern_read(uint64_t word, uint64_t seed, uint64_t sector, size_t i,
			 uint32_t *ret_generation)
{
	uint64_t plain = word ^ pattern_key(seed, sector, i);
	uint32_t generation = plain >> 32, check = (uint32_t)plain;

	if (generation < STATE_FIRST || check != (i ? ~generation : (uint32_t)sector))
		return false;
	*ret_generation = generation;
	return true;
}

void pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset_bytes, uint32_t generation)
{
	uint64_t *words = buf;
	uint64_t sector = offset_bytes / SECTOR_BYTES;

	assert(len % SECTOR_BYTES == 0 && generation >= STATE_FIRST);
	for (size_t n = len / SECTOR_BYTES; n > 0; n--, sector++, words += SECTOR_WORDS)
		for (size_t i = 0; i < SECTOR_WORDS; i++)
			words[i] = pattern_word(seed, sector, i, generation);
}

void pattern_look(const void *buf, size_t len, uint64_t seed, uint64_t offset_bytes,
		  struct look *ret)
{
	const uint64_t *words = buf;
	uint64_t sector = offset_bytes / SECTOR_BYTES;
	struct look look = {.lowest = UINT32_MAX};

	for (size_t n = 0; n < len / sizeof(*words); n++) {
		uint32_t generation;
		size_t i = n % SECTOR_WORDS;

		if (words[n] == 0) {
			look.n_zero++;
		} else if (pattern_read(words[n], seed, sector + n / SECTOR_WORDS, i,
					&generation)) {
			look.n_valid++;
			if (generation < look.lowest) {
				look.lowest = generation;
				look.n_lowest = 0;
			}
			look.n_lowest += generation == look.lowest;
			look.highest = MAX(look.highest, generation);
		} else {
			look.n_foreign++;
			if (i == 0 && look.sector == 0)
				look.sector = (uint32_t)(words[n] ^ pattern_key(seed, 0, 0));
		}
	}
	if (look.n_valid == 0)
		look.lowest = 0;
	*ret = look;
}

static bool pattern_is(const uint64_t *words, size_t len, uint64_t seed, uint64_t sector,
		       uint32_t state)
{
	for (size_t n = 0; n < len / sizeof(*words); n++) {
		uint64_t want = state == STATE_ZERO ? 0
						    : pattern_word(seed, sector + n / SECTOR_WORDS,
								   n % SECTOR_WORDS, state);

		if (words[n] != want)
			return false;
	}
	return true;
}

enum verdict pattern_judge(const void *buf, size_t len, uint64_t seed, uint64_t offset_bytes,
			   uint32_t state, struct look *ret)
{
	size_t n_words = len / sizeof(uint64_t);
	struct look l;

	assert(state != STATE_UNKNOWN && len % SECTOR_BYTES == 0);
	if (pattern_is(buf, len, seed, offset_bytes / SECTOR_BYTES, state))
		return VERDICT_SAME;
	pattern_look(buf, len, seed, offset_bytes, &l);
	*ret = l;
	if (l.n_foreign == n_words)
		return VERDICT_FOREIGN;
	if (l.n_zero == n_words)
		return VERDICT_LOST;
	if (l.n_valid == n_words && l.lowest == l.highest)
		return l.lowest < state || state == STATE_ZERO ? VERDICT_STALE : VERDICT_AHEAD;
	return VERDICT_TORN;
}
