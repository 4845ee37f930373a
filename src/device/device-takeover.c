/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A server of this name died, or left on purpose, and its device is still there: users wait for it,
 * or get errors from it, as its recovery mode says. The new server goes on with the definition that
 * was in force, which stands beside the state; of the one in /etc it takes what a live device can
 * take, and says what it cannot.
 *
 * Up to Linux 6.14 a second START_USER_RECOVERY, after a server that died between the first one and
 * END_USER_RECOVERY, can crash the kernel. So a mark in the state stands for all of this time, and
 * whoever finds it on such a kernel gives the device up.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "abi/features.h"
#include "device/device-internal.h"
#include "device/recovery.h"
#include "state/holders.h"
#include "state/state.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/step.h"

/* How long the process before us may take to go: up to Linux 6.14, one whose slots are all in use is
 * noticed by the block layer's own time limit, after 30 s and what the kernel adds. */
#define TAKEOVER_WAIT_MS 90000
#define TAKEOVER_TELL_MS 1000 /* after that users want to know */
#define TAKEOVER_STEP_NS 20000000L
#define KEPT_MAX_BYTES   (64 << 10)

/*
 * Somebody may want the service to stop meanwhile. It does so when the device is live again: to give
 * up here would leave its users waiting for nobody.
 */
static void device_say_alive(const struct device *d)
{
	if (d->env.interrupt)
		(void)d->env.interrupt(d->env.arg);
}

/*
 * The process before us is going, and @ms have passed. If it does not go it is not the only one that
 * has the char device: a child, or whoever was sent the descriptor. 0: go on waiting.
 */
static int device_wait_for_process(const struct device *d, unsigned ms)
{
	const uint32_t dev_id = d->orphan->info.dev_id;
	AUTO(holders_deinit) struct holders *holders = &(struct holders){0};
	const struct timespec step = {.tv_nsec = TAKEOVER_STEP_NS};
	char text[256] = "";

	if (ms == TAKEOVER_TELL_MS || ms >= TAKEOVER_WAIT_MS) {
		(void)holders_find_char(dev_id, holders);
		holders_to_string(holders, text, sizeof(text));
	}
	if (ms == TAKEOVER_TELL_MS)
		log_message(MESSAGE_TAKEOVER_WAITS, LOG_NOTICE, 0,
			    "waiting for the end of the server that had ublk device %" PRIu32
			    "%s%s",
			    dev_id, text[0] ? ": its char device is " : "", text);
	if (ms >= TAKEOVER_WAIT_MS)
		return log_message(
			MESSAGE_TAKEOVER_BLOCKED, LOG_ERR, -EBUSY,
			"ublk device %" PRIu32
			" cannot be taken over, since its char device is %s: end that, and "
			"start the service again",
			dev_id, text[0] ? text : "open in a process that cannot be seen");
	device_say_alive(d);
	nanosleep(&step, NULL);
	return 0;
}

static enum ctrl_wait device_wait_takeover(void *arg)
{
	struct device *d = arg;

	device_say_alive(d);
	return device_queue_has_ended(d) ? CTRL_CANCEL : CTRL_WAIT;
}

/* Until the process that served it is gone for the kernel too. 0: d->orphan->info is up to date. */
static int device_wait_for_release(struct device *d)
{
	struct orphan *o = d->orphan;

	for (unsigned ms = 0; o->info.state == DEV_LIVE; ms += TAKEOVER_STEP_NS / 1000000) {
		int r = device_wait_for_process(d, ms);

		if (r < 0)
			return r;
		r = ctrl_get_dev_info(d->env.ctrl, o->info.dev_id, &o->info);
		if (r == -ENODEV)
			o->info.state = DEV_DEAD;
		else if (r < 0)
			return device_log_ctrl(d, CTRL_GET_DEV_INFO, r);
	}
	return 0;
}

/*
 * Is this, whole, what a server wrote? It may have been of an older version, with fewer keys, so the
 * digest is that of the text as it stands there; before, it stood in the state only.
 */
