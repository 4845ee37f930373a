/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "util/cleanup.h"
#include "util/clock.h"

#define NOTIFY_EXTEND_EVERY_US 2000000
#define NOTIFY_MAX_BEAT_US     10000000

bool notify_is_wanted(void)
{
	return getenv("NOTIFY_SOCKET") != NULL;
}

void notify_ready(const char *status)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void notify_status(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sd_notifyf(0, "STATUS=%s", text);
}

void notify_reloaded(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	notify_ready(text);
}

void notify_reloading(void)
{
	/* The time lets systemd 253 and newer tell this reload from an earlier one. */
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_ns() / 1000);
}

void notify_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

void notify_extend(unsigned seconds)
{
	static uint64_t sent_us; /* of the process, like the notification socket */
	uint64_t now = clock_now_ns() / 1000;

	if (sent_us > 0 && now - sent_us < NOTIFY_EXTEND_EVERY_US)
		return;
	sent_us = now;
	sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%u000000", seconds);
}

void notify_alive(void)
{
	sd_notify(0, "WATCHDOG=1");
}

uint64_t notify_beat_ns(void)
{
	uint64_t usec = 0;

	if (sd_watchdog_enabled(0, &usec) <= 0 || usec / 3 > NOTIFY_MAX_BEAT_US)
		usec = 3 * NOTIFY_MAX_BEAT_US;
	return MAX(usec / 3, 1000) * 1000;
}
