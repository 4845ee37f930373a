/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A change of state may come in the middle of anything that a device does, so here it only switches
 * event sources; what follows from it is done by a deferred source, once for all changes of a turn.
 */
#include "service/fleet.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "conf/search.h"
#include "service/definitions.h"
#include "service/managed.h"
#include "service/reap.h"
#include "util/log.h"
#include "util/messages.h"

#define FLEET_TEXT_BYTES   1024
/* Who holds a device is a walk through all of /proc: not for all of them at once. */
#define FLEET_HELD_STEP_US 20000

struct member {
	struct fleet *fleet;
	struct managed *device;
	sd_event_source *event; /* of the device's event fd */
	sd_event_source *timer;
	bool seen;    /* by the fleet_read() that is going on */
	bool pending; /* on its way to where the last one sent it */
	struct timespec since;
};

struct fleet {
	struct fleet_config config;
	struct managed_env env;
	struct member **members; /* n of them; by name, each once */
	size_t n, n_allocated;
	sd_event_source *changes; /* deferred */
	sd_event_source *jobs;
	uint64_t n_turns; /* atomic */
	uint64_t n_ended;
	bool stopping;
	bool drained;
	bool crippled;

	/* Of the last fleet_read(). */
	int result;
	unsigned n_added, n_changed, n_removed, n_errors;
	char notes[FLEET_TEXT_BYTES];
};

static void fleet_note(struct fleet *f, const char *name, const char *text)
{
	size_t len = strlen(f->notes);

	snprintf(f->notes + len, sizeof(f->notes) - len, "; %s: %s", name, text);
}

static void fleet_note_error(struct fleet *f, const char *name, int r, const char *text)
{
	f->n_errors++;
	if (f->result == 0) {
		f->result = r;
		fleet_note(f, name, text);
	}
}

static void fleet_wake(struct fleet *f)
{
	sd_event_source_set_enabled(f->changes, SD_EVENT_ONESHOT);
}

/* ---- event sources of one device ---- */

