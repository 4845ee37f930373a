/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Named steps, for whoever wants to see what happens if a process dies between two of them. With
 * UBLKD_STOP_AT=NAME in the environment the process stops itself (SIGSTOP) at that step, to be
 * killed there; with UBLKD_STOP_AT=list each step is told on stderr. Else this is one comparison.
 */

/* Not for the way of a request. */
void step_reached(const char *name);
