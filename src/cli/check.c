/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkctl check, cat and show: definitions, as files. Nothing here talks to the kernel. */
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "conf/cross-check.h"
#include "conf/daemon-conf.h"
#include "conf/search.h"

/* Definitions that could be read, for the checks of each with the others. */
struct check {
	struct conf_diag diag;
	struct device_conf **confs;
	size_t n_confs;
	size_t n_subjects;
};

static void check_deinit(struct check *c)
{
	for (size_t i = 0; i < c->n_confs; i++)
		device_conf_free(c->confs[i]);
	free(c->confs);
	conf_diag_deinit(&c->diag);
}

/* Takes a definition over. */
static int check_add(struct check *c, struct device_conf *conf)
{
	struct device_conf **confs = reallocarray(c->confs, c->n_confs + 1, sizeof(*confs));

	if (!confs) {
		device_conf_free(conf);
		return -ENOMEM;
	}
	c->confs = confs;
	confs[c->n_confs++] = conf;
	return 0;
}

static bool check_has_name(const struct check *c, const char *name)
{
	for (size_t i = 0; i < c->n_confs; i++)
		if (strcmp(c->confs[i]->name, name) == 0)
			return true;
	return false;
}

/* The same word twice is no clash. */
static bool check_has_path(const struct check *c, const char *path)
{
	for (size_t i = 0; i < c->n_confs; i++)
		if (path && c->confs[i]->path && strcmp(c->confs[i]->path, path) == 0)
			return true;
	return false;
}

/* A word with a slash is a file, which config management may call as it likes. */
static int check_load_path(const char *path, struct conf_diag *diag, struct device_conf **ret)
{
	const char *base = strrchr(path, '/') + 1;
	size_t len = strlen(base);
	AUTO_FREE char *name = NULL;

	if (len > 5 && strcmp(base + len - 5, ".conf") == 0)
		len -= 5;
	name = strndup(base, len);
	if (!name)
		return -ENOMEM;
	return device_conf_load_file(path, name, diag, ret);
}

static int check_load_word(struct check *c, const char *word)
{
	struct conf_place nowhere = {0};
	struct device_conf *conf = NULL;
	int r;

	if (strchr(word, '/'))
		r = check_load_path(word, &c->diag, &conf);
	else
		r = device_conf_load(word, &c->diag, &conf);
	if (r == 0 && check_has_path(c, conf->path)) {
		device_conf_free(conf);
		return 0;
	}
	if (r == 0)
		return check_add(c, conf);
	if (r == -ENOENT)
		conf_error(&c->diag, &nowhere, "there is no definition %s.conf in %s", word,
			   conf_search_path());
	else if (r == -ERFKILL)
		conf_warning(&c->diag, &nowhere, "%s is masked: it cannot be started", word);
	/* Anything else but a lack of memory is in diag. */
	return r == -ENOMEM ? r : 0;
}

/* Everything in the search path that is not there yet; messages go to diag. */
static int check_load_all(struct check *c, struct conf_diag *diag)
{
	AUTO(conf_strv_free) char **names = NULL;
	int r = device_conf_list(diag, &names);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	for (char **name = names; *name; name++) {
		struct device_conf *conf = NULL;

		if (check_has_name(c, *name))
			continue;
		r = device_conf_load(*name, diag, &conf);
		if (r == 0)
			r = check_add(c, conf);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

static int check_read(struct check *c, int argc, char **argv)
{
	struct daemon_conf daemon;
	bool has_name = false;
	int r;

	r = daemon_conf_load(&c->diag, &daemon);
	if (r == -ENOMEM)
		return r;
	if (argc <= 1) {
		r = check_load_all(c, &c->diag);
		c->n_subjects = c->n_confs;
		return r;
	}
	for (int i = 1; i < argc; i++) {
		has_name |= !strchr(argv[i], '/');
		r = check_load_word(c, argv[i]);
		if (r < 0)
			return r;
	}
	c->n_subjects = c->n_confs;
	/*
	 * A file may be the next version of a definition that is installed, and clash with that
	 * one in everything: files alone are compared among each other only.
	 */
	if (has_name) {
		AUTO(conf_diag_deinit) struct conf_diag ignored = {0};

		r = check_load_all(c, &ignored);
	}
	return r;
}

static void check_print_json(const struct conf_diag *diag)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < diag->n_messages; i++) {
		const struct conf_message *m = &diag->messages[i];
		const char *severity = m->severity == CONF_ERROR ? "error" : "warning";
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "file", output_json_text(m->file));
		json_object_object_add(o, "line",
				       m->line > 0 ? json_object_new_int64(m->line) : NULL);
		json_object_object_add(o, "section", output_json_text(m->section));
		json_object_object_add(o, "key", output_json_text(m->key));
		json_object_object_add(o, "severity", output_json_text(severity));
		json_object_object_add(o, "message", output_json_text(m->text));
		json_object_array_add(list, o);
	}
	output_json(list);
	json_object_put(list);
}

static int check_print_text(const struct check *c, const struct cli *cli)
{
	size_t n_warnings = 0;

	for (size_t i = 0; i < c->diag.n_messages; i++) {
		AUTO_FREE char *text = NULL;
		int r = conf_message_format(&c->diag.messages[i], &text);

		if (r < 0)
			return r;
		fprintf(stderr, "%s\n", text);
		n_warnings += c->diag.messages[i].severity == CONF_WARNING;
	}
	if (!cli->no_legend && c->diag.n_errors == 0)
		printf("%zu definition%s, no errors, %zu warning%s\n", c->n_subjects,
		       c->n_subjects == 1 ? "" : "s", n_warnings, n_warnings == 1 ? "" : "s");
	return 0;
}

