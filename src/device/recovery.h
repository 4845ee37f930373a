/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What a dead server of the same name left in the kernel. */
#include "ring/ctrl.h"

/**
 * recovery_clean() - remove the device that a dead server of this name left behind
 * @name:	its lock is ours, so no server of that name lives
 *
 * Main thread. Logging. The device is ours if it is of this boot, has the id in the state file and
 * carries our mark. A device that was not recoverable can only be deleted: its block device went
 * with the server. Return: 0; -ETIMEDOUT: somebody still holds it, its id stays for now.
 */
int recovery_clean(struct ctrl *ctrl, const char *name);

/**
 * recovery_delete() - delete a device that is stopped and that nobody serves
 * @wait_ms:	how long to wait for its last references to go
 *
 * Main thread. Silent. Return: 0: gone; -ETIMEDOUT: it goes when its last user does; else -errno.
 */
int recovery_delete(struct ctrl *ctrl, uint32_t dev_id, unsigned wait_ms);
