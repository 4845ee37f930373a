/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ring/event.h"

#include <assert.h>

#include "ring/queue-internal.h"

static void queue_arm(struct queue *q, struct queue_event *e, struct io_uring_sqe *sqe)
{
	assert(!e->armed);
	sqe->user_data = io_user_data(IO_SOURCE_EVENT, e);
	e->armed = true;
	e->cancelled = false;
	e->queue = q;
	e->next = q->events;
	q->events = e;
}

void queue_wait_fd(struct queue *q, struct queue_event *e, int fd, unsigned events)
{
	struct io_uring_sqe *sqe = worker_sqe(q->worker);

	io_uring_prep_poll_add(sqe, fd, events);
	queue_arm(q, e, sqe);
}

void queue_wait_ns(struct queue *q, struct queue_event *e, uint64_t ns)
{
	struct io_uring_sqe *sqe = worker_sqe(q->worker);

	e->ts = (struct __kernel_timespec){.tv_sec = (int64_t)(ns / 1000000000),
					   .tv_nsec = (int64_t)(ns % 1000000000)};
	io_uring_prep_timeout(sqe, &e->ts, 0, 0);
	queue_arm(q, e, sqe);
}

void queue_cancel(struct queue_event *e)
{
	struct io_uring_sqe *sqe;

	if (!e->armed || e->cancelled)
		return;
	e->cancelled = true;
	sqe = worker_sqe(e->queue->worker);
	io_uring_prep_cancel64(sqe, io_user_data(IO_SOURCE_EVENT, e), 0);
	sqe->user_data = IO_SOURCE_NONE;
}

void queue_on_event(uint64_t user_data, int res)
{
	struct queue_event *e = io_user_pointer(user_data), **at;
	struct queue *q = e->queue;

	queue_count_turn(q);
	for (at = &q->events; *at != e; at = &(*at)->next)
		;
	*at = e->next;
	e->armed = false;
	if (!q->leaving)
		q->config.ops->on_event(q->backend_ctx, e, res);
	else if (!q->events)
		q->worker->look = true;
}

bool queue_end_events(struct queue *q)
{
	if (!q->leaving) {
		q->leaving = true;
		for (struct queue_event *e = q->events; e; e = e->next)
			queue_cancel(e);
	}
	return !q->events;
}
