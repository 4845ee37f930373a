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
