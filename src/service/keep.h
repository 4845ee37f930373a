/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * systemd's store of descriptors: what a process leaves there, its successor finds. For data that
 * live in a descriptor, such as the memfd of a memory device; never for the char device or a ring,
 * which would keep the device from being taken over. Silent.
 */
#include <stdbool.h>

/* Take what a predecessor left; once, before the first thread. */
void keep_init(void);

/* Is there a store at all? */
bool keep_is_possible(void);

/* For struct device_env; any thread. @arg is not used. */
int keep_fd(void *arg, const char *device, int fd);
int keep_take_fd(void *arg, const char *device);

/* Give up what belongs to none of the devices that were taken. */
void keep_forget_rest(void);