int cmd_check(int argc, char **argv, const struct cli *cli)
{
	struct check c = {0};
	int r;

	r = check_read(&c, argc, argv);
	if (r == 0)
		r = cross_check(&(struct cross_check){.confs = c.confs,
						      .n_confs = c.n_confs,
						      .n_subjects = c.n_subjects},
				&c.diag);
	if (r == 0 && cli->json)
		check_print_json(&c.diag);
	else if (r == 0)
		r = check_print_text(&c, cli);
	if (r < 0)
		r = output_complain(r, "cannot check definitions");
	else if (c.diag.n_errors > 0)
		r = EX_CONFIG;
	check_deinit(&c);
	return r;
}

/* One piece of the merge: under its path, or as an element of a list. */
static int cat_print(const char *path, struct json_object *list)
{
	AUTO_FREE char *text = NULL;
	struct json_object *o;
	size_t len = 0;
	int r = conf_read_text(path, &text, &len);

	if (r < 0)
		return output_complain(r, "cannot read %s", path);
	if (list) {
		o = json_object_new_object();
		json_object_object_add(o, "file", output_json_text(path));
		json_object_object_add(o, "content", output_json_text(text));
		json_object_array_add(list, o);
		return 0;
	}
	printf("# %s\n", path);
	fwrite(text, 1, len, stdout);
	puts(len > 0 && text[len - 1] != '\n' ? "\n" : "");
	return 0;
}

static int cat_print_files(const struct conf_files *files, struct json_object *list)
{
	int status = 0;

	if (files->masked)
		return 0;
	if (files->main)
		status = cat_print(files->main, list);
	for (size_t i = 0; i < files->n_drop_ins; i++) {
		int r = cat_print(files->drop_ins[i], list);

		status = MAX(status, r);
	}
	return status;
}

static void cat_print_messages(const struct conf_diag *diag)
{
	for (size_t i = 0; i < diag->n_messages; i++) {
		AUTO_FREE char *text = NULL;

		if (conf_message_format(&diag->messages[i], &text) == 0)
			fprintf(stderr, "%s\n", text);
	}
}

static int cat_complain(const struct conf_diag *diag, const char *name, int r)
{
	cat_print_messages(diag);
	if (diag->n_messages > 0)
		return EX_CONFIG;
	return output_complain(r, "cannot find the files of %s", name);
}

/* Whether the only word is a name, and if not, what is wrong. */
static bool cat_has_name(int argc, char **argv)
{
	if (argc == 2 && device_name_is_valid(argv[1]))
		return true;
	if (argc == 2)
		fprintf(stderr, "ublkctl: \"%s\" is no name for a device\n", argv[1]);
	else
		fprintf(stderr, "usage: ublkctl %s NAME\n", argv[0]);
	return false;
}

static int cat_complain_nothing(const char *name)
{
	fprintf(stderr, "ublkctl: there is no definition %s.conf in %s\n", name,
		conf_search_path());
	return EX_CONFIG;
}

int cmd_cat(int argc, char **argv, const struct cli *cli)
{
	AUTO(conf_files_deinit) struct conf_files files = {0}, daemon = {0};
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct json_object *list = NULL;
	int r, status;

	if (!cat_has_name(argc, argv))
		return EX_USAGE;
	r = conf_find_definition(argv[1], &diag, &files);
	if (r == -ENOENT)
		return cat_complain_nothing(argv[1]);
	if (r == 0)
		r = conf_find_daemon(&diag, &daemon);
	if (r < 0)
		return cat_complain(&diag, argv[1], r);
	if (files.masked)
		fprintf(stderr, "ublkctl: %s: masked by %s\n", argv[1], files.main);
	if (cli->json)
		list = json_object_new_array();
	/* In the order of reading: what comes later stands above what came before. */
	status = cat_print_files(&daemon, list);
	r = cat_print_files(&files, list);
	status = MAX(status, r);
	if (list)
		puts(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY |
								  JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(list);
	return status;
}

/* The text of a definition as an object for each section. */
static int show_print_json(const char *text, size_t len)
{
	AUTO(output_json_free) struct json_object *sections = json_object_new_object();
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};
	AUTO(conf_diag_deinit) struct conf_diag unused = {0};
	struct json_object *keys = NULL;
	int r = conf_doc_read_text(&doc, "", text, len, &unused);

	for (size_t i = 0; r == 0 && i < doc.n_values; i++) {
		const struct conf_value *v = &doc.values[i];

		if (v->place.key) {
			json_object_object_add(keys, v->place.key, output_json_text(v->value));
			continue;
		}
		keys = json_object_new_object();
		json_object_object_add(sections, v->place.section, keys);
	}
	if (r == 0)
		output_json(sections);
	return r;
}

static int show_print(const struct device_conf *c, const struct cli *cli)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return -ENOMEM;
	r = device_conf_print(c, f);
	if (fclose(f) && r == 0)
		r = -ENOMEM;
	if (r < 0)
		return r;
	if (cli->json)
		return show_print_json(text, len);
	fwrite(text, 1, len, stdout);
	return 0;
}

int cmd_show(int argc, char **argv, const struct cli *cli)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *c = NULL;
	int r;

	if (!cat_has_name(argc, argv))
		return EX_USAGE;
	r = device_conf_load(argv[1], &diag, &c);
	if (r == -ENOENT)
		return cat_complain_nothing(argv[1]);
	if (r == -ERFKILL) {
		fprintf(stderr, "ublkctl: %s is masked: it has no values\n", argv[1]);
		return EX_CONFIG;
	}
	if (r < 0)
		return cat_complain(&diag, argv[1], r);
	cat_print_messages(&diag);
	r = show_print(c, cli);
	return r < 0 ? output_complain(r, "cannot print the definition of %s", argv[1]) : EX_OK;
}
