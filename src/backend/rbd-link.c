/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests go to the library on the queue's thread, and answers come on threads of the library. Those
 * put them on a list, and whoever finds it empty wakes the queue, which takes all there is at once.
 * The library has such a list, too (rbd_poll_io_events()), but one for the whole image, and a
 * wake-up for each answer.
 *
 * A request that has no answer is the library's, with its buffer: nothing can be done about it but to
 * wait. So it is librados that gives up after Timeout=; here is only noted that nothing is heard.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "backend/rbd.h"
#include "util/clock.h"

/* Without an answer for so long, there is something to tell. */
#define RBD_SILENT_NS (5 * RBD_NS_PER_S)
#define RBD_WATCH_NS  RBD_NS_PER_S
/* For each request, when nothing was heard for Timeout=. */
#define RBD_LAST_NS   (10 * RBD_NS_PER_S)

/* On a thread of the library. */
static void rbd_link_on_answer(rbd_completion_t c, void *arg)
{
	struct rbd_request *req = arg;
	struct rbd_link *l = req->link;
	struct rbd_request *first;

	/* Until it is on the list, the link stays; then only as long as we are counted. */
	atomic_fetch_add(&l->n_calling, 1);
	req->result = rbd_lib.aio_get_return_value(c);
	rbd_lib.aio_release(c);
	first = atomic_load(&l->answers);
	do
		req->next = first;
	while (!atomic_compare_exchange_weak(&l->answers, &first, req));
	if (!first)
		(void)eventfd_write(l->event_fd, 1);
	atomic_fetch_sub(&l->n_calling, 1);
}

static int rbd_request_result(const struct rbd_request *req)
{
	const struct io *io = req->io;
	const int64_t result = req->result;

	/* A read tells how much: less than all is behind the end of an image that was cut. */
	if (result >= 0)
		return io->op == IO_READ && (uint64_t)result != io->len_bytes ? -EIO : 0;
	switch (-result) {
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case ENOMEM:
		return -ENOMEM;
	case EOPNOTSUPP:
		return -EOPNOTSUPP;
	default: /* of the cluster's affairs, its users know nothing */
		return -EIO;
	}
}

static int rbd_request_give(struct rbd_request *req, rbd_completion_t c)
{
	rbd_image_t image = req->link->b->image;
	const struct io *io = req->io;
	const uint64_t at = io->offset_bytes, n = io->len_bytes;

	switch (io->op) {
	case IO_READ:
		return rbd_lib.aio_read(image, at, n, io->buf, c);
	case IO_WRITE:
		return rbd_lib.aio_write(image, at, n, io->buf, c);
	case IO_FLUSH:
		return rbd_lib.aio_flush(image, c);
	case IO_DISCARD:
		return rbd_lib.aio_discard(image, at, n, c);
	case IO_WRITE_ZEROES:
		return rbd_lib.aio_write_zeroes(
			image, at, n, c,
			io->flags & IO_NOUNMAP ? RBD_WRITE_ZEROES_FLAG_THICK_PROVISION : 0, 0);
	case IO_OTHER:
	case N_IO_OPS:
		break;
	}
	return -EOPNOTSUPP;
}

static void rbd_link_arm_watch(struct rbd_link *l)
{
	if (l->n_sent > 0 && !l->watch.armed)
		queue_wait_ns(l->queue, &l->watch, RBD_WATCH_NS);
}

static void rbd_link_set_trouble(struct rbd_link *l, enum rbd_trouble trouble)
{
	if (atomic_exchange(&l->b->trouble, (int)trouble) != (int)trouble || !l->unreachable)
		queue_set_reachable(l->queue, false);
	l->unreachable = true;
}

static void rbd_link_hear(struct rbd_link *l, uint64_t now_ns)
{
	l->heard_ns = now_ns;
	if (atomic_load(&l->b->gave_up) && atomic_exchange(&l->b->gave_up, false))
		rbd_image_set_patience(l->b, l->b->timeout_ns);
	if (l->unreachable)
		queue_set_reachable(l->queue, true);
	l->unreachable = false;
}

