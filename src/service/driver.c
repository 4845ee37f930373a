/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/driver.h"

#include "util/log.h"
#include "util/messages.h"

int driver_log_absence(int r)
{
	switch (r) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return log_message(
			MESSAGE_DRIVER_MISSING, LOG_ERR, -EOPNOTSUPP,
			"there is no /dev/ublk-control: run 'modprobe ublk_drv', or boot a "
			"kernel that has this module");
	case -ENOTSUP:
		return log_message(
			MESSAGE_IO_URING_REFUSED, LOG_ERR, -EOPNOTSUPP,
			"io_uring cannot be used here: see sysctl kernel.io_uring_disabled, "
			"and seccomp filters");
	case -EPERM:
	case -EACCES:
		return log_error_errno(r, "cannot open /dev/ublk-control: %m; run as root");
	default:
		return log_error_errno(r, "cannot use /dev/ublk-control: %m");
	}
}
