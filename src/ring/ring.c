/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ring/ring.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

#define RING_CTRL_SQES 8

/* Newer than the headers of Debian 12. */
#ifndef IORING_SETUP_TASKRUN_FLAG
#define IORING_SETUP_TASKRUN_FLAG (1U << 9)
#endif
#ifndef IORING_ENTER_NO_IOWAIT /* Linux 6.15 */
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

/*
 * The kernel looks up each SQE in an array of indices. Up to 2.3 liburing fills it in at each
 * submission, which we do ourselves, later once; since 2.6 it does without where the kernel can.
 */
static void ring_fill_array(struct io_uring *ring)
{
	unsigned n = *ring->sq.kring_entries;

	for (unsigned i = 0; ring->sq.array && i < n; i++)
		ring->sq.array[i] = i;
}

int ring_init_queue(struct io_uring *ring, unsigned n_sqes, unsigned n_cqes, bool tell,
		    struct ring_enter *ret_how)
{
	/* From best to what every kernel with ublk has; a kernel refuses a flag with -EINVAL. */
	static const unsigned flags[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
		0,
	};
	struct ring_enter how = {.counts_as_io = true};
	struct io_uring_params p;
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++) {
		p = (struct io_uring_params){.flags = flags[i], .cq_entries = n_cqes};
		if (n_cqes > 0)
			p.flags |= IORING_SETUP_CQSIZE;
		if (tell && flags[i])
			p.flags |= IORING_SETUP_TASKRUN_FLAG;
		memset(ring, 0, sizeof(*ring));
		r = io_uring_queue_init_params(n_sqes, ring, &p);
	}
	if (r < 0)
		return r;
	ring_fill_array(ring);
	/* Saves a lookup per system call; the ring works without. */
	if (io_uring_register_ring_fd(ring) == 1)
		how.flags |= IORING_ENTER_REGISTERED_RING;
	if (p.features & IORING_FEAT_NO_IOWAIT) {
		how.flags |= IORING_ENTER_NO_IOWAIT;
		how.counts_as_io = false;
	}
	*ret_how = how;
	return 0;
}

unsigned ring_n_queued(const struct io_uring *ring)
{
	return ring->sq.sqe_tail - __atomic_load_n(ring->sq.khead, __ATOMIC_RELAXED);
}

int ring_enter(struct io_uring *ring, const struct ring_enter *how, unsigned n_wait,
	       const struct __kernel_timespec *timeout)
{
	struct io_uring_getevents_arg arg = {.ts = (uintptr_t)timeout};
	unsigned flags = how->flags;

	ring->sq.sqe_head = ring->sq.sqe_tail; /* what liburing itself would take for sent */
	__atomic_store_n(ring->sq.ktail, ring->sq.sqe_tail, __ATOMIC_RELEASE);
	if (n_wait > 0)
		flags |= IORING_ENTER_GETEVENTS;
	if (!timeout)
		return io_uring_enter2((unsigned)ring->enter_ring_fd, ring_n_queued(ring), n_wait,
				       flags, NULL, _NSIG / 8);
	return io_uring_enter2((unsigned)ring->enter_ring_fd, ring_n_queued(ring), n_wait,
			       flags | IORING_ENTER_EXT_ARG, (sigset_t *)(void *)&arg, sizeof(arg));
}

bool ring_has_work(const struct io_uring *ring, unsigned n)
{
	unsigned n_ready = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE) - *ring->cq.khead;
	unsigned pending = IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN;

	return n_ready > n || __atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) & pending;
}

int ring_init_ctrl(struct io_uring *ring)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SQE128};

	memset(ring, 0, sizeof(*ring));
	return io_uring_queue_init_params(RING_CTRL_SQES, ring, &p);
}
