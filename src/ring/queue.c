/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Life of a queue thread: set-up (may fail, told through queue_start()), turns, end.
 *
 * It ends when every slot has come back from the kernel with -ENODEV, which is what a stop of the
 * device does; or when queue_stop() asked for it and the backend holds no request, in which case
 * leaving the ring cancels the commands that are still with the kernel; or when something happens
 * that must not, in which case the result says what.
 *
 * Only this thread may commit what it fetched, so everything here runs on it, but for the functions
 * that queue.h gives to the main thread.
 */
#include "ring/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "ring/queue-internal.h"
#include "ring/ring.h"
#include "state/stats.h"
#include "util/cleanup.h"

/* SQEs beside one for each slot: the wake-up. */
#define QUEUE_EXTRA_SQES  1
#define QUEUE_STACK_BYTES (256 << 10)

/* An eventfd takes this without blocking until 2^64 - 1 have come together. */
static void queue_signal(int fd)
{
	uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static struct io_uring_sqe *queue_sqe(struct queue *q)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	assert(sqe); /* sized for all slots in ring_init_queue() */
	return sqe;
}

static int queue_dev_file(const struct queue *q)
{
	return q->cmd_flags & IO_CMD_FIXED_FILE ? QUEUE_DEV_FILE : q->config.dev_fd;
}

void queue_commit(struct io *io, int32_t result)
{
	struct queue *q = io->queue;
	struct io_uring_sqe *sqe = queue_sqe(q);

	io_cmd_commit_and_fetch(sqe, queue_dev_file(q), q->cmd_flags, q->config.id, io->tag,
				io->buf, result);
	sqe->user_data = io_user_data(IO_SOURCE_KERNEL, io->tag);
}

static void queue_fetch(struct queue *q, struct io *io)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	assert(io->state == IO_IDLE);
	io_cmd_fetch(sqe, queue_dev_file(q), q->cmd_flags, q->config.id, io->tag, io->buf);
	sqe->user_data = io_user_data(IO_SOURCE_KERNEL, io->tag);
	io->state = IO_AT_KERNEL;
}

static void queue_arm_wake(struct queue *q)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	io_uring_prep_read(sqe, q->wake_fd, &q->wake_value, sizeof(q->wake_value), 0);
	sqe->user_data = io_user_data(IO_SOURCE_WAKE, 0);
}

