/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A /proc and a /sys in a directory. The nodes are character devices that are always there:
 * /dev/null stands for /dev/ublkb7, /dev/zero for its first partition.
 */
#include "state/holders.h"

#include "golden.h"
#include "tree-fixture.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define SELF 100

static struct holders_source source;

static void put_link(const char *relative, const char *target)
{
	char path[512];

	put_file(relative, "");
	snprintf(path, sizeof(path), "%s/%s", root, relative);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(target, path), 0);
}

static void put_dev(const char *relative, const char *node)
{
	struct stat st;
	char text[32];

	assert_int_equal(stat(node, &st), 0);
	snprintf(text, sizeof(text), "%u:%u\n", major(st.st_rdev), minor(st.st_rdev));
	put_file(relative, text);
}

static int setup(void **state)
{
	static char proc[80], sys[80];

	strcpy(root, "/tmp/test-holders.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(proc, sizeof(proc), "%s/proc", root);
	snprintf(sys, sizeof(sys), "%s/sys", root);
	source = (struct holders_source){
		.proc = proc, .sys = sys, .self = SELF, .node_type = S_IFCHR};
	put_dev("sys/class/block/ublkb7/dev", "/dev/null");
	put_dev("sys/class/block/ublkb7/ublkb7p1/dev", "/dev/zero");
	put_file("sys/class/block/ublkb7/queue/dev", "x");
	put_file("proc/self/mountinfo", "");
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void assert_holders(const char *want)
{
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};
	char text[1024];

	assert_int_equal(holders_find_in(&source, 7, h), 0);
	assert_string_equal(holders_to_string(h, text, sizeof(text)), want);
}

static void test_nobody(void **state)
{
	assert_holders("");
}

static void test_no_such_device(void **state)
{
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};

	assert_int_equal(holders_find_in(&source, 8, h), -ENODEV);
	assert_int_equal(holders_find_in(&source, 71, h), -ENODEV);
	put_file("sys/class/block/ublkb9/dev", "nonsense\n");
	assert_int_equal(holders_find_in(&source, 9, h), -ENODEV);
	assert_int_equal(h->n, 0);
}

/* The numbers of /dev/null and /dev/zero are 1:3 and 1:5 on every Linux. */
static void test_mounts(void **state)
{
	put_file(
		"proc/self/mountinfo",
		"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
		"23 22 1:3 / /srv/data rw - ext4 /dev/ublkb7 rw\n"
		"24 22 1:5 / /srv/with\\040space\\134x\\011y rw shared:1 master:2 - xfs /dev/x rw\n"
		"25 22 1:33 / /srv/other rw - ext4 /dev/y rw\n"
		"26 22 0:50 /sub /srv/btrfs rw - btrfs /dev/null rw\n"
		"27 22 0:51 / /proc rw - proc proc rw\n"
		"28 22 0:52 / /net rw - nfs4 /dev/../etc/passwd rw\n");
	assert_holders("mounted on /srv/data; mounted on /srv/with space\\x?y; "
		       "mounted on /srv/btrfs");
}

static void test_mount_of_another_namespace_counts_once(void **state)
{
	put_file("proc/self/mountinfo", "23 22 1:3 / /a rw - ext4 /dev/x rw\n");
	put_file("proc/1/mountinfo", "23 22 1:3 / /a rw - ext4 /dev/x rw\n"
				     "24 22 1:3 / /b rw - ext4 /dev/x rw\n");
	assert_holders("mounted on /a; mounted on /b");
}

static void test_odd_mountinfo(void **state)
{
	put_file("proc/self/mountinfo", "\n \n1\n1 2 3 4 5\n1 2 1:3\n1 2 1:3 /\n1 2 1:3 / /x\n"
					"1 2 1:3 / /short rw - t s\n1 2 1:3 / /cut rw -\n"
					"1 2 1:3x / /x rw - a b c\n1 2 :3 / /x rw - a b c\n"
					"1 2 1:3 / \\04 rw - t s\n1 2 1:3 / /end\\ rw - t s");
	assert_holders("mounted on /short; mounted on \\04; mounted on /end\\");
}

static void test_stacked_devices(void **state)
{
	put_file("sys/class/block/ublkb7/holders/dm-0/dm/name", "vg-data\n");
	put_file("sys/class/block/ublkb7/ublkb7p1/holders/md127/dev", "9:127\n");
	assert_holders("held by dm-0 (vg-data); held by md127");
}

