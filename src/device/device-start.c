/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The start of a device, step by step. The order matters: the udev properties are written between
 * ADD_DEV, which gives the number, and START_DEV, which makes the uevent; and the queues fetch
 * before START_DEV, which waits for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "backend/registry.h"
#include "device/device-internal.h"
#include "device/limits.h"
#include "device/node.h"
#include "device/recovery.h"
#include "state/state.h"
#include "util/log.h"

#define DEVICE_OPEN_TRIES     100
#define DEVICE_OPEN_STEP_NS   20000000L
#define DEVICE_NODE_TIMEOUT_S 30

static int device_lock(struct device *d)
{
	const char *name = d->conf->name;
	pid_t owner = 0;
	int r;

	r = state_lock(name, &d->lock_fd);
	if (r == -EBUSY) {
		(void)state_get_owner(name, &owner);
		return log_error_errno(r, "%s is already served by process %d", name, (int)owner);
	}
	if (r < 0)
		return log_error_errno(r, "cannot lock " STATE_DIR "/%s: %m", name);
	/* Before the backing file is opened, which a server that died may still hold. */
	return r > 0 ? recovery_clean(d->ctrl, name) : 0;
}

static int device_open_backend(struct device *d)
{
	const struct device_conf *c = d->conf;
	const struct backend_request req = {
		.device = c->name,
		.conf = c->backend,
		.size_bytes = c->size_bytes,
		.logical_block_bytes = c->logical_block_bytes,
		.read_only = c->read_only,
		.kept_fd = -1,
	};
	int r;

	d->ops = backend_find(c->backend_type);
	if (!d->ops)
		return log_at(LOG_ERR, -EOPNOTSUPP,
			      "this build of ublkd has no backend %s; see the build's options",
			      c->backend_type->name);
	r = d->ops->open(&req, &d->backend, &d->limits);
	/* It has said what does not fit. To try again would not help. */
	if (r == -EINVAL || r == -ENOENT || r == -EEXIST || r == -ENOSPC)
		return -EUCLEAN;
	if (r < 0)
		return r;
	d->backend_open = true;
	return limits_settle(c, &d->limits);
}

static int device_log_add(const struct device *d, int r)
{
	switch (r) {
	case -EACCES:
		return log_at(LOG_ERR, -EOPNOTSUPP,
			      "the kernel allows no more ublk devices (ublks_max): raise "
			      "/sys/module/ublk_drv/parameters/ublks_max, and in modprobe.d");
	case -EPERM:
		return log_error_errno(r, "cannot add a ublk device: needs CAP_SYS_ADMIN in the "
					  "initial user namespace, run as root outside containers");
	default:
		return device_log_ctrl(d, CTRL_ADD_DEV, r);
	}
}

static int device_add(struct device *d)
{
	const unsigned n_queues = limits_n_queues(d->conf);
	int r;

	d->info = (struct dev_info){
		.dev_id = CTRL_ANY_DEV_ID,
		.n_queues = (uint16_t)n_queues,
		.depth = (uint16_t)d->conf->depth,
		.max_io_bytes = d->limits.max_io_bytes,
		.cookie = state_cookie(d->conf->name),
	};
	r = ctrl_add_dev(d->ctrl, &d->info);
	if (r < 0)
		return device_log_add(d, r);
	d->added = true;
	if (d->info.n_queues < n_queues)
		log_notice("%u queues instead of %u: the kernel makes no more than there are CPUs",
			   d->info.n_queues, n_queues);
	d->limits.max_io_bytes = MIN(d->limits.max_io_bytes, d->info.max_io_bytes);
	return 0;
}

static int device_open_char(struct device *d)
{
	const struct timespec step = {.tv_nsec = DEVICE_OPEN_STEP_NS};
	char path[64];

	snprintf(path, sizeof(path), "/dev/ublkc%" PRIu32, d->info.dev_id);
	for (unsigned i = 0; i < DEVICE_OPEN_TRIES; i++) {
		d->dev_fd = open(path, O_RDWR | O_CLOEXEC);
		if (d->dev_fd >= 0)
			return 0;
		/* Somebody looks at it for a moment, or /dev is not a devtmpfs and udev makes it. */
		if (errno != EBUSY && errno != ENOENT)
			break;
		nanosleep(&step, NULL);
	}
	return log_error_errno(-errno, "cannot open %s: %m", path);
}

