/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/step.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void step_reached(const char *name)
{
	const char *stop_at = secure_getenv("UBLKD_STOP_AT");

	if (!stop_at)
		return;
	if (strcmp(stop_at, "list") == 0)
		fprintf(stderr, "step %s\n", name);
	else if (strcmp(stop_at, name) == 0)
		(void)raise(SIGSTOP);
}
