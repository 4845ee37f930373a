/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * One device of the manager: a state machine, which is a table in managed.c. What blocks runs as a
 * job, at most one at a time, and while it runs the device is the job's. Main thread only, but for
 * what the job does. Logging.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/device-conf.h"
#include "device/device.h"
#include "service/held.h"
#include "service/jobs.h"

#define MANAGED_TEXT_BYTES 512

enum managed_state {
	MANAGED_GONE,      /* nothing of it is there: before the start and after the stop */
	MANAGED_STARTING,  /* job: device_start() */
	MANAGED_RUNNING,   /* served */
	MANAGED_RELOADING, /* job: device_reload(); served */
	MANAGED_STOPPING,  /* job: device_try_stop(); served until that succeeds */
	MANAGED_HELD,      /* to be stopped when its users have let go; served */
	MANAGED_ENDING,    /* job: device_free() of one that is lost */
	MANAGED_FAILED,    /* not there, see reason */
	MANAGED_DRAINED,   /* its users wait for a successor */
	MANAGED_LEAVING,   /* job: device_hand_over() */
	N_MANAGED_STATES,
};

enum managed_event {
	MANAGED_DEFINE,    /* there is a definition: managed_define() */
	MANAGED_BAD,       /* there is one that cannot be read: managed_fail() */
	MANAGED_STOP,      /* it is not wanted any more */
	MANAGED_DRAIN,     /* a successor is to come; only while no job runs */
	MANAGED_HAND_OVER, /* all devices of the process are drained or gone */
	MANAGED_TIMER,     /* what managed_get_delay_ms() said is over */
	MANAGED_LOST,      /* device_check() says so: managed_check() */
	MANAGED_DONE,      /* the job */
	MANAGED_BUSY,      /* the job: the device has users */
	MANAGED_ERROR,     /* the job */
	N_MANAGED_EVENTS,
};

enum managed_action {
	MANAGED_NEVER, /* such an event cannot come in this state */
	MANAGED_NOTHING,
	MANAGED_READ, /* the definition, anew */
	MANAGED_DO_DRAIN,
	/* jobs */
	MANAGED_DO_START,
	MANAGED_DO_RELOAD,
	MANAGED_DO_STOP,
	MANAGED_DO_HAND_OVER,
	MANAGED_DO_FREE,
};

struct managed;

/* What all devices of the process have in common. */
struct managed_env {
	struct jobs *jobs;
	struct device_env device; /* but for ctrl, interrupt and arg */
	bool node_required;       /* see device_wait_node() */
	uint64_t *n_turns;        /* goes up while the kernel is waited for; atomic */

	/* The state has changed, and what it asks for has not been begun. The device's event fd may
	 * go with what comes next, unless managed_is_served(). */
	void (*changed)(struct managed *m, enum managed_state before);

	/* To be answered by managed_define() or managed_fail(). */
	void (*read)(struct managed *m);

	/* No server can be started for what an earlier one has left: see reap_by_policy(). On the
	 * thread of a job. */
	int (*reap)(const char *name);
	void *arg;
};

struct managed {
	const struct managed_env *env;
	void *owner_data; /* of who made the env */
	char *name;
	enum managed_state state;
	bool wanted;
	struct device *device; /* NULL: GONE or FAILED, or being started */
	int result;            /* of the last job, or why it was lost */

	/* Why it failed, what came of the reload, or who holds it. */
	char reason[MANAGED_TEXT_BYTES];

	struct device_conf *next_conf; /* waits to be taken */
	bool only_takeover;            /* it is that of a dead server */
	uint64_t digest;               /* of the one in force, or about to be; 0: unknown */

	/* Of the job while it runs. */
	struct job job;
	enum managed_action job_action;
	struct device_conf *job_conf;
	bool job_only_takeover;
	uint64_t job_digest;
	int job_result;
	bool give_up; /* the start; atomic */
	char job_text[MANAGED_TEXT_BYTES];

	unsigned n_failed;   /* starts in a row */
	uint64_t started_ms; /* CLOCK_MONOTONIC */
	struct held held;
};

int managed_new(const struct managed_env *env, const char *name, struct managed **ret);

/* GONE or FAILED. Takes NULL, returns NULL. */
struct managed *managed_free(struct managed *m);
DEFINE_AUTO(struct managed *, managed_free);

/* A definition, which is taken unless it is the one in force. Returns whether it is.
 * @only_takeover: it is that of a dead server. */
bool managed_define(struct managed *m, struct device_conf *conf, bool only_takeover);

/* One that cannot be read: what is not there yet fails, what is there stays. */
void managed_fail(struct managed *m, int r, const char *reason);

void managed_event(struct managed *m, enum managed_event event);

/* The job has ended: what it gave becomes an event, and what came meanwhile is done now. */
void managed_end_job(struct job *job);

/* device_check(); a device that is lost is removed. Only if managed_is_served(). 0; > 0: call again
 * in so many milliseconds. */
int managed_check(struct managed *m);

/* A job is running or waits for its turn. */
bool managed_is_busy(const struct managed *m);

/* Served, and no job has it. */
bool managed_is_served(const struct managed *m);

/* Until MANAGED_TIMER is to come, in FAILED and HELD; 0: it is not. */
uint64_t managed_get_delay_ms(const struct managed *m);

/* For tests and messages. */
enum managed_action managed_get_step(enum managed_state state, enum managed_event event,
				     enum managed_state *ret_next);
const char *managed_state_to_string(enum managed_state state);
