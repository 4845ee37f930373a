/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue ends in one of these ways: the kernel has taken every slot away, since the device was
 * stopped; it was told to stop and the backend has given back what it had, in which case leaving the
 * ring cancels the commands that are still with the kernel; it was drained for a successor; or
 * something has happened that must not, in which case the result says what.
 *
 * Only the thread that fetched a slot may commit it, so everything here runs on the worker's thread,
 * but for the functions that queue.h gives to the controlling one.
 */
#include "ring/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#include "abi/features.h"
#include "ring/queue-internal.h"
#include "state/stats.h"
#include "util/cleanup.h"
#include "util/clock.h"

/* SQEs beside one for each slot: wake-up, idle timer, FETCH and COMMIT of batches. */
#define QUEUE_EXTRA_SQES  8
/* How long its slots may take to come back from the kernel on a shared worker. */
#define QUEUE_END_STEPS   10000
#define QUEUE_END_STEP_NS 1000000
/* An index that no ring's table has. */
#define NO_BUF            0xfffe

/* ---- states ---- */

static const bool queue_moves[N_QUEUE_STATES][N_QUEUE_STATES] = {
	[QUEUE_SERVING] = {[QUEUE_DRAINING] = true, [QUEUE_STOPPING] = true, [QUEUE_ENDED] = true},
	[QUEUE_STOPPING] = {[QUEUE_ENDED] = true},
	[QUEUE_DRAINING] = {[QUEUE_DRAINED] = true, [QUEUE_ENDED] = true},
	[QUEUE_DRAINED] = {[QUEUE_ENDED] = true},
};

bool queue_may_go(enum queue_state from, enum queue_state to)
{
	return queue_moves[from][to];
}

static void queue_go(struct queue *q, enum queue_state to)
{
	assert(queue_may_go(q->state, to));
	q->state = to;
}

/* ---- answers and requests ---- */

