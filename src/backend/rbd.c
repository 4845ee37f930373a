/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Type=rbd: an image of a Ceph cluster. The queues share one handle of the library, which takes requests
 * from any thread and has threads of its own for the rest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/rbd.h"
#include "backend/registry.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/parse.h"

#define RBD_FLUSH_NS          (60 * RBD_NS_PER_S)
#define RBD_FLUSH_STEP_US     1000
#define RBD_MAX_IO_BYTES      (32U << 20)
#define RBD_MAX_RANGE_BYTES   (1U << 30)
/* What the cluster stores is in such blocks, unless it was told otherwise. */
#define RBD_BLOCK_BYTES       4096
/* The library leaves out what is smaller (rbd_discard_granularity_bytes). */
#define RBD_GRANULARITY_BYTES 65536

static struct backend *rbd_backend_close(struct backend *b)
{
	if (!b)
		return NULL;
	rbd_image_close(b);
	free(b->text);
	free(b);
	return NULL;
}
DEFINE_AUTO(struct backend *, rbd_backend_close);

static int rbd_backend_name(const struct rbd_conf *c, char **ret)
{
	int r = asprintf(ret, "%s%s%s/%s%s%s", c->pool, c->namespace ? "/" : "", c->namespace ?: "",
			 c->image, c->snapshot ? "@" : "", c->snapshot ?: "");

	return r < 0 ? -ENOMEM : 0;
}

static int rbd_backend_check(const struct backend *b, const struct backend_request *req)
{
	char text[2][SIZE_TEXT_MAX];

	if (req->size_bytes > b->size_bytes)
		return log_error_errno(-EINVAL, "%s has %s, less than the device's %s", b->text,
				       format_size(b->size_bytes, text[0]),
				       format_size(req->size_bytes, text[1]));
	return 0;
}

static void rbd_backend_fill(const struct backend *b, const struct backend_request *req,
			     struct limits *l)
{
	const uint32_t block = req->logical_block_bytes ?: 512;
	const bool writes = !b->read_only;
	uint64_t unit_bytes = 0;

	(void)rbd_lib.get_stripe_unit(b->image, &unit_bytes);
	if (unit_bytes & (unit_bytes - 1) || unit_bytes > RBD_MAX_IO_BYTES)
		unit_bytes = 0;
	*l = (struct limits){
		.size_bytes = req->size_bytes ?: b->size_bytes / block * block,
		.logical_block_bytes = block,
		.physical_block_bytes = MAX(block, RBD_BLOCK_BYTES),
		.io_opt_bytes = (uint32_t)unit_bytes,
		.max_io_bytes = RBD_MAX_IO_BYTES,
		.max_discard_bytes = writes ? RBD_MAX_RANGE_BYTES : 0,
		.max_write_zeroes_bytes = writes ? RBD_MAX_RANGE_BYTES : 0,
		.discard_granularity_bytes = RBD_GRANULARITY_BYTES,
		.read_only = !writes,
		.write_cache = writes,
	};
}

static int rbd_backend_open(const struct backend_request *req, struct backend **ret,
			    struct limits *ret_limits)
{
	const struct rbd_conf *conf = req->conf;
	AUTO(rbd_backend_close) struct backend *b = calloc(1, sizeof(*b));
	int r;

	r = b ? rbd_backend_name(conf, &b->text) : -ENOMEM;
	if (r < 0)
		return log_error_errno(r, "cannot use %s: %m", conf->image);
	r = rbd_lib_load();
	if (r < 0)
		return r;
	b->conf = conf;
	b->timeout_ns = conf->timeout_ns;
	b->read_only = req->read_only || conf->snapshot;
	b->event_fd = req->event_fd;
	r = rbd_image_open(b, req);
	if (r == 0)
		r = rbd_backend_check(b, req);
	if (r < 0)
		return r;
	rbd_backend_fill(b, req, ret_limits);
	b->conf = NULL;
	*ret = TAKE_PTR(b);
	return 0;
}

