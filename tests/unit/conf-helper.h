/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Files in a directory of the test's own, and messages as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <sys/stat.h>

#include "conf/diag.h"

/* One message a line, without their directory; to be freed. */
static inline char *diag_text(const struct conf_diag *d, const char *dir)
{
	size_t size, dir_len = strlen(dir);
	char *text;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	for (size_t i = 0; i < d->n_messages; i++) {
		char *line, *p;

		assert_int_equal(conf_message_format(&d->messages[i], &line), 0);
		/* A message may name a second file. */
		while (dir_len > 0 && (p = strstr(line, dir)))
			memmove(p, p + dir_len, strlen(p + dir_len) + 1);
		fprintf(f, "%s\n", line);
		free(line);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}

static inline void assert_diag(const struct conf_diag *d, const char *dir, const char *expected)
{
	char *text = diag_text(d, dir);

	assert_string_equal(text, expected);
	free(text);
}

static inline char *make_dir(void)
{
	char *dir = strdup("/tmp/ublkd-test-XXXXXX");

	assert_non_null(dir);
	assert_non_null(mkdtemp(dir));
	return dir;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline void remove_dir(char *dir)
{
	assert_int_equal(nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(dir);
}

/* Makes dir/name, with the directories on the way to it. */
static inline void write_file(const char *dir, const char *name, const char *text)
{
	char path[512];
	FILE *f;

	assert_true((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) < sizeof(path));
	for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(path, 0755); /* else fopen() fails */
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static inline void link_file(const char *dir, const char *name, const char *target)
{
	char path[512];

	write_file(dir, name, "");
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(target, path), 0);
}
