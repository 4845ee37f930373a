/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fields of a struct that a key table describes, as values: compared, copied, printed, digested. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "conf/conf.h"
#include "util/parse.h"

static uint64_t conf_get_number(const struct conf_key *key, const void *field)
{
	switch (key->width) {
	case sizeof(uint8_t):
		return *(const uint8_t *)field;
	case sizeof(uint32_t):
		return *(const uint32_t *)field;
	default:
		assert(key->width == sizeof(uint64_t));
		return *(const uint64_t *)field;
	}
}

static const char *conf_get_string(const void *field)
{
	return *(const char *const *)field;
}

static const void *conf_get_field(const struct conf_key *key, const void *obj)
{
	return (const char *)obj + key->offset;
}

static size_t conf_get_size(const struct conf_key *key)
{
	return key->width > 0 ? key->width : sizeof(char *);
}

void conf_clear(const struct conf_key *keys, void *obj)
{
	for (; keys->name; keys++) {
		void *field = (char *)obj + keys->offset;
		char **s = field;

		if (keys->width > 0)
			continue;
		free(*s);
		*s = NULL;
	}
}

bool conf_is_equal(const struct conf_key *key, const void *a, const void *b)
{
	const void *x = conf_get_field(key, a), *y = conf_get_field(key, b);

	if (key->width > 0)
		return conf_get_number(key, x) == conf_get_number(key, y);
	return strcmp(conf_get_string(x) ?: "", conf_get_string(y) ?: "") == 0;
}

int conf_copy_value(const struct conf_key *key, void *to, const void *from)
{
	const void *source = conf_get_field(key, from);
	void *field = (char *)to + key->offset;
	char **s = field, *copy = NULL;

	if (key->width > 0) {
		memcpy(field, source, key->width);
		return 0;
	}
	if (conf_get_string(source)) {
		copy = strdup(conf_get_string(source));
		if (!copy)
			return -ENOMEM;
	}
	free(*s);
	*s = copy;
	return 0;
}

void conf_swap_values(const struct conf_key *key, void *a, void *b)
{
	void *x = (char *)a + key->offset, *y = (char *)b + key->offset;
	unsigned char other[sizeof(uint64_t)];
	size_t size = conf_get_size(key);

	assert(size <= sizeof(other));
	memcpy(other, x, size);
	memcpy(x, y, size);
	memcpy(y, other, size);
}

static void conf_print_bool(FILE *f, const struct conf_key *key, uint64_t n)
{
	fputs(n ? "yes" : "no", f);
}

static void conf_print_number(FILE *f, const struct conf_key *key, uint64_t n)
{
	fprintf(f, "%" PRIu64, n);
}

static void conf_print_size(FILE *f, const struct conf_key *key, uint64_t n)
{
	char text[SIZE_TEXT_MAX];

	fputs(format_size(n, text), f);
}

static void conf_print_duration(FILE *f, const struct conf_key *key, uint64_t n)
{
	char text[DURATION_TEXT_MAX];

	fputs(format_duration(n, text), f);
}

static void conf_print_percent(FILE *f, const struct conf_key *key, uint64_t n)
{
	char text[PERCENT_TEXT_MAX];

	fputs(format_percent((uint32_t)n, text), f);
}

static void conf_print_flags(FILE *f, const struct conf_key *key, uint64_t n)
{
	bool first = true;

	for (const struct conf_name *name = key->names; name->name; name++) {
		if (!(n & name->value))
			continue;
		fprintf(f, "%s%s", first ? "" : " ", name->name);
		first = false;
	}
}

static void conf_print_mode(FILE *f, const struct conf_key *key, uint64_t n)
{
	fprintf(f, "%04" PRIo64, n);
}

static const struct conf_printer {
	conf_parse_fn parse; /* its inverse is print */
	void (*print)(FILE *f, const struct conf_key *key, uint64_t n);
	uint64_t unset; /* without a fallback: nobody gave a value */
} conf_printers[] = {
	{conf_parse_bool, conf_print_bool, 0},
	{conf_parse_number, conf_print_number, 0},
	{conf_parse_size, conf_print_size, 0},
	{conf_parse_duration, conf_print_duration, 0},
	{conf_parse_percent, conf_print_percent, 0},
	{conf_parse_enum, conf_print_number, UINT64_MAX}, /* always one of its names */
	{conf_parse_flags, conf_print_flags, 0},
	{conf_parse_mode, conf_print_mode, UINT32_MAX},
};

static const struct conf_printer *conf_find_printer(const struct conf_key *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(conf_printers); i++)
		if (conf_printers[i].parse == key->parse)
			return &conf_printers[i];
	return NULL;
}

static void conf_print_string(FILE *f, const struct conf_key *key, const char *s)
{
	size_t len = strlen(s);
	bool is_cut;

	/* "/a /" was "/a " when it was normalized, but a reader takes a blank at the end away. */
	is_cut = key->parse == conf_parse_path && (s[len - 1] == ' ' || s[len - 1] == '\t');
	fprintf(f, "%s=%s%s\n", key->name, s, is_cut ? "/" : "");
}

static void conf_print_key(FILE *f, const struct conf_key *key, const void *field)
{
	const struct conf_printer *p = conf_find_printer(key);
	const struct conf_name *name = key->parse != conf_parse_flags ? key->names : NULL;
	uint64_t n;

	if (key->width == 0) {
		if (conf_get_string(field))
			conf_print_string(f, key, conf_get_string(field));
		return;
	}
	assert(p);
	n = conf_get_number(key, field);
	if (!key->fallback && n == p->unset)
		return;
	fprintf(f, "%s=", key->name);
	while (name && name->name && name->value != n)
		name++;
	if (name && name->name)
		fputs(name->name, f);
	else
		p->print(f, key, n);
	fputc('\n', f);
}

void conf_print(FILE *f, const struct conf_section *section)
{
	for (const struct conf_key *k = section->keys; k->name; k++)
		conf_print_key(f, k, conf_get_field(k, section->obj));
}

uint64_t conf_digest_text(uint64_t digest, const char *text)
{
	/* With the NUL, so that "a" "bc" is not "ab" "c". */
	do
		digest = (digest ^ (unsigned char)*text) * 0x100000001b3ULL;
	while (*text++);
	return digest;
}
