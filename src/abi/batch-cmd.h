/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Batch commands of a queue (FEATURE_BATCH_IO): many tags in one SQE. They replace those of io-cmd.h
 * on a device that was made with the feature. */
#include <stddef.h>
#include <stdint.h>

struct io_uring_sqe;

/* Of elements and of the commands that carry them. */
#define BATCH_BUF_ADDR          (1U << 0) /* copy mode: elements name a buffer */
#define BATCH_ZONE_LBA          (1U << 1) /* zoned: elements say where an append went */
#define BATCH_AUTO_BUF_FALLBACK (1U << 2)

enum batch_op {
	BATCH_PREPARE, /* replaces FETCH */
	BATCH_COMMIT,
};

struct batch_elem {
	uint16_t tag;
	uint16_t buf_index;
	int32_t result;    /* bytes or -errno; COMMIT only */
	uint64_t buf_addr; /* if BATCH_BUF_ADDR */
	uint64_t zone_lba; /* if BATCH_ZONE_LBA */
};

#define BATCH_ELEM_MAX_BYTES 24

/* Bytes of an element: 8, 16 or 24. */
size_t batch_elem_size_bytes(unsigned batch_flags);

/* Writes batch_elem_size_bytes() bytes. */
void batch_elem_encode(const struct batch_elem *e, unsigned batch_flags, uint8_t *ret_raw);

/**
 * batch_cmd_encode() - write PREP_IO_CMDS or COMMIT_IO_CMDS into an SQE
 * @cmd_flags:	IO_CMD_FIXED_FILE of abi/io-cmd.h
 * @elems:	encoded elements; theirs until the completion, which says how many bytes of them were
 *		taken (BATCH_COMMIT) or 0 (BATCH_PREPARE)
 */
struct batch_cmd {
	enum batch_op op;
	uint16_t queue;
	uint16_t n_elems;
	unsigned batch_flags;
	const void *elems;
};
void batch_cmd_encode(struct io_uring_sqe *sqe, int fd, unsigned cmd_flags,
		      const struct batch_cmd *cmd);

/* FETCH_IO_CMDS: a multishot command whose completions each put tags, 16 bits each, into a buffer of
 * the provided-buffer ring @buf_group. */
void batch_cmd_encode_fetch(struct io_uring_sqe *sqe, int fd, unsigned cmd_flags, uint16_t queue,
			    uint16_t buf_group);
