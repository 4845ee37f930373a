/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What is mounted where: proc_pid_mountinfo(5). Silent. */
#include <stddef.h>
#include <sys/types.h>

#include "util/cleanup.h"

struct mount {
	dev_t dev; /* of the file system: a made-up one for btrfs and the like */
	char *target;
	char *source; /* "/dev/sda1", or whatever the file system says it is */
};

/* Starts zeroed, ends with mounts_deinit(). */
struct mounts {
	struct mount *mounts;
	size_t n_mounts;
};

/* A line that is none of that format is left out. 0 or -errno, with what was read until then. */
int mounts_read(const char *mountinfo, struct mounts *m);
void mounts_deinit(struct mounts *m);

/* Paths of swap, from /proc/swaps: fn() with each until it does not return 0. What it returned; 0, also where there is
 * none; -errno. */
int mounts_each_swap(const char *swaps, int (*fn)(const char *path, void *arg), void *arg);

/* Octal escapes, as in mountinfo and /proc/swaps, in place. */
void mounts_unescape(char *s);

/* The mount that an absolute path without links is on; NULL: none that we know. */
const struct mount *mounts_find(const struct mounts *m, const char *path);
