/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by the files of Type=memory: where the data and the bitmap of its pages are. */
#include <stdatomic.h>
#include <stdint.h>

#include "backend/backend.h"
#include "util/cleanup.h"

#define MEMORY_WORD_PAGES 64 /* pages in a word of the bitmap */

/* One mapping of the whole memfd, as large as it was then. */
struct memory_map {
	struct memory_map *older;
	uint8_t *p;
	uint64_t size_bytes; /* whole pages */
};

struct backend {
	int fd;
	uint64_t size_bytes;     /* of the device; the main thread's */
	struct memory_map *maps; /* the newest first; the main thread's */
	/*
	 * What the queues use: maps->p, replaced when the device grows. The mappings before it stay
	 * until close(), since requests may be at work in them: it is the same memory. A request
	 * loads it once.
	 */
	uint8_t *_Atomic data;
	/*
	 * A bit for each populated page. Its address space is reserved for the largest device, and
	 * what the device has of it can be read and written, so it never moves.
	 */
	_Atomic uint64_t *populated;
	uint64_t page_bytes;
	unsigned page_shift;
	uint64_t align_bytes; /* of a mapping, for huge pages; 0: none shall be taken */
};

/* memory.c: pages from @first to before @end are in the memfd, with what was written to them. */
void memory_set_populated(struct backend *b, uint64_t first, uint64_t end);

/* memory-open.c: as in backend_ops. */
int memory_open(const struct backend_request *req, struct backend **ret, struct limits *ret_limits);
int memory_get_kept_fd(const struct backend *b);
int memory_resize(struct backend *b, const struct backend_request *req, uint64_t *ret_size_bytes);
struct backend *memory_close(struct backend *b);
