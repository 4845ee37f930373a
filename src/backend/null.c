/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Type=null: reads give zeros, whatever is written vanishes. For measuring what lies above.
 *
 * DISCARD and WRITE_ZEROES keep their promise without doing anything, since every block reads as
 * zeros at any time. Nothing is ever stored, so there is no cache to flush either.
 */
#include <string.h>

#include "backend/backend.h"
#include "backend/registry.h"
#include "util/log.h"

static void null_submit(void *ctx, struct io *io)
{
	if (io->op == IO_READ)
		memset(io->buf, 0, io->len_bytes);
	io_complete(io, 0);
}

static int null_write(struct backend *b, uint64_t offset_bytes, const void *buf, size_t len_bytes)
{
	return 0;
}

static int null_open(const struct backend_request *req, struct backend **ret,
		     struct limits *ret_limits)
{
	if (req->size_bytes == 0)
		return log_error_errno(-EINVAL, "a null device has no size of its own: set Size=");
	*ret = NULL; /* no state, so no close() either */
	*ret_limits = (struct limits){
		.size_bytes = req->size_bytes,
		.logical_block_bytes = req->logical_block_bytes,
		.max_discard_bytes = req->read_only ? 0 : LIMITS_MAX_RANGE_BYTES,
		.max_write_zeroes_bytes = req->read_only ? 0 : LIMITS_MAX_RANGE_BYTES,
		.read_only = req->read_only,
	};
	return 0;
}

/* There is nothing that could be too small; the device knows not to shrink. */
static int null_resize(struct backend *b, const struct backend_request *req,
		       uint64_t *ret_size_bytes)
{
	*ret_size_bytes = req->size_bytes;
	return 0;
}

const struct backend_ops null_backend = {
	.conf = &null_conf_type,
	.open = null_open,
	.write = null_write,
	.resize = null_resize,
	.io = &(const struct io_ops){.submit = null_submit},
};
