/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What systemd says of itself and of units, asked at PID 1's own socket: no bus daemon is needed,
 * which starts after the first devices and ends before the last. Root only. All functions are
 * silent, and wait a few seconds at most.
 */
#include <stdbool.h>
#include <sys/types.h>

enum systemd_state {
	SYSTEMD_INITIALIZING,
	SYSTEMD_STARTING,
	SYSTEMD_RUNNING,
	SYSTEMD_DEGRADED, /* running, with units that failed */
	SYSTEMD_MAINTENANCE,
	SYSTEMD_STOPPING, /* the machine goes down */
	SYSTEMD_UNKNOWN,  /* a newer systemd's */
};

/* 0; -EHOSTDOWN: systemd does not run here, or has left already; else -errno. */
int systemd_get_state(enum systemd_state *ret);

/**
 * systemd_is_stopping() - whether the machine goes down
 *
 * Also if it does so before it has come up, which SystemState does not tell with systemd 252.
 * Return: as systemd_get_state().
 */
int systemd_is_stopping(bool *ret);

enum systemd_unit_state {
	SYSTEMD_UNIT_ACTIVE,
	SYSTEMD_UNIT_RELOADING,
	SYSTEMD_UNIT_INACTIVE, /* also one that is not there at all */
	SYSTEMD_UNIT_FAILED,
	SYSTEMD_UNIT_ACTIVATING, /* starts, or waits to be restarted */
	SYSTEMD_UNIT_DEACTIVATING,
	SYSTEMD_UNIT_UNKNOWN,
};

/**
 * systemd_get_unit_state() - a unit's ActiveState
 * @unit:	"ublk@data.service"
 *
 * Return: as systemd_get_state().
 */
int systemd_get_unit_state(const char *unit, enum systemd_unit_state *ret);

/**
 * systemd_has_running_job() - whether systemd is starting or stopping something just now
 * @ignored:	true for a unit whose jobs do not count
 *
 * Jobs that wait for others do not count either. Return: as systemd_get_state().
 */
int systemd_has_running_job(bool (*ignored)(const char *unit), bool *ret);

/* The main process of a service; 0: it has none. Return: as systemd_get_state(). */
int systemd_get_main_pid(const char *unit, pid_t *ret);

/* What a service's store of descriptors holds. Return: as systemd_get_state(). */
int systemd_count_stored_fds(const char *unit, unsigned *ret);

/* "active", ... as systemctl says; "unknown" */
const char *systemd_unit_state_to_string(enum systemd_unit_state state);

/* Something is under way or up: the unit serves, or is about to without our doing. */
bool systemd_unit_is_busy(enum systemd_unit_state state);
