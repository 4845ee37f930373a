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

int conf_parse_u32(const struct conf_value *v, const struct conf_key *key, void *field,
		   struct conf_diag *diag)
{
	const struct conf_name *name = conf_find_name(key->names, v->value, strlen(v->value));
	uint64_t max = key->max > 0 ? key->max : UINT32_MAX;
	uint64_t n = UINT64_MAX;
	uint32_t n32;
	int r;

	if (name) {
		*(uint32_t *)field = name->value;
		return 0;
	}
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
	if (n < key->min || n > max) {
		conf_error(diag, &v->place, "%s is %s %" PRIu64, v->value,
			   n < key->min ? "below" : "above", n < key->min ? key->min : max);
		return -EINVAL;
	}
	n32 = (uint32_t)n;
	memcpy(field, &n32, sizeof(n32));
	return 0;
}

int conf_parse_size(const struct conf_value *v, const struct conf_key *key, void *field,
		    struct conf_diag *diag)
{
	uint64_t max = key->max > 0 ? key->max : key->width == 4 ? UINT32_MAX : UINT64_MAX;
	uint64_t bytes = UINT64_MAX;
	uint32_t bytes32;
	int r = parse_size(v->value, &bytes);

	if (r == -EINVAL)
		return conf_refuse(v, diag,
				   "a size, as in 4096, 512K, 100G (K M G T P E, base 1024)");
	if (r == -ERANGE || bytes < key->min || bytes > max) {
		bool below = r == 0 && bytes < key->min;
		char limit[SIZE_TEXT_MAX];

		conf_error(diag, &v->place, "%s is %s %s", v->value, below ? "below" : "above",
			   format_size(below ? key->min : max, limit));
		return -EINVAL;
	}
	if (key->width == sizeof(bytes)) {
		memcpy(field, &bytes, sizeof(bytes));
		return 0;
	}
	assert(key->width == sizeof(bytes32) && bytes <= UINT32_MAX);
	bytes32 = (uint32_t)bytes;
	memcpy(field, &bytes32, sizeof(bytes32));
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
		v = conf_doc_find(defaults, "Defaults", key->name);
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

void conf_clear(const struct conf_key *keys, void *obj)
{
	for (; keys->name; keys++)
		if (keys->width == 0)
			conf_set_string((char *)obj + keys->offset, NULL);
}

uint64_t conf_digest_text(uint64_t digest, const char *text)
{
	/* With the NUL, so that "a" "bc" is not "ab" "c". */
	do
		digest = (digest ^ (unsigned char)*text) * 0x100000001b3ULL;
	while (*text++);
	return digest;
}

uint64_t conf_digest(uint64_t digest, const struct conf_section *section)
{
	for (const struct conf_key *k = section->keys; k->name; k++) {
		const void *field = (const char *)section->obj + k->offset;
		char number[24];
		uint64_t n = 0;

		digest = conf_digest_text(digest, section->name);
		digest = conf_digest_text(digest, k->name);
		if (k->width == 0) {
			const char *s = *(char *const *)field;

			digest = conf_digest_text(digest, s ? s : "");
			continue;
		}
		assert(k->width == 1 || k->width == 4 || k->width == 8);
		if (k->width == 1)
			n = *(const uint8_t *)field;
		else if (k->width == 4)
			n = *(const uint32_t *)field;
		else
			n = *(const uint64_t *)field;
		snprintf(number, sizeof(number), "%" PRIu64, n);
		digest = conf_digest_text(digest, number);
	}
	return digest;
}
