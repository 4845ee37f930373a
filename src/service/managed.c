/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table says, for each state and event, what is done and what comes next. What cannot be done
 * now is remembered (wanted, next_conf) and comes up again when the job has ended: managed_follow_up().
 */
#include "service/managed.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/state.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/messages.h"

#define MANAGED_FIRST_DELAY_MS 200
#define MANAGED_MAX_DELAY_MS   60000
#define MANAGED_LASTING_MS     60000
#define MANAGED_MAX_STARTS     10 /* as StartLimitBurst= of the unit of a single device */

struct managed_step {
	enum managed_action action;
	enum managed_state next;
};

/* What is not here never happens. */
static const struct managed_step managed_table[N_MANAGED_STATES][N_MANAGED_EVENTS] =
	{
		[MANAGED_GONE] =
			{
				[MANAGED_DEFINE] = {MANAGED_DO_START, MANAGED_STARTING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_FAILED},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_GONE},
				[MANAGED_DRAIN] = {MANAGED_NOTHING, MANAGED_GONE},
			},
		[MANAGED_STARTING] =
			{
				[MANAGED_DEFINE] = {MANAGED_NOTHING, MANAGED_STARTING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_STARTING},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_STARTING},
				[MANAGED_DONE] = {MANAGED_NOTHING, MANAGED_RUNNING},
				[MANAGED_ERROR] = {MANAGED_NOTHING, MANAGED_FAILED},
			},
		[MANAGED_RUNNING] =
			{
				[MANAGED_DEFINE] = {MANAGED_DO_RELOAD, MANAGED_RELOADING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_RUNNING},
				[MANAGED_STOP] = {MANAGED_DO_STOP, MANAGED_STOPPING},
				[MANAGED_DRAIN] = {MANAGED_DO_DRAIN, MANAGED_DRAINED},
				[MANAGED_LOST] = {MANAGED_DO_FREE, MANAGED_ENDING},
			},
		[MANAGED_RELOADING] =
			{
				[MANAGED_DEFINE] = {MANAGED_NOTHING, MANAGED_RELOADING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_RELOADING},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_RELOADING},
				[MANAGED_DONE] = {MANAGED_NOTHING, MANAGED_RUNNING},
				[MANAGED_ERROR] = {MANAGED_NOTHING, MANAGED_RUNNING},
			},
		[MANAGED_STOPPING] =
			{
				[MANAGED_DEFINE] = {MANAGED_NOTHING, MANAGED_STOPPING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_STOPPING},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_STOPPING},
				[MANAGED_DONE] = {MANAGED_NOTHING, MANAGED_GONE},
				[MANAGED_BUSY] = {MANAGED_NOTHING, MANAGED_HELD},
				[MANAGED_ERROR] = {MANAGED_NOTHING, MANAGED_GONE},
			},
		[MANAGED_HELD] =
			{
				/* Wanted again, and still there. */
				[MANAGED_DEFINE] = {MANAGED_DO_RELOAD, MANAGED_RELOADING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_HELD},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_HELD},
				[MANAGED_DRAIN] = {MANAGED_DO_DRAIN, MANAGED_DRAINED},
				[MANAGED_TIMER] = {MANAGED_DO_STOP, MANAGED_STOPPING},
				[MANAGED_LOST] = {MANAGED_DO_FREE, MANAGED_ENDING},
			},
		[MANAGED_ENDING] =
			{
				[MANAGED_DEFINE] = {MANAGED_NOTHING, MANAGED_ENDING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_ENDING},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_ENDING},
				[MANAGED_DONE] = {MANAGED_NOTHING, MANAGED_FAILED},
			},
		[MANAGED_FAILED] =
			{
				[MANAGED_DEFINE] = {MANAGED_DO_START, MANAGED_STARTING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_FAILED},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_GONE},
				[MANAGED_DRAIN] = {MANAGED_NOTHING, MANAGED_GONE},
				[MANAGED_TIMER] = {MANAGED_READ, MANAGED_FAILED},
			},
		[MANAGED_DRAINED] =
			{
				/* No way back: users wait for the successor. */
				[MANAGED_DEFINE] = {MANAGED_NOTHING, MANAGED_DRAINED},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_DRAINED},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_DRAINED},
				[MANAGED_HAND_OVER] = {MANAGED_DO_HAND_OVER, MANAGED_LEAVING},
			},
		[MANAGED_LEAVING] =
			{
				[MANAGED_DEFINE] = {MANAGED_NOTHING, MANAGED_LEAVING},
				[MANAGED_BAD] = {MANAGED_NOTHING, MANAGED_LEAVING},
				[MANAGED_STOP] = {MANAGED_NOTHING, MANAGED_LEAVING},
				[MANAGED_DONE] = {MANAGED_NOTHING, MANAGED_GONE},
				[MANAGED_ERROR] = {MANAGED_NOTHING, MANAGED_GONE},
			},
};

