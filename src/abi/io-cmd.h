/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Commands of a queue on /dev/ublkcN, and the descriptors that the kernel answers with. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io_uring_sqe;

#define IO_MAX_DEPTH 4096

/* One line per operation of the block layer; the order is that of the statistics. */
enum io_op {
	IO_READ,
	IO_WRITE,
	IO_FLUSH,
	IO_DISCARD,
	IO_WRITE_ZEROES,
	IO_OTHER, /* zoned commands and what a newer kernel adds: we ask for none of them */
	N_IO_OPS,
};

/* Flags of a request; as far apart as the kernel's, which makes them cheap to find. */
#define IO_FUA          (1U << 0) /* on stable storage when it completes */
#define IO_NOUNMAP      (1U << 2) /* WRITE_ZEROES must keep the space allocated */
#define IO_NEED_REG_BUF (1U << 4) /* AUTO_BUF_REG failed: its pages are nowhere registered */

/* A request as the kernel describes it, in bytes. A FLUSH has no range: offset and length are 0. */
struct io_desc {
	enum io_op op;
	uint32_t flags;
	uint64_t offset_bytes;
	uint64_t len_bytes; /* DISCARD and WRITE_ZEROES may exceed the buffer by far */
};

/* Results of FETCH and COMMIT_AND_FETCH. */
#define IO_RES_REQUEST 0     /* a request is in the descriptor of the tag */
#define IO_RES_ABORT   (-19) /* -ENODEV: the command was cancelled, no request is attached */

/* Flags of the commands below. */
#define IO_CMD_FIXED_FILE (1U << 0) /* @fd is the index of a registered file */
#define IO_CMD_LEGACY     (1U << 1) /* the command's number before Linux 6.4 */

/**
 * io_cmd_fetch() - write FETCH_REQ into an SQE
 * @sqe:	64 bytes; all of them are written
 * @fd:		char device
 * @flags:	IO_CMD_*
 * @queue:	queue number
 * @tag:	slot of the queue
 * @buf:	the slot's buffer; filled with the data of a WRITE when a request arrives. NULL if
 *		the device was made with USER_COPY, ZERO_COPY or AUTO_BUF_REG
 */
void io_cmd_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue, uint16_t tag,
		  const void *buf);

/**
 * io_cmd_commit_and_fetch() - write COMMIT_AND_FETCH_REQ into an SQE
 * @result:	bytes done, always the whole request, or -errno
 * @buf:	holds the data of a READ; receives that of the next WRITE
 *
 * Other arguments as in io_cmd_fetch(). A short count would be taken for the whole by kernel 7.3.
 */
void io_cmd_commit_and_fetch(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			     uint16_t tag, const void *buf, int32_t result);

/* AUTO_BUF_REG: add to a FETCH or COMMIT the slot of the ring's buffer table that the next request's
 * pages go to. With @fallback a request whose registration failed comes with IO_NEED_REG_BUF. */
void io_cmd_set_auto_buf(struct io_uring_sqe *sqe, uint16_t index, bool fallback);

/* ZERO_COPY: put a request's pages into the ring's buffer table, and take them out. */
void io_cmd_register_buf(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			 uint16_t tag, uint16_t index);
void io_cmd_unregister_buf(struct io_uring_sqe *sqe, int fd, unsigned flags, uint16_t queue,
			   uint16_t tag, uint16_t index);

/* USER_COPY: where in the char device a request's data stands, for pread() and pwrite(). */
uint64_t io_user_copy_offset_bytes(uint16_t queue, uint16_t tag, uint32_t offset_bytes);

/* Bytes to mmap for the descriptors of one queue, and where in the char device. */
size_t io_desc_map_len_bytes(uint16_t depth, uint32_t desc_size_bytes);
uint64_t io_desc_map_offset_bytes(uint16_t queue, uint32_t desc_size_bytes);

/* Decode the descriptor of @tag in a mapping of that stride, which begins at a multiple of 8. Sectors are 512 bytes, always. */
void io_desc_decode(const void *map, uint32_t desc_size_bytes, uint16_t tag,
		    struct io_desc *ret_desc);

const char *io_op_to_string(enum io_op op);
