/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkctl stop: a plan of what stands on the devices, top first, shown, agreed to, and carried out.
 * The first step that fails ends it, since all that comes later may lie below.
 */
#include "cli/stop.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/survey.h"

#define STOP_MANAGER_UNIT "ublkd.service"

struct stop {
	const struct cli *cli;
	const struct survey *survey;
	struct stack_source from;
	struct stack_ublk *ublks;
	char *const *words; /* of the command line, with NULL at the end */
	struct stack plan;  /* of all of them, each step once */
	struct json_object *list;
};

static const struct survey_device *stop_find_name(const struct stop *s, const char *name)
{
	for (size_t i = 0; i < s->survey->n; i++)
		if (s->survey->devices[i].name && strcmp(s->survey->devices[i].name, name) == 0)
			return &s->survey->devices[i];
	return NULL;
}

static int stop_init(struct stop *s)
{
	s->ublks = calloc(s->survey->n + 1, sizeof(*s->ublks));
	if (!s->ublks)
		return -ENOMEM;
	s->from = (struct stack_source){
		.proc = "/proc", .sys = "/sys", .node_type = S_IFBLK, .ublks = s->ublks};
	for (size_t i = 0; i < s->survey->n; i++) {
		const struct survey_device *d = &s->survey->devices[i];

		if (d->name && d->has_dev)
			s->ublks[s->from.n_ublks++] = (struct stack_ublk){
				.name = d->name,
				.dev_id = d->dev_id,
				.target = d->has_state ? d->state.target : NULL};
	}
	return 0;
}

static void stop_deinit(struct stop *s)
{
	stack_deinit(&s->plan);
	free(s->ublks);
}

static bool stack_has(const struct stack *st, const struct stack_step *step)
{
	for (size_t i = 0; i < st->n_steps; i++)
		if (st->steps[i].kind == step->kind &&
		    strcmp(st->steps[i].object, step->object) == 0)
			return true;
	return false;
}

/* Moves what is new over. What a later name has in common with an earlier one is all before it. */
static int stop_merge(struct stop *s, struct stack *more)
{
	struct stack_step *steps =
		reallocarray(s->plan.steps, s->plan.n_steps + more->n_steps + 1, sizeof(*steps));

	if (!steps)
		return -ENOMEM;
	s->plan.steps = steps;
	for (size_t i = 0; i < more->n_steps; i++) {
		if (stack_has(&s->plan, &more->steps[i]))
			continue;
		steps[s->plan.n_steps++] = more->steps[i];
		more->steps[i] = (struct stack_step){0};
	}
	return 0;
}

/* 0; else an exit status. */
static int stop_plan_name(struct stop *s, const char *word)
{
	AUTO(stack_deinit) struct stack *more = &(struct stack){0};
	const struct survey_device *d = survey_find(s->survey, word);
	int r;

	if (!d || !d->name) {
		fprintf(stderr, "ublkctl: there is no device \"%s\": ublkctl list names them\n",
			word);
		return 1;
	}
	if (!d->has_dev) {
		if (!s->cli->no_legend && !s->list)
			printf("%s does not run\n", d->name);
		return 0;
	}
	r = stack_find(&s->from, d->name, more);
	if (r == 0)
		r = stop_merge(s, more);
	return r < 0 ? output_complain(r, "cannot tell what stands on %s", d->name) : 0;
}

/* What cannot be done at all is told before anything is touched. */
static int stop_check_step(const struct stop *s, const struct stack_step *step)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *kept = NULL;
	char path[512];

	if (step->kind == STACK_MOUNT &&
	    (strcmp(step->object, "/") == 0 || strcmp(step->object, "/usr") == 0)) {
		fprintf(stderr, "ublkctl: %s is mounted from it: that ends with the machine\n",
			step->object);
		return EX_TEMPFAIL;
	}
	if (step->kind == STACK_OTHER) {
		fprintf(stderr,
			"ublkctl: %s stands on it, of a kind that ublkctl cannot stop: "
			"stop it by hand\n",
			step->object);
		return EX_TEMPFAIL;
	}
	if (step->kind != STACK_UBLK ||
	    device_conf_load_kept(state_definition_path(step->object, path, sizeof(path)),
				  step->object, &diag, &kept) < 0 ||
	    !kept->manager)
		return 0;
	fprintf(stderr,
		"ublkctl: %s is served by " STOP_MANAGER_UNIT " together with others: remove or "
		"mask its definition, and systemctl reload " STOP_MANAGER_UNIT "\n",
		step->object);
	return EX_TEMPFAIL;
}

