/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/apply.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fd.h"

const char *apply_action_to_string(enum apply_action action)
{
	static const char *const names[] = {
		[APPLY_NOTHING] = "nothing", [APPLY_START] = "start",
		[APPLY_RELOAD] = "reload",   [APPLY_RESTART] = "restart",
		[APPLY_STOP] = "stop",       [APPLY_STOP_START] = "stop-start",
		[APPLY_REFUSED] = "refused",
	};

	return names[action];
}

bool apply_is_call(enum apply_action action)
{
	return action != APPLY_NOTHING && action != APPLY_REFUSED;
}

__attribute__((format(printf, 3, 4))) static void
apply_set(struct apply_decision *d, enum apply_action action, const char *format, ...)
{
	va_list args;

	d->action = action;
	va_start(args, format);
	vsnprintf(d->reason, sizeof(d->reason), format, args);
	va_end(args);
}

static bool apply_is_memory(const struct device_conf *c)
{
	return strcmp(c->backend_type->name, "memory") == 0;
}

/* It goes only if nobody uses it. */
static void apply_set_unused(const struct apply_facts *f, struct apply_decision *d,
			     enum apply_action action, const char *why)
{
	if (f->users)
		apply_set(d, APPLY_REFUSED,
			  "%s, and it is in use: %s; ublkctl stop %s takes that down", why,
			  f->users, f->name);
	else if (action == APPLY_STOP_START && apply_is_memory(f->kept))
		apply_set(d, APPLY_REFUSED,
			  "%s, and its contents would be lost: stop and start it by hand", why);
	else
		apply_set(d, action, "%s", why);
}

/* The definition is gone, or masked. */
static void apply_decide_gone(const struct apply_facts *f, struct apply_decision *d)
{
	const char *why = f->definition == DEFINITION_MASKED ? "its definition is masked"
							     : "its definition is gone";

	if (f->has_device && (d->was_managed || systemd_unit_is_busy(f->unit)))
		apply_set_unused(f, d, APPLY_STOP, why);
	else if (f->has_device || f->has_server)
		apply_set(d, APPLY_REFUSED, "%s, and no service has it: see ublkctl gc", why);
	else
		apply_set(d, APPLY_NOTHING, "%s", why);
}

static void apply_decide_start(const struct apply_facts *f, struct apply_decision *d)
{
	const struct device_conf *c = f->conf;

	if (systemd_unit_is_busy(f->unit))
		apply_set(d, APPLY_NOTHING, "its service is %s",
			  systemd_unit_state_to_string(f->unit));
	else if (!f->has_device && (!c->autostart || (c->boot_options & BOOT_NOAUTO)))
		apply_set(d, APPLY_NOTHING, "it does not run, and %s",
			  c->autostart ? "Options=noauto" : "Autostart=no");
	else
		apply_set(d, APPLY_START,
			  f->has_device ? "it has lost its server" : "it does not run");
}

/* Both definitions are there, and a server. */
static int apply_decide_change(const struct apply_facts *f, struct apply_decision *d)
{
	AUTO(conf_changes_deinit) struct conf_changes *c = &(struct conf_changes){0};
	char why[APPLY_REASON_BYTES / 2];
	const bool is_other = f->kept->backend_type != f->conf->backend_type;
	int r = device_conf_adopt(f->kept, f->conf, CONF_LIVE, c);

	if (r < 0)
		return r;
	if (d->is_managed && (is_other || c->stop)) {
		apply_set(d, APPLY_REFUSED,
			  "changed: %s; the manager takes that if its definition is away for one "
			  "reload",
			  c->stop ?: "[Backend] Type=");
	} else if (is_other) {
		apply_set_unused(f, d, APPLY_STOP_START, "changed: [Backend] Type=");
	} else if (c->stop || (c->restart && f->conf->recovery_mode == RECOVERY_NONE)) {
		snprintf(why, sizeof(why), "changed: %s", c->stop ?: c->restart);
		apply_set_unused(f, d, APPLY_STOP_START, why);
	} else if (c->restart) {
		apply_set(d, APPLY_RESTART, "changed: %s%s%s", c->restart, c->taken ? ", " : "",
			  c->taken ?: "");
	} else if (c->taken) {
		apply_set(d, APPLY_RELOAD, "changed: %s", c->taken);
	} else {
		apply_set(d, APPLY_NOTHING, "as defined");
	}
	return 0;
}

int apply_decide(const struct apply_facts *f, struct apply_decision *d)
{
	*d = (struct apply_decision){0};
	d->was_managed = f->kept && f->kept->manager;
	d->is_managed = f->conf ? f->conf->manager : d->was_managed;
	if (f->definition == DEFINITION_INVALID) {
		apply_set(d, APPLY_REFUSED, "its definition has errors: ublkctl check %s", f->name);
		return 0;
	}
	if (!f->conf) {
		apply_decide_gone(f, d);
		return 0;
	}
	if (!f->has_server) {
		apply_decide_start(f, d);
		return 0;
	}
	if (!f->kept) {
		apply_set(d, APPLY_NOTHING, "its server has just begun");
		return 0;
	}
	if (!systemd_unit_is_busy(d->was_managed ? f->manager : f->unit)) {
		apply_set(d, APPLY_NOTHING, "it is served by hand");
		return 0;
	}
	if (d->was_managed != d->is_managed) {
		apply_set_unused(f, d, APPLY_STOP_START, "changed: Manager=");
		return 0;
	}
	return apply_decide_change(f, d);
}

/* ---- files and what the generator made of them ---- */

static bool is_newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static bool path_is_newer(int dir_fd, const char *path, const struct timespec *than)
{
	struct stat st;

	return fstatat(dir_fd, path, &st, 0) == 0 && is_newer(&st.st_ctim, than);
}

/* The directory or something in it, and in the directories of drop-ins. */
static bool dir_is_newer(int dir_fd, const char *path, const struct timespec *than, bool deeper)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;

	if (path_is_newer(dir_fd, path, than))
		return true;
	if (fd_open_dir(dir_fd, path, &d) < 0)
		return false;
	while ((e = readdir(d))) {
		const char *end = strrchr(e->d_name, '.');

		if (e->d_name[0] == '.')
			continue;
		if (path_is_newer(dirfd(d), e->d_name, than))
			return true;
		if (deeper && end && strcmp(end, ".d") == 0 &&
		    dir_is_newer(dirfd(d), e->d_name, than, false))
			return true;
	}
	return false;
}

/* /etc/ublk, and /etc/ublkd.conf with its drop-ins beside it. */
static bool search_dir_is_newer(const char *dir, const struct timespec *than)
{
	char path[4096];

	if (dir_is_newer(AT_FDCWD, dir, than, true))
		return true;
	if ((size_t)snprintf(path, sizeof(path), "%sd.conf.d", dir) >= sizeof(path))
		return false;
	if (dir_is_newer(AT_FDCWD, path, than, false))
		return true;
	path[strlen(path) - strlen(".d")] = '\0';
	return path_is_newer(AT_FDCWD, path, than);
}

bool apply_needs_daemon_reload(const char *search_path, const char *generator_dir)
{
	AUTO_FREE char *dirs = strdup(search_path);
	char *saved = NULL;
	struct stat st;

	if (!dirs || stat(generator_dir, &st) < 0)
		return true;
	for (char *dir = strtok_r(dirs, ":", &saved); dir; dir = strtok_r(NULL, ":", &saved))
		if (search_dir_is_newer(dir, &st.st_mtim))
			return true;
	return false;
}
