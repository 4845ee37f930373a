/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/sandbox.h"

#include <stdlib.h>
#include <string.h>

#define SANDBOX_VARIABLE "UBLKD_SANDBOX"

bool sandbox_is_there(void)
{
	return secure_getenv(SANDBOX_VARIABLE) != NULL;
}

/* A path may have colons itself. */
bool sandbox_is_for(const char *path)
{
	const char *paths = secure_getenv(SANDBOX_VARIABLE);
	size_t len = strlen(path);

	if (!paths)
		return true;
	for (const char *at = strstr(paths, path); at; at = strstr(at + 1, path))
		if ((at == paths || at[-1] == ':') && (!at[len] || at[len] == ':'))
			return true;
	return false;
}
