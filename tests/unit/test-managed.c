/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The states of a managed device. Jobs are run by the test when it likes, and the device does as it
 * is told to. Every state is reached as it is in life; then each event is tried there.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "service/managed.h"
#include "state/state.h"
#include "util/log.h"

struct device {
	struct device_conf *conf;
	device_interrupt_fn interrupt;
	void *arg;
};

/* What the next job meets, and what it did. */
static struct {
	int start, node, reload, stop, hand_over, check;
	uint64_t in_force; /* digest in the state file; 0: no such file */
	bool ask_interrupt;
	bool was_interrupted;
	bool only_takeover;
	bool drained;
	bool size_changed;
	unsigned n_devices;
	unsigned n_confs;
	unsigned n_reads;
	unsigned n_reaps;
	unsigned n_changes;
	enum managed_state changed_to;
	struct job *job; /* at most one */
	struct device_conf *conf_to_read;
} fake;

/* ---- what managed.c is linked with ---- */

void jobs_add(struct jobs *p, struct job *job)
{
	assert_null(fake.job);
	fake.job = job;
}

uint64_t device_conf_digest(const struct device_conf *c)
{
	return c->size_bytes;
}

struct device_conf *device_conf_free(struct device_conf *c)
{
	fake.n_confs -= c != NULL;
	free(c);
	return NULL;
}

void conf_changes_deinit(struct conf_changes *c)
{
}

void holders_deinit(struct holders *h)
{
}

const char *holders_to_string(const struct holders *h, char *buf, size_t size)
{
	snprintf(buf, size, "held");
	return buf;
}

int state_read(const char *name, struct state *ret_s)
{
	if (fake.in_force == 0)
		return -ENOENT;
	ret_s->digest = fake.in_force;
	return 0;
}

void state_deinit(struct state *s)
{
}

int device_new(struct device_conf *conf, const struct device_env *env, struct device **ret)
{
	struct device *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	*d = (struct device){.conf = conf, .interrupt = env->interrupt, .arg = env->arg};
	fake.only_takeover = env->only_takeover;
	fake.n_devices++;
	*ret = d;
	return 0;
}

void device_set_ctrl(struct device *d, struct ctrl *ctrl)
{
}

int device_start(struct device *d)
{
	fake.was_interrupted = d->interrupt(d->arg);
	if (fake.was_interrupted && fake.ask_interrupt)
		return -ECANCELED;
	if (fake.start < 0)
		log_error_errno(fake.start, "cannot start: %m");
	return fake.start;
}

int device_wait_node(struct device *d, bool required)
{
	return fake.node;
}

int device_try_stop(struct device *d, struct holders *holders)
{
	return fake.stop;
}

int device_reload(struct device *d, struct device_conf *conf, struct conf_changes *ret)
{
	if (fake.reload < 0) {
		device_conf_free(conf);
		return log_error_errno(fake.reload, "cannot reload: %m");
	}
	device_conf_free(d->conf);
	d->conf = conf;
	ret->taken = (char *)"Size=";
	return 0;
}

void device_drain(struct device *d)
{
	fake.drained = true;
}

int device_hand_over(struct device *d)
{
	return fake.hand_over;
}

struct device *device_free(struct device *d)
{
	if (!d)
		return NULL;
	fake.n_devices--;
	device_conf_free(d->conf);
	free(d);
	return NULL;
}

bool device_take_size_change(struct device *d)
{
	bool changed = fake.size_changed;

	fake.size_changed = false;
	return changed;
}

int device_check(struct device *d)
{
	return fake.check < 0 ? log_error_errno(fake.check, "lost it") : fake.check;
}

uint32_t device_get_id(const struct device *d)
{
	return 7;
}

/* ---- tools ---- */

static void on_changed(struct managed *m, enum managed_state before)
{
	assert_int_not_equal(m->state, before);
	fake.changed_to = m->state;
	fake.n_changes++;
}

static struct device_conf *new_conf(uint64_t digest)
{
	struct device_conf *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->size_bytes = digest;
	fake.n_confs++;
	return c;
}

static void on_read(struct managed *m)
{
	fake.n_reads++;
	if (fake.conf_to_read)
		(void)managed_define(m, TAKE_PTR(fake.conf_to_read), false);
}

