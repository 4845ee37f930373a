/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Type=nbd: a disk that an NBD server has. Each queue has a connection of its own if the server says
 * that this is safe (multi-conn), else there is one queue. A request's data goes from and to its buffer.
 *
 * The connection that finds out what the server offers becomes that of the first queue, since some
 * servers take one only; it comes back when the queue has ended, for the last flush.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/nbd.h"
#include "backend/registry.h"
#include "conf/nbd-words.h"
#include "conf/search.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/parse.h"
#include "util/sandbox.h"

#define NBD_QUEUE_CONNECT_NS (10 * NBD_NS_PER_S)
#define NBD_FLUSH_NS         (60 * NBD_NS_PER_S)
#define NBD_RESIZE_NS        (10 * NBD_NS_PER_S)
#define NBD_RETURN_STEPS     100
#define NBD_RETURN_STEP_US   10000
#define NBD_OPEN_STEPS       5
#define NBD_OPEN_STEP_US     200000
/* A server may do such a request in one go, while others wait. */
#define NBD_MAX_RANGE_BYTES  (1U << 30)

static struct backend *nbd_backend_close(struct backend *b)
{
	if (!b)
		return NULL;
	nbd_server_leave(atomic_exchange(&b->spare, NULL));
	nbd_command_stop(b->command);
	nbd_fence_close(b);
	nbd_tls_deinit(&b->tls);
	nbd_uri_deinit(&b->uri);
	free(b->text);
	free(b);
	return NULL;
}
DEFINE_AUTO(struct backend *, nbd_backend_close);

/* ---- open ---- */

/* Worth waiting for. */
static bool nbd_backend_may_come(int r)
{
	switch (-r) {
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOENT: /* of the socket's path */
	case ENOTCONN:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case EAGAIN:
	case EPIPE:
		return true;
	default:
		return false;
	}
}

static int nbd_backend_try(struct backend *b, const struct backend_request *req,
			   struct nbd_handle **ret)
{
	int r = nbd_server_resolve(b);

	return r < 0 ? r
		     : nbd_server_connect(b, UINT64_MAX, req->interrupt, req->interrupt_arg, ret);
}

/* Of a new device it is told at once; users of one that is there wait for a program that may run yet. */
static bool nbd_backend_command_failed(const struct backend *b, const struct backend_request *req)
{
	return b->command && !req->takeover && nbd_command_count_ends(b->command) > 0;
}

static bool nbd_backend_pause(const struct backend *b, const struct backend_request *req)
{
	for (unsigned i = 0; i < NBD_OPEN_STEPS && !nbd_backend_command_failed(b, req); i++) {
		if (req->interrupt && req->interrupt(req->interrupt_arg))
			return true;
		usleep(NBD_OPEN_STEP_US);
	}
	return false;
}

/* Logging. Without its files it can do nothing. */
static int nbd_backend_log_command(const struct backend *b, const struct backend_request *req)
{
	AUTO(conf_strv_free) char **paths = NULL;
	int r = nbd_words_paths(req->conf, &paths);

	for (char **path = paths; path && *path; path++)
		if (!sandbox_is_for(*path))
			return sandbox_log_is_old(*path, -EACCES);
	return log_error_errno(r < 0 ? r : -EIO, "there is no server, since it ended at once: %s",
			       b->text);
}

/* The server may start after us, or be away while we take a device over. */
static int nbd_backend_connect(struct backend *b, const struct backend_request *req,
			       struct nbd_handle **ret)
{
	const uint64_t start_ns = clock_now_ns();
	bool told = false;
	int r;

	for (;;) {
		r = nbd_backend_try(b, req, ret);
		if (r == 0)
			return 0;
		if (r == -ECANCELED)
			return log_at(LOG_NOTICE, r, "waiting for %s was given up", b->text);
		if (r == -EAFNOSUPPORT && sandbox_is_there())
			return sandbox_log_is_old(b->text, r);
		if (nbd_backend_command_failed(b, req))
			return nbd_backend_log_command(b, req);
		if (!nbd_backend_may_come(r))
			return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r,
					   "cannot connect to %s: %s", b->text,
					   nbd_lib.get_error() ?: strerror(-r));
		if (b->timeout_ns > 0 && clock_now_ns() - start_ns >= b->timeout_ns)
			return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r,
					   "cannot connect to %s within Timeout=: %m", b->text);
		if (!told)
			log_at(LOG_NOTICE, r, "waiting for %s: %m", b->text);
		told = true;
		if (nbd_backend_pause(b, req))
			return log_at(LOG_NOTICE, -ECANCELED, "waiting for %s was given up",
				      b->text);
	}
}

