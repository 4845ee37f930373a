/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Command= of Type=nbd: an NBD server that we start. Main thread, or the one that opens the backend. */
#include <sys/un.h>

#include "backend/backend.h"
#include "util/cleanup.h"

struct nbd_command;

/**
 * nbd_command_start() - start it, and keep it running
 * @text:	words, see conf/nbd-words.h
 *
 * Logging. Waits for the end of the one of a server before us. Return: 0; -ECANCELED; -ENOENT: there
 * is no such program; else -errno.
 */
int nbd_command_start(const struct backend_request *req, const char *text,
		      struct nbd_command **ret);

/* Where it listens. */
const struct sockaddr_un *nbd_command_get_address(const struct nbd_command *c);

/* How often it has ended, or could not be started again. */
unsigned nbd_command_count_ends(const struct nbd_command *c);

/* Ends it, within 15 s. Takes NULL. */
struct nbd_command *nbd_command_stop(struct nbd_command *c);
DEFINE_AUTO(struct nbd_command *, nbd_command_stop);
