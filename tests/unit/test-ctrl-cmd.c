/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/ctrl-cmd.h"

#include "abi/features.h"
#include "golden.h"
#include "util/cleanup.h"

#include <liburing.h>

struct code {
	enum ctrl_op op;
	uint32_t code;
	uint32_t legacy; /* 0: none */
};

static const struct code codes[] = {
	{CTRL_GET_QUEUE_AFFINITY, 0x80207501, 0x01},
	{CTRL_GET_DEV_INFO, 0x80207502, 0x02},
	{CTRL_ADD_DEV, 0xc0207504, 0x04},
	{CTRL_DEL_DEV, 0xc0207505, 0x05},
	{CTRL_START_DEV, 0xc0207506, 0x06},
	{CTRL_STOP_DEV, 0xc0207507, 0x07},
	{CTRL_SET_PARAMS, 0xc0207508, 0x08},
	{CTRL_GET_PARAMS, 0x80207509, 0x09},
	{CTRL_START_USER_RECOVERY, 0xc0207510, 0x10},
	{CTRL_END_USER_RECOVERY, 0xc0207511, 0x11},
	{CTRL_GET_DEV_INFO2, 0x80207512, 0x12},
	{CTRL_GET_FEATURES, 0x80207513, 0},
	{CTRL_DEL_DEV_ASYNC, 0x80207514, 0},
	{CTRL_UPDATE_SIZE, 0xc0207515, 0},
	{CTRL_QUIESCE_DEV, 0xc0207516, 0},
	{CTRL_TRY_STOP_DEV, 0xc0207517, 0},
	{CTRL_REG_BUF, 0xc0207518, 0},
	{CTRL_UNREG_BUF, 0xc0207519, 0},
};

/* An SQE of a ring with SQE128, and a guard behind it. */
union sqe {
	struct io_uring_sqe sqe;
	uint8_t raw[128 + 16];
};

static void test_every_command_is_byte_exact(void **state)
{
	static char buf[300];

	assert_int_equal(ARRAY_SIZE(codes), N_CTRL_OPS);
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		const struct ctrl_cmd cmd = {
			.op = codes[i].op,
			.dev_id = 0x01020304,
			.buf = buf,
			.len = 300,
			.path_len = 13,
			.data = 0x1122334455667788,
		};
		uint8_t want[128 + 16] = {0};
		union sqe got;

		memset(&got, 0xa5, sizeof(got));
		memset(want + 128, 0xa5, 16);
		put_u8(want, 0, 46);
		put_u32(want, 4, 9);
		put_u32(want, 8, codes[i].code);
		put_u32(want, 48, 0x01020304);
		put_u16(want, 52, 0xffff);
		put_u16(want, 54, 300);
		put_u64(want, 56, (uintptr_t)buf);
		put_u64(want, 64, 0x1122334455667788);
		put_u16(want, 72, 13);

		ctrl_cmd_encode(&got.sqe, 9, &cmd, false);
		assert_memory_equal(got.raw, want, sizeof(want));

		assert_int_equal(ctrl_op_has_legacy(codes[i].op), codes[i].legacy != 0);
		if (codes[i].legacy) {
			put_u32(want, 8, codes[i].legacy);
			ctrl_cmd_encode(&got.sqe, 9, &cmd, true);
			assert_memory_equal(got.raw, want, sizeof(want));
		}
	}
}

