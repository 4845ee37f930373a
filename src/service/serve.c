/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The event loop around one device. There is little to do for the main thread while the device is
 * served: it sleeps until a signal comes, a queue has something to tell, the threads are asked
 * whether they turn, or, after SIGTERM, until somebody lets go of the device.
 */
#include "service/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "device/device.h"
#include "service/driver.h"
#include "service/held.h"
#include "service/keep.h"
#include "service/notify.h"
#include "service/process.h"
#include "service/settings.h"
#include "state/state.h"
#include "util/log.h"
#include "util/messages.h"

#define SERVE_PATIENCE_S 30
#define SERVE_TEXT_BYTES 512

struct serve {
	const struct serve_options *options;
	struct device *device;
	sd_event *event;
	sd_event_source *report_timer;
	sd_event_source *stop_timer;
	sd_event_source *beat_timer;
	uint64_t beat_us;
	bool missed_beat; /* and said so */
	bool stopping;
	struct held held;
};

DEFINE_AUTO(sd_event *, sd_event_unref);

/* While the kernel is waited for: keep systemd patient, and see whether we are to stop. */
static bool serve_interrupt(void *arg)
{
	sigset_t pending;

	notify_extend(SERVE_PATIENCE_S);
	notify_alive();
	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT));
}

static void serve_say_status(struct serve *s, bool ready)
{
	char text[SERVE_TEXT_BYTES];

	device_describe(s->device, text, sizeof(text));
	if (ready)
		notify_ready(text);
	else
		notify_status("%s", text);
}

/* ---- requests that failed, queues that ended ---- */

static int serve_check(struct serve *s)
{
	int r = device_check(s->device);

	if (r < 0)
		return sd_event_exit(s->event, r);
	if (device_take_size_change(s->device))
		(void)device_follow_size(s->device); /* logging */
	if (device_take_status_change(s->device) && !s->stopping)
		serve_say_status(s, false);
	if (r > 0) {
		sd_event_source_set_time_relative(s->report_timer, (uint64_t)r * 1000);
		sd_event_source_set_enabled(s->report_timer, SD_EVENT_ONESHOT);
	}
	return 0;
}

static int serve_on_device_event(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	return serve_check(arg);
}

static int serve_on_report_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	return serve_check(arg);
}

/* ---- watchdog ---- */

/*
 * The kernel or a bug holds a thread: nobody is told that all is well, so that systemd, if it has a
 * watchdog for us, starts a new server, which takes the device over.
 */
static int serve_on_beat(sd_event_source *source, uint64_t usec, void *arg)
{
	struct serve *s = arg;
	bool turns = device_beat(s->device);

	if (turns)
		notify_alive();
	if (turns == s->missed_beat)
		log_message(MESSAGE_THREAD_HANGS, turns ? LOG_NOTICE : LOG_ERR, 0,
			    turns ? "the queues' threads turn again"
				  : "a queue's thread does not turn any more");
	s->missed_beat = !turns;
	sd_event_source_set_time_relative(source, s->beat_us);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- stop ---- */

static void serve_note_held(struct serve *s, const struct holders *holders)
{
	char text[HELD_TEXT_BYTES];

	notify_extend(SERVE_PATIENCE_S);
	if (!held_note(&s->held, held_describe(holders, text)))
		return;
	notify_status("Stopping: waiting for the device to be free: %s", text);
	log_message(MESSAGE_IN_USE_AT_STOP, LOG_NOTICE, 0,
		    "/dev/ublkb%u is %s; serving it until that ends", device_get_id(s->device),
		    text);
}

static int serve_try_stop(struct serve *s)
{
	AUTO(holders_deinit) struct holders *holders = &(struct holders){0};
	int r;

	r = device_try_stop(s->device, holders);
	if (r != -EBUSY)
		return sd_event_exit(s->event, r);
	serve_note_held(s, holders);
	sd_event_source_set_time_relative(s->stop_timer, held_delay_ms(&s->held) * 1000);
	sd_event_source_set_enabled(s->stop_timer, SD_EVENT_ONESHOT);
	return 0;
}

static int serve_on_stop_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	return serve_try_stop(arg);
}

/* Something was mounted or unmounted. */
static int serve_on_mounts(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	return serve_try_stop(arg);
}

static int serve_on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *si,
				void *arg)
{
	struct serve *s = arg;

	if (s->stopping)
		return 0; /* as fast as its users let go, and no faster */
	s->stopping = true;
	process_watch_mounts(s->event, serve_on_mounts, s);
	return serve_try_stop(s);
}

/* ---- restart ---- */

/* The device is for a successor, who takes it over. */
static int serve_on_restart_signal(sd_event_source *source, const struct signalfd_siginfo *si,
				   void *arg)
{
	struct serve *s = arg;

	/* A restart may be overtaken by a shutdown. */
	if (!device_is_recoverable(s->device) || process_is_last()) {
		log_notice("the device cannot be left for a successor, so it is stopped");
		return serve_on_stop_signal(source, si, arg);
	}
	notify_status("Restarting: leaving the device for the next server");
	(void)device_hand_over(s->device); /* logging; the successor has the last word */
	return sd_event_exit(s->event, 0);
}

/* ---- reload ---- */

static int serve_read_definition(struct serve *s, char *text, size_t size,
				 struct conf_changes *changes)
{
	const char *name = device_get_name(s->device);
	struct device_conf *conf = NULL;
	struct daemon_conf daemon;
	int r;

