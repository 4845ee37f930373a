/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device/device-state.h"

static const bool device_moves[N_DEVICE_STATES][N_DEVICE_STATES] = {
	[DEVICE_NEW] = {[DEVICE_ADDED] = true, [DEVICE_FOUND] = true},
	[DEVICE_ADDED] = {[DEVICE_LIVE] = true},
	/* NEW: it cannot be recovered, so it was removed and is made anew. */
	[DEVICE_FOUND] = {[DEVICE_NEW] = true, [DEVICE_LIVE] = true},
	[DEVICE_LIVE] = {[DEVICE_STOPPED] = true, [DEVICE_LEFT] = true},
};

bool device_may_go(enum device_state from, enum device_state to)
{
	return device_moves[from][to];
}
