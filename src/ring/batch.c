/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many slots in one command (FEATURE_BATCH_IO, Linux 7.0): each turn sends one COMMIT with all its
 * answers, and one FETCH stays with the kernel for as long as the queue lives. It gives tags, as
 * many as there are requests, in buffers that come back to it when they have been read.
 *
 * The elements of a COMMIT are the kernel's until its completion. A slot is in one of them at most,
 * and it comes to its next request, and so to its next answer, only behind that completion; so with
 * twice as many elements as slots, used in turn, none is overwritten too early.
 *
 * A COMMIT that takes less than all of its elements, or none, is a fault of ours: it would leave
 * requests without an answer for ever. The queue ends then, and a successor does them again. Nobody
 * is woken up for a COMMIT alone, so that is when something else happens, at the latest the next beat.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "abi/batch-cmd.h"
#include "ring/queue-internal.h"
#include "util/cleanup.h"

#define BATCH_TAGS     128 /* the kernel gives no more at once */
#define BATCH_MAX_BUFS 64U /* a power of two; with none left, FETCH ends and is sent again */

static uint16_t *batch_buf(const struct batch *b, unsigned id)
{
	return b->tags + (size_t)id * BATCH_TAGS;
}

static void batch_give_buf(struct batch *b, unsigned id)
{
	io_uring_buf_ring_add(b->bufs, batch_buf(b, id), BATCH_TAGS * sizeof(uint16_t),
			      (uint16_t)id, (int)(b->n_bufs - 1), 0);
	io_uring_buf_ring_advance(b->bufs, 1);
}

static int batch_register_bufs(struct queue *q, struct batch *b)
{
	struct io_uring_buf_reg reg = {0};
	void *p;
	int r;

	for (b->n_bufs = 1; b->n_bufs < q->config.depth && b->n_bufs < BATCH_MAX_BUFS;)
		b->n_bufs *= 2;
	b->tags = calloc((size_t)b->n_bufs * BATCH_TAGS, sizeof(*b->tags));
	if (!b->tags)
		return -ENOMEM;
	p = mmap(NULL, b->n_bufs * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	b->bufs = p;
	io_uring_buf_ring_init(b->bufs);
	reg.ring_addr = (uintptr_t)p;
	reg.ring_entries = b->n_bufs;
	/* A worker that lives long comes round; 0 is none. */
	do {
		reg.bgid = ++q->worker->last_buf_group ?: ++q->worker->last_buf_group;
		r = io_uring_register_buf_ring(&q->worker->ring, &reg, 0);
	} while (r == -EEXIST);
	if (r < 0)
		return r;
	b->buf_group = reg.bgid;
	for (unsigned i = 0; i < b->n_bufs; i++)
		batch_give_buf(b, i);
	return 0;
}

int batch_init(struct queue *q)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	q->batch = b;
	b->flags = q->copies ? BATCH_BUF_ADDR : q->fixed ? BATCH_AUTO_BUF_FALLBACK : 0;
	b->elem_bytes = (unsigned)batch_elem_size_bytes(b->flags);
	b->n_elems = 2U * q->config.depth;
	b->elems = calloc(b->n_elems, b->elem_bytes);
	return b->elems ? batch_register_bufs(q, b) : -ENOMEM;
}

/* From here on a completion of a command is worth waking up for. */
static void batch_await_commands(struct queue *q)
{
	q->worker->n_inline -= q->batch->n_inline;
	q->batch->n_inline = 0;
}

void batch_deinit(struct queue *q)
{
	struct batch *b = q->batch;

	if (!b)
		return;
	batch_await_commands(q);
	q->batch = NULL;
	if (b->buf_group)
		(void)io_uring_unregister_buf_ring(&q->worker->ring, b->buf_group);
	if (b->bufs)
		munmap(b->bufs, b->n_bufs * sizeof(struct io_uring_buf));
	free(b->tags);
	free(b->elems);
	free(b);
}

static void batch_encode(const struct queue *q, unsigned at, const struct io *io)
{
	const struct batch *b = q->batch;
	const struct batch_elem e = {
		.tag = io->tag,
		.buf_index = io->buf_index,
		.result = io->result,
		.buf_addr = (uintptr_t)io->buf,
	};

	batch_elem_encode(&e, b->flags, b->elems + (size_t)at * b->elem_bytes);
}