/* Its time had come; and that of all, if none was answered meanwhile. */
static void rbd_link_miss(struct rbd_link *l, uint64_t now_ns)
{
	const uint64_t timeout_ns = l->b->timeout_ns;

	if (timeout_ns == 0 || now_ns - l->heard_ns < timeout_ns)
		return;
	rbd_link_set_trouble(l, RBD_SILENT);
	if (!atomic_exchange(&l->b->gave_up, true) && timeout_ns > RBD_LAST_NS)
		rbd_image_set_patience(l->b, RBD_LAST_NS);
}

static void rbd_link_finish(struct rbd_link *l, struct rbd_request *req, uint64_t now_ns)
{
	int r = rbd_request_result(req);
	struct io *io = TAKE_PTR(req->io);

	l->n_sent--;
	if (req->result == -ETIMEDOUT)
		rbd_link_miss(l, now_ns);
	else if (req->result == -ESHUTDOWN)
		rbd_link_set_trouble(l, RBD_SHUT_OUT);
	else
		rbd_link_hear(l, now_ns);
	io_complete(io, r);
}

static void rbd_link_take_answers(struct rbd_link *l)
{
	const uint64_t now_ns = clock_now_ns();
	struct rbd_request *newest, *oldest = NULL;
	eventfd_t n;

	/* In this order: what comes in between is taken now, and wakes us once more. */
	(void)eventfd_read(l->event_fd, &n);
	newest = atomic_exchange(&l->answers, NULL);
	while (newest) {
		struct rbd_request *req = newest;

		newest = req->next;
		req->next = oldest;
		oldest = req;
	}
	while (oldest) {
		struct rbd_request *req = oldest;

		oldest = TAKE_PTR(req->next);
		rbd_link_finish(l, req, now_ns);
	}
	queue_wait_fd(l->queue, &l->answered, l->event_fd, POLLIN);
}

void rbd_link_on_event(struct rbd_link *l, struct queue_event *e)
{
	if (e == &l->answered) {
		rbd_link_take_answers(l);
		return;
	}
	if (l->n_sent > 0 && !l->unreachable && clock_now_ns() - l->heard_ns >= RBD_SILENT_NS)
		rbd_link_set_trouble(l, RBD_SILENT);
	rbd_link_arm_watch(l);
}

void rbd_link_submit(struct rbd_link *l, struct io *io)
{
	struct rbd_request *req = &l->requests[io->tag];
	rbd_completion_t c = NULL;
	int r;

	*req = (struct rbd_request){.link = l, .io = io};
	if (l->n_sent++ == 0)
		l->heard_ns = clock_now_ns();
	r = rbd_lib.aio_create_completion(req, rbd_link_on_answer, &c);
	if (r == 0) {
		r = rbd_request_give(req, c);
		if (r < 0)
			rbd_lib.aio_release(c); /* and there will be no answer */
	}
	if (r < 0) {
		req->result = r;
		rbd_link_finish(l, req, clock_now_ns());
	}
	rbd_link_arm_watch(l);
}

/* ---- beginning and end ---- */

int rbd_link_new(struct backend *b, struct queue *q, struct rbd_link **ret)
{
	const unsigned depth = queue_get_depth(q);
	struct rbd_link *l = calloc(1, sizeof(*l) + depth * sizeof(l->requests[0]));

	if (!l)
		return -ENOMEM;
	l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->event_fd < 0) {
		int r = -errno;

		free(l);
		return r;
	}
	l->b = b;
	l->queue = q;
	queue_wait_fd(q, &l->answered, l->event_fd, POLLIN);
	*ret = l;
	return 0;
}

void rbd_link_free(struct rbd_link *l)
{
	assert(l->n_sent == 0);
	/* Whoever brought the last answer may not have left yet. */
	while (atomic_load(&l->n_calling) > 0)
		sched_yield();
	close(l->event_fd);
	free(l);
}
