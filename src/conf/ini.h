/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Configuration files as lists of Key=Value with their places. Several files add up to one
 * document, in which what was read later overrides. What a key means is not known here.
 */
#include <stddef.h>

#include "conf/diag.h"

#define CONF_NAME_MAX 64         /* of a section and of a key */
#define CONF_LINE_MAX 4096       /* without its end */
#define CONF_FILE_MAX (64 << 10) /* a definition is a page or two */

struct conf_value {
	struct conf_place place; /* key is NULL for a section's heading */
	const char *value;       /* "": back to the default */
	char *text;              /* holds the strings of the above, except the file */
};

/* Starts zeroed, ends with conf_doc_deinit(). */
struct conf_doc {
	struct conf_value *values;
	size_t n_values;
	char **files;
	size_t n_files;
};

void conf_doc_deinit(struct conf_doc *doc);

static inline void conf_doc_deinit_auto(struct conf_doc *doc)
{
	conf_doc_deinit(doc);
}

/**
 * conf_doc_read_file() - add a file to a document
 *
 * Silent. Return: 0, with what is wrong in the file in @diag; -errno if it could not be read, which
 * is in @diag as well; -ENOMEM.
 */
int conf_doc_read_file(struct conf_doc *doc, const char *path, struct conf_diag *diag);

/* The same for text in memory; `path` is for messages. */
int conf_doc_read_text(struct conf_doc *doc, const char *path, const char *text, size_t len,
		       struct conf_diag *diag);

/*
 * A whole file as it is, to be freed; a NUL stands behind it. Silent. -ENOTSUP: not a regular file;
 * -EFBIG: larger than CONF_FILE_MAX.
 */
int conf_read_text(const char *path, char **ret, size_t *ret_len);

/* What is in force: the last one of that name, or NULL. */
const struct conf_value *conf_doc_find(const struct conf_doc *doc, const char *section,
				       const char *key);

/* The last heading of that section, or NULL. */
const struct conf_value *conf_doc_find_section(const struct conf_doc *doc, const char *section);

/* Names that start with X- are for other programs: nobody here looks at them. */
bool conf_name_is_private(const char *name);
