/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What nobody knows, and what was meant instead. */
#include <string.h>

#include "conf/conf.h"

struct conf_known {
	const struct conf_section *sections;
	size_t n;
};

static const struct conf_key *conf_table_find(const struct conf_key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

static bool conf_section_is_known(const struct conf_known *known, const char *name)
{
	for (size_t i = 0; i < known->n; i++)
		if (strcmp(known->sections[i].name, name) == 0)
			return true;
	return false;
}

/* The table that has a key, one in which it may be used before one in which it may not. */
static const struct conf_section *conf_find_table(const struct conf_known *known,
						  const char *section, const char *key)
{
	const struct conf_section *found = NULL;

	for (size_t i = 0; i < known->n; i++) {
		const struct conf_section *s = &known->sections[i];

		if (section && strcmp(s->name, section) != 0)
			continue;
		if (conf_table_find(s->keys, key) && (!found || found->only_with))
			found = s;
	}
	return found;
}

#define CANDIDATES_MAX 64

/* Names of sections, or with a section those of its keys; NULL-terminated. */
static void conf_list_names(const struct conf_known *known, const char *section,
			    const char *ret_names[static CANDIDATES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < known->n; i++) {
		const struct conf_section *s = &known->sections[i];

		if (!section && n < CANDIDATES_MAX - 1)
			ret_names[n++] = s->name;
		if (!section || strcmp(s->name, section) != 0 || s->only_with)
			continue;
		for (const struct conf_key *k = s->keys; k->name && n < CANDIDATES_MAX - 1; k++)
			ret_names[n++] = k->name;
	}
	ret_names[n] = NULL;
}

static void conf_check_section(const struct conf_known *known, const struct conf_place *place,
			       struct conf_diag *diag)
{
	const char *names[CANDIDATES_MAX], *meant;

	if (conf_section_is_known(known, place->section))
		return;
	conf_list_names(known, NULL, names);
	meant = conf_suggest(place->section, names);
	if (meant)
		conf_error(diag, place, "unknown section, did you mean [%s]?", meant);
	else
		conf_error(diag, place, "unknown section");
}

static void conf_check_key(const struct conf_known *known, const struct conf_place *place,
			   struct conf_diag *diag)
{
	const struct conf_section *s = conf_find_table(known, place->section, place->key);
	const char *names[CANDIDATES_MAX], *meant;

	if (s && !s->only_with)
		return;
	if (s) {
		conf_error(diag, place, "is a key of Type=%s only", s->only_with);
		return;
	}
	conf_list_names(known, place->section, names);
	meant = conf_suggest(place->key, names);
	s = conf_find_table(known, NULL, place->key);
	if (meant)
		conf_error(diag, place, "unknown key, did you mean %s=?", meant);
	else if (s)
		conf_error(diag, place, "unknown key, it belongs in [%s]", s->name);
	else
		conf_error(diag, place, "unknown key");
}

void conf_check_names(const struct conf_doc *doc, const struct conf_section *sections, size_t n,
		      struct conf_diag *diag)
{
	const struct conf_known known = {.sections = sections, .n = n};

	for (size_t i = 0; i < doc->n_values; i++) {
		const struct conf_place *place = &doc->values[i].place;

		if (conf_name_is_private(place->section))
			continue;
		if (!place->key)
			conf_check_section(&known, place, diag);
		else if (conf_section_is_known(&known, place->section))
			conf_check_key(&known, place, diag);
	}
}
