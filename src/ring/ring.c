/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ring/ring.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

#define RING_CTRL_SQES 8

int ring_init_queue(struct io_uring *ring, unsigned n_sqes, unsigned n_cqes)
{
	/* From best to what every kernel with ublk has; a kernel refuses a flag with -EINVAL. */
	static const unsigned flags[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++) {
		struct io_uring_params p = {.flags = flags[i], .cq_entries = n_cqes};

		if (n_cqes > 0)
			p.flags |= IORING_SETUP_CQSIZE;
		memset(ring, 0, sizeof(*ring));
		r = io_uring_queue_init_params(n_sqes, ring, &p);
	}
	if (r < 0)
		return r;
	/* Saves a lookup per system call; the ring works without. */
	(void)io_uring_register_ring_fd(ring);
	return 0;
}

int ring_init_ctrl(struct io_uring *ring)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SQE128};

	memset(ring, 0, sizeof(*ring));
	return io_uring_queue_init_params(RING_CTRL_SQES, ring, &p);
}