static uint64_t n_turns;
static int on_reap(const char *name)
{
	assert_string_equal(name, "data");
	assert_int_equal(fake.n_devices, 0); /* its lock is free */
	fake.n_reaps++;
	return 0;
}

static const struct managed_env env = {
	.n_turns = &n_turns, .changed = on_changed, .read = on_read, .reap = on_reap};

static void run_job(struct managed *m)
{
	struct job *job = TAKE_PTR(fake.job);

	assert_non_null(job);
	assert_true(managed_is_busy(m));
	job->run(job, NULL);
	managed_end_job(job);
}

static void define(struct managed *m, uint64_t digest)
{
	(void)managed_define(m, new_conf(digest), false);
}

/* As in life. */
static struct managed *reach(enum managed_state state)
{
	struct managed *m = NULL;

	memset(&fake, 0, sizeof(fake));
	assert_int_equal(managed_new(&env, "data", &m), 0);
	if (state == MANAGED_GONE)
		return m;
	fake.start = state == MANAGED_FAILED ? -EIO : 0;
	fake.in_force = 1;
	define(m, 1);
	if (state == MANAGED_STARTING)
		return m;
	run_job(m);
	if (state == MANAGED_RELOADING) {
		define(m, 2);
		fake.in_force = 2;
	}
	if (state == MANAGED_STOPPING || state == MANAGED_HELD)
		managed_event(m, MANAGED_STOP);
	if (state == MANAGED_HELD) {
		fake.stop = -EBUSY;
		run_job(m);
	}
	if (state == MANAGED_ENDING) {
		fake.check = -ENODEV;
		assert_int_equal(managed_check(m), 0);
	}
	if (state == MANAGED_DRAINED || state == MANAGED_LEAVING)
		managed_event(m, MANAGED_DRAIN);
	if (state == MANAGED_LEAVING)
		managed_event(m, MANAGED_HAND_OVER);
	assert_int_equal(m->state, state);
	return m;
}

/* To an end that leaves nothing behind, whatever state it is in. */
static void finish(struct managed *m)
{
	fake.stop = 0;
	fake.start = 0;
	for (unsigned i = 0; m->state != MANAGED_GONE; i++) {
		assert_in_range(i, 0, 10);
		if (managed_is_busy(m))
			run_job(m);
		else if (m->state == MANAGED_DRAINED)
			managed_event(m, MANAGED_HAND_OVER);
		else
			managed_event(m, m->state == MANAGED_HELD ? MANAGED_TIMER : MANAGED_STOP);
	}
	assert_null(m->device);
	managed_free(m);
	assert_null(fake.job);
	assert_int_equal(fake.n_devices, 0);
	assert_int_equal(fake.n_confs, 0);
}

/* ---- every state, every event ---- */

/* "state": where it leads to without a job; "state+": with one; NULL: it never comes */
static const struct {
	enum managed_state from;
	const char *to[N_MANAGED_EVENTS];
} moves[] = {
	/* DEFINE BAD STOP DRAIN HAND_OVER TIMER LOST, those of jobs */
	{MANAGED_GONE, {"starting+", "failed", "gone", "gone"}},
	{MANAGED_STARTING,
	 {"starting", "starting", "starting", NULL, NULL, NULL, NULL, "running", NULL, "failed"}},
	{MANAGED_RUNNING, {"reloading+", "running", "stopping+", "drained", NULL, NULL, "ending+"}},
	{MANAGED_RELOADING,
	 {"reloading", "reloading", "reloading", NULL, NULL, NULL, NULL, "running", NULL,
	  "running"}},
	{MANAGED_STOPPING,
	 {"stopping", "stopping", "stopping", NULL, NULL, NULL, NULL, "gone", "held", "gone"}},
	{MANAGED_HELD, {"reloading+", "held", "held", "drained", NULL, "stopping+", "ending+"}},
	{MANAGED_ENDING, {"ending", "ending", "ending", NULL, NULL, NULL, NULL, "failed"}},
	{MANAGED_FAILED, {"starting+", "failed", "gone", "gone", NULL, "failed"}},
	{MANAGED_DRAINED, {"drained", "drained", "drained", NULL, "leaving+"}},
	{MANAGED_LEAVING,
	 {"leaving", "leaving", "leaving", NULL, NULL, NULL, NULL, "gone", NULL, "gone"}},
};

