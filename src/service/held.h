/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Those who hold a device that is to stop. The stop is tried again and again, and the journal is told
 * once of whoever it waits for. Silent, and of one thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include "state/holders.h"

#define HELD_TEXT_BYTES 512

/* Zeroed with each stop. */
struct held {
	unsigned n_tries;           /* that found it in use */
	bool unseen;                /* by nobody who can be seen, at the last one */
	bool passing;               /* and that may be over in a moment */
	char said[HELD_TEXT_BYTES]; /* as last told */
};

/* Who they are, as holders_to_string() has it, or that they cannot be seen. Returns buf. */
const char *held_describe(const struct holders *holders, char buf[static HELD_TEXT_BYTES]);

/* Another try found the device in use. @by: from held_describe(). True: that is worth a line. */
bool held_note(struct held *h, const char *by);

/* From the last try to the next. */
uint64_t held_delay_ms(const struct held *h);
