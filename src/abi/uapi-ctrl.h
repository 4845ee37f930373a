/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Commands of /dev/ublk-control, feature flags, and the structs that go with them. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* ioctl encoding: direction, size of the argument, 'u', number. */
#define UBLK_CODE(dir, size, nr)                                                                   \
	((uint32_t)(dir) << 30 | (uint32_t)(size) << 16 | 0x75U << 8 | (nr))
#define UBLK_CODE_R(nr)  UBLK_CODE(2, 32, nr)
#define UBLK_CODE_RW(nr) UBLK_CODE(3, 32, nr)

/* Plain numbers: all that kernels before 6.4 know. */
#define UBLK_CMD_GET_QUEUE_AFFINITY  0x01
#define UBLK_CMD_GET_DEV_INFO        0x02
#define UBLK_CMD_ADD_DEV             0x04
#define UBLK_CMD_DEL_DEV             0x05
#define UBLK_CMD_START_DEV           0x06
#define UBLK_CMD_STOP_DEV            0x07
#define UBLK_CMD_SET_PARAMS          0x08
#define UBLK_CMD_GET_PARAMS          0x09
#define UBLK_CMD_START_USER_RECOVERY 0x10
#define UBLK_CMD_END_USER_RECOVERY   0x11
#define UBLK_CMD_GET_DEV_INFO2       0x12

#define UBLK_U_CMD_GET_QUEUE_AFFINITY  UBLK_CODE_R(UBLK_CMD_GET_QUEUE_AFFINITY)
#define UBLK_U_CMD_GET_DEV_INFO        UBLK_CODE_R(UBLK_CMD_GET_DEV_INFO)
#define UBLK_U_CMD_ADD_DEV             UBLK_CODE_RW(UBLK_CMD_ADD_DEV)
#define UBLK_U_CMD_DEL_DEV             UBLK_CODE_RW(UBLK_CMD_DEL_DEV)
#define UBLK_U_CMD_START_DEV           UBLK_CODE_RW(UBLK_CMD_START_DEV)
#define UBLK_U_CMD_STOP_DEV            UBLK_CODE_RW(UBLK_CMD_STOP_DEV)
#define UBLK_U_CMD_SET_PARAMS          UBLK_CODE_RW(UBLK_CMD_SET_PARAMS)
#define UBLK_U_CMD_GET_PARAMS          UBLK_CODE_R(UBLK_CMD_GET_PARAMS)
#define UBLK_U_CMD_START_USER_RECOVERY UBLK_CODE_RW(UBLK_CMD_START_USER_RECOVERY)
#define UBLK_U_CMD_END_USER_RECOVERY   UBLK_CODE_RW(UBLK_CMD_END_USER_RECOVERY)
#define UBLK_U_CMD_GET_DEV_INFO2       UBLK_CODE_R(UBLK_CMD_GET_DEV_INFO2)
#define UBLK_U_CMD_GET_FEATURES        UBLK_CODE_R(0x13)
#define UBLK_U_CMD_DEL_DEV_ASYNC       UBLK_CODE_R(0x14)
#define UBLK_U_CMD_UPDATE_SIZE         UBLK_CODE_RW(0x15)
#define UBLK_U_CMD_QUIESCE_DEV         UBLK_CODE_RW(0x16)
#define UBLK_U_CMD_TRY_STOP_DEV        UBLK_CODE_RW(0x17)
#define UBLK_U_CMD_REG_BUF             UBLK_CODE_RW(0x18)
#define UBLK_U_CMD_UNREG_BUF           UBLK_CODE_RW(0x19)

