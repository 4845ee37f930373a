/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Which devices the manager serves, and their definitions. Main thread; logging. */
#include <stdbool.h>
#include <stddef.h>

#include "conf/device-conf.h"

struct definition {
	struct device_conf *conf;
	bool only_takeover; /* the files have errors or are gone: it is what a dead server had */
	bool is_gone;       /* with the above: the device is to be stopped when it was taken over */
	char reason[512];   /* on failure: the last of its errors */
};

/**
 * definitions_list() - names that may have to be served
 * @given:	names of the command line, NULL-terminated; an empty list: all that there are
 * @left_too:	also of devices that a server has left, whether or not they still have a definition
 * @ret:	sorted, without doubles, for conf_strv_free()
 *
 * Return: 0; -errno.
 */
int definitions_list(char *const *given, bool left_too, char ***ret);

/**
 * definitions_read() - the definition of one device
 * @given:	it was named on the command line; else [Boot] Manager=yes makes it ours
 * @known:	it is ours already: a definition that cannot be read is an error in any case
 * @ret:	conf is the caller's to free; all else is a value
 *
 * Return: 0; -ENOENT: not for the manager, nothing is logged; else -errno, with a reason.
 */
int definitions_read(const char *name, bool given, bool known, struct definition *ret);
