/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkctl doctor: gathers what the checks look at, and shows what they found. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/table.h"
#include "conf/cross-check.h"
#include "conf/search.h"

struct gathered {
	struct device_conf **confs;
	size_t n;
	struct conf_diag diag;
};

static void gathered_deinit(struct gathered *g)
{
	for (size_t i = 0; i < g->n; i++)
		device_conf_free(g->confs[i]);
	free(g->confs);
	conf_diag_deinit(&g->diag);
}

static int gather_definitions(struct gathered *g)
{
	AUTO(conf_strv_free) char **names = NULL;
	size_t n = 0;
	int r;

	r = device_conf_list(&g->diag, &names);
	if (r < 0)
		return r == -ENOMEM ? r : 0; /* it is in g->diag */
	while (names[n])
		n++;
	g->confs = calloc(MAX(n, 1U), sizeof(struct device_conf *));
	if (!g->confs)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		r = device_conf_load(names[i], &g->diag, &g->confs[g->n]);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			g->n++;
	}
	r = cross_check(
		&(struct cross_check){.confs = g->confs, .n_confs = g->n, .n_subjects = g->n},
		&g->diag);
	if (r == 0)
		conf_diag_sort(&g->diag);
	return r;
}

static void doctor_print(const struct doctor *d, const struct cli *cli)
{
	static const struct {
		const char *word;
		const char *color;
	} severities[] = {
		[DOCTOR_OK] = {"ok", "\033[32m"},
		[DOCTOR_NOTE] = {"note", "\033[36m"},
		[DOCTOR_UNKNOWN] = {"unknown", "\033[35m"},
		[DOCTOR_WARNING] = {"warning", "\033[33m"},
		[DOCTOR_ERROR] = {"error", "\033[31m"},
	};
	const bool colored = table_get_width() > 0 && !getenv("NO_COLOR");

	for (size_t i = 0; i < n_doctor_checks; i++) {
		const struct doctor_check *c = &doctor_checks[i];
		const enum doctor_severity worst = doctor_worst(d, c->name);

		if (worst == DOCTOR_OK && !cli->no_legend)
			printf("%s%-8s%s %s: %s\n", colored ? severities[worst].color : "",
			       severities[worst].word, colored ? "\033[0m" : "", c->name, c->title);
		for (size_t j = 0; j < d->n_findings; j++) {
			const struct doctor_finding *f = &d->findings[j];
			bool has_subject;

			if (strcmp(f->check, c->name) != 0)
				continue;
			/* what is wrong with a file begins with its name */
			has_subject = f->subject &&
				      strncmp(f->reason, f->subject, strlen(f->subject)) != 0;
			printf("%s%-8s%s %s: %s%s%s\n",
			       colored ? severities[f->severity].color : "",
			       severities[f->severity].word, colored ? "\033[0m" : "", f->check,
			       has_subject ? f->subject : "", has_subject ? ": " : "", f->reason);
			printf("         %s\n", f->remedy);
		}
	}
}

int cmd_doctor(int argc, char **argv, const struct cli *cli)
{
	struct gathered g = {0};
	struct survey survey = {0};
	struct doctor d = {.root = ""};
	struct json_object *o;
	int r, status;

	if (argc > 1) {
		fputs("usage: ublkctl doctor [--json]\n", stderr);
		return EX_USAGE;
	}
	if (survey_take("/sys", &survey) == 0)
		d.survey = &survey;
	r = gather_definitions(&g);
	d.confs = g.confs;
	d.n_confs = g.n;
	d.diag = &g.diag;
	if (r == 0)
		r = doctor_run(&d);
	if (r == 0 && cli->json) {
		o = doctor_json(&d);
		output_json(o);
		json_object_put(o);
	} else if (r == 0) {
		doctor_print(&d, cli);
	}
	/* not one of those that mean something to a monitor */
	status = r < 0 ? (output_complain(r, "cannot look at everything"), 3)
		       : doctor_exit_status(doctor_worst(&d, NULL));
	doctor_deinit(&d);
	gathered_deinit(&g);
	survey_deinit(&survey);
	return status;
}
