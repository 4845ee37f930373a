/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * One device from its definition to its end:
 *
 *	device_new()		nothing outside this process has changed
 *	device_start()		lock, backend, ADD_DEV, queues, parameters, START_DEV: it is live
 *	device_wait_node()	udev has made /dev/ublk/NAME
 *	device_try_stop()	-EBUSY while somebody holds it, else writes back and stops
 *	device_free()		ends whatever of this is still going on and removes every trace
 *
 * Main thread only. All of it logs: the caller adds nothing. Errors are -errno with these meanings
 * for the exit status: -EUCLEAN: the definition does not fit what is there; -EOPNOTSUPP: kernel,
 * module or machine lack something; -EPERM, -EACCES: not permitted; -EBUSY: somebody else has it,
 * try again; -ECANCELED: told to give up.
 */
#include <stdbool.h>
#include <stdint.h>

#include "conf/device-conf.h"
#include "ring/ctrl.h"
#include "state/holders.h"
#include "util/cleanup.h"

struct device;

/* True if the start should be given up; called several times a second while the kernel is slow. */
typedef bool (*device_interrupt_fn)(void *arg);

/* @ctrl and @conf stay the caller's and outlive the device. */
int device_new(const struct device_conf *conf, struct ctrl *ctrl, struct device **ret);

/* Called while a command of the kernel is waited for; before device_start(). */
void device_set_interrupt(struct device *d, device_interrupt_fn fn, void *arg);

int device_start(struct device *d);

/**
 * device_wait_node() - wait until /dev/ublk/NAME is there
 * @required:	without it the device is of no use; else a missing udev is a warning
 */
int device_wait_node(struct device *d, bool required);

/**
 * device_try_stop() - stop the device unless it is in use
 * @holders:	who holds it is added here; initialized by the caller
 *
 * Return: 0: stopped and flushed, device_free() removes the rest; -EBUSY: see @holders, which is
 * empty if the kernel says that it is in use but not by whom; else -errno: stopped, but what was
 * written last may be lost.
 */
int device_try_stop(struct device *d, struct holders *holders);

/* Removes it; errors are logged. Returns NULL. */
struct device *device_free(struct device *d);
DEFINE_AUTO(struct device *, device_free);

/* Readable when device_check() has something to do. */
int device_get_event_fd(const struct device *d);

/* Reports failed requests, at most once in ten seconds. Return: 0; > 0: call again in so many
 * milliseconds; -errno: a queue has ended, the device is lost. */
int device_check(struct device *d);

uint32_t device_get_id(const struct device *d);

/* One line for STATUS=, for people. */
int device_describe(const struct device *d, char *buf, size_t size);
