/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Parameters of a device: SET_PARAMS, GET_PARAMS. A sector is 512 bytes. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define UBLK_PARAM_TYPE_BASIC     (1U << 0)
#define UBLK_PARAM_TYPE_DISCARD   (1U << 1)
#define UBLK_PARAM_TYPE_DEVT      (1U << 2) /* read only: SET_PARAMS with it is -EINVAL */
#define UBLK_PARAM_TYPE_ZONED     (1U << 3)
#define UBLK_PARAM_TYPE_DMA_ALIGN (1U << 4)
#define UBLK_PARAM_TYPE_SEGMENT   (1U << 5)
#define UBLK_PARAM_TYPE_INTEGRITY (1U << 6)

#define UBLK_ATTR_READ_ONLY      (1U << 0)
#define UBLK_ATTR_ROTATIONAL     (1U << 1)
#define UBLK_ATTR_VOLATILE_CACHE (1U << 2)
#define UBLK_ATTR_FUA            (1U << 3)

struct ublk_param_basic {
	uint32_t attrs;
	uint8_t logical_bs_shift;
	uint8_t physical_bs_shift;
	uint8_t io_opt_shift; /* before io_min, unlike everywhere else */
	uint8_t io_min_shift;
	uint32_t max_sectors;
	uint32_t chunk_sectors;
	uint64_t dev_sectors;
	uint64_t virt_boundary_mask;
};
static_assert(sizeof(struct ublk_param_basic) == 32, "ABI");
static_assert(offsetof(struct ublk_param_basic, io_opt_shift) == 6, "ABI");
static_assert(offsetof(struct ublk_param_basic, max_sectors) == 8, "ABI");
static_assert(offsetof(struct ublk_param_basic, dev_sectors) == 16, "ABI");

struct ublk_param_discard {
	uint32_t discard_alignment;
	uint32_t discard_granularity;
	uint32_t max_discard_sectors;
	uint32_t max_write_zeroes_sectors;
	uint16_t max_discard_segments;
	uint16_t reserved0;
};
static_assert(sizeof(struct ublk_param_discard) == 20, "ABI");
static_assert(offsetof(struct ublk_param_discard, max_discard_segments) == 16, "ABI");

struct ublk_param_devt {
	uint32_t char_major;
	uint32_t char_minor;
	uint32_t disk_major; /* 0 while there is no block device */
	uint32_t disk_minor;
};
static_assert(sizeof(struct ublk_param_devt) == 16, "ABI");

struct ublk_param_zoned {
	uint32_t max_open_zones;
	uint32_t max_active_zones;
	uint32_t max_zone_append_sectors;
	uint8_t reserved[20];
};
static_assert(sizeof(struct ublk_param_zoned) == 32, "ABI");

struct ublk_param_dma_align {
	uint32_t alignment; /* a mask */
	uint8_t pad[4];
};
static_assert(sizeof(struct ublk_param_dma_align) == 8, "ABI");

struct ublk_param_segment {
	uint64_t seg_boundary_mask;
	uint32_t max_segment_size;
	uint16_t max_segments;
	uint8_t pad[2];
};
static_assert(sizeof(struct ublk_param_segment) == 16, "ABI");

#define UBLK_INTEGRITY_CAP_INTEGRITY (1U << 0) /* LBMD_PI_CAP_INTEGRITY */
#define UBLK_INTEGRITY_CAP_REFTAG    (1U << 1) /* LBMD_PI_CAP_REFTAG */

#define UBLK_INTEGRITY_CSUM_NONE         0
#define UBLK_INTEGRITY_CSUM_IP           1
#define UBLK_INTEGRITY_CSUM_CRC16_T10DIF 2
#define UBLK_INTEGRITY_CSUM_CRC64_NVME   4

struct ublk_param_integrity {
	uint32_t flags;
	uint16_t max_integrity_segments; /* 0: no limit */
	uint8_t interval_exp;
	uint8_t metadata_size;
	uint8_t pi_offset;
	uint8_t csum_type;
	uint8_t tag_size;
	uint8_t pad[5];
};
static_assert(sizeof(struct ublk_param_integrity) == 16, "ABI");
static_assert(offsetof(struct ublk_param_integrity, interval_exp) == 6, "ABI");
static_assert(offsetof(struct ublk_param_integrity, tag_size) == 10, "ABI");

struct ublk_params {
	uint32_t len;
	uint32_t types;
	struct ublk_param_basic basic;
	struct ublk_param_discard discard;
	struct ublk_param_devt devt;
	struct ublk_param_zoned zoned;
	struct ublk_param_dma_align dma;
	_Alignas(8) struct ublk_param_segment seg;
	struct ublk_param_integrity integrity;
};
static_assert(sizeof(struct ublk_params) == 152, "ABI");
static_assert(offsetof(struct ublk_params, basic) == 8, "ABI");
static_assert(offsetof(struct ublk_params, discard) == 40, "ABI");
static_assert(offsetof(struct ublk_params, devt) == 60, "ABI");
static_assert(offsetof(struct ublk_params, zoned) == 76, "ABI");
static_assert(offsetof(struct ublk_params, dma) == 108, "ABI");
static_assert(offsetof(struct ublk_params, seg) == 120, "ABI");
static_assert(offsetof(struct ublk_params, integrity) == 136, "ABI");
