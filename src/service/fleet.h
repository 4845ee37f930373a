/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * All devices of the manager: which there are, the event sources of each, and what is to be said of
 * them together. Main thread. Logging.
 */
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "device/device.h"
#include "service/jobs.h"
#include "util/cleanup.h"

struct fleet;

struct fleet_config {
	sd_event *event;
	struct jobs *jobs;
	struct device_env device; /* as in struct managed_env */
	bool node_required;
	char *const *given; /* names of the command line; empty: what has Manager=yes */

	/* Something has changed; from the event loop, never from within a function of the fleet. */
	void (*changed)(void *arg);
	void *arg;
};

struct fleet_counts {
	unsigned n, n_running, n_starting, n_stopping, n_held, n_failed;
	unsigned n_busy;    /* with a job */
	unsigned n_pending; /* not yet where the last fleet_read() sent them */
};

int fleet_new(const struct fleet_config *config, struct fleet **ret);

/* No device is left but failed ones. Takes NULL, returns NULL. */
struct fleet *fleet_free(struct fleet *f);
DEFINE_AUTO(struct fleet *, fleet_free);

/**
 * fleet_read() - read all definitions, and send the devices where they say
 * @first:	also what a manager before this one has left
 *
 * What came of it can be asked for when fleet_count() knows of no pending device. Return: 0, also if
 * definitions have errors; -errno: they cannot be listed, and nothing has changed.
 */
int fleet_read(struct fleet *f, bool first);

/* What came of the last fleet_read(): 0 or the first error; one line for people. */
int fleet_get_outcome(const struct fleet *f, char *buf, size_t size);

/* The devices that are pending for longer than @seconds are waited for no more. */
void fleet_give_up_waiting(struct fleet *f, unsigned seconds);

/* Stop all; they are gone when fleet_count() says so. */
void fleet_stop(struct fleet *f);

/* Somebody may have let go of a device. */
void fleet_try_held(struct fleet *f);

/**
 * fleet_leave() - bring all devices a step nearer to a successor
 *
 * To be called until it is done, whenever something has changed: waits for jobs to end, stops what
 * cannot be taken over, drains all others at once and hands them over. Return: true: all are gone.
 */
bool fleet_leave(struct fleet *f);

/* There is no way back from fleet_leave(). */
bool fleet_is_drained(const struct fleet *f);

/* A thread that serves queues has ended: no device can be started any more. */
bool fleet_is_crippled(const struct fleet *f);

void fleet_count(const struct fleet *f, struct fleet_counts *ret);

/* "12 devices: 10 running, 1 starting, 1 failed (data: ...)"; returns buf. */
const char *fleet_describe(const struct fleet *f, char *buf, size_t size);

/* Goes up with all that happens in jobs: when the kernel is waited for, or one ends. */
uint64_t fleet_get_progress(const struct fleet *f);
