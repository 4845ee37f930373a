/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A kernel that is a table of devices, and writes down the commands that it is given. */
#include "ring/orphan.h"

#include "golden.h"

#include <stdio.h>
#include <sys/stat.h>

#include "abi/features.h"

#define N_FAKE 4

struct ctrl {
	struct dev_info devices[N_FAKE];
	bool is_there[N_FAKE];
	unsigned n_polls_until_gone; /* after DEL_DEV_ASYNC */
	bool deleted;
	int info_result, stop_result, try_stop_result, del_async_result;
	char log[256];
};

static struct ctrl kernel;
static char root[64];

static void say(const char *what, uint32_t dev_id)
{
	size_t len = strlen(kernel.log);

	snprintf(kernel.log + len, sizeof(kernel.log) - len, "%s%s %u", len ? ", " : "", what,
		 dev_id);
}

int ctrl_get_dev_info(struct ctrl *c, uint32_t dev_id, struct dev_info *ret_info)
{
	if (c->info_result < 0)
		return c->info_result;
	if (c->deleted && c->n_polls_until_gone-- == 0)
		c->is_there[dev_id] = false;
	if (dev_id >= N_FAKE || !c->is_there[dev_id])
		return -ENODEV;
	*ret_info = c->devices[dev_id];
	return 0;
}

int ctrl_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	say("stop", dev_id);
	return c->stop_result;
}

int ctrl_try_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	say("try-stop", dev_id);
	return c->try_stop_result;
}

int ctrl_del_dev(struct ctrl *c, uint32_t dev_id)
{
	say("del", dev_id);
	c->is_there[dev_id] = false;
	return 0;
}

int ctrl_del_dev_async(struct ctrl *c, uint32_t dev_id)
{
	say("del-async", dev_id);
	c->deleted = c->del_async_result == 0;
	return c->del_async_result;
}

static int fake_holders_result;
static const char *fake_holder;

int __wrap_holders_find(uint32_t dev_id, struct holders *h);
int __wrap_holders_find(uint32_t dev_id, struct holders *h)
{
	if (fake_holder) {
		h->items = calloc(1, sizeof(*h->items));
		assert_non_null(h->items);
		h->items[0] = (struct holder){.kind = HOLDER_MOUNT, .text = strdup(fake_holder)};
		h->n = 1;
	}
	return fake_holders_result;
}

