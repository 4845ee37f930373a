/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager: the event loop around a fleet of devices. The main thread never waits for one of
 * them; it takes signals, tells systemd how things are, and watches that what shall end does end.
 */
#include "service/manage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>

#include "ring/worker.h"
#include "service/driver.h"
#include "service/fleet.h"
#include "service/jobs.h"
#include "service/keep.h"
#include "service/notify.h"
#include "service/process.h"
#include "service/settings.h"
#include "state/state.h"
#include "util/log.h"
#include "util/messages.h"

#define MANAGE_PATIENCE_S    30 /* that systemd is asked for */
#define MANAGE_WAIT_S        60 /* for one device, before the others are said to be ready */
#define MANAGE_TICK_US       1000000
#define MANAGE_STATUS_US     200000
#define MANAGE_TEXT_BYTES    2048
#define MANAGE_JOB_THREADS   4
#define MANAGE_QUEUE_THREADS 8

enum manage_phase {
	MANAGE_STARTING,
	MANAGE_SERVING,
	MANAGE_RELOADING,
	MANAGE_STOPPING,
	MANAGE_LEAVING, /* for a successor */
};

struct manage {
	const struct manage_options *options;
	enum manage_phase phase;
	int lock_fd;
	struct jobs *jobs;
	struct workers *workers;
	struct fleet *fleet;
	sd_event *event;
	sd_event_source *tick;
	sd_event_source *status_timer;
	sd_event_source *beat_timer;
	uint64_t beat_us;
	uint64_t progress;  /* at the last tick */
	unsigned n_threads; /* as configured */
	bool reload_again;
	bool broken;                    /* the loop ended with devices that were not to end */
	bool missed_beat;               /* and said so */
	char status[MANAGE_TEXT_BYTES]; /* as last said */
};

static void manage_on_changed(void *arg);

/* ---- what systemd is told ---- */

static const char *manage_describe(const struct manage *m, char *buf, size_t size)
{
	const char *prefix = m->phase == MANAGE_STOPPING  ? "Stopping: "
			     : m->phase == MANAGE_LEAVING ? "Restarting: "
							  : "";
	size_t len = strlen(prefix);

	memcpy(buf, prefix, len);
	fleet_describe(m->fleet, buf + len, size - len);
	return buf;
}

static int manage_on_status(sd_event_source *source, uint64_t usec, void *arg)
{
	char text[MANAGE_TEXT_BYTES];
	struct manage *m = arg;

	manage_describe(m, text, sizeof(text));
	if (strcmp(text, m->status) == 0)
		return 0;
	memcpy(m->status, text, sizeof(m->status));
	notify_status("%s", text);
	return 0;
}

