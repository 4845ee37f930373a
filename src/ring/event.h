/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What a backend waits for beside its requests, on the queue's ring: a descriptor that becomes ready,
 * or a time. Each comes once, with on_event() of its io_ops, and can be asked for again then. All of it
 * happens on the queue's thread, from queue_init() to queue_deinit(); what is still to come at that
 * point does not.
 */
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

struct queue;

/* Zeroed at first, and the backend's, in memory that stays until queue_deinit(). */
struct queue_event {
	bool armed; /* on_event() is still to come */
	bool cancelled;
	struct queue *queue;
	struct queue_event *next; /* of the queue's */
	struct __kernel_timespec ts;
};

/* @events: POLLIN, POLLOUT. Not while it is armed. The descriptor may be closed before it comes. */
void queue_wait_fd(struct queue *q, struct queue_event *e, int fd, unsigned events);

/* So many nanoseconds from now. Not while it is armed. */
void queue_wait_ns(struct queue *q, struct queue_event *e, uint64_t ns);

/* It comes at once, with -ECANCELED unless it has come already. Nothing if it is not armed. */
void queue_cancel(struct queue_event *e);
