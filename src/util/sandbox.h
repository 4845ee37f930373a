/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What the unit of this process was confined for. ublk@.service has UBLKD_SANDBOX= in its
 * environment, and the drop-in that opens the sandbox for a path names the path there, with a colon
 * between two.
 */
#include <stdbool.h>

/* A sandbox of ours is around us. */
bool sandbox_is_there(void);

/* It was opened for that path, or there is none. */
bool sandbox_is_for(const char *path);

/* Logging: it keeps us from what the definition names by now. @r: the errno that tells so. Return: -EACCES, by
 * which the unit does not try again by itself. */
int sandbox_log_is_old(const char *what, int r);
