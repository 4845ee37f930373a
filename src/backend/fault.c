/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper as the device sees it: a backend whose operations are those of the inner one, but for
 * its requests (fault-io.c) and for what the cache of PowerCut= has to know of (fault-power.c).
 */
#include "backend/fault.h"

#include <errno.h>
#include <string.h>

#include "backend/fault-internal.h"
#include "util/log.h"
#include "util/parse.h"

static const char *fault_get_target(const struct backend *b)
{
	return b->inner_ops->get_target(b->inner);
}

/* At a stop that is no power cut: nothing may be lost, unless FLUSH lies. */
static int fault_flush(struct backend *b)
{
	int r = 0, flush_r = 0;

	if (b->cache)
		r = fault_power_drain(b);
	if (b->inner_ops->flush)
		flush_r = b->inner_ops->flush(b->inner);
	return r < 0 ? r : flush_r;
}

static const char *fault_get_trouble(struct backend *b, const char **ret_next)
{
	return b->inner_ops->get_trouble(b->inner, ret_next);
}

static int fault_write(struct backend *b, uint64_t offset_bytes, const void *buf, size_t len_bytes)
{
	return b->inner_ops->write(b->inner, offset_bytes, buf, len_bytes);
}

static int fault_get_kept_fd(const struct backend *b)
{
	return b->inner_ops->get_kept_fd(b->inner);
}

static int fault_resize(struct backend *b, const struct backend_request *req,
			uint64_t *ret_size_bytes)
{
	uint64_t size_bytes;
	int r;

	r = b->inner_ops->resize(b->inner, req, &size_bytes);
	if (r < 0)
		return r;
	if (b->cache) {
		fault_cache_lock(b->cache);
		r = fault_cache_grow(b->cache, size_bytes);
		fault_cache_unlock(b->cache);
		if (r < 0)
			return log_error_errno(
				r, "no address space for the write cache of PowerCut=: %m");
	}
	*ret_size_bytes = size_bytes;
	return 0;
}

static bool fault_take_change(struct backend *b)
{
	return b->inner_ops->take_change(b->inner);
}

static void fault_abandon(struct backend *b)
{
	b->inner_ops->abandon(b->inner);
}

static struct backend *fault_close(struct backend *b)
{
	if (!b)
		return NULL;
	if (b->inner_ops->close)
		b->inner_ops->close(b->inner);
	fault_cache_free(b->cache);
	free(b);
	return NULL;
}

static void fault_set_ops(struct backend *b)
{
	const struct backend_ops *inner = b->inner_ops;

	b->ops = (struct backend_ops){
		.conf = inner->conf,
		.get_target = inner->get_target ? fault_get_target : NULL,
		.get_trouble = inner->get_trouble ? fault_get_trouble : NULL,
		.flush = fault_flush,
		.write = inner->write ? fault_write : NULL,
		.get_kept_fd = inner->get_kept_fd ? fault_get_kept_fd : NULL,
		.resize = inner->resize ? fault_resize : NULL,
		.take_change = inner->take_change ? fault_take_change : NULL,
		.abandon = inner->abandon ? fault_abandon : NULL,
		.close = fault_close,
		.io = &b->io,
	};
}

static int fault_make_cache(struct backend *b, const struct limits *limits, bool live)
{
	char size[SIZE_TEXT_MAX];
	int r;

	if (!b->conf->power_cut || limits->read_only)
		return 0;
	if (live && !limits->write_cache) {
		log_warning("PowerCut=yes is not in force: the device is in use, and its users "
			    "take it for one without a write cache; stop and start it");
		return 0;
	}
	if (!b->inner_ops->write)
		return log_error_errno(-EOPNOTSUPP, "PowerCut=yes is not possible with Type=%s",
				       b->inner_ops->conf->name);
	r = fault_cache_new(limits->size_bytes, limits->logical_block_bytes, &b->cache);
	if (r < 0)
		return log_error_errno(
			r, "no address space for the write cache of PowerCut= over %s: %m",
			format_size(limits->size_bytes, size));
	return 0;
}

int fault_wrap(const struct fault_conf *conf, const struct backend_ops **ops,
	       struct backend **backend, struct limits *limits, bool live)
{
	AUTO_FREE struct backend *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return log_error_errno(-ENOMEM, "no memory for the faults of [Fault]");
	b->conf = conf;
	b->inner_ops = *ops;
	b->inner = *backend;
	b->limits = limits;
	b->inner_has_cache = limits->write_cache;
	b->inner_has_fua = limits->fua;
	fault_set_ops(b);
	r = fault_make_cache(b, limits, live);
	if (r < 0)
		return r;
	/* The cache is in our memory, and what it keeps has to come there. */
	b->io = fault_io;
	b->io.data = b->cache ? 0 : b->inner_ops->io->data;
	limits->no_data &= !b->cache;
	if (!limits->read_only && !live && (b->cache || conf->flush_errors_ppm > 0)) {
		limits->write_cache = true;
		/* Where nothing below is volatile, a write that goes through is a FUA write. */
		limits->fua |= !b->inner_has_cache;
	}
	*ops = &b->ops;
	*backend = TAKE_PTR(b);
	return 0;
}

static void fault_describe_part(FILE *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Parts are separated by commas. */
static void fault_describe_part(FILE *f, const char *format, ...)
{
	va_list args;

	if (ftell(f) > 0)
		fputs(", ", f);
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
}

static void fault_describe_errors(FILE *f, const struct fault_conf *c)
{
	const struct {
		const char *what;
		uint32_t ppm;
	} kinds[] = {
		{"reads", c->read_errors_ppm},
		{"writes", c->write_errors_ppm},
		{"flushes", c->flush_errors_ppm},
		{"discards", c->discard_errors_ppm},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].ppm > 0)
			fault_describe_part(f, "%g%% of %s fail with %s", kinds[i].ppm / 1e4,
					    kinds[i].what, strerrorname_np(c->error) ?: "an error");
	}
}

char *fault_describe(const struct fault_conf *c)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fault_describe_errors(f, c);
	if (c->latency_ns > 0 && c->jitter_ns > 0)
		fault_describe_part(f, "requests take %g to %g ms more",
				    (double)c->latency_ns / 1e6,
				    (double)(c->latency_ns + c->jitter_ns) / 1e6);
	else if (c->latency_ns + c->jitter_ns > 0)
		fault_describe_part(f, "requests take %s%g ms more",
				    c->latency_ns > 0 ? "" : "up to ",
				    (double)(c->latency_ns + c->jitter_ns) / 1e6);
	if (c->short_ppm > 0)
		fault_describe_part(f, "%g%% of transfers end early", c->short_ppm / 1e4);
	if (c->hang_while)
		fault_describe_part(f, "requests hang while there is a %s", c->hang_while);
	if (c->power_cut)
		fault_describe_part(f, "a kill of the server is a power cut");
	if (c->lying_flush)
		fault_describe_part(f, "flushes do nothing");
	if (ftell(f) == 0)
		fault_describe_part(f, "none, as [Fault] says nothing");
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
