/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkctl gc: what dead servers have left. Nothing is removed that is not proved to be ours and to
 * have no server: the lock of its name is held from before the proof until it is gone, so a server
 * that starts meanwhile finds itself locked out and is started again.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/survey.h"
#include "ring/orphan.h"
#include "state/holders.h"
#include "util/fd.h"
#include "util/parse.h"
#include "util/systemd.h"

#define GC_WAIT_MS      2000
#define GC_REASON_BYTES 640
#define GC_MANAGER_UNIT "ublkd.service"

enum gc_action { GC_REMOVED, GC_WOULD_REMOVE, GC_KEPT, GC_FAILED };

struct gc {
	const struct cli *cli;
	const struct survey *survey;
	struct ctrl *ctrl;        /* NULL: the kernel has no devices */
	struct json_object *list; /* NULL: text */
	size_t n_lines;
	int status;
};

/* What a line is about: a device, or, without one, a file below /run/ublkd. */
struct gc_subject {
	const char *name;  /* NULL: somebody else's device */
	const char *path;  /* relative to /run/ublkd; NULL: a device */
	uint32_t dev_id;   /* of the device */
	const char *state; /* of the device */
};

static void gc_print_json(struct gc *g, const struct gc_subject *s, enum gc_action action,
			  const char *reason)
{
	static const char *const actions[] = {
		[GC_REMOVED] = "removed",
		[GC_WOULD_REMOVE] = "would-remove",
		[GC_KEPT] = "kept",
		[GC_FAILED] = "failed",
	};
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", output_json_text(s->name));
	json_object_object_add(o, "id", s->path ? NULL : json_object_new_int64(s->dev_id));
	json_object_object_add(o, "kernel_state", output_json_text(s->state));
	json_object_object_add(o, "path", output_json_text(s->path));
	json_object_object_add(o, "action", output_json_text(actions[action]));
	json_object_object_add(o, "reason", output_json_text(reason));
	json_object_array_add(g->list, o);
}

static void gc_print_text(const struct gc_subject *s, enum gc_action action, const char *reason)
{
	static const char *const actions[] = {
		[GC_REMOVED] = "removed",
		[GC_WOULD_REMOVE] = "would be removed",
		[GC_KEPT] = "kept",
		[GC_FAILED] = "failed",
	};

	if (s->path)
		printf("%s/%s: ", state_dir(), s->path);
	else
		printf("ublk device %" PRIu32 " (%s%s%s): ", s->dev_id, s->name ?: "",
		       s->name ? ", " : "", s->state);
	printf("%s: %s\n", actions[action], reason);
}

/* One line for each thing that was looked at and is not just being served. */
__attribute__((format(printf, 4, 5))) static void
gc_say(struct gc *g, const struct gc_subject *s, enum gc_action action, const char *format, ...)
{
	char reason[GC_REASON_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (g->list)
		gc_print_json(g, s, action, reason);
	else
		gc_print_text(s, action, reason);
	g->n_lines++;
	if (action == GC_FAILED)
		g->status = 1;
	else if (action == GC_KEPT && g->cli->force)
		g->status = EX_TEMPFAIL; /* it was asked for, and not done */
}

/* ---- what speaks against it ---- */

/* 1: systemd has a server of that name, or is about to have one: said. */
static int gc_check_unit(struct gc *g, const struct gc_subject *s, const char *unit,
			 bool is_manager)
{
	enum systemd_unit_state state;
	int r = systemd_get_unit_state(unit, &state);

	if (r == -EHOSTDOWN)
		return 0;
	if (r < 0) {
		gc_say(g, s, GC_FAILED, "cannot ask systemd for %s: %s", unit, strerror(-r));
		return 1;
	}
	/* A manager that is up would hold the lock, if it served that name. */
	if (!systemd_unit_is_busy(state) || (is_manager && state == SYSTEMD_UNIT_ACTIVE))
		return 0;
	gc_say(g, s, GC_KEPT, "%s is %s, so that a server may come at any moment", unit,
	       systemd_unit_state_to_string(state));
	return 1;
}

static bool gc_is_managed(const struct gc *g, const char *name)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *kept = NULL;
	char path[512];

	if (device_conf_load_kept(state_definition_path(name, path, sizeof(path)), name, &diag,
				  &kept) == 0)
		return kept->manager;
	for (size_t i = 0; i < g->survey->n; i++) {
		const struct survey_device *d = &g->survey->devices[i];

		if (d->name && d->conf && strcmp(d->name, name) == 0)
			return d->conf->manager;
	}
	return false;
}

static int gc_check_units(struct gc *g, const struct gc_subject *s)
{
	char unit[DEVICE_NAME_MAX + 16];

	snprintf(unit, sizeof(unit), "ublk@%.*s.service", DEVICE_NAME_MAX, s->name);
	return gc_check_unit(g, s, unit, false) ||
	       (gc_is_managed(g, s->name) && gc_check_unit(g, s, GC_MANAGER_UNIT, true));
}

