/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * [Fault]: a backend that stands before another one and lets things go wrong, on purpose. A device
 * whose definition has no such section has nothing of this in the way of its requests.
 */
#include "backend/backend.h"
#include "conf/fault-conf.h"

/**
 * fault_wrap() - put faults between a device and its backend
 * @conf:	must outlive the backend
 * @ops:	of a backend that is open and has no queues; replaced by the wrapper's
 * @backend:	the same; the wrapper's close() closes both
 * @limits:	as settled; a write cache is announced where the faults need FLUSH to arrive
 * @live:	the device is: the kernel knows its limits, and they stay as they are
 *
 * Logging. Main thread. What it is given stays as it was on failure.
 * Return: 0; -EOPNOTSUPP: PowerCut= over a backend that cannot; -ENOMEM.
 */
int fault_wrap(const struct fault_conf *conf, const struct backend_ops **ops,
	       struct backend **backend, struct limits *limits, bool live);

/**
 * fault_describe() - what goes wrong, in words
 *
 * As in "1% of writes fail with EIO, a request takes 10 ms more". Silent. Return: to be freed;
 * NULL: no memory.
 */
char *fault_describe(const struct fault_conf *conf);
