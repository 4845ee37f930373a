/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/nbd-uri.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "util/parse.h"

#define NBD_PORT     "10809"
#define NBD_MAX_NAME 4096 /* of an export, says the protocol */

enum nbd_scheme {
	NBD_TCP,
	NBD_UNIX,
	NBD_VSOCK,
};

static const struct {
	const char *text;
	enum nbd_scheme scheme;
	bool tls;
} nbd_schemes[] = {
	{"nbd://", NBD_TCP, false},         {"nbds://", NBD_TCP, true},
	{"nbd+unix://", NBD_UNIX, false},   {"nbds+unix://", NBD_UNIX, true},
	{"nbd+vsock://", NBD_VSOCK, false}, {"nbds+vsock://", NBD_VSOCK, true},
};

static bool nbd_uri_find_scheme(const char *text, enum nbd_scheme *ret_scheme, bool *ret_tls)
{
	for (size_t i = 0; i < ARRAY_SIZE(nbd_schemes); i++) {
		if (strncmp(text, nbd_schemes[i].text, strlen(nbd_schemes[i].text)) != 0)
			continue;
		*ret_scheme = nbd_schemes[i].scheme;
		*ret_tls = nbd_schemes[i].tls;
		return true;
	}
	return false;
}

bool nbd_uri_is_remote(const char *text)
{
	enum nbd_scheme scheme;
	bool tls;

	return nbd_uri_find_scheme(text, &scheme, &tls) && scheme == NBD_TCP;
}

void nbd_uri_deinit(struct nbd_uri *u)
{
	free(u->host);
	free(u->port);
	free(u->socket);
	free(u->export);
	*u = (struct nbd_uri){0};
}

static int nbd_hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* With %XX as the byte that it stands for. 0; -EINVAL; -ENOMEM. */
static int nbd_uri_decode(const char *s, size_t n, char **ret)
{
	AUTO_FREE char *text = malloc(n + 1);
	size_t len = 0;

	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int high, low;

		if (s[i] != '%') {
			text[len++] = s[i];
			continue;
		}
		high = n - i > 2 ? nbd_hex(s[i + 1]) : -1;
		low = n - i > 2 ? nbd_hex(s[i + 2]) : -1;
		if (high < 0 || low < 0 || (high | low) == 0)
			return -EINVAL;
		text[len++] = (char)(high << 4 | low);
		i += 2;
	}
	text[len] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

static bool nbd_is_port(const char *s)
{
	return strspn(s, "0123456789") == strlen(s) && strlen(s) <= 5 && atoi(s) >= 1 &&
	       atoi(s) <= 65535;
}

/* host, host:port, [address], [address]:port */
static int nbd_uri_parse_host(const char *s, size_t n, struct nbd_uri *u, const char **ret_why)
{
	const char *end = s + n, *host_end, *port;

	if (n > 0 && *s == '[') {
		host_end = memchr(++s, ']', n - 1);
		port = host_end ? host_end + 1 : NULL;
	} else {
		host_end = memchr(s, ':', n) ?: end;
		port = host_end;
	}
	*ret_why = "it names no host";
	if (!host_end || host_end == s || memchr(s, '@', (size_t)(host_end - s)))
		return -EINVAL;
	*ret_why = "its port is not a number from 1 to 65535";
	if (port != end && *port != ':')
		return -EINVAL;
	u->host = strndup(s, (size_t)(host_end - s));
	u->port = port == end ? strdup(NBD_PORT) : strndup(port + 1, (size_t)(end - port - 1));
	if (!u->host || !u->port)
		return -ENOMEM;
	return nbd_is_port(u->port) ? 0 : -EINVAL;
}

static int nbd_uri_parse_socket(const char *query, struct nbd_uri *u, const char **ret_why)
{
	int r;

	*ret_why = "it has no ?socket= with a path";
	if (!query || strncmp(query, "socket=", 7) != 0)
		return -EINVAL;
	r = nbd_uri_decode(query + 7, strlen(query + 7), &u->socket);
	if (r < 0)
		return r;
	*ret_why =
		"the path of its socket is not absolute, or longer than the 107 bytes that it may have";
	return u->socket[0] == '/' &&
			       strlen(u->socket) < sizeof(((struct sockaddr_un *)0)->sun_path)
		       ? 0
		       : -EINVAL;
}

/* Numbers, where others have names. */
static int nbd_uri_parse_vsock(const char *s, size_t n, struct nbd_uri *u, const char **ret_why)
{
	AUTO_FREE char *text = strndup(s, n);
	char *colon;
	int r;

	if (!text)
		return -ENOMEM;
	colon = strchr(text, ':');
	if (colon)
		*colon = '\0';
	*ret_why = "it names no machine by the number (CID) that it has for vsock";
	r = parse_u32(text, &u->cid);
	if (r == 0) {
		*ret_why = "its port is not a number";
		r = parse_u32(colon ? colon + 1 : NBD_PORT, &u->vsock_port);
	}
	u->vsock = true;
	return r < 0 ? -EINVAL : 0;
}

/* What stands between "://" and the name of the export. */
static int nbd_uri_parse_place(enum nbd_scheme scheme, const char *s, size_t n, const char *query,
			       struct nbd_uri *u, const char **ret_why)
{
	int r;

	if (scheme == NBD_UNIX) {
		*ret_why = "it has three slashes where no host is named, as in nbd+unix:///";
		return n == 0 && *s == '/' ? nbd_uri_parse_socket(query, u, ret_why) : -EINVAL;
	}
	r = scheme == NBD_TCP ? nbd_uri_parse_host(s, n, u, ret_why)
			      : nbd_uri_parse_vsock(s, n, u, ret_why);
	if (r == 0 && query) {
		*ret_why = "it has a query (?), which is for nbd+unix:// only";
		r = -EINVAL;
	}
	return r;
}

static int nbd_uri_fill(const char *text, struct nbd_uri *u, const char **ret_why)
{
	const char *host, *path, *query;
	enum nbd_scheme scheme;
	size_t path_len;
	int r;

	*ret_why = "it does not begin with nbd://, nbd+unix:// or nbd+vsock://, or nbds for TLS";
	if (!nbd_uri_find_scheme(text, &scheme, &u->tls))
		return -EINVAL;
	host = strstr(text, "://") + 3;
	query = strchr(host, '?');
	path = host + strcspn(host, "/?");
	path_len = query ? (size_t)(query - path) : strlen(path);
	r = nbd_uri_parse_place(scheme, host, (size_t)(path - host), query ? query + 1 : NULL, u,
				ret_why);
	if (r < 0)
		return r;
	*ret_why = "the name of its export is longer than 4096 bytes, or has a bad %";
	if (path_len > 0) { /* without the slash */
		path++;
		path_len--;
	}
	r = nbd_uri_decode(path, path_len, &u->export);
	if (r < 0)
		return r;
	return strlen(u->export) <= NBD_MAX_NAME ? 0 : -EINVAL;
}

int nbd_uri_parse(const char *text, struct nbd_uri *ret, const char **ret_why)
{
	AUTO(nbd_uri_deinit) struct nbd_uri u = {0};
	int r = nbd_uri_fill(text, &u, ret_why);

	if (r < 0)
		return r;
	*ret = u;
	u = (struct nbd_uri){0};
	return 0;
}
