/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Where an NBD server is, as in nbd://host:port/export, nbd+unix:///export?socket=/path and
 * nbd+vsock://cid:port/export; nbds with TLS. Only the text: nothing is asked of the network.
 */
#include <stdbool.h>
#include <stdint.h>

#include "util/cleanup.h"

struct nbd_uri {
	bool tls;
	char *host; /* on an IP network; NULL: somewhere else */
	char *port;
	char *socket; /* in the file system; NULL: somewhere else */
	bool vsock;   /* of the virtual machine's host, or of one of its machines */
	uint32_t cid;
	uint32_t vsock_port;
	char *export; /* may be empty */
};

/**
 * nbd_uri_parse() - what an URI names
 * @ret_why:	set to a static text if it cannot be
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
int nbd_uri_parse(const char *text, struct nbd_uri *ret, const char **ret_why);

/* Over an IP network, even if that is only the machine's own. Of a text that nbd_uri_parse() takes. */
bool nbd_uri_is_remote(const char *text);

void nbd_uri_deinit(struct nbd_uri *u);

static inline void nbd_uri_deinit_auto(struct nbd_uri *u)
{
	nbd_uri_deinit(u);
}
