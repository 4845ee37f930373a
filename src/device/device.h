/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * One device from its definition to its end:
 *
 *	device_new()		nothing outside this process has changed
 *	device_start()		lock, backend, ADD_DEV, queues, parameters, START_DEV: it is live; or,
 *				where a server of this name died, its device is taken over
 *	device_wait_node()	udev has made /dev/ublk/NAME
 *	device_reload()		the definition has changed
 *	device_try_stop()	-EBUSY while somebody holds it, else writes back and stops
 *	device_drain(), device_hand_over()	left as it is for a successor
 *	device_free()		ends whatever of this is still going on and removes every trace that is
 *				not for a successor
 *
 * One thread at a time. All of it logs: the caller adds nothing. Errors are -errno with these meanings
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

/* What a device needs of its process. */
struct device_env {
	struct ctrl *ctrl;       /* outlives the device */
	struct workers *workers; /* serve its queues; NULL: each queue has a thread */
	unsigned slow_beats;     /* warn of requests that take so many beats; 0: never */
	bool only_takeover;      /* the definition is an old one: not for a device made anew */
	device_interrupt_fn interrupt; /* asked while the kernel is waited for; or NULL */

	/* Keep a descriptor for a successor (-1: no more), and get it back: -1: there is none. NULL:
	 * what cannot do without is not recoverable. Silent; keep_fd() returns 0 or -errno. */
	int (*keep_fd)(void *arg, const char *device, int fd);
	int (*take_fd)(void *arg, const char *device);
	void *arg; /* of the functions */
};

/* @conf is the device's from here on, also on failure. */
int device_new(struct device_conf *conf, const struct device_env *env, struct device **ret);

/* For who has one control ring per thread: before any other function that a thread calls. */
void device_set_ctrl(struct device *d, struct ctrl *ctrl);

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

/**
 * device_reload() - take what can change now from a new definition
 * @conf:	its owner is the device from here on, also on failure
 * @ret:	what was taken, and what would need a restart or a stop; for conf_changes_deinit()
 *
 * Return: 0; -errno: it cannot be, and the old definition is in force.
 */
int device_reload(struct device *d, struct device_conf *conf, struct conf_changes *ret);

/* Can a successor take it over? Else device_try_stop() is the only way. */
bool device_is_recoverable(const struct device *d);

/* Begin to end for a successor: users wait from here on. Does not wait; see queue_drain(). */
void device_drain(struct device *d);

/**
 * device_hand_over() - end for a successor, and leave the device and its state
 *
 * With workers of its own; on shared ones every device must have been drained first. What follows
 * is device_free(). Return: 0; -errno: flushing failed, users will get the error with their next
 * flush from the successor.
 */
int device_hand_over(struct device *d);

/* Removes it; errors are logged. Returns NULL. */
struct device *device_free(struct device *d);
DEFINE_AUTO(struct device *, device_free);

/* Readable when device_check() has something to do. */
int device_get_event_fd(const struct device *d);

/* Reports failed requests, at most once in ten seconds. Return: 0; > 0: call again in so many
 * milliseconds; -errno: a queue has ended, the device is lost. */
int device_check(struct device *d);

/* What device_describe() says has become another thing since the last call. */
bool device_take_status_change(struct device *d);

/* What lies behind it has another size since the last call, and the device is to have that, too:
 * device_follow_size(). */
bool device_take_size_change(struct device *d);

/* Grow with what lies behind. Return: 0; -errno: it stays as it is. */
int device_follow_size(struct device *d);

/* Have all threads of its own turned since the last beat? Shared ones have workers_beat(). */
bool device_beat(struct device *d);

const char *device_get_name(const struct device *d);

uint32_t device_get_id(const struct device *d);

/* One line for STATUS=, for people. */
int device_describe(const struct device *d, char *buf, size_t size);
