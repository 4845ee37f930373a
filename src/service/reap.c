/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/reap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "conf/device-conf.h"
#include "ring/orphan.h"
#include "service/held.h"
#include "service/linger.h"
#include "state/holders.h"
#include "state/state.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/systemd.h"

#define REAP_WAIT_MS      2000
#define REAP_LOCK_TRIES   20
#define REAP_TICK_MS      250
#define REAP_ERROR_MS     5000
#define REAP_MAX_ERRORS   3
#define REAP_UNITS_EVERY  20 /* ticks */
#define REAP_MANAGER_UNIT "ublkd.service"
#define REAP_UNIT_MAX     (DEVICE_NAME_MAX + 16)

struct reap {
	struct ctrl *ctrl; /* NULL: not open yet */
	bool stopping;     /* the machine goes down */
	unsigned tick;     /* at shutdown */
	struct linger linger;
};

/* 0; 1: there is no such thing as a ublk device here. */
static int reap_open_ctrl(struct reap *rp)
{
	int r;

	if (rp->ctrl)
		return 0;
	r = ctrl_open(&rp->ctrl);
	if (r == -ENOENT || r == -ENODEV || r == -ENXIO)
		return 1;
	return r < 0 ? log_error_errno(r, "cannot use /dev/ublk-control: %m") : 0;
}

/* The definition in force when the server died, else the one of today; NULL: neither can be read. */
static struct device_conf *reap_load_conf(const char *name)
{
	AUTO(conf_diag_deinit) struct conf_diag kept_diag = {0}, diag = {0};
	struct device_conf *conf = NULL;
	char path[512];

	if (device_conf_load_kept(state_definition_path(name, path, sizeof(path)), name, &kept_diag,
				  &conf) == 0)
		return conf;
	return device_conf_load(name, &diag, &conf) == 0 ? conf : NULL;
}

static int reap_remove(const struct reap *rp, const struct dev_info *info, const char *why)
{
	const uint32_t dev_id = info->dev_id;
	const char *step;
	int r;

	r = orphan_remove(rp->ctrl, dev_id, rp->stopping ? 0 : REAP_WAIT_MS, &step);
	if (r < 0)
		return log_error_errno(r,
				       "cannot %s ublk device %" PRIu32 ", which has no server: %m",
				       step, dev_id);
	log_message(MESSAGE_REMOVED, LOG_NOTICE, 0,
		    "removed ublk device %" PRIu32 " (%s), which has no server any more: %s%s",
		    dev_id, dev_state_to_string(info->state), why,
		    r > 0 ? "; whoever still uses it gets errors" : "");
	return 0;
}

/* Of the server that has, or had, the device. */
static const char *reap_unit(const char *name, const struct device_conf *conf,
			     char buf[static REAP_UNIT_MAX])
{
	if (conf && conf->manager)
		return REAP_MANAGER_UNIT;
	snprintf(buf, REAP_UNIT_MAX, "ublk@%.*s.service", DEVICE_NAME_MAX, name);
	return buf;
}

static void reap_log_kept(const char *name, const struct device_conf *conf,
			  const struct dev_info *info, const struct holders *holders)
{
	char by[HELD_TEXT_BYTES];
	char unit[REAP_UNIT_MAX];

	log_message(MESSAGE_GIVEN_UP, LOG_ERR, 0,
		    "ublk device %" PRIu32
		    " has no server any more and is %s: its requests %s. Repair "
		    "what the messages above name, then \"systemctl %s %s\" goes on without "
		    "loss; or give it up with \"ublkctl gc --force %s\"",
		    info->dev_id, held_describe(holders, by),
		    info->state == DEV_FAIL_IO ? "fail" : "wait",
		    /* which may run, with other devices */
		    conf && conf->manager ? "reload-or-restart" : "start",
		    reap_unit(name, conf, unit), name);
}

/*
 * The memory of a memory device was systemd's to keep, which lets go of it with the unit that has
 * failed. Where it was told to preserve it, or cannot say, it may still be there.
 */
static bool reap_has_lost_data(const char *name, const struct device_conf *conf)
{
	char unit[REAP_UNIT_MAX];
	unsigned n;

	return conf && conf->backend_type == &memory_conf_type &&
	       systemd_count_stored_fds(reap_unit(name, conf, unit), &n) == 0 && n == 0;
}