static int nbd_backend_check(const struct backend *b, const struct backend_request *req)
{
	const struct nbd_offer *o = &b->offer;
	char text[2][SIZE_TEXT_MAX];

	if (o->min_bytes > NBD_PROOF_BYTES ||
	    (req->logical_block_bytes > 0 && o->min_bytes > req->logical_block_bytes))
		return log_error_errno(
			-EINVAL,
			"%s takes no requests smaller than %s: see LogicalBlockSize=", b->text,
			format_size(o->min_bytes, text[0]));
	if (req->size_bytes > o->size_bytes)
		return log_error_errno(-EINVAL, "%s has %s, less than the device's %s", b->text,
				       format_size(o->size_bytes, text[0]),
				       format_size(req->size_bytes, text[1]));
	if (o->read_only && !req->read_only && req->takeover)
		return log_error_errno(-EINVAL, "%s is read-only now", b->text);
	return 0;
}

static uint32_t nbd_backend_power_of_two(uint32_t n, uint32_t most)
{
	uint32_t p = 512;

	while (2 * p <= MIN(n, most))
		p *= 2;
	return p;
}

static void nbd_backend_fill(const struct backend *b, const struct backend_request *req,
			     struct limits *l)
{
	const struct nbd_offer *o = &b->offer;
	const uint32_t block = req->logical_block_bytes ?: MAX(512U, o->min_bytes);
	const bool writes = !o->read_only && !req->read_only;

	*l = (struct limits){
		.size_bytes = req->size_bytes ?: o->size_bytes / block * block,
		.logical_block_bytes = block,
		.physical_block_bytes =
			nbd_backend_power_of_two(o->preferred_bytes, NBD_PROOF_BYTES),
		.max_io_bytes = MIN(o->max_bytes ?: NBD_DEFAULT_MAX_BYTES, NBD_DEFAULT_MAX_BYTES),
		.max_discard_bytes = writes && o->trim ? NBD_MAX_RANGE_BYTES : 0,
		.max_write_zeroes_bytes = writes && o->zero ? NBD_MAX_RANGE_BYTES : 0,
		.discard_granularity_bytes =
			nbd_backend_power_of_two(o->preferred_bytes, NBD_PROOF_BYTES),
		.max_queues = o->multi_conn ? 0 : 1,
		.read_only = !writes,
		.rotational = o->rotational,
		.write_cache = writes && o->flush,
		.fua = writes && o->flush && o->fua,
	};
}

static int nbd_backend_take_conf(struct backend *b, const struct nbd_conf *conf)
{
	const char *text = conf->uri ?: conf->command, *why;
	int r = conf->uri ? nbd_uri_parse(conf->uri, &b->uri, &why) : 0;

	if (r < 0)
		return r;
	if (conf->export || !b->uri.export) {
		free(b->uri.export);
		b->uri.export = strdup(conf->export ?: "");
	}
	b->text = strdup(text);
	/* They tell holes apart, which saves the network zeros, and cost two system calls more for each READ. */
	b->structured = conf->structured_replies == NBD_STRUCTURED_AUTO
				? !conf->command && !b->uri.socket
				: conf->structured_replies == NBD_STRUCTURED_YES;
	b->timeout_ns = conf->timeout_ns;
	return b->text && b->uri.export ? nbd_tls_init(&b->tls, conf, &b->uri) : -ENOMEM;
}

static int nbd_backend_open(const struct backend_request *req, struct backend **ret,
			    struct limits *ret_limits)
{
	const struct nbd_conf *conf = req->conf;
	AUTO(nbd_backend_close) struct backend *b = calloc(1, sizeof(*b));
	struct nbd_handle *h = NULL;
	int r;

	r = nbd_lib_load();
	if (r < 0)
		return r;
	if (b)
		b->dir_fd = -1;
	r = b ? nbd_backend_take_conf(b, conf) : -ENOMEM;
	if (r < 0)
		return log_error_errno(r, "cannot use %s: %m", conf->uri ?: conf->command);
	r = nbd_tls_check(&b->tls);
	if (r < 0)
		return r;
	if (conf->command) {
		r = nbd_command_start(req, conf->command, &b->command);
		if (r < 0)
			return r;
	}
	nbd_fence_open(b, req, conf->fence_ns);
	r = nbd_backend_connect(b, req, &h);
	if (r < 0)
		return r;
	atomic_store(&b->spare, h);
	nbd_server_get_offer(h, &b->offer);
	atomic_store(&b->size_bytes, b->offer.size_bytes);
	r = nbd_backend_check(b, req);
	if (r < 0)
		return r;
	nbd_backend_fill(b, req, ret_limits);
	if (!b->offer.multi_conn)
		log_info(
			"one queue, since %s does not say that several connections are safe (multi-conn)",
			b->text);
	*ret = TAKE_PTR(b);
	return 0;
}

/* ---- what else the device wants ---- */

static const char *nbd_backend_get_target(const struct backend *b)
{
	return b->text;
}