/* An eventfd takes this without blocking until 2^64 - 1 have come together. */
static void queue_signal(const struct queue *q)
{
	uint64_t one = 1;

	while (write(q->config.event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void queue_commit(struct queue *q, struct io *io)
{
	struct io_uring_sqe *sqe;

	io_go(io, IO_AT_KERNEL);
	if (q->batch) {
		batch_add(q, io);
		return;
	}
	sqe = worker_sqe(q->worker);
	io_cmd_commit_and_fetch(sqe, q->dev_file, q->cmd_flags, q->config.id, io->tag,
				q->copies ? io->buf : NULL, io->result);
	if (q->fixed)
		io_cmd_set_auto_buf(sqe, io->buf_index, true);
	sqe->user_data = io_user_data(IO_SOURCE_KERNEL, io);
}

void queue_answer(struct io *io, int32_t result)
{
	struct queue *q = io->queue;

	io->result = result;
	q->n_at_backend--;
	__atomic_store_n(&q->config.stats->in_flight, q->n_at_backend, __ATOMIC_RELAXED);
	io_go(io, IO_ANSWERED); /* the buffer is the kernel's again */
	if (q->state != QUEUE_DRAINING)
		queue_commit(q, io);
	if (q->n_at_backend == 0 && (q->state != QUEUE_SERVING || (q->batch && q->batch->aborted)))
		q->worker->look = true; /* this may have been the last */
}

void queue_answer_all(struct queue *q)
{
	for (unsigned tag = 0; tag < q->config.depth; tag++) {
		if (q->ios[tag].state == IO_ANSWERED)
			queue_commit(q, &q->ios[tag]);
	}
	queue_go(q, QUEUE_DRAINED);
}

static void queue_fetch(struct queue *q, struct io *io)
{
	struct io_uring_sqe *sqe = worker_sqe(q->worker);

	io_go(io, IO_AT_KERNEL);
	io_cmd_fetch(sqe, q->dev_file, q->cmd_flags, q->config.id, io->tag,
		     q->copies ? io->buf : NULL);
	if (q->fixed)
		io_cmd_set_auto_buf(sqe, io->buf_index, true);
	sqe->user_data = io_user_data(IO_SOURCE_KERNEL, io);
}

/* Of other operations than READ and WRITE: does the backend have it? */
static int queue_check_op(const struct limits *l, enum io_op op)
{
	switch (op) {
	case IO_DISCARD:
		return l->max_discard_bytes > 0 ? 0 : -EOPNOTSUPP;
	case IO_WRITE_ZEROES:
		return l->max_write_zeroes_bytes > 0 ? 0 : -EOPNOTSUPP;
	default:
		return -EOPNOTSUPP;
	}
}

/* Is this a request that the backend said it can serve? 0 or the answer. */
static int queue_check(const struct queue *q, const struct io *io)
{
	const struct limits *l = q->config.limits;
	uint64_t size_bytes = __atomic_load_n(&l->size_bytes, __ATOMIC_RELAXED); /* grows */
	int r;

	if (!io_has_data(io)) {
		if (io->op == IO_FLUSH)
			return 0;
		r = queue_check_op(l, io->op);
		if (r < 0)
			return r;
	} else if (io->len_bytes == 0 || io->len_bytes > l->max_io_bytes) {
		return -EIO;
	}
	if (io->op != IO_READ && l->read_only)
		return -EIO;
	if ((io->offset_bytes | io->len_bytes) & (l->logical_block_bytes - 1))
		return -EIO;
	if (io->offset_bytes > size_bytes || io->len_bytes > size_bytes - io->offset_bytes)
		return -EIO;
	return 0;
}

static void queue_submit(struct queue *q, struct io *io)
{
	io->beat = q->worker->beat;
	io_go(io, IO_AT_BACKEND);
	q->n_at_backend++;
	__atomic_store_n(&q->config.stats->in_flight, q->n_at_backend, __ATOMIC_RELAXED);
	if (io->data == IO_DATA_KERNEL && !(q->config.ops->data & IO_CAN(IO_DATA_KERNEL)) &&
	    io_has_data(io)) {
		/* The backend knows buffers only. */
		int r = io->op == IO_WRITE ? io_get_data(io, 0, io->buf, io->len_bytes) : 0;

		if (r < 0) {
			io_complete(io, r);
			return;
		}
		io->data = IO_DATA_BOUNCED;
	}
	q->config.ops->submit(q->backend_ctx, io);
}

static void queue_refuse(struct queue *q, struct io *io, int r)
{
	io_go(io, IO_AT_BACKEND);
	q->n_at_backend++;
	io_complete_final(io, r);
}

/* Not inlined: most devices have no limits. */
static __attribute__((noinline)) bool queue_admit(struct queue *q, struct io *io)
{
	if (q->state != QUEUE_SERVING ||
	    throttle_admit(&q->throttle, q->config.throttle, io, clock_now_ns()))
		return true;
	io_go(io, IO_WAITING);
	q->worker->throttled = true;
	return false;
}

static bool queue_must_wait(struct queue *q, struct io *io)
{
	const struct throttle *t = q->config.throttle;

	return t && throttle_is_on(t) && !queue_admit(q, io);
}

uint64_t queue_release(struct queue *q, uint64_t now_ns)
{
	/* One that is to end, or to be left to a successor, makes nobody wait for his share. */
	struct throttle *t = q->state == QUEUE_SERVING ? q->config.throttle : NULL;
	uint64_t wait_ns = UINT64_MAX;
	struct io *io;

	while ((io = throttle_next(&q->throttle, t, now_ns, &wait_ns))) {
		stats_add(&q->config.stats->waited_ns, q->worker->now_ns - io->start_ns);
		queue_submit(q, io);
	}
	return wait_ns;
}

/* Where its data is, seen from the backend. */
static enum io_data queue_find_data(const struct queue *q, uint32_t flags)
{
	if (q->copies)
		return IO_DATA_BUF;
	if (q->fixed && !(flags & IO_NEED_REG_BUF) && q->config.ops->data & IO_CAN(IO_DATA_FIXED))
		return IO_DATA_FIXED;
	return IO_DATA_KERNEL;
}

void queue_request(struct queue *q, struct io *io)
{
	struct io_desc desc;
	int r;

	io_desc_decode(q->descs, q->config.desc_size_bytes, io->tag, &desc);
	io->op = desc.op;
	io->flags = desc.flags;
	io->offset_bytes = desc.offset_bytes;
	io->len_bytes = desc.len_bytes;
	io->start_ns = q->worker->now_ns;
	io->done_bytes = 0;
	io->retries = 0;
	io->phase = 0;
	io->data = queue_find_data(q, desc.flags);
	r = queue_check(q, io);
	if (r < 0)
		queue_refuse(q, io, r);
	else if (!queue_must_wait(q, io))
		queue_submit(q, io);
}

/* A FETCH or COMMIT has come back. */
static void queue_on_kernel(struct queue *q, struct io *io, int res)
{
	if (res == IO_RES_REQUEST) {
		assert(io->state == IO_AT_KERNEL);
		queue_request(q, io);
		return;
	}
	io_go(io, IO_DEAD);
	if (++q->n_dead == q->config.depth)
		q->worker->look = true;
	if (res != IO_RES_ABORT)
		queue_break(q, res < 0 ? res : -EPROTO);
}

void queue_break(struct queue *q, int r)
{
	if (q->result < 0)
		return;
	q->result = r;
	__atomic_store_n(&q->broken, r, __ATOMIC_RELEASE);
	queue_signal(q);
	q->worker->look = true;
}

static bool queue_is_full(const struct queue *q)
{
	return q->n_at_once + q->n_at_backend + q->throttle.n == q->config.depth;
}

/* Nothing has changed with its requests since it was last looked at. */
static void queue_account(struct queue *q)
{
	struct stats_queue *s = q->config.stats;
	const uint64_t now_ns = q->worker->now_ns, ns = now_ns - q->turn_ns;

	q->turn_ns = now_ns;
	__atomic_store_n(&s->seen_ns, now_ns, __ATOMIC_RELAXED);
	if (q->n_at_backend > 0)
		stats_add(&s->backend_ns, q->n_at_backend * ns);
	if (queue_is_full(q))
		stats_add(&s->full_ns, ns);
}

void queue_time_at_once(struct queue *q, uint64_t ns)
{
	struct stats_queue *s = q->config.stats;

	if (queue_is_full(q))
		stats_add(&s->full_ns, ns);
	q->n_at_once = 0;
	for (unsigned op = 0; op < N_IO_OPS; op++) {
		const unsigned n = q->at_once[op];

		if (n == 0)
			continue;
		q->at_once[op] = 0;
		stats_add(&s->op[op].latency_ns, n * ns);
		stats_add(&s->latency[stats_class(op)][latency_bucket(ns)], n);
	}
}

void queue_count_turn(struct queue *q)
{
	if (q->turn == q->worker->turn)
		return;
	q->turn = q->worker->turn;
	q->worker->busy = true;
	stats_add(&q->config.stats->turns, 1);
	queue_account(q);
}

void queue_on_cqe(uint64_t user_data, int res)
{
	struct io *io = io_user_pointer(user_data);
	struct queue *q = io->queue;

	queue_count_turn(q);
	if ((user_data & IO_SOURCE_MASK) == IO_SOURCE_KERNEL) {
		queue_on_kernel(q, io, res);
		return;
	}
	assert(io->state == IO_AT_BACKEND);
	q->config.ops->on_cqe(q->backend_ctx, io, res);
}

/* ---- its end ---- */

void queue_look_at_flags(struct queue *q)
{
	if (q->state != QUEUE_SERVING)
		return;
	if (__atomic_load_n(&q->stop, __ATOMIC_ACQUIRE) || q->result < 0)
		queue_go(q, QUEUE_STOPPING);
	else if (__atomic_load_n(&q->drain, __ATOMIC_ACQUIRE))
		queue_go(q, QUEUE_DRAINING);
	if (q->state != QUEUE_SERVING)
		(void)queue_release(q, 0);
}

bool queue_is_quiet(const struct queue *q)
{
	return q->state == QUEUE_DRAINING && q->n_at_backend == 0 &&
	       throttle_is_empty(&q->throttle);
}

bool queue_is_dead(const struct queue *q)
{
	if (q->batch)
		return batch_is_over(q->batch) && q->n_at_backend == 0 &&
		       throttle_is_empty(&q->throttle);
	return q->n_dead == q->config.depth;
}

/* On a shared ring, what is with the kernel must come back first: nothing else cancels it. */
bool queue_ends_with_ring(const struct queue *q)
{
	return q->own_worker && q->state == QUEUE_STOPPING && q->n_at_backend == 0 &&
	       throttle_is_empty(&q->throttle);
}

static void queue_unlink(struct queue *q)
{
	struct queue **at = &q->worker->queues;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	__atomic_store_n(&q->worker->n_queues, q->worker->n_queues - 1, __ATOMIC_RELAXED);
}

/* What queue_set_up() made, as far as it came. */
static void queue_clear(struct queue *q)
{
	for (unsigned i = 0; i < q->n_files && q->worker->have_files; i++)
		worker_unregister_file(q->worker, q->files[i]);
	q->n_files = 0;
	if (q->have_backend_ctx && q->config.ops->queue_deinit)
		q->config.ops->queue_deinit(q->backend_ctx);
	q->have_backend_ctx = false;
	batch_deinit(q);
	if (q->have_fixed)
		worker_return_bufs(q->worker, q->first_buf, q->config.depth);
	q->have_fixed = false;
	if (q->descs)
		munmap(TAKE_PTR(q->descs), q->descs_bytes);
	if (q->bufs)
		munmap(TAKE_PTR(q->bufs), q->bufs_bytes);
	free(TAKE_PTR(q->ios));
}

void queue_leave(struct queue *q, int r)
{
	if (q->result == 0)
		q->result = r;
	if (q->n_at_once > 0)
		worker_settle(q->worker);
	queue_unlink(q);
	queue_clear(q);
	queue_go(q, QUEUE_ENDED);
	__atomic_store_n(&q->ended, 1, __ATOMIC_RELEASE);
	queue_signal(q);
	/* Who saw the end may have been quick: until here neither q nor its event_fd may go. */
	__atomic_store_n(&q->gone, 1, __ATOMIC_RELEASE);
}

void queue_look_for_slow(struct queue *q)
{
	uint32_t n_beats = __atomic_load_n(&q->slow_beats, __ATOMIC_RELAXED);
	const struct io *oldest = NULL;
	uint32_t n = 0;

	queue_account(q);
	for (unsigned tag = 0; n_beats > 0 && q->n_at_backend > 0 && tag < q->config.depth; tag++) {
		const struct io *io = &q->ios[tag];

		if (io->state != IO_AT_BACKEND || q->worker->beat - io->beat < n_beats)
			continue;
		n++;
		if (!oldest || q->worker->beat - io->beat > q->worker->beat - oldest->beat)
			oldest = io;
	}
	if (oldest) {
		__atomic_store_n(&q->slow_op, oldest->op, __ATOMIC_RELAXED);
		__atomic_store_n(&q->slow_offset_bytes, oldest->offset_bytes, __ATOMIC_RELAXED);
	}
	if ((__atomic_exchange_n(&q->slow_n, n, __ATOMIC_RELEASE) > 0) != (n > 0))
		queue_signal(q);
}

/* ---- its beginning ---- */

static int queue_map_descs(struct queue *q)
{
	const struct queue_config *c = &q->config;
	size_t len = io_desc_map_len_bytes(c->depth, c->desc_size_bytes);
	off_t offset = (off_t)io_desc_map_offset_bytes(c->id, c->desc_size_bytes);
	void *p;

	/* The driver refuses writable mappings. */
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, c->dev_fd, offset);
	if (p == MAP_FAILED)
		return -errno;
	q->descs = p;
	q->descs_bytes = len;
	/* A child that kept it would keep the device from being released. */
	return madvise(p, len, MADV_DONTFORK) < 0 ? -errno : 0;
}

static int queue_map_bufs(struct queue *q)
{
	size_t len = (size_t)q->config.depth * q->config.limits->max_io_bytes;
	void *p;

	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	if (p == MAP_FAILED)
		return -errno;
	q->bufs = p;
	q->bufs_bytes = len;
	/* User data: not in core dumps, not in children. Small requests must not take huge pages. */
	if (madvise(p, len, MADV_DONTDUMP) < 0 || madvise(p, len, MADV_DONTFORK) < 0)
		return -errno;
	(void)madvise(p, len, MADV_NOHUGEPAGE); /* EINVAL without THP */
	return 0;
}

static int queue_init_slots(struct queue *q)
{
	q->ios = calloc(q->config.depth, sizeof(*q->ios));
	if (!q->ios)
		return -ENOMEM;
	for (unsigned tag = 0; tag < q->config.depth; tag++) {
		q->ios[tag] = (struct io){
			.queue = q,
			.tag = (uint16_t)tag,
			.state = IO_IDLE,
			.buf = (char *)q->bufs + (size_t)tag * q->config.limits->max_io_bytes,
			.buf_index = (uint16_t)(q->have_fixed ? q->first_buf + tag : NO_BUF),
		};
	}
	return 0;
}

int queue_register_fd(struct queue *q, int fd)
{
	int r;

	if (q->n_files == QUEUE_N_FILES)
		return -ENOSPC;
	r = worker_register_file(q->worker, fd);
	if (r >= 0)
		q->files[q->n_files++] = (unsigned)r;
	return r;
}

static int queue_set_up(struct queue *q)
{
	const struct queue_config *c = &q->config;
	int r;

	q->dev_file = queue_register_fd(q, c->dev_fd);
	if (q->dev_file >= 0)
		q->cmd_flags |= IO_CMD_FIXED_FILE;
	else
		q->dev_file = c->dev_fd; /* works too */
	r = queue_map_descs(q);
	if (r < 0)
		return r;
	r = queue_map_bufs(q);
	/* Without a part of the ring's table, every request comes as one that has no place in it. */
	if (q->fixed)
		q->have_fixed = worker_take_bufs(q->worker, c->depth, &q->first_buf) == 0;
	if (r == 0)
		r = queue_init_slots(q);
	if (r == 0 && c->features & FEATURE_BATCH_IO)
		r = batch_init(q);
	if (r < 0)
		return r;
	q->backend_ctx = c->backend;
	if (!c->ops->queue_init)
		return 0;
	r = c->ops->queue_init(c->backend, q, &q->backend_ctx);
	q->have_backend_ctx = r >= 0;
	return r;
}

/* On the worker's thread. */
static int queue_join(struct worker *w, void *arg)
{
	struct queue *q = arg;
	int r;

	__atomic_store_n(&q->config.stats->tid, w->tid, __ATOMIC_RELAXED);
	r = queue_set_up(q);
	if (r < 0) {
		queue_clear(q);
		return r;
	}
	q->turn_ns = w->now_ns;
	q->next = w->queues;
	w->queues = q;
	__atomic_store_n(&w->n_queues, w->n_queues + 1, __ATOMIC_RELAXED);
	if (q->batch) {
		batch_start(q);
	} else {
		for (unsigned tag = 0; tag < q->config.depth; tag++)
			queue_fetch(q, &q->ios[tag]);
	}
	return worker_submit(w); /* what the kernel has no room for goes with the next turn */
}

static int queue_start_worker(struct queue *q)
{
	struct worker_config config = {
		.n_sqes = q->config.depth + QUEUE_EXTRA_SQES,
		.n_files = QUEUE_N_FILES,
		.n_bufs = q->config.depth,
		.spin_ns = q->config.spin_ns,
		.cpus = q->config.cpus,
	};

	q->own_worker = true;
	snprintf(config.name, sizeof(config.name), "ublkd-q%u", q->config.id);
	return worker_start(&config, &q->worker);
}

int queue_start(const struct queue_config *config, struct queue **ret)
{
	struct queue *q = calloc(1, sizeof(*q));
	int r = 0;

	if (!q)
		return -ENOMEM;
	q->config = *config;
	q->worker = config->worker;
	q->cmd_flags = config->legacy ? IO_CMD_LEGACY : 0;
	q->fixed = config->features & FEATURE_AUTO_BUF_REG;
	q->copies = !q->fixed && !(config->features & FEATURE_USER_COPY);
	if (!q->worker)
		r = queue_start_worker(q);
	if (r == 0)
		r = worker_call(q->worker, queue_join, q);
	q->joined = r == 0;
	if (r < 0) {
		queue_stop(q);
		return r;
	}
	*ret = q;
	return 0;
}

void queue_set_reachable(struct queue *q, bool reachable)
{
	struct stats_queue *s = q->config.stats;

	if (reachable)
		stats_add(&s->reconnects, 1);
	__atomic_store_n(&s->unreachable, !reachable, __ATOMIC_RELEASE);
	queue_signal(q);
}

/* ---- the controlling thread's side ---- */

void queue_note_failure(struct queue *q)
{
	/* The other side asks at most once in some seconds, so this is no cost per request. */
	if (!__atomic_exchange_n(&q->failed, 1, __ATOMIC_ACQ_REL))
		queue_signal(q);
}

bool queue_take_failed(struct queue *q)
{
	return __atomic_exchange_n(&q->failed, 0, __ATOMIC_ACQ_REL);
}

bool queue_has_ended(const struct queue *q, int *ret_r)
{
	int broken = __atomic_load_n(&q->broken, __ATOMIC_ACQUIRE);

	if (!broken && !__atomic_load_n(&q->ended, __ATOMIC_ACQUIRE))
		return false;
	*ret_r = broken ? broken : q->result;
	return true;
}

void queue_drain(struct queue *q)
{
	__atomic_store_n(&q->drain, 1, __ATOMIC_RELEASE);
	worker_wake(q->worker);
}

void queue_kick(struct queue *q)
{
	worker_wake(q->worker);
}

/* The thread touches it no more. False: a slot does not come back, whatever the kernel does with it. */
static bool queue_wait_until_gone(struct queue *q)
{
	const struct timespec step = {.tv_nsec = QUEUE_END_STEP_NS};

	worker_wake(q->worker);
	for (unsigned i = 0; i < QUEUE_END_STEPS; i++) {
		if (__atomic_load_n(&q->gone, __ATOMIC_ACQUIRE))
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

struct queue *queue_stop(struct queue *q)
{
	if (!q)
		return NULL;
	__atomic_store_n(&q->stop, 1, __ATOMIC_RELEASE);
	if (q->own_worker)
		worker_stop(q->worker);
	else if (q->joined && !queue_wait_until_gone(q))
		return NULL; /* the kernel may still write to its buffers: leaked on purpose */
	free(q);
	return NULL;
}

void queue_get_slow(const struct queue *q, struct queue_slow *ret)
{
	ret->n = __atomic_load_n(&q->slow_n, __ATOMIC_ACQUIRE);
	ret->op = (enum io_op)__atomic_load_n(&q->slow_op, __ATOMIC_RELAXED);
	ret->offset_bytes = __atomic_load_n(&q->slow_offset_bytes, __ATOMIC_RELAXED);
}

void queue_set_slow(struct queue *q, unsigned n_beats)
{
	__atomic_store_n(&q->slow_beats, n_beats, __ATOMIC_RELAXED);
}

bool queue_beat(struct queue *q)
{
	return worker_beat(q->worker);
}

uint16_t queue_get_depth(const struct queue *q)
{
	return q->config.depth;
}

uint16_t queue_get_id(const struct queue *q)
{
	return q->config.id;
}
