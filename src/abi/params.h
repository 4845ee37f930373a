/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Limits of a device in bytes, to and from the kernel's parameters in sectors and shifts. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a backend can do, and so what its block device says of itself. Filled once by open(). */
struct limits {
	uint64_t size_bytes;
	uint32_t logical_block_bytes;  /* power of two, 512 to the page size */
	uint32_t physical_block_bytes; /* power of two, at least the logical block */
	uint32_t io_min_bytes;         /* preferred smallest I/O, power of two; 0: physical block */
	uint32_t io_opt_bytes;         /* preferred I/O, power of two; 0: none */
	uint32_t max_io_bytes;         /* largest READ or WRITE; a multiple of the page size */
	uint32_t dma_alignment_bytes;  /* power of two; 0: the kernel's default */
	/* 0: the operation is not offered. Neither is bounded by max_io_bytes. */
	uint64_t max_discard_bytes;
	uint64_t max_write_zeroes_bytes;
	uint32_t discard_granularity_bytes;
	uint32_t max_queues; /* 0: any number */
	bool read_only;
	bool rotational;
	bool write_cache; /* writes are volatile until a FLUSH; never on a read-only device */
	bool fua;         /* needs write_cache */
	bool no_data;     /* no READ or WRITE needs its data; not told to the kernel */
};

#define PARAMS_RAW_BYTES 152

/* Above it a range is cut: WRITE_ZEROES of 4 GiB and more lost its high bits before Linux 6.11 if
 * the limit let it through. A whole number of blocks of every page size. */
#define LIMITS_MAX_RANGE_BYTES (((uint64_t)1 << 32) - 65536)

/**
 * params_encode() - limits as the kernel's struct, for SET_PARAMS
 *
 * Limits must have passed params_check(). The fields that may be 0 get their defaults, and the two
 * ranges are cut to LIMITS_MAX_RANGE_BYTES.
 */
void params_encode(const struct limits *limits, uint8_t raw[static PARAMS_RAW_BYTES]);

/* The other way, for GET_PARAMS. Blocks that the kernel did not fill leave their fields 0. */
void params_decode(const uint8_t raw[static PARAMS_RAW_BYTES], struct limits *ret_limits);

/* Prepare the buffer of GET_PARAMS: the kernel wants to know its length. */
void params_init_raw(uint8_t raw[static PARAMS_RAW_BYTES]);

/**
 * params_check() - would every kernel accept these limits?
 * @ret_why:	set to a static text without final stop if not
 *
 * Return: 0; -EINVAL.
 */
int params_check(const struct limits *limits, uint32_t page_bytes, const char **ret_why);

/* The kernel's unit of sizes, 512 bytes. */
uint64_t params_sectors(uint64_t bytes);