/* ---- what else the device wants ---- */

static const char *rbd_backend_get_target(const struct backend *b)
{
	return b->text;
}

static const char *rbd_backend_get_trouble(struct backend *b, const char **ret_next)
{
	switch ((enum rbd_trouble)atomic_load(&b->trouble)) {
	case RBD_SILENT:
		snprintf(b->trouble_text, sizeof(b->trouble_text),
			 "no answer from the cluster that has %.200s", b->text);
		break;
	case RBD_SHUT_OUT:
		snprintf(b->trouble_text, sizeof(b->trouble_text),
			 "the cluster has shut this server out of %.200s (blocklisted)", b->text);
		*ret_next =
			"requests fail; unless another machine has taken the image over, restart "
			"the service to go on";
		break;
	}
	return b->trouble_text;
}

/* The library keeps a completion that is let go until it is complete. */
static int rbd_backend_flush(struct backend *b)
{
	const uint64_t deadline_ns = clock_now_ns() + RBD_FLUSH_NS;
	rbd_completion_t c = NULL;
	int r;

	if (b->read_only)
		return 0;
	r = rbd_lib.aio_create_completion(NULL, NULL, &c);
	if (r == 0)
		r = rbd_lib.aio_flush(b->image, c);
	while (r == 0 && !rbd_lib.aio_is_complete(c)) {
		usleep(RBD_FLUSH_STEP_US);
		if (clock_now_ns() >= deadline_ns)
			r = -ETIMEDOUT;
	}
	if (r == 0)
		r = (int)rbd_lib.aio_get_return_value(c);
	if (c)
		rbd_lib.aio_release(c);
	if (r < 0)
		return log_error_errno(r, "cannot flush %s: %m", b->text);
	return 0;
}

static int rbd_backend_resize(struct backend *b, const struct backend_request *req,
			      uint64_t *ret_size_bytes)
{
	const uint64_t was_bytes = b->size_bytes;
	char text[SIZE_TEXT_MAX];
	int r = rbd_lib.get_size(b->image, &b->size_bytes);

	if (r < 0)
		return log_error_errno(r, "cannot ask for the size of %s: %m", b->text);
	if (b->size_bytes < was_bytes)
		log_warning("%s was cut to %s: requests behind that fail", b->text,
			    format_size(b->size_bytes, text));
	*ret_size_bytes = b->size_bytes;
	return 0;
}

static bool rbd_backend_take_change(struct backend *b)
{
	uint64_t size_bytes;

	return atomic_exchange(&b->changed, false) &&
	       rbd_lib.get_size(b->image, &size_bytes) == 0 && size_bytes != b->size_bytes;
}

/* ---- queues ---- */

static int rbd_queue_init(struct backend *b, struct queue *q, void **ret_ctx)
{
	struct rbd_link *l;
	int r = rbd_link_new(b, q, &l);

	if (r < 0)
		return r;
	*ret_ctx = l;
	return 0;
}

static void rbd_queue_deinit(void *ctx)
{
	rbd_link_free(ctx);
}

static void rbd_queue_submit(void *ctx, struct io *io)
{
	rbd_link_submit(ctx, io);
}

static void rbd_queue_on_event(void *ctx, struct queue_event *e, int res)
{
	rbd_link_on_event(ctx, e);
}

const struct backend_ops rbd_backend = {
	.conf = &rbd_conf_type,
	.open = rbd_backend_open,
	.get_target = rbd_backend_get_target,
	.get_trouble = rbd_backend_get_trouble,
	.flush = rbd_backend_flush,
	.resize = rbd_backend_resize,
	.take_change = rbd_backend_take_change,
	.close = rbd_backend_close,
	.io =
		&(const struct io_ops){
			.queue_init = rbd_queue_init,
			.queue_deinit = rbd_queue_deinit,
			.submit = rbd_queue_submit,
			.on_event = rbd_queue_on_event,
		},
};