#define UBLK_F_SUPPORT_ZERO_COPY      (1ULL << 0)
#define UBLK_F_URING_CMD_COMP_IN_TASK (1ULL << 1)
#define UBLK_F_NEED_GET_DATA          (1ULL << 2)
#define UBLK_F_USER_RECOVERY          (1ULL << 3)
#define UBLK_F_USER_RECOVERY_REISSUE  (1ULL << 4)
#define UBLK_F_UNPRIVILEGED_DEV       (1ULL << 5)
#define UBLK_F_CMD_IOCTL_ENCODE       (1ULL << 6)
#define UBLK_F_USER_COPY              (1ULL << 7)
#define UBLK_F_ZONED                  (1ULL << 8)
#define UBLK_F_USER_RECOVERY_FAIL_IO  (1ULL << 9)
#define UBLK_F_UPDATE_SIZE            (1ULL << 10)
#define UBLK_F_AUTO_BUF_REG           (1ULL << 11)
#define UBLK_F_QUIESCE                (1ULL << 12)
#define UBLK_F_PER_IO_DAEMON          (1ULL << 13)
#define UBLK_F_BUF_REG_OFF_DAEMON     (1ULL << 14)
#define UBLK_F_BATCH_IO               (1ULL << 15)
#define UBLK_F_INTEGRITY              (1ULL << 16)
#define UBLK_F_SAFE_STOP_DEV          (1ULL << 17)
#define UBLK_F_NO_AUTO_PART_SCAN      (1ULL << 18)
#define UBLK_F_SHMEM_ZC               (1ULL << 19)
#define UBLK_F_IO_DESC_SIZE           (1ULL << 20)

#define UBLK_FEATURES_LEN 8 /* exactly, in GET_FEATURES */

#define UBLK_S_DEV_DEAD     0
#define UBLK_S_DEV_LIVE     1
#define UBLK_S_DEV_QUIESCED 2
#define UBLK_S_DEV_FAIL_IO  3

#define UBLK_MAX_QUEUE_DEPTH  4096
#define UBLK_MAX_NR_QUEUES    4096
#define UBLK_CTRL_QUEUE_ID    0xffff /* of every control command; ADD_DEV insists */
#define UBLK_IO_DESC_SIZE_MAX 256    /* with UBLK_F_IO_DESC_SIZE: 24 to this, in steps of 8 */

/* Bytes 48 to 79 of the 128-byte SQE of a control command. */
struct ublksrv_ctrl_cmd {
	uint32_t dev_id;
	uint16_t queue_id;
	uint16_t len;
	uint64_t addr;
	uint64_t data[1];
	uint16_t dev_path_len;
	uint16_t pad;
	uint32_t reserved;
};
static_assert(sizeof(struct ublksrv_ctrl_cmd) == 32, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_cmd, len) == 6, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_cmd, addr) == 8, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_cmd, data) == 16, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_cmd, dev_path_len) == 24, "ABI");

struct ublksrv_ctrl_dev_info {
	uint16_t nr_hw_queues;
	uint16_t queue_depth;
	uint16_t state;
	uint16_t io_desc_size; /* since 7.3; padding before */
	uint32_t max_io_buf_bytes;
	uint32_t dev_id;
	int32_t ublksrv_pid;
	uint32_t pad1;
	uint64_t flags;
	uint64_t ublksrv_flags; /* the server's own: kept and returned, never read by the driver */
	uint32_t owner_uid;
	uint32_t owner_gid;
	uint64_t reserved1;
	uint64_t reserved2;
};
static_assert(sizeof(struct ublksrv_ctrl_dev_info) == 64, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_dev_info, io_desc_size) == 6, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_dev_info, max_io_buf_bytes) == 8, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_dev_info, ublksrv_pid) == 16, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_dev_info, flags) == 24, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_dev_info, ublksrv_flags) == 32, "ABI");
static_assert(offsetof(struct ublksrv_ctrl_dev_info, owner_uid) == 40, "ABI");

/* Buffer of REG_BUF: whole pages, at most 4 GiB. */
#define UBLK_SHMEM_BUF_READ_ONLY (1U << 0)

struct ublk_shmem_buf_reg {
	uint64_t addr;
	uint64_t len;
	uint32_t flags;
	uint32_t reserved;
};
static_assert(sizeof(struct ublk_shmem_buf_reg) == 24, "ABI");
static_assert(offsetof(struct ublk_shmem_buf_reg, flags) == 16, "ABI");
