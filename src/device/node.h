/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* The block device's node and what udev makes of it. */
#include <stdbool.h>
#include <stdint.h>

/* True if the caller should stop waiting; called several times a second. */
typedef bool (*node_interrupt_fn)(void *arg);

/**
 * node_wait() - wait until udev is done with a new device
 * @since_ns:	CLOCK_MONOTONIC, of a moment before the device was started
 * @dev_id:	of the device, which has been started
 * @name:	the link that udev makes is /dev/ublk/@name
 *
 * Main thread. Silent. Return: 0: the link is there; -ENOLINK: udev is done but made no link, its
 * rule is missing; -ETIMEDOUT; -ENOENT: udev does not run here; -ECANCELED: @interrupt said so; else
 * -errno.
 */
int node_wait(uint64_t since_ns, uint32_t dev_id, const char *name, unsigned timeout_s,
	      node_interrupt_fn interrupt, void *arg);

/**
 * node_set_depth() - how many requests the block layer may have under way, per queue
 *
 * Silent. Return: 0; -EROFS, -EACCES where /sys is not ours to write; else -errno.
 */
int node_set_depth(uint32_t dev_id, unsigned n_requests);

/* Have udev look at the properties of a device again, as with an event of this action. Silent. 0 or
 * -errno. */
int node_trigger(uint32_t dev_id, const char *action);

/* Write what the page cache holds of the block device to its server. Silent. 0; -errno. */
int node_sync(uint32_t dev_id);