static const struct {
	const char *name;
	bool busy, served;
} managed_states[N_MANAGED_STATES] = {
	[MANAGED_GONE] = {"gone"},
	[MANAGED_STARTING] = {"starting", .busy = true},
	[MANAGED_RUNNING] = {"running", .served = true},
	[MANAGED_RELOADING] = {"reloading", .busy = true},
	[MANAGED_STOPPING] = {"stopping", .busy = true},
	[MANAGED_HELD] = {"held", .served = true},
	[MANAGED_ENDING] = {"ending", .busy = true},
	[MANAGED_FAILED] = {"failed"},
	[MANAGED_DRAINED] = {"drained"},
	[MANAGED_LEAVING] = {"leaving", .busy = true},
};

const char *managed_state_to_string(enum managed_state state)
{
	return managed_states[state].name;
}

bool managed_is_busy(const struct managed *m)
{
	return managed_states[m->state].busy;
}

bool managed_is_served(const struct managed *m)
{
	return managed_states[m->state].served;
}

int managed_new(const struct managed_env *env, const char *name, struct managed **ret)
{
	AUTO(managed_free) struct managed *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->env = env;
	m->name = strdup(name);
	if (!m->name)
		return -ENOMEM;
	*ret = TAKE_PTR(m);
	return 0;
}

struct managed *managed_free(struct managed *m)
{
	if (!m)
		return NULL;
	assert(!m->device && !managed_is_busy(m));
	device_conf_free(m->next_conf);
	free(m->name);
	free(m);
	return NULL;
}

/* ---- jobs, on a thread of the pool ---- */

static bool managed_interrupt(void *arg)
{
	struct managed *m = arg;

	__atomic_add_fetch(m->env->n_turns, 1, __ATOMIC_RELAXED);
	return __atomic_load_n(&m->give_up, __ATOMIC_RELAXED);
}

/* A device that was taken over, or could not take all of a new definition, has another one than the
 * files. 0: unknown. */
static uint64_t managed_digest_in_force(const struct managed *m)
{
	struct state s = {0};
	uint64_t digest = state_read(m->name, &s) == 0 ? s.digest : 0;

	state_deinit(&s);
	return digest;
}

/* It is live already, and may have users, all the more if it was taken over: only a stop that cares
 * for them may take it away. */
static int managed_wait_node(struct managed *m)
{
	AUTO(holders_deinit) struct holders *holders = &(struct holders){0};
	int r = device_wait_node(m->device, m->env->node_required);

	if (r == -ECANCELED || (r < 0 && device_try_stop(m->device, holders) == -EBUSY))
		return 0;
	return r;
}

static int managed_start(struct managed *m, struct ctrl *ctrl)
{
	struct device_env env = m->env->device;
	int r;

	env.ctrl = ctrl;
	env.only_takeover = m->job_only_takeover;
	env.interrupt = managed_interrupt;
	env.arg = m;
	r = device_new(TAKE_PTR(m->job_conf), &env, &m->device);
	if (r == 0)
		r = device_start(m->device);
	if (r == 0)
		r = managed_wait_node(m);
	if (r < 0) {
		m->device = device_free(m->device);
		return r;
	}
	m->job_digest = managed_digest_in_force(m);
	log_message(MESSAGE_READY, LOG_INFO, 0, "ready: /dev/ublkb%u", device_get_id(m->device));
	return 0;
}

static int managed_reload(struct managed *m, struct ctrl *ctrl)
{
	AUTO(conf_changes_deinit) struct conf_changes *c = &(struct conf_changes){0};
	int r;

	device_set_ctrl(m->device, ctrl);
	r = device_reload(m->device, TAKE_PTR(m->job_conf), c);
	if (r < 0)
		return r;
	snprintf(m->job_text, sizeof(m->job_text), "%s%s%s%s%s%s",
		 c->taken ? "changed: " : "nothing to change", c->taken ?: "",
		 c->restart ? "; after a restart: " : "", c->restart ?: "",
		 c->stop ? "; after a stop and a start: " : "", c->stop ?: "");
	m->job_digest = managed_digest_in_force(m);
	log_message(MESSAGE_RELOADED, c->restart || c->stop ? LOG_NOTICE : LOG_INFO, 0,
		    "reloaded, %s", m->job_text);
	return 0;
}