static void test_dev_info_is_byte_exact(void **state)
{
	const struct dev_info info = {
		.dev_id = CTRL_ANY_DEV_ID,
		.n_queues = 4,
		.depth = 128,
		.state = DEV_LIVE,
		.max_io_bytes = 1 << 20,
		.desc_size_bytes = 64,
		.server_pid = 4711,
		.flags = FEATURE_IO_DESC_SIZE | FEATURE_USER_RECOVERY,
		.cookie = 0xfeedfacecafebeef,
		.owner_uid = 1000,
		.owner_gid = 1001,
	};
	struct dev_info narrow = info;
	uint8_t want[DEV_INFO_RAW_BYTES] = {0};
	uint8_t got[DEV_INFO_RAW_BYTES];

	put_u16(want, 0, 4);
	put_u16(want, 2, 128);
	/* 4, state, and 16, pid, stay 0: some kernels believe what is there */
	put_u16(want, 6, 64);
	put_u32(want, 8, 1 << 20);
	put_u32(want, 12, 0xffffffff);
	put_u64(want, 24, 1 << 20 | 1 << 3);
	put_u64(want, 32, 0xfeedfacecafebeef);
	memset(got, 0xa5, sizeof(got));
	dev_info_encode(&info, got);
	assert_memory_equal(got, want, sizeof(want));

	/* without the feature the size is not ours to say */
	narrow.flags = FEATURE_USER_RECOVERY;
	put_u16(want, 6, 0);
	put_u64(want, 24, 1 << 3);
	dev_info_encode(&narrow, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void test_dev_info_decodes_every_field(void **state)
{
	uint8_t raw[DEV_INFO_RAW_BYTES] = {0};
	struct dev_info info;

	put_u16(raw, 0, 2);
	put_u16(raw, 2, 4096);
	put_u16(raw, 4, 2);
	put_u16(raw, 6, 24);
	put_u32(raw, 8, 512 << 10);
	put_u32(raw, 12, 77);
	put_u32(raw, 16, 4711);
	put_u64(raw, 24, 0x26042);
	put_u64(raw, 32, 0x8000000000000001);
	put_u32(raw, 40, 1000);
	put_u32(raw, 44, 1001);
	dev_info_decode(raw, &info);
	assert_int_equal(info.n_queues, 2);
	assert_int_equal(info.depth, 4096);
	assert_int_equal(info.state, DEV_QUIESCED);
	assert_int_equal(info.max_io_bytes, 512 << 10);
	assert_int_equal(info.desc_size_bytes, 24);
	assert_int_equal(info.dev_id, 77);
	assert_int_equal(info.server_pid, 4711);
	assert_int_equal(info.flags, 0x26042);
	assert_true(info.cookie == 0x8000000000000001);
	assert_int_equal(info.owner_uid, 1000);
	assert_int_equal(info.owner_gid, 1001);
}

static void test_descriptor_size_counts_only_with_its_feature(void **state)
{
	uint8_t raw[DEV_INFO_RAW_BYTES] = {0};
	struct dev_info info;

	put_u16(raw, 6, 64);
	dev_info_decode(raw, &info);
	assert_int_equal(info.desc_size_bytes, 24);
	put_u64(raw, 24, FEATURE_IO_DESC_SIZE);
	dev_info_decode(raw, &info);
	assert_int_equal(info.desc_size_bytes, 64);
}

static void test_pid_0_is_no_server(void **state)
{
	const int32_t pids[][2] = {{0, -1}, {-1, -1}, {1, 1}};
	uint8_t raw[DEV_INFO_RAW_BYTES] = {0};
	struct dev_info info;

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		put_u32(raw, 16, (uint32_t)pids[i][0]);
		dev_info_decode(raw, &info);
		assert_int_equal(info.server_pid, pids[i][1]);
	}
}

static void test_states(void **state)
{
	const struct {
		uint16_t raw;
		const char *name;
	} cases[] = {{0, "dead"},    {1, "live"},    {2, "quiesced"},
		     {3, "fail-io"}, {4, "unknown"}, {65535, "unknown"}};
	uint8_t raw[DEV_INFO_RAW_BYTES] = {0};
	struct dev_info info;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_u16(raw, 4, cases[i].raw);
		dev_info_decode(raw, &info);
		assert_string_equal(dev_state_to_string(info.state), cases[i].name);
	}
	assert_string_equal(dev_state_to_string((enum dev_state)99), "unknown");
}

static void test_every_command_has_a_name(void **state)
{
	assert_string_equal(ctrl_op_to_string(CTRL_GET_QUEUE_AFFINITY), "GET_QUEUE_AFFINITY");
	assert_string_equal(ctrl_op_to_string(CTRL_UNREG_BUF), "UNREG_BUF");
	assert_string_equal(ctrl_op_to_string(N_CTRL_OPS), "unknown");
	for (enum ctrl_op a = 0; a < N_CTRL_OPS; a++) {
		for (enum ctrl_op b = 0; b < a; b++)
			assert_string_not_equal(ctrl_op_to_string(a), ctrl_op_to_string(b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_command_is_byte_exact),
		cmocka_unit_test(test_dev_info_is_byte_exact),
		cmocka_unit_test(test_dev_info_decodes_every_field),
		cmocka_unit_test(test_descriptor_size_counts_only_with_its_feature),
		cmocka_unit_test(test_pid_0_is_no_server),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_every_command_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
