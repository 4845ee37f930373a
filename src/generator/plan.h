/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What a definition becomes below the directory that systemd gives a generator. Silent, and pure:
 * nothing is read and nothing written, so the same definition gives the same at boot, when most file
 * systems are not there yet, and later.
 */
#include <stdbool.h>
#include <stddef.h>

#include "conf/device-conf.h"

struct plan_entry {
	char *path; /* "ublk@data.service.d/50-ublkd-generator.conf" */
	char *text; /* of a file, or where a symbolic link leads to */
	bool is_link;
};

/* Starts zeroed, ends with plan_deinit(). */
struct plan {
	struct plan_entry *entries;
	size_t n_entries;
};

void plan_deinit(struct plan *p);

static inline void plan_deinit_auto(struct plan *p)
{
	plan_deinit(p);
}

struct plan_input {
	const struct device_conf *conf; /* NULL: there is none that is right; kept is there */
	/* What the device in use was made from, if there is one: its server may have to be replaced
	 * whatever the files say by now. */
	const struct device_conf *kept;
	bool starts; /* at boot and when it is mounted; else only ordering and sandbox are told */
};

/**
 * plan_device() - the drop-ins and links of one device
 * @p:	gets them; on failure it is as it was
 *
 * Return: 0; -EILSEQ: a path that no unit can name; -ENOMEM.
 */
int plan_device(struct plan *p, const struct plan_input *in);
