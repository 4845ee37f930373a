/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What is wrong with configuration files: all of it, each thing once, with its place. Readers fill
 * a struct conf_diag and never stop at the first error; whoever asked for the reading shows it.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/cleanup.h"

enum conf_severity {
	CONF_ERROR,
	CONF_WARNING,
};

/* Where something was said, or, with line 0, should have been said. Strings may be NULL. */
struct conf_place {
	const char *file;
	unsigned line;
	const char *section;
	const char *key;
};

struct conf_message {
	enum conf_severity severity;
	char *file;
	unsigned line;
	char *section;
	char *key;
	char *text;
	size_t file_rank; /* of the file in the order of reading */
};

/* Starts zeroed, ends with conf_diag_deinit(). */
struct conf_diag {
	struct conf_message *messages;
	size_t n_messages;
	char **files; /* in the order of reading */
	size_t n_files;
	size_t n_errors;   /* of the messages, and one for each that memory did not suffice for */
	size_t n_reported; /* errors with those that were in messages already */
};

void conf_diag_deinit(struct conf_diag *d);

/* For AUTO(conf_diag_deinit) struct conf_diag diag = {0}; */
static inline void conf_diag_deinit_auto(struct conf_diag *d)
{
	conf_diag_deinit(d);
}

/* Puts a file behind those that were read before; messages are shown in that order. */
void conf_diag_add_file(struct conf_diag *d, const char *file);

void conf_diag_add(struct conf_diag *d, enum conf_severity severity, const struct conf_place *place,
		   const char *format, ...) __attribute__((format(printf, 4, 5)));

#define conf_error(d, place, ...)   conf_diag_add(d, CONF_ERROR, place, __VA_ARGS__)
#define conf_warning(d, place, ...) conf_diag_add(d, CONF_WARNING, place, __VA_ARGS__)

/* Sorts by file and line; what has no line stands behind the rest of its file. */
void conf_diag_sort(struct conf_diag *d);

/* "file:line: [Section] Key=: text", to be freed. -ENOMEM */
int conf_message_format(const struct conf_message *m, char **ret);

/* The candidate that somebody who wrote `word` may have meant, or NULL. Candidates end with NULL. */
const char *conf_suggest(const char *word, const char *const *candidates);
