/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The start of a device, step by step. The order matters: the udev properties are written between
 * ADD_DEV, which gives the number, and START_DEV, which makes the uevent; and the queues fetch
 * before START_DEV, which waits for them. A takeover goes the same way with other commands: see
 * device-takeover.c.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "abi/features.h"
#include "backend/fault.h"
#include "backend/registry.h"
#include "device/data-plane.h"
#include "device/device-internal.h"
#include "device/limits.h"
#include "device/node.h"
#include "device/recovery.h"
#include "ring/worker.h"
#include "state/state.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/step.h"

#define DEVICE_OPEN_TRIES     100
#define DEVICE_OPEN_STEP_NS   20000000L
#define DEVICE_NODE_TIMEOUT_S 180 /* what udev gives one event: at boot it has much to do */

static int device_lock(struct device *d)
{
	const char *name = d->conf->name;
	pid_t owner = 0;
	int r;

	r = state_lock(name, &d->lock_fd);
	if (r == -EBUSY) {
		(void)state_get_owner(name, &owner);
		return log_message(MESSAGE_SERVED_TWICE, LOG_ERR, r,
				   "%s is already served by process %d", name, (int)owner);
	}
	if (r < 0)
		return log_error_errno(r, "cannot lock " STATE_DIR "/%s: %m", name);
	/* Before the backing file is opened, which a server that died may still hold. */
	if (r > 0)
		r = device_find_orphan(d);
	else if (d->env.only_takeover)
		return -EUCLEAN; /* what is wrong with the definition has been said */
	return MIN(r, 0);
}

struct backend_request device_backend_request(const struct device *d,
					      const struct device_conf *conf)
{
	return (struct backend_request){
		.device = conf->name,
		.dir = d->dir,
		.conf = conf->backend,
		.size_bytes = conf->size_bytes,
		.logical_block_bytes = conf->logical_block_bytes,
		.read_only = conf->read_only,
		.takeover = d->orphan,
		.interrupt = d->env.interrupt,
		.interrupt_arg = d->env.arg,
		.event_fd = d->event_fd,
		.kept_fd = -1,
	};
}

/* What a definition asks to go wrong. Whoever did not mean it must see it at once. */
static int device_inject_faults(struct device *d)
{
	const struct fault_conf *fault = d->conf->fault;
	AUTO_FREE char *text = NULL;
	int r;

	if (!fault)
		return 0;
	r = fault_wrap(fault, &d->ops, &d->backend, &d->limits, d->orphan);
	if (r < 0)
		return r;
	text = fault_describe(fault);
	log_message(MESSAGE_FAULTS_INJECTED, LOG_WARNING, 0,
		    "FAULTS ARE INJECTED into this device, as its [Fault] section says: %s",
		    text ?: "");
	return 0;
}

static int device_open_backend(struct device *d)
{
	const struct device_conf *c = d->conf;
	struct backend_request req = device_backend_request(d, c);
	AUTO_CLOSE int kept_fd = -1;
	int r;

	d->ops = backend_find(c->backend_type);
	if (!d->ops)
		return log_at(LOG_ERR, -EOPNOTSUPP,
			      "this build of ublkd has no backend %s; see the build's options",
			      c->backend_type->name);
	if (d->orphan) {
		r = ctrl_get_params(d->env.ctrl, d->info.dev_id, &d->limits);
		if (r < 0)
			return device_log_ctrl(d, CTRL_GET_PARAMS, r);
		req.size_bytes = d->limits.size_bytes;
		req.logical_block_bytes = d->limits.logical_block_bytes;
		if (d->ops->get_kept_fd && d->env.take_fd)
			req.kept_fd = kept_fd = d->env.take_fd(d->env.arg, c->name);
	}
	r = d->ops->open(&req, &d->backend, d->orphan ? &d->found : &d->limits);
	/* It has said what does not fit. To try again would not help. */
	if (r == -EINVAL || r == -ENOENT || r == -EEXIST || r == -ENOSPC || r == -ENODATA)
		return -EUCLEAN;
	if (r < 0)
		return r;
	d->backend_open = true;
	step_reached("backend-open");
	r = d->orphan ? device_adopt_limits(d) : limits_settle(c, &d->limits);
	return r < 0 ? r : device_inject_faults(d);
}