static void stop_print_step(const struct stop *s, const struct stack_step *step, const char *result,
			    const char *reason)
{
	char means[STOP_REASON_BYTES];
	struct json_object *o;

	stop_means(step, means, sizeof(means));
	if (!s->list) {
		printf("%s %s%s%s%s%s\n", stack_verb(step->kind), step->object, *means ? " (" : "",
		       means, *means ? ")" : "", result);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "action", output_json_text(stack_verb(step->kind)));
	json_object_object_add(o, "object", output_json_text(step->object));
	json_object_object_add(o, "means", output_json_text(means));
	json_object_object_add(o, "result", output_json_text(result));
	json_object_object_add(o, "reason", output_json_text(reason));
	json_object_array_add(s->list, o);
}

/* A step before may have taken it along, as stopping a mount unit does. */
static int stop_is_there(const struct stop *s, const struct stack_step *step)
{
	if (step->kind == STACK_UBLK)
		return 1;
	for (char *const *word = s->words; *word; word++) {
		AUTO(stack_deinit) struct stack *now = &(struct stack){0};
		const struct survey_device *d = survey_find(s->survey, *word);
		int r = stack_find(&s->from, d->name, now);

		if (r < 0 && r != -ENODEV)
			return r;
		if (stack_has(now, step))
			return 1;
	}
	return 0;
}

static int stop_run(struct stop *s)
{
	for (size_t i = 0; i < s->plan.n_steps; i++) {
		const struct stack_step *step = &s->plan.steps[i];
		const struct survey_device *d = stop_find_name(s, step->object);
		struct stop_result result = {0};
		int r = stop_is_there(s, step);

		if (r < 0)
			return output_complain(r, "cannot tell what stands on what");
		if (r > 0)
			stop_run_step(step, d ? d->dev_id : UINT32_MAX, &result);
		if (s->list)
			stop_print_step(s, step, result.status ? "failed" : "done",
					result.status ? result.reason : NULL);
		if (result.status) {
			fprintf(stderr, "ublkctl: cannot %s %s: %s\n", stack_verb(step->kind),
				step->object, result.reason);
			return result.status;
		}
	}
	return EX_OK;
}

/* 0: yes; else an exit status. */
static int stop_ask(const struct stop *s)
{
	AUTO_FREE char *line = NULL;
	size_t room = 0;

	if (s->cli->yes)
		return 0;
	if (!isatty(STDIN_FILENO)) {
		fputs("ublkctl: nobody can be asked here: give --yes, or look with --dry-run\n",
		      stderr);
		return EX_USAGE;
	}
	fflush(stdout);
	fputs("Do this? [y/N] ", stderr);
	if (getline(&line, &room, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y'))
		return 0;
	fputs("ublkctl: nothing was stopped\n", stderr);
	return 1;
}

static int stop_names(struct stop *s)
{
	int status = stop_init(s) < 0 ? output_complain(-ENOMEM, "cannot plan") : 0;

	for (char *const *word = s->words; status == 0 && *word; word++)
		status = stop_plan_name(s, *word);
	for (size_t i = 0; status == 0 && i < s->plan.n_steps; i++) {
		if (!s->list || s->cli->dry_run)
			stop_print_step(s, &s->plan.steps[i], s->list ? "planned" : "", NULL);
		status = stop_check_step(s, &s->plan.steps[i]);
	}
	if (status == 0 && !s->cli->dry_run && s->plan.n_steps > 0) {
		status = stop_ask(s);
		if (status == 0)
			status = stop_run(s);
	}
	if (s->list)
		output_json(s->list);
	return status;
}

int cmd_stop(int argc, char **argv, const struct cli *cli)
{
	__attribute__((cleanup(output_json_free_auto))) struct json_object *list =
		cli->json ? json_object_new_array() : NULL;
	struct survey survey = {0};
	struct stop s = {.cli = cli, .survey = &survey, .words = argv + 1, .list = list};
	int r;

	if (argc < 2) {
		fputs("usage: ublkctl stop [--yes] [--dry-run] NAME...\n", stderr);
		return EX_USAGE;
	}
	if (geteuid() != 0) {
		fputs("ublkctl: stop is for root only\n", stderr);
		return EX_NOPERM;
	}
	r = survey_take("/sys", &survey);
	if (r < 0)
		r = output_complain(r, "cannot list devices");
	else
		r = stop_names(&s);
	stop_deinit(&s);
	survey_deinit(&survey);
	return r;
}