static void test_loop_device(void **state)
{
	put_file("sys/class/block/loop0/loop/backing_file", "/dev/zero\n");
	put_file("sys/class/block/loop1/loop/backing_file", "/srv/null\n");
	put_file("sys/class/block/loop2/dev", "7:2\n");
	assert_holders("held by loop0");
}

static void test_swap(void **state)
{
	put_file("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
			       "/dev/null                               partition\t1\t0\t-2\n"
			       "/dev/full                               partition\t1\t0\t-2\n"
			       "/swap                                   file\t1\t0\t-2\n");
	assert_holders("swap on /dev/null");
}

static void test_processes(void **state)
{
	put_file("proc/812/comm", "qemu-system-x86\n");
	put_link("proc/812/fd/0", "/dev/full");
	put_link("proc/812/fd/31", "/dev/zero");
	put_link("proc/812/fd/32", "/dev/null");
	put_link("proc/813/fd/3", "/dev/null");
	put_file("proc/814/comm", "innocent\n");
	put_link("proc/814/fd/3", "/dev/full");
	put_link("proc/814/fd/4", "/no/such/file");
	put_file("proc/815/comm", "no fd directory\n");
	put_file("proc/100/comm", "ourselves\n");
	put_link("proc/100/fd/3", "/dev/null");
	put_link("proc/notapid/fd/3", "/dev/null");
	/* the order is the directory's */
	{
		AUTO(holders_deinit) struct holders *h = &(struct holders){0};
		char text[256];

		assert_int_equal(holders_find_in(&source, 7, h), 0);
		assert_int_equal(h->n, 2);
		holders_to_string(h, text, sizeof(text));
		assert_non_null(strstr(text, "open in qemu-system-x86 (pid 812)"));
		assert_non_null(strstr(text, "open in a process (pid 813)"));
	}
}

static void test_processes_can_be_left_out(void **state)
{
	put_file("proc/self/mountinfo", "23 22 1:3 / /a rw - ext4 /dev/x rw\n");
	put_link("proc/812/fd/3", "/dev/null");
	assert_holders("mounted on /a; open in a process (pid 812)");
	source.no_processes = true;
	assert_holders("mounted on /a");
}

static void test_kinds_have_names(void **state)
{
	assert_string_equal(holder_kind_to_string(HOLDER_MOUNT), "mount");
	assert_string_equal(holder_kind_to_string(HOLDER_SWAP), "swap");
	assert_string_equal(holder_kind_to_string(HOLDER_DEVICE), "device");
	assert_string_equal(holder_kind_to_string(HOLDER_PROCESS), "process");
}

static void test_number_of_another_kind_of_node_is_no_match(void **state)
{
	put_link("proc/812/fd/3", "/dev/null");
	put_file("proc/swaps", "/dev/null partition 1 0 -2\n");
	source.node_type = S_IFBLK;
	assert_holders("");
}

static void test_findings_are_replaced(void **state)
{
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};

	put_file("proc/self/mountinfo", "23 22 1:3 / /a rw - ext4 /dev/x rw\n");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(holders_find_in(&source, 7, h), 0);
		assert_int_equal(h->n, 1);
	}
	put_file("proc/self/mountinfo", "");
	assert_int_equal(holders_find_in(&source, 7, h), 0);
	assert_int_equal(h->n, 0);
}

static void test_long_lists_are_cut_at_a_holder(void **state)
{
	char mounts[4096] = "", text[128];
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};

	for (int i = 0; i < 20; i++)
		sprintf(mounts + strlen(mounts), "1 1 1:3 / /mnt/%02d rw - ext4 x rw\n", i);
	put_file("proc/self/mountinfo", mounts);
	assert_int_equal(holders_find_in(&source, 7, h), 0);
	assert_int_equal(h->n, 20);
	assert_string_equal(holders_to_string(h, text, 80),
			    "mounted on /mnt/00; mounted on /mnt/01; and 18 more");
	assert_string_equal(holders_to_string(h, text, 40), "20 more");
	for (size_t size = 1; size <= sizeof(text); size++) {
		memset(text, 'x', sizeof(text));
		holders_to_string(h, text, size);
		assert_true(strlen(text) < size);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nobody),
		TEST(test_no_such_device),
		TEST(test_mounts),
		TEST(test_mount_of_another_namespace_counts_once),
		TEST(test_odd_mountinfo),
		TEST(test_stacked_devices),
		TEST(test_loop_device),
		TEST(test_swap),
		TEST(test_processes),
		TEST(test_processes_can_be_left_out),
		TEST(test_kinds_have_names),
		TEST(test_number_of_another_kind_of_node_is_no_match),
		TEST(test_findings_are_replaced),
		TEST(test_long_lists_are_cut_at_a_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
