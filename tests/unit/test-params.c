/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/params.h"

#include "golden.h"
#include "util/cleanup.h"

#include <errno.h>

#define MIB (1U << 20)
#define GIB (1ULL << 30)

/* Limits that every kernel takes; the tests change one thing at a time. */
static struct limits good(void)
{
	return (struct limits){
		.size_bytes = 100 * GIB,
		.logical_block_bytes = 512,
		.physical_block_bytes = 4096,
		.io_opt_bytes = MIB,
		.max_io_bytes = 512 << 10,
		.dma_alignment_bytes = 512,
		.max_discard_bytes = GIB,
		.max_write_zeroes_bytes = 2 * GIB,
		.discard_granularity_bytes = 4096,
		.write_cache = true,
		.fua = true,
	};
}

static void test_encoding_is_byte_exact(void **state)
{
	const struct limits l = good();
	uint8_t want[PARAMS_RAW_BYTES] = {0}, got[PARAMS_RAW_BYTES];

	put_u32(want, 0, 152);
	put_u32(want, 4, 1 | 2 | 16);
	put_u32(want, 8, 4 | 8);
	put_u8(want, 12, 9);
	put_u8(want, 13, 12);
	put_u8(want, 14, 20); /* io_opt */
	put_u8(want, 15, 12); /* io_min: the physical block */
	put_u32(want, 16, 1024);
	put_u64(want, 24, 100 * GIB / 512);
	put_u32(want, 44, 4096);
	put_u32(want, 48, 1 << 21);
	put_u32(want, 52, 1 << 22);
	put_u16(want, 56, 1);
	put_u32(want, 108, 511);
	memset(got, 0xa5, sizeof(got));
	params_encode(&l, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void test_least_is_the_basic_block_alone(void **state)
{
	const struct limits l = {
		.size_bytes = 4096,
		.logical_block_bytes = 4096,
		.physical_block_bytes = 4096,
		.io_min_bytes = 8192,
		.max_io_bytes = 4096,
		.read_only = true,
		.rotational = true,
	};
	uint8_t want[PARAMS_RAW_BYTES] = {0}, got[PARAMS_RAW_BYTES];

	put_u32(want, 0, 152);
	put_u32(want, 4, 1);
	put_u32(want, 8, 1 | 2);
	put_u8(want, 12, 12);
	put_u8(want, 13, 12);
	put_u8(want, 15, 13);
	put_u32(want, 16, 8);
	put_u64(want, 24, 8);
	params_encode(&l, got);
	assert_memory_equal(got, want, sizeof(want));
}

static void test_write_zeroes_alone_has_a_granularity(void **state)
{
	struct limits l = good();
	uint8_t raw[PARAMS_RAW_BYTES];
	struct limits back;
	uint16_t n_segments;

	l.max_discard_bytes = 0;
	l.discard_granularity_bytes = 0;
	params_encode(&l, raw);
	memcpy(&n_segments, raw + 56, sizeof(n_segments));
	assert_int_equal(n_segments, 0);
	params_decode(raw, &back);
	assert_int_equal(back.discard_granularity_bytes, 512);
	assert_int_equal(back.max_discard_bytes, 0);
	assert_true(back.max_write_zeroes_bytes == 2 * GIB);
}

static void test_ranges_are_cut_below_4_gib(void **state)
{
	const uint64_t ranges[] = {LIMITS_MAX_RANGE_BYTES, LIMITS_MAX_RANGE_BYTES + 512, 4 * GIB,
				   1ULL << 50, UINT64_MAX / 4096 * 4096};
	uint8_t raw[PARAMS_RAW_BYTES];
	struct limits back;

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		struct limits l = good();

		l.max_discard_bytes = l.max_write_zeroes_bytes = ranges[i];
		params_encode(&l, raw);
		params_decode(raw, &back);
		assert_true(back.max_discard_bytes == 0xffff0000);
		assert_true(back.max_write_zeroes_bytes == 0xffff0000);
	}
}

static void test_round_trip(void **state)
{
	struct limits l = good(), back;
	uint8_t raw[PARAMS_RAW_BYTES];

	l.io_min_bytes = 8192;
	params_encode(&l, raw);
	params_decode(raw, &back);
	/* both were zeroed first, but for what may stand behind the last field */
	assert_memory_equal(&l, &back, offsetof(struct limits, fua) + sizeof(l.fua));
}

/* A device of somebody else, on any kernel, need not make sense. */
static void test_decode_takes_anything(void **state)
{
	uint8_t raw[PARAMS_RAW_BYTES];
	struct limits back;

	memset(raw, 0xff, sizeof(raw));
	params_decode(raw, &back);
	assert_int_equal(back.logical_block_bytes, 0);
	assert_int_equal(back.dma_alignment_bytes, 0);
	assert_true(back.read_only && back.fua);

	put_u32(raw, 4, 0);
	params_decode(raw, &back);
	assert_int_equal(back.size_bytes, 0);
	assert_false(back.read_only);
}

static void test_buffer_of_get_params_knows_its_length(void **state)
{
	uint8_t want[PARAMS_RAW_BYTES] = {0}, got[PARAMS_RAW_BYTES];

	memset(got, 0xa5, sizeof(got));
	put_u32(want, 0, 152);
	params_init_raw(got);
	assert_memory_equal(got, want, sizeof(want));
}

static void test_good_limits_pass(void **state)
{
	const char *why = "untouched";
	struct limits l = good();

	assert_int_equal(params_check(&l, 4096, &why), 0);
	l.size_bytes = INT64_MAX / 512 * 512;
	assert_int_equal(params_check(&l, 4096, &why), 0);
	l = good();
	l.max_io_bytes = 32 * MIB;
	assert_int_equal(params_check(&l, 4096, &why), 0);
	l.max_discard_bytes = l.max_write_zeroes_bytes = UINT64_MAX / 512 * 512;
	assert_int_equal(params_check(&l, 4096, &why), 0);
	assert_string_equal(why, "untouched");
}

/* One assignment that spoils good limits, and a word of the complaint. */
#define SPOIL(field, value, word)                                                                  \
	do {                                                                                       \
		struct limits l_ = good();                                                         \
		const char *why_ = NULL;                                                           \
		l_.field = (value);                                                                \
		assert_int_equal(params_check(&l_, 4096, &why_), -EINVAL);                         \
		assert_non_null(why_);                                                             \
		assert_non_null(strstr(why_, word));                                               \
	} while (0)

static void test_bad_limits_are_named(void **state)
{
	struct limits large = good();
	const char *why = NULL;

	/* a discard that is large enough, but not when it is cut */
	large.max_discard_bytes = 1ULL << 33;
	large.discard_granularity_bytes = UINT32_MAX - 511;
	assert_int_equal(params_check(&large, 4096, &why), -EINVAL);
	assert_non_null(strstr(why, "granularity"));

	SPOIL(logical_block_bytes, 0, "logical block");
	SPOIL(logical_block_bytes, 256, "logical block");
	SPOIL(logical_block_bytes, 520, "logical block");
	SPOIL(logical_block_bytes, 8192, "logical block");
	SPOIL(physical_block_bytes, 0, "physical block");
	SPOIL(physical_block_bytes, 256, "physical block");
	SPOIL(physical_block_bytes, 3 * 512, "physical block");
	SPOIL(physical_block_bytes, 1U << 29, "physical block");
	SPOIL(io_min_bytes, 256, "smallest I/O");
	SPOIL(io_min_bytes, 1000, "smallest I/O");
	SPOIL(io_min_bytes, 1U << 29, "smallest I/O");
	SPOIL(io_opt_bytes, 1000, "best I/O");
	SPOIL(io_opt_bytes, 1U << 31, "best I/O");
	SPOIL(max_io_bytes, 0, "largest I/O");
	SPOIL(max_io_bytes, 4096 + 512, "largest I/O");
	SPOIL(max_io_bytes, 32 * MIB + 4096, "largest I/O");
	SPOIL(dma_alignment_bytes, 513, "memory alignment");
	SPOIL(dma_alignment_bytes, 8192, "memory alignment");
	SPOIL(size_bytes, 0, "size");
	SPOIL(size_bytes, 1000, "size");
	SPOIL(size_bytes, 1ULL << 63, "8 EiB");
	SPOIL(max_discard_bytes, 513, "multiples");
	SPOIL(max_write_zeroes_bytes, 513, "multiples");
	SPOIL(discard_granularity_bytes, 513, "multiples");
	SPOIL(max_discard_bytes, 512, "granularity");
	SPOIL(read_only, true, "read-only");
	SPOIL(write_cache, false, "FUA");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encoding_is_byte_exact),
		cmocka_unit_test(test_least_is_the_basic_block_alone),
		cmocka_unit_test(test_write_zeroes_alone_has_a_granularity),
		cmocka_unit_test(test_ranges_are_cut_below_4_gib),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_decode_takes_anything),
		cmocka_unit_test(test_buffer_of_get_params_knows_its_length),
		cmocka_unit_test(test_good_limits_pass),
		cmocka_unit_test(test_bad_limits_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
