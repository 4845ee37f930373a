/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/io-cmd.h"

#include "golden.h"
#include "util/cleanup.h"

#include <liburing.h>
#include <unistd.h>

/* A plain SQE, and a guard behind it. */
union sqe {
	struct io_uring_sqe sqe;
	uint8_t raw[64 + 16];
};

static void dirty(union sqe *s, uint8_t want[static 64 + 16])
{
	memset(s, 0xa5, sizeof(*s));
	memset(want, 0, 64);
	memset(want + 64, 0xa5, 16);
}

static void test_fetch_is_byte_exact(void **state)
{
	static char buf[1];
	uint8_t want[64 + 16];
	union sqe got;

	dirty(&got, want);
	put_u8(want, 0, 46);
	put_u32(want, 4, 5);
	put_u32(want, 8, 0xc0107520);
	put_u16(want, 48, 0x0102);
	put_u16(want, 50, 0x0304);
	put_u64(want, 56, (uintptr_t)buf);
	io_cmd_fetch(&got.sqe, 5, 0, 0x0102, 0x0304, buf);
	assert_memory_equal(got.raw, want, sizeof(want));

	put_u8(want, 1, 1); /* IOSQE_FIXED_FILE */
	io_cmd_fetch(&got.sqe, 5, IO_CMD_FIXED_FILE, 0x0102, 0x0304, buf);
	assert_memory_equal(got.raw, want, sizeof(want));

	put_u32(want, 8, 0x20);
	io_cmd_fetch(&got.sqe, 5, IO_CMD_FIXED_FILE | IO_CMD_LEGACY, 0x0102, 0x0304, buf);
	assert_memory_equal(got.raw, want, sizeof(want));
}

static void test_commit_is_byte_exact(void **state)
{
	static char buf[1];
	uint8_t want[64 + 16];
	union sqe got;

	dirty(&got, want);
	put_u8(want, 0, 46);
	put_u32(want, 4, 5);
	put_u32(want, 8, 0xc0107521);
	put_u16(want, 48, 3);
	put_u16(want, 50, 4095);
	put_u32(want, 52, (uint32_t)-28);
	put_u64(want, 56, (uintptr_t)buf);
	io_cmd_commit_and_fetch(&got.sqe, 5, 0, 3, 4095, buf, -ENOSPC);
	assert_memory_equal(got.raw, want, sizeof(want));

	put_u32(want, 8, 0x21);
	put_u32(want, 52, 1 << 20);
	io_cmd_commit_and_fetch(&got.sqe, 5, IO_CMD_LEGACY, 3, 4095, buf, 1 << 20);
	assert_memory_equal(got.raw, want, sizeof(want));
}

static void test_buffer_registration_is_byte_exact(void **state)
{
	uint8_t want[64 + 16];
	union sqe got;

	dirty(&got, want);
	put_u8(want, 0, 46);
	put_u8(want, 1, 1);
	put_u32(want, 8, 0xc0107523);
	put_u16(want, 48, 1);
	put_u16(want, 50, 2);
	put_u64(want, 56, 0xfffe);
	io_cmd_register_buf(&got.sqe, 0, IO_CMD_FIXED_FILE, 1, 2, 0xfffe);
	assert_memory_equal(got.raw, want, sizeof(want));

	put_u32(want, 8, 0xc0107524);
	io_cmd_unregister_buf(&got.sqe, 0, IO_CMD_FIXED_FILE, 1, 2, 0xfffe);
	assert_memory_equal(got.raw, want, sizeof(want));
}

static void test_auto_buf_goes_to_the_sqe_address(void **state)
{
	uint8_t want[64 + 16];
	union sqe got;

	dirty(&got, want);
	put_u8(want, 0, 46);
	put_u32(want, 8, 0xc0107520);
	put_u64(want, 16, 0xffff);
	io_cmd_fetch(&got.sqe, 0, 0, 0, 0, NULL);
	io_cmd_set_auto_buf(&got.sqe, 0xffff, false);
	assert_memory_equal(got.raw, want, sizeof(want));

	put_u64(want, 16, 0x10007);
	io_cmd_set_auto_buf(&got.sqe, 7, true);
	assert_memory_equal(got.raw, want, sizeof(want));
}

static void test_user_copy_offset(void **state)
{
	assert_true(io_user_copy_offset_bytes(0, 0, 0) == 0x80000000);
	assert_true(io_user_copy_offset_bytes(0, 0, 4096) == 0x80001000);
	assert_true(io_user_copy_offset_bytes(0, 1, 0) == 0x80000000 + (1ULL << 25));
	assert_true(io_user_copy_offset_bytes(1, 0, 0) == 0x80000000 + (1ULL << 41));
	assert_true(io_user_copy_offset_bytes(4095, 4095, (1 << 25) - 512) ==
		    0x80000000 + (4095ULL << 41) + (4095ULL << 25) + (1 << 25) - 512);
}