/* How the kernel shall treat the device when its server is gone. */
static int device_choose_recovery(struct device *d, uint64_t *ret_flags)
{
	d->recovery = d->conf->recovery_mode;
	if (d->recovery != RECOVERY_NONE && d->ops->get_kept_fd && !d->env.keep_fd) {
		log_notice("nobody would keep the data of this device if its server died, as "
			   "systemd does: it is not recoverable");
		d->recovery = RECOVERY_NONE;
	}
	*ret_flags = recovery_flags(d->recovery);
	if (*ret_flags & FEATURE_RECOVERY_FAIL_IO &&
	    !ctrl_has_feature(d->env.ctrl, FEATURE_RECOVERY_FAIL_IO))
		return log_at(
			LOG_ERR, -EOPNOTSUPP,
			"[Recovery] Mode=fail needs Linux 6.13 or newer (USER_RECOVERY_FAIL_IO, see "
			"\"ublkctl features\"): set reissue, queue or none");
	return 0;
}

/* For a successor that cannot do without what the backend holds. */
static int device_keep(struct device *d)
{
	int r;

	if (d->recovery == RECOVERY_NONE || !d->ops->get_kept_fd)
		return 0;
	r = d->env.keep_fd(d->env.arg, d->conf->name, d->ops->get_kept_fd(d->backend));
	if (r < 0)
		return log_error_errno(r,
				       "cannot give the data of the device to systemd's store: %m");
	return 0;
}

static int device_log_add(const struct device *d, int r)
{
	switch (r) {
	case -EACCES:
		return log_message(MESSAGE_NO_MORE_DEVICES, LOG_ERR, -EOPNOTSUPP,
				   "the kernel allows no more ublk devices (ublks_max): raise "
				   "/sys/module/ublk_drv/parameters/ublks_max, and in modprobe.d");
	case -EPERM:
		return log_message(MESSAGE_NOT_PERMITTED, LOG_ERR, r,
				   "cannot add a ublk device: needs CAP_SYS_ADMIN in the "
				   "initial user namespace, run as root outside containers");
	default:
		return device_log_ctrl(d, CTRL_ADD_DEV, r);
	}
}

static int device_add(struct device *d)
{
	const unsigned n_queues = limits_n_queues(d->conf, &d->limits);
	uint64_t flags, plane;
	int r;

	r = device_choose_recovery(d, &flags);
	if (r == 0)
		r = data_plane_choose(d, &plane);
	if (r == 0)
		r = device_keep(d);
	if (r < 0)
		return r;
	d->info = (struct dev_info){
		.dev_id = CTRL_ANY_DEV_ID,
		.n_queues = (uint16_t)n_queues,
		.depth = (uint16_t)(d->conf->depth +
				    recovery_spare_slots(d->env.ctrl, flags, d->conf->depth)),
		.max_io_bytes = d->limits.max_io_bytes,
		.flags = flags | plane,
		.cookie = state_cookie(d->conf->name),
	};
	r = ctrl_add_dev(d->env.ctrl, &d->info);
	if (r < 0)
		return device_log_add(d, r);
	device_go(d, DEVICE_ADDED);
	step_reached("added");
	if ((d->info.flags & flags) != flags) /* the kernel drops what it does not know or permit */
		return log_message(
			MESSAGE_KERNEL_LACKS, LOG_ERR, -EOPNOTSUPP,
			"the kernel does not make this device recoverable: set [Recovery] "
			"Mode=none, or see \"ublkctl features\"");
	if ((d->info.flags & plane) != plane)
		return log_message(MESSAGE_KERNEL_LACKS, LOG_ERR, -EOPNOTSUPP,
				   "the kernel refuses what it says it has (%s): set [Queues] "
				   "CopyMode=copy and BatchIO=no",
				   data_plane_to_string(plane));
	if (d->info.n_queues < n_queues)
		log_notice("%u queues instead of %u: the kernel makes no more than there are CPUs",
			   d->info.n_queues, n_queues);
	d->limits.max_io_bytes = MIN(d->limits.max_io_bytes, d->info.max_io_bytes);
	return 0;
}

int device_open_char(struct device *d)
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

int device_write_udev(const struct device *d)
{
	const struct device_conf *c = d->conf;
	const struct udev_properties p = {
		.name = c->name,
		.backend = c->backend_type->name,
		.serial = c->serial,
		.owner = c->owner,
		.group = c->group,
		.mode = c->mode,
		.watch = c->watch,
	};
	int r = state_write_udev(d->info.dev_id, &p);

	if (r < 0)
		return log_error_errno(r, "cannot write " STATE_DIR "/udev/ublkb%" PRIu32 ": %m",
				       d->info.dev_id);
	return 0;
}

