/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* systemd.unit(5), "String escaping for inclusion in unit names", and systemd.syntax(7), "Quoting". */
#include "util/unit-name.h"

#include <stdbool.h>
#include <string.h>

#include "util/cleanup.h"

#define UNIT_NAME_MAX 255

/* Bytes, not characters: what is no ASCII is escaped byte by byte. */
static bool unit_name_keeps(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == ':' || c == '_' || c == '.';
}

int unit_name_escape_path(const char *path, char **ret)
{
	static const char hex[] = "0123456789abcdef";
	char *name, *at;

	path += strspn(path, "/");
	/* each byte becomes up to four; "-" stands for the root */
	name = at = malloc(4 * strlen(path) + 2);
	if (!name)
		return -ENOMEM;
	if (!*path)
		*at++ = '-';
	for (const char *p = path; *p; p++) {
		if (*p == '/') {
			*at++ = '-';
		} else if (unit_name_keeps(*p) && (p > path || *p != '.')) {
			*at++ = *p;
		} else {
			*at++ = '\\';
			*at++ = 'x';
			*at++ = hex[(unsigned char)*p >> 4];
			*at++ = hex[*p & 15];
		}
	}
	*at = '\0';
	*ret = name;
	return 0;
}

int unit_name_from_path(const char *path, const char *suffix, char **ret)
{
	AUTO_FREE char *escaped = NULL, *name = NULL;
	int r = unit_name_escape_path(path, &escaped);

	if (r < 0)
		return r;
	if (asprintf(&name, "%s.%s", escaped, suffix) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	if (strlen(name) > UNIT_NAME_MAX)
		return -ENAMETOOLONG;
	*ret = TAKE_PTR(name);
	return 0;
}

static int unit_escape(const char *text, const char *doubled, const char *backslashed,
		       const char *quote, char **ret)
{
	char *s, *at;

	s = at = malloc(2 * strlen(text) + 2 * strlen(quote) + 1);
	if (!s)
		return -ENOMEM;
	at = stpcpy(at, quote);
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == '\x7f') {
			free(s);
			return -EILSEQ;
		}
		if (strchr(doubled, *text))
			*at++ = *text;
		else if (strchr(backslashed, *text))
			*at++ = '\\';
		*at++ = *text;
	}
	strcpy(at, quote);
	*ret = s;
	return 0;
}

int unit_quote(const char *word, char **ret)
{
	return unit_escape(word, "%", "\\\"", "\"", ret);
}

int unit_escape_percent(const char *value, char **ret)
{
	return unit_escape(value, "%", "", "", ret);
}
