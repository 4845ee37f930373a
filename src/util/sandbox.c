/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "util/messages.h"

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

int sandbox_log_is_old(const char *what, int r)
{
	log_message(MESSAGE_SANDBOX_IS_OLD, LOG_ERR, r,
		    "%s: %m; the service was confined before the definition was written: run "
		    "'systemctl daemon-reload', then start it again",
		    what);
	return -EACCES;
}
