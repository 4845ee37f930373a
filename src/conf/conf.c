/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/conf.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "util/parse.h"

/* What other formats have, and this one has not. */
static const char *conf_hint(const char *value)
{
	if (strstr(value, " #") || strstr(value, " ;") || strstr(value, "\t#") ||
	    strstr(value, "\t;"))
		return "; a comment needs a line of its own";
	if (*value == '"' || *value == '\'')
		return "; a value needs no quotes";
	return "";
}

static int conf_refuse(const struct conf_value *v, struct conf_diag *diag, const char *expected)
{
	conf_error(diag, &v->place, "\"%s\" is not %s%s", v->value, expected, conf_hint(v->value));
	return -EINVAL;
}

/* "auto, copy", to be freed; NULL: no memory */
static char *conf_join_names(const struct conf_name *names)
{
	size_t size = 1;
	char *list, *p;

	for (const struct conf_name *n = names; n->name; n++)
		size += strlen(n->name) + 2;
	list = p = malloc(size);
	if (!list)
		return NULL;
	*p = '\0';
	for (const struct conf_name *n = names; n->name; n++)
		p += sprintf(p, "%s%s", n == names ? "" : ", ", n->name);
	return list;
}

static int conf_refuse_word(const struct conf_value *v, const struct conf_key *key,
			    const char *word, struct conf_diag *diag)
{
	AUTO_FREE char *list = conf_join_names(key->names);

	if (!list)
		return -ENOMEM;
	conf_error(diag, &v->place, "\"%s\" is not known to this version; values are: %s%s", word,
		   list, conf_hint(v->value));
	return -EINVAL;
}

static const struct conf_name *conf_find_name(const struct conf_name *names, const char *word,
					      size_t len)
{
	for (; names && names->name; names++)
		if (strlen(names->name) == len && strncmp(names->name, word, len) == 0)
			return names;
	return NULL;
}

int conf_parse_bool(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag)
{
	if (parse_bool(v->value, field) < 0)
		return conf_refuse(v, diag, "yes or no");
	return 0;
}

static uint64_t conf_get_max(const struct conf_key *key)
{
	if (key->max > 0)
		return key->max;
	return key->width == sizeof(uint32_t) ? UINT32_MAX : UINT64_MAX;
}

static void conf_set_number(const struct conf_key *key, void *field, uint64_t n)
{
	uint32_t n32 = (uint32_t)n;

	if (key->width == sizeof(n)) {
		memcpy(field, &n, sizeof(n));
		return;
	}
	assert(key->width == sizeof(n32) && n <= UINT32_MAX);
	memcpy(field, &n32, sizeof(n32));
}

/* 1: the value is a word, and in the field; 0: it is none. */
static int conf_parse_name(const struct conf_value *v, const struct conf_key *key, void *field)
{
	const struct conf_name *name = conf_find_name(key->names, v->value, strlen(v->value));

	if (name)
		conf_set_number(key, field, name->value);
	return name != NULL;
}

/* -EINVAL: a value that could be read, or (-ERANGE) is too large to be, is out of its range. */
static int conf_check_range(const struct conf_value *v, const struct conf_key *key, int r,
			    uint64_t n, struct conf_diag *diag,
			    const char *(*format)(uint64_t n, char *buf))
{
	bool below = r == 0 && n < key->min;
	uint64_t limit = below ? key->min : conf_get_max(key);
	char text[32];

	if (r == 0 && !below && n <= limit)
		return 0;
	conf_error(diag, &v->place, "%s is %s %s", v->value, below ? "below" : "above",
		   format(limit, text));
	return -EINVAL;
}

static const char *conf_format_number(uint64_t n, char *buf)
{
	sprintf(buf, "%" PRIu64, n);
	return buf;
}

static const char *conf_format_size(uint64_t bytes, char *buf)
{
	return format_size(bytes, buf);
}

static const char *conf_format_duration(uint64_t ns, char *buf)
{
	return format_duration(ns, buf);
}

int conf_parse_number(const struct conf_value *v, const struct conf_key *key, void *field,
		      struct conf_diag *diag)
{
	uint64_t n = 0;
	int r = conf_parse_name(v, key, field);

	if (r > 0)
		return 0;
	r = parse_u64(v->value, &n);
	if (r == -EINVAL) {
		AUTO_FREE char *list = key->names ? conf_join_names(key->names) : NULL;
		AUTO_FREE char *expected = NULL;

		if (asprintf(&expected, "a number%s%s", list ? " or one of: " : "",
			     list ? list : "") < 0) {
			expected = NULL;
			return -ENOMEM;
		}
		return conf_refuse(v, diag, expected);
	}
	r = conf_check_range(v, key, r, n, diag, conf_format_number);
	if (r < 0)
		return r;
	conf_set_number(key, field, n);
	return 0;
}

int conf_parse_size(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag)
{
	uint64_t bytes = 0;
	int r = conf_parse_name(v, key, field);

	if (r > 0)
		return 0;
	r = parse_size(v->value, &bytes);
	if (r == -EINVAL)
		return conf_refuse(v, diag,
				   "a size, as in 4096, 512K, 100G (K M G T P E, base 1024)");
	r = conf_check_range(v, key, r, bytes, diag, conf_format_size);
	if (r < 0)
		return r;
	conf_set_number(key, field, bytes);
	return 0;
}

