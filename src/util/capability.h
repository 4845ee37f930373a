/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* capabilities(7), with the kernel's own calls: a library for this one would be a dependency more. */

/**
 * capability_drop() - never to have a capability again
 * @cap:	CAP_SYS_RESOURCE, ... of linux/capability.h
 *
 * For this thread, and those that it starts from now on. Silent. Return: 0, also if it had none; -errno.
 */
int capability_drop(unsigned cap);

/**
 * capability_leave_to_main() - drop what only the main thread and those of queues need
 *
 * SYS_ADMIN and SYS_PTRACE. Not for a thread that fetches requests: the kernel does not look for partitions
 * of a device that has one without SYS_ADMIN, nor does it let sfdisk have them looked for. Silent.
 */
void capability_leave_to_main(void);