static bool device_kept_is_whole(const char *text, uint64_t state_digest)
{
	const char *end = strstr(text, "\n" DEFINITION_DIGEST);
	const char *line = end ? end + 1 : NULL;
	AUTO_FREE char *body = line ? strndup(text, (size_t)(line - text)) : NULL;
	char want[64];

	if (!line)
		return conf_digest_text(CONF_DIGEST_INIT, text) == state_digest;
	if (!body)
		return false;
	snprintf(want, sizeof(want), DEFINITION_DIGEST "%016" PRIx64 "\n",
		 conf_digest_text(CONF_DIGEST_INIT, body));
	return strcmp(line, want) == 0;
}

/* The definition that the dead server had in force; NULL: it cannot be known any more. */
static struct device_conf *device_load_kept(const struct device *d)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO_FREE char *text = NULL;
	struct device_conf *kept = NULL;
	char path[256];

	state_definition_path(d->conf->name, path, sizeof(path));
	if (fd_read_file(AT_FDCWD, path, KEPT_MAX_BYTES, &text, NULL) < 0 ||
	    !device_kept_is_whole(text, d->orphan->state.digest) ||
	    device_conf_load_kept(path, d->conf->name, &diag, &kept) < 0)
		return NULL;
	return kept;
}

/* The old definition, with what of the new one a live device can take. */
static int device_adopt_conf(struct device *d, struct device_conf *kept)
{
	AUTO(conf_changes_deinit) struct conf_changes *changes = &(struct conf_changes){0};
	char *path = kept->path;
	int r;

	/* The size is the kernel's; a reload makes it larger. */
	if (d->conf->size_bytes != kept->size_bytes)
		log_notice("the device keeps its size for now: reload the service for the new "
			   "Size=");
	d->conf->size_bytes = kept->size_bytes;
	r = device_conf_adopt(kept, d->conf, CONF_RESTART, changes);
	if (r < 0)
		return log_error_errno(r, "cannot merge the definitions of %s: %m", kept->name);
	kept->path = d->conf->path; /* it is to be changed there, not in what was kept */
	d->conf->path = path;
	device_conf_free(d->conf);
	d->conf = kept;
	if (changes->stop)
		log_message(
			MESSAGE_DEFINITION_NEEDS_STOP, LOG_WARNING, 0,
			"the device in use goes on with its old definition: %s need a stop and a "
			"start",
			changes->stop);
	return 0;
}

/* It was stopped, was never started, or cannot be recovered: away with it. */
static int device_remove_orphan(struct device *d)
{
	int r;

	orphan_deinit(d->orphan);
	free(TAKE_PTR(d->orphan));
	r = recovery_clean(d->env.ctrl, d->conf->name);
	if (r < 0)
		device_go(d, DEVICE_FOUND); /* the next server must find it, too */
	return r;
}

static bool device_can_be_taken_over(const struct device *d)
{
	const struct orphan *o = d->orphan;

	if (o->info.state != DEV_QUIESCED && o->info.state != DEV_FAIL_IO)
		return false;
	if (o->state.takeover && !recovery_can_be_repeated(d->env.ctrl)) {
		log_message(
			MESSAGE_TAKEOVER_IMPOSSIBLE, LOG_ERR, 0,
			"the server before died while it took ublk device %" PRIu32
			" over, which this kernel does not survive twice: its requests fail, and "
			"it is made anew",
			o->info.dev_id);
		return false;
	}
	return true;
}

