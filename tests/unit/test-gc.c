/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkctl gc, with a kernel that is a table, a systemd that is another, and our own /run/ublkd. */
#include "golden.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "abi/features.h"
#include "cli/cli.h"
#include "cli/survey.h"
#include "ring/ctrl.h"
#include "state/holders.h"
#include "util/systemd.h"

#define N_FAKE 8

static char root[64], sys_dir[80];

/* ---- the kernel ---- */

struct ctrl {
	bool is_there[N_FAKE];
	struct dev_info infos[N_FAKE];
	bool keeps_deleted; /* somebody refers to what is deleted */
	int stop_result;
};
static struct ctrl kernel;

int ctrl_open(struct ctrl **ret)
{
	*ret = &kernel;
	return 0;
}

struct ctrl *ctrl_close(struct ctrl *c)
{
	return NULL;
}

int ctrl_get_dev_info(struct ctrl *c, uint32_t dev_id, struct dev_info *ret_info)
{
	if (dev_id >= N_FAKE || !c->is_there[dev_id])
		return -ENODEV;
	*ret_info = c->infos[dev_id];
	return 0;
}

int ctrl_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	if (c->stop_result == 0)
		c->infos[dev_id].state = DEV_DEAD;
	return c->stop_result;
}

int ctrl_try_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	return -EOPNOTSUPP;
}

int ctrl_del_dev(struct ctrl *c, uint32_t dev_id)
{
	fail();
	return 0;
}

int ctrl_del_dev_async(struct ctrl *c, uint32_t dev_id)
{
	assert_int_equal(c->infos[dev_id].state, DEV_DEAD);
	c->is_there[dev_id] = c->keeps_deleted;
	return 0;
}

static struct dev_info *add_kernel(uint32_t dev_id, enum dev_state dev_state, const char *name)
{
	char command[160];

	kernel.is_there[dev_id] = true;
	kernel.infos[dev_id] = (struct dev_info){
		.dev_id = dev_id,
		.state = dev_state,
		.server_pid = -1,
		.cookie = name ? state_cookie(name) : 0,
	};
	snprintf(command, sizeof(command), "mkdir -p %s/class/ublk-char/ublkc%u", sys_dir, dev_id);
	assert_int_equal(system(command), 0);
	return &kernel.infos[dev_id];
}

/* ---- what is asked beside it ---- */

int __real_survey_take(const char *sys, struct survey *ret);
int __wrap_survey_take(const char *sys, struct survey *ret);
int __wrap_survey_take(const char *sys, struct survey *ret)
{
	return __real_survey_take(sys_dir, ret);
}

uid_t __wrap_geteuid(void);
uid_t __wrap_geteuid(void)
{
	return 0;
}

static uint32_t held_dev_id; /* UINT32_MAX: none */

int __wrap_holders_find(uint32_t dev_id, struct holders *h);
int __wrap_holders_find(uint32_t dev_id, struct holders *h)
{
	if (dev_id == held_dev_id) {
		h->items = calloc(1, sizeof(*h->items));
		assert_non_null(h->items);
		h->items[0] = (struct holder){.kind = HOLDER_MOUNT, .text = strdup("/srv/data")};
		h->n = 1;
	}
	return 0;
}

static const char *busy_unit;
static enum systemd_unit_state busy_state;

int __wrap_systemd_get_unit_state(const char *unit, enum systemd_unit_state *ret);
int __wrap_systemd_get_unit_state(const char *unit, enum systemd_unit_state *ret)
{
	*ret = busy_unit && strcmp(unit, busy_unit) == 0 ? busy_state : SYSTEMD_UNIT_INACTIVE;
	return 0;
}

/* ---- the tests' own ---- */

static int setup(void **state)
{
	char path[80];

	strcpy(root, "/tmp/test-gc.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(sys_dir, sizeof(sys_dir), "%s/sys", root);
	snprintf(path, sizeof(path), "%s/run", root);
	setenv("UBLKD_STATE_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/ublk", root);
	setenv("UBLKD_CONFIG_PATH", path, 1);
	mkdir(path, 0755);
	kernel = (struct ctrl){0};
	held_dev_id = UINT32_MAX;
	busy_unit = NULL;
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

/* What a server of that name has left; returns its lock. */
static int add_state(const char *name, uint32_t dev_id)
{
	struct state s = {.dev_id = dev_id, .cookie = state_cookie(name), .pid = getpid()};
	const struct udev_properties p = {.name = name, .backend = "null", .mode = UINT32_MAX};
	int fd;

	assert_int_equal(state_boot_id(s.boot_id), 0);
	assert_int_equal(state_lock(name, &fd), 0);
	assert_int_equal(state_write(name, &s), 0);
	assert_int_equal(state_write_udev(dev_id, &p), 0);
	return fd;
}

static bool has_file(const char *relative)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/run/%s", root, relative);
	return access(path, F_OK) == 0;
}

/* Runs it; what it said of each device or path is in *ret. */
static int run(const struct cli *cli, struct json_object **ret)
{
	char path[96], *argv[] = {(char[]){"gc"}, NULL};
	struct cli json = *cli;
	int status, fd, saved;

	json.json = true;
	snprintf(path, sizeof(path), "%s/out", root);
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && saved >= 0);
	assert_true(dup2(fd, STDOUT_FILENO) >= 0);
	status = cmd_gc(1, argv, &json);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(fd);
	*ret = json_object_from_file(path);
	return status;
}