/* Hundreds of devices change at once: one message for all of it. */
static void manage_say_status(struct manage *m)
{
	int enabled = SD_EVENT_OFF;

	(void)sd_event_source_get_enabled(m->status_timer, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	sd_event_source_set_time_relative(m->status_timer, MANAGE_STATUS_US);
	sd_event_source_set_enabled(m->status_timer, SD_EVENT_ONESHOT);
}

/*
 * The kernel or a bug holds a thread: nobody is told that all is well, so that systemd, if it has a
 * watchdog for us, starts a new process, which takes the devices over.
 */
static int manage_on_beat(sd_event_source *source, uint64_t usec, void *arg)
{
	struct manage *m = arg;
	bool turns = fleet_is_drained(m->fleet) || workers_beat(m->workers);

	if (turns)
		notify_alive();
	if (turns == m->missed_beat)
		log_message(MESSAGE_THREAD_HANGS, turns ? LOG_NOTICE : LOG_ERR, 0,
			    turns ? "the threads of the queues turn again"
				  : "a thread that serves queues does not turn any more");
	m->missed_beat = !turns;
	sd_event_source_set_time_relative(source, m->beat_us);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* While anything is under way. */
static int manage_on_tick(sd_event_source *source, uint64_t usec, void *arg)
{
	struct manage *m = arg;
	uint64_t progress = fleet_get_progress(m->fleet);
	struct fleet_counts c;

	jobs_help(m->jobs);
	fleet_give_up_waiting(m->fleet, MANAGE_WAIT_S);
	fleet_count(m->fleet, &c);
	/* What is held is waited for as long as it takes, as with a service of its own. */
	if (progress != m->progress || c.n_held > 0)
		notify_extend(MANAGE_PATIENCE_S);
	m->progress = progress;
	if (c.n_busy + c.n_pending + c.n_held == 0)
		return 0;
	sd_event_source_set_time_relative(source, MANAGE_TICK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void manage_start_ticking(struct manage *m)
{
	int enabled = SD_EVENT_OFF;

	(void)sd_event_source_get_enabled(m->tick, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	sd_event_source_set_time_relative(m->tick, MANAGE_TICK_US);
	sd_event_source_set_enabled(m->tick, SD_EVENT_ONESHOT);
}

/* ---- reload ---- */

static void manage_end_reload(struct manage *m, int r, const char *text)
{
	char status[MANAGE_TEXT_BYTES];
	AUTO_FREE char *old = NULL;
	int write_r, old_r;
	uint64_t n = 0;

	/* Also behind a manager that died: who waits looks for the next number. */
	(void)state_read_reload(STATE_MANAGER, &n, &old_r, &old);
	write_r = state_write_reload(STATE_MANAGER, n + 1, r, text);
	if (write_r < 0)
		log_warning_errno(write_r,
				  "cannot write " STATE_DIR "/" STATE_MANAGER "/reload: %m");
	if (r < 0)
		log_message(MESSAGE_RELOAD_FAILED, LOG_ERR, r, "reloaded, but not all of it: %s",
			    text);
	else
		log_message(MESSAGE_RELOADED, LOG_NOTICE, 0, "reloaded: %s", text);
	manage_describe(m, status, sizeof(status));
	notify_reloaded("%s; reload: %s", status, text);
	/* It stays until there is something else to say. */
	memcpy(m->status, status, sizeof(m->status));
}

static void manage_begin_reload(struct manage *m)
{
	struct daemon_conf daemon = {0};
	int r;

	m->reload_again = false;
	notify_reloading();
	r = settings_load_daemon(m->options->log_level, &daemon);
	if (r == 0 && daemon.manager_threads != m->n_threads)
		log_notice("[Manager] Threads= changes with a restart");
	if (r == 0)
		r = fleet_read(m->fleet, false);
	if (r < 0) {
		manage_end_reload(m, r,
				  "the files have errors, see the journal or run \"ublkctl "
				  "check\"; nothing has changed");
		return;
	}
	m->phase = MANAGE_RELOADING;
}

/* The signal does not wait for what it started: the next one may come meanwhile. */
static int manage_on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *si,
				   void *arg)
{
	struct manage *m = arg;

	if (m->phase == MANAGE_SERVING) {
		manage_begin_reload(m);
	} else if (m->phase == MANAGE_STARTING || m->phase == MANAGE_RELOADING) {
		m->reload_again = true;
	} else {
		notify_reloading();
		manage_end_reload(m, -ESHUTDOWN, "the manager is about to end");
		manage_say_status(m);
	}
	return 0;
}

/* ---- stop and restart ---- */

static void manage_cancel_reload(struct manage *m)
{
	if (m->phase == MANAGE_RELOADING)
		manage_end_reload(m, -ECANCELED, "not finished: the manager ends");
}

static int manage_on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *si,
				 void *arg)
{
	struct manage *m = arg;

	/* Drained devices wait for a successor, as fast as that goes. */
	if (m->phase == MANAGE_STOPPING || fleet_is_drained(m->fleet))
		return 0;
	manage_cancel_reload(m);
	m->phase = MANAGE_STOPPING;
	fleet_stop(m->fleet);
	return 0;
}

static int manage_on_restart_signal(sd_event_source *source, const struct signalfd_siginfo *si,
				    void *arg)
{
	struct manage *m = arg;

	if (m->phase == MANAGE_STOPPING)
		return 0;
	if (process_is_last()) /* a restart that a shutdown has overtaken */
		return manage_on_stop_signal(source, si, arg);
	manage_cancel_reload(m);
	m->phase = MANAGE_LEAVING;
	notify_status("Restarting: leaving the devices for the next process");
	manage_on_changed(m);
	return 0;
}

/* Something was mounted or unmounted. */
static int manage_on_mounts(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct manage *m = arg;

	fleet_try_held(m->fleet);
	return 0;
}

/* ---- progress ---- */

static void manage_say_ready(struct manage *m, const struct fleet_counts *c)
{
	char text[MANAGE_TEXT_BYTES];

	m->phase = MANAGE_SERVING;
	manage_describe(m, text, sizeof(text));
	notify_ready(text);
	log_info("ready: %s", text);
	if (c->n == 0)
		log_notice("there is nothing to serve: no definition has [Boot] Manager=yes");
	/* Data of a device that could not be taken over yet are not given up. */
	if (c->n_failed + c->n_starting == 0)
		keep_forget_rest();
}

static void manage_end_pending_reload(struct manage *m)
{
	char text[MANAGE_TEXT_BYTES];
	int r = fleet_get_outcome(m->fleet, text, sizeof(text));

	m->phase = MANAGE_SERVING;
	manage_end_reload(m, r, text);
}

static void manage_on_changed(void *arg)
{
	struct manage *m = arg;
	struct fleet_counts c;

	fleet_count(m->fleet, &c);
	if (fleet_is_crippled(m->fleet) && m->phase != MANAGE_STOPPING &&
	    m->phase != MANAGE_LEAVING) {
		log_message(MESSAGE_QUEUE_FAILED, LOG_ERR, 0,
			    "a thread that serves queues has ended; the devices are left to a new "
			    "process");
		m->phase = MANAGE_LEAVING;
	}
	if (m->phase == MANAGE_STARTING && c.n_pending == 0)
		manage_say_ready(m, &c);
	if (m->phase == MANAGE_RELOADING && c.n_pending == 0)
		manage_end_pending_reload(m);
	if (m->phase == MANAGE_SERVING && m->reload_again)
		manage_begin_reload(m);
	if (m->phase == MANAGE_STOPPING && c.n == 0)
		sd_event_exit(m->event, 0);
	if (m->phase == MANAGE_LEAVING && fleet_leave(m->fleet))
		sd_event_exit(m->event, fleet_is_crippled(m->fleet) ? -EIO : 0);
	manage_say_status(m);
	manage_start_ticking(m);
}

/* ---- life ---- */

/* Some descriptors for each of hundreds of devices; systemd's limit for services is high enough. */
static void manage_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_debug_errno(-errno, "cannot raise the limit of open files: %m");
}

static unsigned manage_count_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int manage_lock(struct manage *m)
{
	pid_t owner = 0;
	int r;

	r = state_lock(STATE_MANAGER, &m->lock_fd);
	if (r == -EBUSY) {
		(void)state_get_owner(STATE_MANAGER, &owner);
		return log_message(MESSAGE_SERVED_TWICE, LOG_ERR, r,
				   "there is a manager already, process %d", (int)owner);
	}
	if (r < 0)
		return log_error_errno(r, "cannot lock " STATE_DIR "/" STATE_MANAGER ": %m");
	return 0;
}

static int manage_start_threads(struct manage *m)
{
	unsigned n_cpus = manage_count_cpus();
	unsigned n = m->n_threads ?: MIN(n_cpus, MANAGE_QUEUE_THREADS);
	int r;

	r = jobs_new(MIN(n_cpus + 1, MANAGE_JOB_THREADS), &m->jobs);
	if (r == -ENOENT && process_load_module() == 0)
		r = jobs_new(MIN(n_cpus + 1, MANAGE_JOB_THREADS), &m->jobs);
	if (r < 0)
		return driver_log_absence(r);
	r = workers_new(n, &m->workers);
	if (r < 0)
		return log_error_errno(r, "cannot start %u threads for the queues: %m", n);
	return 0;
}

static int manage_add_timer(struct manage *m, sd_event_time_handler_t handler,
			    sd_event_source **ret)
{
	int r = sd_event_add_time(m->event, ret, CLOCK_MONOTONIC, 0, 0, handler, m);

	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int manage_add_sources(struct manage *m)
{
	int r;

	r = sd_event_new(&m->event);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGTERM, manage_on_stop_signal, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGINT, manage_on_stop_signal, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGHUP, manage_on_reload_signal, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGUSR2, manage_on_restart_signal, m);
	if (r >= 0)
		r = manage_add_timer(m, manage_on_tick, &m->tick);
	if (r >= 0)
		r = manage_add_timer(m, manage_on_status, &m->status_timer);
	if (r >= 0)
		r = manage_add_timer(m, manage_on_beat, &m->beat_timer);
	if (r >= 0)
		r = sd_event_source_set_enabled(m->beat_timer, SD_EVENT_ONESHOT);
	if (r < 0)
		return log_error_errno(r, "cannot set up the event loop: %m");
	process_watch_mounts(m->event, manage_on_mounts, m);
	return 0;
}

static int manage_make_fleet(struct manage *m, uint64_t slow_request_ns)
{
	const struct fleet_config config = {
		.event = m->event,
		.jobs = m->jobs,
		.device =
			{
				.workers = m->workers,
				.slow_beats = (unsigned)(slow_request_ns / 1000 / m->beat_us + 1),
				.keep_fd = keep_is_possible() ? keep_fd : NULL,
				.take_fd = keep_take_fd,
			},
		.node_required = notify_is_wanted(),
		.given = m->options->names,
		.changed = manage_on_changed,
		.arg = m,
	};
	int r = fleet_new(&config, &m->fleet);

	return r < 0 ? r : fleet_read(m->fleet, true);
}

static int manage_run(struct manage *m)
{
	struct daemon_conf daemon = {0};
	struct fleet_counts c;
	int r;

	r = settings_load_daemon(m->options->log_level, &daemon);
	if (r < 0)
		return r;
	m->n_threads = daemon.manager_threads;
	manage_raise_limits();
	r = manage_lock(m);
	if (r >= 0)
		r = manage_start_threads(m);
	if (r >= 0)
		r = manage_add_sources(m);
	if (r >= 0)
		r = manage_make_fleet(m, daemon.slow_request_ns);
	if (r < 0)
		return r;
	notify_status("Starting");
	r = sd_event_loop(m->event);
	notify_stopping();
	fleet_count(m->fleet, &c);
	m->broken = c.n > 0;
	return r;
}

static void manage_deinit(struct manage *m)
{
	fleet_free(m->fleet);
	sd_event_source_unref(m->tick);
	sd_event_source_unref(m->status_timer);
	sd_event_source_unref(m->beat_timer);
	sd_event_unref(m->event);
	workers_free(m->workers);
	jobs_free(m->jobs);
	if (m->lock_fd < 0)
		return;
	(void)state_remove(STATE_MANAGER, UINT32_MAX);
	close(m->lock_fd);
}

int manage_devices(const struct manage_options *options)
{
	struct manage m = {
		.options = options,
		.lock_fd = -1,
		.beat_us = notify_beat_ns() / 1000,
	};
	int r = manage_run(&m);

	/* If the loop itself fails, that is a crash to the devices: a successor takes them over. Their
	 * threads end with the process. */
	if (!m.broken)
		manage_deinit(&m);
	return r;
}
