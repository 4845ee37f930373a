/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each allocation of a load fails once. Linked with --wrap for what allocates; that nothing leaks is
 * for the address sanitizer to see.
 */
#include "conf-helper.h"

#include "conf/cross-check.h"

static unsigned left; /* allocations until one fails; 0: none does */
static unsigned failed;

static bool fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed++;
	errno = ENOMEM;
	return true;
}

/* The linker's names for what was there and for what stands in its place. */
#define WRAP(type, name, parameters, arguments)                                                    \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails() ? NULL : __real_##name arguments;                                   \
	}

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))
WRAP(char *, realpath, (const char *path, char *resolved), (path, resolved))

int __wrap_vasprintf(char **ret, const char *format, va_list ap)
	__attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));

int __wrap_vasprintf(char **ret, const char *format, va_list ap)
{
	/* Anything may stand in *ret after a failure. */
	if (fails()) {
		*ret = (char *)(uintptr_t)1;
		return -1;
	}
	char text[8192], *p;
	int len = vsnprintf(text, sizeof(text), format, ap);

	assert_in_range(len, 0, sizeof(text) - 1);
	p = __real_malloc((size_t)len + 1);
	assert_non_null(p);
	*ret = memcpy(p, text, (size_t)len + 1);
	return len;
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = __wrap_vasprintf(ret, format, ap);
	va_end(ap);
	return r;
}

static char *tree;

static int setup_tree(void **state)
{
	char path[512];

	tree = make_dir();
	snprintf(path, sizeof(path), "%s/etc/ublk:%s/usr/ublk", tree, tree);
	return setenv("UBLKD_CONFIG_PATH", path, 1);
}

static int remove_tree(void **state)
{
	remove_dir(TAKE_PTR(tree));
	return 0;
}

static void test_right_definition_is_whole_or_not_there(void **state)
{
	struct device_conf *c = NULL;
	uint64_t digest;
	int r = -1;

	write_file(tree, "etc/ublkd.conf", "[Defaults]\nGroup=disk\n");
	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nSize=1G\nSerial=s\nDescription=d\n[Backend]\nType=file\nPath=/x\n"
		   "[Boot]\nOptions=nofail _netdev\n");
	write_file(tree, "usr/ublk/a.conf.d/x.conf", "[Udev]\nOwner=o\n");
	{
		AUTO(conf_diag_deinit) struct conf_diag diag = {0};

		assert_int_equal(device_conf_load("a", &diag, &c), 0);
		digest = device_conf_digest(c);
		device_conf_free(TAKE_PTR(c));
	}
	failed = 0;
	for (unsigned n = 1; r != 0; n++) {
		AUTO(conf_diag_deinit) struct conf_diag diag = {0};

		left = n;
		r = device_conf_load("a", &diag, &c);
		/* Where only the order of messages suffers, it goes on. */
		if (r == 0) {
			assert_int_equal(device_conf_digest(c), digest);
			device_conf_free(TAKE_PTR(c));
			r = left == 0 ? -ENOMEM : 0;
		}
		assert_true(r == 0 || r == -ENOMEM);
		assert_null(c);
		assert_true(n < 10000);
	}
	left = 0;
	assert_in_range(failed, 50, 10000);
}

static void test_change_is_whole_or_none(void **state)
{
	static const char old_text[] = "[Device]\nSize=1G\n[Backend]\nType=file\nPath=/x\n";
	struct device_conf *old, *new;
	uint64_t digest;
	int r = -ENOMEM;

	write_file(tree, "etc/ublk/a.conf", old_text);
	write_file(tree, "etc/ublk/b.conf", old_text);
	write_file(tree, "etc/ublk/b.conf.d/x.conf",
		   "[Device]\nSerial=s\nDescription=d\n[Queues]\nDepth=2\n[Backend]\n"
		   "DirectIO=no\n[Udev]\nGroup=g\n[Fault]\nHangWhile=/y\n");
	{
		AUTO(conf_diag_deinit) struct conf_diag diag = {0};

		assert_int_equal(device_conf_load("a", &diag, &old), 0);
		assert_int_equal(device_conf_load("b", &diag, &new), 0);
	}
	digest = device_conf_digest(old);
	for (unsigned n = 1; r != 0; n++) {
		AUTO(conf_changes_deinit) struct conf_changes *c = &(struct conf_changes){0};

		left = n;
		r = device_conf_adopt(old, new, CONF_RESTART, c);
		assert_true(r == 0 || r == -ENOMEM);
		assert_true((r == 0) == (device_conf_digest(old) != digest));
		assert_true((r == 0) == (c->taken != NULL));
		assert_true(n < 100);
	}
	left = 0;
	assert_string_equal(old->fault->hang_while, "/y");
	assert_int_equal(old->depth, 128);
	device_conf_free(old);
	device_conf_free(new);
}

static void test_error_stays_an_error(void **state)
{
	bool more = true;

	write_file(
		tree, "etc/ublk/a.conf",
		"[Device]\nSize=1X\nSerial=a b\n[Backend]\nType=null\nPath=/x\n[Queues]\nDeph=1\n"
		"Count=many\nCopyMode=fast\n");
	for (unsigned n = 1; more; n++) {
		AUTO(conf_diag_deinit) struct conf_diag diag = {0};
		struct device_conf *c = NULL;
		int r;

		left = n;
		r = device_conf_load("a", &diag, &c);
		more = left == 0;
		left = 0;
		assert_true(r == -ENOMEM || (r == -EUCLEAN && diag.n_errors > 0));
		assert_null(c);
		assert_true(n < 10000);
	}
}

static void test_comparison_is_whole_or_says_so(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag unused = {0};
	struct device_conf *confs[2];
	int r = -1;

	write_file(tree, "etc/ublk/a.conf", "[Backend]\nType=file\nPath=/dev/ublk/b\n");
	write_file(tree, "etc/ublk/b.conf", "[Backend]\nType=file\nPath=/dev/ublk/a\n");
	assert_int_equal(device_conf_load("a", &unused, &confs[0]), 0);
	assert_int_equal(device_conf_load("b", &unused, &confs[1]), 0);
	for (unsigned n = 1; r != 0; n++) {
		AUTO(conf_diag_deinit) struct conf_diag diag = {0};

		left = n;
		r = cross_check(&(struct cross_check){.confs = confs,
						      .n_confs = 2,
						      .n_subjects = 2,
						      .dev = tree,
						      .block = tree,
						      .mountinfo = "/nonexistent"},
				&diag);
		assert_true(r == 0 || r == -ENOMEM);
		if (r == 0)
			assert_int_equal(diag.n_errors, 2);
		if (left == 0)
			r = -ENOMEM;
		assert_true(n < 10000);
	}
	left = 0;
	device_conf_free(confs[0]);
	device_conf_free(confs[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_tree, remove_tree)
		TREE_TEST(test_right_definition_is_whole_or_not_there),
		TREE_TEST(test_change_is_whole_or_none),
		TREE_TEST(test_error_stays_an_error),
		TREE_TEST(test_comparison_is_whole_or_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