/* 1: somebody uses it: said. Stops it if nobody does, unless it is only asked what would be. */
static int gc_check_users(struct gc *g, const struct gc_subject *s)
{
	AUTO(holders_deinit) struct holders *holders = &(struct holders){0};
	char by[GC_REASON_BYTES / 2] = "in use by somebody who cannot be seen";
	int r;

	if (g->cli->dry_run) {
		r = holders_find(s->dev_id, holders);
		if (r == 0 || r == -ENODEV)
			r = holders->n > 0 ? -EBUSY : 0;
	} else {
		r = orphan_try_stop(g->ctrl, s->dev_id, holders);
	}
	if (r == 0)
		return 0;
	if (r != -EBUSY) {
		gc_say(g, s, GC_FAILED, "cannot tell who uses it: %s", strerror(-r));
		return 1;
	}
	if (holders->n > 0)
		holders_to_string(holders, by, sizeof(by));
	if (s->name)
		gc_say(g, s, GC_KEPT,
		       "%s: a server that is started takes it over without loss; to give it up: "
		       "ublkctl gc --force %s",
		       by, s->name);
	else
		gc_say(g, s, GC_KEPT, "%s", by);
	return 1;
}

static bool gc_process_lives(pid_t pid)
{
	return pid > 0 && (kill(pid, 0) == 0 || errno != ESRCH);
}

/* ---- removing ---- */

static bool gc_remove_device(struct gc *g, const struct gc_subject *s)
{
	const char *step;
	int r;

	if (g->cli->dry_run) {
		gc_say(g, s, GC_WOULD_REMOVE, "it has no server");
		return false;
	}
	r = orphan_remove(g->ctrl, s->dev_id, GC_WAIT_MS, &step);
	if (r < 0)
		gc_say(g, s, GC_FAILED, "cannot %s it: %s", step, strerror(-r));
	else if (r > 0)
		gc_say(g, s, GC_REMOVED,
		       "it had no server; the kernel keeps the number until its "
		       "last user lets go");
	else
		gc_say(g, s, GC_REMOVED, "it had no server");
	return r >= 0;
}

/*
 * The device of that id, as it is now that the name is locked: true: it is ours and has no server.
 * *ret_other: what is in the directory of the name is about another device.
 */
static bool gc_prove(struct gc *g, struct gc_subject *s, bool *ret_other)
{
	AUTO(orphan_deinit) struct orphan *o = &(struct orphan){0};
	struct dev_info info;
	bool has_state;
	int r;

	r = ctrl_get_dev_info(g->ctrl, s->dev_id, &info);
	if (r == -ENODEV)
		return false; /* gone meanwhile */
	if (r == 0)
		r = orphan_find(g->ctrl, s->name, o);
	if (r < 0) {
		*ret_other = true;
		gc_say(g, s, GC_FAILED, "cannot ask the kernel: %s", strerror(-r));
		return false;
	}
	has_state = r > 0 && o->info.dev_id == s->dev_id;
	*ret_other = r > 0 && !has_state;
	s->state = dev_state_to_string(info.state);
	if (!orphan_is_marked(&info, s->name))
		return false; /* the number is somebody else's by now */
	if (info.state == DEV_UNKNOWN) {
		gc_say(g, s, GC_KEPT, "the kernel is newer than this program");
		return false;
	}
	if (info.state == DEV_LIVE && !has_state && gc_process_lives(info.server_pid)) {
		gc_say(g, s, GC_KEPT, "process %d serves it, though %s knows nothing of that",
		       (int)info.server_pid, state_dir());
		return false;
	}
	if (info.state == DEV_LIVE && !g->cli->force) {
		gc_say(g, s, GC_KEPT, "its server has just ended; try again in a minute");
		return false;
	}
	return true;
}

static void gc_remove_directory(struct gc *g, const struct gc_subject *s)
{
	int r = state_remove(s->name, UINT32_MAX);

	if (r < 0)
		gc_say(g, s, GC_FAILED, "cannot remove its directory: %s", strerror(-r));
	else if (s->path)
		gc_say(g, s, GC_REMOVED, "there is no device of that name");
}

/* A device of ours, or just the directory of a name. */
static void gc_ours(struct gc *g, struct gc_subject *s)
{
	bool is_other = false, is_free = s->path;
	AUTO_CLOSE int lock_fd = -1;
	int r = 0;

	if (gc_check_units(g, s))
		return;
	if (g->cli->dry_run && s->path) {
		gc_say(g, s, GC_WOULD_REMOVE, "there is no device of that name");
		return;
	}
	if (!g->cli->dry_run)
		r = state_lock(s->name, &lock_fd);
	if (r == -EBUSY) {
		gc_say(g, s, GC_KEPT, "there is a server of that name now");
		return;
	}
	if (r < 0) {
		gc_say(g, s, GC_FAILED, "cannot lock %s/%s: %s", state_dir(), s->name,
		       strerror(-r));
		return;
	}
	if (!s->path && gc_prove(g, s, &is_other) && (g->cli->force || !gc_check_users(g, s)))
		is_free = gc_remove_device(g, s);
	if (is_free && !is_other)
		gc_remove_directory(g, s);
}

