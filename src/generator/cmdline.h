/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include <stdbool.h>

/**
 * cmdline_allows() - whether the kernel command line lets devices start by themselves
 * @text:	/proc/cmdline
 * @initrd:	rd.ublk= counts, too
 *
 * ublk=BOOL, of which the last one counts, as in luks= of systemd-cryptsetup-generator(8). Silent.
 */
bool cmdline_allows(const char *text, bool initrd);
