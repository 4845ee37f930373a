/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What an NBD server has acknowledged, to tell it from another one when it comes back. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NBD_PROOF_BYTES 4096 /* what one entry is about */
#define NBD_PROOF_SLOTS 128

/* All threads; no locks. */
struct nbd_proof {
	/* by number of the block, modulo: who writes now, and how often it was written */
	_Atomic uint64_t claims[NBD_PROOF_SLOTS];
	_Atomic uint64_t entries[NBD_PROOF_SLOTS]; /* 0: none */
};

/* Before a request that changes [from, from + len) is sent. For nbd_proof_end(). */
uint64_t nbd_proof_begin(struct nbd_proof *p, uint64_t from_bytes, uint64_t len_bytes);
/* After it. @data: what was written and acknowledged; NULL: something else, or nothing. */
void nbd_proof_end(struct nbd_proof *p, uint64_t from_bytes, uint64_t len_bytes, uint64_t claim,
		   const void *data);
/* Where the block of an entry is. */
uint64_t nbd_proof_offset(uint64_t entry);
/* Does what was read now differ from what was acknowledged, with nobody writing there since? */
bool nbd_proof_refutes(struct nbd_proof *p, unsigned slot, uint64_t entry, const void *data);
