/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "state/stats.h"

/* The order is that of the file. What the block layer or a backend is likely to say. */
static const int stats_errnos[STATS_N_ERRNOS] = {
	0,     EIO,   ENOSPC, EOPNOTSUPP, EINVAL,  ETIMEDOUT,
	EPERM, EROFS, ENODEV, ENOLINK,    ENODATA, EILSEQ,
};

unsigned stats_errno_index(int error)
{
	for (unsigned i = 1; i < STATS_N_ERRNOS; i++) {
		if (stats_errnos[i] == error)
			return i;
	}
	return 0;
}

int stats_errno(unsigned index)
{
	return stats_errnos[index];
}
