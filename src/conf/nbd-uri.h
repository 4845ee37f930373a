/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Where an NBD server is, as in nbd://host:port/export and nbd+unix:///export?socket=/path. Only the
 * text: nothing is asked of the network.
 */
#include <stdbool.h>

#include "util/cleanup.h"

struct nbd_uri {
	char *host; /* NULL: a socket in the file system */
	char *port;
	char *socket;
	char *export; /* may be empty */
};

/**
 * nbd_uri_parse() - what an URI names
 * @ret_why:	set to a static text if it cannot be
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
int nbd_uri_parse(const char *text, struct nbd_uri *ret, const char **ret_why);

/* Over the network, even if that is only the machine's own. Of a text that nbd_uri_parse() takes. */
bool nbd_uri_is_remote(const char *text);

void nbd_uri_deinit(struct nbd_uri *u);

static inline void nbd_uri_deinit_auto(struct nbd_uri *u)
{
	nbd_uri_deinit(u);
}