/* What is left behind after an error would not get better by waiting. */
static int managed_stop(struct managed *m, struct ctrl *ctrl)
{
	AUTO(holders_deinit) struct holders *holders = &(struct holders){0};
	int r;

	device_set_ctrl(m->device, ctrl);
	r = device_try_stop(m->device, holders);
	if (r != -EBUSY) {
		m->device = device_free(m->device);
		return r;
	}
	held_describe(holders, m->job_text);
	return r;
}

static int managed_hand_over(struct managed *m, struct ctrl *ctrl)
{
	int r;

	device_set_ctrl(m->device, ctrl);
	r = device_hand_over(m->device);
	m->device = device_free(m->device);
	return r;
}

static int managed_release(struct managed *m, struct ctrl *ctrl)
{
	device_set_ctrl(m->device, ctrl);
	m->device = device_free(m->device);
	return 0;
}

static int (*const managed_jobs[])(struct managed *, struct ctrl *) = {
	[MANAGED_DO_START] = managed_start,  [MANAGED_DO_RELOAD] = managed_reload,
	[MANAGED_DO_STOP] = managed_stop,    [MANAGED_DO_HAND_OVER] = managed_hand_over,
	[MANAGED_DO_FREE] = managed_release,
};

static struct managed *managed_of_job(struct job *job)
{
	return (void *)((char *)job - offsetof(struct managed, job));
}

/* As the unit of a single device has it: what does not get better by itself is not tried again. */
static bool managed_can_get_better(int r)
{
	return r != -EUCLEAN && r != -EOPNOTSUPP && r != -EPERM && r != -EACCES;
}

/* Users of a device that it could not go on with must not wait longer than with a unit of its own. */
static bool managed_gives_up(const struct managed *m)
{
	return m->job_action == MANAGED_DO_START && m->job_result < 0 &&
	       m->job_result != -ECANCELED &&
	       (!managed_can_get_better(m->job_result) || m->n_failed + 1 == MANAGED_MAX_STARTS);
}

static void managed_run_job(struct job *job, struct ctrl *ctrl)
{
	struct managed *m = managed_of_job(job);

	(void)log_set_device(m->name);
	m->job_text[0] = '\0';
	log_set_capture(m->job_text, sizeof(m->job_text));
	m->job_result = managed_jobs[m->job_action](m, ctrl);
	log_set_capture(NULL, 0);
	if (m->job_result < 0 && !m->job_text[0])
		snprintf(m->job_text, sizeof(m->job_text), "%s", strerror(-m->job_result));
	if (managed_gives_up(m))
		(void)m->env->reap(m->name);
	(void)log_set_device(NULL);
}

/* ---- events, on the main thread ---- */

enum managed_action managed_get_step(enum managed_state state, enum managed_event event,
				     enum managed_state *ret_next)
{
	const struct managed_step *step = &managed_table[state][event];

	*ret_next = step->next;
	return step->action;
}

static void managed_begin_job(struct managed *m, enum managed_action action)
{
	m->job = (struct job){.run = managed_run_job};
	m->job_action = action;
	__atomic_store_n(&m->give_up, false, __ATOMIC_RELAXED);
	if (action == MANAGED_DO_START || action == MANAGED_DO_RELOAD) {
		m->digest = device_conf_digest(m->next_conf);
		m->job_conf = TAKE_PTR(m->next_conf);
		m->job_only_takeover = m->only_takeover;
		m->job_digest = 0;
	}
	jobs_add(m->env->jobs, &m->job);
}

static void managed_act(struct managed *m, enum managed_action action)
{
	switch (action) {
	case MANAGED_NEVER:
		assert(!"no event for this state");
		break;
	case MANAGED_NOTHING:
		break;
	case MANAGED_READ:
		m->env->read(m);
		break;
	case MANAGED_DO_DRAIN:
		device_drain(m->device);
		break;
	default:
		managed_begin_job(m, action);
		break;
	}
}

