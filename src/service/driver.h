/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Why ctrl_open() failed with @r, and what can be done about it. Logging. Return: -errno for the exit
 * status. */
int driver_log_absence(int r);
