/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command's buffer is ours until its completion has come: a command that missed its deadline may
 * still write to it, then it is leaked on purpose. Commands are strictly one at a time: the kernel
 * runs them in workers, in any order.
 */
#include "ring/ctrl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "abi/features.h"
#include "ring/ring.h"
#include "util/clock.h"

#define CTRL_PATH       "/dev/ublk-control"
#define CTRL_NODE_BYTES 32
#define CTRL_TICK_NS    200000000L
#define CTRL_GRACE_NS   2000000000ULL

struct ctrl {
	struct io_uring ring;
	int fd;
	bool legacy; /* kernel before 6.4: plain numbers for commands */
	uint64_t features;
	uint64_t seq; /* user_data of the last command */
	ctrl_wait_fn wait;
	void *wait_arg;
};

unsigned ctrl_get_deadline_s(enum ctrl_op op)
{
	switch (op) {
	case CTRL_START_DEV: /* reads partition tables through the backend */
	case CTRL_STOP_DEV:  /* writes back dirty pages through the backend */
	case CTRL_TRY_STOP_DEV:
	case CTRL_END_USER_RECOVERY:
		return 60;
	case CTRL_ADD_DEV: /* behind other devices' commands: a global lock */
	case CTRL_DEL_DEV:
	case CTRL_DEL_DEV_ASYNC:
		return 30;
	default:
		return 10;
	}
}

/*
 * Wait for the completion of command @seq until @until_ns, leaving other completions (of commands
 * given up before) behind. 0 and *ret_res; -ETIME; or a ring error.
 */
static int ctrl_reap(struct ctrl *c, uint64_t seq, uint64_t until_ns, int *ret_res)
{
	for (;;) {
		uint64_t now = clock_now_ns();
		uint64_t left = now < until_ns ? until_ns - now : 0;
		struct __kernel_timespec ts = {.tv_sec = (int64_t)(left / 1000000000),
					       .tv_nsec = (int64_t)(left % 1000000000)};
		struct io_uring_cqe *cqe;
		uint64_t user_data;
		int r, res;

		r = io_uring_wait_cqe_timeout(&c->ring, &cqe, &ts);
		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		user_data = cqe->user_data;
		res = cqe->res;
		io_uring_cqe_seen(&c->ring, cqe);
		if (user_data == seq) {
			*ret_res = res;
			return 0;
		}
	}
}

/* Ask the kernel to end command @seq. True if it did, with its result. */
static bool ctrl_cancel(struct ctrl *c, uint64_t seq, int *ret_res)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);

	if (!sqe)
		return false;
	memset(sqe, 0, 2 * sizeof(*sqe));
	io_uring_prep_cancel64(sqe, seq, 0);
	sqe->user_data = ++c->seq;
	if (io_uring_submit(&c->ring) < 0)
		return false;
	return ctrl_reap(c, seq, clock_now_ns() + CTRL_GRACE_NS, ret_res) == 0;
}

/* Wait for command @seq of kind @op, asking the wait function meanwhile. */
static int ctrl_wait(struct ctrl *c, enum ctrl_op op, uint64_t seq, bool *ret_returned)
{
	const uint64_t deadline_ns = ctrl_get_deadline_s(op) * 1000000000ULL;
	uint64_t until = clock_now_ns() + deadline_ns;
	int r, res = 0, cause = -ETIMEDOUT;

	*ret_returned = true;
	for (;;) {
		uint64_t now = clock_now_ns();

		r = ctrl_reap(c, seq, MIN(until, now + CTRL_TICK_NS), &res);
		if (r == 0)
			return res;
		if (r != -ETIME)
			break;
		switch (c->wait ? c->wait(c->wait_arg) : CTRL_WAIT) {
		case CTRL_EXTEND:
			until = clock_now_ns() + deadline_ns;
			continue;
		case CTRL_CANCEL:
			cause = -ECANCELED;
			break;
		case CTRL_WAIT:
			if (clock_now_ns() < until)
				continue;
			break;
		}
		break;
	}
	if (r != -ETIME)
		cause = r;
	*ret_returned = ctrl_cancel(c, seq, &res);
	/* It may have come to an end of its own in the meantime. */
	return *ret_returned && res >= 0 ? res : cause;
}

