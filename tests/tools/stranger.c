/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another program with a ublk device: adds one, with the mark of nobody or of the NAME given, and ends
 * without having served it. Prints its number.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ring/ctrl.h"
#include "state/state.h"

int main(int argc, char **argv)
{
	AUTO(ctrl_close) struct ctrl *ctrl = NULL;
	struct dev_info info = {
		.dev_id = CTRL_ANY_DEV_ID,
		.n_queues = 1,
		.depth = 4,
		.max_io_bytes = 64 << 10,
		.cookie = argc > 1 ? state_cookie(argv[1]) : 0x736f6d65626f6479,
	};
	int r = ctrl_open(&ctrl);

	if (r == 0)
		r = ctrl_add_dev(ctrl, &info);
	if (r < 0) {
		fprintf(stderr, "stranger: %s\n", strerror(-r));
		return 1;
	}
	printf("%" PRIu32 "\n", info.dev_id);
	return 0;
}
