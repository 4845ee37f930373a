/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The choice is made once, when a device is added: it is part of what the kernel made, and a server
 * that takes the device over finds it in the device's flags.
 *
 *	zero copy	the kernel registers a request's pages with our ring (AUTO_BUF_REG). For
 *			backends that do I/O on them through that ring. Comes with USER_COPY, which
 *			serves the requests whose pages could not be registered
 *	user copy	data is copied between a request's pages and the backend's own memory, once
 *			(USER_COPY). For backends that have memory of their own. Others get a buffer
 *	copy		the kernel copies to and from our buffers: every backend, every kernel
 *
 * What auto takes is what costs least (tests/bench/gauge, Linux 7.3). Zero copy saves more than it
 * costs from the smallest request on. A system call to copy 4 KiB costs more than a second copy of
 * them, so user copy, which is faster at 128 KiB, is for those who know, and for a device of which
 * no data is wanted (no_data): there is no such system call then. A batch costs 1200
 * instructions a turn and saves 500 a request: it wins with three requests or more. Where a request
 * takes some time by itself it is on; where it takes none (at_once), single ones are half of life.
 *
 * Batches are for recoverable devices only if what was under way is done again: a request that was
 * in the kernel's list when the server went is one of those, and would fail instead.
 */
#include "device/data-plane.h"

#include <inttypes.h>
#include <unistd.h>

#include "abi/features.h"
#include "device/limits.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/parse.h"

#define FEATURES_ZERO_COPY (FEATURE_AUTO_BUF_REG | FEATURE_USER_COPY)
#define FEATURES_USER_COPY FEATURE_USER_COPY

/* Linux 7.3 refuses to make a list for one tag (kfifo_alloc()). */
#define MIN_BATCH_DEPTH 2

/* MaxIO=auto where each slot has a buffer. */
#define AUTO_BUFFER_BYTES (512U << 10)

static bool data_plane_has(const struct device *d, uint64_t flags)
{
	for (uint64_t f = 1; f && f <= flags; f <<= 1) {
		if (flags & f && !ctrl_has_feature(d->env.ctrl, f))
			return false;
	}
	return true;
}

static int data_plane_no(const char *key, const char *value, const char *why)
{
	return log_message(MESSAGE_KERNEL_LACKS, LOG_ERR, -EOPNOTSUPP,
			   "[Queues] %s=%s is not possible %s: set %s=auto", key, value, why, key);
}

static int data_plane_choose_copy(const struct device *d, uint64_t *ret_flags)
{
	const char *type = d->conf->backend_type->name;
	bool fixed = d->ops->io->data & IO_CAN(IO_DATA_FIXED);
	char why[128];

	switch (d->conf->copy_mode) {
	case COPY_MODE_ZERO_COPY:
		snprintf(why, sizeof(why), "with what lies behind this device (Type=%s%s)", type,
			 d->conf->fault ? ", [Fault]" : "");
		if (!fixed)
			return data_plane_no("CopyMode", "zero-copy", why);
		if (!data_plane_has(d, FEATURES_ZERO_COPY))
			return data_plane_no("CopyMode", "zero-copy",
					     "before Linux 6.16 (AUTO_BUF_REG)");
		*ret_flags = FEATURES_ZERO_COPY;
		return 0;
	case COPY_MODE_USER_COPY:
		if (!data_plane_has(d, FEATURES_USER_COPY))
			return data_plane_no("CopyMode", "user-copy",
					     "before Linux 6.5 (USER_COPY)");
		*ret_flags = FEATURES_USER_COPY;
		return 0;
	case COPY_MODE_COPY:
		*ret_flags = 0;
		return 0;
	case COPY_MODE_AUTO:
		break;
	}
	if (fixed && data_plane_has(d, FEATURES_ZERO_COPY))
		*ret_flags = FEATURES_ZERO_COPY;
	else if (d->limits.no_data && data_plane_has(d, FEATURES_USER_COPY))
		*ret_flags = FEATURES_USER_COPY;
	else
		*ret_flags = 0;
	return 0;
}

static int data_plane_choose_batch(const struct device *d, uint64_t *ret_flags)
{
	const char *why = NULL;

	if (d->conf->batch_io == BATCH_IO_NO)
		return 0;
	if (d->conf->batch_io == BATCH_IO_AUTO && d->ops->io->at_once)
		return 0;
	if (d->recovery != RECOVERY_REISSUE && d->recovery != RECOVERY_NONE)
		why = "with [Recovery] Mode=queue or fail, since requests that have not reached "
		      "the server would fail with it";
	else if (d->conf->depth < MIN_BATCH_DEPTH)
		why = "with Depth=1";
	else if (!data_plane_has(d, FEATURE_BATCH_IO))
		why = "before Linux 7.0 (BATCH_IO)";
	if (!why)
		*ret_flags |= FEATURE_BATCH_IO;
	else if (d->conf->batch_io == BATCH_IO_YES)
		return data_plane_no("BatchIO", "yes", why);
	return 0;
}

/* Where each slot may fill a buffer, the largest request is smaller, and what the budget allows. */
static void data_plane_keep_budget(struct device *d)
{
	const uint64_t n_slots = (uint64_t)limits_n_queues(d->conf, &d->limits) * d->conf->depth;
	const uint32_t page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	uint32_t max_io_bytes;
	char have[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];

	if (d->conf->max_io_bytes == 0)
		d->limits.max_io_bytes = MIN(d->limits.max_io_bytes, AUTO_BUFFER_BYTES);
	max_io_bytes = d->limits.max_io_bytes;
	while (max_io_bytes > page_bytes && max_io_bytes * n_slots > d->conf->buffer_memory_bytes)
		max_io_bytes = MAX(max_io_bytes / 2 / page_bytes * page_bytes, page_bytes);
	if (max_io_bytes < d->limits.max_io_bytes)
		log_notice("requests are at most %s, not %s, since the buffers of %" PRIu64
			   " slots shall stay within [Queues] BufferMemory=",
			   format_size(max_io_bytes, have),
			   format_size(d->limits.max_io_bytes, want), n_slots);
	d->limits.max_io_bytes = max_io_bytes;
}

/* Does every request of any size have a buffer of ours? */
static bool data_plane_has_buffers(const struct device *d, uint64_t flags)
{
	if (flags & FEATURE_AUTO_BUF_REG) /* those that are not registered do: few */
		return false;
	return !(flags & FEATURE_USER_COPY) || !(d->ops->io->data & IO_CAN(IO_DATA_KERNEL));
}

int data_plane_choose(struct device *d, uint64_t *ret_flags)
{
	uint64_t flags = 0;
	int r;

	r = data_plane_choose_copy(d, &flags);
	if (r == 0)
		r = data_plane_choose_batch(d, &flags);
	if (r < 0)
		return r;
	/* Else the backend sees our buffers, which are page-aligned, and never the user's. */
	if (!(flags & FEATURE_AUTO_BUF_REG))
		d->limits.dma_alignment_bytes = 0;
	if (data_plane_has_buffers(d, flags))
		data_plane_keep_budget(d);
	*ret_flags = flags;
	return 0;
}

const char *data_plane_to_string(uint64_t flags)
{
	bool batched = flags & FEATURE_BATCH_IO;

	if (flags & FEATURE_AUTO_BUF_REG)
		return batched ? "zero copy, batched" : "zero copy";
	if (flags & FEATURE_USER_COPY)
		return batched ? "user copy, batched" : "user copy";
	return batched ? "copy, batched" : "copy";
}
