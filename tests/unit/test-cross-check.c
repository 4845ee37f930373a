/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Definitions against each other, on a machine made of files. */
#include "conf-helper.h"

#include "conf/cross-check.h"
#include "conf/search.h"
#include "util/mounts.h"

static char *tree; /* etc/ublk, dev, block, mountinfo, data */

static int setup_tree(void **state)
{
	char path[512];

	tree = make_dir();
	snprintf(path, sizeof(path), "%s/etc/ublk", tree);
	return setenv("UBLKD_CONFIG_PATH", path, 1);
}

static int remove_tree(void **state)
{
	remove_dir(TAKE_PTR(tree));
	return 0;
}

/* A definition; the tree takes the place of an @. */
static void define(const char *name, const char *text)
{
	AUTO_FREE char *file = NULL, *full = NULL;
	const char *at = strchr(text, '@');

	assert_true(asprintf(&file, "etc/ublk/%s.conf", name) > 0);
	if (at)
		assert_true(asprintf(&full, "%.*s%s%s", (int)(at - text), text, tree, at + 1) > 0);
	write_file(tree, file, at ? full : text);
}

static void mount_info(const char *target, const char *source)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/mountinfo", tree);
	f = fopen(path, "ae");
	assert_non_null(f);
	fprintf(f, "36 1 98:0 / %s%s rw,noatime shared:1 - ext4 %s rw\n", *target ? tree : "/",
		target, source);
	assert_int_equal(fclose(f), 0);
}

/* Checks all definitions; messages are about the first n_subjects, 0: about all. */
static void check(size_t n_subjects, const char *expected)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_strv_free) char **names = NULL;
	char mountinfo[512], dev[512], block[512];
	struct device_conf *confs[16] = {NULL};
	size_t n = 0;

	snprintf(mountinfo, sizeof(mountinfo), "%s/mountinfo", tree);
	snprintf(dev, sizeof(dev), "%s/dev", tree);
	snprintf(block, sizeof(block), "%s/block", tree);
	assert_int_equal(device_conf_list(&diag, &names), 0);
	for (; names[n]; n++) {
		assert_in_range(n, 0, ARRAY_SIZE(confs) - 1);
		assert_int_equal(device_conf_load(names[n], &diag, &confs[n]), 0);
	}
	assert_int_equal(diag.n_messages, 0);
	assert_int_equal(
		cross_check(&(struct cross_check){.confs = confs,
						  .n_confs = n,
						  .n_subjects = n_subjects ? n_subjects : n,
						  .mountinfo = mountinfo,
						  .dev = dev,
						  .block = block},
			    &diag),
		0);
	assert_diag(&diag, tree, expected);
	for (size_t i = 0; i < n; i++)
		device_conf_free(confs[i]);
}

