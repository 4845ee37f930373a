/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What a connection to an NBD server is secured with. Set once, then for all threads to read. */
#include <libnbd.h>
#include <stdbool.h>

#include "conf/backend-conf.h"
#include "conf/nbd-uri.h"

struct nbd_tls {
	bool on;
	char *certificates;
	char *psk_file;
	char *username;
	char *hostname; /* that a certificate has to be for; NULL: there is none */
	bool by_name;   /* it is the one that is connected to */
};

/* Silent. */
int nbd_tls_init(struct nbd_tls *t, const struct nbd_conf *conf, const struct nbd_uri *uri);
void nbd_tls_deinit(struct nbd_tls *t);

/* Logging. Whether the library can do it: -EOPNOTSUPP. */
int nbd_tls_check(const struct nbd_tls *t);

/* Silent. On a new handle. */
int nbd_tls_apply(const struct nbd_tls *t, struct nbd_handle *h);

/*
 * Before 1.22, the library looks at a certificate's name only if it was told a name to connect to. To
 * an address, it takes the certificate of anybody.
 */
bool nbd_tls_needs_name(const struct nbd_tls *t);
