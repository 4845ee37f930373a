/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/nbd-uri.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text, *host, *port, *socket, *export;
	bool tls;
	uint32_t cid, vsock_port;
} good[] = {
	{"nbd://host", "host", "10809", NULL, ""},
	{"nbd://host/", "host", "10809", NULL, ""},
	{"nbd://host:1/a/b", "host", "1", NULL, "a/b"},
	{"nbd://192.0.2.1:65535/%41%20b%2f", "192.0.2.1", "65535", NULL, "A b/"},
	{"nbd://[2001:db8::1]", "2001:db8::1", "10809", NULL, ""},
	{"nbd://[::1]:10810/x", "::1", "10810", NULL, "x"},
	{"nbd+unix:///?socket=/run/a", NULL, NULL, "/run/a", ""},
	{"nbd+unix:///x%3fy?socket=/run/a%20b", NULL, NULL, "/run/a b", "x?y"},
	{"nbds://host/x", "host", "10809", NULL, "x", true},
	{"nbds+unix:///x?socket=/run/a", NULL, NULL, "/run/a", "x", true},
	{"nbd+vsock://2", NULL, NULL, NULL, "", false, 2, 10809},
	{"nbds+vsock://4294967295:70000/x", NULL, NULL, NULL, "x", true, UINT32_MAX, 70000},
};

static const struct {
	const char *text, *why;
} bad[] = {
	{"", "begin with"},
	{"nbd:/host", "begin with"},
	{"nbdx://host", "begin with"},
	{"nbd+vsock://", "no machine"},
	{"nbd+vsock://host", "no machine"},
	{"nbd+vsock://4294967296", "no machine"},
	{"nbd+vsock://1:", "port"},
	{"nbd+vsock://1/x?socket=/a", "query"},
	{"nbd://", "no host"},
	{"nbd:///x", "no host"},
	{"nbd://me@host", "no host"},
	{"nbd://[::1", "no host"},
	{"nbd://[]", "no host"},
	{"nbd://host:", "port"},
	{"nbd://host:0", "port"},
	{"nbd://host:65536", "port"},
	{"nbd://host:1a", "port"},
	{"nbd://[::1]1", "port"},
	{"nbd://host/x?socket=/a", "query"},
	{"nbd://host/%4", "bad %"},
	{"nbd://host/%", "bad %"},
	{"nbd://host/%zz", "bad %"},
	{"nbd://host/%00", "bad %"},
	{"nbd+unix://x?socket=/a", "three slashes"},
	{"nbd+unix:///x", "?socket="},
	{"nbd+unix:///?path=/a", "?socket="},
	{"nbd+unix:///?socket=a", "absolute"},
	{"nbd+unix:///?socket=", "absolute"},
};

static void same(const char *a, const char *b)
{
	assert_true((a == NULL) == (b == NULL));
	if (a)
		assert_string_equal(a, b);
}

static void test_parts_of_an_uri(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		AUTO(nbd_uri_deinit) struct nbd_uri u = {0};
		const char *why = NULL;

		assert_int_equal(nbd_uri_parse(good[i].text, &u, &why), 0);
		same(u.host, good[i].host);
		same(u.port, good[i].port);
		same(u.socket, good[i].socket);
		same(u.export, good[i].export);
		assert_true(u.tls == good[i].tls);
		assert_true(u.vsock == (good[i].cid > 0));
		assert_int_equal(u.cid, good[i].cid);
		assert_int_equal(u.vsock_port, good[i].vsock_port);
		assert_true(nbd_uri_is_remote(good[i].text) == (u.host != NULL));
	}
}

static void test_what_is_wrong_with_others(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct nbd_uri u = {0};
		const char *why = NULL;

		assert_int_equal(nbd_uri_parse(bad[i].text, &u, &why), -EINVAL);
		if (!strstr(why, bad[i].why))
			print_message("%s: %s\n", bad[i].text, why);
		assert_non_null(strstr(why, bad[i].why));
		assert_null(u.host);
	}
}

static void test_lengths(void **state)
{
	char text[5000];
	struct nbd_uri u = {0};
	const char *why;

	for (int n = 107; n <= 108; n++) {
		snprintf(text, sizeof(text), "nbd+unix:///?socket=/%0*d", n - 1, 0);
		assert_int_equal(nbd_uri_parse(text, &u, &why), n == 107 ? 0 : -EINVAL);
	}
	nbd_uri_deinit(&u);
	for (int n = 4096; n <= 4097; n++) {
		snprintf(text, sizeof(text), "nbd://host/%0*d", n, 0);
		assert_int_equal(nbd_uri_parse(text, &u, &why), n == 4096 ? 0 : -EINVAL);
	}
	nbd_uri_deinit(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts_of_an_uri),
		cmocka_unit_test(test_what_is_wrong_with_others),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
