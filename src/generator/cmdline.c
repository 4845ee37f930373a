/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "generator/cmdline.h"

#include <string.h>

#include "util/parse.h"

/* The value behind "KEY=", "" for "KEY" alone; NULL: another word. */
static const char *cmdline_value(const char *word, const char *key)
{
	size_t len = strlen(key);

	if (strncmp(word, key, len) != 0)
		return NULL;
	if (word[len] == '=')
		return word + len + 1;
	return word[len] ? NULL : "";
}

static void cmdline_take(const char *word, bool initrd, bool *allows)
{
	const char *value = cmdline_value(word, "ublk");

	if (!value && initrd)
		value = cmdline_value(word, "rd.ublk");
	if (!value)
		return;
	if (!*value)
		*allows = true;
	else
		(void)parse_bool(value, allows); /* another word: another's */
}

bool cmdline_allows(const char *text, bool initrd)
{
	char word[256];
	bool allows = true, quoted = false;
	size_t len = 0;

	/* Quotes hold blanks together; a word that is too long is none of ours. */
	for (;; text++) {
		bool ends = !*text || (!quoted && strchr(" \t\n", *text));

		if (*text == '"') {
			quoted = !quoted;
		} else if (ends) {
			word[len] = '\0';
			cmdline_take(word, initrd, &allows);
			len = 0;
		} else if (len < sizeof(word) - 1) {
			word[len++] = *text;
		}
		if (!*text)
			return allows;
	}
}
