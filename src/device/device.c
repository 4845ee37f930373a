/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a device but for its start, which is in device-start.c. At the stop the queues serve
 * until the kernel has written back and taken every slot away, then the backend is flushed, and the
 * device is deleted when nothing of ours refers to it any more.
 */
#include "device/device.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "abi/features.h"
#include "device/data-plane.h"
#include "device/device-internal.h"
#include "device/node.h"
#include "ring/orphan.h"
#include "state/state.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/parse.h"
#include "util/step.h"

#define DEVICE_DELETE_WAIT_MS  5000
#define DEVICE_TICK_MS         200
#define DEVICE_REPORT_EVERY_MS 10000

/* How long a stop waits for a backend that answers nothing: twice what most of them try for. */
#define DEVICE_AWAY_NS (600 * 1000000000ULL)

int device_new(struct device_conf *conf, const struct device_env *env, struct device **ret)
{
	AUTO(device_free) struct device *d = calloc(1, sizeof(*d));

	if (!d) {
		device_conf_free(conf);
		return log_error_errno(-ENOMEM, "cannot make a device: %m");
	}
	d->conf = conf;
	d->env = *env;
	d->lock_fd = d->event_fd = d->dev_fd = -1;
	if (asprintf(&d->dir, "%s/%s", state_dir(), conf->name) < 0) {
		d->dir = NULL;
		return log_error_errno(-ENOMEM, "cannot make a device: %m");
	}
	d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->event_fd < 0)
		return log_error_errno(-errno, "cannot make an eventfd for %s: %m", conf->name);
	*ret = TAKE_PTR(d);
	return 0;
}

void device_set_ctrl(struct device *d, struct ctrl *ctrl)
{
	d->env.ctrl = ctrl;
}

void device_go(struct device *d, enum device_state to)
{
	assert(device_may_go(d->state, to));
	d->state = to;
}

bool device_queue_has_ended(const struct device *d)
{
	int r;

	for (unsigned i = 0; d->queues && i < d->info.n_queues; i++) {
		if (d->queues[i] && queue_has_ended(d->queues[i], &r))
			return true;
	}
	return false;
}

static uint64_t device_count_requests(const struct device *d)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < d->info.n_queues; i++) {
		const struct stats_queue *q = stats_get_queue(&d->stats, i);

		for (unsigned op = 0; op < N_IO_OPS; op++)
			n += stats_read(&q->op[op].count);
	}
	return n;
}

static void device_drain_event(const struct device *d)
{
	uint64_t n;

	while (read(d->event_fd, &n, sizeof(n)) > 0)
		;
}

struct device_progress {
	struct device *d;
	uint64_t n_requests;
	uint64_t since_ns; /* none has completed */
};

static bool device_has_requests(const struct device *d)
{
	for (unsigned i = 0; i < d->info.n_queues; i++) {
		if (__atomic_load_n(&stats_get_queue(&d->stats, i)->in_flight, __ATOMIC_RELAXED) >
		    0)
			return true;
	}
	return false;
}

/*
 * A stop writes back what the page cache holds, and waits for the kernel's lock of the device, which
 * who looks for partitions has: as long as requests complete, it goes on, and as long as they are
 * with a backend that is away and may come back. Giving up then would leave requests that nobody
 * answers, a stop that waits for them in the kernel, and a process that waits for that stop.
 * Nothing else looks after the queues meanwhile, and a stop that waits for a thread nobody has woken
 * up would wait for ever, so they are woken up here.
 */
static enum ctrl_wait device_wait_stop(void *arg)
{
	struct device_progress *p = arg;
	uint64_t n = device_count_requests(p->d);

	for (unsigned i = 0; p->d->queues && i < p->d->info.n_queues; i++)
		queue_kick(p->d->queues[i]);
	if (p->d->env.interrupt)
		(void)p->d->env.interrupt(p->d->env.arg); /* extends systemd's patience */
	if (n != p->n_requests)
		p->since_ns = clock_now_ns();
	else if (!device_has_requests(p->d) || clock_now_ns() - p->since_ns > DEVICE_AWAY_NS)
		return CTRL_WAIT;
	p->n_requests = n;
	return CTRL_EXTEND;
}

int device_log_ctrl(const struct device *d, enum ctrl_op op, int r)
{
	if (r == -ETIMEDOUT)
		return log_error_errno(r,
				       "the kernel has not answered %s of ublk device %" PRIu32
				       " within %u s; see the kernel's log, it may need a reboot",
				       ctrl_op_to_string(op), d->info.dev_id,
				       ctrl_get_deadline_s(op));
	if (r == -ECANCELED)
		return log_at(LOG_NOTICE, r, "%s of ublk device %" PRIu32 " was given up",
			      ctrl_op_to_string(op), d->info.dev_id);
	return log_error_errno(r, "%s of ublk device %" PRIu32 " failed: %m", ctrl_op_to_string(op),
			       d->info.dev_id);
}