static void member_set_timer(struct member *m, uint64_t delay_us)
{
	sd_event_source_set_time_relative(m->timer, delay_us);
	sd_event_source_set_enabled(m->timer, delay_us > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void member_check(struct member *m)
{
	int r = managed_check(m->device);

	if (r > 0 && m->device->state == MANAGED_RUNNING)
		member_set_timer(m, (uint64_t)r * 1000);
}

static int member_on_event(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	member_check(arg);
	return 0;
}

static void member_arm(struct member *m)
{
	struct managed *d = m->device;
	uint64_t delay_us = managed_get_delay_ms(d) * 1000;
	struct fleet_counts counts;

	if (d->state == MANAGED_HELD) {
		fleet_count(m->fleet, &counts);
		delay_us = MAX(delay_us, (uint64_t)counts.n_held * FLEET_HELD_STEP_US);
	}
	member_set_timer(m, delay_us);
}

static int member_on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct member *m = arg;

	if (m->device->state == MANAGED_RUNNING) {
		member_check(m);
		return 0;
	}
	managed_event(m->device, MANAGED_TIMER);
	if (m->device->state == MANAGED_FAILED) /* the definition could not be read again */
		member_arm(m);
	return 0;
}

static void member_watch(struct member *m)
{
	int fd = device_get_event_fd(m->device->device);
	int r;

	r = sd_event_add_io(m->fleet->config.event, &m->event, fd, EPOLLIN, member_on_event, m);
	if (r < 0)
		log_warning_errno(r,
				  "cannot watch the queues of %s, whose failures go unnoticed: %m",
				  m->device->name);
}

static void member_settle(struct member *m, enum managed_state before)
{
	struct managed *d = m->device;

	m->pending = false;
	if (d->state == MANAGED_HELD)
		fleet_note(m->fleet, d->name, d->reason);
	else if (d->state == MANAGED_FAILED || (d->result < 0 && d->state != MANAGED_STARTING))
		fleet_note_error(m->fleet, d->name, d->result, d->reason);
	else if (before == MANAGED_RELOADING)
		fleet_note(m->fleet, d->name, d->reason);
}

static void member_changed(struct managed *d, enum managed_state before)
{
	struct member *m = d->owner_data;

	m->event = sd_event_source_disable_unref(m->event);
	member_set_timer(m, 0);
	if (managed_is_served(d))
		member_watch(m);
	if (d->state == MANAGED_HELD || d->state == MANAGED_FAILED)
		member_arm(m);
	if (d->state == MANAGED_FAILED && d->result == -ESHUTDOWN)
		m->fleet->crippled = true;
	/* A start that was given up is followed by what it was given up for. */
	if (m->pending && !managed_is_busy(d) && (d->wanted || d->state != MANAGED_FAILED))
		member_settle(m, before);
	fleet_wake(m->fleet);
}

static struct member *member_free(struct member *m)
{
	if (!m)
		return NULL;
	sd_event_source_disable_unref(m->event);
	sd_event_source_disable_unref(m->timer);
	managed_free(m->device);
	free(m);
	return NULL;
}
DEFINE_AUTO(struct member *, member_free);

static int member_new(struct fleet *f, const char *name, struct member **ret)
{
	AUTO(member_free) struct member *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->fleet = f;
	r = managed_new(&f->env, name, &m->device);
	if (r < 0)
		return r;
	m->device->owner_data = m;
	r = sd_event_add_time(f->config.event, &m->timer, CLOCK_MONOTONIC, 0, 0, member_on_timer,
			      m);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(m->timer, SD_EVENT_OFF);
	*ret = TAKE_PTR(m);
	return 0;
}

/* ---- the set ---- */

static int fleet_add(struct fleet *f, const char *name, struct member **ret)
{
	struct member *m = NULL;
	int r;

	if (f->n == f->n_allocated) {
		size_t n = MAX(2 * f->n_allocated, (size_t)16);
		struct member **more = reallocarray(f->members, n, sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->members = more;
		f->n_allocated = n;
	}
	r = member_new(f, name, &m);
	if (r < 0)
		return r;
	f->members[f->n++] = m;
	*ret = m;
	return 0;
}

static struct member *fleet_find(const struct fleet *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++) {
		if (strcmp(f->members[i]->device->name, name) == 0)
			return f->members[i];
	}
	return NULL;
}

static void fleet_sweep(struct fleet *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (f->members[i]->device->state == MANAGED_GONE)
			member_free(f->members[i]);
		else
			f->members[n++] = f->members[i];
	}
	f->n = n;
}

static int fleet_on_changes(sd_event_source *source, void *arg)
{
	struct fleet *f = arg;

	fleet_sweep(f);
	f->config.changed(f->config.arg);
	return 0;
}

static int fleet_on_jobs(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct fleet *f = arg;
	struct job *job = jobs_take(f->config.jobs);

	if (!job)
		return 0;
	f->n_ended++;
	managed_end_job(job);
	return 0;
}

/* A device that has failed is tried again; no fleet_read() waits for that. */
static void fleet_read_again(struct managed *m)
{
	const struct fleet *f = m->env->arg;
	struct definition d;
	int r;

	r = definitions_read(m->name, *f->config.given, true, &d);
	if (r == 0)
		(void)managed_define(m, d.conf, d.only_takeover);
	else
		managed_fail(m, r, r == -ENOENT ? "its definition is gone" : d.reason);
}

