/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS. The library reads certificates and keys with each connection, at a time when the disk that they
 * are on may be the one that we serve. So the service has copies in memory, as systemd's credentials,
 * and what the definition names is for those who have none. The same names are in generator/plan.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/nbd-lib.h"
#include "backend/nbd-tls.h"
#include "util/log.h"

#define TLS_CREDENTIALS "CREDENTIALS_DIRECTORY"
#define TLS_AUTHORITY   "ca-cert.pem" /* what the library calls it in a directory of certificates */
#define TLS_PSK         "psk"

/* 0: *ret is the credential's own, or a copy of @path; -ENOMEM. */
static int nbd_tls_find(const char *credential, const char *path, char **ret)
{
	const char *dir = secure_getenv(TLS_CREDENTIALS);
	AUTO_FREE char *file = NULL;

	if (dir && asprintf(&file, "%s/%s", dir, credential) < 0) {
		file = NULL;
		return -ENOMEM;
	}
	if (file && access(file, R_OK) == 0) {
		*ret = TAKE_PTR(file);
		return 0;
	}
	*ret = strdup(path);
	return *ret ? 0 : -ENOMEM;
}

int nbd_tls_init(struct nbd_tls *t, const struct nbd_conf *conf, const struct nbd_uri *uri)
{
	int r = 0;

	t->on = uri->tls;
	if (!t->on)
		return 0;
	if (conf->tls_psk_file) {
		r = nbd_tls_find(TLS_PSK, conf->tls_psk_file, &t->psk_file);
		t->username = strdup(conf->tls_username ?: "root");
		return r < 0 || !t->username ? -ENOMEM : 0;
	}
	if (conf->tls_certificates) {
		r = nbd_tls_find(TLS_AUTHORITY, "", &t->certificates);
		if (r < 0)
			return r;
		if (*t->certificates) {
			*strrchr(t->certificates, '/') = '\0';
		} else {
			free(t->certificates);
			t->certificates = strdup(conf->tls_certificates);
		}
		if (!t->certificates)
			return -ENOMEM;
	}
	if (conf->tls_hostname || uri->host)
		t->hostname = strdup(conf->tls_hostname ?: uri->host);
	t->by_name = !conf->tls_hostname && uri->host;
	return (conf->tls_hostname || uri->host) && !t->hostname ? -ENOMEM : 0;
}

int nbd_tls_check(const struct nbd_tls *t)
{
	if (t->hostname && !nbd_lib.set_tls_hostname && !t->by_name)
		return log_at(LOG_ERR, -EOPNOTSUPP, "TlsHostname= needs libnbd 1.22 or newer");
	return 0;
}

bool nbd_tls_needs_name(const struct nbd_tls *t)
{
	return t->hostname && !nbd_lib.set_tls_hostname;
}

int nbd_tls_apply(const struct nbd_tls *t, struct nbd_handle *h)
{
	if (!t->on)
		return 0;
	if (nbd_lib.set_tls(h, LIBNBD_TLS_REQUIRE) < 0 ||
	    (t->psk_file && (nbd_lib.set_tls_psk_file(h, t->psk_file) < 0 ||
			     nbd_lib.set_tls_username(h, t->username) < 0)) ||
	    (t->certificates && nbd_lib.set_tls_certificates(h, t->certificates) < 0) ||
	    (!t->psk_file && nbd_lib.set_tls_verify_peer(h, true) < 0) ||
	    (t->hostname && nbd_lib.set_tls_hostname &&
	     nbd_lib.set_tls_hostname(h, t->hostname) < 0))
		return -nbd_errno();
	return 0;
}

void nbd_tls_deinit(struct nbd_tls *t)
{
	free(t->certificates);
	free(t->psk_file);
	free(t->username);
	free(t->hostname);
}
