/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What the files of util/systemd*.c share. */
#include <systemd/sd-bus.h>

#include "util/cleanup.h"

#define SYSTEMD_SERVICE "org.freedesktop.systemd1"
#define SYSTEMD_PATH    "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER SYSTEMD_SERVICE ".Manager"

DEFINE_AUTO(sd_bus *, sd_bus_close_unref);
DEFINE_AUTO(sd_bus_message *, sd_bus_message_unref);

/* 0; -EHOSTDOWN: systemd does not run here; else -errno. */
int systemd_connect(sd_bus **ret);
