/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Rings as we use them: which set-up flags, and what is done where the kernel lacks one. */
#include <liburing.h>
#include <stdbool.h>

/* How the ring of a queue thread is entered. */
struct ring_enter {
	unsigned flags;    /* IORING_ENTER_*, for every call */
	bool counts_as_io; /* a thread that waits in it is waiting for I/O, says the kernel */
};

/**
 * ring_init_queue() - the ring of a queue thread
 * @n_sqes:	how many SQEs may be queued before a submission
 * @n_cqes:	how many completions may wait; 0: twice as many; more of them cost time, not data
 * @tell:	for ring_has_work(), at some cost to each completion
 *
 * Only the calling thread may submit: SINGLE_ISSUER, DEFER_TASKRUN and COOP_TASKRUN where the
 * kernel has them, and the ring's own descriptor registered. Silent.
 * Return: 0; -EPERM: io_uring is disabled (kernel.io_uring_disabled, seccomp); -ENOSYS; -ENOMEM.
 */
int ring_init_queue(struct io_uring *ring, unsigned n_sqes, unsigned n_cqes, bool tell,
		    struct ring_enter *ret_how);

/**
 * ring_enter() - send what was queued, and wait
 * @n_wait:	until so many completions are there; 0: send only, and look at nothing
 * @timeout:	at most so long; NULL: for ever
 *
 * The one system call of a turn, and the only way in which the ring of a queue thread is submitted.
 * Return: SQEs sent; -ETIME; -EINTR; -EAGAIN and -EBUSY: the kernel is short of memory, or of room
 * for completions; else a ring error.
 */
int ring_enter(struct io_uring *ring, const struct ring_enter *how, unsigned n_wait,
	       const struct __kernel_timespec *timeout);

/* SQEs that the next ring_enter() sends. */
unsigned ring_n_queued(const struct io_uring *ring);

/* Would a ring_enter() that waits for more than @n come back at once? Of a ring that was made to tell. */
bool ring_has_work(const struct io_uring *ring, unsigned n);

/* The control ring: 128-byte SQEs. Same errors. */
int ring_init_ctrl(struct io_uring *ring);
