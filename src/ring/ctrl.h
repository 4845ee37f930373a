/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * The control ring: commands to /dev/ublk-control, one at a time, each with a deadline.
 *
 * Main thread only. Silent: the caller says what it was for. Every function returns 0 or -errno;
 * beside what the kernel answers (abi notes at each) there is
 *	-ETIMEDOUT	no answer before the deadline; the command was cancelled, or will never end
 *	-ECANCELED	the wait function said so
 *	-EOPNOTSUPP	the kernel is too old for the command
 */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi/ctrl-cmd.h"
#include "abi/params.h"
#include "util/cleanup.h"

struct ctrl;

enum ctrl_wait {
	CTRL_WAIT,   /* until the deadline */
	CTRL_EXTEND, /* something moves: the deadline counts anew from here */
	CTRL_CANCEL, /* give up now */
};

/* Called several times a second while a command is waited for. */
typedef enum ctrl_wait (*ctrl_wait_fn)(void *arg);

/**
 * ctrl_open() - open the control device and set up its ring
 *
 * Return: 0; -ENOENT: module not loaded; -EACCES, -EPERM: not permitted to open; -ENOTSUP: io_uring
 * cannot be used (disabled by sysctl, seccomp or LSM, or not built).
 */
int ctrl_open(struct ctrl **ret);
struct ctrl *ctrl_close(struct ctrl *c);
DEFINE_AUTO(struct ctrl *, ctrl_close);

void ctrl_set_wait(struct ctrl *c, ctrl_wait_fn fn, void *arg);

/* Seconds that a command may take; for messages about -ETIMEDOUT. */
unsigned ctrl_get_deadline_s(enum ctrl_op op);

/* A kernel before 6.4, whose commands are plain numbers, also those of the queues. */
bool ctrl_is_legacy(const struct ctrl *c);

bool ctrl_has_feature(const struct ctrl *c, uint64_t feature);

/* FEATURE_* that the running kernel has; 0 with kernels before 6.5, which cannot tell. */
int ctrl_get_features(struct ctrl *c, uint64_t *ret_features);

/**
 * ctrl_add_dev() - make a device; /dev/ublkcN is there on return
 * @info:	wishes in, facts out: id, number of queues, sizes and flags may differ
 *
 * -EEXIST: the id is in use; -EACCES: ublks_max reached, or a security module; -EPERM: needs
 * CAP_SYS_ADMIN in the initial user namespace.
 */
int ctrl_add_dev(struct ctrl *c, struct dev_info *info);

/* -ENODEV: no such device; -EPERM, -EACCES: somebody else's. Never waits for a lock: safe at any
 * time. */
int ctrl_get_dev_info(struct ctrl *c, uint32_t dev_id, struct dev_info *ret_info);

/* Before ctrl_start_dev(). Types the kernel does not know are dropped without an error. */
int ctrl_set_params(struct ctrl *c, uint32_t dev_id, const struct limits *limits);

/* Can wait behind a start or stop of the same device. */
int ctrl_get_params(struct ctrl *c, uint32_t dev_id, struct limits *ret_limits);

/* CPUs that are mapped to a queue. */
int ctrl_get_queue_affinity(struct ctrl *c, uint32_t dev_id, uint16_t queue, cpu_set_t *ret_cpus);

/**
 * ctrl_start_dev() - make the block device
 * @server:	the process that opened the char device
 *
 * Waits until every slot of every queue has been fetched; up to kernel 6.17 also for the partition
 * scan, so the queues must be served by other threads. -EINVAL: no or bad parameters.
 */
int ctrl_start_dev(struct ctrl *c, uint32_t dev_id, pid_t server);

/* Write back and remove the block device; the queues must go on serving until -ENODEV. */
int ctrl_stop_dev(struct ctrl *c, uint32_t dev_id);

/* The same unless somebody has it open: -EBUSY. -ENODEV: not started. Since 7.0. */
int ctrl_try_stop_dev(struct ctrl *c, uint32_t dev_id);

/* After a stop. Waits until nobody refers to the device any more. */
int ctrl_del_dev(struct ctrl *c, uint32_t dev_id);

/* Does not wait: the id is free when ctrl_get_dev_info() says -ENODEV. Since 6.9. */
int ctrl_del_dev_async(struct ctrl *c, uint32_t dev_id);

/**
 * ctrl_start_user_recovery() - begin to take over a device whose server is gone
 *
 * -EBUSY: not gone yet, try again; -EINVAL: the device cannot be recovered. Before 6.15, a second
 * one after a server that died while it fetched can crash the kernel.
 */
int ctrl_start_user_recovery(struct ctrl *c, uint32_t dev_id);

/* Waits for the fetches as ctrl_start_dev(). The device is live on return, and what its users asked
 * for meanwhile arrives. */
int ctrl_end_user_recovery(struct ctrl *c, uint32_t dev_id, pid_t server);

/* Of a live device only: some kernels crash otherwise. The kernel checks nothing. Since 6.16. */
int ctrl_update_size(struct ctrl *c, uint32_t dev_id, uint64_t size_bytes);
