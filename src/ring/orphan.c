/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ring/orphan.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "abi/features.h"
#include "util/fd.h"
#include "util/parse.h"

#define ORPHAN_DEVICES     "/sys/class/ublk-char"
#define ORPHAN_STEP_MAX_MS 100U

void orphan_deinit(struct orphan *o)
{
	state_deinit(&o->state);
}

bool orphan_is_marked(const struct dev_info *info, const char *name)
{
	/* Any user may make an unprivileged device with any mark; ours are never of that kind. */
	return info->cookie == state_cookie(name) && !(info->flags & FEATURE_UNPRIVILEGED_DEV);
}

int orphan_find(struct ctrl *ctrl, const char *name, struct orphan *ret)
{
	AUTO(orphan_deinit) struct orphan *o = &(struct orphan){0};
	char boot_id[33];
	int r;

	if (state_read(name, &o->state) < 0)
		return 0; /* nothing there, or nothing that proves a device to be ours */
	r = state_boot_id(boot_id);
	if (r < 0)
		return r;
	if (strcmp(boot_id, o->state.boot_id) != 0)
		return 0;
	r = ctrl_get_dev_info(ctrl, o->state.dev_id, &o->info);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return r;
	if (!orphan_is_marked(&o->info, name) || o->state.cookie != o->info.cookie)
		return 0;
	*ret = *o;
	*o = (struct orphan){0};
	return 1;
}

/* The lowest id from @first_id that the kernel has: 1; 0: none. */
static int orphan_next_id(uint32_t first_id, uint32_t *ret_id)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	uint32_t lowest = UINT32_MAX;
	int r;

	r = fd_open_dir(AT_FDCWD, ORPHAN_DEVICES, &d);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* the module is not loaded */
	for (;;) {
		const struct dirent *e;
		uint32_t id;

		errno = 0;
		e = readdir(d);
		if (!e && errno)
			return -errno;
		if (!e)
			break;
		if (strncmp(e->d_name, "ublkc", 5) == 0 && parse_u32(e->d_name + 5, &id) == 0 &&
		    id >= first_id && id < lowest)
			lowest = id;
	}
	if (lowest == UINT32_MAX)
		return 0;
	*ret_id = lowest;
	return 1;
}

int orphan_find_marked(struct ctrl *ctrl, const char *name, uint32_t first_id, struct dev_info *ret)
{
	struct dev_info info;
	uint32_t id = 0;
	int r;

	for (;;) {
		r = orphan_next_id(first_id, &id);
		if (r <= 0)
			return r;
		r = ctrl_get_dev_info(ctrl, id, &info);
		if (r == 0 && orphan_is_marked(&info, name))
			break;
		/* gone meanwhile, or somebody else's */
		if (r < 0 && r != -ENODEV && r != -EPERM && r != -EACCES)
			return r;
		first_id = id + 1;
	}
	*ret = info;
	return 1;
}

int orphan_delete(struct ctrl *ctrl, uint32_t dev_id, unsigned wait_ms)
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
			return 1;
		nanosleep(&ts, NULL);
		waited_ms += step_ms;
		step_ms = MIN(step_ms * 2, ORPHAN_STEP_MAX_MS);
	}
}

int orphan_try_stop(struct ctrl *ctrl, uint32_t dev_id, struct holders *holders)
{
	int r = holders_find(dev_id, holders);

	if (holders->n > 0)
		return -EBUSY;
	if (r == -ENODEV)
		return 0; /* it has no block device */
	if (r < 0)
		return r;
	r = ctrl_try_stop_dev(ctrl, dev_id);
	return r == -EOPNOTSUPP || r == -ENODEV ? 0 : r;
}

int orphan_remove(struct ctrl *ctrl, uint32_t dev_id, unsigned wait_ms, const char **ret_step)
{
	int r;

	/* No-op if the kernel has noticed the death; else it fails what is still queued. */
	r = ctrl_stop_dev(ctrl, dev_id);
	if (r < 0 && r != -ENODEV) {
		*ret_step = "stop";
		return r;
	}
	/* Before the number is free: whoever gets it next would get these names too. */
	r = state_remove_udev(dev_id);
	if (r < 0) {
		*ret_step = "remove the udev properties of";
		return r;
	}
	r = orphan_delete(ctrl, dev_id, wait_ms);
	if (r < 0)
		*ret_step = "delete";
	return r;
}
