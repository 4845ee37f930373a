/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * "ublkd reap": what becomes of a device whose server has died and is not restarted. With nobody to
 * serve it, a recoverable device keeps its users waiting, uninterruptibly and for ever.
 *
 * Each function takes the lock of a name before it looks, so a name that is served is left alone.
 * All log. Return: 0, also if there was nothing to do or the policy is to do nothing; else -errno.
 */

/**
 * reap_by_policy() - restarting was given up
 * @name:	of a device; STATE_MANAGER: of all that the manager has left
 *
 * A device that nobody uses is removed, and so is any device if the definition says OnGiveUp=fail or
 * the machine goes down: what its users wait for then fails. Else it is left for the administrator,
 * who is told who uses it and what to do.
 */
int reap_by_policy(const char *name);

/**
 * reap_at_shutdown() - keep devices without a server from holding up the end of the machine
 *
 * Does nothing unless the machine goes down. Then no server is restarted any more: what has none is
 * removed, and those that serve are watched until they have ended, or systemd knows them no more.
 */
int reap_at_shutdown(void);
