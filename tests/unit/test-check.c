/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkctl check, cat and show, as a script sees them: words, output, exit status. */
#include "conf-helper.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <sysexits.h>

#include "cli/cli.h"

static char *tree;

static int setup_tree(void **state)
{
	char path[512];

	tree = make_dir();
	snprintf(path, sizeof(path), "%s/etc/ublk:%s/usr/ublk", tree, tree);
	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nSerial=x\n[Backend]\nType=file\nPath=/nonexistent/a\n");
	write_file(tree, "usr/ublk/b.conf", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	return setenv("UBLKD_CONFIG_PATH", path, 1);
}

static int remove_tree(void **state)
{
	remove_dir(TAKE_PTR(tree));
	return 0;
}

/* Puts a file in the place of stdout or stderr; gives back what was there. */
static int redirect(FILE *stream, const char *name)
{
	AUTO_FREE char *path = NULL;
	int saved;

	assert_true(asprintf(&path, "%s/%s", tree, name) > 0);
	write_file(tree, name, "");
	fflush(stream);
	saved = fcntl(fileno(stream), F_DUPFD_CLOEXEC, 0);
	assert_true(saved >= 0);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(dup2(fd, fileno(stream)) >= 0);
	return saved;
}

static void restore(FILE *stream, int saved)
{
	fflush(stream);
	assert_true(dup2(saved, fileno(stream)) >= 0);
	close(saved);
}

/* What the command wrote, with @ for the directory. */
static char *slurp(const char *name)
{
	AUTO_FREE char *path = NULL;
	char *text = calloc(1, 1 << 16), *p;
	FILE *f;

	assert_non_null(text);
	assert_true(asprintf(&path, "%s/%s", tree, name) > 0);
	f = fopen(path, "re");
	assert_non_null(f);
	text[fread(text, 1, (1 << 16) - 1, f)] = '\0';
	fclose(f);
	while ((p = strstr(text, tree))) {
		*p = '@';
		memmove(p + 1, p + strlen(tree), strlen(p + strlen(tree)) + 1);
	}
	return text;
}

/* argv[0] is the command; NULL in expected: not compared. */
static void run(const char *const *argv, const struct cli *cli, int status, const char *out,
		const char *err)
{
	int (*cmd)(int argc, char **argv, const struct cli *cli) =
		strcmp(argv[0], "cat") == 0    ? cmd_cat
		: strcmp(argv[0], "show") == 0 ? cmd_show
					       : cmd_check;
	int saved_out = redirect(stdout, "out"), saved_err = redirect(stderr, "err");
	AUTO_FREE char *out_text = NULL, *err_text = NULL;
	int argc = 0, r;

	while (argv[argc])
		argc++;
	r = cmd(argc, (char **)argv, cli);
	restore(stdout, saved_out);
	restore(stderr, saved_err);
	out_text = slurp("out");
	err_text = slurp("err");
	if (err)
		assert_string_equal(err_text, err);
	if (out)
		assert_string_equal(out_text, out);
	assert_int_equal(r, status);
}

#define RUN(cli, status, out, err, ...)                                                            \
	run((const char *const[]){__VA_ARGS__, NULL}, &(cli), status, out, err)

static const struct cli plain = {0}, quiet = {.no_legend = true}, json = {.json = true};

/* The array that the last command printed, to be put. */
static struct json_object *parse_list(size_t length)
{
	AUTO_FREE char *out = slurp("out");
	struct json_object *list = json_tokener_parse(out);

	assert_true(json_object_is_type(list, json_type_array));
	assert_int_equal(json_object_array_length(list), length);
	return list;
}

static void assert_member(struct json_object *o, const char *name, const char *value)
{
	struct json_object *member = NULL;

	assert_true(json_object_object_get_ex(o, name, &member));
	if (value)
		assert_string_equal(json_object_get_string(member), value);
	else
		assert_null(member);
}

static void test_all_is_right(void **state)
{
	RUN(plain, 0, "2 definitions, no errors, 0 warnings\n", "", "check");
	RUN(quiet, 0, "", "", "check");
	RUN(plain, 0, "1 definition, no errors, 0 warnings\n", "", "check", "a");
	RUN(plain, 0, "2 definitions, no errors, 0 warnings\n", "", "check", "a", "b", "a");
	RUN(json, 0, NULL, "", "check");
	json_object_put(parse_list(0));
}

static void test_name_is_compared_with_all_others(void **state)
{
	write_file(tree, "usr/ublk/b.conf", "[Device]\nSize=1G\nSerial=x\n[Backend]\nType=null\n");
	/* What is wrong with c alone is of no interest here. */
	write_file(tree, "usr/ublk/c.conf", "garbage\n");
	RUN(plain, EX_CONFIG, "",
	    "@/etc/ublk/a.conf:2: [Device] Serial=: x is the serial of b as well "
	    "(@/usr/ublk/b.conf:3)\n",
	    "check", "a");
}

static void test_file_may_be_the_next_version(void **state)
{
	AUTO_FREE char *path = NULL;

	assert_true(asprintf(&path, "%s/.ansible_tmp7x", tree) > 0);
	write_file(tree, ".ansible_tmp7x",
		   "[Device]\nSerial=x\n[Backend]\nType=file\nPath=/nonexistent/a\n");
	RUN(plain, 0, "1 definition, no errors, 0 warnings\n", "", "check", path);
	write_file(tree, ".ansible_tmp7x", "[Device]\nSerial=x y\n[Backend]\nTyp=file\n");
	RUN(plain, EX_CONFIG, "",
	    "@/.ansible_tmp7x:2: [Device] Serial=: \"x y\" has more than letters, digits and "
	    "_.:-, or starts with one that only may follow\n"
	    "@/.ansible_tmp7x:4: [Backend] Typ=: unknown key, did you mean Type=?\n"
	    "@/.ansible_tmp7x: [Backend] Type=: is required\n",
	    "check", path);
}

static void test_words_that_are_none(void **state)
{
	link_file(tree, "etc/ublk/m.conf", "/dev/null");
	RUN(plain, EX_CONFIG, "", "there is no definition nope.conf in @/etc/ublk:@/usr/ublk\n",
	    "check", "nope");
	RUN(plain, EX_CONFIG, "", "\"Nope\" is no name for a device\n", "check", "Nope");
	RUN(plain, EX_CONFIG, "", "\"\" is no name for a device\n", "check", "");
	RUN(plain, EX_CONFIG, "", "/nonexistent/x: cannot be read: No such file or directory\n",
	    "check", "/nonexistent/x");
	RUN(plain, EX_CONFIG, "", "/dev/zero: is not a regular file\n", "check", "/dev/zero");
	RUN(plain, 0, "0 definitions, no errors, 1 warning\n",
	    "warning: m is masked: it cannot be started\n", "check", "m");
	RUN(plain, 0, "2 definitions, no errors, 0 warnings\n", "", "check");
}

static void test_defaults_are_checked_even_without_definitions(void **state)
{
	write_file(tree, "etc/ublkd.conf", "[Defaults]\nDepth=no\n");
	RUN(plain, EX_CONFIG, "", "@/etc/ublkd.conf:2: [Defaults] Depth=: \"no\" is not a number\n",
	    "check");
	RUN(plain, EX_CONFIG, "", "@/etc/ublkd.conf:2: [Defaults] Depth=: \"no\" is not a number\n",
	    "check", "a");
}

static void test_json_has_every_part(void **state)
{
	struct json_object *list, *o;

	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nReadOnly=yes\nSize=1G\n[Backend]\nType=file\nPath=/nonexistent/a\n"
		   "Create=sparse\n");
	write_file(tree, "usr/ublk/b.conf", "[Backend]\nType=null\n\"\n");
	RUN(json, EX_CONFIG, NULL, "", "check");
	list = parse_list(3);
	o = json_object_array_get_idx(list, 0);
	assert_member(o, "file", "@/etc/ublk/a.conf");
	assert_member(o, "line", "7");
	assert_member(o, "section", "Backend");
	assert_member(o, "key", "Create");
	assert_member(o, "severity", "warning");
	assert_member(o, "message", "makes nothing for a device with ReadOnly=yes");
	o = json_object_array_get_idx(list, 1);
	assert_member(o, "line", "3");
	assert_member(o, "key", NULL);
	assert_member(o, "severity", "error");
	assert_member(o, "message", "not a line \"Key=Value\": \"\"\"");
	o = json_object_array_get_idx(list, 2);
	assert_member(o, "line", NULL);
	assert_member(o, "key", "Size");
	json_object_put(list);
}