/* Is this a request that the backend said it can serve? 0 or the answer. */
static int queue_check(const struct queue *q, const struct io *io)
{
	const struct limits *l = q->config.limits;

	switch (io->op) {
	case IO_READ:
	case IO_WRITE:
		if (io->len_bytes == 0 || io->len_bytes > l->max_io_bytes)
			return -EIO;
		break;
	case IO_FLUSH:
		return 0;
	case IO_DISCARD:
		if (l->max_discard_bytes == 0)
			return -EOPNOTSUPP;
		break;
	case IO_WRITE_ZEROES:
		if (l->max_write_zeroes_bytes == 0)
			return -EOPNOTSUPP;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (io->op != IO_READ && l->read_only)
		return -EIO;
	if ((io->offset_bytes | io->len_bytes) & (l->logical_block_bytes - 1))
		return -EIO;
	if (io->offset_bytes > l->size_bytes || io->len_bytes > l->size_bytes - io->offset_bytes)
		return -EIO;
	return 0;
}

static void queue_request(struct queue *q, struct io *io)
{
	struct io_desc desc;
	int r;

	io_desc_decode(q->descs, q->config.desc_size_bytes, io->tag, &desc);
	io->op = desc.op;
	io->flags = desc.flags;
	io->offset_bytes = desc.offset_bytes;
	io->len_bytes = desc.len_bytes;
	io->done_bytes = 0;
	io->retries = 0;
	io->phase = 0;
	io->state = IO_AT_BACKEND;
	q->n_at_backend++;
	__atomic_store_n(&q->config.stats->in_flight, q->n_at_backend, __ATOMIC_RELAXED);
	r = queue_check(q, io);
	if (r < 0)
		io_complete(io, r);
	else
		q->config.ops->submit(q->backend_ctx, io);
}

/* A FETCH or COMMIT has come back. */
static void queue_on_kernel(struct queue *q, struct io *io, int res)
{
	assert(io->state == IO_AT_KERNEL);
	if (res == IO_RES_REQUEST) {
		queue_request(q, io);
		return;
	}
	io->state = IO_DEAD;
	q->n_dead++;
	if (res != IO_RES_ABORT && q->result == 0)
		q->result = res < 0 ? res : -EPROTO;
}

static void queue_on_cqe(struct queue *q, const struct io_uring_cqe *cqe)
{
	struct io *io = &q->ios[io_user_data_tag(cqe->user_data)];

	switch (io_user_data_source(cqe->user_data)) {
	case IO_SOURCE_KERNEL:
		queue_on_kernel(q, io, cqe->res);
		break;
	case IO_SOURCE_BACKEND:
		assert(io->state == IO_AT_BACKEND);
		q->config.ops->on_cqe(q->backend_ctx, io, cqe->res);
		break;
	case IO_SOURCE_WAKE:
		queue_arm_wake(q);
		break;
	default:
		assert(false);
	}
}

static bool queue_is_done(const struct queue *q)
{
	if (q->n_dead == q->config.depth)
		return true;
	if (q->n_at_backend > 0)
		return false;
	return q->result < 0 || __atomic_load_n(&q->stop, __ATOMIC_ACQUIRE);
}

static void queue_run(struct queue *q)
{
	while (!queue_is_done(q)) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		int r;

		/* Sends answers and backend I/O, and waits for what comes next, in one call. */
		r = io_uring_submit_and_wait(&q->ring, 1);
		if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY) {
			q->result = r;
			return;
		}
		stats_add(&q->config.stats->turns, 1);
		io_uring_for_each_cqe(&q->ring, head, cqe)
		{
			queue_on_cqe(q, cqe);
			n++;
		}
		io_uring_cq_advance(&q->ring, n);
	}
}

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
		};
	}
	return 0;
}

static int queue_init_files(struct queue *q)
{
	int r = io_uring_register_files_sparse(&q->ring, QUEUE_N_FILES);

	if (r < 0)
		return r;
	r = io_uring_register_files_update(&q->ring, QUEUE_DEV_FILE, &q->config.dev_fd, 1);
	if (r < 0)
		return r;
	q->cmd_flags |= IO_CMD_FIXED_FILE;
	q->n_files = 1;
	return 0;
}

