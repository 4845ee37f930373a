/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Command= of Type=nbd: a program with its arguments, and the files that it works with. */
#include "conf/backend-conf.h"

/**
 * nbd_words_split() - a line as words
 * @ret:	NULL-terminated, for conf_strv_free(); may be empty
 * @ret_why:	set to a static text if it cannot be split
 *
 * Blanks are between words, unless they stand in "..." or '...' or behind a backslash, which takes
 * the next character as it is, but in '...'. Nothing else has a meaning. Return: 0; -EINVAL; -ENOMEM.
 */
int nbd_words_split(const char *text, char ***ret, const char **ret_why);

/**
 * nbd_words_paths() - what the program may write to
 * @ret:	normalized absolute paths, NULL-terminated, for conf_strv_free()
 *
 * Those of Paths=; without it the arguments that are absolute paths, or have one behind a "=".
 * None if there is no Command=. Return: 0; -ENOMEM.
 */
int nbd_words_paths(const struct nbd_conf *c, char ***ret);
