/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What is wrong with definitions only in the company of others: the same serial twice, the same
 * writable backing file twice, and a backing file that lies on the device it backs, be it through
 * other devices. Looks at this machine (files, mounts, /dev, /sys) as far as they exist here.
 */
#include "conf/device-conf.h"

struct cross_check {
	struct device_conf *const *confs;
	size_t n_confs;
	size_t n_subjects; /* messages are about the first ones; the others may only be named */

	/* Where to look; NULL: where the system has it. */
	const char *mountinfo; /* /proc/self/mountinfo */
	const char *dev;       /* /dev */
	const char *block;     /* /sys/class/block */
};

/* Silent. Return: 0, with what was found in @diag; -ENOMEM. */
int cross_check(const struct cross_check *cc, struct conf_diag *diag);
