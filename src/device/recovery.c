/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device/recovery.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "state/state.h"
#include "util/fd.h"
#include "util/log.h"

#define RECOVERY_WAIT_MS 2000
#define RECOVERY_DEVICES "/sys/class/ublk-char"

DEFINE_AUTO(struct state *, state_deinit);

int recovery_delete(struct ctrl *ctrl, uint32_t dev_id, unsigned wait_ms)
{
	unsigned waited_ms = 0, step_ms = 1;
	struct dev_info info;
	int r;

	/* Never the waiting command: an opener of the block device would hold us for ever. */
	r = ctrl_del_dev_async(ctrl, dev_id);
	if (r == -EOPNOTSUPP)
		r = ctrl_del_dev(ctrl, dev_id); /* before 6.9 */
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return r;
	/* The kernel gives up rings, and the files in them, in its own time. */
	for (;;) {
		struct timespec ts = {.tv_nsec = step_ms * 1000000L};

		r = ctrl_get_dev_info(ctrl, dev_id, &info);
		if (r == -ENODEV)
			return 0;
		if (r < 0)
			return r;
		if (waited_ms >= wait_ms)
			return -ETIMEDOUT;
		nanosleep(&ts, NULL);
		waited_ms += step_ms;
		step_ms = MIN(step_ms * 2, 100U);
	}
}

static int recovery_remove(struct ctrl *ctrl, const struct dev_info *info)
{
	const uint32_t dev_id = info->dev_id;
	int r;

	log_notice("removing ublk device %u, which a server that died has left (%s)", dev_id,
		   dev_state_to_string(info->state));
	/* No-op if the kernel has noticed the death; else it fails what is still queued. */
	r = ctrl_stop_dev(ctrl, dev_id);
	if (r < 0)
		return log_error_errno(r, "cannot stop the left-over ublk device %u: %m", dev_id);
	/* Before the number is free: whoever gets it next would get these names too. */
	r = state_remove_udev(dev_id);
	if (r < 0)
		return log_error_errno(r, "cannot remove " STATE_DIR "/udev/ublkb%u: %m", dev_id);
	r = recovery_delete(ctrl, dev_id, RECOVERY_WAIT_MS);
	if (r == -ETIMEDOUT) {
		log_warning("/dev/ublkb%u of the server that died is still held by somebody; the "
			    "kernel removes it when that ends",
			    dev_id);
		return 0;
	}
	if (r < 0)
		return log_error_errno(r, "cannot delete the left-over ublk device %u: %m", dev_id);
	return 0;
}

/* What the state file names; it was written before the device was started. */
static int recovery_clean_known(struct ctrl *ctrl, const char *name)
{
	AUTO(state_deinit) struct state *s = &(struct state){0};
	struct dev_info info;
	char boot_id[33];

	if (state_read(name, s) < 0)
		return 0; /* nothing there, or nothing that proves a device to be ours */
	if (state_boot_id(boot_id) < 0 || strcmp(boot_id, s->boot_id) != 0)
		return 0;
	if (ctrl_get_dev_info(ctrl, s->dev_id, &info) < 0 || info.cookie != s->cookie ||
	    s->cookie != state_cookie(name))
		return 0;
	return recovery_remove(ctrl, &info);
}

/*
 * What no state file names: the server died between ADD_DEV and the writing of it, or on its way
 * out. Such a device was never started, or is stopped: one that is in use is never touched.
 */
static int recovery_clean_unknown(struct ctrl *ctrl, const char *name)
{
	AUTO_CLOSEDIR DIR *d = opendir(RECOVERY_DEVICES);
	const uint64_t cookie = state_cookie(name);
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		struct dev_info info;
		uint32_t dev_id;
		int r;

		if (sscanf(e->d_name, "ublkc%" SCNu32, &dev_id) != 1 ||
		    ctrl_get_dev_info(ctrl, dev_id, &info) < 0 || info.cookie != cookie ||
		    info.state != DEV_DEAD)
			continue;
		r = recovery_remove(ctrl, &info);
		if (r < 0)
			return r;
	}
	return 0;
}

int recovery_clean(struct ctrl *ctrl, const char *name)
{
	int r = recovery_clean_known(ctrl, name);

	return r < 0 ? r : recovery_clean_unknown(ctrl, name);
}