static void test_nothing_to_say(void **state)
{
	define("a", "[Device]\nSerial=1\n[Backend]\nType=file\nPath=@/data/a\n");
	define("b", "[Device]\nSerial=2\n[Backend]\nType=file\nPath=@/data/b\n");
	define("c", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	define("d", "[Device]\nSize=1G\n[Backend]\nType=memory\n");
	check(0, "");
}

static void test_serial_is_there_once(void **state)
{
	define("a", "[Device]\nSize=1G\nSerial=x\n[Backend]\nType=null\n");
	define("b", "[Device]\nSerial=x\nSize=1G\n[Backend]\nType=null\n");
	define("c", "[Device]\nSize=1G\nSerial=x\n[Backend]\nType=null\n");
	check(0, "/etc/ublk/b.conf:2: [Device] Serial=: x is the serial of a as well "
		 "(/etc/ublk/a.conf:3)\n"
		 "/etc/ublk/c.conf:3: [Device] Serial=: x is the serial of a as well "
		 "(/etc/ublk/a.conf:3)\n"
		 "/etc/ublk/c.conf:3: [Device] Serial=: x is the serial of b as well "
		 "(/etc/ublk/b.conf:2)\n");
	/* The same from the view of the first one alone. */
	check(1, "/etc/ublk/a.conf:3: [Device] Serial=: x is the serial of b as well "
		 "(/etc/ublk/b.conf:2)\n"
		 "/etc/ublk/a.conf:3: [Device] Serial=: x is the serial of c as well "
		 "(/etc/ublk/c.conf:3)\n");
}

static void test_backing_file_has_one_writer(void **state)
{
	char from[512], to[512];

	/* One file under four names: itself, by a link of either kind, by a linked directory. */
	write_file(tree, "data/real", "x");
	link_file(tree, "data/soft", "real");
	link_file(tree, "linked", "data");
	snprintf(from, sizeof(from), "%s/data/real", tree);
	snprintf(to, sizeof(to), "%s/data/hard", tree);
	assert_int_equal(link(from, to), 0);

	define("a", "[Backend]\nType=file\nPath=@/data/real\n");
	define("b", "[Backend]\nType=file\nPath=@/data/hard\n");
	check(0, "/etc/ublk/b.conf:3: [Backend] Path=: /data/hard backs a as well "
		 "(/etc/ublk/a.conf:3)\n");
	define("b", "[Backend]\nType=file\nPath=@/data/soft\n");
	check(0, "/etc/ublk/b.conf:3: [Backend] Path=: /data/soft backs a as well "
		 "(/etc/ublk/a.conf:3)\n");
	define("b", "[Backend]\nType=file\nPath=@/linked/real\n");
	check(0, "/etc/ublk/b.conf:3: [Backend] Path=: /linked/real backs a as well "
		 "(/etc/ublk/a.conf:3)\n");

	define("a", "[Device]\nReadOnly=yes\n[Backend]\nType=file\nPath=@/data/real\n");
	check(0, "/etc/ublk/b.conf:3: [Backend] Path=: /linked/real backs a as well "
		 "(/etc/ublk/a.conf:5): with a writer it can have no reader\n");
	define("b", "[Device]\nReadOnly=yes\n[Backend]\nType=file\nPath=@/linked/real\n");
	check(0, "");
}

static void test_file_that_is_not_there_yet_has_one_writer(void **state)
{
	write_file(tree, "data/x", "");
	link_file(tree, "linked", "data");
	define("a", "[Backend]\nType=file\nPath=@/linked/sub/new\n");
	define("b", "[Backend]\nType=file\nPath=@/data/sub//new\n");
	define("c", "[Backend]\nType=file\nPath=@/data/sub/newer\n");
	check(0, "/etc/ublk/b.conf:3: [Backend] Path=: /data/sub/new backs a as well "
		 "(/etc/ublk/a.conf:3)\n");
}

static void test_file_lies_on_its_own_device(void **state)
{
	static const char *const sources[] = {
		"/dev/ublk/a",
		"/dev/ublk/a-part2",
		"/dev/disk/by-id/ublk-a",
		"/dev/disk/by-id/ublk-a-part1",
		"/dev/ublkb3",
		"/dev/ublkb3p1",
	};
	static const char *const others[] = {
		"/dev/ublk/ab", "/dev/ublkb31", "/dev/ublkb3p",
		"/dev/sda1",    "tmpfs",        "/dev/ublk/a-partx",
	};

	define("a", "[Backend]\nType=file\nPath=@/data/dir/x.img\n");
	link_file(tree, "dev/ublk/a", "../ublkb3");
	write_file(tree, "dev/ublkb3", "");
	write_file(tree, "data/dir/x.img", "");
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		write_file(tree, "mountinfo", "");
		mount_info("", "/dev/sda1");
		mount_info("/data", sources[i]);
		check(0, "/etc/ublk/a.conf:3: [Backend] Path=: /data/dir/x.img is on the file "
			 "system of /data, which lies on this very device\n");
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		write_file(tree, "mountinfo", "");
		mount_info("/data", others[i]);
		check(0, "");
	}
	/* Something else lies over it, or it is beside it. */
	write_file(tree, "mountinfo", "");
	mount_info("/data", "/dev/ublkb3");
	mount_info("/data", "/dev/sda1");
	mount_info("/data/dir/x", "/dev/ublkb3");
	check(0, "");
}

static void test_file_is_its_own_device(void **state)
{
	define("a", "[Backend]\nType=file\nPath=/dev/ublk/a\n");
	check(0, "/etc/ublk/a.conf:3: [Backend] Path=: /dev/ublk/a is this very device\n");
}

