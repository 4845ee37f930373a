/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A shadow of the device in anonymous memory, where a page exists as long as one of its blocks is
 * in the cache, and two bitmaps: what is there, and what of it is kept. So nothing is allocated for
 * a request but the pages it touches. What is on its way is there and not kept.
 */
#include "backend/fault-cache.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define WORD_BLOCKS 64
/* As much as a disk may have; above it writes go down at once. */
#define MAX_BYTES   (64ULL << 20)

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* since Linux 5.18 */
#endif

struct fault_cache {
	pthread_mutex_t lock;
	unsigned block_shift;
	uint64_t size_bytes;
	uint64_t n_words;
	uint64_t free_words; /* of a group whose blocks fill whole pages */
	uint8_t *data;
	uint64_t *there;
	uint64_t *kept;
	uint64_t *
		hint; /* a bit for each word of @kept: it may have bits; cleared when found wrong */
	uint64_t n_there;
	uint64_t n_kept;
	uint64_t n_failed;
	uint64_t last_ticket;
	struct fault_range *first;
	struct fault_range *last;
};

struct fault_cache_sizes {
	uint64_t n_words;
	size_t data_bytes;
	size_t map_bytes;
	size_t hint_bytes;
};

static struct fault_cache_sizes fault_cache_sizes(const struct fault_cache *c, uint64_t size_bytes)
{
	struct fault_cache_sizes s = {
		.n_words = (size_bytes >> c->block_shift) / WORD_BLOCKS + 1,
	};

	/* Whole groups, so that the last one can be freed as the others can. */
	s.n_words = (s.n_words + c->free_words - 1) / c->free_words * c->free_words;
	s.data_bytes = (s.n_words * WORD_BLOCKS) << c->block_shift;
	s.map_bytes = s.n_words * sizeof(uint64_t);
	s.hint_bytes = (s.n_words / WORD_BLOCKS + 1) * sizeof(uint64_t);
	return s;
}

static void *fault_cache_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* User data: not in core dumps. And no huge page for a block of it. */
	(void)madvise(p, bytes, MADV_DONTDUMP);
	(void)madvise(p, bytes, MADV_DONTFORK);
	(void)madvise(p, bytes, MADV_NOHUGEPAGE); /* EINVAL without THP */
	return p;
}

int fault_cache_new(uint64_t size_bytes, uint32_t block_bytes, struct fault_cache **ret)
{
	AUTO(fault_cache_free) struct fault_cache *c = calloc(1, sizeof(*c));
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct fault_cache_sizes s;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	if (size_bytes > INT64_MAX / 4)
		return -ENOMEM;
	c->block_shift = (unsigned)__builtin_ctz(block_bytes);
	c->free_words = MAX(page_bytes / ((uint64_t)block_bytes * WORD_BLOCKS), 1U);
	s = fault_cache_sizes(c, size_bytes);
	c->size_bytes = size_bytes;
	c->n_words = s.n_words;
	c->data = fault_cache_map(s.data_bytes);
	c->there = fault_cache_map(s.map_bytes);
	c->kept = fault_cache_map(s.map_bytes);
	c->hint = fault_cache_map(s.hint_bytes);
	if (!c->data || !c->there || !c->kept || !c->hint)
		return -ENOMEM;
	*ret = TAKE_PTR(c);
	return 0;
}

