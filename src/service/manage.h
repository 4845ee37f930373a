/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include <stdint.h>

struct manage_options {
	char *const *names; /* NULL-terminated; empty: the devices with [Boot] Manager=yes */
	int log_level;      /* of the command line; -1: none */
};

/**
 * manage_devices() - serve many devices in this process until told to stop
 *
 * Main thread, before any other. Logging. Devices that fail do so alone; the manager goes on.
 * Return: 0: stopped as told, or left to a successor; else -errno as in device/device.h.
 */
int manage_devices(const struct manage_options *options);