static const char *text_of(struct json_object *o, const char *key)
{
	const char *text = json_object_get_string(json_object_object_get(o, key));

	return text ? text : "";
}

/* One line, which says @action, and @words in its reason. */
static void expect(const struct cli *cli, int status, const char *action, const char *words)
{
	struct json_object *list, *o;

	assert_int_equal(run(cli, &list), status);
	assert_non_null(list);
	assert_int_equal(json_object_array_length(list), 1);
	o = json_object_array_get_idx(list, 0);
	assert_string_equal(text_of(o, "action"), action);
	if (!strstr(text_of(o, "reason"), words))
		fail_msg("\"%s\" has no \"%s\"", text_of(o, "reason"), words);
	json_object_put(list);
}

static void expect_nothing(const struct cli *cli)
{
	struct json_object *list;

	assert_int_equal(run(cli, &list), 0);
	assert_int_equal(json_object_array_length(list), 0);
	json_object_put(list);
}

static const struct cli plain, dry = {.dry_run = true};

static void test_nothing(void **state)
{
	expect_nothing(&plain);
}

static void test_device_of_a_dead_server(void **state)
{
	add_kernel(3, DEV_QUIESCED, "data");
	close(add_state("data", 3));
	expect(&dry, 0, "would-remove", "no server");
	assert_true(kernel.is_there[3]);
	assert_int_equal(kernel.infos[3].state, DEV_QUIESCED);
	assert_true(has_file("data/state") && has_file("udev/ublkb3"));
	expect(&plain, 0, "removed", "had no server");
	assert_false(kernel.is_there[3]);
	assert_false(has_file("data"));
	assert_false(has_file("udev/ublkb3"));
	expect_nothing(&plain);
}

static void test_served_device_is_no_word_worth(void **state)
{
	int fd;

	add_kernel(3, DEV_LIVE, "data")->server_pid = getpid();
	fd = add_state("data", 3);
	expect_nothing(&plain);
	expect(&(struct cli){.force = "data"}, EX_TEMPFAIL, "kept", "serves it");
	assert_int_equal(kernel.infos[3].state, DEV_LIVE);
	close(fd);
}

static void test_unit_that_is_busy(void **state)
{
	const enum systemd_unit_state states[] = {
		SYSTEMD_UNIT_ACTIVE,       SYSTEMD_UNIT_RELOADING, SYSTEMD_UNIT_ACTIVATING,
		SYSTEMD_UNIT_DEACTIVATING, SYSTEMD_UNIT_UNKNOWN,
	};

	add_kernel(3, DEV_QUIESCED, "data");
	close(add_state("data", 3));
	busy_unit = "ublk@data.service";
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		busy_state = states[i];
		expect(&plain, 0, "kept", "ublk@data.service is ");
		expect(&(struct cli){.force = "data"}, EX_TEMPFAIL, "kept", "ublk@data.service");
	}
	busy_state = SYSTEMD_UNIT_FAILED;
	expect(&plain, 0, "removed", "");
}

static void test_device_in_use(void **state)
{
	add_kernel(3, DEV_QUIESCED, "data");
	close(add_state("data", 3));
	held_dev_id = 3;
	expect(&dry, 0, "kept", "mounted on /srv/data");
	expect(&plain, 0, "kept", "mounted on /srv/data");
	assert_int_equal(kernel.infos[3].state, DEV_QUIESCED);
	assert_true(has_file("data/state"));
	/* force for another one is none for this one */
	add_kernel(4, DEV_DEAD, NULL);
	expect(&(struct cli){.force = "ublkb4"}, 0, "removed", "");
	assert_true(kernel.is_there[3]);
	kernel.keeps_deleted = true;
	expect(&(struct cli){.force = "data"}, 0, "removed", "its last user");
	assert_int_equal(kernel.infos[3].state, DEV_DEAD);
	assert_false(has_file("data"));
}