static const char *nbd_backend_get_trouble(struct backend *b, const char **ret_next)
{
	const int error = atomic_load(&b->trouble_errno);

	switch ((enum nbd_trouble)atomic_load(&b->trouble)) {
	case NBD_LOST:
		snprintf(b->trouble_text, sizeof(b->trouble_text), "no connection to %.200s: %s",
			 b->text, strerror(error));
		break;
	case NBD_CHANGED:
		snprintf(b->trouble_text, sizeof(b->trouble_text),
			 "%.200s has another size or other abilities now, and is not used",
			 b->text);
		break;
	case NBD_FORGOT:
		snprintf(b->trouble_text, sizeof(b->trouble_text),
			 "%.200s does not have what it had acknowledged, and is not used", b->text);
		break;
	}
	return b->trouble_text;
}

static int nbd_backend_ask_size(const struct backend *b, uint64_t *ret_bytes)
{
	AUTO(nbd_server_leave) struct nbd_handle *h = NULL;
	int r = nbd_server_connect(b, clock_now_ns() + NBD_RESIZE_NS, NULL, NULL, &h);

	if (r < 0)
		return log_error_errno(r, "cannot ask %s for its size: %m", b->text);
	*ret_bytes = nbd_server_get_size(h);
	return 0;
}

/*
 * A server says how large its disk is when a connection begins, and never again. So a new one is made
 * to ask, and the queues make theirs anew when a request needs it. A server that takes one connection
 * only has to be restarted for a larger disk, and is not used until this here has learned of it.
 */
static int nbd_backend_resize(struct backend *b, const struct backend_request *req,
			      uint64_t *ret_size_bytes)
{
	const uint64_t was_bytes = atomic_load(&b->size_bytes);
	uint64_t is_bytes = atomic_load(&b->seen_bytes);
	int r = b->offer.multi_conn ? nbd_backend_ask_size(b, &is_bytes) : 0;

	if (r < 0)
		return r;
	if (is_bytes > was_bytes)
		atomic_store(&b->size_bytes, is_bytes);
	*ret_size_bytes = MAX(is_bytes, was_bytes);
	return 0;
}

static int nbd_backend_flush(struct backend *b)
{
	AUTO(nbd_server_leave) struct nbd_handle *h = NULL;
	const uint64_t deadline_ns = clock_now_ns() + NBD_FLUSH_NS;
	int r = 0;

	if (!b->offer.flush)
		return 0;
	/* The queue's thread ends by itself, soon after the device did. If the device has not, flushes
	 * are the business of its users. */
	for (unsigned i = 0; atomic_load(&b->lent); i++) {
		if (i == NBD_RETURN_STEPS)
			return 0;
		usleep(NBD_RETURN_STEP_US);
	}
	h = atomic_exchange(&b->spare, NULL);
	if (h)
		r = nbd_server_flush(h, deadline_ns);
	if (!h || r < 0) {
		h = nbd_server_leave(h);
		r = nbd_server_connect(b, deadline_ns, NULL, NULL, &h);
		if (r == 0)
			r = nbd_server_flush(h, deadline_ns);
	}
	if (r < 0)
		return log_error_errno(r, "cannot flush %s: %m", b->text);
	atomic_store(&b->spare, TAKE_PTR(h));
	return 0;
}

/* ---- queues ---- */

static int nbd_queue_init(struct backend *b, struct queue *q, void **ret_ctx)
{
	const bool first = queue_get_id(q) == 0;
	AUTO(nbd_server_leave) struct nbd_handle *h = NULL;
	struct nbd_link *l;
	int r;

	if (first)
		h = atomic_exchange(&b->spare, NULL);
	if (h && nbd_server_is_gone(h))
		h = nbd_server_leave(h);
	if (!h) {
		r = nbd_server_connect(b, clock_now_ns() + NBD_QUEUE_CONNECT_NS, NULL, NULL, &h);
		if (r < 0)
			return r;
	}
	r = nbd_link_new(b, q, h, &l);
	if (r < 0)
		return r;
	TAKE_PTR(h);
	if (first)
		atomic_store(&b->lent, true);
	*ret_ctx = l;
	return 0;
}

static void nbd_queue_deinit(void *ctx)
{
	struct nbd_link *l = ctx;
	struct backend *b = l->b;
	const bool first = queue_get_id(l->queue) == 0;
	struct nbd_handle *h = nbd_link_free(l);

	if (!first) {
		nbd_server_leave(h);
		return;
	}
	atomic_store(&b->spare, h);
	atomic_store(&b->lent, false);
}

static void nbd_queue_submit(void *ctx, struct io *io)
{
	nbd_link_submit(ctx, io);
}

static void nbd_queue_on_event(void *ctx, struct queue_event *e, int res)
{
	nbd_link_on_event(ctx, e, res);
}

const struct backend_ops nbd_backend = {
	.conf = &nbd_conf_type,
	.open = nbd_backend_open,
	.get_target = nbd_backend_get_target,
	.get_trouble = nbd_backend_get_trouble,
	.flush = nbd_backend_flush,
	.resize = nbd_backend_resize,
	.close = nbd_backend_close,
	.io =
		&(const struct io_ops){
			.queue_init = nbd_queue_init,
			.queue_deinit = nbd_queue_deinit,
			.submit = nbd_queue_submit,
			.on_event = nbd_queue_on_event,
		},
};
