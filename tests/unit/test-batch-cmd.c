/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/batch-cmd.h"

#include "abi/io-cmd.h"
#include "golden.h"

#include <liburing.h>

union sqe {
	struct io_uring_sqe sqe;
	uint8_t raw[64];
};

static void test_elements_are_byte_exact(void **state)
{
	const struct batch_elem e = {
		.tag = 0x0102,
		.buf_index = 0x0304,
		.result = -5,
		.buf_addr = 0x1112131415161718,
		.zone_lba = 0x2122232425262728,
	};
	uint8_t got[BATCH_ELEM_MAX_BYTES], want[BATCH_ELEM_MAX_BYTES];

	assert_int_equal(batch_elem_size_bytes(0), 8);
	assert_int_equal(batch_elem_size_bytes(BATCH_BUF_ADDR), 16);
	assert_int_equal(batch_elem_size_bytes(BATCH_ZONE_LBA), 16);
	assert_int_equal(batch_elem_size_bytes(BATCH_BUF_ADDR | BATCH_ZONE_LBA), 24);
	assert_int_equal(batch_elem_size_bytes(BATCH_AUTO_BUF_FALLBACK), 8);

	memset(want, 0xa5, sizeof(want));
	memset(got, 0xa5, sizeof(got));
	put_u16(want, 0, 0x0102);
	put_u16(want, 2, 0x0304);
	put_u32(want, 4, (uint32_t)-5);
	batch_elem_encode(&e, 0, got);
	assert_memory_equal(got, want, sizeof(want));

	put_u64(want, 8, 0x2122232425262728);
	batch_elem_encode(&e, BATCH_ZONE_LBA, got);
	assert_memory_equal(got, want, sizeof(want));

	put_u64(want, 8, 0x1112131415161718);
	batch_elem_encode(&e, BATCH_BUF_ADDR, got);
	assert_memory_equal(got, want, sizeof(want));

	put_u64(want, 16, 0x2122232425262728);
	batch_elem_encode(&e, BATCH_BUF_ADDR | BATCH_ZONE_LBA, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void test_commands_are_byte_exact(void **state)
{
	static const uint8_t elems[16];
	struct batch_cmd cmd = {
		.op = BATCH_PREPARE,
		.queue = 3,
		.n_elems = 128,
		.batch_flags = BATCH_BUF_ADDR,
		.elems = elems,
	};
	uint8_t want[64] = {0};
	union sqe got;

	memset(&got, 0xa5, sizeof(got));
	put_u8(want, 0, 46);
	put_u32(want, 4, 5);
	put_u32(want, 8, 0xc0107525);
	put_u64(want, 16, (uintptr_t)elems);
	put_u16(want, 48, 3);
	put_u16(want, 50, 2);
	put_u16(want, 52, 128);
	put_u8(want, 54, 16);
	batch_cmd_encode(&got.sqe, 5, 0, &cmd);
	assert_memory_equal(got.raw, want, sizeof(want));

	cmd.op = BATCH_COMMIT;
	cmd.batch_flags = BATCH_ZONE_LBA | BATCH_AUTO_BUF_FALLBACK;
	put_u8(want, 1, 1);
	put_u32(want, 8, 0xc0107526);
	put_u16(want, 50, 1 | 4);
	batch_cmd_encode(&got.sqe, 5, IO_CMD_FIXED_FILE, &cmd);
	assert_memory_equal(got.raw, want, sizeof(want));
}

static void test_fetch_is_byte_exact(void **state)
{
	uint8_t want[64] = {0};
	union sqe got;

	memset(&got, 0xa5, sizeof(got));
	put_u8(want, 0, 46);
	put_u8(want, 1, 1 | 1 << 5); /* IOSQE_FIXED_FILE, IOSQE_BUFFER_SELECT */
	put_u32(want, 4, 1);
	put_u32(want, 8, 0xc0107527);
	put_u32(want, 28, 2);
	put_u16(want, 40, 9);
	put_u16(want, 48, 3);
	put_u8(want, 54, 2);
	batch_cmd_encode_fetch(&got.sqe, 1, IO_CMD_FIXED_FILE, 3, 9);
	assert_memory_equal(got.raw, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elements_are_byte_exact),
		cmocka_unit_test(test_commands_are_byte_exact),
		cmocka_unit_test(test_fetch_is_byte_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
