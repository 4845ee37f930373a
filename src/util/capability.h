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
 * capability_leave_to_main() - drop what only the main thread needs
 *
 * Which is to say: SYS_ADMIN for commands to the driver, SYS_PTRACE to see who holds the device. Not
 * DAC_OVERRIDE, since a thread may have to open what backs the device, too. For other threads, in their
 * beginning. Silent.
 */
void capability_leave_to_main(void);
