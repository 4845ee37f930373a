/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkctl features: what this program knows of, against what the running kernel has. */
#include "abi/features.h"

#include <inttypes.h>
#include <libsmartcols.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "ring/ctrl.h"

static int features_print_json(uint64_t kernel)
{
	__attribute__((cleanup(output_json_free_auto))) struct json_object *list =
		json_object_new_array();

	for (int bit = 0; bit < 64; bit++) {
		const uint64_t flag = 1ULL << bit;
		const struct feature *f = feature_find(flag);
		struct json_object *o;

		if (!f && !(kernel & flag))
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "name", output_json_text(f ? f->name : NULL));
		json_object_object_add(o, "bit", json_object_new_int(bit));
		json_object_object_add(o, "available", json_object_new_boolean(kernel & flag));
		json_object_object_add(o, "since", output_json_text(f ? f->since : NULL));
		json_object_object_add(o, "meaning", output_json_text(f ? f->meaning : NULL));
		json_object_array_add(list, o);
	}
	output_json(list);
	return EX_OK;
}

static int features_add_line(struct libscols_table *t, int bit, const struct feature *f, bool has)
{
	struct libscols_line *line = scols_table_new_line(t, NULL);
	char text[12];
	int r;

	if (!line)
		return -ENOMEM;
	snprintf(text, sizeof(text), "%d", bit);
	r = scols_line_set_data(line, 0, f ? f->name : "?");
	if (r == 0)
		r = scols_line_set_data(line, 1, text);
	if (r == 0)
		r = scols_line_set_data(line, 2, has ? "yes" : "no");
	if (r == 0)
		r = scols_line_set_data(line, 3, f ? f->since : "?");
	if (r == 0)
		r = scols_line_set_data(line, 4,
					f ? f->meaning : "newer than this version of ublkctl");
	return r;
}

static int features_print_table(uint64_t kernel, const struct cli *cli)
{
	struct libscols_table *t = scols_new_table();
	int r = 0;

	if (!t || !scols_table_new_column(t, "NAME", 0, 0) ||
	    !scols_table_new_column(t, "BIT", 0, SCOLS_FL_RIGHT) ||
	    !scols_table_new_column(t, "HERE", 0, 0) || !scols_table_new_column(t, "SINCE", 0, 0) ||
	    !scols_table_new_column(t, "MEANING", 0, 0))
		r = -ENOMEM;
	if (r == 0)
		scols_table_enable_noheadings(t, cli->no_legend);
	for (int bit = 0; r == 0 && bit < 64; bit++) {
		const uint64_t flag = 1ULL << bit;
		const struct feature *f = feature_find(flag);

		if (f || kernel & flag)
			r = features_add_line(t, bit, f, kernel & flag);
	}
	if (r == 0)
		r = scols_print_table(t);
	scols_unref_table(t);
	return r < 0 ? output_complain(r, "cannot print the table") : EX_OK;
}

int cmd_features(int argc, char **argv, const struct cli *cli)
{
	AUTO(ctrl_close) struct ctrl *ctrl = NULL;
	uint64_t kernel;
	int r;

	if (argc > 1) {
		fputs("usage: ublkctl features\n", stderr);
		return EX_USAGE;
	}
	r = ctrl_open(&ctrl);
	if (r < 0)
		return output_complain_ctrl(r);
	r = ctrl_get_features(ctrl, &kernel);
	if (r < 0)
		return output_complain(r, "the kernel does not tell its features");
	return cli->json ? features_print_json(kernel) : features_print_table(kernel, cli);
}
