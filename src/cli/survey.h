/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What is known of ublk devices: those of the kernel, whoever made them, those that /run/ublkd knows,
 * and those that are defined. Where a device is in several of these, it is one struct survey_device.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/ctrl-cmd.h"
#include "conf/device-conf.h"
#include "state/state.h"

enum survey_definition {
	DEFINITION_NONE,
	DEFINITION_GOOD,
	DEFINITION_INVALID,
	DEFINITION_MASKED,
};

/* The block device as sysfs shows it; needs no privilege and never waits. */
struct survey_disk {
	uint64_t size_bytes;
	uint64_t logical_block_bytes;
	uint64_t physical_block_bytes;
	uint64_t io_min_bytes;
	uint64_t io_opt_bytes;
	uint64_t max_io_bytes;
	uint64_t max_discard_bytes;
	uint64_t discard_granularity_bytes;
	uint64_t max_write_zeroes_bytes;
	bool read_only;
	bool rotational;
	bool write_cache;
	bool fua;
};

struct survey_device {
	char *name; /* NULL: somebody else's */

	bool has_dev; /* the kernel has the device dev_id */
	uint32_t dev_id;
	int info_error; /* 0: info is valid; else -errno */
	struct dev_info info;
	bool has_disk; /* /dev/ublkbN is there */
	struct survey_disk disk;

	bool has_state; /* of this boot */
	struct state state;
	int owner_error; /* 0: owner is valid; else -errno */
	pid_t owner;     /* who holds the lock; 0: nobody */

	enum survey_definition definition;
	struct device_conf *conf; /* if DEFINITION_GOOD */
};

struct survey {
	struct survey_device *devices; /* those with a name first, in its order; then by id */
	size_t n;
	int ctrl_error; /* 0; why the kernel could not be asked for details: -errno */
};

/**
 * survey_take() - look at everything
 * @sys:	"/sys"
 *
 * Silent. Return: 0, with what could not be found out told in its place; -ENOMEM; else -errno of a
 * directory.
 */
int survey_take(const char *sys, struct survey *ret);
void survey_deinit(struct survey *s);

/* NAME, /dev/ublk/NAME, ublkbN, ublkcN, their paths, or N; in this order. NULL: none of these. */
struct survey_device *survey_find(const struct survey *s, const char *word);

/*
 * In one word: live, quiesced, fail-io, dead as the kernel says; starting: a server is at work, but
 * the device is not there yet, or not any more; stopped, masked, invalid: there is a definition but
 * no device; unknown: we may not know.
 */
const char *survey_state(const struct survey_device *d);

/* Pid of the server: of the lock, else what the kernel says; 0: none or not known. */
pid_t survey_server(const struct survey_device *d);