	r = settings_load_daemon(s->options->log_level,
				 &daemon); /* on an error the old level stays */
	if (r >= 0)
		r = settings_load_device(s->options->config ? NULL : name, s->options->config,
					 &conf);
	if (r < 0) {
		snprintf(text, size,
			 "the files have errors, see the journal or run \"ublkctl check "
			 "%s\"; the old definition stays in force",
			 name);
		return r;
	}
	r = device_reload(s->device, conf, changes);
	if (r < 0)
		snprintf(text, size,
			 "the definition could not be taken, see the journal; the old "
			 "one stays in force");
	return r;
}

static int serve_reload(struct serve *s, char *text, size_t size)
{
	AUTO(conf_changes_deinit) struct conf_changes *changes = &(struct conf_changes){0};
	const char *restart, *stop;
	int r;

	r = serve_read_definition(s, text, size, changes);
	if (r < 0)
		return r;
	restart = changes->restart;
	stop = changes->stop;
	snprintf(text, size, "%s%s%s%s%s%s%s%s", changes->taken ? "changed: " : "nothing to change",
		 changes->taken ?: "", restart ? "; after a restart: " : "", restart ?: "",
		 stop ? "; after a stop and a start: " : "", stop ?: "", "", "");
	log_message(MESSAGE_RELOADED, restart || stop ? LOG_NOTICE : LOG_INFO, 0, "reloaded, %s",
		    text);
	return 0;
}

static void serve_say_reloaded(struct serve *s, int r, const char *text)
{
	const char *name = device_get_name(s->device);
	AUTO_FREE char *old = NULL;
	char status[SERVE_TEXT_BYTES];
	uint64_t n = 0;
	int old_r;

	(void)state_read_reload(name, &n, &old_r, &old);
	r = state_write_reload(name, n + 1, r, text);
	if (r < 0)
		log_warning_errno(r, "cannot write " STATE_DIR "/%s/reload: %m", name);
	device_describe(s->device, status, sizeof(status));
	notify_reloaded("%s; reload: %s", status, text);
}

static int serve_on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *si,
				  void *arg)
{
	char text[SERVE_TEXT_BYTES];
	struct serve *s = arg;
	int r;

	notify_reloading();
	r = serve_reload(s, text, sizeof(text));
	serve_say_reloaded(s, r, text);
	if (s->stopping) {
		s->held.said[0] = '\0'; /* to be said again, in place of the status above */
		return serve_try_stop(s);
	}
	return 0;
}

/* ---- life ---- */

static int serve_add_sources(struct serve *s)
{
	int r;

	r = sd_event_add_signal(s->event, NULL, SIGTERM, serve_on_stop_signal, s);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGINT, serve_on_stop_signal, s);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGHUP, serve_on_reload_signal, s);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGUSR2, serve_on_restart_signal, s);
	if (r >= 0)
		r = sd_event_add_io(s->event, NULL, device_get_event_fd(s->device), EPOLLIN,
				    serve_on_device_event, s);
	if (r >= 0)
		r = sd_event_add_time(s->event, &s->report_timer, CLOCK_MONOTONIC, 0, 0,
				      serve_on_report_timer, s);
	if (r >= 0)
		r = sd_event_add_time(s->event, &s->stop_timer, CLOCK_MONOTONIC, 0, 0,
				      serve_on_stop_timer, s);
	if (r >= 0)
		r = sd_event_add_time_relative(s->event, &s->beat_timer, CLOCK_MONOTONIC, 0, 0,
					       serve_on_beat, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->report_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->stop_timer, SD_EVENT_OFF);
	if (r < 0)
		return log_error_errno(r, "cannot set up the event loop: %m");
	return 0;
}

static int serve_open_ctrl(struct ctrl **ret)
{
	int r = ctrl_open(ret);

	if (r == -ENOENT && process_load_module() == 0)
		r = ctrl_open(ret);
	return r < 0 ? driver_log_absence(r) : 0;
}

static int serve_run(struct serve *s)
{
	int r;

	notify_status("Starting");
	r = device_start(s->device);
	if (r < 0)
		return r;
	r = device_wait_node(s->device, notify_is_wanted());
	if (r < 0)
		return r;
	r = serve_add_sources(s);
	if (r < 0)
		return r;
	serve_say_status(s, true);
	log_message(MESSAGE_READY, LOG_INFO, 0, "ready: /dev/ublkb%u", device_get_id(s->device));
	r = sd_event_loop(s->event);
	sd_event_source_unref(s->report_timer);
	sd_event_source_unref(s->stop_timer);
	sd_event_source_unref(s->beat_timer);
	return r;
}

int serve_device(struct device_conf *conf, const struct serve_options *options)
{
	AUTO(sd_event_unref) sd_event *event = NULL;
	AUTO(ctrl_close) struct ctrl *ctrl = NULL;
	AUTO(device_free) struct device *device = NULL;
	struct serve s = {.options = options, .beat_us = notify_beat_ns() / 1000};
	struct device_env env = {
		.interrupt = serve_interrupt,
		.slow_beats = (unsigned)(options->slow_request_ns / 1000 / s.beat_us + 1),
		.only_takeover = options->only_takeover,
		.keep_fd = keep_is_possible() ? keep_fd : NULL,
		.take_fd = keep_take_fd,
	};
	int r;

	r = serve_open_ctrl(&ctrl);
	if (r >= 0) {
		r = sd_event_new(&event);
		if (r < 0)
			log_error_errno(r, "cannot make an event loop: %m");
	}
	if (r < 0) {
		device_conf_free(conf);
		return r;
	}
	env.ctrl = ctrl;
	r = device_new(conf, &env, &device);
	if (r < 0)
		return r;
	s.event = event;
	s.device = device;
	r = serve_run(&s);
	notify_stopping();
	if (r == -ECANCELED)
		r = 0;
	if (r == 0)
		notify_status("Stopping: the device is released");
	return r;
}