int fleet_new(const struct fleet_config *config, struct fleet **ret)
{
	AUTO(fleet_free) struct fleet *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return log_error_errno(-ENOMEM, "no memory for the devices: %m");
	f->config = *config;
	f->env = (struct managed_env){
		.jobs = config->jobs,
		.device = config->device,
		.node_required = config->node_required,
		.n_turns = &f->n_turns,
		.changed = member_changed,
		.read = fleet_read_again,
		.reap = reap_by_policy,
		.arg = f,
	};
	r = sd_event_add_defer(config->event, &f->changes, fleet_on_changes, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->changes, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_io(config->event, &f->jobs, jobs_get_fd(config->jobs), EPOLLIN,
				    fleet_on_jobs, f);
	if (r < 0)
		return log_error_errno(r, "cannot set up the event loop: %m");
	*ret = TAKE_PTR(f);
	return 0;
}

struct fleet *fleet_free(struct fleet *f)
{
	if (!f)
		return NULL;
	for (size_t i = 0; i < f->n; i++)
		member_free(f->members[i]);
	free(f->members);
	sd_event_source_disable_unref(f->changes);
	sd_event_source_disable_unref(f->jobs);
	free(f);
	return NULL;
}

/* ---- definitions ---- */

static void member_expect(struct member *m)
{
	m->pending = true;
	clock_gettime(CLOCK_MONOTONIC, &m->since);
}

static void member_define(struct member *m, const struct definition *d, bool is_new)
{
	member_expect(m);
	if (!managed_define(m->device, d->conf, d->only_takeover)) {
		m->pending = false;
		return;
	}
	if (is_new)
		m->fleet->n_added++;
	else
		m->fleet->n_changed++;
	if (d->is_gone) {
		log_notice("%s has no definition any more, so it is taken over and stopped",
			   m->device->name);
		managed_event(m->device, MANAGED_STOP);
	}
}

static void member_fail(struct member *m, int r, const char *reason)
{
	member_expect(m);
	managed_fail(m->device, r, reason);
	if (m->pending && m->device->state != MANAGED_FAILED) {
		m->pending = false; /* it is served as it was */
		fleet_note_error(m->fleet, m->device->name, r, reason);
	} else if (m->pending) {
		member_settle(m, m->device->state);
	}
}

static void fleet_read_one(struct fleet *f, const char *name)
{
	struct member *m = fleet_find(f, name);
	bool is_new = !m;
	struct definition d;
	int r;

	r = definitions_read(name, *f->config.given, m, &d);
	if (r == -ENOENT)
		return;
	if (!m && fleet_add(f, name, &m) < 0) {
		log_error_errno(-ENOMEM, "no memory for %s: %m", name);
		fleet_note_error(f, name, -ENOMEM, "no memory");
		device_conf_free(d.conf);
		return;
	}
	m->seen = true;
	if (r < 0)
		member_fail(m, r, d.reason);
	else
		member_define(m, &d, is_new);
}

static void fleet_remove(struct fleet *f, struct member *m)
{
	if (!m->device->wanted)
		return; /* on its way already */
	f->n_removed++;
	member_expect(m);
	managed_event(m->device, MANAGED_STOP);
}

int fleet_read(struct fleet *f, bool first)
{
	AUTO(conf_strv_free) char **names = NULL;
	int r;

	f->result = 0;
	f->n_added = f->n_changed = f->n_removed = f->n_errors = 0;
	f->notes[0] = '\0';
	r = definitions_list(f->config.given, first, &names);
	if (r < 0)
		return r;
	for (size_t i = 0; i < f->n; i++)
		f->members[i]->seen = false;
	for (char **name = names; *name; name++)
		fleet_read_one(f, *name);
	for (size_t i = 0; i < f->n; i++) {
		if (!f->members[i]->seen)
			fleet_remove(f, f->members[i]);
	}
	fleet_wake(f);
	return 0;
}

int fleet_get_outcome(const struct fleet *f, char *buf, size_t size)
{
	if (f->n_added + f->n_changed + f->n_removed + f->n_errors == 0)
		snprintf(buf, size, "nothing to change");
	else
		snprintf(buf, size, "%u added, %u changed, %u removed, %u with errors%s",
			 f->n_added, f->n_changed, f->n_removed, f->n_errors, f->notes);
	return f->result;
}

void fleet_give_up_waiting(struct fleet *f, unsigned seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (size_t i = 0; i < f->n; i++) {
		struct member *m = f->members[i];

		if (!m->pending || now.tv_sec - m->since.tv_sec < (time_t)seconds)
			continue;
		log_message(MESSAGE_NOT_WAITED_FOR, LOG_WARNING, 0,
			    "%s is still %s after %u s; going on without waiting for it",
			    m->device->name, managed_state_to_string(m->device->state), seconds);
		m->pending = false;
		fleet_wake(f);
	}
}

/* ---- the end ---- */

static bool member_can_be_left(const struct member *m)
{
	return managed_is_served(m->device) && device_is_recoverable(m->device->device);
}

void fleet_stop(struct fleet *f)
{
	for (size_t i = 0; i < f->n; i++)
		managed_event(f->members[i]->device, MANAGED_STOP);
	fleet_wake(f);
}

void fleet_try_held(struct fleet *f)
{
	uint64_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (f->members[i]->device->state == MANAGED_HELD)
			member_set_timer(f->members[i], ++n * FLEET_HELD_STEP_US);
	}
}

