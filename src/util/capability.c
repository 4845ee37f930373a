/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/capability.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

int capability_drop(unsigned cap)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	struct __user_cap_data_struct *d = &data[CAP_TO_INDEX(cap)];
	const unsigned mask = CAP_TO_MASK(cap);

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	d->effective &= ~mask;
	d->permitted &= ~mask;
	d->inheritable &= ~mask; /* the ambient set follows */
	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	return 0;
}
