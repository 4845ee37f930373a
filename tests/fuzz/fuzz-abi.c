/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel hands us, of any bytes: each decoder makes something of it that the rest of the
 * program can work with, and what would pass as ours encodes to the same again.
 */
#include "fuzz.h"

#include <string.h>

#include "abi/ctrl-cmd.h"
#include "abi/io-cmd.h"
#include "abi/params.h"
#include "util/cleanup.h"

#define DESC_BYTES 24
#define PAGE_BYTES 4096
#define IO_FLAGS   (IO_FUA | IO_NOUNMAP | IO_NEED_REG_BUF)

/* Of that size exactly, so that the address sanitizer sees a read behind the end. */
static uint8_t *copy(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size);

	CHECK(p);
	memcpy(p, data, size);
	return p;
}

static void check_descriptor(const uint8_t *map, uint32_t stride, uint16_t tag)
{
	struct io_desc desc;
	uint64_t sector;

	memset(&desc, 0xa5, sizeof(desc));
	io_desc_decode(map, stride, tag, &desc);
	CHECK((unsigned)desc.op < N_IO_OPS && io_op_to_string(desc.op));
	CHECK((desc.flags & ~IO_FLAGS) == 0);
	CHECK(desc.offset_bytes % 512 == 0 && desc.len_bytes % 512 == 0);
	if (desc.op == IO_FLUSH) {
		CHECK(desc.offset_bytes == 0 && desc.len_bytes == 0);
		return;
	}
	/* What lies behind every device must not look as if it were within one. */
	memcpy(&sector, map + (size_t)tag * stride + 8, sizeof(sector));
	CHECK(desc.offset_bytes >> 9 == sector || desc.offset_bytes > INT64_MAX);
}

static void check_descriptors(const uint8_t *data, size_t size, uint32_t stride)
{
	AUTO_FREE uint8_t *map = copy(data, size);

	for (size_t tag = 0; tag < IO_MAX_DEPTH && tag * stride + DESC_BYTES <= size; tag++)
		check_descriptor(map, stride, (uint16_t)tag);
}

static void check_params(const uint8_t *data)
{
	AUTO_FREE uint8_t *raw = copy(data, PARAMS_RAW_BYTES);
	uint8_t raw_again[PARAMS_RAW_BYTES];
	struct limits l, again;
	const char *why = NULL;

	params_decode(raw, &l);
	if (params_check(&l, PAGE_BYTES, &why) < 0) {
		CHECK(why && *why);
		return;
	}
	params_encode(&l, raw_again);
	params_decode(raw_again, &again);
	CHECK(params_check(&again, PAGE_BYTES, &why) == 0);
	CHECK(l.size_bytes == again.size_bytes && l.max_io_bytes == again.max_io_bytes);
	CHECK(l.logical_block_bytes == again.logical_block_bytes);
	CHECK(l.physical_block_bytes == again.physical_block_bytes);
	CHECK(again.io_min_bytes == (l.io_min_bytes ? l.io_min_bytes : l.physical_block_bytes));
	CHECK(l.io_opt_bytes == again.io_opt_bytes);
	CHECK(l.dma_alignment_bytes == again.dma_alignment_bytes);
	CHECK(again.max_discard_bytes == MIN(l.max_discard_bytes, LIMITS_MAX_RANGE_BYTES));
	CHECK(again.max_write_zeroes_bytes ==
	      MIN(l.max_write_zeroes_bytes, LIMITS_MAX_RANGE_BYTES));
	CHECK(l.read_only == again.read_only && l.rotational == again.rotational);
	CHECK(l.write_cache == again.write_cache && l.fua == again.fua);
}

static void check_dev_info(const uint8_t *data)
{
	AUTO_FREE uint8_t *raw = copy(data, DEV_INFO_RAW_BYTES);
	uint8_t raw_again[DEV_INFO_RAW_BYTES];
	struct dev_info info, again;

	dev_info_decode(raw, &info);
	CHECK((unsigned)info.state <= DEV_UNKNOWN && dev_state_to_string(info.state));
	CHECK(info.server_pid == -1 || info.server_pid > 0);
	dev_info_encode(&info, raw_again);
	dev_info_decode(raw_again, &again);
	CHECK(again.server_pid == -1 && again.state == DEV_DEAD); /* never sent */
	CHECK(info.dev_id == again.dev_id && info.flags == again.flags);
	CHECK(info.n_queues == again.n_queues && info.depth == again.depth);
	CHECK(info.max_io_bytes == again.max_io_bytes && info.cookie == again.cookie);
	CHECK(info.desc_size_bytes == again.desc_size_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	check_descriptors(data + 1, size - 1, DESC_BYTES + data[0] % 6 * 8);
	if (size > PARAMS_RAW_BYTES)
		check_params(data + 1);
	if (size > DEV_INFO_RAW_BYTES)
		check_dev_info(data + 1);
	return 0;
}
