/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/params.h"

#include <errno.h>
#include <string.h>

#include "abi/uapi.h"
#include "util/cleanup.h"

#define SECTOR_SHIFT     9
#define MIN_BLOCK_BYTES  512U
#define MAX_BLOCK_BYTES  (1U << 28) /* of physical block, io_min and io_opt, since 7.x */
#define MAX_MAX_IO_BYTES (1U << UBLK_IO_BUF_BITS)

static_assert(sizeof(struct ublk_params) == PARAMS_RAW_BYTES, "ABI");
static_assert(LIMITS_MAX_RANGE_BYTES % 65536 == 0, "a whole number of blocks of any page size");

static bool is_power_of_two(uint32_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* 0 has shift 0, which the kernel takes for "not given". */
static uint8_t bytes_to_shift(uint32_t bytes)
{
	return bytes ? (uint8_t)__builtin_ctz(bytes) : 0;
}

static uint32_t shift_to_bytes(uint8_t shift)
{
	return shift > 0 && shift < 32 ? 1U << shift : 0;
}

static uint32_t range_to_sectors(uint64_t bytes)
{
	return (uint32_t)(MIN(bytes, LIMITS_MAX_RANGE_BYTES) >> SECTOR_SHIFT);
}

void params_encode(const struct limits *limits, uint8_t raw[static PARAMS_RAW_BYTES])
{
	struct ublk_params k = {
		.len = sizeof(k),
		.types = UBLK_PARAM_TYPE_BASIC,
		.basic =
			{
				.attrs = (limits->read_only ? UBLK_ATTR_READ_ONLY : 0) |
					 (limits->rotational ? UBLK_ATTR_ROTATIONAL : 0) |
					 (limits->write_cache ? UBLK_ATTR_VOLATILE_CACHE : 0) |
					 (limits->fua ? UBLK_ATTR_FUA : 0),
				.logical_bs_shift = bytes_to_shift(limits->logical_block_bytes),
				.physical_bs_shift = bytes_to_shift(limits->physical_block_bytes),
				.io_opt_shift = bytes_to_shift(limits->io_opt_bytes),
				.io_min_shift = bytes_to_shift(
					limits->io_min_bytes ? limits->io_min_bytes
							     : limits->physical_block_bytes),
				.max_sectors = limits->max_io_bytes >> SECTOR_SHIFT,
				.dev_sectors = limits->size_bytes >> SECTOR_SHIFT,
			},
	};

	if (limits->max_discard_bytes || limits->max_write_zeroes_bytes) {
		k.types |= UBLK_PARAM_TYPE_DISCARD;
		/* refused if 0, even if there is nothing but WRITE_ZEROES */
		k.discard.discard_granularity = limits->discard_granularity_bytes
							? limits->discard_granularity_bytes
							: limits->logical_block_bytes;
		k.discard.max_discard_sectors = range_to_sectors(limits->max_discard_bytes);
		k.discard.max_write_zeroes_sectors =
			range_to_sectors(limits->max_write_zeroes_bytes);
		k.discard.max_discard_segments = limits->max_discard_bytes ? 1 : 0;
	}
	if (limits->dma_alignment_bytes) {
		k.types |= UBLK_PARAM_TYPE_DMA_ALIGN;
		k.dma.alignment = limits->dma_alignment_bytes - 1;
	}
	memcpy(raw, &k, sizeof(k));
}

void params_decode(const uint8_t raw[static PARAMS_RAW_BYTES], struct limits *ret_limits)
{
	struct limits l = {0};
	struct ublk_params k;

	memcpy(&k, raw, sizeof(k));
	if (k.types & UBLK_PARAM_TYPE_BASIC) {
		l.size_bytes = k.basic.dev_sectors << SECTOR_SHIFT;
		l.logical_block_bytes = shift_to_bytes(k.basic.logical_bs_shift);
		l.physical_block_bytes = shift_to_bytes(k.basic.physical_bs_shift);
		l.io_min_bytes = shift_to_bytes(k.basic.io_min_shift);
		l.io_opt_bytes = shift_to_bytes(k.basic.io_opt_shift);
		l.max_io_bytes = k.basic.max_sectors << SECTOR_SHIFT;
		l.read_only = k.basic.attrs & UBLK_ATTR_READ_ONLY;
		l.rotational = k.basic.attrs & UBLK_ATTR_ROTATIONAL;
		l.write_cache = k.basic.attrs & UBLK_ATTR_VOLATILE_CACHE;
		l.fua = k.basic.attrs & UBLK_ATTR_FUA;
	}
	if (k.types & UBLK_PARAM_TYPE_DISCARD) {
		l.discard_granularity_bytes = k.discard.discard_granularity;
		l.max_discard_bytes = (uint64_t)k.discard.max_discard_sectors << SECTOR_SHIFT;
		l.max_write_zeroes_bytes = (uint64_t)k.discard.max_write_zeroes_sectors
					   << SECTOR_SHIFT;
	}
	if (k.types & UBLK_PARAM_TYPE_DMA_ALIGN && k.dma.alignment < UINT32_MAX)
		l.dma_alignment_bytes = k.dma.alignment + 1;
	*ret_limits = l;
}

void params_init_raw(uint8_t raw[static PARAMS_RAW_BYTES])
{
	const struct ublk_params k = {.len = sizeof(k)};

	memcpy(raw, &k, sizeof(k));
}

/* NULL: nothing to complain of. */
static const char *check_blocks(const struct limits *l, uint32_t page_bytes)
{
	if (!is_power_of_two(l->logical_block_bytes) || l->logical_block_bytes < MIN_BLOCK_BYTES ||
	    l->logical_block_bytes > page_bytes)
		return "the logical block must be a power of two from 512 to the page size";
	if (!is_power_of_two(l->physical_block_bytes) ||
	    l->physical_block_bytes < l->logical_block_bytes ||
	    l->physical_block_bytes > MAX_BLOCK_BYTES)
		return "the physical block must be a power of two from the logical block to 256M";
	if (l->io_min_bytes &&
	    (!is_power_of_two(l->io_min_bytes) || l->io_min_bytes < l->logical_block_bytes ||
	     l->io_min_bytes > MAX_BLOCK_BYTES))
		return "the smallest I/O must be a power of two from the logical block to 256M";
	if (l->io_opt_bytes &&
	    (!is_power_of_two(l->io_opt_bytes) || l->io_opt_bytes < l->logical_block_bytes ||
	     l->io_opt_bytes > MAX_BLOCK_BYTES))
		return "the best I/O must be a power of two from the logical block to 256M";
	if (l->max_io_bytes == 0 || l->max_io_bytes % page_bytes ||
	    l->max_io_bytes > MAX_MAX_IO_BYTES)
		return "the largest I/O must be a multiple of the page size, up to 32M";
	if (l->dma_alignment_bytes &&
	    (!is_power_of_two(l->dma_alignment_bytes) || l->dma_alignment_bytes > page_bytes))
		return "the memory alignment must be a power of two up to the page size";
	return NULL;
}

static const char *check_ranges(const struct limits *l)
{
	const uint32_t block = l->logical_block_bytes;

	if (l->size_bytes == 0 || l->size_bytes % block)
		return "the size must be a multiple of the logical block, and not 0";
	if (l->size_bytes > INT64_MAX)
		return "the size must be less than 8 EiB";
	if (l->max_discard_bytes % block || l->max_write_zeroes_bytes % block ||
	    l->discard_granularity_bytes % block)
		return "discard and write-zeroes limits must be multiples of the logical block";
	/* what is left of it when it is cut */
	if (l->max_discard_bytes &&
	    MIN(l->max_discard_bytes, LIMITS_MAX_RANGE_BYTES) < l->discard_granularity_bytes)
		return "the largest discard must not be below the discard granularity";
	return NULL;
}

static const char *check_cache(const struct limits *l)
{
	if (l->read_only && l->write_cache)
		return "a read-only device has no write cache";
	if (l->fua && !l->write_cache)
		return "FUA needs a write cache";
	return NULL;
}

int params_check(const struct limits *limits, uint32_t page_bytes, const char **ret_why)
{
	const char *why = check_blocks(limits, page_bytes);

	if (!why)
		why = check_ranges(limits);
	if (!why)
		why = check_cache(limits);
	if (!why)
		return 0;
	*ret_why = why;
	return -EINVAL;
}

uint64_t params_sectors(uint64_t bytes)
{
	return bytes >> SECTOR_SHIFT;
}
