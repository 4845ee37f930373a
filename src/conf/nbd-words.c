/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/nbd-words.h"

#include <errno.h>
#include <string.h>

#include "conf/search.h"
#include "util/parse.h"

#define NBD_BLANKS " \t"

/* The word at *at, which is none of the blanks; moves *at behind it. */
static int nbd_words_take(const char **at, char **ret, const char **ret_why)
{
	AUTO_FREE char *word = malloc(strlen(*at) + 1);
	const char *p = *at;
	size_t len = 0;
	char quote = '\0';

	if (!word)
		return -ENOMEM;
	for (; *p && (quote || !strchr(NBD_BLANKS, *p)); p++) {
		if (*p == quote) {
			quote = '\0';
		} else if (!quote && (*p == '"' || *p == '\'')) {
			quote = *p;
		} else if (*p == '\\' && quote != '\'') {
			*ret_why = "nothing follows its last backslash";
			if (!*++p)
				return -EINVAL;
			word[len++] = *p;
		} else {
			word[len++] = *p;
		}
	}
	*ret_why = "a quotation in it has no end";
	if (quote)
		return -EINVAL;
	word[len] = '\0';
	*at = p;
	*ret = TAKE_PTR(word);
	return 0;
}

int nbd_words_split(const char *text, char ***ret, const char **ret_why)
{
	AUTO(conf_strv_free) char **words = calloc(1, sizeof(*words));
	size_t n = 0;

	if (!words)
		return -ENOMEM;
	for (const char *at = text; *(at += strspn(at, NBD_BLANKS));) {
		char *word;
		int r = nbd_words_take(&at, &word, ret_why);

		if (r == 0)
			r = conf_strv_push(&words, &n, word);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(words);
	return 0;
}

/* The absolute path in an argument, or NULL. */
static const char *nbd_word_path(const char *word)
{
	const char *equals = strchr(word, '=');

	if (*word == '/')
		return word;
	return equals && equals[1] == '/' ? equals + 1 : NULL;
}

int nbd_words_paths(const struct nbd_conf *c, char ***ret)
{
	AUTO(conf_strv_free) char **words = NULL, **paths = calloc(1, sizeof(*paths));
	const char *text = c->paths ?: c->command ?: "", *why;
	size_t n = 0;
	int r;

	if (!paths)
		return -ENOMEM;
	r = nbd_words_split(text, &words, &why);
	if (r < 0)
		return r;
	/* The first word of a command is the program. */
	for (char **w = words + (!c->paths && *words); *w; w++) {
		const char *path = nbd_word_path(*w);
		char *normal;

		if (!path)
			continue;
		r = parse_path(path, &normal);
		if (r == -EINVAL)
			continue;
		if (r == 0)
			r = conf_strv_push(&paths, &n, normal);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(paths);
	return 0;
}