static void test_file_lies_below_device_mapper(void **state)
{
	define("a", "[Backend]\nType=file\nPath=@/data/x.img\n");
	link_file(tree, "dev/ublk/a", "../ublkb0");
	write_file(tree, "dev/ublkb0", "");
	link_file(tree, "dev/mapper/vg-lv", "../dm-1");
	write_file(tree, "dev/dm-1", "");
	write_file(tree, "block/dm-1/slaves/dm-0/x", "");
	write_file(tree, "block/dm-0/slaves/sda1/x", "");
	mount_info("/data", "/dev/mapper/vg-lv");
	check(0, "");
	write_file(tree, "block/dm-0/slaves/ublkb0p2/x", "");
	check(0, "/etc/ublk/a.conf:3: [Backend] Path=: /data/x.img is on the file system of "
		 "/data, which lies on this very device\n");
	/* A loop that no kernel would make ends all the same. */
	write_file(tree, "block/dm-0/slaves/dm-1/x", "");
	check(0, "/etc/ublk/a.conf:3: [Backend] Path=: /data/x.img is on the file system of "
		 "/data, which lies on this very device\n");
}

static void test_devices_need_each_other(void **state)
{
	define("a", "[Backend]\nType=file\nPath=/dev/ublk/b\n");
	define("b", "[Backend]\nType=file\nPath=@/data/x.img\n");
	define("c", "[Backend]\nType=file\nPath=/dev/disk/by-id/ublk-a-part1\n");
	/* d needs the loop, without being in it. */
	define("d", "[Backend]\nType=file\nPath=/dev/ublk/c\n");
	check(0, "");
	mount_info("/data", "/dev/ublk/c");
	check(0, "/etc/ublk/a.conf:3: [Backend] Path=: /dev/ublk/b needs the device b, which "
		 "needs c, which needs a again: none of them could start\n"
		 "/etc/ublk/b.conf:3: [Backend] Path=: /data/x.img needs the device c, which "
		 "needs a, which needs b again: none of them could start\n"
		 "/etc/ublk/c.conf:3: [Backend] Path=: /dev/disk/by-id/ublk-a-part1 needs the "
		 "device a, which needs b, which needs c again: none of them could start\n");
}

static void test_name_that_looks_like_a_partition(void **state)
{
	define("a", "[Backend]\nType=file\nPath=/dev/ublk/a-part1\n");
	define("a-part1", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	check(0, "");
}

static void test_mounts_are_found_by_path(void **state)
{
	AUTO_FREE char *path = NULL;
	struct mounts m = {0};

	write_file(tree, "mountinfo",
		   "1 0 8:1 / / rw - ext4 /dev/root rw\n"
		   "2 1 8:2 / /a\\040b\\134 rw shared:1 master:2 - xfs /dev/a\\040b rw\n"
		   "3 1 0:5 / /proc rw - proc proc rw\n"
		   "4 1 8:3 / /srv rw -\n" /* cut off */
		   "garbage\n"
		   "\n"
		   "5 1 8:4 /sub /srv/x rw - ext4 /dev/bind rw\n");
	assert_true(asprintf(&path, "%s/mountinfo", tree) > 0);
	assert_int_equal(mounts_read(path, &m), 0);
	assert_int_equal(m.n_mounts, 4);
	assert_string_equal(mounts_find(&m, "/")->source, "/dev/root");
	assert_string_equal(mounts_find(&m, "/a b\\/c")->source, "/dev/a b");
	assert_string_equal(mounts_find(&m, "/a b\\")->source, "/dev/a b");
	assert_string_equal(mounts_find(&m, "/a b\\c")->source, "/dev/root");
	assert_string_equal(mounts_find(&m, "/srv/x/y")->source, "/dev/bind");
	assert_string_equal(mounts_find(&m, "/srv/xy")->source, "/dev/root");
	mounts_deinit(&m);
	assert_int_equal(mounts_read("/nonexistent", &m), -ENOENT);
	assert_null(mounts_find(&m, "/"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_tree, remove_tree)
		TREE_TEST(test_nothing_to_say),
		TREE_TEST(test_serial_is_there_once),
		TREE_TEST(test_backing_file_has_one_writer),
		TREE_TEST(test_file_that_is_not_there_yet_has_one_writer),
		TREE_TEST(test_file_lies_on_its_own_device),
		TREE_TEST(test_file_is_its_own_device),
		TREE_TEST(test_file_lies_below_device_mapper),
		TREE_TEST(test_devices_need_each_other),
		TREE_TEST(test_name_that_looks_like_a_partition),
		TREE_TEST(test_mounts_are_found_by_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