static void test_cat_shows_what_is_merged(void **state)
{
	struct json_object *list;

	write_file(tree, "etc/ublkd.conf", "[Log]\nLevel=debug\n");
	write_file(tree, "usr/ublk/a.conf", "hidden\n");
	write_file(tree, "usr/ublk/a.conf.d/10.conf", "[Queues]\nDepth=1");
	write_file(tree, "usr/ublk/a.conf.d/20.conf", "hidden\n");
	link_file(tree, "etc/ublk/a.conf.d/20.conf", "/dev/null");
	RUN(plain, 0,
	    "# @/etc/ublkd.conf\n[Log]\nLevel=debug\n\n"
	    "# @/etc/ublk/a.conf\n[Device]\nSerial=x\n[Backend]\nType=file\nPath=/nonexistent/a\n\n"
	    "# @/usr/ublk/a.conf.d/10.conf\n[Queues]\nDepth=1\n\n",
	    "", "cat", "a");
	RUN(json, 0, NULL, "", "cat", "b");
	list = parse_list(2);
	assert_member(json_object_array_get_idx(list, 0), "file", "@/etc/ublkd.conf");
	assert_member(json_object_array_get_idx(list, 0), "content", "[Log]\nLevel=debug\n");
	assert_member(json_object_array_get_idx(list, 1), "file", "@/usr/ublk/b.conf");
	assert_member(json_object_array_get_idx(list, 1), "content",
		      "[Device]\nSize=1G\n[Backend]\nType=null\n");
	json_object_put(list);
}

