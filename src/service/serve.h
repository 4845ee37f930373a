/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/device-conf.h"

struct serve_options {
	const char *config; /* file that the definition came from; NULL: searched for by name */
	int log_level;      /* of the command line, for reloads; -1: none */
	uint64_t slow_request_ns;
	bool only_takeover; /* the definition is an old one */
};

/**
 * serve_device() - serve one device until told to stop
 * @conf:	its owner is this function from here on
 *
 * Main thread. Logging. Runs the whole life: start or takeover, READY=1, event loop, reloads, wait
 * for holders, stop; or the end for a successor.
 * Return: 0: stopped as told; else -errno as in device/device.h.
 */
int serve_device(struct device_conf *conf, const struct serve_options *options);
