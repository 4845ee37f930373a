/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What the kernel does with a device whose server is gone, and what is done about one. */
#include <stdbool.h>

#include "conf/device-conf.h"
#include "ring/ctrl.h"

/* FEATURE_* to ask for. */
uint64_t recovery_flags(enum recovery_mode mode);

/**
 * recovery_spare_slots() - how many slots more than were asked for a device must have
 *
 * Up to Linux 6.14 the death of a server is noticed by the commands that its end cancels. If all
 * slots are with the server there is none, and 30 s pass. So one slot more is made, which the block
 * layer is told not to use (queue/nr_requests, whose least value is 4: with a depth below, as with
 * the largest, there is none).
 */
unsigned recovery_spare_slots(const struct ctrl *ctrl, uint64_t flags, unsigned depth);

/* May a takeover that a server did not survive be tried again? Not up to Linux 6.14. */
bool recovery_can_be_repeated(const struct ctrl *ctrl);

/**
 * recovery_clean() - remove the devices that dead servers of this name left behind
 * @name:	its lock is ours, so no server of that name lives
 *
 * Main thread. Logging. A device is ours if it carries our mark, and either is of this boot and has
 * the id in the state file, or was never started or is stopped. A device that was not recoverable
 * can only be deleted: its block device went with the server.
 * Return: 0, also if somebody still holds the device, whose id stays for now; else -errno.
 */
int recovery_clean(struct ctrl *ctrl, const char *name);
