/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A server that was away and is back may be another one, or may have lost what it never wrote down: its
 * machine went down, or it keeps all in memory. So a few blocks that it has acknowledged last are
 * remembered by their digest, and read again before anything else is asked of it.
 *
 * All queues write, and any of them may find the server again. A block has one place in the table,
 * whoever writes to it. An entry is a block that nobody writes to: who is about to takes it away first,
 * and the one who puts a new one in takes it back if somebody has come meanwhile. So an entry that was
 * there before a block was read, and still is afterwards, is about just that content.
 */
#include "backend/nbd-proof.h"

#include <string.h>

#include "util/cleanup.h"

/* A claim has the number of those that write in its low half, and in the other one of all that ever did. */
#define CLAIM       ((1ULL << 32) | 1)
#define CLAIM_ENDS  1ULL
#define N_CLAIMS(c) ((uint32_t)(c))
#define SERIAL(c)   ((uint32_t)((c) >> 32))

/* An entry: number of the block, and what is left of 64 bits for the digest of its content. */
#define BLOCK_BITS 40

static uint64_t nbd_proof_entry(uint64_t block, const void *data)
{
	const uint8_t *p = data;
	uint64_t h = block + 1;

	for (size_t i = 0; i < NBD_PROOF_BYTES; i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, p + i, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	h *= 0xbf58476d1ce4e5b9ULL;
	/* Never 0, which is no entry. */
	return block | (h >> BLOCK_BITS | 1) << BLOCK_BITS;
}

static uint64_t nbd_proof_block(uint64_t entry)
{
	return entry & ((1ULL << BLOCK_BITS) - 1);
}

uint64_t nbd_proof_offset(uint64_t entry)
{
	return nbd_proof_block(entry) * NBD_PROOF_BYTES;
}

static void nbd_proof_forget(struct nbd_proof *p, unsigned slot)
{
	atomic_store(&p->entries[slot], 0);
}

/* Blocks that a range touches; beyond the number of slots each of them is touched anyhow. */
static uint64_t nbd_proof_count(uint64_t from_bytes, uint64_t len_bytes)
{
	uint64_t n =
		(from_bytes + len_bytes - 1) / NBD_PROOF_BYTES - from_bytes / NBD_PROOF_BYTES + 1;

	return MIN(n, (uint64_t)NBD_PROOF_SLOTS);
}

uint64_t nbd_proof_begin(struct nbd_proof *p, uint64_t from_bytes, uint64_t len_bytes)
{
	const uint64_t first = from_bytes / NBD_PROOF_BYTES;
	const uint64_t n = nbd_proof_count(from_bytes, len_bytes);
	uint64_t claim = 0;

	for (uint64_t i = 0; i < n; i++) {
		unsigned slot = (first + i) % NBD_PROOF_SLOTS;
		uint64_t was = atomic_fetch_add(&p->claims[slot], CLAIM);

		nbd_proof_forget(p, slot);
		if (i == 0)
			claim = was + CLAIM;
	}
	return claim;
}

/* The first block, if all of it was written. */
static void nbd_proof_note(struct nbd_proof *p, uint64_t block, uint64_t claim, const void *data)
{
	unsigned slot = block % NBD_PROOF_SLOTS;
	uint64_t entry = nbd_proof_entry(block, data), was;

	atomic_store(&p->entries[slot], entry);
	was = atomic_fetch_sub(&p->claims[slot], CLAIM_ENDS);
	/* Somebody else writes, or has since: whose content is there is not known. */
	if (N_CLAIMS(was) != 1 || SERIAL(was) != SERIAL(claim))
		atomic_compare_exchange_strong(&p->entries[slot], &entry, 0);
}

void nbd_proof_end(struct nbd_proof *p, uint64_t from_bytes, uint64_t len_bytes, uint64_t claim,
		   const void *data)
{
	const uint64_t first = from_bytes / NBD_PROOF_BYTES;
	const uint64_t n = nbd_proof_count(from_bytes, len_bytes);
	const bool whole = data && from_bytes % NBD_PROOF_BYTES == 0 &&
			   len_bytes >= NBD_PROOF_BYTES && first < 1ULL << BLOCK_BITS;

	for (uint64_t i = 0; i < n; i++) {
		unsigned slot = (first + i) % NBD_PROOF_SLOTS;

		if (i == 0 && whole) {
			nbd_proof_note(p, first, claim, data);
			continue;
		}
		nbd_proof_forget(p, slot);
		atomic_fetch_sub(&p->claims[slot], CLAIM_ENDS);
	}
}

bool nbd_proof_refutes(struct nbd_proof *p, unsigned slot, uint64_t entry, const void *data)
{
	return nbd_proof_entry(nbd_proof_block(entry), data) != entry &&
	       atomic_load(&p->entries[slot]) == entry;
}