/* What a job of that state has to meet to end so. */
static void set_outcome(enum managed_state state, enum managed_event event)
{
	int r = event == MANAGED_ERROR ? -EIO : event == MANAGED_BUSY ? -EBUSY : 0;

	fake.start = fake.reload = fake.hand_over = r;
	fake.stop = state == MANAGED_STARTING ? 0 : r;
}

static void raise_event(struct managed *m, enum managed_event event)
{
	switch (event) {
	case MANAGED_DEFINE:
		define(m, 99);
		break;
	case MANAGED_BAD:
		managed_fail(m, -EUCLEAN, "bad");
		break;
	case MANAGED_LOST:
		fake.check = -ENODEV;
		(void)managed_check(m);
		break;
	case MANAGED_DONE:
	case MANAGED_BUSY:
	case MANAGED_ERROR:
		set_outcome(m->state, event);
		run_job(m);
		break;
	default:
		managed_event(m, event);
		break;
	}
}

static void test_every_event_in_every_state(void **state)
{
	bool walked[N_MANAGED_STATES] = {0};
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		const enum managed_state from = moves[i].from;

		assert_string_equal(managed_state_to_string((enum managed_state)i),
				    managed_state_to_string(from));
		walked[from] = true;
		for (enum managed_event e = 0; e < N_MANAGED_EVENTS; e++) {
			const char *to = moves[i].to[e];
			struct managed *m = reach(from);
			enum managed_state next;
			char text[32];

			if (!to) {
				assert_int_equal(managed_get_step(from, e, &next), MANAGED_NEVER);
				finish(m);
				continue;
			}
			if (managed_is_busy(m) && e < MANAGED_DONE) {
				/* its job goes on, and no second one comes */
				raise_event(m, e);
				snprintf(text, sizeof(text), "%s",
					 managed_state_to_string(m->state));
				assert_non_null(fake.job);
			} else {
				raise_event(m, e);
				snprintf(text, sizeof(text), "%s%s",
					 managed_state_to_string(m->state), fake.job ? "+" : "");
			}
			if (strcmp(text, to) != 0)
				fail_msg("%s, event %u: %s instead of %s",
					 managed_state_to_string(from), e, text, to);
			n++;
			finish(m);
		}
	}
	for (size_t i = 0; i < N_MANAGED_STATES; i++)
		assert_true(walked[i]);
	assert_int_equal(n, 49);
}

/* ---- what comes while a job runs ---- */

static void test_a_start_is_given_up_for_a_stop(void **state)
{
	struct managed *m = reach(MANAGED_STARTING);

	fake.ask_interrupt = true;
	managed_event(m, MANAGED_STOP);
	run_job(m);
	assert_true(fake.was_interrupted);
	assert_int_equal(m->state, MANAGED_GONE);
	finish(m);

	/* too late: then it is stopped as any other */
	m = reach(MANAGED_STARTING);
	managed_event(m, MANAGED_STOP);
	run_job(m);
	assert_int_equal(m->state, MANAGED_STOPPING);
	finish(m);

	/* the next one is not */
	m = reach(MANAGED_FAILED);
	define(m, 1);
	run_job(m);
	assert_false(fake.was_interrupted);
	finish(m);
}

static void test_a_definition_during_a_job_is_taken_behind_it(void **state)
{
	static const struct {
		enum managed_state from, to;
	} cases[] = {
		{MANAGED_STARTING, MANAGED_RELOADING},
		{MANAGED_RELOADING, MANAGED_RELOADING},
		{MANAGED_STOPPING, MANAGED_STARTING},
		{MANAGED_ENDING, MANAGED_STARTING},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct managed *m = reach(cases[i].from);

		define(m, 3);
		define(m, 4);
		run_job(m);
		assert_int_equal(m->state, cases[i].to);
		assert_int_equal(m->digest, 4);
		finish(m);
	}
}

static void test_a_stop_takes_a_waiting_definition_back(void **state)
{
	struct managed *m = reach(MANAGED_RELOADING);

	define(m, 3);
	managed_event(m, MANAGED_STOP);
	run_job(m);
	assert_int_equal(m->state, MANAGED_STOPPING);
	run_job(m);
	assert_int_equal(m->state, MANAGED_GONE);
	finish(m);
}

