/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What a dead server of the same name left in the kernel. */
#include "ring/ctrl.h"

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