/* Kernels without TRY_STOP_DEV: claim the device, so that nobody mounts it from here on. */
static int device_claim(const struct device *d, int *ret_fd)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/ublkb%" PRIu32, d->info.dev_id);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0 && errno == EBUSY)
		return -EBUSY;
	*ret_fd = fd; /* a missing node claims nothing and hinders nothing */
	return 0;
}

/*
 * A device that is recoverable throws away what the page cache still holds when it is stopped, for
 * the kernel acts as if its server were gone. Whoever closed it last has had it written back; this
 * is for what came since.
 */
static void device_sync(const struct device *d)
{
	int r = d->limits.read_only ? 0 : node_sync(d->info.dev_id);

	if (r < 0 && r != -ENOENT && r != -ENXIO)
		log_warning_errno(r,
				  "cannot write back what the page cache holds of ublkb%" PRIu32
				  ": %m: the last writes to it may be lost",
				  d->info.dev_id);
}

static int device_flush(struct device *d)
{
	if (!d->ops->flush || d->limits.read_only)
		return 0;
	return d->ops->flush(d->backend); /* logging */
}

/* @even_in_use: users get errors from here on, after the write-back; else -EBUSY. */
static int device_stop(struct device *d, bool even_in_use)
{
	struct device_progress progress = {
		.d = d, .n_requests = device_count_requests(d), .since_ns = clock_now_ns()};
	AUTO_CLOSE int claim_fd = -1;
	enum ctrl_op op = CTRL_TRY_STOP_DEV;
	int r = -EOPNOTSUPP;

	if (even_in_use)
		device_sync(d);
	ctrl_set_wait(d->env.ctrl, device_wait_stop, &progress);
	if (!even_in_use)
		r = ctrl_try_stop_dev(d->env.ctrl, d->info.dev_id);
	if (r == -EOPNOTSUPP) {
		op = CTRL_STOP_DEV;
		r = even_in_use ? 0 : device_claim(d, &claim_fd);
		if (r == 0 && !even_in_use)
			device_sync(d);
		if (r == 0)
			r = ctrl_stop_dev(d->env.ctrl, d->info.dev_id);
	}
	ctrl_set_wait(d->env.ctrl, NULL, NULL);
	if (r == -EBUSY)
		return r;
	d->stop_is_stuck = r == -ETIMEDOUT;
	if (r < 0 && r != -ENODEV) /* -ENODEV: somebody else has stopped it */
		return device_log_ctrl(d, op, r);
	device_go(d, DEVICE_STOPPED);
	step_reached("stopped");
	return device_flush(d);
}

int device_try_stop(struct device *d, struct holders *holders)
{
	/* Where the kernel knows, nobody has to look through the open files of all processes, which
	 * takes minutes when hundreds of servers are stopped together. */
	const bool kernel_knows = ctrl_has_feature(d->env.ctrl, FEATURE_SAFE_STOP_DEV);
	int r;

	if (d->state != DEVICE_LIVE)
		return 0;
	/* Who has requests under way uses it. While they wait for a backend that is away, the command
	 * may wait for them, and this process, whatever is done to it, for the command. */
	r = kernel_knows && !device_has_requests(d) ? device_stop(d, false) : -EBUSY;
	if (r != -EBUSY)
		return r;
	r = holders_find(d->info.dev_id, holders);
	if (r < 0)
		log_debug_errno(r, "cannot find out who holds ublkb%" PRIu32 ": %m",
				d->info.dev_id);
	if (kernel_knows || holders->n > 0)
		return -EBUSY;
	return device_stop(d, false);
}

static void device_free_queues(struct device *d)
{
	for (unsigned i = 0; d->queues && i < d->info.n_queues; i++)
		d->queues[i] = queue_stop(d->queues[i]);
	free(TAKE_PTR(d->queues));
}

