/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What systemd is told; without systemd (NOTIFY_SOCKET) all of this does nothing. Main thread only;
 * silent: a manager that does not listen is no reason to stop serving.
 */
#include <stdbool.h>
#include <stdint.h>

bool notify_is_wanted(void);

void notify_ready(const char *status);
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void notify_reloading(void);
/* With what came of it. */
void notify_reloaded(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Final: from here on only the end is expected. */
void notify_stopping(void);

/* We are still getting somewhere: at least @seconds more. At most every two seconds is sent. */
void notify_extend(unsigned seconds);

/* We are alive, for WatchdogSec=. */
void notify_alive(void);

/* Nanoseconds between two beats of the threads: a third of WatchdogSec=, at most ten seconds. */
uint64_t notify_beat_ns(void);
