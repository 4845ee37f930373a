/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fence=: what was sent on a connection that is gone may still be carried out, by a server that is slow,
 * after the same request was sent again, was acknowledged, and newer ones were. So none that changes
 * anything is sent for a time, in which the server is done with the old ones.
 *
 * After a server of the device that died, its successor cannot know what there was. One that was ended
 * leaves a mark that there was nothing.
 */
#include <errno.h>
#include <fcntl.h>

#include "backend/nbd.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define FENCE_MARK "nbd.settled"

void nbd_fence_open(struct backend *b, const struct backend_request *req, uint64_t fence_ns)
{
	bool settled;

	b->fence_ns = fence_ns;
	if (fence_ns == 0)
		return;
	b->dir_fd = open(req->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* It is about this one time. */
	settled = b->dir_fd >= 0 && unlinkat(b->dir_fd, FENCE_MARK, 0) == 0;
	if (req->takeover && !settled) {
		b->fence_until_ns = clock_now_ns() + fence_ns;
		log_notice("no write is sent for the time of Fence=, after a server that died");
	}
}

void nbd_fence_close(struct backend *b)
{
	if (b->dir_fd < 0)
		return;
	if (!atomic_load(&b->unsettled))
		(void)fd_write_file(b->dir_fd, FENCE_MARK, "", 0, 0600);
	close(TAKE_FD(b->dir_fd));
}
