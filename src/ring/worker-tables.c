/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands in the tables of a worker's ring, and which queue has which part of them. */
#include <errno.h>
#include <stdlib.h>

#include "ring/queue-internal.h"
#include "util/cleanup.h"

/* Slots for pages are given out in pieces of so many, a bit of which the smallest queues waste. */
#define PIECE_SLOTS 64

/* ---- files ---- */

int worker_register_file(struct worker *w, int fd)
{
	int r;

	for (unsigned i = 0; w->have_files && i < w->n_files; i++) {
		if (w->file_used[i])
			continue;
		r = io_uring_register_files_update(&w->ring, i, &fd, 1);
		if (r < 0)
			return r;
		w->file_used[i] = 1;
		return (int)i;
	}
	return -ENOSPC;
}

void worker_unregister_file(struct worker *w, unsigned index)
{
	int none = -1;

	(void)io_uring_register_files_update(&w->ring, index, &none, 1);
	w->file_used[index] = 0;
}

/* ---- slots for the pages of requests ---- */

static unsigned worker_n_pieces(unsigned n_slots)
{
	return (n_slots + PIECE_SLOTS - 1) / PIECE_SLOTS;
}

/* A ring has one table for all its life, made when the first queue asks for a part of it. */
static int worker_make_bufs(struct worker *w)
{
	unsigned n_pieces = worker_n_pieces(w->n_bufs);
	int r;

	if (w->buf_used)
		return 0;
	w->buf_used = calloc(MAX(n_pieces, 1U), 1);
	if (!w->buf_used)
		return -ENOMEM;
	r = io_uring_register_buffers_sparse(&w->ring, n_pieces * PIECE_SLOTS);
	if (r < 0)
		free(TAKE_PTR(w->buf_used));
	return r;
}

int worker_take_bufs(struct worker *w, unsigned n, unsigned *ret_first)
{
	unsigned n_pieces = worker_n_pieces(n), run = 0;
	int r;

	r = worker_make_bufs(w);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < worker_n_pieces(w->n_bufs); i++) {
		run = w->buf_used[i] ? 0 : run + 1;
		if (run < n_pieces)
			continue;
		for (unsigned j = 0; j < n_pieces; j++)
			w->buf_used[i - j] = 1;
		*ret_first = (i + 1 - n_pieces) * PIECE_SLOTS;
		return 0;
	}
	return -ENOSPC;
}

void worker_return_bufs(struct worker *w, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < worker_n_pieces(n); i++)
		w->buf_used[first / PIECE_SLOTS + i] = 0;
}
