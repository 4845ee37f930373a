/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control ring without ublk. abi/ctrl-cmd.c is replaced: the next command becomes an SQE that
 * ends, or does not end, as the table below says. /dev/ublk-control is /dev/null.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <liburing.h>

#include "abi/features.h"
#include "ring/ctrl.h"

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

static int open_errno;

int __wrap_open64(const char *path, int flags, ...)
{
	if (strcmp(path, "/dev/ublk-control") != 0)
		return __real_open64(path, flags, 0);
	if (open_errno) {
		errno = open_errno;
		return -1;
	}
	return __real_open64("/dev/null", flags, 0);
}

enum answer {
	ANSWER_OK,
	ANSWER_NODEV, /* -ENODEV */
	ANSWER_NEVER,
	ANSWER_DATA,  /* 8 bytes into the buffer */
	ANSWER_INVAL, /* -EINVAL, but to GET_DEV_INFO2 data behind the path */
};

static struct {
	enum answer features_answer;
	enum answer answer;
	enum ctrl_op op; /* of the last command */
	uint32_t dev_id;
	uint64_t data;
	bool legacy;
	int never_fd;
	int data_fd;
	uint64_t never_value;
	char path[32];
} driver;

const char *ctrl_op_to_string(enum ctrl_op op)
{
	return "?";
}

bool ctrl_op_has_legacy(enum ctrl_op op)
{
	return op != CTRL_TRY_STOP_DEV && op != CTRL_DEL_DEV_ASYNC;
}

void ctrl_cmd_encode(struct io_uring_sqe *sqe, int fd, const struct ctrl_cmd *cmd, bool legacy)
{
	memset(sqe, 0, 128);
	driver.op = cmd->op;
	driver.dev_id = cmd->dev_id;
	driver.data = cmd->data;
	driver.legacy = legacy;
	switch (cmd->op == CTRL_GET_FEATURES ? driver.features_answer : driver.answer) {
	case ANSWER_OK:
		io_uring_prep_nop(sqe);
		break;
	case ANSWER_NODEV:
		io_uring_prep_fallocate(sqe, fd, 0, 0, 1); /* what /dev/null says to it */
		break;
	case ANSWER_NEVER:
		io_uring_prep_read(sqe, driver.never_fd, &driver.never_value, 8, 0);
		break;
	case ANSWER_INVAL:
		if (cmd->op == CTRL_GET_DEV_INFO2) {
			memcpy(driver.path, cmd->buf, cmd->path_len);
			io_uring_prep_read(sqe, driver.data_fd, (char *)cmd->buf + cmd->path_len, 8,
					   0);
		} else {
			io_uring_prep_fsync(sqe, fd, ~0U); /* flags that there are not */
		}
		break;
	case ANSWER_DATA:
		io_uring_prep_read(sqe, driver.data_fd, cmd->buf, 8, 0);
		break;
	}
}

void dev_info_encode(const struct dev_info *info, uint8_t raw[static DEV_INFO_RAW_BYTES])
{
	memset(raw, 0, DEV_INFO_RAW_BYTES);
}

/* The fake's struct has one field: the id, in its first bytes. */
void dev_info_decode(const uint8_t raw[static DEV_INFO_RAW_BYTES], struct dev_info *ret_info)
{
	memcpy(&ret_info->dev_id, raw, sizeof(ret_info->dev_id));
}

static int setup(void **state)
{
	const uint64_t known = FEATURE_SAFE_STOP_DEV | FEATURE_CMD_IOCTL_ENCODE;

	memset(&driver, 0, sizeof(driver));
	open_errno = 0;
	driver.features_answer = ANSWER_DATA;
	driver.never_fd = eventfd(0, EFD_CLOEXEC);
	driver.data_fd = memfd_create("data", MFD_CLOEXEC);
	return driver.never_fd < 0 || driver.data_fd < 0 ||
	       pwrite(driver.data_fd, &known, sizeof(known), 0) != sizeof(known);
}

static int teardown(void **state)
{
	close(driver.never_fd);
	close(driver.data_fd);
	return 0;
}

static struct ctrl *open_ctrl(void)
{
	struct ctrl *c = NULL;

	assert_int_equal(ctrl_open(&c), 0);
	return c;
}

static void test_open_tells_why_not(void **state)
{
	struct ctrl *c = NULL;

	open_errno = ENOENT;
	assert_int_equal(ctrl_open(&c), -ENOENT);
	open_errno = EACCES;
	assert_int_equal(ctrl_open(&c), -EACCES);
	assert_null(c);
}

static void test_features_are_asked_once(void **state)
{
	AUTO(ctrl_close) struct ctrl *c = open_ctrl();
	uint64_t got;

	assert_int_equal(driver.op, CTRL_GET_FEATURES);
	assert_int_equal(ctrl_get_features(c, &got), 0);
	assert_int_equal(got, FEATURE_SAFE_STOP_DEV | FEATURE_CMD_IOCTL_ENCODE);
	assert_int_equal(ctrl_stop_dev(c, 7), 0);
	assert_int_equal(driver.op, CTRL_STOP_DEV);
	assert_int_equal(driver.dev_id, 7);
	assert_false(driver.legacy);
}

