/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include "conf/device-conf.h"

/**
 * serve_device() - serve one device until told to stop
 * @log_level:	of the command line, for reloads; -1: none
 *
 * Main thread. Logging. Runs the whole life: start, READY=1, event loop, wait for holders, stop.
 * Return: 0: stopped as told; else -errno as in device/device.h.
 */
int serve_device(const struct device_conf *conf, int log_level);