static void fault_cache_unmap(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

struct fault_cache *fault_cache_free(struct fault_cache *c)
{
	struct fault_cache_sizes s;

	if (!c)
		return NULL;
	assert(!c->first);
	if (c->free_words > 0) {
		s = fault_cache_sizes(c, c->size_bytes);
		fault_cache_unmap(c->data, s.data_bytes);
		fault_cache_unmap(c->there, s.map_bytes);
		fault_cache_unmap(c->kept, s.map_bytes);
		fault_cache_unmap(c->hint, s.hint_bytes);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

void fault_cache_lock(struct fault_cache *c)
{
	pthread_mutex_lock(&c->lock);
}

void fault_cache_unlock(struct fault_cache *c)
{
	pthread_mutex_unlock(&c->lock);
}

/* What was moved has its old size in nobody's book, so a failure midway leaves all as it was. */
static int fault_cache_move(void *map, size_t old_bytes, size_t new_bytes)
{
	void **p = map;
	void *to;

	if (new_bytes == old_bytes)
		return 0;
	to = mremap(*p, old_bytes, new_bytes, MREMAP_MAYMOVE);
	if (to == MAP_FAILED)
		return -ENOMEM;
	*p = to;
	return 0;
}

int fault_cache_grow(struct fault_cache *c, uint64_t size_bytes)
{
	struct fault_cache_sizes old, new;
	struct {
		void *map;
		size_t old;
		size_t new;
	} maps[4];
	size_t done;

	if (size_bytes <= c->size_bytes)
		return 0;
	if (size_bytes > INT64_MAX / 4)
		return -ENOMEM;
	old = fault_cache_sizes(c, c->size_bytes);
	new = fault_cache_sizes(c, size_bytes);
	maps[0] = (__typeof__(maps[0])){&c->data, old.data_bytes, new.data_bytes};
	maps[1] = (__typeof__(maps[0])){&c->there, old.map_bytes, new.map_bytes};
	maps[2] = (__typeof__(maps[0])){&c->kept, old.map_bytes, new.map_bytes};
	maps[3] = (__typeof__(maps[0])){&c->hint, old.hint_bytes, new.hint_bytes};
	for (done = 0; done < ARRAY_SIZE(maps); done++) {
		if (fault_cache_move(maps[done].map, maps[done].old, maps[done].new) < 0)
			break;
	}
	if (done == ARRAY_SIZE(maps)) {
		c->size_bytes = size_bytes;
		c->n_words = new.n_words;
		return 0;
	}
	/* To make smaller again cannot fail for want of memory. */
	while (done-- > 0)
		(void)fault_cache_move(maps[done].map, maps[done].new, maps[done].old);
	return -ENOMEM;
}

/* Bits of word @w that stand for blocks from @first to before @end; the word holds at least one. */
static uint64_t fault_cache_mask(uint64_t w, uint64_t first, uint64_t end)
{
	uint64_t base = w * WORD_BLOCKS;
	uint64_t mask = UINT64_MAX;

	if (first > base)
		mask &= UINT64_MAX << (first - base);
	if (end - base < WORD_BLOCKS)
		mask &= UINT64_MAX >> (WORD_BLOCKS - (end - base));
	return mask;
}

static void fault_cache_set_kept(struct fault_cache *c, uint64_t w, uint64_t bits)
{
	c->n_kept += (uint64_t)__builtin_popcountll(bits & ~c->kept[w]);
	c->kept[w] |= bits;
	c->hint[w / WORD_BLOCKS] |= 1ULL << w % WORD_BLOCKS;
}

void fault_cache_keep(struct fault_cache *c, uint64_t offset, uint64_t len, const void *buf)
{
	uint64_t first = offset >> c->block_shift, end = (offset + len) >> c->block_shift;

	memcpy(c->data + offset, buf, len);
	for (uint64_t w = first / WORD_BLOCKS; w * WORD_BLOCKS < end; w++) {
		uint64_t mask = fault_cache_mask(w, first, end);

		c->n_there += (uint64_t)__builtin_popcountll(mask & ~c->there[w]);
		c->there[w] |= mask;
		fault_cache_set_kept(c, w, mask);
	}
}

/* The first block from @first on whose bit is @set, at most @end. */
static uint64_t fault_cache_scan(const uint64_t *map, uint64_t first, uint64_t end, bool set)
{
	for (uint64_t w = first / WORD_BLOCKS; w * WORD_BLOCKS < end; w++) {
		uint64_t bits = set ? map[w] : ~map[w];

		bits &= fault_cache_mask(w, first, end);
		if (bits)
			return w * WORD_BLOCKS + (uint64_t)__builtin_ctzll(bits);
	}
	return end;
}

uint64_t fault_cache_read(const struct fault_cache *c, uint64_t offset, uint64_t len, void *buf)
{
	uint64_t first = offset >> c->block_shift, end = (offset + len) >> c->block_shift;
	uint64_t n = 0;

	if (c->n_there > 0)
		n = (fault_cache_scan(c->there, first, end, false) - first) << c->block_shift;
	memcpy(buf, c->data + offset, n);
	return n;
}

uint64_t fault_cache_gap(const struct fault_cache *c, uint64_t offset, uint64_t len)
{
	uint64_t first = offset >> c->block_shift, end = (offset + len) >> c->block_shift;

	if (c->n_there == 0)
		return len;
	return (fault_cache_scan(c->there, first, end, true) - first) << c->block_shift;
}

bool fault_cache_find(const struct fault_cache *c, uint64_t from, uint64_t end, uint64_t max_bytes,
		      uint64_t *ret_offset, uint64_t *ret_len)
{
	uint64_t block = from >> c->block_shift, last = end >> c->block_shift;
	uint64_t n;

	while (c->n_kept > 0 && block < last) {
		uint64_t w = block / WORD_BLOCKS, stop = MIN(last, (w + 1) * WORD_BLOCKS);
		uint64_t next;

		if (!(c->hint[w / WORD_BLOCKS] >> w % WORD_BLOCKS & 1)) {
			/* On to the next word that may have some. */
			w = fault_cache_scan(c->hint, w, (last - 1) / WORD_BLOCKS + 1, true);
			block = w * WORD_BLOCKS;
			continue;
		}
		if (c->kept[w] == 0)
			c->hint[w / WORD_BLOCKS] &= ~(1ULL << w % WORD_BLOCKS);
		next = fault_cache_scan(c->kept, block, stop, true);
		if (next == stop) {
			block = stop;
			continue;
		}
		last = MIN(last, next + MAX(max_bytes >> c->block_shift, 1U));
		n = fault_cache_scan(c->kept, next, last, false) - next;
		*ret_offset = next << c->block_shift;
		*ret_len = n << c->block_shift;
		return true;
	}
	return false;
}

void fault_cache_begin(struct fault_cache *c, uint64_t offset, uint64_t len)
{
	uint64_t first = offset >> c->block_shift, end = (offset + len) >> c->block_shift;

	for (uint64_t w = first / WORD_BLOCKS; c->n_kept > 0 && w * WORD_BLOCKS < end; w++) {
		uint64_t bits = c->kept[w] & fault_cache_mask(w, first, end);

		if (!bits)
			continue;
		c->n_kept -= (uint64_t)__builtin_popcountll(bits);
		c->kept[w] &= ~bits;
	}
}

/* Give back the pages of the group that this word is in, if none of their blocks is there. */
static void fault_cache_free_pages(struct fault_cache *c, uint64_t w)
{
	size_t word_bytes = (size_t)WORD_BLOCKS << c->block_shift;
	uint64_t group = w / c->free_words * c->free_words;

	for (uint64_t i = 0; i < c->free_words; i++) {
		if (c->there[group + i])
			return;
	}
	/* Our memory is locked, if we may do that, and then only the second is heard. */
	if (madvise(c->data + group * word_bytes, c->free_words * word_bytes, MADV_DONTNEED) < 0)
		(void)madvise(c->data + group * word_bytes, c->free_words * word_bytes,
			      MADV_DONTNEED_LOCKED);
}

void fault_cache_end(struct fault_cache *c, uint64_t offset, uint64_t len, bool ok)
{
	uint64_t first = offset >> c->block_shift, end = (offset + len) >> c->block_shift;
	bool again = false;

	for (uint64_t w = first / WORD_BLOCKS; c->n_there > 0 && w * WORD_BLOCKS < end; w++) {
		uint64_t there = c->there[w] & fault_cache_mask(w, first, end);
		uint64_t bits = there & ~c->kept[w];

		/* What was kept anew hides what it replaced, which is not below either. */
		again |= !ok && there;
		if (!bits)
			continue;
		if (!ok) {
			fault_cache_set_kept(c, w, bits);
			continue;
		}
		c->n_there -= (uint64_t)__builtin_popcountll(bits);
		c->there[w] &= ~bits;
		fault_cache_free_pages(c, w);
	}
	c->n_failed += again;
}

uint64_t fault_cache_size_bytes(const struct fault_cache *c)
{
	return c->size_bytes;
}

uint64_t fault_cache_kept_bytes(const struct fault_cache *c)
{
	return c->n_kept << c->block_shift;
}

bool fault_cache_is_full(const struct fault_cache *c)
{
	return c->n_there << c->block_shift >= MAX_BYTES;
}

uint64_t fault_cache_n_failed(const struct fault_cache *c)
{
	return c->n_failed;
}

const void *fault_cache_data(const struct fault_cache *c, uint64_t offset)
{
	return c->data + offset;
}

void fault_range_add(struct fault_cache *c, struct fault_range *r)
{
	assert(r->ticket == 0 && r->from < r->end);
	r->ticket = ++c->last_ticket;
	r->prev = c->last;
	r->next = NULL;
	if (c->last)
		c->last->next = r;
	else
		c->first = r;
	c->last = r;
}

void fault_range_remove(struct fault_cache *c, struct fault_range *r)
{
	assert(r->ticket > 0);
	if (r->prev)
		r->prev->next = r->next;
	else
		c->first = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		c->last = r->prev;
	*r = (struct fault_range){0};
}

bool fault_range_may_start(const struct fault_range *r)
{
	for (const struct fault_range *o = r->prev; o; o = o->prev) {
		if (o->from < r->end && r->from < o->end)
			return false;
	}
	return true;
}

bool fault_range_overlaps(const struct fault_cache *c, uint64_t from, uint64_t end)
{
	for (const struct fault_range *o = c->first; o; o = o->next) {
		if (o->from < end && from < o->end)
			return true;
	}
	return false;
}

uint64_t fault_range_ticket(const struct fault_cache *c)
{
	return c->last_ticket + 1;
}

bool fault_range_has_before(const struct fault_cache *c, uint64_t ticket)
{
	return c->first && c->first->ticket < ticket;
}