/* Log what has failed since the last report, if anything. */
static void device_report(struct device *d)
{
	const struct stats_queue *last = NULL;
	uint64_t n_errors = 0, n_new;
	unsigned last_queue = 0;
	char where[32] = "";

	for (unsigned i = 0; d->queues && i < d->info.n_queues; i++) {
		const struct stats_queue *q = stats_get_queue(&d->stats, i);
		bool failed = d->queues[i] && queue_take_failed(d->queues[i]);

		for (unsigned op = 0; op < N_IO_OPS; op++)
			n_errors += stats_read(&q->op[op].errors);
		if (failed) {
			last = q;
			last_queue = i;
		}
	}
	if (!last || n_errors == d->n_errors_reported)
		return;
	n_new = n_errors - d->n_errors_reported;
	if (last->last_error_op != IO_FLUSH)
		snprintf(where, sizeof(where), " at byte %" PRIu64,
			 stats_read(&last->last_error_offset));
	log_message(MESSAGE_REQUESTS_FAILED, LOG_ERR, -last->last_errno,
		    "%" PRIu64 " request%s failed (%" PRIu64
		    " in all), the last: %s%s on queue %u: %m",
		    n_new, n_new == 1 ? "" : "s", n_errors,
		    io_op_to_string((enum io_op)last->last_error_op), where, last_queue);
	d->n_errors_reported = n_errors;
}

bool device_is_recoverable(const struct device *d)
{
	return d->state == DEVICE_LIVE && d->recovery != RECOVERY_NONE;
}

void device_drain(struct device *d)
{
	struct stats_device *s = d->stats.header ? stats_get_device(&d->stats) : NULL;

	/* The pause begins here. */
	if (s && s->left_ns == 0)
		__atomic_store_n(&s->left_ns, clock_now_ns(), __ATOMIC_RELAXED);
	for (unsigned i = 0; d->queues && i < d->info.n_queues; i++)
		queue_drain(d->queues[i]);
}

int device_hand_over(struct device *d)
{
	int r;

	/* Most of it while the device is still served, so that users wait for the rest only. */
	(void)device_flush(d);
	device_go(d, DEVICE_LEFT);
	step_reached("handing-over");
	device_drain(d);
	for (unsigned i = 0; i < d->info.n_queues; i++) {
		struct pollfd p = {.fd = d->event_fd, .events = POLLIN};
		int ended;

		while (!queue_has_ended(d->queues[i], &ended)) {
			device_drain_event(d);
			if (d->env.interrupt)
				(void)d->env.interrupt(d->env.arg); /* extends systemd's patience */
			poll(&p, 1, DEVICE_TICK_MS);
		}
	}
	step_reached("drained");
	r = device_flush(d);
	device_report(d);
	device_free_queues(d);
	step_reached("handed-over");
	return r;
}

static void device_delete(struct device *d)
{
	int r;

	r = orphan_delete(d->env.ctrl, d->info.dev_id, DEVICE_DELETE_WAIT_MS);
	if (r > 0)
		log_notice("somebody still has ublkb%" PRIu32
			   " open; the kernel removes the device when that ends",
			   d->info.dev_id);
	else if (r < 0)
		device_log_ctrl(d, CTRL_DEL_DEV_ASYNC, r);
}

static void device_close_backend(struct device *d)
{
	if (!d->backend_open)
		return;
	if ((d->state == DEVICE_NEW || d->state == DEVICE_ADDED) && d->ops->abandon)
		d->ops->abandon(d->backend);
	if (d->ops->close)
		d->backend = d->ops->close(d->backend);
	d->backend_open = false;
}

/* What only its own process can give up. */
static void device_release(struct device *d)
{
	device_free_queues(d);
	d->throttle = throttle_free(d->throttle);
	device_close_backend(d);
	if (d->dev_fd >= 0)
		close(TAKE_FD(d->dev_fd));
}

static void device_remove(struct device *d)
{
	/* A start that failed after START_DEV. If a queue has died there is nobody to serve it, and
	 * after a stop that does not come back the block device cannot even be opened. */
	if (d->state == DEVICE_LIVE && !device_queue_has_ended(d) && !d->stop_is_stuck)
		(void)device_stop(d, true);
	else if (d->state == DEVICE_ADDED && d->env.workers)
		/* The slots on a shared ring come back by this alone. */
		(void)ctrl_stop_dev(d->env.ctrl, d->info.dev_id);
	device_report(d); /* also what failed while the kernel wrote back */
	device_release(d);
	step_reached("released");
	if (d->state != DEVICE_NEW) {
		if (d->state == DEVICE_LIVE)
			(void)ctrl_stop_dev(d->env.ctrl, d->info.dev_id);
		device_delete(d);
	}
	step_reached("deleted");
	if (d->ops && d->ops->get_kept_fd && d->env.keep_fd)
		(void)d->env.keep_fd(d->env.arg, d->conf->name, -1);
	if (d->lock_fd >= 0)
		(void)state_remove(d->conf->name,
				   d->state != DEVICE_NEW ? d->info.dev_id : UINT32_MAX);
}

