/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Commands of the queues on /dev/ublkcN, and what the kernel answers with. */
#include <assert.h>
#include <linux/blkzoned.h>
#include <stddef.h>
#include <stdint.h>

#define UBLK_IO_CODE(nr) (3U << 30 | 16U << 16 | 0x75U << 8 | (nr))

#define UBLK_U_IO_FETCH_REQ            UBLK_IO_CODE(0x20)
#define UBLK_U_IO_COMMIT_AND_FETCH_REQ UBLK_IO_CODE(0x21)
#define UBLK_U_IO_NEED_GET_DATA        UBLK_IO_CODE(0x22)
#define UBLK_U_IO_REGISTER_IO_BUF      UBLK_IO_CODE(0x23)
#define UBLK_U_IO_UNREGISTER_IO_BUF    UBLK_IO_CODE(0x24)
#define UBLK_U_IO_PREP_IO_CMDS         UBLK_IO_CODE(0x25)
#define UBLK_U_IO_COMMIT_IO_CMDS       UBLK_IO_CODE(0x26)
#define UBLK_U_IO_FETCH_IO_CMDS        UBLK_IO_CODE(0x27)

/* Plain numbers of the first three, for kernels before 6.4. */
#define UBLK_IO_FETCH_REQ            0x20
#define UBLK_IO_COMMIT_AND_FETCH_REQ 0x21
#define UBLK_IO_NEED_GET_DATA        0x22

#define UBLK_IO_RES_OK            0
#define UBLK_IO_RES_NEED_GET_DATA 1
#define UBLK_IO_RES_ABORT         (-19) /* -ENODEV */

/* Low byte of op_flags. */
#define UBLK_IO_OP_READ           0
#define UBLK_IO_OP_WRITE          1
#define UBLK_IO_OP_FLUSH          2
#define UBLK_IO_OP_DISCARD        3
#define UBLK_IO_OP_WRITE_SAME     4
#define UBLK_IO_OP_WRITE_ZEROES   5
#define UBLK_IO_OP_ZONE_OPEN      10
#define UBLK_IO_OP_ZONE_CLOSE     11
#define UBLK_IO_OP_ZONE_FINISH    12
#define UBLK_IO_OP_ZONE_APPEND    13
#define UBLK_IO_OP_ZONE_RESET_ALL 14
#define UBLK_IO_OP_ZONE_RESET     15
#define UBLK_IO_OP_REPORT_ZONES   18
#define UBLK_IO_OP_MASK           0xffU

/* Other bits of op_flags, where they stand in it: they are not to be shifted. */
#define UBLK_IO_F_FAILFAST_DEV       (1U << 8)
#define UBLK_IO_F_FAILFAST_TRANSPORT (1U << 9)
#define UBLK_IO_F_FAILFAST_DRIVER    (1U << 10)
#define UBLK_IO_F_META               (1U << 11)
#define UBLK_IO_F_FUA                (1U << 13)
#define UBLK_IO_F_NOUNMAP            (1U << 15)
#define UBLK_IO_F_SWAP               (1U << 16)
#define UBLK_IO_F_NEED_REG_BUF       (1U << 17)
#define UBLK_IO_F_INTEGRITY          (1U << 18)
#define UBLK_IO_F_SHMEM_ZC           (1U << 19)

struct ublksrv_io_desc {
	uint32_t op_flags;
	union {
		uint32_t nr_sectors; /* of 512 bytes */
		uint32_t nr_zones;   /* REPORT_ZONES */
	};
	uint64_t start_sector; /* of 512 bytes */
	uint64_t addr;
};
static_assert(sizeof(struct ublksrv_io_desc) == 24, "ABI");
static_assert(offsetof(struct ublksrv_io_desc, nr_sectors) == 4, "ABI");
static_assert(offsetof(struct ublksrv_io_desc, start_sector) == 8, "ABI");
static_assert(offsetof(struct ublksrv_io_desc, addr) == 16, "ABI");

/* With UBLK_IO_F_SHMEM_ZC the descriptor's addr holds both. */
#define UBLK_SHMEM_ADDR_INDEX_SHIFT 32
#define UBLK_SHMEM_ADDR_OFFSET_MASK 0xffffffffULL

/* Bytes 48 to 63 of the SQE of a queue's command. */
struct ublksrv_io_cmd {
	uint16_t q_id;
	uint16_t tag;
	int32_t result;
	union {
		uint64_t addr;            /* buffer, or index of a registered one */
		uint64_t zone_append_lba; /* COMMIT of a ZONE_APPEND */
	};
};
static_assert(sizeof(struct ublksrv_io_cmd) == 16, "ABI");
static_assert(offsetof(struct ublksrv_io_cmd, tag) == 2, "ABI");
static_assert(offsetof(struct ublksrv_io_cmd, result) == 4, "ABI");
static_assert(offsetof(struct ublksrv_io_cmd, addr) == 8, "ABI");

/* The same bytes of a batch command. */
#define UBLK_BATCH_F_HAS_ZONE_LBA          (1U << 0)
#define UBLK_BATCH_F_HAS_BUF_ADDR          (1U << 1)
#define UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK (1U << 2)

struct ublk_batch_io {
	uint16_t q_id;
	uint16_t flags;
	uint16_t nr_elem;
	uint8_t elem_bytes;
	uint8_t reserved;
	uint64_t reserved2;
};
static_assert(sizeof(struct ublk_batch_io) == 16, "ABI");
static_assert(offsetof(struct ublk_batch_io, nr_elem) == 4, "ABI");
static_assert(offsetof(struct ublk_batch_io, elem_bytes) == 6, "ABI");

/* Head of an element of PREP_IO_CMDS and COMMIT_IO_CMDS; buffer address, then zone LBA follow if
 * the command's flags say so, 8 bytes each. */
struct ublk_elem_header {
	uint16_t tag;
	uint16_t buf_index;
	int32_t result;
};
static_assert(sizeof(struct ublk_elem_header) == 8, "ABI");
static_assert(offsetof(struct ublk_elem_header, result) == 4, "ABI");

/* UBLK_F_AUTO_BUF_REG: sqe->addr of FETCH and COMMIT. */
#define UBLK_AUTO_BUF_REG_INDEX_MASK  0xffffULL
#define UBLK_AUTO_BUF_REG_FLAGS_SHIFT 16
#define UBLK_AUTO_BUF_REG_FALLBACK    (1U << 0)

/* UBLK_F_USER_COPY: position of pread() and pwrite() on the char device. */
#define UBLKSRV_IO_BUF_OFFSET     0x80000000ULL
#define UBLK_IO_BUF_BITS          25
#define UBLK_TAG_OFF              UBLK_IO_BUF_BITS
#define UBLK_TAG_BITS             16
#define UBLK_QID_OFF              (UBLK_TAG_OFF + UBLK_TAG_BITS)
#define UBLKSRV_IO_INTEGRITY_FLAG (1ULL << 62)

/* REPORT_ZONES is answered with an array of the kernel's struct blk_zone. */
static_assert(sizeof(struct blk_zone) == 64, "ABI");
static_assert(offsetof(struct blk_zone, wp) == 16, "ABI");
static_assert(offsetof(struct blk_zone, type) == 24, "ABI");
static_assert(offsetof(struct blk_zone, cond) == 25, "ABI");
static_assert(offsetof(struct blk_zone, capacity) == 32, "ABI");