/* Whether nothing stands in the way of draining all that is left. */
static bool fleet_is_ready_to_drain(struct fleet *f)
{
	bool ready = true;

	for (size_t i = 0; i < f->n; i++) {
		struct member *m = f->members[i];
		struct managed *d = m->device;

		if (managed_is_busy(d) || (d->state == MANAGED_HELD && !member_can_be_left(m))) {
			ready = false;
		} else if (d->state == MANAGED_FAILED) {
			managed_event(d, MANAGED_STOP);
		} else if (d->state == MANAGED_RUNNING && !member_can_be_left(m)) {
			log_notice("%s cannot be left for a successor, so it is stopped", d->name);
			managed_event(d, MANAGED_STOP);
			ready = false;
		}
	}
	return ready;
}

/* The threads end with the last of their queues, so all of them come before the first goes. */
static void fleet_drain(struct fleet *f)
{
	f->drained = true;
	for (size_t i = 0; i < f->n; i++)
		managed_event(f->members[i]->device, MANAGED_DRAIN);
	for (size_t i = 0; i < f->n; i++) {
		if (f->members[i]->device->state == MANAGED_DRAINED)
			managed_event(f->members[i]->device, MANAGED_HAND_OVER);
	}
}

bool fleet_leave(struct fleet *f)
{
	if (!f->drained && fleet_is_ready_to_drain(f))
		fleet_drain(f);
	for (size_t i = 0; i < f->n; i++) {
		if (f->members[i]->device->state != MANAGED_GONE)
			return false;
	}
	return true;
}

bool fleet_is_drained(const struct fleet *f)
{
	return f->drained;
}

bool fleet_is_crippled(const struct fleet *f)
{
	return f->crippled;
}

/* ---- what to say ---- */

void fleet_count(const struct fleet *f, struct fleet_counts *ret)
{
	struct fleet_counts c = {0};

	for (size_t i = 0; i < f->n; i++) {
		const struct member *m = f->members[i];

		c.n += m->device->state != MANAGED_GONE;
		c.n_busy += managed_is_busy(m->device);
		c.n_pending += m->pending;
		switch (m->device->state) {
		case MANAGED_STARTING:
			c.n_starting++;
			break;
		case MANAGED_RUNNING:
		case MANAGED_RELOADING:
			c.n_running++;
			break;
		case MANAGED_FAILED:
			c.n_failed++;
			break;
		case MANAGED_HELD:
			c.n_held++;
			c.n_stopping++;
			break;
		case MANAGED_GONE:
			break;
		default:
			c.n_stopping++;
			break;
		}
	}
	*ret = c;
}

/* Appends; what does not fit is cut. */
static void fleet_say(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fleet_say(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

/* The first one of a state speaks for the others. */
static void fleet_say_state(const struct fleet *f, char *buf, size_t size, unsigned n,
			    const char *what, enum managed_state speaker)
{
	if (n == 0)
		return;
	fleet_say(buf, size, "%s %u %s", strchr(buf, ':') ? "," : ":", n, what);
	for (size_t i = 0; i < f->n; i++) {
		const struct managed *d = f->members[i]->device;

		if (d->state != speaker || !d->reason[0])
			continue;
		fleet_say(buf, size, " (%s: %.200s)", d->name, d->reason);
		return;
	}
}

const char *fleet_describe(const struct fleet *f, char *buf, size_t size)
{
	struct fleet_counts c;

	fleet_count(f, &c);
	snprintf(buf, size, "%u device%s", c.n, c.n == 1 ? "" : "s");
	fleet_say_state(f, buf, size, c.n_running, "running", MANAGED_GONE);
	fleet_say_state(f, buf, size, c.n_starting, "starting", MANAGED_GONE);
	fleet_say_state(f, buf, size, c.n_stopping, "stopping", MANAGED_HELD);
	fleet_say_state(f, buf, size, c.n_failed, "failed", MANAGED_FAILED);
	return buf;
}

uint64_t fleet_get_progress(const struct fleet *f)
{
	return __atomic_load_n(&f->n_turns, __ATOMIC_RELAXED) + f->n_ended;
}
