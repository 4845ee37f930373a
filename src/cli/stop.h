/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Taking down a step of a stack. */
#include <stdint.h>

#include "state/stack.h"

#define STOP_REASON_BYTES 512

struct stop_result {
	int status;                     /* 0; else an exit status */
	char reason[STOP_REASON_BYTES]; /* of a failure: what and what to do; may be empty */
};

/* What stops that step, for people: its unit, or the words of a tool. Returns buf. */
const char *stop_means(const struct stack_step *s, char *buf, size_t size);

/* Logging is the caller's. @dev_id: of a STACK_UBLK step. Never forces: what is in use stays. */
void stop_run_step(const struct stack_step *s, uint32_t dev_id, struct stop_result *ret);

#define STOP_COMMAND_MAX 6

/* The tool of the layer for what has no unit: words for exec, NULL behind the last. They lie in the
 * step and in buf. 0; -EOPNOTSUPP: there is none. */
int stop_command(const struct stack_step *s, const char *ret[static STOP_COMMAND_MAX], char *buf,
		 size_t size);