static void test_a_device_that_is_held_can_come_back(void **state)
{
	struct managed *m = reach(MANAGED_HELD);

	assert_string_equal(m->reason, "in use by somebody who cannot be seen from here");
	assert_int_equal(managed_get_delay_ms(m), 200);
	managed_event(m, MANAGED_TIMER);
	run_job(m);
	assert_int_equal(managed_get_delay_ms(m), 1000);
	define(m, 1); /* what it has had all the time */
	run_job(m);
	assert_int_equal(m->state, MANAGED_RUNNING);
	finish(m);

	m = reach(MANAGED_HELD);
	fake.stop = 0;
	managed_event(m, MANAGED_TIMER);
	run_job(m);
	assert_int_equal(m->state, MANAGED_GONE);
	finish(m);
}

/* ---- definitions ---- */

static void test_what_is_in_force_is_left_alone(void **state)
{
	struct managed *m = reach(MANAGED_RUNNING);

	assert_false(managed_define(m, new_conf(1), false));
	assert_int_equal(m->state, MANAGED_RUNNING);
	assert_true(managed_define(m, new_conf(2), false));
	fake.reload = -EINVAL;
	run_job(m);
	assert_int_equal(m->state, MANAGED_RUNNING);
	assert_string_equal(m->reason, "cannot reload: Invalid argument");
	assert_int_equal(m->result, -EINVAL);

	/* once more, since it was refused */
	assert_true(managed_define(m, new_conf(2), false));
	fake.reload = 0;
	fake.in_force = 2;
	run_job(m);
	assert_string_equal(m->reason, "changed: Size=");
	assert_false(managed_define(m, new_conf(2), false));
	finish(m);

	/* taken over with an older definition than that of the files */
	m = reach(MANAGED_STARTING);
	fake.in_force = 5;
	run_job(m);
	assert_true(managed_define(m, new_conf(1), false));
	finish(m);
}

static void test_an_old_definition_is_for_a_takeover(void **state)
{
	struct managed *m = reach(MANAGED_GONE);

	assert_true(managed_define(m, new_conf(1), true));
	run_job(m);
	assert_true(fake.only_takeover);
	finish(m);
	m = reach(MANAGED_RUNNING);
	assert_false(fake.only_takeover);
	finish(m);
}

static void test_a_bad_definition_fails_only_what_is_not_there(void **state)
{
	struct managed *m = reach(MANAGED_GONE);

	managed_fail(m, -EUCLEAN, "data.conf:1: wrong");
	assert_int_equal(m->state, MANAGED_FAILED);
	assert_string_equal(m->reason, "data.conf:1: wrong");
	assert_int_equal(managed_get_delay_ms(m), 0); /* a reload tries it again */
	finish(m);

	m = reach(MANAGED_RUNNING);
	managed_fail(m, -EUCLEAN, "data.conf:1: wrong");
	assert_int_equal(m->state, MANAGED_RUNNING);
	assert_string_equal(m->reason, "");
	finish(m);
}

/* ---- failures ---- */

static void test_a_failure_is_tried_again_more_and_more_seldom(void **state)
{
	const uint64_t want_ms[] = {200,   400,   800,   1600,  3200,  6400,
				    12800, 25600, 51200, 60000, 60000, 60000};
	struct managed *m = reach(MANAGED_STARTING);

	fake.start = -EIO;
	for (size_t i = 0; i < ARRAY_SIZE(want_ms); i++) {
		run_job(m);
		assert_int_equal(m->state, MANAGED_FAILED);
		assert_string_equal(m->reason, "cannot start: Input/output error");
		assert_int_equal(managed_get_delay_ms(m), want_ms[i]);
		assert_int_equal(fake.n_reaps, i >= 9); /* once, after ten */
		fake.conf_to_read = new_conf(1);
		managed_event(m, MANAGED_TIMER);
		assert_int_equal(fake.n_reads, i + 1);
		assert_int_equal(m->state, MANAGED_STARTING);
	}
	finish(m);
}

static void test_what_does_not_get_better_is_not_tried_again(void **state)
{
	const int errors[] = {-EUCLEAN, -EOPNOTSUPP, -EPERM, -EACCES};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct managed *m = reach(MANAGED_STARTING);

		fake.start = errors[i];
		run_job(m);
		assert_int_equal(managed_get_delay_ms(m), 0);
		assert_int_equal(fake.n_reaps, 1);
		finish(m);
	}
}

