/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkctl apply: what runs becomes what the files say. All decisions are made first; then come
 * daemon-reload, what has to stop, the manager, and the rest, each of these at once.
 */
#include "cli/apply.h"

#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "conf/search.h"
#include "state/holders.h"
#include "util/systemd-jobs.h"

#define APPLY_MANAGER_UNIT  "ublkd.service"
#define APPLY_GENERATOR_DIR "/run/systemd/generator"
#define APPLY_PARALLEL      16
#define APPLY_UNIT_BYTES    (DEVICE_NAME_MAX + 16)

struct apply_device {
	const char *name;
	struct apply_decision decision;
	char unit[APPLY_UNIT_BYTES];
	int status; /* 0; else it failed */
	char failure[APPLY_REASON_BYTES];
};

struct apply {
	const struct cli *cli;
	char *const *names; /* only these; empty: all */
	size_t n_names;
	struct apply_device *devices;
	size_t n_devices;
	bool needs_daemon_reload;
	bool has_manager_work;
	bool manager_restarts; /* not only reloads */
	enum systemd_unit_state manager;
	struct systemd_job *jobs;
	struct apply_device **owners; /* of jobs; NULL: the manager's */
	size_t n_jobs;
};

/* ---- looking ---- */

/* What would be done is told without systemd, too: in an image, nothing runs. */
static int apply_get_unit_state(const struct apply *a, const char *unit,
				enum systemd_unit_state *ret)
{
	int r = systemd_get_unit_state(unit, ret);

	return r == -EHOSTDOWN && a->cli->dry_run ? 0 : r;
}

static int apply_look(struct apply *a, const struct survey_device *d)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *kept = NULL;
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};
	struct apply_device *to = &a->devices[a->n_devices];
	struct apply_facts f = {.name = d->name,
				.definition = d->definition,
				.conf = d->conf,
				.has_device = d->has_dev,
				.has_server = d->owner_error == 0 && d->owner > 0,
				.unit = SYSTEMD_UNIT_INACTIVE,
				.manager = a->manager};
	char path[512], users[APPLY_REASON_BYTES / 2];
	int r;

	to->name = d->name;
	snprintf(to->unit, sizeof(to->unit), "ublk@%.*s.service", DEVICE_NAME_MAX, d->name);
	r = apply_get_unit_state(a, to->unit, &f.unit);
	if (r < 0)
		return r;
	if (device_conf_load_kept(state_definition_path(d->name, path, sizeof(path)), d->name,
				  &diag, &kept) == 0)
		f.kept = kept;
	if (d->has_dev && holders_find(d->dev_id, h) == 0 && h->n > 0)
		f.users = holders_to_string(h, users, sizeof(users));
	r = apply_decide(&f, &to->decision);
	if (r < 0)
		return r;
	/* one that the manager has, or is to have, is the manager's to add and to remove */
	if (apply_is_call(to->decision.action) &&
	    (to->decision.was_managed || to->decision.is_managed))
		a->has_manager_work = true;
	if (to->decision.action == APPLY_RESTART && to->decision.is_managed)
		a->manager_restarts = true;
	to->status = to->decision.action == APPLY_REFUSED;
	a->n_devices++;
	return 0;
}

static bool apply_is_wanted(const struct apply *a, const char *name)
{
	for (size_t i = 0; i < a->n_names; i++)
		if (strcmp(a->names[i], name) == 0)
			return true;
	return a->n_names == 0;
}

static bool apply_has(const struct apply *a, const char *name)
{
	for (size_t i = 0; i < a->n_devices; i++)
		if (strcmp(a->devices[i].name, name) == 0)
			return true;
	return false;
}

/* Whoever removes a definition names it, too, also when all is done. */
static void apply_look_at_nothing(struct apply *a, const char *name)
{
	struct apply_device *to = &a->devices[a->n_devices++];

	to->name = name;
	snprintf(to->unit, sizeof(to->unit), "ublk@%.*s.service", DEVICE_NAME_MAX, name);
	snprintf(to->decision.reason, sizeof(to->decision.reason),
		 "there is no definition and no device");
}

