/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Key tables: what the keys of a section are called, what their values may be, and which field of a
 * struct each one fills in. All files have been merged before (conf/ini.h), so a drop-in can repair
 * what it overrides; a message still points to the line that its value came from.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/diag.h"
#include "conf/ini.h"

struct conf_key;

/*
 * Parses a value that is not empty. Silent. 0; -EINVAL: what is wrong with it is in diag; -ENOMEM.
 */
typedef int (*conf_parse_fn)(const struct conf_value *v, const struct conf_key *key, void *field,
			     struct conf_diag *diag);

/* When a device in use can take a new value of a key: each class includes those before it. */
enum conf_change {
	CONF_STOP,    /* when it is stopped and started anew */
	CONF_RESTART, /* when its server restarts and takes it over */
	CONF_LIVE,    /* when its server reloads */
};

struct conf_name {
	const char *name; /* NULL ends the list */
	unsigned value;
};

struct conf_key {
	const char *name;
	conf_parse_fn parse;
	size_t offset; /* of the field, with its size: CONF_FIELD() */
	size_t width;  /* 0: a string on the heap */
	uint64_t min;
	uint64_t max;                  /* 0: what the type holds */
	const struct conf_name *names; /* words for values, also for those out of range */
	const char *fallback;          /* value if none is given; NULL: the field stays 0 */
	bool required;
	bool common;             /* also a key of [Defaults] */
	const char *common_name; /* what it is called there, if that is not its name */
	enum conf_change change;
};

/* Position 3 and 4 of a key. */
#define CONF_FIELD(type, field)                                                                    \
	offsetof(type, field), _Generic(((type *)NULL)->field, char * : 0, default                 \
					: sizeof(((type *)NULL)->field))

int conf_parse_bool(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag);
int conf_parse_number(const struct conf_value *v, const struct conf_key *key, void *field,
		      struct conf_diag *diag); /* or one of names; into 32 or 64 bits */
int conf_parse_size(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag); /* or one of names; into 32 or 64 bits */
int conf_parse_duration(const struct conf_value *v, const struct conf_key *key, void *field,
			struct conf_diag *diag); /* ns, or one of names; into 64 bits */
int conf_parse_percent(const struct conf_value *v, const struct conf_key *key, void *field,
		       struct conf_diag *diag); /* millionths, into 32 bits */
int conf_parse_enum(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag);
int conf_parse_flags(const struct conf_value *v, const struct conf_key *key, void *field,
		     struct conf_diag *diag); /* any of names, with blanks between */
int conf_parse_mode(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag);
int conf_parse_string(const struct conf_value *v, const struct conf_key *key, void *field,
		      struct conf_diag *diag);
int conf_parse_path(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag);

/* A section may have several tables. */
struct conf_section {
	const char *name;
	const struct conf_key *keys; /* a zeroed entry ends the table */
	void *obj;                   /* to be filled in; NULL: the keys are only known */
	const char *only_with; /* value of Type= that the keys need and do not have, or NULL */
};

/* What is in force for a key: of the document, else of [Defaults], else NULL. Never empty. */
const struct conf_value *conf_find(const struct conf_doc *doc, const struct conf_doc *defaults,
				   const char *section, const struct conf_key *key);

/* Sections and keys that nobody knows, and keys that do not apply. */
void conf_check_names(const struct conf_doc *doc, const struct conf_section *sections, size_t n,
		      struct conf_diag *diag);

/**
 * conf_fill() - values of one table into its struct
 * @defaults:	document with [Defaults], or NULL
 *
 * Silent. Return: 0, with errors in @diag; -ENOMEM.
 */
int conf_fill(const struct conf_doc *doc, const struct conf_doc *defaults,
	      const struct conf_section *section, struct conf_diag *diag);

/* Writes the keys that have a value, so that reading gives the same ones. Errors: ferror(). */
void conf_print(FILE *f, const struct conf_section *section);

/* Two structs of one table. */
bool conf_is_equal(const struct conf_key *key, const void *a, const void *b);
int conf_copy_value(const struct conf_key *key, void *to,
		    const void *from); /* -ENOMEM: nothing done */
void conf_swap_values(const struct conf_key *key, void *a, void *b);

/* Frees the strings of a struct that a table describes. */
void conf_clear(const struct conf_key *keys, void *obj);

#define CONF_DIGEST_INIT 0xcbf29ce484222325ULL /* FNV-1a */

uint64_t conf_digest_text(uint64_t digest, const char *text);
