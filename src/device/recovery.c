/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device/recovery.h"

#include "abi/features.h"
#include "abi/io-cmd.h"
#include "ring/orphan.h"
#include "util/log.h"
#include "util/messages.h"

#define RECOVERY_WAIT_MS   2000
#define RECOVERY_MIN_DEPTH 4 /* BLKDEV_MIN_RQ */

uint64_t recovery_flags(enum recovery_mode mode)
{
	switch (mode) {
	case RECOVERY_REISSUE:
		return FEATURE_USER_RECOVERY | FEATURE_RECOVERY_REISSUE;
	case RECOVERY_QUEUE:
		return FEATURE_USER_RECOVERY;
	case RECOVERY_FAIL:
		return FEATURE_USER_RECOVERY | FEATURE_RECOVERY_FAIL_IO;
	case RECOVERY_NONE:
		break;
	}
	return 0;
}

/* Since 6.15, release of the char device is what counts. Zero copy came with the same release. */
static bool recovery_is_by_release(const struct ctrl *ctrl)
{
	return ctrl_has_feature(ctrl, FEATURE_ZERO_COPY);
}

unsigned recovery_spare_slots(const struct ctrl *ctrl, uint64_t flags, unsigned depth)
{
	return flags & FEATURE_USER_RECOVERY && !recovery_is_by_release(ctrl) &&
	       depth >= RECOVERY_MIN_DEPTH && depth < IO_MAX_DEPTH;
}

bool recovery_can_be_repeated(const struct ctrl *ctrl)
{
	return recovery_is_by_release(ctrl);
}

static int recovery_remove(struct ctrl *ctrl, const struct dev_info *info)
{
	const uint32_t dev_id = info->dev_id;
	const char *step;
	int r;

	log_message(MESSAGE_LEFT_OVER_REMOVED, LOG_NOTICE, 0,
		    "removing ublk device %u, which a server that died has left (%s)", dev_id,
		    dev_state_to_string(info->state));
	r = orphan_remove(ctrl, dev_id, RECOVERY_WAIT_MS, &step);
	if (r < 0)
		return log_error_errno(
			r, "cannot %s ublk device %u, which a server that died has left: %m", step,
			dev_id);
	if (r > 0)
		log_message(MESSAGE_LEFT_OVER_HELD, LOG_WARNING, 0,
			    "/dev/ublkb%u of the server that died is still held by somebody; the "
			    "kernel removes it when that ends",
			    dev_id);
	return 0;
}

static int recovery_log_find(int r)
{
	return log_error_errno(r, "cannot tell what a server that died has left: %m");
}

int recovery_clean(struct ctrl *ctrl, const char *name)
{
	AUTO(orphan_deinit) struct orphan *o = &(struct orphan){0};
	uint32_t first_id = 0;
	int r;

	/* What the state file names; it was written before the device was started. */
	r = orphan_find(ctrl, name, o);
	if (r < 0)
		return recovery_log_find(r);
	if (r > 0)
		r = recovery_remove(ctrl, &o->info);
	/* What none names was never started, or is stopped: one that is in use is never touched. */
	while (r == 0) {
		struct dev_info info;

		r = orphan_find_marked(ctrl, name, first_id, &info);
		if (r < 0)
			return recovery_log_find(r);
		if (r == 0)
			return 0;
		first_id = info.dev_id + 1;
		if (info.state != DEV_DEAD)
			return log_at(
				LOG_ERR, -EBUSY,
				"ublk device %u carries the mark of %s, but what its server knew "
				"of it is lost: see who uses it, and give it up with \"ublkctl gc "
				"--force ublkb%u\"",
				info.dev_id, name, info.dev_id);
		r = recovery_remove(ctrl, &info);
	}
	return r;
}
