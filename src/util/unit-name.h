/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Text for units of systemd. All functions are silent and return a new string in *ret, to be freed.
 */

/**
 * unit_name_from_path() - what "systemd-escape --path --suffix=SUFFIX PATH" prints
 * @path:	absolute and normalized: parse_path()
 * @suffix:	"device", "mount"
 *
 * Return: 0; -ENAMETOOLONG: no unit can have that name (systemd has another way for those of
 * mounts since version 250, which depends on it); -ENOMEM.
 */
int unit_name_from_path(const char *path, const char *suffix, char **ret);

/* The same without suffix: the instance of a template, "dev-ublk-data" of blockdev@.target. */
int unit_name_escape_path(const char *path, char **ret);

/**
 * unit_quote() - a word of a value that systemd takes apart and expands
 * @word:	any text
 *
 * In quotes, with the characters that mean something in them, and %, taken literally.
 * Return: 0; -EILSEQ: a control character, which no line of a unit can have; -ENOMEM.
 */
int unit_quote(const char *word, char **ret);

/* The same for a value that is one word, with or without blanks: SourcePath= */
int unit_escape_percent(const char *value, char **ret);
