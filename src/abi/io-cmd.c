/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/io-cmd.h"

#include <liburing.h>
#include <string.h>
#include <unistd.h>

#include "abi/uapi.h"
#include "util/cleanup.h"

#define SECTOR_SHIFT     9
#define SQE_BYTES        64
#define SQE_PAYLOAD_BYTE 48

static_assert(offsetof(struct io_uring_sqe, cmd) == SQE_PAYLOAD_BYTE, "ABI");
static_assert(IO_RES_ABORT == UBLK_IO_RES_ABORT, "ABI");
static_assert(IO_RES_REQUEST == UBLK_IO_RES_OK, "ABI");
static_assert(IO_MAX_DEPTH == UBLK_MAX_QUEUE_DEPTH, "ABI");

static void io_cmd_write(struct io_uring_sqe *sqe, int fd, unsigned flags, uint32_t code,
			 const struct ublksrv_io_cmd *payload)
{
	memset(sqe, 0, SQE_BYTES);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = flags & IO_CMD_FIXED_FILE ? IOSQE_FIXED_FILE : 0;
	sqe->fd = fd;
	/* before 6.4 a command was known by the lowest byte of its code */
	sqe->cmd_op = flags & IO_CMD_LEGACY ? code & 0xff : code;
	memcpy((uint8_t *)sqe + SQE_PAYLOAD_BYTE, payload, sizeof(*payload));
}

void io_cmd_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue, uint16_t tag,
		  const void *buf)
{
	io_cmd_write(sqe, fd, flags, UBLK_U_IO_FETCH_REQ,
		     &(struct ublksrv_io_cmd){.q_id = queue, .tag = tag, .addr = (uintptr_t)buf});
}

void io_cmd_commit_and_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			     uint16_t tag, const void *buf, int32_t result)
{
	io_cmd_write(sqe, fd, flags, UBLK_U_IO_COMMIT_AND_FETCH_REQ,
		     &(struct ublksrv_io_cmd){
			     .q_id = queue, .tag = tag, .result = result, .addr = (uintptr_t)buf});
}

void io_cmd_set_auto_buf(struct io_uring_sqe *sqe, uint16_t index, bool fallback)
{
	const uint64_t flags = fallback ? UBLK_AUTO_BUF_REG_FALLBACK : 0;

	sqe->addr = index | flags << UBLK_AUTO_BUF_REG_FLAGS_SHIFT;
}

void io_cmd_register_buf(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			 uint16_t tag, uint16_t index)
{
	io_cmd_write(sqe, fd, flags, UBLK_U_IO_REGISTER_IO_BUF,
		     &(struct ublksrv_io_cmd){.q_id = queue, .tag = tag, .addr = index});
}

void io_cmd_unregister_buf(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			   uint16_t tag, uint16_t index)
{
	io_cmd_write(sqe, fd, flags, UBLK_U_IO_UNREGISTER_IO_BUF,
		     &(struct ublksrv_io_cmd){.q_id = queue, .tag = tag, .addr = index});
}

uint64_t io_user_copy_offset_bytes(uint16_t queue, uint16_t tag, uint32_t offset_bytes)
{
	assert(offset_bytes < 1U << UBLK_IO_BUF_BITS);
	return UBLKSRV_IO_BUF_OFFSET +
	       ((uint64_t)queue << UBLK_QID_OFF | (uint64_t)tag << UBLK_TAG_OFF | offset_bytes);
}

static size_t round_up_to_page(size_t bytes)
{
	const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

size_t io_desc_map_len_bytes(uint16_t depth, uint32_t desc_size_bytes)
{
	return round_up_to_page((size_t)depth * desc_size_bytes);
}

/* The kernel leaves room for the largest depth, whatever ours is. It rounds an offset within a
 * queue's room down without a word, so a wrong one maps another queue's descriptors. */
uint64_t io_desc_map_offset_bytes(uint16_t queue, uint32_t desc_size_bytes)
{
	return (uint64_t)queue * round_up_to_page((size_t)IO_MAX_DEPTH * desc_size_bytes);
}

#define FLAGS_SHIFT 13
#define FLAGS_MASK  (IO_FUA | IO_NOUNMAP | IO_NEED_REG_BUF)

static_assert(IO_FUA << FLAGS_SHIFT == UBLK_IO_F_FUA, "one shift for all");
static_assert(IO_NOUNMAP << FLAGS_SHIFT == UBLK_IO_F_NOUNMAP, "one shift for all");
static_assert(IO_NEED_REG_BUF << FLAGS_SHIFT == UBLK_IO_F_NEED_REG_BUF, "one shift for all");

static enum io_op io_op_decode(uint32_t op_flags)
{
	static const uint8_t ops[] = {
		[UBLK_IO_OP_READ] = IO_READ,        [UBLK_IO_OP_WRITE] = IO_WRITE,
		[UBLK_IO_OP_FLUSH] = IO_FLUSH,      [UBLK_IO_OP_DISCARD] = IO_DISCARD,
		[UBLK_IO_OP_WRITE_SAME] = IO_OTHER, [UBLK_IO_OP_WRITE_ZEROES] = IO_WRITE_ZEROES,
	};
	uint32_t op = op_flags & UBLK_IO_OP_MASK;

	return op < ARRAY_SIZE(ops) ? (enum io_op)ops[op] : IO_OTHER;
}

void io_desc_decode(const void *map, uint32_t desc_size_bytes, uint16_t tag,
		    struct io_desc *ret_desc)
{
	/* The kernel's struct, at a place that is a multiple of 8. */
	const struct ublksrv_io_desc *k =
		(const void *)((const uint8_t *)map + (size_t)tag * desc_size_bytes);
	/* A flush is of the whole device; as its place kernels give sector -1. */
	bool has_range = (k->op_flags & UBLK_IO_OP_MASK) != UBLK_IO_OP_FLUSH;
	/* never wraps to a place on the device */
	uint64_t sector = MIN(k->start_sector, UINT64_MAX >> SECTOR_SHIFT);

	ret_desc->op = io_op_decode(k->op_flags);
	ret_desc->flags = k->op_flags >> FLAGS_SHIFT & FLAGS_MASK;
	ret_desc->offset_bytes = has_range ? sector << SECTOR_SHIFT : 0;
	ret_desc->len_bytes = has_range ? (uint64_t)k->nr_sectors << SECTOR_SHIFT : 0;
}

const char *io_op_to_string(enum io_op op)
{
	static const char *const names[N_IO_OPS] = {
		[IO_READ] = "read",
		[IO_WRITE] = "write",
		[IO_FLUSH] = "flush",
		[IO_DISCARD] = "discard",
		[IO_WRITE_ZEROES] = "write-zeroes",
		[IO_OTHER] = "other",
	};

	return (unsigned)op < N_IO_OPS ? names[op] : "unknown";
}