static int setup(void **state)
{
	char path[96];

	strcpy(root, "/tmp/test-orphan.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(path, sizeof(path), "%s/run", root);
	setenv("UBLKD_STATE_DIR", path, 1);
	kernel = (struct ctrl){0};
	fake_holders_result = 0;
	fake_holder = NULL;
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void add_device(uint32_t dev_id, enum dev_state dev_state, const char *name)
{
	kernel.is_there[dev_id] = true;
	kernel.devices[dev_id] = (struct dev_info){
		.dev_id = dev_id, .state = dev_state, .cookie = state_cookie(name)};
}

static struct state write_state(const char *name, uint32_t dev_id)
{
	struct state s = {.dev_id = dev_id, .pid = 4711, .cookie = state_cookie(name)};
	AUTO_CLOSE int fd = -1;

	assert_int_equal(state_boot_id(s.boot_id), 0);
	assert_true(state_lock(name, &fd) >= 0);
	assert_int_equal(state_write(name, &s), 0);
	return s;
}

static void test_state_file_names_the_device(void **state)
{
	AUTO(orphan_deinit) struct orphan *o = &(struct orphan){0};

	assert_int_equal(orphan_find(&kernel, "data", o), 0); /* no state at all */
	add_device(2, DEV_QUIESCED, "data");
	assert_int_equal(orphan_find(&kernel, "data", o), 0);
	write_state("data", 2);
	assert_int_equal(orphan_find(&kernel, "data", o), 1);
	assert_int_equal(o->info.dev_id, 2);
	assert_int_equal(o->info.state, DEV_QUIESCED);
	assert_int_equal(o->state.pid, 4711);
	assert_int_equal(orphan_find(&kernel, "other", o), 0);
}

static void test_what_is_not_proved_is_not_ours(void **state)
{
	AUTO(orphan_deinit) struct orphan *o = &(struct orphan){0};
	AUTO_CLOSE int fd = -1;
	struct state s;

	s = write_state("data", 2);
	assert_int_equal(orphan_find(&kernel, "data", o), 0); /* gone */
	add_device(2, DEV_QUIESCED, "other");                 /* the number is in use by another */
	assert_int_equal(orphan_find(&kernel, "data", o), 0);
	add_device(2, DEV_QUIESCED, "data");
	kernel.devices[2].flags = FEATURE_UNPRIVILEGED_DEV; /* of a user who knows our mark */
	assert_int_equal(orphan_find(&kernel, "data", o), 0);
	kernel.devices[2].flags = FEATURE_USER_RECOVERY;
	assert_int_equal(orphan_find(&kernel, "data", o), 1);

	assert_int_equal(state_lock("data", &fd), 1);
	s.boot_id[0] = s.boot_id[0] == '0' ? '1' : '0'; /* of another boot */
	assert_int_equal(state_write("data", &s), 0);
	orphan_deinit(o);
	assert_int_equal(orphan_find(&kernel, "data", o), 0);

	write_state("other", 2); /* the file was copied: its mark is not that of its name */
	assert_int_equal(orphan_find(&kernel, "other", o), 0);
}

static void test_kernel_that_does_not_tell(void **state)
{
	AUTO(orphan_deinit) struct orphan *o = &(struct orphan){0};

	write_state("data", 2);
	kernel.info_result = -ETIMEDOUT;
	assert_int_equal(orphan_find(&kernel, "data", o), -ETIMEDOUT);
	assert_null(o->state.definition);
}

static void test_remove_goes_step_by_step(void **state)
{
	const struct udev_properties p = {.name = "data", .backend = "null", .mode = UINT32_MAX};
	const char *step = NULL;
	char path[96];

	add_device(2, DEV_QUIESCED, "data");
	kernel.n_polls_until_gone = 3;
	assert_int_equal(state_write_udev(2, &p), 0);
	snprintf(path, sizeof(path), "%s/run/udev/ublkb2", root);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(orphan_remove(&kernel, 2, 1000, &step), 0);
	assert_string_equal(kernel.log, "stop 2, del-async 2");
	assert_int_equal(access(path, F_OK), -1);
	assert_null(step);
}

static void test_remove_of_what_is_held(void **state)
{
	const char *step = NULL;

	add_device(2, DEV_QUIESCED, "data");
	kernel.n_polls_until_gone = 1000;
	assert_int_equal(orphan_remove(&kernel, 2, 5, &step), 1);
	assert_null(step);
}

static void test_remove_on_an_old_kernel(void **state)
{
	const char *step = NULL;

	add_device(2, DEV_DEAD, "data");
	kernel.del_async_result = -EOPNOTSUPP;
	assert_int_equal(orphan_remove(&kernel, 2, 5, &step), 0);
	assert_string_equal(kernel.log, "stop 2, del-async 2, del 2");
}

static void test_remove_tells_what_failed(void **state)
{
	const char *step = NULL;

	add_device(2, DEV_QUIESCED, "data");
	kernel.stop_result = -ETIMEDOUT;
	assert_int_equal(orphan_remove(&kernel, 2, 5, &step), -ETIMEDOUT);
	assert_string_equal(step, "stop");
	assert_string_equal(kernel.log, "stop 2");

	kernel.log[0] = '\0';
	kernel.stop_result = -ENODEV; /* gone meanwhile */
	kernel.del_async_result = -ENODEV;
	assert_int_equal(orphan_remove(&kernel, 2, 5, &step), 0);

	kernel.del_async_result = -EINTR;
	assert_int_equal(orphan_remove(&kernel, 2, 5, &step), -EINTR);
	assert_string_equal(step, "delete");
}

static void test_device_in_use_is_not_stopped(void **state)
{
	const struct {
		int found, try_stop;
		const char *holder, *log;
		int want;
	} cases[] = {
		{0, 0, NULL, "try-stop 2", 0},
		{0, 0, "/srv", "", -EBUSY},
		{-EACCES, 0, "/srv", "", -EBUSY},
		{-EACCES, 0, NULL, "", -EACCES},
		{-ENODEV, -EBUSY, NULL, "", 0}, /* no block device: nothing to be held */
		{0, -EBUSY, NULL, "try-stop 2", -EBUSY},
		{0, -EOPNOTSUPP, NULL, "try-stop 2", 0}, /* kernels before 7.0 */
		{0, -ENODEV, NULL, "try-stop 2", 0},
		{0, -ETIMEDOUT, NULL, "try-stop 2", -ETIMEDOUT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(holders_deinit) struct holders *h = &(struct holders){0};

		kernel.log[0] = '\0';
		kernel.try_stop_result = cases[i].try_stop;
		fake_holders_result = cases[i].found;
		fake_holder = cases[i].holder;
		assert_int_equal(orphan_try_stop(&kernel, 2, h), cases[i].want);
		assert_string_equal(kernel.log, cases[i].log);
		assert_int_equal(h->n, cases[i].holder ? 1 : 0);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_state_file_names_the_device), TEST(test_what_is_not_proved_is_not_ours),
		TEST(test_kernel_that_does_not_tell),   TEST(test_remove_goes_step_by_step),
		TEST(test_remove_of_what_is_held),      TEST(test_remove_on_an_old_kernel),
		TEST(test_remove_tells_what_failed),    TEST(test_device_in_use_is_not_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
