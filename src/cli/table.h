/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* A table for people that fits into their terminal: what it has no room for is left out. */
#include <stdbool.h>
#include <stddef.h>

#include "util/cleanup.h"

struct table_column {
	const char *name;
	bool right;
	unsigned drop; /* 0: never; else the highest go first, all of them */
	unsigned most; /* where there is no room, it is cut to this before others go; 0: never */
};

struct table;

/* Silent. @columns must outlive the table. 0 or -ENOMEM. */
int table_new(const struct table_column *columns, size_t n_columns, struct table **ret);
struct table *table_free(struct table *t);
DEFINE_AUTO(struct table *, table_free);

/* As many cells as columns; an empty one, or NULL, becomes "-". @color: a name that libsmartcols
 * knows, for terminals; NULL: none. */
int table_add(struct table *t, const char *const cells[], const char *color);

/* @width: in columns of the terminal; 0: as wide as it gets. */
int table_print(const struct table *t, bool no_legend, unsigned width);

/* Columns of the terminal that stdout is; 0: it is none. */
unsigned table_get_width(void);
unsigned table_get_height(void);