/* Without a name there is no lock, no unit and no mark: only whoever asks for it can know. */
static void gc_foreign(struct gc *g, const struct survey_device *d, struct gc_subject *s)
{
	if (d->info.state == DEV_LIVE && gc_process_lives(d->info.server_pid))
		gc_say(g, s, GC_KEPT, "it is another program's, and process %d serves it",
		       (int)d->info.server_pid);
	else if (!g->cli->force)
		gc_say(g, s, GC_KEPT,
		       "it is another program's; to remove it nevertheless: ublkctl gc --force "
		       "ublkb%" PRIu32,
		       d->dev_id);
	else
		gc_remove_device(g, s);
}

/* The name whose mark a device has that the survey has given to nobody. */
static const char *gc_find_name(const struct gc *g, const struct survey_device *d)
{
	for (size_t i = 0; i < g->survey->n; i++) {
		const char *name = g->survey->devices[i].name;

		if (name && orphan_is_marked(&d->info, name))
			return name;
	}
	return NULL;
}

static void gc_look_at(struct gc *g, const struct survey_device *d)
{
	struct gc_subject s = {.name = d->name, .dev_id = d->dev_id, .state = "unknown"};
	const bool has_server = d->owner_error == 0 && d->owner > 0;

	if (!d->has_dev) {
		if (d->owner_error == -ENODATA)
			return; /* a definition, and nothing else */
		s.path = d->name;
	} else if (d->info_error == 0) {
		s.state = dev_state_to_string(d->info.state);
	}
	if (has_server && g->cli->force)
		gc_say(g, &s, GC_KEPT, "process %d serves it; to stop that: systemctl stop ublk@%s",
		       (int)d->owner, d->name);
	if (has_server)
		return;
	if (d->has_dev && d->info_error < 0) {
		gc_say(g, &s, GC_FAILED, "cannot ask the kernel: %s", strerror(-d->info_error));
		return;
	}
	if (d->has_dev && !s.name)
		s.name = gc_find_name(g, d);
	if (s.name)
		gc_ours(g, &s);
	else
		gc_foreign(g, d, &s);
}

/* What the udev rule would import for a device that is no more. */
static void gc_udev_files(struct gc *g)
{
	AUTO_CLOSEDIR DIR *dir = NULL;
	const struct dirent *e;
	char path[512];

	snprintf(path, sizeof(path), "%s/udev", state_dir());
	if (fd_open_dir(AT_FDCWD, path, &dir) < 0)
		return;
	while ((e = readdir(dir))) {
		struct gc_subject s = {.path = path};
		struct dev_info info;
		uint32_t dev_id;
		int r;

		if (strncmp(e->d_name, "ublkb", 5) != 0 || parse_u32(e->d_name + 5, &dev_id) < 0)
			continue;
		/* asked for each anew: servers write the file after they have made the device */
		if (g->ctrl && ctrl_get_dev_info(g->ctrl, dev_id, &info) != -ENODEV)
			continue;
		snprintf(path, sizeof(path), "udev/ublkb%" PRIu32, dev_id);
		r = g->cli->dry_run ? 0 : state_remove_udev(dev_id);
		gc_say(g, &s,
		       r < 0             ? GC_FAILED
		       : g->cli->dry_run ? GC_WOULD_REMOVE
					 : GC_REMOVED,
		       "%s", r < 0 ? strerror(-r) : "there is no such device");
	}
}

static int gc_run(struct gc *g)
{
	const struct survey_device *d;

	if (g->cli->force) {
		d = survey_find(g->survey, g->cli->force);
		if (!d || (!d->has_dev && d->owner_error == -ENODATA)) {
			fprintf(stderr, "ublkctl: there is no ublk device \"%s\"\n", g->cli->force);
			return 1;
		}
		gc_look_at(g, d);
	} else {
		for (size_t i = 0; i < g->survey->n; i++)
			gc_look_at(g, &g->survey->devices[i]);
		gc_udev_files(g);
	}
	if (g->list)
		output_json(g->list);
	else if (g->n_lines == 0 && !g->cli->no_legend)
		puts("there is nothing to remove");
	return g->status;
}

int cmd_gc(int argc, char **argv, const struct cli *cli)
{
	__attribute__((cleanup(output_json_free_auto))) struct json_object *list =
		cli->json ? json_object_new_array() : NULL;
	AUTO(ctrl_close) struct ctrl *ctrl = NULL;
	struct survey survey = {0};
	int r, status;

	if (argc > 1) {
		fputs("usage: ublkctl gc [--dry-run] [--force NAME|DEVICE]\n", stderr);
		return EX_USAGE;
	}
	if (geteuid() != 0) {
		fputs("ublkctl: gc is for root only\n", stderr);
		return EX_NOPERM;
	}
	r = ctrl_open(&ctrl);
	if (r < 0 && r != -ENOENT) /* without the module there are no devices, but perhaps files */
		return output_complain_ctrl(r);
	r = survey_take("/sys", &survey);
	if (r < 0) {
		status = output_complain(r, "cannot list devices");
	} else {
		struct gc g = {.cli = cli, .survey = &survey, .ctrl = ctrl, .list = list};

		status = gc_run(&g);
	}
	survey_deinit(&survey);
	return status;
}