/* 0: removed; 1: left as it is. */
static int reap_orphan(const struct reap *rp, const char *name, const struct dev_info *info)
{
	AUTO(holders_deinit) struct holders *holders = &(struct holders){0};
	AUTO(device_conf_free) struct device_conf *conf = NULL;
	int r;

	if (rp->stopping)
		return reap_remove(rp, info, "the machine goes down");
	conf = reap_load_conf(name);
	if (conf && conf->give_up == GIVE_UP_FAIL)
		return reap_remove(rp, info, "OnGiveUp=fail");
	if (reap_has_lost_data(name, conf))
		return reap_remove(rp, info, "its memory has gone with the server");
	r = orphan_try_stop(rp->ctrl, info->dev_id, holders);
	if (r == -EBUSY) {
		reap_log_kept(name, conf, info, holders);
		return 1;
	}
	if (r < 0)
		return log_error_errno(r, "cannot tell who uses ublk device %" PRIu32 ": %m",
				       info->dev_id);
	return reap_remove(rp, info, "nobody uses it");
}

/* What no state file tells of. A server may be behind one that is LIVE, though we have the lock. */
static int reap_marked(const struct reap *rp, const char *name)
{
	struct dev_info info;
	uint32_t first_id = 0;
	int r;

	for (;;) {
		r = orphan_find_marked(rp->ctrl, name, first_id, &info);
		if (r < 0)
			return log_error_errno(r, "cannot look for ublk devices: %m");
		if (r == 0)
			return 0;
		first_id = info.dev_id + 1;
		if (info.state != DEV_DEAD &&
		    !(rp->stopping && (info.state == DEV_QUIESCED || info.state == DEV_FAIL_IO)))
			continue;
		r = reap_remove(rp, &info,
				rp->stopping ? "the machine goes down" : "it was never started");
		if (r < 0)
			return r;
	}
}

/* Under the lock of the name. 0: nothing is left; 1: something is, on purpose. */
static int reap_left_overs(struct reap *rp, const char *name)
{
	AUTO(orphan_deinit) struct orphan *o = &(struct orphan){0};
	int r;

	r = reap_open_ctrl(rp);
	if (r != 0)
		return r < 0 ? r : 0;
	r = orphan_find(rp->ctrl, name, o);
	if (r < 0)
		return log_error_errno(r, "cannot tell what the server has left: %m");
	if (r > 0)
		r = reap_orphan(rp, name, &o->info);
	return r == 0 ? reap_marked(rp, name) : r;
}

/* state_lock(), and no server is taken for there because somebody on a busy machine looks who is. */
static int reap_lock(const char *name, int *ret_fd)
{
	pid_t owner = 1;
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < REAP_LOCK_TRIES; i++) {
		r = state_lock(name, ret_fd);
		if (r == -EBUSY && (state_get_owner(name, &owner) < 0 || owner > 0))
			break;
	}
	return r;
}

static int reap_name(struct reap *rp, const char *name)
{
	AUTO_CLOSE int lock_fd = -1;
	int r;

	r = reap_lock(name, &lock_fd);
	if (r == -EBUSY)
		return 0; /* it is served again */
	if (r < 0)
		return log_error_errno(r, "cannot lock " STATE_DIR "/%s: %m", name);
	if (r > 0)
		r = reap_left_overs(rp, name);
	if (r != 0)
		return r < 0 ? r : 0;
	r = state_remove(name, UINT32_MAX);
	if (r < 0)
		return log_error_errno(r, "cannot remove " STATE_DIR "/%s: %m", name);
	return 0;
}

/* True if it was the manager that served the name. */
static bool reap_is_managed(const char *name)
{
	AUTO(device_conf_free) struct device_conf *conf = reap_load_conf(name);

	return conf && conf->manager;
}

static int reap_managed(struct reap *rp)
{
	AUTO(state_list_free) char **names = NULL;
	int r, first_error = 0;

	r = state_list(&names);
	if (r < 0)
		return log_error_errno(r, "cannot list " STATE_DIR ": %m");
	for (char **name = names; *name; name++) {
		if (!reap_is_managed(*name))
			continue;
		(void)log_set_device(*name);
		r = reap_name(rp, *name);
		(void)log_set_device(NULL);
		first_error = first_error ?: r;
	}
	return first_error;
}

