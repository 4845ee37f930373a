/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by device.c and device-start.c. */
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "device/device.h"
#include "ring/queue.h"
#include "state/stats.h"

struct device {
	const struct device_conf *conf;
	struct ctrl *ctrl;
	device_interrupt_fn interrupt;
	void *interrupt_arg;

	int lock_fd;  /* /run/ublkd/NAME/lock */
	int watch_fd; /* for node_wait() */
	int event_fd; /* from the queues */
	int dev_fd;   /* char device */

	const struct backend_ops *ops;
	struct backend *backend;
	bool backend_open;
	struct limits limits;

	struct dev_info info;
	bool added;   /* ADD_DEV was done */
	bool live;    /* START_DEV was done */
	bool stopped; /* STOP_DEV was done */
	struct stats stats;
	struct queue **queues;

	uint64_t n_errors_reported;
	uint64_t reported_ms; /* CLOCK_MONOTONIC; 0: never */
};

/* One of its queues cannot serve any more. */
bool device_queue_has_ended(const struct device *d);

/* Logging: the message for a failed command of the control device. Returns @r. */
int device_log_ctrl(const struct device *d, enum ctrl_op op, int r);