static int apply_look_at_all(struct apply *a, const struct survey *survey)
{
	const size_t n_max = survey->n + a->n_names + 1;
	int r;

	a->devices = calloc(n_max, sizeof(*a->devices));
	a->jobs = calloc(n_max, sizeof(*a->jobs));
	a->owners = calloc(n_max, sizeof(struct apply_device *));
	if (!a->devices || !a->jobs || !a->owners)
		return -ENOMEM;
	a->needs_daemon_reload = apply_needs_daemon_reload(conf_search_path(), APPLY_GENERATOR_DIR);
	a->manager = SYSTEMD_UNIT_INACTIVE;
	r = apply_get_unit_state(a, APPLY_MANAGER_UNIT, &a->manager);
	for (size_t i = 0; r == 0 && i < survey->n; i++)
		if (survey->devices[i].name && apply_is_wanted(a, survey->devices[i].name))
			r = apply_look(a, &survey->devices[i]);
	for (size_t i = 0; r == 0 && i < a->n_names; i++)
		if (!apply_has(a, a->names[i]))
			apply_look_at_nothing(a, a->names[i]);
	return r;
}

/* ---- doing ---- */

static void apply_add_job(struct apply *a, struct apply_device *d, enum systemd_verb verb,
			  const char *unit)
{
	a->owners[a->n_jobs] = d;
	a->jobs[a->n_jobs++] = (struct systemd_job){.verb = verb, .unit = unit};
}

static void apply_show_progress(size_t n_done, size_t n, void *arg)
{
	const char *what = arg;
	char bar[31];
	size_t full = n ? n_done * (sizeof(bar) - 1) / n : 0;

	if (n == 0)
		return;
	memset(bar, '.', sizeof(bar) - 1);
	memset(bar, '#', full);
	bar[sizeof(bar) - 1] = '\0';
	fprintf(stderr, "\r%s [%s] %zu/%zu%s", what, bar, n_done, n, n_done == n ? "\n" : "");
}

static void apply_fail(struct apply_device *d, const char *unit, const struct systemd_job *job)
{
	d->status = 1;
	snprintf(d->failure, sizeof(d->failure), "%s: %s; systemctl status %s says why", unit,
		 *job->text ? job->text : strerror(-job->result), unit);
}

/* The manager's one answer is that of all its devices. */
static void apply_take_result(struct apply *a, struct apply_device *owner,
			      const struct systemd_job *job)
{
	if (job->result >= 0)
		return;
	if (owner) {
		apply_fail(owner, job->unit, job);
		return;
	}
	for (size_t i = 0; i < a->n_devices; i++) {
		const struct apply_decision *d = &a->devices[i].decision;

		if (apply_is_call(d->action) && (d->was_managed || d->is_managed))
			apply_fail(&a->devices[i], job->unit, job);
	}
}

static int apply_run_jobs(struct apply *a, const char *what)
{
	const bool is_shown = isatty(STDERR_FILENO) && !a->cli->json;
	int r = 0;

	if (a->n_jobs > 0)
		r = systemd_run_jobs(a->jobs, a->n_jobs, APPLY_PARALLEL,
				     is_shown ? apply_show_progress : NULL, (void *)what);
	for (size_t i = 0; i < a->n_jobs; i++)
		apply_take_result(a, a->owners[i], &a->jobs[i]);
	a->n_jobs = 0;
	return r;
}

static int apply_stop_all(struct apply *a)
{
	for (size_t i = 0; i < a->n_devices; i++) {
		struct apply_device *d = &a->devices[i];

		if (!d->decision.was_managed &&
		    (d->decision.action == APPLY_STOP || d->decision.action == APPLY_STOP_START))
			apply_add_job(a, d, SYSTEMD_STOP, d->unit);
	}
	return apply_run_jobs(a, "stopping");
}

static int apply_do_manager(struct apply *a)
{
	enum systemd_verb verb = SYSTEMD_START;

	if (a->manager == SYSTEMD_UNIT_ACTIVE)
		verb = a->manager_restarts ? SYSTEMD_RESTART : SYSTEMD_RELOAD;
	if (a->has_manager_work)
		apply_add_job(a, NULL, verb, APPLY_MANAGER_UNIT);
	return apply_run_jobs(a, "manager");
}

static int apply_do_rest(struct apply *a)
{
	static const enum systemd_verb verbs[] = {
		[APPLY_START] = SYSTEMD_START,
		[APPLY_STOP_START] = SYSTEMD_START,
		[APPLY_RELOAD] = SYSTEMD_RELOAD,
		[APPLY_RESTART] = SYSTEMD_RESTART,
	};

	for (size_t i = 0; i < a->n_devices; i++) {
		struct apply_device *d = &a->devices[i];

		if (!apply_is_call(d->decision.action) || d->decision.action == APPLY_STOP ||
		    d->decision.is_managed || d->status)
			continue;
		apply_add_job(a, d, verbs[d->decision.action], d->unit);
	}
	return apply_run_jobs(a, "starting");
}

