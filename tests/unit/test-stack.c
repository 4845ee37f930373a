/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A /proc and a /sys in a directory, in which the numbers of devices are all that counts. /dev/null
 * stands for a node, as in test-holders.c.
 */
#include "state/stack.h"

#include "golden.h"
#include "tree-fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static char proc[80], sys[80];
static struct stack_ublk ublks[] = {{"data", 7, "/srv/disk.img"},
				    {"inner", 8, "/mnt/data/sub/inner.img"},
				    {"other", 9, "/mnt/database/other.img"}};

static int setup(void **state)
{
	strcpy(root, "/tmp/test-stack.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(proc, sizeof(proc), "%s/proc", root);
	snprintf(sys, sizeof(sys), "%s/sys", root);
	put_file("sys/class/block/ublkb7/dev", "259:7\n");
	put_file("sys/class/block/ublkb8/dev", "259:8\n");
	put_file("sys/class/block/ublkb9/dev", "259:9\n");
	put_file("proc/self/mountinfo", "");
	put_file("proc/swaps", "Filename Type Size Used Priority\n");
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static bool with_parts;

static void assert_stack(const char *name, const char *want)
{
	AUTO(stack_deinit) struct stack *st = &(struct stack){0};
	struct stack_source from = {.proc = proc,
				    .sys = sys,
				    .node_type = S_IFCHR,
				    .ublks = ublks,
				    .n_ublks = ARRAY_SIZE(ublks),
				    .parts = with_parts};
	char text[2048] = "";

	assert_int_equal(stack_find(&from, name, st), 0);
	for (size_t i = 0; i < st->n_steps; i++) {
		const struct stack_step *s = &st->steps[i];
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "%s %s [%s]\n", stack_verb(s->kind),
			 s->object, s->unit ?: "");
	}
	assert_string_equal(text, want);
}

static void test_alone(void **state)
{
	assert_stack("data", "stop ublk device data [ublk@data.service]\n");
}

static void test_unknown(void **state)
{
	AUTO(stack_deinit) struct stack *st = &(struct stack){0};
	struct stack_source from = {.proc = proc, .sys = sys, .node_type = S_IFCHR};

	assert_int_equal(stack_find(&from, "data", st), -ENODEV);
}

/* What lies below a mount goes before it, the later one first; a like name does not count. */
static void test_mounts(void **state)
{
	put_file("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
					"2 1 259:7 / /mnt/data rw - ext4 /dev/ublkb7 rw\n"
					"3 2 0:40 / /mnt/data/tmp\\040dir rw - tmpfs tmpfs rw\n"
					"4 1 0:41 / /mnt/database rw - tmpfs tmpfs rw\n"
					"5 1 259:7 /x /bind rw - ext4 /dev/ublkb7 rw\n");
	assert_stack("data", "unmount /bind [bind.mount]\n"
			     "unmount /mnt/data/tmp dir [mnt-data-tmp\\x20dir.mount]\n"
			     "stop ublk device inner [ublk@inner.service]\n"
			     "unmount /mnt/data [mnt-data.mount]\n"
			     "stop ublk device data [ublk@data.service]\n");
}

/* A device whose image lies on the file system goes first, with all that stands on it. */
static void test_image(void **state)
{
	put_file("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
					"2 1 259:7 / /mnt/data rw - ext4 /dev/ublkb7 rw\n"
					"3 1 259:8 / /inner rw - ext4 /dev/ublkb8 rw\n");
	put_file("proc/swaps", "Filename Type Size Used Priority\n"
			       "/mnt/data/swap\\040file file 1 0 -2\n/swap file 1 0 -3\n");
	put_file("sys/class/block/loop3/dev", "7:3\n");
	put_file("sys/class/block/loop3/loop/backing_file", "/inner/loop.img\n");
	assert_stack("data", "detach loop device loop3 []\n"
			     "unmount /inner [inner.mount]\n"
			     "stop ublk device inner [ublk@inner.service]\n"
			     "swap off /mnt/data/swap file [mnt-data-swap\\x20file.swap]\n"
			     "unmount /mnt/data [mnt-data.mount]\n"
			     "stop ublk device data [ublk@data.service]\n");
}

/* Partition, md, LUKS, LVM and a plain mapping, one upon the other; parts of a volume are left out. */
static void test_stacked(void **state)
{
	put_file("sys/class/block/ublkb7/ublkb7p1/dev", "259:70\n");
	put_file("sys/class/block/ublkb7/ublkb7p1/holders/md0", "");
	put_file("sys/class/block/md0/dev", "9:0\n");
	put_file("sys/class/block/md0/holders/dm-0", "");
	put_file("sys/class/block/dm-0/dev", "253:0\n");
	put_file("sys/class/block/dm-0/dm/name", "my-secret\n");
	put_file("sys/class/block/dm-0/dm/uuid", "CRYPT-LUKS2-0123-my-secret\n");
	put_file("sys/class/block/dm-0/holders/dm-1", "");
	put_file("sys/class/block/dm-1/dev", "253:1\n");
	put_file("sys/class/block/dm-1/dm/name", "vg-pool-tpool\n");
	put_file("sys/class/block/dm-1/dm/uuid",
		 "LVM-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-tpool\n");
	put_file("sys/class/block/dm-1/holders/dm-2", "");
	put_file("sys/class/block/dm-2/dev", "253:2\n");
	put_file("sys/class/block/dm-2/dm/name", "vg-thin\n");
	put_file("sys/class/block/dm-2/dm/uuid",
		 "LVM-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
	put_file("sys/class/block/dm-2/holders/dm-3", "");
	put_file("sys/class/block/dm-3/dev", "253:3\n");
	put_file("sys/class/block/dm-3/dm/name", "plain\n");
	put_file("proc/self/mountinfo", "2 1 253:3 / /top rw - ext4 /dev/mapper/plain rw\n");
	assert_stack("data",
		     "unmount /top [top.mount]\n"
		     "remove mapped device plain []\n"
		     "deactivate logical volume vg-thin []\n"
		     "close encrypted volume my-secret [systemd-cryptsetup@my\\x2dsecret.service]\n"
		     "stop array md0 []\n"
		     "stop ublk device data [ublk@data.service]\n");
	with_parts = true;
	assert_stack("data",
		     "unmount /top [top.mount]\n"
		     "remove mapped device plain []\n"
		     "deactivate logical volume vg-thin []\n"
		     "remove mapped device vg-pool-tpool []\n"
		     "close encrypted volume my-secret [systemd-cryptsetup@my\\x2dsecret.service]\n"
		     "stop array md0 []\n"
		     "stop ublk device data [ublk@data.service]\n");
	with_parts = false;
}

/* Two legs of an array are taken down once. */
static void test_array_of_two(void **state)
{
	put_file("sys/class/block/ublkb7/holders/md0", "");
	put_file("sys/class/block/ublkb7/ublkb7p1/dev", "259:70\n");
	put_file("sys/class/block/ublkb7/ublkb7p1/holders/md0", "");
	put_file("sys/class/block/md0/dev", "9:0\n");
	assert_stack("data", "stop array md0 []\nstop ublk device data [ublk@data.service]\n");
}

static void test_swap_on_node(void **state)
{
	struct stat st;
	char text[32];

	assert_int_equal(stat("/dev/null", &st), 0);
	snprintf(text, sizeof(text), "%u:%u\n", major(st.st_rdev), minor(st.st_rdev));
	put_file("sys/class/block/ublkb7/dev", text);
	put_file("proc/swaps", "Filename Type Size Used Priority\n/dev/null partition 1 0 -2\n"
			       "/dev/zero partition 1 0 -3\n");
	assert_stack("data", "swap off /dev/null [dev-null.swap]\n"
			     "stop ublk device data [ublk@data.service]\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mounts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_image, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stacked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_array_of_two, setup, teardown),
		cmocka_unit_test_setup_teardown(test_swap_on_node, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
