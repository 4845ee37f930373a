/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices of a kernel that is a table here, below a /sys, a /run/ublkd and an /etc/ublk of our own. */
#include "cli/survey.h"

#include "golden.h"
#include "ring/ctrl.h"
#include "tree-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char sys_dir[80];

/* The control ring, as far as a survey uses it. */
static int fake_open_result;
static int fake_info_result;
static struct dev_info fake_infos[8];
static size_t n_fake_infos;
static int n_fake_open;

struct ctrl {
	int unused;
};
static struct ctrl fake_ctrl;

int ctrl_open(struct ctrl **ret)
{
	if (fake_open_result < 0)
		return fake_open_result;
	n_fake_open++;
	*ret = &fake_ctrl;
	return 0;
}

struct ctrl *ctrl_close(struct ctrl *c)
{
	assert_ptr_equal(c, &fake_ctrl);
	n_fake_open--;
	return NULL;
}

int ctrl_get_dev_info(struct ctrl *c, uint32_t dev_id, struct dev_info *ret_info)
{
	assert_ptr_equal(c, &fake_ctrl);
	if (fake_info_result < 0)
		return fake_info_result;
	for (size_t i = 0; i < n_fake_infos; i++) {
		if (fake_infos[i].dev_id == dev_id) {
			*ret_info = fake_infos[i];
			return 0;
		}
	}
	return -ENODEV;
}