/* @n elements from b->first on. */
static void batch_command(struct queue *q, enum batch_op op, unsigned n)
{
	struct batch *b = q->batch;
	const struct batch_cmd cmd = {
		.op = op,
		.queue = q->config.id,
		.n_elems = (uint16_t)n,
		.batch_flags = b->flags,
		.elems = b->elems + (size_t)b->first * b->elem_bytes,
	};
	struct io_uring_sqe *sqe = worker_sqe(q->worker);

	batch_cmd_encode(sqe, q->dev_file, q->cmd_flags, &cmd);
	sqe->user_data = io_user_data(IO_SOURCE_BATCH_DONE, q);
	b->first = (b->first + n) % b->n_elems;
	b->n_cmds++;
	if (op == BATCH_COMMIT)
		b->cmd_bytes += n * b->elem_bytes;
	/* Behind the end of requests, nothing but its completion wakes us up any more. */
	if (!b->aborted) {
		b->n_inline++;
		q->worker->n_inline++;
	}
}

static void batch_fetch(struct queue *q)
{
	struct io_uring_sqe *sqe = worker_sqe(q->worker);

	batch_cmd_encode_fetch(sqe, q->dev_file, q->cmd_flags, q->config.id, q->batch->buf_group);
	sqe->user_data = io_user_data(IO_SOURCE_BATCH, q);
}

void batch_start(struct queue *q)
{
	for (unsigned tag = 0; tag < q->config.depth; tag++) {
		io_go(&q->ios[tag], IO_AT_KERNEL);
		batch_encode(q, tag, &q->ios[tag]);
	}
	batch_command(q, BATCH_PREPARE, q->config.depth);
	batch_fetch(q);
}

void batch_add(struct queue *q, const struct io *io)
{
	struct batch *b = q->batch;

	/* Those of a command stand in one piece. */
	if (b->first + b->n_unsent == b->n_elems)
		batch_send(q);
	if (b->n_unsent == 0 && !q->unsent) {
		q->unsent = true;
		q->next_unsent = q->worker->unsent;
		q->worker->unsent = q;
	}
	batch_encode(q, b->first + b->n_unsent++, io);
}

void batch_send(struct queue *q)
{
	unsigned n = q->batch->n_unsent;

	q->batch->n_unsent = 0;
	if (n > 0)
		batch_command(q, BATCH_COMMIT, n);
}

void batch_on_tags(const struct io_uring_cqe *cqe)
{
	struct queue *q = io_user_pointer(cqe->user_data);
	struct batch *b = q->batch;

	queue_count_turn(q);
	if (cqe->res > 0 && cqe->flags & IORING_CQE_F_BUFFER) {
		unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		const uint16_t *tags = batch_buf(b, id);

		for (unsigned i = 0; i < (unsigned)cqe->res / sizeof(*tags); i++) {
			if (tags[i] < q->config.depth)
				queue_request(q, &q->ios[tags[i]]);
			else
				queue_break(q, -EPROTO);
		}
		batch_give_buf(b, id);
	}
	if (cqe->flags & IORING_CQE_F_MORE)
		return;
	if (cqe->res == IO_RES_ABORT) {
		b->aborted = true;
		batch_await_commands(q);
		q->worker->look = true;
	} else if (cqe->res > 0 || cqe->res == -ENOBUFS) {
		batch_fetch(q);
	} else {
		queue_break(q, cqe->res < 0 ? cqe->res : -EPROTO);
	}
}

void batch_on_done(const struct io_uring_cqe *cqe)
{
	struct queue *q = io_user_pointer(cqe->user_data);
	struct batch *b = q->batch;

	b->n_cmds--;
	if (b->n_inline > 0) {
		b->n_inline--;
		q->worker->n_inline--;
	}
	if (b->aborted)
		q->worker->look = true; /* the device is gone, and what we say to it */
	else if (cqe->res < 0)
		queue_break(q, cqe->res);
	else
		b->cmd_bytes -= (unsigned)cqe->res;
	if (!b->aborted && b->n_cmds == 0 && b->cmd_bytes > 0)
		queue_break(q, -EPROTO);
}

bool batch_is_over(const struct batch *b)
{
	return b->aborted && b->n_unsent == 0 && b->n_cmds == 0;
}