/* Where systemd cannot say, the machine stays up: what is left can still be removed later. */
static bool reap_is_stopping(void)
{
	bool stopping = false;
	int r = systemd_is_stopping(&stopping);

	if (r < 0 && r != -EHOSTDOWN)
		log_warning_errno(r, "cannot ask systemd whether the machine goes down: %m");
	return stopping;
}

int reap_by_policy(const char *name)
{
	struct reap rp = {.stopping = reap_is_stopping()};
	int r;

	r = strcmp(name, STATE_MANAGER) == 0 ? reap_managed(&rp) : reap_name(&rp, name);
	ctrl_close(rp.ctrl);
	return r;
}

/* ---- shutdown ---- */

static bool reap_unit_is_busy(const char *unit)
{
	enum systemd_unit_state state;

	return systemd_get_unit_state(unit, &state) == 0 && systemd_unit_is_busy(state);
}

static bool reap_unit_ends(const char *unit)
{
	enum systemd_unit_state state;

	return systemd_get_unit_state(unit, &state) == 0 && state == SYSTEMD_UNIT_DEACTIVATING;
}

/* A process of the unit was started, and may not have come as far as to the lock. */
static bool reap_unit_is_starting(const char *unit)
{
	enum systemd_unit_state state;
	pid_t pid;

	return systemd_get_unit_state(unit, &state) == 0 && state == SYSTEMD_UNIT_ACTIVATING &&
	       systemd_get_main_pid(unit, &pid) == 0 && pid > 0;
}

/* Somebody has the lock. 1: it is to be looked at again; 0: systemd does not stop it, nor do we. */
static int reap_watch_server(struct reap *rp, const char *name, const char *unit, pid_t owner)
{
	linger_continue(owner);
	if (linger_is_due(&rp->linger, rp->tick) &&
	    (reap_unit_ends(unit) || reap_unit_ends(REAP_MANAGER_UNIT)))
		linger_deal(&rp->linger, name, owner);
	return rp->tick % REAP_UNITS_EVERY != 0 || reap_unit_is_busy(unit) ||
	       reap_unit_is_busy(REAP_MANAGER_UNIT);
}

/* 1: a server has it, or is coming: to be looked at again; 0: done with it; -errno: said. */
static int reap_watch(struct reap *rp, const char *name)
{
	char unit[REAP_UNIT_MAX];
	pid_t owner = 0;
	int r;

	reap_unit(name, NULL, unit);
	r = state_get_owner(name, &owner);
	if (r == -EAGAIN)
		return 1;
	if (owner > 0)
		return reap_watch_server(rp, name, unit, owner);
	if (reap_unit_is_starting(unit) || reap_unit_is_starting(REAP_MANAGER_UNIT))
		return 1;
	return reap_name(rp, name);
}

/* The number of names to be looked at again; -errno: said. */
static int reap_watch_all(struct reap *rp)
{
	AUTO(state_list_free) char **names = NULL;
	int r, n = 0, first_error = 0;

	r = state_list(&names);
	if (r < 0)
		return log_error_errno(r, "cannot list " STATE_DIR ": %m");
	if (names[0])
		linger_look(&rp->linger, rp->tick);
	for (char **name = names; *name; name++) {
		(void)log_set_device(*name);
		r = reap_watch(rp, *name);
		(void)log_set_device(NULL);
		if (r < 0)
			first_error = first_error ?: r;
		else
			n += r;
	}
	return first_error ?: n;
}

static void reap_pause(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

int reap_at_shutdown(void)
{
	struct reap rp = {.stopping = reap_is_stopping()};
	unsigned n_errors = 0;
	int r = rp.stopping ? 1 : 0;

	/* What cannot be removed must not hold up the machine either. */
	for (; r != 0 && n_errors < REAP_MAX_ERRORS; rp.tick++) {
		if (rp.tick > 0)
			reap_pause(r < 0 ? REAP_ERROR_MS : REAP_TICK_MS);
		r = reap_watch_all(&rp);
		n_errors += r < 0;
	}
	ctrl_close(rp.ctrl);
	return MIN(r, 0);
}