static int apply_do(struct apply *a)
{
	int r = a->needs_daemon_reload ? systemd_daemon_reload() : 0;

	if (r == 0)
		r = apply_stop_all(a);
	if (r == 0)
		r = apply_do_manager(a);
	return r < 0 ? r : apply_do_rest(a);
}

/* ---- telling ---- */

static const char *apply_result(const struct apply *a, const struct apply_device *d)
{
	if (!apply_is_call(d->decision.action))
		return NULL;
	if (a->cli->dry_run)
		return "planned";
	return d->status ? "failed" : "done";
}

static const char *apply_unit(const struct apply_device *d)
{
	return d->decision.was_managed || d->decision.is_managed ? APPLY_MANAGER_UNIT : d->unit;
}

static void apply_print_json(const struct apply *a)
{
	__attribute__((cleanup(output_json_free_auto))) struct json_object *o =
		json_object_new_object();
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < a->n_devices; i++) {
		const struct apply_device *d = &a->devices[i];
		struct json_object *e = json_object_new_object();

		json_object_object_add(e, "name", output_json_text(d->name));
		json_object_object_add(
			e, "action", output_json_text(apply_action_to_string(d->decision.action)));
		json_object_object_add(e, "reason", output_json_text(d->decision.reason));
		json_object_object_add(e, "unit", output_json_text(apply_unit(d)));
		json_object_object_add(e, "result", output_json_text(apply_result(a, d)));
		json_object_object_add(e, "failure",
				       output_json_text(*d->failure ? d->failure : NULL));
		json_object_array_add(list, e);
	}
	json_object_object_add(o, "daemon_reload", json_object_new_boolean(a->needs_daemon_reload));
	json_object_object_add(o, "devices", list);
	output_json(o);
}

static void apply_print_text(const struct apply *a)
{
	size_t n_calls = a->needs_daemon_reload;

	if (a->needs_daemon_reload)
		puts("daemon-reload: definitions are newer than what systemd knows of them");
	for (size_t i = 0; i < a->n_devices; i++) {
		const struct apply_device *d = &a->devices[i];

		if (apply_is_call(d->decision.action)) {
			n_calls++;
			printf("%s: %s (%s): %s\n", d->name,
			       apply_action_to_string(d->decision.action), apply_unit(d),
			       d->decision.reason);
		} else if (d->decision.action == APPLY_NOTHING && a->cli->dry_run &&
			   !a->cli->no_legend) {
			printf("%s: nothing: %s\n", d->name, d->decision.reason);
		}
	}
	if (n_calls == 0 && !a->cli->no_legend)
		puts("nothing to do");
}

static int apply_complain(const struct apply *a)
{
	int status = EX_OK;

	for (size_t i = 0; i < a->n_devices; i++) {
		const struct apply_device *d = &a->devices[i];

		if (!d->status)
			continue;
		status = 1;
		fprintf(stderr, "ublkctl: %s: %s\n", d->name,
			*d->failure ? d->failure : d->decision.reason);
	}
	return status;
}

static int apply_run(struct apply *a, const struct survey *survey)
{
	int r = apply_look_at_all(a, survey);

	if (r == -EHOSTDOWN) {
		fputs("ublkctl: systemd does not run here, so there are no services\n", stderr);
		return EX_UNAVAILABLE;
	}
	if (r < 0)
		return output_complain(r, "cannot compare definitions with what runs");
	if (!a->cli->json)
		apply_print_text(a);
	fflush(stdout);
	if (!a->cli->dry_run)
		r = apply_do(a);
	if (a->cli->json)
		apply_print_json(a);
	if (r < 0)
		return output_complain(r, "cannot ask systemd");
	return apply_complain(a);
}

int cmd_apply(int argc, char **argv, const struct cli *cli)
{
	struct apply a = {.cli = cli, .names = argv + 1, .n_names = (size_t)argc - 1};
	struct survey survey = {0};
	int r;

	for (int i = 1; i < argc; i++) {
		if (device_name_is_valid(argv[i]))
			continue;
		fprintf(stderr, "ublkctl: \"%s\" is no name for a device\n", argv[i]);
		return EX_USAGE;
	}
	if (geteuid() != 0) {
		fputs("ublkctl: apply is for root only\n", stderr);
		return EX_NOPERM;
	}
	r = survey_take("/sys", &survey);
	r = r < 0 ? output_complain(r, "cannot list devices") : apply_run(&a, &survey);
	free(a.devices);
	free(a.jobs);
	free(a.owners);
	survey_deinit(&survey);
	return r;
}
