/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What a server that died has left in the kernel: finding it, proving whose it is, removing it.
 *
 * All functions are silent and for the main thread, and all are for whoever holds the lock of the
 * name (state_lock()): with it, no server of that name lives or starts.
 */
#include <stdbool.h>
#include <stdint.h>

#include "ring/ctrl.h"
#include "state/holders.h"
#include "state/state.h"
#include "util/cleanup.h"

/* A device that the state file of a name tells of. */
struct orphan {
	struct dev_info info; /* as the kernel said a moment ago */
	struct state state;   /* what its server wrote before it started the device */
};

/**
 * orphan_find() - the device that the state file of a name tells of
 *
 * It is ours: the file is of this boot, and the kernel has a device of that id with our mark in it.
 * The state it is in is the caller's to judge: one that is LIVE still has a process behind it.
 * Return: 1: found; 0: there is none, or nothing that proves it to be ours; else -errno, as the
 * kernel did not tell.
 */
int orphan_find(struct ctrl *ctrl, const char *name, struct orphan *ret);
void orphan_deinit(struct orphan *o);
DEFINE_AUTO(struct orphan *, orphan_deinit);

/**
 * orphan_find_marked() - a device with our mark that no state file tells of
 * @first_id:	look at this id and those above only, for the next call to go on behind the last find
 *
 * Its server died between ADD_DEV and the writing of the file, or on its way out; such a device is
 * DEAD. One in another state has lost its state file to somebody: the caller leaves it alone unless
 * it is told otherwise. The lowest id comes first.
 * Return: 1: found; 0: none; else -errno.
 */
int orphan_find_marked(struct ctrl *ctrl, const char *name, uint32_t first_id,
		       struct dev_info *ret);

/* Made by a server of this name, as far as the kernel can tell. */
bool orphan_is_marked(const struct dev_info *info, const char *name);

/**
 * orphan_delete() - delete a device that is stopped and that nobody serves
 * @wait_ms:	how long to wait for its last references to go
 *
 * Return: 0: gone; 1: it goes when its last user does; else -errno.
 */
int orphan_delete(struct ctrl *ctrl, uint32_t dev_id, unsigned wait_ms);

/**
 * orphan_try_stop() - stop a device that nobody serves, if nobody uses it either
 * @holders:	who uses it; initialized by the caller
 *
 * The kernel knows best, but cannot be asked before 7.0; /proc and /sys do not show those who are just
 * letting go of it, and wait for what they have written.
 * Return: 0: nobody uses it, and orphan_remove() is in order; -EBUSY: see @holders, which is empty if
 * the kernel says so and nobody can be seen; else -errno.
 */
int orphan_try_stop(struct ctrl *ctrl, uint32_t dev_id, struct holders *holders);

/**
 * orphan_remove() - stop and delete a device that nobody serves, and tell udev no more of it
 * @wait_ms:	as with orphan_delete()
 * @ret_step:	set on failure: what could not be done, for "cannot %s ublk device 3"
 *
 * What is queued or still written to it fails with an error.
 * Return: 0: gone; 1: it is stopped, and goes when its last user does; else -errno.
 */
int orphan_remove(struct ctrl *ctrl, uint32_t dev_id, unsigned wait_ms, const char **ret_step);