static int ctrl_run_encoded(struct ctrl *c, const struct ctrl_cmd *cmd, void *buf, bool legacy,
			    bool *ret_returned)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);
	struct ctrl_cmd own = *cmd;
	int r;

	*ret_returned = true;
	if (!sqe) /* commands that never came back have filled the ring */
		return -EBUSY;
	own.buf = buf;
	ctrl_cmd_encode(sqe, c->fd, &own, legacy);
	sqe->user_data = ++c->seq;
	r = io_uring_submit(&c->ring);
	if (r < 0)
		return r;
	return ctrl_wait(c, cmd->op, c->seq, ret_returned);
}

static int ctrl_run(struct ctrl *c, const struct ctrl_cmd *cmd)
{
	AUTO_FREE void *buf = NULL;
	bool returned;
	int r;

	if (c->legacy && !ctrl_op_has_legacy(cmd->op))
		return -EOPNOTSUPP;
	if (cmd->len > 0) {
		buf = malloc(cmd->len);
		if (!buf)
			return -ENOMEM;
		memcpy(buf, cmd->buf, cmd->len);
	}
	r = ctrl_run_encoded(c, cmd, buf, c->legacy, &returned);
	if (!returned) {
		(void)TAKE_PTR(buf); /* the kernel's for good */
		return r;
	}
	if (cmd->len > 0 && r >= 0)
		memcpy(cmd->buf, buf, cmd->len);
	return r;
}

