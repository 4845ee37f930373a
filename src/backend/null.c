/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Type=null: reads give zeros, whatever is written vanishes. For measuring what lies above.
 *
 * With Fill=none a READ gives whatever is in the memory that it asked for, as the kernel's null_blk
 * does: nothing is touched at all.
 *
 * DISCARD and WRITE_ZEROES keep their promise without doing anything, since every block reads as
 * zeros at any time. Nothing is ever stored, so there is no cache to flush either.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/backend.h"
#include "backend/registry.h"
#include "util/log.h"

struct backend {
	bool fill;
};

static void null_submit(void *ctx, struct io *io)
{
	const struct backend *b = ctx;
	int r = 0;

	if (io->op == IO_READ && b->fill)
		r = io_put_zeros(io, 0, io->len_bytes);
	io_complete(io, r);
}

static int null_write(struct backend *b, uint64_t offset_bytes, const void *buf, size_t len_bytes)
{
	return 0;
}

static int null_open(const struct backend_request *req, struct backend **ret,
		     struct limits *ret_limits)
{
	const struct null_conf *conf = req->conf;
	struct backend *b;

	if (req->size_bytes == 0)
		return log_error_errno(-EINVAL, "a null device has no size of its own: set Size=");
	b = calloc(1, sizeof(*b));
	if (!b)
		return log_error_errno(-ENOMEM, "no memory for a null device");
	b->fill = conf->fill == NULL_FILL_ZEROS;
	*ret = b;
	*ret_limits = (struct limits){
		.size_bytes = req->size_bytes,
		.logical_block_bytes = req->logical_block_bytes,
		.max_discard_bytes = req->read_only ? 0 : LIMITS_MAX_RANGE_BYTES,
		.max_write_zeroes_bytes = req->read_only ? 0 : LIMITS_MAX_RANGE_BYTES,
		.read_only = req->read_only,
		.no_data = !b->fill,
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

static struct backend *null_close(struct backend *b)
{
	free(b);
	return NULL;
}

const struct backend_ops null_backend = {
	.conf = &null_conf_type,
	.open = null_open,
	.write = null_write,
	.resize = null_resize,
	.close = null_close,
	.io =
		&(const struct io_ops){
			.data = IO_CAN(IO_DATA_KERNEL),
			.at_once = true,
			.submit = null_submit,
		},
};