int device_find_orphan(struct device *d)
{
	struct device_conf *kept;
	int r;

	d->orphan = calloc(1, sizeof(*d->orphan));
	if (!d->orphan) {
		device_go(d, DEVICE_FOUND); /* as below */
		return log_error_errno(-ENOMEM, "no memory to look for what a server left: %m");
	}
	r = orphan_find(d->env.ctrl, d->conf->name, d->orphan);
	if (r < 0) {
		device_go(d, DEVICE_FOUND); /* there may be one, so nothing of it is touched */
		return log_error_errno(r, "cannot tell what a server that died has left: %m");
	}
	if (r > 0 && d->orphan->info.flags & FEATURE_USER_RECOVERY) {
		device_go(d, DEVICE_FOUND);
		r = device_wait_for_release(d);
		if (r < 0)
			return r;
	}
	if (!device_can_be_taken_over(d)) {
		if (d->env.only_takeover) {
			/* Who has a good definition needs the state to clear away what it tells of. */
			if (d->state == DEVICE_NEW)
				device_go(d, DEVICE_FOUND);
			return log_at(LOG_ERR, -EUCLEAN,
				      "there is no device of %s to go on with, and its definition "
				      "has errors",
				      d->conf->name);
		}
		if (d->state == DEVICE_FOUND)
			device_go(d, DEVICE_NEW);
		return device_remove_orphan(d);
	}
	kept = device_load_kept(d);
	if (!kept)
		return log_message(
			MESSAGE_DEFINITION_LOST, LOG_ERR, -EUCLEAN,
			"ublk device %" PRIu32
			" waits for a server, but its definition in " STATE_DIR
			"/%s is damaged: give the device up with \"ublkctl gc --force %s\"",
			d->orphan->info.dev_id, d->conf->name, d->conf->name);
	r = device_adopt_conf(d, kept);
	if (r < 0)
		return r;
	d->info = d->orphan->info;
	d->recovery = d->conf->recovery_mode;
	step_reached("orphan-found");
	return 1;
}

int device_adopt_limits(struct device *d)
{
	const struct limits *live = &d->limits, *found = &d->found;
	const char *why = NULL;

	if (found->logical_block_bytes > live->logical_block_bytes)
		why = "its logical block is larger now";
	else if (found->size_bytes < live->size_bytes)
		why = "it is smaller now";
	else if (found->read_only && !live->read_only)
		why = "it is read-only now";
	else if (found->write_cache && !live->write_cache && !live->read_only)
		why = "it has a volatile write cache now";
	else if (found->max_queues > 0 && found->max_queues < d->info.n_queues)
		why = "it cannot have as many queues now";
	if (why)
		return log_message(
			MESSAGE_BACKING_CHANGED, LOG_ERR, -EUCLEAN,
			"what lies behind %s cannot serve ublk device %" PRIu32
			" any more: %s; repair that and start the service again, the device "
			"waits",
			d->conf->name, d->info.dev_id, why);
	/* What was offered and is not there any more is refused request by request. */
	d->limits.max_discard_bytes = found->max_discard_bytes ? live->max_discard_bytes : 0;
	d->limits.max_write_zeroes_bytes =
		found->max_write_zeroes_bytes ? live->max_write_zeroes_bytes : 0;
	return 0;
}

int device_begin_takeover(struct device *d)
{
	int r;

	r = device_write_state(d, true);
	if (r < 0)
		return r;
	step_reached("takeover-noted");
	for (unsigned ms = 0;; ms += TAKEOVER_STEP_NS / 1000000) {
		r = ctrl_start_user_recovery(d->env.ctrl, d->info.dev_id);
		if (r != -EBUSY)
			break;
		r = device_wait_for_process(d, ms);
		if (r < 0)
			break;
	}
	if (r == 0) {
		step_reached("takeover-begun");
		return 0;
	}
	if (r != -EBUSY)
		(void)device_log_ctrl(d, CTRL_START_USER_RECOVERY, r);
	/* It has not begun, so the next server may try. */
	(void)device_write_state(d, false);
	return r;
}

int device_end_takeover(struct device *d)
{
	int r;

	ctrl_set_wait(d->env.ctrl, device_wait_takeover, d);
	r = ctrl_end_user_recovery(d->env.ctrl, d->info.dev_id, getpid());
	ctrl_set_wait(d->env.ctrl, NULL, NULL);
	if (r < 0)
		return device_log_start(d, CTRL_END_USER_RECOVERY, r);
	device_go(d, DEVICE_LIVE);
	d->taken_over = true;
	stats_count_recovery(&d->stats, d->seen_ns, clock_now_ns());
	step_reached("takeover-ended");
	orphan_deinit(d->orphan);
	free(TAKE_PTR(d->orphan));
	log_message(MESSAGE_TAKEN_OVER, LOG_NOTICE, 0, "took over ublk device %" PRIu32,
		    d->info.dev_id);
	return device_write_state(d, false);
}
