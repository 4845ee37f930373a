/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Control commands of /dev/ublk-control: what they are called, and how they stand in a 128-byte
 * SQE. Everything above this directory speaks of devices in the terms of this header and params.h;
 * the kernel's structs end here.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io_uring_sqe;

enum ctrl_op {
	CTRL_GET_QUEUE_AFFINITY,
	CTRL_GET_DEV_INFO,
	CTRL_ADD_DEV,
	CTRL_DEL_DEV,
	CTRL_START_DEV,
	CTRL_STOP_DEV,
	CTRL_SET_PARAMS,
	CTRL_GET_PARAMS,
	CTRL_START_USER_RECOVERY,
	CTRL_END_USER_RECOVERY,
	CTRL_GET_DEV_INFO2,
	CTRL_GET_FEATURES,
	CTRL_DEL_DEV_ASYNC,
	CTRL_UPDATE_SIZE,
	CTRL_QUIESCE_DEV,
	CTRL_TRY_STOP_DEV,
	CTRL_REG_BUF,
	CTRL_UNREG_BUF,
	N_CTRL_OPS,
};

/* One command. @buf belongs to the caller and must live until the command's completion. */
struct ctrl_cmd {
	enum ctrl_op op;
	uint32_t dev_id; /* CTRL_ANY_DEV_ID: the kernel chooses (ADD_DEV), or none (GET_FEATURES) */
	void *buf;       /* in, out or both; NULL if the command has no buffer */
	uint16_t len;    /* bytes at buf */
	uint16_t
		path_len; /* unprivileged devices and GET_DEV_INFO2: the path at buf, with its NUL */
	uint64_t data;    /* inline argument */
};

#define CTRL_ANY_DEV_ID UINT32_MAX

enum dev_state {
	DEV_DEAD,
	DEV_LIVE,
	DEV_QUIESCED,
	DEV_FAIL_IO,
	DEV_UNKNOWN, /* a newer kernel's: leave such a device alone */
};

/* What the kernel says of a device (GET_DEV_INFO), or is asked for (ADD_DEV). */
struct dev_info {
	uint32_t dev_id;
	uint16_t n_queues;
	uint16_t depth;
	enum dev_state state;
	uint32_t max_io_bytes;
	uint32_t desc_size_bytes; /* stride of the descriptors: 24 unless negotiated */
	int32_t server_pid;       /* -1: none */
	uint64_t flags;           /* FEATURE_* of abi/features.h */
	uint64_t cookie;          /* ours to keep: "ublksrv_flags" */
	uint32_t owner_uid;
	uint32_t owner_gid;
};

/* Bytes of the kernel's struct that dev_info_encode() writes and dev_info_decode() reads. */
#define DEV_INFO_RAW_BYTES 64

const char *ctrl_op_to_string(enum ctrl_op op);

/* True if the command exists as a plain number too, for kernels older than 6.4. */
bool ctrl_op_has_legacy(enum ctrl_op op);

/**
 * ctrl_cmd_encode() - write a command into an SQE
 * @sqe:	128 bytes; all of them are written
 * @fd:		of /dev/ublk-control
 * @cmd:	the command
 * @legacy:	use the number of kernels before 6.4; only if ctrl_op_has_legacy()
 */
void ctrl_cmd_encode(struct io_uring_sqe *sqe, int fd, const struct ctrl_cmd *cmd, bool legacy);

/* State and pid are never sent: some kernels would believe them (6.16 to 6.18). */
void dev_info_encode(const struct dev_info *info, uint8_t raw[static DEV_INFO_RAW_BYTES]);
void dev_info_decode(const uint8_t raw[static DEV_INFO_RAW_BYTES], struct dev_info *ret_info);

const char *dev_state_to_string(enum dev_state state);
