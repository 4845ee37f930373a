/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * "ublkd reload": the sending side of a reload that is waited for. A signal alone does not tell when
 * the other side is done, nor how it went; see state_write_reload().
 */

/**
 * reload_request() - make a server read its definition again, and wait for the outcome
 * @name:	of a device, or STATE_MANAGER
 *
 * Logging; the outcome too. Return: 0; -EUCLEAN: the definition has errors, the old one stays in
 * force; -ESRCH: there is no server; -ETIMEDOUT: no word within a minute; else -errno, also of the
 * server.
 */
int reload_request(const char *name);