static int queue_setup(struct queue *q)
{
	const struct queue_config *c = &q->config;
	int r;

	/* Before any memory is touched, so that it comes from the right node. A CPU set that the
	 * service may not use at all is no reason to fail. */
	if (c->cpus)
		(void)sched_setaffinity(0, sizeof(*c->cpus), c->cpus);
	/* Memory that we need must not wait for write-back to our own device. Inherited from the
	 * main thread where that was allowed to; not fatal by hand without CAP_SYS_RESOURCE. */
	(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	r = ring_init_queue(&q->ring, c->depth + QUEUE_EXTRA_SQES);
	if (r < 0)
		return r;
	q->have_ring = true;
	(void)queue_init_files(q); /* plain descriptors work too */
	r = queue_map_descs(q);
	if (r < 0)
		return r;
	r = queue_map_bufs(q);
	if (r < 0)
		return r;
	r = queue_init_slots(q);
	if (r < 0)
		return r;
	q->backend_ctx = c->backend;
	if (c->ops->queue_init) {
		r = c->ops->queue_init(c->backend, q, &q->backend_ctx);
		if (r < 0)
			return r;
		q->have_backend_ctx = true;
	}
	queue_arm_wake(q);
	for (unsigned tag = 0; tag < c->depth; tag++)
		queue_fetch(q, &q->ios[tag]);
	r = io_uring_submit(&q->ring);
	return r < 0 ? r : 0;
}

/* The ring first: it refers to the mapping's file and to the buffers. */
static void queue_teardown(struct queue *q)
{
	/* The kernel takes a ring apart when it finds the time, files and the claims on them last.
	 * With commands in flight it would wait for them here, so those must be gone. */
	if (q->cmd_flags & IO_CMD_FIXED_FILE && q->n_dead == q->config.depth)
		(void)io_uring_unregister_files(&q->ring);
	if (q->have_ring)
		io_uring_queue_exit(&q->ring);
	if (q->have_backend_ctx && q->config.ops->queue_deinit)
		q->config.ops->queue_deinit(q->backend_ctx);
	if (q->descs)
		munmap(q->descs, q->descs_bytes);
	if (q->bufs)
		munmap(q->bufs, q->bufs_bytes);
	free(TAKE_PTR(q->ios));
}

static void *queue_thread(void *arg)
{
	struct queue *q = arg;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "ublkd-q%u", q->config.id);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	__atomic_store_n(&q->config.stats->tid, gettid(), __ATOMIC_RELAXED);
	r = queue_setup(q);
	q->started_r = r;
	if (r < 0)
		q->result = r;
	sem_post(&q->started);
	if (r == 0)
		queue_run(q);
	queue_teardown(q);
	__atomic_store_n(&q->ended, 1, __ATOMIC_RELEASE);
	queue_signal(q->config.event_fd);
	return NULL;
}

static struct queue *queue_free(struct queue *q)
{
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	sem_destroy(&q->started);
	free(q);
	return NULL;
}

int queue_start(const struct queue_config *config, struct queue **ret)
{
	pthread_attr_t attr;
	struct queue *q;
	int r;

	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->config = *config;
	q->cmd_flags = config->legacy ? IO_CMD_LEGACY : 0;
	sem_init(&q->started, 0, 0);
	q->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (q->wake_fd < 0) {
		r = -errno;
		queue_free(q);
		return r;
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, QUEUE_STACK_BYTES);
	r = -pthread_create(&q->thread, &attr, queue_thread, q);
	pthread_attr_destroy(&attr);
	if (r < 0) {
		queue_free(q);
		return r;
	}
	while (sem_wait(&q->started) < 0)
		;
	r = q->started_r;
	if (r < 0) {
		queue_stop(q);
		return r;
	}
	*ret = q;
	return 0;
}

void queue_note_failure(struct queue *q)
{
	/* The main thread asks at most once in some seconds, so this is no cost per request. */
	if (!__atomic_exchange_n(&q->failed, 1, __ATOMIC_ACQ_REL))
		queue_signal(q->config.event_fd);
}

bool queue_take_failed(struct queue *q)
{
	return __atomic_exchange_n(&q->failed, 0, __ATOMIC_ACQ_REL);
}

bool queue_has_ended(const struct queue *q, int *ret_r)
{
	if (!__atomic_load_n(&q->ended, __ATOMIC_ACQUIRE))
		return false;
	*ret_r = q->result;
	return true;
}

struct queue *queue_stop(struct queue *q)
{
	if (!q)
		return NULL;
	__atomic_store_n(&q->stop, 1, __ATOMIC_RELEASE);
	queue_signal(q->wake_fd);
	pthread_join(q->thread, NULL);
	return queue_free(q);
}

int queue_register_fd(struct queue *q, int fd)
{
	int r;

	if (!(q->cmd_flags & IO_CMD_FIXED_FILE) || q->n_files == QUEUE_N_FILES)
		return -ENOSPC;
	r = io_uring_register_files_update(&q->ring, q->n_files, &fd, 1);
	if (r < 0)
		return r;
	return (int)q->n_files++;
}

struct io_uring *queue_get_ring(struct queue *q)
{
	return &q->ring;
}
