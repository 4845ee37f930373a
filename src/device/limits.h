/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include "abi/params.h"
#include "conf/device-conf.h"

/**
 * limits_settle() - what the block device will say of itself
 * @limits:	from the backend's open(); completed by the definition and by defaults
 *
 * Logging. Return: 0; -EUCLEAN: definition and backend do not fit.
 */
int limits_settle(const struct device_conf *conf, struct limits *limits);

/* Queues for Count=: auto is one for each CPU, at most 4; the kernel has the last word. */
unsigned limits_n_queues(const struct device_conf *conf, const struct limits *limits);
