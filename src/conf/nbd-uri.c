/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/nbd-uri.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#define NBD_TCP      "nbd://"
#define NBD_UNIX     "nbd+unix://"
#define NBD_PORT     "10809"
#define NBD_MAX_NAME 4096 /* of an export, says the protocol */

bool nbd_uri_is_remote(const char *text)
{
	return strncmp(text, NBD_TCP, strlen(NBD_TCP)) == 0;
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

static int nbd_uri_fill(const char *text, struct nbd_uri *u, const char **ret_why)
{
	const bool is_unix = strncmp(text, NBD_UNIX, strlen(NBD_UNIX)) == 0;
	const char *host, *path, *query;
	size_t path_len;
	int r;

	*ret_why = "it does not begin with nbd:// or nbd+unix://";
	if (!is_unix && strncmp(text, NBD_TCP, strlen(NBD_TCP)) != 0)
		return -EINVAL;
	host = strstr(text, "://") + 3;
	query = strchr(host, '?');
	path = host + strcspn(host, "/?");
	path_len = query ? (size_t)(query - path) : strlen(path);
	if (is_unix) {
		*ret_why = "it has three slashes where no host is named, as in nbd+unix:///";
		r = path == host && *path == '/'
			    ? nbd_uri_parse_socket(query ? query + 1 : NULL, u, ret_why)
			    : -EINVAL;
	} else {
		r = nbd_uri_parse_host(host, (size_t)(path - host), u, ret_why);
		if (r == 0 && query) {
			*ret_why = "it has a query (?), which is for nbd+unix:// only";
			r = -EINVAL;
		}
	}
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
