/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A definition as text for a successor, and the change from one definition to another. */
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/device-conf.h"

int device_conf_print(const struct device_conf *c, FILE *f)
{
	struct conf_section sections[DEVICE_SECTIONS_MAX];
	size_t n = device_conf_sections(c, sections);

	for (size_t i = 0; i < n; i++) {
		fprintf(f, "%s[%s]\n", i > 0 ? "\n" : "", sections[i].name);
		if (strcmp(sections[i].name, "Backend") == 0)
			fprintf(f, "Type=%s\n", c->backend_type->name);
		conf_print(f, &sections[i]);
	}
	return fflush(f) || ferror(f) ? -EIO : 0;
}

uint64_t device_conf_digest(const struct device_conf *c)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return 0;
	r = device_conf_print(c, f);
	if (fclose(f) != 0 || r < 0)
		return 0;
	return conf_digest_text(CONF_DIGEST_INIT, text);
}

void conf_changes_deinit(struct conf_changes *c)
{
	free(c->taken);
	free(c->restart);
	free(c->stop);
	*c = (struct conf_changes){0};
}

/*
 * New values are collected in a definition of their own, which needs memory, and then change places
 * with the old ones, which does not: there is no half of a change.
 */
struct adoption {
	enum conf_change least;
	struct conf_changes changes;
	struct device_conf *values; /* has the parts that the target is going to have */
	struct conf_section to[DEVICE_SECTIONS_MAX];
	size_t n_to;
	struct conf_section from[DEVICE_SECTIONS_MAX];
	size_t n_from;
	struct conf_section new[DEVICE_SECTIONS_MAX]; /* of values */
	size_t n_new;
};

static void adoption_deinit(struct adoption *a)
{
	device_conf_free(a->values);
	conf_changes_deinit(&a->changes);
}

static int adoption_init(struct adoption *a, const struct device_conf *to,
			 const struct device_conf *from)
{
	a->values = calloc(1, sizeof(*a->values));
	if (!a->values)
		return -ENOMEM;
	a->values->backend = calloc(1, to->backend_type->size);
	if (!a->values->backend)
		return -ENOMEM;
	a->values->backend_type = to->backend_type;
	if (from->fault) {
		a->values->fault = calloc(1, sizeof(*from->fault));
		if (!a->values->fault)
			return -ENOMEM;
	}
	a->n_to = device_conf_sections(to, a->to);
	a->n_from = device_conf_sections(from, a->from);
	a->n_new = device_conf_sections(a->values, a->new);
	return 0;
}

/* What another definition has in the place of a table, or NULL. */
static void *adoption_find(const struct conf_section *sections, size_t n,
			   const struct conf_section *like)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(sections[i].name, like->name) == 0 && sections[i].keys == like->keys)
			return sections[i].obj;
	return NULL;
}

/* Notes a difference. 1: it is to be taken; 0: it is not. */
static int adoption_note(struct adoption *a, enum conf_change change, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int adoption_note(struct adoption *a, enum conf_change change, const char *format, ...)
{
	AUTO_FREE char *name = NULL;
	char **list = &a->changes.stop, *longer;
	va_list ap;
	int r;

	if (change >= a->least)
		list = &a->changes.taken;
	else if (change == CONF_RESTART)
		list = &a->changes.restart;
	va_start(ap, format);
	r = vasprintf(&name, format, ap);
	va_end(ap);
	if (r < 0) {
		name = NULL;
		return -ENOMEM;
	}
	if (asprintf(&longer, "%s%s%s", *list ?: "", *list ? ", " : "", name) < 0)
		return -ENOMEM;
	free(*list);
	*list = longer;
	return change >= a->least;
}

static bool adoption_is_ambiguous(const struct adoption *a, const char *name)
{
	unsigned n = 0;

	for (size_t i = 0; i < a->n_to; i++)
		for (const struct conf_key *k = a->to[i].keys; k->name; k++)
			n += strcmp(k->name, name) == 0;
	return n > 1;
}

static int adoption_note_key(struct adoption *a, const char *section, const struct conf_key *key)
{
	if (adoption_is_ambiguous(a, key->name))
		return adoption_note(a, key->change, "[%s] %s=", section, key->name);
	return adoption_note(a, key->change, "%s=", key->name);
}

/* Notes the keys that differ and copies what is to be taken. */
static int adoption_collect_keys(struct adoption *a, const struct conf_section *to)
{
	const void *from = adoption_find(a->from, a->n_from, to);
	void *new = adoption_find(a->new, a->n_new, to);

	if (!from)
		return 0;
	for (const struct conf_key *k = to->keys; k->name; k++) {
		int r;

		if (conf_is_equal(k, to->obj, from))
			continue;
		r = adoption_note_key(a, to->name, k);
		if (r > 0)
			r = conf_copy_value(k, new, from);
		if (r < 0)
			return r;
	}
	return 0;
}

static int adoption_copy_fault(struct fault_conf *new, const struct fault_conf *from)
{
	for (const struct conf_key *k = fault_keys; k->name; k++) {
		int r = conf_copy_value(k, new, from);

		if (r < 0)
			return r;
	}
	return 0;
}

/* 1: the section as a whole comes or goes; 0: it does not. */
static int adoption_collect_fault(struct adoption *a, const struct device_conf *to,
				  const struct device_conf *from)
{
	int r;

	if (!to->fault == !from->fault)
		return 0;
	r = adoption_note(a, CONF_RESTART, "[Fault]");
	if (r <= 0 || !from->fault)
		return r;
	r = adoption_copy_fault(a->values->fault, from->fault);
	return r < 0 ? r : 1;
}

/* What was collected; it cannot fail. */
static void adoption_take(struct adoption *a)
{
	for (size_t i = 0; i < a->n_to; i++) {
		const struct conf_section *to = &a->to[i];
		const void *from = adoption_find(a->from, a->n_from, to);
		void *new = adoption_find(a->new, a->n_new, to);

		if (!from)
			continue;
		for (const struct conf_key *k = to->keys; k->name; k++)
			if (k->change >= a->least && !conf_is_equal(k, to->obj, from))
				conf_swap_values(k, to->obj, new);
	}
}

static int adoption_run(struct adoption *a, struct device_conf *to, const struct device_conf *from)
{
	struct fault_conf *fault = to->fault;
	int r = adoption_init(a, to, from);

	if (r == 0 && to->backend_type != from->backend_type)
		r = adoption_note(a, CONF_STOP, "Type=");
	for (size_t i = 0; r == 0 && i < a->n_to; i++)
		r = adoption_collect_keys(a, &a->to[i]);
	if (r == 0)
		r = adoption_collect_fault(a, to, from);
	if (r < 0)
		return r;
	adoption_take(a);
	if (r > 0) {
		to->fault = a->values->fault;
		a->values->fault = fault;
	}
	return 0;
}

int device_conf_adopt(struct device_conf *to, const struct device_conf *from,
		      enum conf_change least, struct conf_changes *ret)
{
	struct adoption a = {.least = least};
	int r;

	assert(least > CONF_STOP);
	r = adoption_run(&a, to, from);
	if (r == 0) {
		*ret = a.changes;
		a.changes = (struct conf_changes){0};
	}
	adoption_deinit(&a);
	return r;
}