/* Ends with its own digest: a server may die between this file and the state. */
static int device_write_definition(const struct device *d)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return -ENOMEM;
	r = device_conf_print(d->conf, f);
	fprintf(f, DEFINITION_DIGEST "%016" PRIx64 "\n", device_conf_digest(d->conf));
	if (fclose(f) != 0 && r == 0)
		r = -ENOMEM;
	return r < 0 ? r : state_write_definition(d->conf->name, text, len);
}

int device_write_state(struct device *d, bool takeover)
{
	const struct device_conf *c = d->conf;
	struct state s = {
		.dev_id = d->info.dev_id,
		.cookie = d->info.cookie,
		.pid = getpid(),
		.flags = d->info.flags,
		.digest = device_conf_digest(c),
		.takeover = takeover,
		.backend = (char *)c->backend_type->name,
		.target = (char *)(d->ops->get_target ? d->ops->get_target(d->backend) : ""),
		.definition = c->path,
	};
	int r;

	r = device_write_definition(d);
	if (r >= 0)
		r = state_boot_id(s.boot_id);
	if (r >= 0)
		r = state_write(c->name, &s);
	if (r < 0)
		return log_error_errno(r, "cannot write the state of %s below " STATE_DIR ": %m",
				       c->name);
	return 0;
}

static int device_make_stats(struct device *d)
{
	struct stats old = {0};
	int r;

	if (d->orphan)
		(void)stats_open(d->conf->name, &old);
	r = stats_create(d->conf->name, d->info.n_queues, d->info.depth, &d->stats);
	d->seen_ns = clock_now_ns();
	if (r == 0 && old.header) {
		stats_continue(&d->stats, &old);
		d->seen_ns = stats_get_seen_ns(&old);
	}
	stats_close(&old);
	if (r < 0)
		return log_error_errno(r, "cannot make " STATE_DIR "/%s/stats: %m", d->conf->name);
	return 0;
}

static int device_record(struct device *d)
{
	int r;

	/* At a takeover the state was written already, before its first command. */
	r = d->orphan ? 0 : device_write_state(d, false);
	step_reached("state-written");
	if (r == 0)
		r = device_make_stats(d);
	if (r == 0)
		r = device_write_udev(d);
	step_reached("recorded");
	return r;
}

void device_set_rates(struct device *d)
{
	const struct rate_limits *r = &d->conf->rates;
	const struct throttle_rates rates = {.read_bytes = r->read_bytes,
					     .write_bytes = r->write_bytes,
					     .read_iops = r->read_iops,
					     .write_iops = r->write_iops};

	if (throttle_set(d->throttle, &rates) < 0)
		log_warning("no memory for the new [Limits]: the old ones stay in force");
	for (unsigned i = 0; d->queues && i < d->info.n_queues; i++)
		queue_kick(d->queues[i]);
}

static int device_make_throttle(struct device *d)
{
	int r = throttle_new(&d->throttle);

	if (r < 0)
		return log_error_errno(r, "no memory for the limits of the device: %m");
	device_set_rates(d);
	return 0;
}