static void test_descriptor_map(void **state)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (page == 4096) {
		assert_int_equal(io_desc_map_len_bytes(1, 24), 4096);
		assert_int_equal(io_desc_map_len_bytes(170, 24), 4096);
		assert_int_equal(io_desc_map_len_bytes(171, 24), 8192);
		assert_int_equal(io_desc_map_len_bytes(4096, 24), 98304);
		assert_int_equal(io_desc_map_len_bytes(128, 64), 8192);
		assert_int_equal(io_desc_map_offset_bytes(1, 24), 98304);
		assert_int_equal(io_desc_map_offset_bytes(3, 64), 3 * 262144);
		assert_true(io_desc_map_offset_bytes(4095, 256) == 4095ULL << 20);
	}
	assert_int_equal(io_desc_map_offset_bytes(0, 24), 0);
	assert_int_equal(io_desc_map_len_bytes(1, 24), page);
	assert_int_equal(io_desc_map_offset_bytes(2, 24) % page, 0);
}

struct desc_case {
	uint32_t op_flags;
	uint32_t n_sectors;
	uint64_t start_sector;
	struct io_desc want;
};

static void test_descriptors(void **state)
{
	const struct desc_case cases[] = {
		{0, 8, 0, {IO_READ, 0, 0, 4096}},
		{1 | 1 << 13, 1, 1, {IO_WRITE, IO_FUA, 512, 512}},
		{2, 0, 0, {IO_FLUSH, 0, 0, 0}},
		{2 | 1 << 8, 0, ~0ULL, {IO_FLUSH, 0, 0, 0}}, /* 6.12 to 7.2 */
		{3, 0xffffffff, 1ULL << 40, {IO_DISCARD, 0, 1ULL << 49, 0xffffffffULL << 9}},
		{4, 8, 0, {IO_OTHER, 0, 0, 4096}},
		{5 | 1 << 15, 8, 8, {IO_WRITE_ZEROES, IO_NOUNMAP, 4096, 4096}},
		{5, 8, 8, {IO_WRITE_ZEROES, 0, 4096, 4096}},
		{13, 8, 8, {IO_OTHER, 0, 4096, 4096}},
		{18, 1, 0, {IO_OTHER, 0, 0, 512}},
		{255, 8, 0, {IO_OTHER, 0, 0, 4096}},
		{1 | 1 << 17, 8, 0, {IO_WRITE, IO_NEED_REG_BUF, 0, 4096}},
		/* farther than bytes can tell: not at the beginning again */
		{1, 8, 1ULL << 55, {IO_WRITE, 0, ~511ULL, 4096}},
		{1, 8, ~0ULL, {IO_WRITE, 0, ~511ULL, 4096}},
		/* failfast, meta, swap: hints that mean nothing to a backend */
		{0 | 7 << 8 | 1 << 11 | 1 << 16, 8, 0, {IO_READ, 0, 0, 4096}},
	};
	const uint32_t sizes[] = {24, 64};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint8_t map[ARRAY_SIZE(cases) * 64];

		memset(map, 0xee, sizeof(map));
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			put_u32(map, i * sizes[s], cases[i].op_flags);
			put_u32(map, i * sizes[s] + 4, cases[i].n_sectors);
			put_u64(map, i * sizes[s] + 8, cases[i].start_sector);
		}
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct io_desc got;

			io_desc_decode(map, sizes[s], (uint16_t)i, &got);
			assert_int_equal(got.op, cases[i].want.op);
			assert_int_equal(got.flags, cases[i].want.flags);
			assert_true(got.offset_bytes == cases[i].want.offset_bytes);
			assert_true(got.len_bytes == cases[i].want.len_bytes);
		}
	}
}

static void test_op_names(void **state)
{
	const char *const names[N_IO_OPS] = {"read",    "write",        "flush",
					     "discard", "write-zeroes", "other"};

	for (enum io_op op = 0; op < N_IO_OPS; op++)
		assert_string_equal(io_op_to_string(op), names[op]);
	assert_string_equal(io_op_to_string(N_IO_OPS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetch_is_byte_exact),
		cmocka_unit_test(test_commit_is_byte_exact),
		cmocka_unit_test(test_buffer_registration_is_byte_exact),
		cmocka_unit_test(test_auto_buf_goes_to_the_sqe_address),
		cmocka_unit_test(test_user_copy_offset),
		cmocka_unit_test(test_descriptor_map),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_op_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