void managed_event(struct managed *m, enum managed_event event)
{
	const struct managed_step *step = &managed_table[m->state][event];
	const enum managed_state before = m->state;

	if (event == MANAGED_DEFINE)
		m->wanted = true;
	if (event == MANAGED_STOP) {
		m->wanted = false;
		m->next_conf = device_conf_free(m->next_conf);
		m->held = (struct held){0};
		/* A start need not come to its end. */
		if (m->state == MANAGED_STARTING)
			__atomic_store_n(&m->give_up, true, __ATOMIC_RELAXED);
	}
	m->state = step->next;
	if (m->state != before)
		m->env->changed(m, before);
	managed_act(m, step->action);
}

bool managed_define(struct managed *m, struct device_conf *conf, bool only_takeover)
{
	const bool comes_up = m->state == MANAGED_STARTING || m->state == MANAGED_RUNNING ||
			      m->state == MANAGED_RELOADING;

	if (m->wanted && comes_up && !m->next_conf && m->digest == device_conf_digest(conf)) {
		device_conf_free(conf);
		return false;
	}
	device_conf_free(m->next_conf);
	m->next_conf = conf;
	m->only_takeover = only_takeover;
	managed_event(m, MANAGED_DEFINE);
	return true;
}

void managed_fail(struct managed *m, int r, const char *reason)
{
	if (m->state == MANAGED_GONE || m->state == MANAGED_FAILED) {
		m->wanted = true;
		m->result = r;
		m->n_failed++;
		snprintf(m->reason, sizeof(m->reason), "%s", reason);
	}
	managed_event(m, MANAGED_BAD);
}

/* What came while the job ran. */
static void managed_follow_up(struct managed *m)
{
	if (managed_is_busy(m))
		return;
	if (m->wanted && m->next_conf)
		managed_event(m, MANAGED_DEFINE);
	else if (!m->wanted && (m->state == MANAGED_RUNNING || m->state == MANAGED_FAILED))
		managed_event(m, MANAGED_STOP);
}

static void managed_note_held(struct managed *m)
{
	if (!held_note(&m->held, m->reason))
		return;
	log_message(MESSAGE_IN_USE_AT_STOP, LOG_NOTICE, 0,
		    "/dev/ublkb%u is %s; serving it until that ends", device_get_id(m->device),
		    m->reason);
}

/* Before the event: what the state that comes then says of itself. */
static enum managed_event managed_judge_job(struct managed *m)
{
	const int r = m->job_result;

	if (m->state == MANAGED_ENDING) /* result and reason say why it was lost */
		return MANAGED_DONE;
	m->result = r;
	memcpy(m->reason, m->job_text, sizeof(m->reason));
	if (m->state == MANAGED_STARTING) {
		m->n_failed += r < 0;
		m->started_ms = clock_now_ns() / 1000000;
		m->digest = m->job_digest;
	} else if (m->state == MANAGED_RELOADING) {
		m->digest = m->job_digest; /* 0: the next reload tries it again */
	} else if (m->state == MANAGED_STOPPING && r == -EBUSY) {
		managed_note_held(m);
		return MANAGED_BUSY;
	}
	return r < 0 ? MANAGED_ERROR : MANAGED_DONE;
}

void managed_end_job(struct job *job)
{
	struct managed *m = managed_of_job(job);

	(void)log_set_device(m->name);
	managed_event(m, managed_judge_job(m));
	managed_follow_up(m);
	(void)log_set_device(NULL);
}

int managed_check(struct managed *m)
{
	char reason[MANAGED_TEXT_BYTES] = "";
	int r;

	(void)log_set_device(m->name);
	log_set_capture(reason, sizeof(reason));
	r = device_check(m->device);
	log_set_capture(NULL, 0);
	if (r < 0) {
		if (clock_now_ns() / 1000000 - m->started_ms >= MANAGED_LASTING_MS)
			m->n_failed = 0;
		m->n_failed++;
		m->result = r;
		memcpy(m->reason, reason, sizeof(m->reason));
		managed_event(m, MANAGED_LOST);
		r = 0;
	} else if (m->state == MANAGED_RUNNING && device_take_size_change(m->device)) {
		/* A reload follows it, and has a control ring. */
		m->digest = 0;
		m->env->read(m);
	}
	(void)log_set_device(NULL);
	return r;
}

uint64_t managed_get_delay_ms(const struct managed *m)
{
	unsigned doublings = MIN(MAX(m->n_failed, 1U) - 1, 16U);

	if (m->state == MANAGED_HELD)
		return held_delay_ms(&m->held);
	if (m->state != MANAGED_FAILED || !managed_can_get_better(m->result))
		return 0;
	return MIN((uint64_t)MANAGED_FIRST_DELAY_MS << doublings, MANAGED_MAX_DELAY_MS);
}