int device_start_queues(struct device *d)
{
	if (device_make_throttle(d) < 0)
		return -ENOMEM;
	d->queues = calloc(d->info.n_queues, sizeof(struct queue *));
	if (!d->queues)
		return log_error_errno(-ENOMEM, "cannot make %u queues: %m", d->info.n_queues);
	for (uint16_t i = 0; i < d->info.n_queues; i++) {
		cpu_set_t cpus;
		bool have_cpus =
			ctrl_get_queue_affinity(d->env.ctrl, d->info.dev_id, i, &cpus) == 0;
		const struct queue_config config = {
			.worker = d->env.workers ? workers_pick(d->env.workers) : NULL,
			.dev_fd = d->dev_fd,
			.id = i,
			.depth = d->info.depth,
			.desc_size_bytes = d->info.desc_size_bytes,
			.legacy = ctrl_is_legacy(d->env.ctrl),
			.features = d->info.flags,
			.spin_ns = d->conf->poll_us * 1000ULL,
			.limits = &d->limits,
			.ops = d->ops->io,
			.backend = d->backend,
			.throttle = d->throttle,
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
		queue_set_slow(d->queues[i], d->env.slow_beats);
		step_reached(i == 0 ? "first-queue" : "more-queues");
	}
	return 0;
}

/* Nobody may wait for a start that cannot succeed any more. */
static enum ctrl_wait device_wait_start(void *arg)
{
	struct device *d = arg;

	if (device_queue_has_ended(d) || (d->env.interrupt && d->env.interrupt(d->env.arg)))
		return CTRL_CANCEL;
	return CTRL_WAIT;
}

int device_log_start(const struct device *d, enum ctrl_op op, int r)
{
	for (uint16_t i = 0; i < d->info.n_queues; i++) {
		int queue_r;

		if (queue_has_ended(d->queues[i], &queue_r) && queue_r < 0)
			return log_message(MESSAGE_QUEUE_FAILED, LOG_ERR, queue_r,
					   "queue %u has failed: %m", i);
	}
	return device_log_ctrl(d, op, r);
}

static int device_go_live(struct device *d)
{
	int r;

	r = ctrl_set_params(d->env.ctrl, d->info.dev_id, &d->limits);
	if (r < 0)
		return device_log_ctrl(d, CTRL_SET_PARAMS, r);
	step_reached("params-set");
	d->live_ns = clock_now_ns();
	ctrl_set_wait(d->env.ctrl, device_wait_start, d);
	r = ctrl_start_dev(d->env.ctrl, d->info.dev_id, getpid());
	ctrl_set_wait(d->env.ctrl, NULL, NULL);
	if (r < 0)
		return device_log_start(d, CTRL_START_DEV, r);
	device_go(d, DEVICE_LIVE);
	step_reached("live");
	/* The spare slot is no use to anybody if the kernel gives it out. */
	if (d->info.depth > d->conf->depth) {
		r = node_set_depth(d->info.dev_id, d->conf->depth);
		if (r < 0)
			log_warning_errno(
				r,
				"cannot keep one slot of ublkb%" PRIu32
				" free (queue/nr_requests): %m; if the server dies with all "
				"slots in use, it is noticed after 30 s",
				d->info.dev_id);
	}
	return 0;
}

int device_start(struct device *d)
{
	static int (*const anew[])(struct device *) = {
		device_open_backend, device_add,          device_open_char,
		device_record,       device_start_queues, device_go_live,
	};
	static int (*const takeover[])(struct device *) = {
		device_open_backend, device_begin_takeover, device_open_char,
		device_record,       device_start_queues,   device_end_takeover,
	};
	int r;

	static_assert(ARRAY_SIZE(anew) == ARRAY_SIZE(takeover), "step for step");
	r = device_lock(d);
	step_reached("locked");
	for (size_t i = 0; i < ARRAY_SIZE(anew) && r >= 0; i++)
		r = (d->orphan ? takeover : anew)[i](d);
	return r;
}

int device_wait_node(struct device *d, bool required)
{
	const char *name = d->conf->name;
	int r;

	if (d->taken_over) /* it has had its names for long */
		return 0;
	r = node_wait(d->live_ns, d->info.dev_id, name, DEVICE_NODE_TIMEOUT_S, d->env.interrupt,
		      d->env.arg);
	if (r == 0)
		return 0;
	if (r == -ECANCELED)
		return log_at(LOG_NOTICE, r, "the start was given up");
	if (!required) {
		log_message(MESSAGE_NO_NAME, LOG_WARNING, 0,
			    "there is no /dev/ublk/%s, udev %s; use /dev/ublkb%" PRIu32, name,
			    r == -ENOENT    ? "does not run here"
			    : r == -ENOLINK ? "lacks ublkd's rule"
					    : "does not come to an end",
			    d->info.dev_id);
		return 0;
	}
	if (r == -ENOLINK)
		return log_message(MESSAGE_NO_NAME, LOG_ERR, r,
				   "udev has made no /dev/ublk/%s for ublkb%" PRIu32
				   ": are the rules of ublkd installed? See 'udevadm test'",
				   name, d->info.dev_id);
	if (r == -ETIMEDOUT)
		return log_message(
			MESSAGE_NO_NAME, LOG_ERR, r,
			"udev has not come to an end with ublkb%" PRIu32
			" within %u s, so there is no /dev/ublk/%s; see 'udevadm settle'",
			d->info.dev_id, DEVICE_NODE_TIMEOUT_S, name);
	return log_error_errno(r, "cannot wait for udev to make /dev/ublk/%s: %m", name);
}
