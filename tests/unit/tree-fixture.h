/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* A made-up tree of files, as of /proc and /sys. Included once by a test, behind its other headers. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char root[64]; /* the test makes and removes it */

/* Makes the directories on the way. */
static void put_file(const char *relative, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, relative);
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}
