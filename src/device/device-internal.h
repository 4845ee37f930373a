/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by device.c and device-start.c. */
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "device/device-state.h"
#include "device/device.h"
#include "ring/orphan.h"
#include "ring/queue.h"
#include "ring/throttle.h"
#include "state/stats.h"

struct device {
	struct device_conf *conf; /* in force */
	struct device_env env;

	char *dir;    /* /run/ublkd/NAME */
	int lock_fd;  /* lock in it */
	int event_fd; /* from the queues */
	int dev_fd;   /* char device */

	const struct backend_ops *ops;
	struct backend *backend;
	bool backend_open;
	struct limits limits;
	struct limits found; /* at a takeover, what the backend can do now */

	struct dev_info info;
	enum recovery_mode recovery; /* as it is, which may be less than was asked for */
	enum device_state state;
	bool taken_over;
	bool stop_is_stuck;    /* a command to stop did not come back */
	struct orphan *orphan; /* to be taken over, until it is */
	struct stats stats;
	uint64_t live_ns; /* a moment before it was */
	uint64_t seen_ns; /* at a takeover: when the server before gave its last sign of life */
	struct throttle *throttle;
	struct queue **queues;

	uint64_t n_errors_reported;
	uint64_t reported_ms; /* CLOCK_MONOTONIC; 0: never */
	bool slow_reported;
	char *trouble; /* as last reported; NULL: none */
	bool status_changed;
};

/* Asserts that it may. */
void device_go(struct device *d, enum device_state to);

/* One of its queues cannot serve any more. */
bool device_queue_has_ended(const struct device *d);

/* Logging: the message for a failed command of the control device. Returns @r. */
int device_log_ctrl(const struct device *d, enum ctrl_op op, int r);

/* What a backend is asked for by a definition. */
struct backend_request device_backend_request(const struct device *d,
					      const struct device_conf *conf);

/* Last line of the definition that is kept; what stands before it has this digest. */
#define DEFINITION_DIGEST "# digest "

/* device-start.c. Logging. State, definition and udev properties as they are now. */
int device_write_state(struct device *d, bool takeover);
int device_write_udev(const struct device *d);
void device_set_rates(struct device *d);
int device_open_char(struct device *d);
int device_start_queues(struct device *d);
/* Logging: why START_DEV or END_USER_RECOVERY failed. */
int device_log_start(const struct device *d, enum ctrl_op op, int r);

/* device-takeover.c. Logging. After the lock of a server that died: 0: nothing is left of it; 1: its
 * device is to be taken over, with the definition in d->conf. */
int device_find_orphan(struct device *d);
/* START_USER_RECOVERY; before the char device is opened. */
int device_begin_takeover(struct device *d);
/* END_USER_RECOVERY; the queues have fetched. */
int device_end_takeover(struct device *d);
/* The limits of the live device; -EUCLEAN: the backend cannot serve it. */
int device_adopt_limits(struct device *d);