static void test_only_a_start_that_fails_is_given_up(void **state)
{
	struct managed *m = reach(MANAGED_RUNNING);

	fake.reload = -EUCLEAN;
	define(m, 2);
	run_job(m);
	assert_int_equal(m->state, MANAGED_RUNNING);
	finish(m);
	assert_int_equal(fake.n_reaps, 0);
}

static void test_a_lost_device_is_made_anew(void **state)
{
	struct managed *m = reach(MANAGED_ENDING);

	run_job(m);
	assert_int_equal(m->state, MANAGED_FAILED);
	assert_string_equal(m->reason, "lost it");
	assert_int_equal(m->result, -ENODEV);
	assert_int_equal(managed_get_delay_ms(m), 200);
	assert_null(m->device);
	finish(m);

	/* it was to be stopped anyway */
	m = reach(MANAGED_HELD);
	fake.check = -ENODEV;
	(void)managed_check(m);
	run_job(m);
	assert_int_equal(m->state, MANAGED_GONE);
	finish(m);
}

static void test_users_outrank_udev(void **state)
{
	struct managed *m = reach(MANAGED_STARTING);

	fake.node = -ETIMEDOUT;
	fake.stop = -EBUSY;
	run_job(m);
	assert_int_equal(m->state, MANAGED_RUNNING);
	finish(m);

	m = reach(MANAGED_STARTING);
	fake.node = -ETIMEDOUT;
	run_job(m);
	assert_int_equal(m->state, MANAGED_FAILED);
	assert_string_equal(m->reason, "Connection timed out");
	finish(m);
}

static void test_drained_devices_are_handed_over(void **state)
{
	struct managed *m = reach(MANAGED_DRAINED);

	assert_true(fake.drained);
	assert_non_null(m->device);
	managed_event(m, MANAGED_STOP);
	assert_int_equal(m->state, MANAGED_DRAINED);
	managed_event(m, MANAGED_HAND_OVER);
	run_job(m);
	assert_int_equal(m->state, MANAGED_GONE);
	finish(m);
	assert_null(managed_free(NULL));
}

static void test_a_new_size_behind_it_is_a_reload(void **state)
{
	struct managed *m = reach(MANAGED_RUNNING);

	fake.size_changed = true;
	fake.conf_to_read = new_conf(1); /* the one in force */
	assert_int_equal(managed_check(m), 0);
	assert_int_equal(m->state, MANAGED_RELOADING);
	run_job(m);
	assert_int_equal(m->state, MANAGED_RUNNING);
	assert_int_equal(managed_check(m), 0);
	assert_int_equal(m->state, MANAGED_RUNNING);
	assert_int_equal(fake.n_reads, 1);
	finish(m);
	m = reach(MANAGED_HELD); /* about to go */
	fake.size_changed = true;
	assert_int_equal(managed_check(m), 0);
	assert_int_equal(fake.n_reads, 0);
	finish(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_event_in_every_state),
		cmocka_unit_test(test_a_start_is_given_up_for_a_stop),
		cmocka_unit_test(test_a_definition_during_a_job_is_taken_behind_it),
		cmocka_unit_test(test_a_stop_takes_a_waiting_definition_back),
		cmocka_unit_test(test_a_device_that_is_held_can_come_back),
		cmocka_unit_test(test_what_is_in_force_is_left_alone),
		cmocka_unit_test(test_an_old_definition_is_for_a_takeover),
		cmocka_unit_test(test_a_bad_definition_fails_only_what_is_not_there),
		cmocka_unit_test(test_a_failure_is_tried_again_more_and_more_seldom),
		cmocka_unit_test(test_what_does_not_get_better_is_not_tried_again),
		cmocka_unit_test(test_only_a_start_that_fails_is_given_up),
		cmocka_unit_test(test_a_lost_device_is_made_anew),
		cmocka_unit_test(test_a_new_size_behind_it_is_a_reload),
		cmocka_unit_test(test_users_outrank_udev),
		cmocka_unit_test(test_drained_devices_are_handed_over),
	};

	log_set_level(LOG_ERR);
	return cmocka_run_group_tests_name("managed", tests, NULL, NULL);
}
