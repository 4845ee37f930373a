/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include "generator/plan.h"

/**
 * write_plan() - put all entries of a device below the directory
 * @dir:	that systemd gave us
 *
 * Logging. All or nothing: what was written before an error is removed again. A link that is there
 * already and leads to the same place is another device's as well, and no error.
 */
int write_plan(const char *dir, const struct plan *p);
