/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Rings as we use them: which set-up flags, and what is done where the kernel lacks one. */
#include <liburing.h>

/**
 * ring_init_queue() - the ring of a queue thread
 * @n_sqes:	how many SQEs may be queued before a submission
 * @n_cqes:	how many completions may wait; 0: twice as many; more of them cost time, not data
 *
 * Only the calling thread may submit: SINGLE_ISSUER, DEFER_TASKRUN and COOP_TASKRUN where the
 * kernel has them, and the ring's own descriptor registered. Silent.
 * Return: 0; -EPERM: io_uring is disabled (kernel.io_uring_disabled, seccomp); -ENOSYS; -ENOMEM.
 */
int ring_init_queue(struct io_uring *ring, unsigned n_sqes, unsigned n_cqes);

/* The control ring: 128-byte SQEs. Same errors. */
int ring_init_ctrl(struct io_uring *ring);