int conf_parse_duration(const struct conf_value *v, const struct conf_key *key, void *field,
			struct conf_diag *diag)
{
	uint64_t ns = 0;
	int r = conf_parse_name(v, key, field);

	if (r > 0)
		return 0;
	r = parse_duration(v->value, &ns);
	if (r == -EINVAL)
		return conf_refuse(v, diag, "a time span, as in 500ms, 30s, 1min 30s");
	r = conf_check_range(v, key, r, ns, diag, conf_format_duration);
	if (r < 0)
		return r;
	conf_set_number(key, field, ns);
	return 0;
}

int conf_parse_percent(const struct conf_value *v, const struct conf_key *key, void *field,
		       struct conf_diag *diag)
{
	uint32_t ppm = 0;
	int r = parse_percent(v->value, &ppm);

	if (r == -EINVAL)
		return conf_refuse(
			v, diag, "a percentage, as in 5%, 0.1% (up to 4 digits behind the point)");
	if (r == -ERANGE) {
		conf_error(diag, &v->place, "%s is above 100%%", v->value);
		return -EINVAL;
	}
	conf_set_number(key, field, ppm);
	return 0;
}

int conf_parse_enum(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag)
{
	const struct conf_name *name = conf_find_name(key->names, v->value, strlen(v->value));

	bool yes;

	assert(key->width == sizeof(name->value));
	/* Where yes and no are two of several values, their other spellings are, too. */
	if (!name && parse_bool(v->value, &yes) == 0)
		name = yes ? conf_find_name(key->names, "yes", 3)
			   : conf_find_name(key->names, "no", 2);
	if (!name)
		return conf_refuse_word(v, key, v->value, diag);
	memcpy(field, &name->value, sizeof(name->value));
	return 0;
}

int conf_parse_flags(const struct conf_value *v, const struct conf_key *key, void *field,
		     struct conf_diag *diag)
{
	static const char blanks[] = " \t";
	unsigned flags = 0;

	for (const char *p = v->value; *p; p += strspn(p, blanks)) {
		size_t len = strcspn(p, blanks);
		const struct conf_name *name = conf_find_name(key->names, p, len);

		if (!name) {
			AUTO_FREE char *word = strndup(p, len);

			return word ? conf_refuse_word(v, key, word, diag) : -ENOMEM;
		}
		flags |= name->value;
		p += len;
	}
	memcpy(field, &flags, sizeof(flags));
	return 0;
}

int conf_parse_mode(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag)
{
	uint32_t max = key->max > 0 ? (uint32_t)key->max : 07777, mode = UINT32_MAX;
	int r = parse_mode(v->value, &mode);

	if (r == -EINVAL)
		return conf_refuse(v, diag, "an access mode in octal digits, as in 0660");
	if (r == -ERANGE || mode > max) {
		conf_error(diag, &v->place, "%s is above 0%o", v->value, max);
		return -EINVAL;
	}
	memcpy(field, &mode, sizeof(mode));
	return 0;
}

static void conf_set_string(void *field, char *s)
{
	char **p = field;

	free(*p);
	*p = s;
}

int conf_parse_string(const struct conf_value *v, const struct conf_key *key, void *field,
		      struct conf_diag *diag)
{
	char *s;

	if (key->max > 0 && strlen(v->value) > key->max) {
		conf_error(diag, &v->place, "is longer than %" PRIu64 " bytes", key->max);
		return -EINVAL;
	}
	s = strdup(v->value);
	if (!s)
		return -ENOMEM;
	conf_set_string(field, s);
	return 0;
}

int conf_parse_path(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag)
{
	char *path;
	int r = parse_path(v->value, &path);

	if (r == -EINVAL)
		return conf_refuse(v, diag, "an absolute path without \"..\"");
	if (r == -ENAMETOOLONG) {
		conf_error(diag, &v->place, "path or a part of it is too long");
		return -EINVAL;
	}
	if (r < 0)
		return r;
	conf_set_string(field, path);
	return 0;
}

const struct conf_value *conf_find(const struct conf_doc *doc, const struct conf_doc *defaults,
				   const char *section, const struct conf_key *key)
{
	const struct conf_value *v = conf_doc_find(doc, section, key->name);

	if ((!v || !*v->value) && defaults && key->common)
		v = conf_doc_find(defaults, "Defaults", key->common_name ?: key->name);
	return v && *v->value ? v : NULL;
}

int conf_fill(const struct conf_doc *doc, const struct conf_doc *defaults,
	      const struct conf_section *section, struct conf_diag *diag)
{
	for (const struct conf_key *k = section->keys; k->name; k++) {
		void *field = (char *)section->obj + k->offset;
		const struct conf_value *v = conf_find(doc, defaults, section->name, k);
		const struct conf_value fallback = {.value = k->fallback};
		int r = 0;

		if (v) {
			r = k->parse(v, k, field, diag);
		} else if (k->required) {
			const struct conf_value *empty = conf_doc_find(doc, section->name, k->name);
			const struct conf_place place = {.file = doc->n_files > 0 ? doc->files[0]
										  : NULL,
							 .section = section->name,
							 .key = k->name};

			conf_error(diag, empty ? &empty->place : &place, "is required");
		} else if (k->fallback) {
			r = k->parse(&fallback, k, field, diag);
			assert(r != -EINVAL);
		}
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}
