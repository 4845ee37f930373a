/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Definitions and /etc/ublkd.conf as the service takes them: what is wrong is logged. Main thread. */
#include "conf/device-conf.h"

/* [Log] of ublkd.conf into force. Logging. 0; -EUCLEAN: errors, nothing has changed; -errno. */
int settings_load_daemon(void);

/**
 * settings_load_device() - read a definition
 * @name:	of a definition in the search path, or NULL
 * @path:	of a file anywhere, if there is no name
 *
 * Logging. Return: 0; -EUCLEAN: there is none, or it has errors.
 */
int settings_load_device(const char *name, const char *path, struct device_conf **ret);
