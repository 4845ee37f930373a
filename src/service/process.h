/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What a process must be so that block devices can depend on it. Before the first thread. */
#include <stdbool.h>
#include <systemd/sd-event.h>

/* First of all: what is wanted while the process is still on its way is done when it is there.
 * Threads inherit it, and the event loop takes the signals from a signalfd. Logging. 0 or -errno. */
int process_block_signals(void);

/**
 * process_set_up() - memory locked, reclaim kept off our own devices, and
 *	a capability that only this needs given up
 *
 * Logging. What is not permitted (by hand, without root) is left out. Return: 0 or -errno.
 */
int process_set_up(void);

/* Load ublk_drv, where this process may: no file in /dev makes the kernel do it. Silent. */
int process_load_module(void);

/* Call @handler when something is mounted or unmounted. Silent: without it, timers do the same later. */
void process_watch_mounts(sd_event *event, sd_event_io_handler_t handler, void *arg);

/* Does the machine go down? Then nobody takes over what is left to a successor. Silent. */
bool process_is_last(void);
