/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/diag.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

static void conf_message_deinit(struct conf_message *m)
{
	free(m->file);
	free(m->section);
	free(m->key);
	free(m->text);
}

void conf_diag_deinit(struct conf_diag *d)
{
	for (size_t i = 0; i < d->n_messages; i++)
		conf_message_deinit(&d->messages[i]);
	for (size_t i = 0; i < d->n_files; i++)
		free(d->files[i]);
	free(d->messages);
	free(d->files);
	*d = (struct conf_diag){0};
}

static size_t conf_diag_find_file(const struct conf_diag *d, const char *file)
{
	size_t i;

	for (i = 0; i < d->n_files; i++)
		if (file && strcmp(d->files[i], file) == 0)
			break;
	return i;
}

void conf_diag_add_file(struct conf_diag *d, const char *file)
{
	char **files;

	if (conf_diag_find_file(d, file) < d->n_files)
		return;
	/* Without memory the order suffers, nothing else. */
	files = reallocarray(d->files, d->n_files + 1, sizeof(*files));
	if (!files)
		return;
	d->files = files;
	files[d->n_files] = strdup(file);
	if (files[d->n_files])
		d->n_files++;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool conf_diag_has(const struct conf_diag *d, const struct conf_message *m)
{
	for (size_t i = 0; i < d->n_messages; i++) {
		const struct conf_message *o = &d->messages[i];

		if (o->severity == m->severity && o->line == m->line && same(o->text, m->text) &&
		    same(o->file, m->file) && same(o->section, m->section) && same(o->key, m->key))
			return true;
	}
	return false;
}

static bool conf_copy(const char *s, char **ret)
{
	*ret = s ? strdup(s) : NULL;
	return *ret || !s;
}

/* Takes the message over. false: no memory. */
static bool conf_diag_append(struct conf_diag *d, struct conf_message *m)
{
	struct conf_message *messages;

	messages = reallocarray(d->messages, d->n_messages + 1, sizeof(*messages));
	if (!messages)
		return false;
	d->messages = messages;
	messages[d->n_messages++] = *m;
	*m = (struct conf_message){0};
	return true;
}

void conf_diag_add(struct conf_diag *d, enum conf_severity severity, const struct conf_place *place,
		   const char *format, ...)
{
	struct conf_message m = {.severity = severity, .line = place->line};
	bool ok = true;
	va_list ap;

	if (severity == CONF_ERROR)
		d->n_reported++;
	va_start(ap, format);
	if (vasprintf(&m.text, format, ap) < 0) {
		m.text = NULL;
		ok = false;
	}
	va_end(ap);
	ok = conf_copy(place->file, &m.file) && ok;
	ok = conf_copy(place->section, &m.section) && ok;
	ok = conf_copy(place->key, &m.key) && ok;
	m.file_rank = conf_diag_find_file(d, m.file);
	if (ok && conf_diag_has(d, &m)) {
		conf_message_deinit(&m);
		return;
	}
	/* An error that cannot be told still is one: it must not let a definition pass. */
	if (severity == CONF_ERROR)
		d->n_errors++;
	if (!ok || !conf_diag_append(d, &m))
		conf_message_deinit(&m);
}

static int conf_message_compare(const struct conf_message *a, const struct conf_message *b)
{
	/* Line 0 becomes the largest. */
	unsigned line_a = a->line - 1, line_b = b->line - 1;

	if (a->file_rank != b->file_rank)
		return a->file_rank < b->file_rank ? -1 : 1;
	return line_a < line_b ? -1 : line_a > line_b;
}

void conf_diag_sort(struct conf_diag *d)
{
	/* Insertion: stable, and the messages are few and nearly sorted. */
	for (size_t i = 1; i < d->n_messages; i++) {
		struct conf_message m = d->messages[i];
		size_t k = i;

		for (; k > 0 && conf_message_compare(&d->messages[k - 1], &m) > 0; k--)
			d->messages[k] = d->messages[k - 1];
		d->messages[k] = m;
	}
}

int conf_message_format(const struct conf_message *m, char **ret)
{
	char line[16] = "", *text;

	if (m->line > 0)
		snprintf(line, sizeof(line), ":%u", m->line);
	if (asprintf(&text, "%s%s%s%s%s%s%s%s%s%s", m->file ? m->file : "", line,
		     m->file ? ": " : "", m->section ? "[" : "", m->section ? m->section : "",
		     m->section ? "] " : "", m->key ? m->key : "", m->key ? "=: " : "",
		     m->severity == CONF_WARNING ? "warning: " : "", m->text) < 0)
		return -ENOMEM;
	*ret = text;
	return 0;
}

#define SUGGEST_MAX 64

/*
 * Edits (one character put in, taken out, changed, or swapped with its neighbour) that turn one
 * word into the other, without regard to case.
 */
static size_t conf_distance(const char *a, const char *b)
{
	size_t len_a = strlen(a), len_b = strlen(b);
	size_t rows[3][SUGGEST_MAX + 1];

	if (len_a > SUGGEST_MAX || len_b > SUGGEST_MAX)
		return SIZE_MAX;
	for (size_t k = 0; k <= len_b; k++)
		rows[0][k] = k;
	for (size_t i = 1; i <= len_a; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *over = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t k = 1; k <= len_b; k++) {
			int ca = tolower((unsigned char)a[i - 1]);
			int cb = tolower((unsigned char)b[k - 1]);

			row[k] = MIN(MIN(above[k], row[k - 1]) + 1, above[k - 1] + (ca != cb));
			if (i > 1 && k > 1 && ca == tolower((unsigned char)b[k - 2]) &&
			    cb == tolower((unsigned char)a[i - 2]))
				row[k] = MIN(row[k], over[k - 2] + 1);
		}
	}
	return rows[len_a % 3][len_b];
}

const char *conf_suggest(const char *word, const char *const *candidates)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;

	for (; *candidates; candidates++) {
		size_t distance = conf_distance(word, *candidates);

		/* A third of the word may be wrong, else any short word suggests any other. */
		if (distance >= best_distance || distance > (strlen(*candidates) + 1) / 3)
			continue;
		best = *candidates;
		best_distance = distance;
	}
	return best;
}