static void test_another_programs_device(void **state)
{
	add_kernel(3, DEV_QUIESCED, NULL);
	expect(&plain, 0, "kept", "gc --force ublkb3");
	assert_int_equal(kernel.infos[3].state, DEV_QUIESCED);
	expect(&(struct cli){.force = "3", .dry_run = true}, 0, "would-remove", "");
	assert_true(kernel.is_there[3]);
	expect(&(struct cli){.force = "ublkb3"}, 0, "removed", "");
	assert_false(kernel.is_there[3]);

	/* one that is served is not removed at all */
	add_kernel(3, DEV_LIVE, NULL)->server_pid = getpid();
	expect(&plain, 0, "kept", "another program's");
	expect(&(struct cli){.force = "ublkb3"}, EX_TEMPFAIL, "kept", "serves it");
	assert_int_equal(kernel.infos[3].state, DEV_LIVE);
}

/* The number that the state file has is another program's by now. */
static void test_number_that_was_given_away(void **state)
{
	struct json_object *list;

	add_kernel(3, DEV_QUIESCED, NULL);
	close(add_state("data", 3));
	assert_int_equal(run(&plain, &list), 0);
	assert_int_equal(json_object_array_length(list), 2);
	json_object_put(list);
	assert_int_equal(kernel.infos[3].state, DEV_QUIESCED);
	assert_false(has_file("data"));
}

/* Any user may make one with any mark. */
static void test_mark_of_an_unprivileged_device(void **state)
{
	struct json_object *list;

	add_kernel(3, DEV_DEAD, "data")->flags = FEATURE_UNPRIVILEGED_DEV;
	close(add_state("data", 3));
	assert_int_equal(run(&plain, &list), 0);
	json_object_put(list);
	assert_true(kernel.is_there[3]);
}

/* /run/ublkd lost what it knew, but there is a definition of that name. */
static void test_mark_without_a_state_file(void **state)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/ublk/data.conf", root);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("[Device]\nSize=1M\n[Backend]\nType=memory\n", f);
	assert_int_equal(fclose(f), 0);

	add_kernel(3, DEV_LIVE, "data")->server_pid = getpid();
	expect(&plain, 0, "kept", "knows nothing of that");
	assert_int_equal(kernel.infos[3].state, DEV_LIVE);
	kernel.infos[3].state = DEV_QUIESCED;
	expect(&plain, 0, "removed", "");
	assert_false(kernel.is_there[3]);
	assert_false(has_file("data"));
}

/* A second device of a name, which the survey has given to nobody. */
static void test_second_device_of_a_name(void **state)
{
	int fd;

	add_kernel(3, DEV_LIVE, "data")->server_pid = getpid();
	add_kernel(4, DEV_DEAD, "data");
	fd = add_state("data", 3);
	expect(&plain, 0, "kept", "there is a server of that name");
	close(fd);
	kernel.infos[3].state = DEV_QUIESCED;
	held_dev_id = 3;
	expect(&(struct cli){.force = "ublkb4"}, 0, "removed", "");
	assert_false(kernel.is_there[4]);
	assert_true(has_file("data/state")); /* of the other one */
}

static void test_left_over_files(void **state)
{
	const struct udev_properties p = {.name = "data", .backend = "null", .mode = UINT32_MAX};
	struct json_object *list;

	close(add_state("data", 7)); /* without a device */
	assert_int_equal(state_write_udev(6, &p), 0);
	assert_int_equal(run(&dry, &list), 0);
	assert_int_equal(json_object_array_length(list), 3);
	json_object_put(list);
	assert_true(has_file("data/state") && has_file("udev/ublkb6") && has_file("udev/ublkb7"));
	assert_int_equal(run(&plain, &list), 0);
	assert_int_equal(json_object_array_length(list), 3);
	json_object_put(list);
	assert_false(has_file("data") || has_file("udev/ublkb6") || has_file("udev/ublkb7"));
	expect_nothing(&plain);
}

static void test_what_cannot_be_stopped(void **state)
{
	add_kernel(3, DEV_QUIESCED, "data");
	close(add_state("data", 3));
	kernel.stop_result = -ETIMEDOUT;
	expect(&plain, 1, "failed", "cannot stop it");
	assert_true(has_file("data/state"));
}

static void test_force_of_what_is_not_there(void **state)
{
	struct json_object *list;

	assert_int_equal(run(&(struct cli){.force = "nothing"}, &list), 1);
	json_object_put(list);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_device_of_a_dead_server),
		TEST(test_served_device_is_no_word_worth),
		TEST(test_unit_that_is_busy),
		TEST(test_device_in_use),
		TEST(test_another_programs_device),
		TEST(test_number_that_was_given_away),
		TEST(test_mark_of_an_unprivileged_device),
		TEST(test_mark_without_a_state_file),
		TEST(test_second_device_of_a_name),
		TEST(test_left_over_files),
		TEST(test_what_cannot_be_stopped),
		TEST(test_force_of_what_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