static int device_write_state(struct device *d)
{
	const struct device_conf *c = d->conf;
	struct state s = {
		.dev_id = d->info.dev_id,
		.cookie = d->info.cookie,
		.pid = getpid(),
		.flags = d->info.flags,
		.digest = device_conf_digest(c),
		.backend = (char *)c->backend_type->name,
		.target = (char *)(d->ops->get_target ? d->ops->get_target(d->backend) : ""),
		.definition = c->path,
	};
	const struct udev_properties p = {
		.name = c->name,
		.backend = c->backend_type->name,
		.serial = c->serial,
		.owner = c->owner,
		.group = c->group,
		.mode = c->mode,
		.watch = c->watch,
	};
	int r;

	r = state_boot_id(s.boot_id);
	if (r >= 0)
		r = state_write(c->name, &s);
	if (r >= 0)
		r = stats_create(c->name, d->info.n_queues, &d->stats);
	if (r >= 0)
		r = state_write_udev(d->info.dev_id, &p);
	if (r < 0)
		return log_error_errno(r, "cannot write the state of %s below " STATE_DIR ": %m",
				       c->name);
	return 0;
}

static int device_start_queues(struct device *d)
{
	d->queues = calloc(d->info.n_queues, sizeof(struct queue *));
	if (!d->queues)
		return log_error_errno(-ENOMEM, "cannot make %u queues: %m", d->info.n_queues);
	for (uint16_t i = 0; i < d->info.n_queues; i++) {
		cpu_set_t cpus;
		bool have_cpus = ctrl_get_queue_affinity(d->ctrl, d->info.dev_id, i, &cpus) == 0;
		const struct queue_config config = {
			.dev_fd = d->dev_fd,
			.id = i,
			.depth = d->info.depth,
			.desc_size_bytes = d->info.desc_size_bytes,
			.legacy = ctrl_is_legacy(d->ctrl),
			.limits = &d->limits,
			.ops = d->ops->io,
			.backend = d->backend,
			.stats = stats_get_queue(&d->stats, i),
			.cpus = have_cpus ? &cpus : NULL,
			.event_fd = d->event_fd,
		};
		int r = queue_start(&config, &d->queues[i]);

		if (r < 0)
			return log_error_errno(
				r,
				"cannot start queue %u of %u, depth %u, with %" PRIu32
				" bytes per request: %m",
				i, d->info.n_queues, d->info.depth, d->limits.max_io_bytes);
	}
	return 0;
}

/* Nobody may wait for a start that cannot succeed any more. */
static enum ctrl_wait device_wait_start(void *arg)
{
	struct device *d = arg;

	if (device_queue_has_ended(d) || (d->interrupt && d->interrupt(d->interrupt_arg)))
		return CTRL_CANCEL;
	return CTRL_WAIT;
}

static int device_go_live(struct device *d)
{
	int r, queue_r;

	r = ctrl_set_params(d->ctrl, d->info.dev_id, &d->limits);
	if (r < 0)
		return device_log_ctrl(d, CTRL_SET_PARAMS, r);
	d->watch_fd = node_open_watch();
	ctrl_set_wait(d->ctrl, device_wait_start, d);
	r = ctrl_start_dev(d->ctrl, d->info.dev_id, getpid());
	ctrl_set_wait(d->ctrl, NULL, NULL);
	if (r < 0) {
		for (uint16_t i = 0; i < d->info.n_queues; i++) {
			if (queue_has_ended(d->queues[i], &queue_r) && queue_r < 0)
				return log_error_errno(queue_r, "queue %u has failed: %m", i);
		}
		return device_log_ctrl(d, CTRL_START_DEV, r);
	}
	d->live = true;
	return 0;
}

int device_start(struct device *d)
{
	int (*const steps[])(struct device *) = {
		device_lock,        device_open_backend, device_add,     device_open_char,
		device_write_state, device_start_queues, device_go_live,
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i](d);

		if (r < 0)
			return r;
	}
	return 0;
}

int device_wait_node(struct device *d, bool required)
{
	const char *name = d->conf->name;
	int r = d->watch_fd;

	if (r >= 0)
		r = node_wait(d->watch_fd, d->info.dev_id, name, DEVICE_NODE_TIMEOUT_S,
			      d->interrupt, d->interrupt_arg);
	if (d->watch_fd >= 0)
		close(TAKE_FD(d->watch_fd));
	if (r == 0)
		return 0;
	if (r == -ECANCELED)
		return log_at(LOG_NOTICE, r, "the start was given up");
	if (!required) {
		log_warning("there is no /dev/ublk/%s, udev %s; use /dev/ublkb%" PRIu32, name,
			    r == -ENOENT    ? "does not run here"
			    : r == -ENOLINK ? "lacks ublkd's rule"
					    : "does not come to an end",
			    d->info.dev_id);
		return 0;
	}
	if (r == -ENOLINK)
		return log_error_errno(r,
				       "udev has made no /dev/ublk/%s for ublkb%" PRIu32
				       ": are the rules of ublkd installed? See 'udevadm test'",
				       name, d->info.dev_id);
	if (r == -ETIMEDOUT)
		return log_error_errno(
			r,
			"udev has not come to an end with ublkb%" PRIu32
			" within %u s, so there is no /dev/ublk/%s; see 'udevadm settle'",
			d->info.dev_id, DEVICE_NODE_TIMEOUT_S, name);
	return log_error_errno(r, "cannot wait for udev to make /dev/ublk/%s: %m", name);
}