int ctrl_open(struct ctrl **ret)
{
	AUTO(ctrl_close) struct ctrl *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->fd = -1;
	c->ring.ring_fd = -1;
	c->fd = open(CTRL_PATH, O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	r = ring_init_ctrl(&c->ring);
	if (r < 0) {
		c->ring.ring_fd = -1;
		return r == -EPERM || r == -ENOSYS || r == -EACCES ? -ENOTSUP : r;
	}
	r = ctrl_run(c, &(struct ctrl_cmd){.op = CTRL_GET_FEATURES,
					   .dev_id = CTRL_ANY_DEV_ID,
					   .buf = &c->features,
					   .len = sizeof(c->features)});
	/* Kernels before 6.5 look for a device first (-ENODEV), or do not know the encoding. */
	if (r == -ENODEV || r == -EOPNOTSUPP || r == -EPERM) {
		c->features = 0;
		c->legacy = true;
		r = 0;
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct ctrl *ctrl_close(struct ctrl *c)
{
	if (!c)
		return NULL;
	if (c->ring.ring_fd >= 0)
		io_uring_queue_exit(&c->ring);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	return NULL;
}

void ctrl_set_wait(struct ctrl *c, ctrl_wait_fn fn, void *arg)
{
	c->wait = fn;
	c->wait_arg = arg;
}

bool ctrl_is_legacy(const struct ctrl *c)
{
	return c->legacy;
}

bool ctrl_has_feature(const struct ctrl *c, uint64_t feature)
{
	return c->features & feature;
}

int ctrl_get_features(struct ctrl *c, uint64_t *ret_features)
{
	*ret_features = c->features;
	return 0;
}

/* A command without buffer. */
static int ctrl_simple(struct ctrl *c, enum ctrl_op op, uint32_t dev_id, uint64_t data)
{
	int r = ctrl_run(c, &(struct ctrl_cmd){.op = op, .dev_id = dev_id, .data = data});

	return r < 0 ? r : 0;
}

int ctrl_add_dev(struct ctrl *c, struct dev_info *info)
{
	uint8_t raw[DEV_INFO_RAW_BYTES];
	int r;

	dev_info_encode(info, raw);
	r = ctrl_run(c, &(struct ctrl_cmd){.op = CTRL_ADD_DEV,
					   .dev_id = info->dev_id,
					   .buf = raw,
					   .len = sizeof(raw)});
	if (r < 0)
		return r;
	dev_info_decode(raw, info);
	return 0;
}

/* The device named by its node as well, which the kernel wants for devices of users. */
static int ctrl_get_dev_info2(struct ctrl *c, uint32_t dev_id, struct dev_info *ret_info)
{
	char buf[CTRL_NODE_BYTES + DEV_INFO_RAW_BYTES] = {0};
	size_t n = (size_t)snprintf(buf, CTRL_NODE_BYTES, "/dev/ublkc%" PRIu32, dev_id) + 1;
	int r;

	r = ctrl_run(c, &(struct ctrl_cmd){.op = CTRL_GET_DEV_INFO2,
					   .dev_id = dev_id,
					   .buf = buf,
					   .len = (uint16_t)(n + DEV_INFO_RAW_BYTES),
					   .path_len = (uint16_t)n});
	if (r < 0)
		return r;
	dev_info_decode((const uint8_t *)buf + n, ret_info);
	return 0;
}

int ctrl_get_dev_info(struct ctrl *c, uint32_t dev_id, struct dev_info *ret_info)
{
	uint8_t raw[DEV_INFO_RAW_BYTES] = {0};
	int r;

	r = ctrl_run(c, &(struct ctrl_cmd){.op = CTRL_GET_DEV_INFO,
					   .dev_id = dev_id,
					   .buf = raw,
					   .len = sizeof(raw)});
	if (r == -EINVAL || r == -EPERM)
		return ctrl_get_dev_info2(c, dev_id, ret_info);
	if (r < 0)
		return r;
	dev_info_decode(raw, ret_info);
	return 0;
}

int ctrl_set_params(struct ctrl *c, uint32_t dev_id, const struct limits *limits)
{
	uint8_t raw[PARAMS_RAW_BYTES];
	int r;

	params_encode(limits, raw);
	r = ctrl_run(c, &(struct ctrl_cmd){.op = CTRL_SET_PARAMS,
					   .dev_id = dev_id,
					   .buf = raw,
					   .len = sizeof(raw)});
	return r < 0 ? r : 0;
}

int ctrl_get_params(struct ctrl *c, uint32_t dev_id, struct limits *ret_limits)
{
	uint8_t raw[PARAMS_RAW_BYTES];
	int r;

	params_init_raw(raw);
	r = ctrl_run(c, &(struct ctrl_cmd){.op = CTRL_GET_PARAMS,
					   .dev_id = dev_id,
					   .buf = raw,
					   .len = sizeof(raw)});
	if (r < 0)
		return r;
	params_decode(raw, ret_limits);
	return 0;
}

int ctrl_get_queue_affinity(struct ctrl *c, uint32_t dev_id, uint16_t queue, cpu_set_t *ret_cpus)
{
	cpu_set_t cpus;
	int r;

	CPU_ZERO(&cpus);
	r = ctrl_run(c, &(struct ctrl_cmd){.op = CTRL_GET_QUEUE_AFFINITY,
					   .dev_id = dev_id,
					   .buf = &cpus,
					   .len = sizeof(cpus),
					   .data = queue});
	if (r < 0)
		return r;
	*ret_cpus = cpus;
	return 0;
}

int ctrl_start_dev(struct ctrl *c, uint32_t dev_id, pid_t server)
{
	return ctrl_simple(c, CTRL_START_DEV, dev_id, (uint64_t)server);
}

int ctrl_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	return ctrl_simple(c, CTRL_STOP_DEV, dev_id, 0);
}

int ctrl_try_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	if (!(c->features & FEATURE_SAFE_STOP_DEV))
		return -EOPNOTSUPP;
	return ctrl_simple(c, CTRL_TRY_STOP_DEV, dev_id, 0);
}

int ctrl_del_dev(struct ctrl *c, uint32_t dev_id)
{
	return ctrl_simple(c, CTRL_DEL_DEV, dev_id, 0);
}

int ctrl_del_dev_async(struct ctrl *c, uint32_t dev_id)
{
	return ctrl_simple(c, CTRL_DEL_DEV_ASYNC, dev_id, 0);
}

int ctrl_start_user_recovery(struct ctrl *c, uint32_t dev_id)
{
	return ctrl_simple(c, CTRL_START_USER_RECOVERY, dev_id, 0);
}

int ctrl_end_user_recovery(struct ctrl *c, uint32_t dev_id, pid_t server)
{
	return ctrl_simple(c, CTRL_END_USER_RECOVERY, dev_id, (uint64_t)server);
}

int ctrl_update_size(struct ctrl *c, uint32_t dev_id, uint64_t size_bytes)
{
	if (!(c->features & FEATURE_UPDATE_SIZE))
		return -EOPNOTSUPP;
	return ctrl_simple(c, CTRL_UPDATE_SIZE, dev_id, params_sectors(size_bytes));
}
