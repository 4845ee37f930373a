/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Those who hold a device when the machine goes down and do not let go. Its server waits for them, as
 * it must while there is a chance: systemd ends all units, each within a limit of its own. What is
 * left when only our servers are still being stopped is nobody's: processes that no unit ends, and
 * what they, or somebody who has gone since, kept systemd from unmounting.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Starts zeroed. */
struct linger {
	uint64_t
		alone_ms; /* CLOCK_MONOTONIC: since when only our servers are being stopped; 0: others are, too */
	bool gave_up;
	bool synced; /* and all was written by then */
	pid_t taker; /* the process that takes down what is free; 0: none does */
	int taker_fd;
};

/* Of the caller's ticks, every one of these is for us. */
#define LINGER_TICKS 4

/* How long they are waited for, from when only our servers are left. ublk@.service(8) says so. */
#define LINGER_HOLD_MS 30000

/* Once per tick. Silent; asks systemd. */
void linger_look(struct linger *l, unsigned tick);

/* In this tick, linger_deal() is to be called for each device whose server is being stopped. */
bool linger_is_due(const struct linger *l, unsigned tick);

/* A server that somebody has stopped (SIGSTOP) goes on: nobody else would end it in time. Logging. */
void linger_continue(pid_t server);

/**
 * linger_deal() - let the server of a device come to its end
 * @name:	of the device
 * @server:	the process that has the lock of the name, and is being stopped
 *
 * Logging. Takes down what stands upon the device and is free. After LINGER_HOLD_MS it has all that was
 * written brought to the backend, says who does not let go, and kills the server.
 */
void linger_deal(struct linger *l, const char *name, pid_t server);
