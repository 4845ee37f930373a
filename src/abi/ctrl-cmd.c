/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/ctrl-cmd.h"

#include <liburing.h>
#include <string.h>

#include "abi/uapi.h"
#include "util/cleanup.h"

#define SQE_BYTES        128 /* IORING_SETUP_SQE128 */
#define SQE_PAYLOAD_BYTE 48

static_assert(IORING_OP_URING_CMD == 46, "ABI");
static_assert(offsetof(struct io_uring_sqe, cmd) == SQE_PAYLOAD_BYTE, "ABI");
static_assert(sizeof(struct ublksrv_ctrl_dev_info) == DEV_INFO_RAW_BYTES, "ABI");

struct ctrl_code {
	const char *name;
	uint32_t code;
	uint32_t legacy; /* 0: the command came after the ioctl encoding */
};

static const struct ctrl_code ctrl_codes[N_CTRL_OPS] = {
	[CTRL_GET_QUEUE_AFFINITY] = {"GET_QUEUE_AFFINITY", UBLK_U_CMD_GET_QUEUE_AFFINITY,
				     UBLK_CMD_GET_QUEUE_AFFINITY},
	[CTRL_GET_DEV_INFO] = {"GET_DEV_INFO", UBLK_U_CMD_GET_DEV_INFO, UBLK_CMD_GET_DEV_INFO},
	[CTRL_ADD_DEV] = {"ADD_DEV", UBLK_U_CMD_ADD_DEV, UBLK_CMD_ADD_DEV},
	[CTRL_DEL_DEV] = {"DEL_DEV", UBLK_U_CMD_DEL_DEV, UBLK_CMD_DEL_DEV},
	[CTRL_START_DEV] = {"START_DEV", UBLK_U_CMD_START_DEV, UBLK_CMD_START_DEV},
	[CTRL_STOP_DEV] = {"STOP_DEV", UBLK_U_CMD_STOP_DEV, UBLK_CMD_STOP_DEV},
	[CTRL_SET_PARAMS] = {"SET_PARAMS", UBLK_U_CMD_SET_PARAMS, UBLK_CMD_SET_PARAMS},
	[CTRL_GET_PARAMS] = {"GET_PARAMS", UBLK_U_CMD_GET_PARAMS, UBLK_CMD_GET_PARAMS},
	[CTRL_START_USER_RECOVERY] = {"START_USER_RECOVERY", UBLK_U_CMD_START_USER_RECOVERY,
				      UBLK_CMD_START_USER_RECOVERY},
	[CTRL_END_USER_RECOVERY] = {"END_USER_RECOVERY", UBLK_U_CMD_END_USER_RECOVERY,
				    UBLK_CMD_END_USER_RECOVERY},
	[CTRL_GET_DEV_INFO2] = {"GET_DEV_INFO2", UBLK_U_CMD_GET_DEV_INFO2, UBLK_CMD_GET_DEV_INFO2},
	[CTRL_GET_FEATURES] = {"GET_FEATURES", UBLK_U_CMD_GET_FEATURES, 0},
	[CTRL_DEL_DEV_ASYNC] = {"DEL_DEV_ASYNC", UBLK_U_CMD_DEL_DEV_ASYNC, 0},
	[CTRL_UPDATE_SIZE] = {"UPDATE_SIZE", UBLK_U_CMD_UPDATE_SIZE, 0},
	[CTRL_QUIESCE_DEV] = {"QUIESCE_DEV", UBLK_U_CMD_QUIESCE_DEV, 0},
	[CTRL_TRY_STOP_DEV] = {"TRY_STOP_DEV", UBLK_U_CMD_TRY_STOP_DEV, 0},
	[CTRL_REG_BUF] = {"REG_BUF", UBLK_U_CMD_REG_BUF, 0},
	[CTRL_UNREG_BUF] = {"UNREG_BUF", UBLK_U_CMD_UNREG_BUF, 0},
};

const char *ctrl_op_to_string(enum ctrl_op op)
{
	return (unsigned)op < N_CTRL_OPS ? ctrl_codes[op].name : "unknown";
}

bool ctrl_op_has_legacy(enum ctrl_op op)
{
	return ctrl_codes[op].legacy != 0;
}

void ctrl_cmd_encode(struct io_uring_sqe *sqe, int fd, const struct ctrl_cmd *cmd, bool legacy)
{
	const struct ublksrv_ctrl_cmd payload = {
		.dev_id = cmd->dev_id,
		.queue_id = UBLK_CTRL_QUEUE_ID,
		.len = cmd->len,
		.addr = (uintptr_t)cmd->buf,
		.data[0] = cmd->data,
		.dev_path_len = cmd->path_len,
	};

	assert(!legacy || ctrl_op_has_legacy(cmd->op));
	memset(sqe, 0, SQE_BYTES);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = legacy ? ctrl_codes[cmd->op].legacy : ctrl_codes[cmd->op].code;
	memcpy((uint8_t *)sqe + SQE_PAYLOAD_BYTE, &payload, sizeof(payload));
}

void dev_info_encode(const struct dev_info *info, uint8_t raw[static DEV_INFO_RAW_BYTES])
{
	const struct ublksrv_ctrl_dev_info k = {
		.nr_hw_queues = info->n_queues,
		.queue_depth = info->depth,
		.io_desc_size =
			info->flags & UBLK_F_IO_DESC_SIZE ? (uint16_t)info->desc_size_bytes : 0,
		.max_io_buf_bytes = info->max_io_bytes,
		.dev_id = info->dev_id,
		.flags = info->flags,
		.ublksrv_flags = info->cookie,
	};

	memcpy(raw, &k, sizeof(k));
}

static enum dev_state dev_state_decode(uint16_t state)
{
	switch (state) {
	case UBLK_S_DEV_DEAD:
		return DEV_DEAD;
	case UBLK_S_DEV_LIVE:
		return DEV_LIVE;
	case UBLK_S_DEV_QUIESCED:
		return DEV_QUIESCED;
	case UBLK_S_DEV_FAIL_IO:
		return DEV_FAIL_IO;
	default:
		return DEV_UNKNOWN;
	}
}

void dev_info_decode(const uint8_t raw[static DEV_INFO_RAW_BYTES], struct dev_info *ret_info)
{
	struct ublksrv_ctrl_dev_info k;

	memcpy(&k, raw, sizeof(k));
	*ret_info = (struct dev_info){
		.dev_id = k.dev_id,
		.n_queues = k.nr_hw_queues,
		.depth = k.queue_depth,
		.state = dev_state_decode(k.state),
		.max_io_bytes = k.max_io_buf_bytes,
		/* before 7.3 the field is padding, and holds what the server left there */
		.desc_size_bytes = k.flags & UBLK_F_IO_DESC_SIZE ? k.io_desc_size
								 : sizeof(struct ublksrv_io_desc),
		/* 6.16 to 6.18 return what ADD_DEV was given, our 0, until the device starts */
		.server_pid = k.ublksrv_pid > 0 ? k.ublksrv_pid : -1,
		.flags = k.flags,
		.cookie = k.ublksrv_flags,
		.owner_uid = k.owner_uid,
		.owner_gid = k.owner_gid,
	};
}

const char *dev_state_to_string(enum dev_state state)
{
	static const char *const names[] = {
		[DEV_DEAD] = "dead",       [DEV_LIVE] = "live",       [DEV_QUIESCED] = "quiesced",
		[DEV_FAIL_IO] = "fail-io", [DEV_UNKNOWN] = "unknown",
	};

	return (unsigned)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}
