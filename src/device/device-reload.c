/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A new definition for a device in use. Growth comes first, since it can fail; the rest cannot but
 * for the files below /run.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "abi/features.h"
#include "device/device-internal.h"
#include "device/node.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/step.h"

static int device_set_size(struct device *d, uint64_t size_bytes)
{
	char text[2][SIZE_TEXT_MAX];
	uint64_t old_bytes = d->limits.size_bytes;
	int r;

	size_bytes -= size_bytes % d->limits.logical_block_bytes;
	if (size_bytes <= old_bytes)
		return 0;
	step_reached("reload-grown");
	/* The queues first: a request behind the old end may come at once. */
	__atomic_store_n(&d->limits.size_bytes, size_bytes, __ATOMIC_RELAXED);
	r = ctrl_update_size(d->env.ctrl, d->info.dev_id, size_bytes);
	if (r < 0) {
		__atomic_store_n(&d->limits.size_bytes, old_bytes, __ATOMIC_RELAXED);
		return device_log_ctrl(d, CTRL_UPDATE_SIZE, r);
	}
	log_notice("/dev/ublkb%" PRIu32 " has grown from %s to %s", d->info.dev_id,
		   format_size(old_bytes, text[0]), format_size(size_bytes, text[1]));
	return 0;
}

/* 0: done, or nothing to do; 1: only a stop and a start can do it. */
static int device_reload_size(struct device *d, const struct device_conf *conf)
{
	const uint64_t want_bytes = conf->size_bytes, now_bytes = d->limits.size_bytes;
	struct backend_request req = device_backend_request(d, d->conf);
	uint64_t size_bytes = 0;
	int r;

	if (want_bytes > 0 && want_bytes < now_bytes)
		return 1;
	/* Without Size= it is as large as what lies behind it. */
	if (want_bytes == now_bytes || !d->ops->resize)
		return want_bytes > now_bytes;
	if (!ctrl_has_feature(d->env.ctrl, FEATURE_UPDATE_SIZE) && want_bytes > 0)
		return 1; /* and what lies behind it stays as it is until then */
	req.size_bytes = want_bytes;
	r = d->ops->resize(d->backend, &req, &size_bytes);
	if (r < 0)
		return r;
	if (!ctrl_has_feature(d->env.ctrl, FEATURE_UPDATE_SIZE))
		return size_bytes - size_bytes % d->limits.logical_block_bytes > now_bytes;
	if (want_bytes > 0 && size_bytes < want_bytes) {
		char text[2][SIZE_TEXT_MAX];

		return log_at(LOG_ERR, -EUCLEAN,
			      "Size=%s is more than the %s behind it: make that larger first",
			      format_size(want_bytes, text[0]), format_size(size_bytes, text[1]));
	}
	return device_set_size(d, want_bytes > 0 ? want_bytes : size_bytes);
}

bool device_take_size_change(struct device *d)
{
	return d->ops->take_change && d->ops->take_change(d->backend) && d->conf->size_bytes == 0;
}

int device_follow_size(struct device *d)
{
	int r = device_reload_size(d, d->conf);

	if (r > 0)
		log_notice(
			"this kernel cannot change the size of a device in use: stop and start it "
			"to have the new one");
	d->status_changed |= r == 0;
	return MIN(r, 0);
}

static bool device_text_differs(const char *a, const char *b)
{
	return strcmp(a ?: "", b ?: "") != 0;
}

static bool device_udev_differs(const struct device_conf *a, const struct device_conf *b)
{
	return device_text_differs(a->serial, b->serial) ||
	       device_text_differs(a->owner, b->owner) || device_text_differs(a->group, b->group) ||
	       a->mode != b->mode || a->watch != b->watch;
}

/* What is not set any more is udev's own again, which it only gives to a device that is new to it. */
static bool device_udev_defaults_return(const struct device_conf *from,
					const struct device_conf *to)
{
	return (from->owner && !to->owner) || (from->group && !to->group) ||
	       (from->mode != UINT32_MAX && to->mode == UINT32_MAX);
}

static int device_add_name(char **list, const char *name)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", *list ?: "", *list ? ", " : "", name) < 0)
		return -ENOMEM;
	free(*list);
	*list = longer;
	return 0;
}

/* @udev_action: NULL: nothing that is udev's has changed */
static int device_apply(struct device *d, const char *udev_action)
{
	int r;

	device_set_rates(d);
	step_reached("reload-applied");
	r = device_write_state(d, false);
	step_reached("reload-written");
	if (r == 0 && udev_action)
		r = device_write_udev(d);
	if (r < 0)
		return r;
	r = udev_action ? node_trigger(d->info.dev_id, udev_action) : 0;
	if (r < 0)
		log_warning_errno(
			r,
			"cannot tell udev of the change: %m; do it with \"udevadm trigger "
			"/dev/ublkb%" PRIu32 "\"",
			d->info.dev_id);
	return 0;
}

int device_reload(struct device *d, struct device_conf *conf, struct conf_changes *ret)
{
	AUTO(device_conf_free) struct device_conf *new = conf;
	const char *udev_action = device_udev_defaults_return(d->conf, new) ? "add"
				  : device_udev_differs(d->conf, new)       ? "change"
									    : NULL;
	const uint64_t old_bytes = d->limits.size_bytes;
	bool size_stays;
	int r;

	r = device_reload_size(d, new);
	if (r < 0)
		return r;
	size_stays = r > 0;
	if (size_stays)
		new->size_bytes = d->conf->size_bytes;
	r = device_conf_adopt(d->conf, new, CONF_LIVE, ret);
	if (r == 0 && size_stays)
		r = device_add_name(&ret->stop, new->size_bytes > 0 ? "Size=" : "its size");
	else if (r == 0 && d->limits.size_bytes > old_bytes && new->size_bytes == 0)
		r = device_add_name(&ret->taken, "its size");
	if (r < 0)
		return log_error_errno(r, "cannot take the new definition: %m");
	return device_apply(d, udev_action);
}
