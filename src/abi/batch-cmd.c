/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/batch-cmd.h"

#include <liburing.h>
#include <string.h>

#include "abi/io-cmd.h"
#include "abi/uapi.h"
#include "util/cleanup.h"

#define SQE_BYTES        64
#define SQE_PAYLOAD_BYTE 48
#define CMD_MULTISHOT    (1U << 1) /* IORING_URING_CMD_MULTISHOT, which liburing 2.3 lacks */

size_t batch_elem_size_bytes(unsigned batch_flags)
{
	return sizeof(struct ublk_elem_header) +
	       (batch_flags & BATCH_BUF_ADDR ? sizeof(uint64_t) : 0) +
	       (batch_flags & BATCH_ZONE_LBA ? sizeof(uint64_t) : 0);
}

void batch_elem_encode(const struct batch_elem *e, unsigned batch_flags, uint8_t *ret_raw)
{
	const struct ublk_elem_header head = {
		.tag = e->tag,
		.buf_index = e->buf_index,
		.result = e->result,
	};

	memcpy(ret_raw, &head, sizeof(head));
	ret_raw += sizeof(head);
	if (batch_flags & BATCH_BUF_ADDR) {
		memcpy(ret_raw, &e->buf_addr, sizeof(e->buf_addr));
		ret_raw += sizeof(e->buf_addr);
	}
	if (batch_flags & BATCH_ZONE_LBA)
		memcpy(ret_raw, &e->zone_lba, sizeof(e->zone_lba));
}

static void batch_cmd_write(struct io_uring_sqe *sqe, int fd, unsigned cmd_flags, uint32_t code,
			    const struct ublk_batch_io *payload)
{
	memset(sqe, 0, SQE_BYTES);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = cmd_flags & IO_CMD_FIXED_FILE ? IOSQE_FIXED_FILE : 0;
	sqe->fd = fd;
	sqe->cmd_op = code;
	memcpy((uint8_t *)sqe + SQE_PAYLOAD_BYTE, payload, sizeof(*payload));
}

void batch_cmd_encode(struct io_uring_sqe *sqe, int fd, unsigned cmd_flags,
		      const struct batch_cmd *cmd)
{
	const unsigned f = cmd->batch_flags;
	const struct ublk_batch_io payload = {
		.q_id = cmd->queue,
		.flags =
			(uint16_t)((f & BATCH_BUF_ADDR ? UBLK_BATCH_F_HAS_BUF_ADDR : 0) |
				   (f & BATCH_ZONE_LBA ? UBLK_BATCH_F_HAS_ZONE_LBA : 0) |
				   (f & BATCH_AUTO_BUF_FALLBACK ? UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK
								: 0)),
		.nr_elem = cmd->n_elems,
		.elem_bytes = (uint8_t)batch_elem_size_bytes(f),
	};

	batch_cmd_write(sqe, fd, cmd_flags,
			cmd->op == BATCH_PREPARE ? UBLK_U_IO_PREP_IO_CMDS
						 : UBLK_U_IO_COMMIT_IO_CMDS,
			&payload);
	sqe->addr = (uintptr_t)cmd->elems;
}

void batch_cmd_encode_fetch(struct io_uring_sqe *sqe, int fd, unsigned cmd_flags, uint16_t queue,
			    uint16_t buf_group)
{
	const struct ublk_batch_io payload = {.q_id = queue, .elem_bytes = sizeof(uint16_t)};

	batch_cmd_write(sqe, fd, cmd_flags, UBLK_U_IO_FETCH_IO_CMDS, &payload);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->uring_cmd_flags = CMD_MULTISHOT;
	sqe->buf_group = buf_group;
}
