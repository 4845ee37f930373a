/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include <stdbool.h>

/*
 * How far a device has come, and so what its end has to do.
 *
 *	NEW	the kernel knows nothing of it: only what was opened is closed
 *	ADDED	in the kernel, without a block device: it is deleted
 *	FOUND	an earlier server's, whose users wait: nothing of it is touched, the next server tries again
 *	LIVE	users may have it open: it is stopped, then deleted
 *	STOPPED	the block device is gone: it is deleted
 *	LEFT	for a successor: nothing of it is touched
 */
enum device_state {
	DEVICE_NEW,
	DEVICE_ADDED,
	DEVICE_FOUND,
	DEVICE_LIVE,
	DEVICE_STOPPED,
	DEVICE_LEFT,
	N_DEVICE_STATES,
};

bool device_may_go(enum device_state from, enum device_state to);
