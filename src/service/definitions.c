/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All definitions are read, since only they tell whose they are. What is wrong with those of others
 * is not said here: their own servers do that.
 */
#include "service/definitions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/daemon-conf.h"
#include "conf/search.h"
#include "service/settings.h"
#include "state/state.h"
#include "util/log.h"
#include "util/parse.h"

/* ---- names ---- */

struct name_list {
	char **names; /* NULL-terminated */
	size_t n;
};

static int definitions_add_name(struct name_list *l, const char *name)
{
	char **more = reallocarray(l->names, l->n + 2, sizeof(char *));

	if (!more)
		return -ENOMEM;
	l->names = more;
	l->names[l->n] = strdup(name);
	if (!l->names[l->n])
		return -ENOMEM;
	l->names[++l->n] = NULL;
	return 0;
}

static int definitions_add_names(struct name_list *l, char *const *names)
{
	int r = 0;

	for (; *names && r == 0; names++)
		r = definitions_add_name(l, *names);
	return r;
}

/* Only where no process has the lock: the others are none of our business. */
static int definitions_add_left(struct name_list *l)
{
	AUTO(state_list_free) char **names = NULL;
	int r = state_list(&names);

	if (r == -ENOENT)
		return 0;
	for (char **name = names; r == 0 && *name; name++) {
		pid_t owner = 0;

		if (state_get_owner(*name, &owner) == 0 && owner == 0)
			r = definitions_add_name(l, *name);
	}
	return r;
}

static int definitions_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void definitions_sort(struct name_list *l)
{
	size_t n = 0;

	qsort(l->names, l->n, sizeof(char *), definitions_compare);
	for (size_t i = 0; i < l->n; i++) {
		if (n > 0 && strcmp(l->names[n - 1], l->names[i]) == 0)
			free(l->names[i]);
		else
			l->names[n++] = l->names[i];
	}
	l->names[n] = NULL;
	l->n = n;
}

int definitions_list(char *const *given, bool left_too, char ***ret)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_strv_free) char **all = NULL;
	struct name_list l = {.names = calloc(1, sizeof(char *))};
	int r = l.names ? 0 : -ENOMEM;

	/* Files whose name is no device's are told by those who look for mistakes: ublkctl check. */
	if (r == 0 && !*given)
		r = device_conf_list(&diag, &all);
	if (r == 0)
		r = definitions_add_names(&l, *given ? given : all);
	if (r == 0 && left_too && !*given)
		r = definitions_add_left(&l);
	if (r < 0) {
		conf_strv_free(l.names);
		return log_error_errno(r, "cannot find the definitions in %s: %m",
				       conf_search_path());
	}
	definitions_sort(&l);
	*ret = l.names;
	return 0;
}

/* ---- one of them ---- */

/* Of a definition with errors: as far as it can be read, does it say Manager=yes? */
static bool definitions_asks_for_manager(const char *name)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_files_deinit) struct conf_files files = {0};
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};
	const struct conf_value *v;
	struct daemon_conf daemon;
	bool manager = false;

	if (conf_find_definition(name, &diag, &files) < 0)
		return false;
	if (files.main)
		(void)conf_doc_read_file(&doc, files.main, &diag);
	for (size_t i = 0; i < files.n_drop_ins; i++)
		(void)conf_doc_read_file(&doc, files.drop_ins[i], &diag);
	(void)daemon_conf_read(&doc, &diag, &daemon);
	v = conf_doc_find(&doc, "Boot", "Manager") ?: conf_doc_find(&doc, "Defaults", "Manager");
	return v && parse_bool(v->value, &manager) == 0 && manager;
}

enum definitions_verdict {
	DEFINITION_OURS,
	DEFINITION_OURS_TO_SPEAK_OF, /* it has errors, or warnings */
	DEFINITION_OF_OTHERS,
	DEFINITION_NONE,
};

static enum definitions_verdict definitions_judge(const char *name, bool given, bool known,
						  struct device_conf **ret)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *conf = NULL;
	int r;

	r = device_conf_load(name, &diag, &conf);
	if (r == -ENOENT || r == -ERFKILL)
		return given ? DEFINITION_OURS_TO_SPEAK_OF : DEFINITION_NONE;
	if (r < 0)
		return given || known || definitions_asks_for_manager(name)
			       ? DEFINITION_OURS_TO_SPEAK_OF
			       : DEFINITION_OF_OTHERS;
	if (!given && !conf->manager)
		return DEFINITION_OF_OTHERS;
	if (diag.n_messages > 0)
		return DEFINITION_OURS_TO_SPEAK_OF;
	*ret = TAKE_PTR(conf);
	return DEFINITION_OURS;
}

/* A manager that died has left a device of this name. */
static bool definitions_has_kept(const char *name, bool given)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *conf = NULL;
	char path[256];
	pid_t owner = 0;

	return state_get_owner(name, &owner) == 0 && owner == 0 &&
	       device_conf_load_kept(state_definition_path(name, path, sizeof(path)), name, &diag,
				     &conf) == 0 &&
	       (given || conf->manager);
}

static int definitions_load(const char *name, bool given, bool known, struct definition *d)
{
	enum definitions_verdict verdict = definitions_judge(name, given, known, &d->conf);
	int r = -ENOENT;

	if (verdict == DEFINITION_OURS)
		return 0;
	if (verdict == DEFINITION_OF_OTHERS)
		return -ENOENT;
	if (verdict == DEFINITION_OURS_TO_SPEAK_OF) {
		log_set_capture(d->reason, sizeof(d->reason));
		r = settings_load_device(name, NULL, &d->conf);
		log_set_capture(NULL, 0);
	}
	if (r == 0 || known || !definitions_has_kept(name, given) ||
	    settings_load_kept(name, &d->conf) < 0)
		return r;
	/* Its users wait for a server: what was in force goes on. */
	d->only_takeover = true;
	d->is_gone = verdict == DEFINITION_NONE;
	return 0;
}

int definitions_read(const char *name, bool given, bool known, struct definition *ret)
{
	const char *before = log_set_device(name);
	int r;

	*ret = (struct definition){0};
	r = definitions_load(name, given, known, ret);
	(void)log_set_device(before);
	return r;
}