static int setup(void **state)
{
	char path[80];

	strcpy(root, "/tmp/test-survey.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(sys_dir, sizeof(sys_dir), "%s/sys", root);
	snprintf(path, sizeof(path), "%s/run", root);
	setenv("UBLKD_STATE_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/ublk", root);
	setenv("UBLKD_CONFIG_PATH", path, 1);
	mkdir(path, 0755);
	fake_open_result = fake_info_result = 0;
	n_fake_infos = 0;
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	assert_int_equal(n_fake_open, 0);
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

/* A device in the kernel; with a name, one with the mark of that name. */
static void add_kernel(uint32_t dev_id, enum dev_state dev_state, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "sys/class/ublk-char/ublkc%u/dev", dev_id);
	put_file(path, "");
	fake_infos[n_fake_infos++] = (struct dev_info){
		.dev_id = dev_id,
		.state = dev_state,
		.server_pid = dev_state == DEV_LIVE ? 4711 : -1,
		.cookie = name ? state_cookie(name) : 0,
	};
}

/* What a server of that name left; returns its lock. */
static int add_state(const char *name, uint32_t dev_id, bool this_boot)
{
	struct state s = {
		.dev_id = dev_id,
		.boot_id = "00000000000000000000000000000000",
		.cookie = state_cookie(name),
		.pid = getpid(),
	};
	char backend[] = "file";
	int fd;

	s.backend = backend;
	if (this_boot)
		assert_int_equal(state_boot_id(s.boot_id), 0);
	assert_int_equal(state_lock(name, &fd), 0);
	assert_int_equal(state_write(name, &s), 0);
	return fd;
}

static void take(struct survey *s, size_t n)
{
	assert_int_equal(survey_take(sys_dir, s), 0);
	assert_int_equal(s->n, n);
}

static void test_nothing(void **state)
{
	struct survey s;

	fake_open_result = -ENOENT; /* need not be opened, so is no error */
	take(&s, 0);
	assert_int_equal(s.ctrl_error, 0);
	survey_deinit(&s);
}

static void test_foreign_device(void **state)
{
	struct survey s;

	add_kernel(3, DEV_LIVE, NULL);
	put_file("sys/class/ublk-char/junk", "");
	take(&s, 1);
	assert_null(s.devices[0].name);
	assert_int_equal(s.devices[0].dev_id, 3);
	assert_false(s.devices[0].has_disk);
	assert_string_equal(survey_state(&s.devices[0]), "live");
	assert_int_equal(survey_server(&s.devices[0]), 4711);
	survey_deinit(&s);
}

static void test_live_device_is_one(void **state)
{
	AUTO_CLOSE int fd = -1;
	struct survey s;

	fd = add_state("data", 3, true); /* the lock, until the end */
	add_kernel(3, DEV_LIVE, "data");
	put_file("ublk/data.conf", "[Device]\nSize=1G\n[Backend]\nType=memory\n");
	take(&s, 1);
	assert_string_equal(s.devices[0].name, "data");
	assert_true(s.devices[0].has_dev);
	assert_true(s.devices[0].has_state);
	assert_int_equal(s.devices[0].definition, DEFINITION_GOOD);
	assert_string_equal(s.devices[0].state.backend, "file");
	assert_string_equal(survey_state(&s.devices[0]), "live");
	assert_int_equal(survey_server(&s.devices[0]), getpid());
	survey_deinit(&s);
}

static void test_id_that_is_somebody_elses_by_now(void **state)
{
	struct survey s;

	add_kernel(3, DEV_LIVE, NULL);
	close(add_state("data", 3, true));
	take(&s, 2);
	assert_string_equal(s.devices[0].name, "data");
	assert_false(s.devices[0].has_dev);
	assert_string_equal(survey_state(&s.devices[0]), "stopped");
	assert_null(s.devices[1].name);
	assert_int_equal(s.devices[1].dev_id, 3);
	survey_deinit(&s);
}

static void test_two_states_of_one_id(void **state)
{
	struct survey s;

	fake_info_result = -EPERM; /* the marks cannot be compared */
	add_kernel(3, DEV_LIVE, "a");
	close(add_state("a", 3, true));
	close(add_state("b", 3, true));
	take(&s, 2);
	assert_string_equal(s.devices[0].name, "a");
	assert_true(s.devices[0].has_dev);
	assert_string_equal(s.devices[1].name, "b");
	assert_false(s.devices[1].has_dev);
	survey_deinit(&s);
}

static void test_state_of_another_boot(void **state)
{
	struct survey s;

	add_kernel(3, DEV_LIVE, NULL);
	close(add_state("data", 3, false));
	take(&s, 2);
	assert_false(s.devices[0].has_state);
	assert_false(s.devices[0].has_dev);
	survey_deinit(&s);
}

static void test_device_that_run_has_forgotten(void **state)
{
	struct survey s;

	add_kernel(3, DEV_LIVE, NULL);
	add_kernel(5, DEV_QUIESCED, "data");
	put_file("ublk/data.conf", "[Device]\nSize=1G\n[Backend]\nType=memory\n");
	take(&s, 2);
	assert_string_equal(s.devices[0].name, "data");
	assert_int_equal(s.devices[0].dev_id, 5);
	assert_string_equal(survey_state(&s.devices[0]), "quiesced");
	assert_int_equal(survey_server(&s.devices[0]), 0);
	survey_deinit(&s);
}

static void test_server_that_is_at_work(void **state)
{
	AUTO_CLOSE int early = -1, late = -1;
	struct survey s;

	assert_int_equal(state_lock("early", &early), 0);
	late = add_state("late", 4, true);
	add_kernel(4, DEV_DEAD, "late");
	take(&s, 2);
	assert_string_equal(survey_state(&s.devices[0]), "starting");
	assert_string_equal(survey_state(&s.devices[1]), "starting");
	survey_deinit(&s);
}

static void test_states_without_a_device(void **state)
{
	struct survey s;

	put_file("ublk/bad.conf", "[Device]\nSize=1X\n");
	put_file("ublk/good.conf", "[Device]\nSize=1G\n[Backend]\nType=memory\n");
	put_file("ublk/masked.conf", "");
	take(&s, 3);
	assert_string_equal(s.devices[0].name, "bad");
	assert_string_equal(survey_state(&s.devices[0]), "invalid");
	assert_string_equal(s.devices[1].name, "good");
	assert_string_equal(survey_state(&s.devices[1]), "stopped");
	assert_string_equal(s.devices[2].name, "masked");
	assert_string_equal(survey_state(&s.devices[2]), "masked");
	survey_deinit(&s);
}

static void test_without_permission(void **state)
{
	struct survey s;

	add_kernel(3, DEV_LIVE, "data");
	close(add_state("data", 3, true));
	fake_open_result = -EACCES;
	take(&s, 1);
	assert_int_equal(s.ctrl_error, -EACCES);
	assert_string_equal(s.devices[0].name, "data"); /* by the id alone */
	assert_string_equal(survey_state(&s.devices[0]), "unknown");
	survey_deinit(&s);
}

static void test_device_deleted_meanwhile(void **state)
{
	struct survey s;

	put_file("sys/class/ublk-char/ublkc9/dev", "");
	take(&s, 0);
	survey_deinit(&s);
}

static void test_disk_as_sysfs_shows_it(void **state)
{
	const struct survey_disk *k;
	struct survey s;

	add_kernel(3, DEV_LIVE, NULL);
	put_file("sys/class/block/ublkb3/size", "2097152\n");
	put_file("sys/class/block/ublkb3/ro", "1\n");
	put_file("sys/class/block/ublkb3/queue/logical_block_size", "512\n");
	put_file("sys/class/block/ublkb3/queue/physical_block_size", "4096\n");
	put_file("sys/class/block/ublkb3/queue/max_hw_sectors_kb", "512\n");
	put_file("sys/class/block/ublkb3/queue/write_cache", "write back\n");
	put_file("sys/class/block/ublkb3/queue/fua", "0\n");
	put_file("sys/class/block/ublkb3/queue/discard_max_bytes", "nonsense\n");
	take(&s, 1);
	k = &s.devices[0].disk;
	assert_true(s.devices[0].has_disk);
	assert_true(k->size_bytes == 1 << 30);
	assert_int_equal(k->logical_block_bytes, 512);
	assert_int_equal(k->physical_block_bytes, 4096);
	assert_int_equal(k->max_io_bytes, 512 << 10);
	assert_int_equal(k->max_discard_bytes, 0);
	assert_true(k->read_only && k->write_cache);
	assert_false(k->fua || k->rotational);
	survey_deinit(&s);
}

static void test_find(void **state)
{
	const struct {
		const char *word;
		int64_t dev_id; /* -1: not found */
	} cases[] = {
		{"data", 3},        {"/dev/ublk/data", 3},
		{"ublkb3", 3},      {"ublkc3", 3},
		{"/dev/ublkb3", 3}, {"3", 3},
		{"5", 7}, /* a name goes first */
		{"ublkb5", 5},      {"/dev/ublkb5", 5},
		{"7", 7},           {"/dev/ublk/7", -1},
		{"", -1},           {"ublkb", -1},
		{"8", -1},          {"ublkb3p1", -1},
		{"/dev/", -1},      {"-1", -1},
		{"dat", -1},
	};
	struct survey s;

	add_kernel(3, DEV_LIVE, "data");
	add_kernel(5, DEV_LIVE, NULL);
	add_kernel(7, DEV_LIVE, "5");
	close(add_state("data", 3, true));
	close(add_state("5", 7, true));
	take(&s, 3);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct survey_device *d = survey_find(&s, cases[i].word);

		assert_int_equal(d ? (int64_t)d->dev_id : -1, cases[i].dev_id);
	}
	survey_deinit(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_foreign_device),
		TEST(test_live_device_is_one),
		TEST(test_id_that_is_somebody_elses_by_now),
		TEST(test_two_states_of_one_id),
		TEST(test_state_of_another_boot),
		TEST(test_device_that_run_has_forgotten),
		TEST(test_server_that_is_at_work),
		TEST(test_states_without_a_device),
		TEST(test_without_permission),
		TEST(test_device_deleted_meanwhile),
		TEST(test_disk_as_sysfs_shows_it),
		TEST(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
