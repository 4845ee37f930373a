/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/held.h"

#include <stdio.h>
#include <string.h>

#define HELD_PASSING_MS 200
#define HELD_EVERY_MS   1000

static const char held_unseen[] = "in use by somebody who cannot be seen from here";

const char *held_describe(const struct holders *holders, char buf[static HELD_TEXT_BYTES])
{
	if (holders->n > 0)
		return holders_to_string(holders, buf, HELD_TEXT_BYTES);
	return strcpy(buf, held_unseen);
}

bool held_note(struct held *h, const char *by)
{
	const bool unseen = strcmp(by, held_unseen) == 0;

	/* udev looks at a device for a moment when somebody has closed it: not worth a word. */
	h->passing = h->n_tries++ == 0 || (unseen && !h->unseen);
	h->unseen = unseen;
	if (h->passing || strcmp(h->said, by) == 0)
		return false;
	snprintf(h->said, sizeof(h->said), "%s", by);
	return true;
}

uint64_t held_delay_ms(const struct held *h)
{
	return h->passing ? HELD_PASSING_MS : HELD_EVERY_MS;
}
