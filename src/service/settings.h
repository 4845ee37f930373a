/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Definitions and /etc/ublkd.conf as the service takes them: what is wrong is logged. Main thread. */
#include "conf/daemon-conf.h"
#include "conf/device-conf.h"

/**
 * settings_load_daemon() - [Log] of ublkd.conf into force
 * @log_level:	of the command line, which stands above the file; -1: none
 * @ret:	set on success
 *
 * Logging. Return: 0; -EUCLEAN: errors, the level of before stays; -errno.
 */
int settings_load_daemon(int log_level, struct daemon_conf *ret);

/**
 * settings_load_device() - read a definition
 * @name:	of a definition in the search path, or NULL
 * @path:	of a file anywhere, if there is no name
 *
 * Logging. Return: 0; -EUCLEAN: there is none, or it has errors.
 */
int settings_load_device(const char *name, const char *path, struct device_conf **ret);

/**
 * settings_load_kept() - the definition that a server of this name had in force
 *
 * For a device that waits for a successor while its files have errors or are gone; see
 * device_env.only_takeover. Logging on success only. Return: 0; -errno: there is none.
 */
int settings_load_kept(const char *name, struct device_conf **ret);