static void test_old_kernels_get_plain_numbers(void **state)
{
	AUTO(ctrl_close) struct ctrl *c = NULL;

	driver.features_answer = ANSWER_NODEV;
	c = open_ctrl();
	assert_int_equal(ctrl_stop_dev(c, 1), 0);
	assert_true(driver.legacy);
	driver.op = N_CTRL_OPS;
	assert_int_equal(ctrl_try_stop_dev(c, 1), -EOPNOTSUPP);
	assert_int_equal(ctrl_del_dev_async(c, 1), -EOPNOTSUPP);
	assert_int_equal(driver.op, N_CTRL_OPS); /* nothing was sent */
}

static void test_answers_come_through(void **state)
{
	AUTO(ctrl_close) struct ctrl *c = open_ctrl();
	struct dev_info info = {.dev_id = CTRL_ANY_DEV_ID};
	const uint32_t id = 42;

	driver.answer = ANSWER_NODEV;
	assert_int_equal(ctrl_get_dev_info(c, 3, &info), -ENODEV);
	assert_int_equal(ctrl_try_stop_dev(c, 3), -ENODEV);
	driver.answer = ANSWER_OK;
	assert_int_equal(ctrl_start_dev(c, 3, 4711), 0);
	assert_int_equal(driver.data, 4711);
	driver.answer = ANSWER_DATA;
	assert_int_equal(pwrite(driver.data_fd, &id, sizeof(id), 0), sizeof(id));
	assert_int_equal(ctrl_add_dev(c, &info), 0);
	assert_int_equal(driver.dev_id, CTRL_ANY_DEV_ID);
	assert_int_equal(info.dev_id, 42);
}

static void test_device_of_a_user_is_named_by_its_node(void **state)
{
	AUTO(ctrl_close) struct ctrl *c = open_ctrl();
	struct dev_info info = {0};
	const uint32_t id = 77;

	assert_int_equal(pwrite(driver.data_fd, &id, sizeof(id), 0), sizeof(id));
	driver.answer = ANSWER_INVAL;
	assert_int_equal(ctrl_get_dev_info(c, 77, &info), 0);
	assert_string_equal(driver.path, "/dev/ublkc77");
	assert_int_equal(info.dev_id, 77);
	assert_int_equal(ctrl_stop_dev(c, 77), -EINVAL);
}

static enum ctrl_wait cancel_third_time(void *arg)
{
	unsigned *n = arg;

	return ++*n < 3 ? CTRL_WAIT : CTRL_CANCEL;
}

static void test_a_command_can_be_given_up(void **state)
{
	AUTO(ctrl_close) struct ctrl *c = open_ctrl();
	unsigned n = 0;

	ctrl_set_wait(c, cancel_third_time, &n);
	driver.answer = ANSWER_NEVER;
	assert_int_equal(ctrl_start_dev(c, 1, 1), -ECANCELED);
	assert_int_equal(n, 3);
	/* The ring is as good as new, and late completions confuse nobody. */
	driver.answer = ANSWER_OK;
	assert_int_equal(ctrl_stop_dev(c, 1), 0);
	driver.answer = ANSWER_NODEV;
	assert_int_equal(ctrl_stop_dev(c, 1), -ENODEV);
}

static void test_every_command_has_a_deadline(void **state)
{
	for (int op = 0; op < N_CTRL_OPS; op++)
		assert_in_range(ctrl_get_deadline_s((enum ctrl_op)op), 1, 60);
}

static bool fast_clock; /* a second passes whenever somebody looks */
static uint64_t now_ns;

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (!fast_clock)
		return __real_clock_gettime(clock, ts);
	now_ns += 1000000000;
	ts->tv_sec = (time_t)(now_ns / 1000000000);
	ts->tv_nsec = (long)(now_ns % 1000000000);
	return 0;
}

static enum ctrl_wait extend_some(void *arg)
{
	unsigned *n = arg;

	return ++*n < 40 ? CTRL_EXTEND : CTRL_WAIT;
}

static void test_deadline_counts_from_the_last_progress(void **state)
{
	AUTO(ctrl_close) struct ctrl *c = open_ctrl();
	uint64_t start;
	unsigned n = 0;

	driver.answer = ANSWER_NEVER;
	fast_clock = true;
	start = now_ns;
	assert_int_equal(ctrl_stop_dev(c, 1), -ETIMEDOUT);
	assert_in_range((now_ns - start) / 1000000000, 60, 75);
	ctrl_set_wait(c, extend_some, &n);
	start = now_ns;
	assert_int_equal(ctrl_stop_dev(c, 1), -ETIMEDOUT);
	assert_in_range((now_ns - start) / 1000000000, 60 + 40, 400);
	assert_true(n >= 40);
	fast_clock = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_tells_why_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features_are_asked_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_kernels_get_plain_numbers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_answers_come_through, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_of_a_user_is_named_by_its_node, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_command_can_be_given_up, setup, teardown),
		cmocka_unit_test(test_every_command_has_a_deadline),
		cmocka_unit_test_setup_teardown(test_deadline_counts_from_the_last_progress, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