static void test_show_has_every_value(void **state)
{
	struct json_object *o, *section;
	AUTO_FREE char *text = NULL;

	write_file(tree, "etc/ublkd.conf", "[Defaults]\nDepth=7\n");
	write_file(tree, "usr/ublk/b.conf.d/x.conf",
		   "[Device]\nDescription=A \"\\\"\n[Fault]\nReadErrors=5%\n");
	RUN(json, 0, NULL,
	    "@/usr/ublk/b.conf.d/x.conf:3: [Fault] warning: this device fails on purpose, and may "
	    "lose what is written to it\n",
	    "show", "b");
	text = slurp("out");
	o = json_tokener_parse(text);
	assert_non_null(o);
	assert_int_equal(json_object_object_length(o), 8);
	assert_true(json_object_object_get_ex(o, "Device", &section));
	assert_member(section, "Size", "1G");
	assert_member(section, "Description", "A \"\\\"");
	assert_true(json_object_object_get_ex(o, "Queues", &section));
	assert_member(section, "Depth", "7");
	assert_true(json_object_object_get_ex(o, "Backend", &section));
	assert_member(section, "Type", "null");
	assert_true(json_object_object_get_ex(o, "Fault", &section));
	assert_member(section, "ReadErrors", "5%");
	json_object_put(o);

	RUN(plain, 0,
	    "[Device]\nReadOnly=no\nRotational=no\nSerial=x\n\n"
	    "[Backend]\nType=file\nPath=/nonexistent/a\nCreate=no\nDirectIO=auto\n\n"
	    "[Queues]\nCount=auto\nDepth=7\nMaxIO=auto\nCopyMode=auto\nBatchIO=auto\n"
	    "BufferMemory=1G\nPollMicroseconds=0\n\n"
	    "[Recovery]\nMode=reissue\nOnGiveUp=keep\n\n"
	    "[Limits]\nReadBandwidth=0\nWriteBandwidth=0\nReadIOPS=0\nWriteIOPS=0\n\n"
	    "[Boot]\nAutostart=yes\nManager=no\n\n[Udev]\nWatch=yes\n",
	    "", "show", "a");
}

static void test_show_of_what_has_no_values(void **state)
{
	RUN(plain, EX_USAGE, "", "usage: ublkctl show NAME\n", "show");
	RUN(plain, EX_USAGE, "", "ublkctl: \"A\" is no name for a device\n", "show", "A");
	RUN(json, EX_CONFIG, "",
	    "ublkctl: there is no definition c.conf in @/etc/ublk:@/usr/ublk\n", "show", "c");
	write_file(tree, "etc/ublk/b.conf", "");
	RUN(plain, EX_CONFIG, "", "ublkctl: b is masked: it has no values\n", "show", "b");
	write_file(tree, "etc/ublk/b.conf", "[Backend]\nType=null\n");
	RUN(plain, EX_CONFIG, "", "@/etc/ublk/b.conf: [Device] Size=: is required with Type=null\n",
	    "show", "b");
}

static void test_cat_of_what_is_not_there(void **state)
{
	RUN(plain, EX_USAGE, "", "usage: ublkctl cat NAME\n", "cat");
	RUN(plain, EX_USAGE, "", "usage: ublkctl cat NAME\n", "cat", "a", "b");
	RUN(plain, EX_USAGE, "", "ublkctl: \"../a\" is no name for a device\n", "cat", "../a");
	RUN(plain, EX_CONFIG, "",
	    "ublkctl: there is no definition c.conf in @/etc/ublk:@/usr/ublk\n", "cat", "c");
	write_file(tree, "etc/ublk/b.conf", "");
	RUN(plain, 0, "", "ublkctl: b: masked by @/etc/ublk/b.conf\n", "cat", "b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_tree, remove_tree)
		TREE_TEST(test_all_is_right),
		TREE_TEST(test_name_is_compared_with_all_others),
		TREE_TEST(test_file_may_be_the_next_version),
		TREE_TEST(test_words_that_are_none),
		TREE_TEST(test_defaults_are_checked_even_without_definitions),
		TREE_TEST(test_json_has_every_part),
		TREE_TEST(test_cat_shows_what_is_merged),
		TREE_TEST(test_cat_of_what_is_not_there),
		TREE_TEST(test_show_has_every_value),
		TREE_TEST(test_show_of_what_has_no_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