struct device *device_free(struct device *d)
{
	if (!d)
		return NULL;
	if (d->state == DEVICE_FOUND || d->state == DEVICE_LEFT)
		device_release(d);
	else
		device_remove(d);
	stats_close(&d->stats);
	if (d->orphan)
		orphan_deinit(d->orphan);
	free(d->orphan);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (d->event_fd >= 0)
		close(d->event_fd);
	device_conf_free(d->conf);
	free(d->trouble);
	free(d->dir);
	free(d);
	return NULL;
}

/* A backend that takes its time is no failure, and no reason for a restart. */
static void device_report_slow(struct device *d)
{
	struct queue_slow slow = {0};
	unsigned queue = 0, n = 0;

	for (unsigned i = 0; i < d->info.n_queues; i++) {
		struct queue_slow s;

		queue_get_slow(d->queues[i], &s);
		if (s.n > 0) {
			slow = s;
			queue = i;
		}
		n += s.n;
	}
	if (n > 0 && !d->slow_reported)
		log_message(MESSAGE_REQUESTS_SLOW, LOG_WARNING, 0,
			    "%u request%s with what lies behind the device for longer than [Log] "
			    "SlowRequest=, one of them a %s at byte %" PRIu64 " on queue %u",
			    n, n == 1 ? " is" : "s are", io_op_to_string(slow.op),
			    slow.offset_bytes, queue);
	else if (n == 0 && d->slow_reported)
		log_message(MESSAGE_REQUESTS_FAST_AGAIN, LOG_NOTICE, 0,
			    "no request is slow any more");
	d->slow_reported = n > 0;
}

/* What lies behind is out of reach, which the queues have said, or is there again. */
static void device_report_trouble(struct device *d)
{
	const char *trouble = NULL, *next = "requests wait, and fail after [Backend] Timeout=";
	bool unreachable = false;

	for (unsigned i = 0; i < d->info.n_queues; i++)
		unreachable |= __atomic_load_n(&stats_get_queue(&d->stats, i)->unreachable,
					       __ATOMIC_ACQUIRE);
	if (unreachable && d->ops->get_trouble)
		trouble = d->ops->get_trouble(d->backend, &next);
	if (strcmp(trouble ?: "", d->trouble ?: "") == 0)
		return;
	if (trouble)
		log_message(MESSAGE_BACKING_UNREACHABLE, LOG_WARNING, 0, "%s; %s", trouble, next);
	else
		log_message(MESSAGE_BACKING_IS_BACK, LOG_NOTICE, 0,
			    "what lies behind the device is there again");
	free(d->trouble);
	d->trouble = trouble ? strdup(trouble) : NULL;
	d->status_changed = true;
}

bool device_take_status_change(struct device *d)
{
	bool changed = d->status_changed;

	d->status_changed = false;
	return changed;
}

int device_get_event_fd(const struct device *d)
{
	return d->event_fd;
}

int device_check(struct device *d)
{
	uint64_t now = clock_now_ns() / 1000000;

	device_drain_event(d);
	for (unsigned i = 0; i < d->info.n_queues; i++) {
		int r;

		if (!queue_has_ended(d->queues[i], &r))
			continue;
		device_report(d);
		if (r < 0)
			return log_message(MESSAGE_QUEUE_FAILED, LOG_ERR, r,
					   "queue %u has failed, the device is lost: %m", i);
		return log_message(MESSAGE_TAKEN_AWAY, LOG_ERR, -ENODEV,
				   "ublk device %" PRIu32 " was removed by somebody else",
				   d->info.dev_id);
	}
	device_report_slow(d);
	device_report_trouble(d);
	if (d->reported_ms > 0 && now < d->reported_ms + DEVICE_REPORT_EVERY_MS)
		return (int)(d->reported_ms + DEVICE_REPORT_EVERY_MS - now);
	d->reported_ms = now;
	device_report(d);
	return 0;
}

bool device_beat(struct device *d)
{
	bool all = true;

	for (unsigned i = 0; d->queues && i < d->info.n_queues; i++)
		all &= queue_beat(d->queues[i]);
	return all;
}

const char *device_get_name(const struct device *d)
{
	return d->conf->name;
}

uint32_t device_get_id(const struct device *d)
{
	return d->info.dev_id;
}

int device_describe(const struct device *d, char *buf, size_t size)
{
	const char *target = d->ops->get_target ? d->ops->get_target(d->backend) : "";
	char human[SIZE_TEXT_MAX];

	return snprintf(buf, size, "/dev/ublkb%" PRIu32 ": %s%s, %s%s%s, %u x %u, %s%s%s",
			d->info.dev_id, format_size(d->limits.size_bytes, human),
			d->limits.read_only ? " read-only" : "", d->conf->backend_type->name,
			target[0] ? " " : "", target, d->info.n_queues, d->conf->depth,
			data_plane_to_string(d->info.flags), d->trouble ? "; " : "",
			d->trouble ?: "");
}
