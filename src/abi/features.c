/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "abi/features.h"

#include <string.h>

#include "abi/uapi.h"
#include "util/cleanup.h"

static_assert(FEATURE_ZERO_COPY == UBLK_F_SUPPORT_ZERO_COPY, "ABI");
static_assert(FEATURE_COMP_IN_TASK == UBLK_F_URING_CMD_COMP_IN_TASK, "ABI");
static_assert(FEATURE_NEED_GET_DATA == UBLK_F_NEED_GET_DATA, "ABI");
static_assert(FEATURE_USER_RECOVERY == UBLK_F_USER_RECOVERY, "ABI");
static_assert(FEATURE_RECOVERY_REISSUE == UBLK_F_USER_RECOVERY_REISSUE, "ABI");
static_assert(FEATURE_UNPRIVILEGED_DEV == UBLK_F_UNPRIVILEGED_DEV, "ABI");
static_assert(FEATURE_CMD_IOCTL_ENCODE == UBLK_F_CMD_IOCTL_ENCODE, "ABI");
static_assert(FEATURE_USER_COPY == UBLK_F_USER_COPY, "ABI");
static_assert(FEATURE_ZONED == UBLK_F_ZONED, "ABI");
static_assert(FEATURE_RECOVERY_FAIL_IO == UBLK_F_USER_RECOVERY_FAIL_IO, "ABI");
static_assert(FEATURE_UPDATE_SIZE == UBLK_F_UPDATE_SIZE, "ABI");
static_assert(FEATURE_AUTO_BUF_REG == UBLK_F_AUTO_BUF_REG, "ABI");
static_assert(FEATURE_QUIESCE == UBLK_F_QUIESCE, "ABI");
static_assert(FEATURE_PER_IO_DAEMON == UBLK_F_PER_IO_DAEMON, "ABI");
static_assert(FEATURE_BUF_REG_OFF_DAEMON == UBLK_F_BUF_REG_OFF_DAEMON, "ABI");
static_assert(FEATURE_BATCH_IO == UBLK_F_BATCH_IO, "ABI");
static_assert(FEATURE_INTEGRITY == UBLK_F_INTEGRITY, "ABI");
static_assert(FEATURE_SAFE_STOP_DEV == UBLK_F_SAFE_STOP_DEV, "ABI");
static_assert(FEATURE_NO_AUTO_PART_SCAN == UBLK_F_NO_AUTO_PART_SCAN, "ABI");
static_assert(FEATURE_SHMEM_ZC == UBLK_F_SHMEM_ZC, "ABI");
static_assert(FEATURE_IO_DESC_SIZE == UBLK_F_IO_DESC_SIZE, "ABI");

const struct feature features[] = {
	{FEATURE_ZERO_COPY, "SUPPORT_ZERO_COPY", "6.15",
	 "the server can register a request's pages as a fixed buffer"},
	{FEATURE_COMP_IN_TASK, "URING_CMD_COMP_IN_TASK", "6.0",
	 "requests are delivered as task work of the server's thread"},
	{FEATURE_NEED_GET_DATA, "NEED_GET_DATA", "6.0",
	 "the server names a buffer when a write arrives, not before"},
	{FEATURE_USER_RECOVERY, "USER_RECOVERY", "6.1",
	 "the device outlives its server, its I/O waits for the next one"},
	{FEATURE_RECOVERY_REISSUE, "USER_RECOVERY_REISSUE", "6.1",
	 "requests that were with a dead server go to the next one"},
	{FEATURE_UNPRIVILEGED_DEV, "UNPRIVILEGED_DEV", "6.3",
	 "users without CAP_SYS_ADMIN can make devices for themselves"},
	{FEATURE_CMD_IOCTL_ENCODE, "CMD_IOCTL_ENCODE", "6.4",
	 "commands are numbered the way ioctls are"},
	{FEATURE_USER_COPY, "USER_COPY", "6.5",
	 "the server reads and writes a request's data by pread and pwrite"},
	{FEATURE_ZONED, "ZONED", "6.6", "devices can be zoned"},
	{FEATURE_RECOVERY_FAIL_IO, "USER_RECOVERY_FAIL_IO", "6.13",
	 "the device outlives its server, its I/O fails until the next one"},
	{FEATURE_UPDATE_SIZE, "UPDATE_SIZE", "6.16", "a device in use can change its size"},
	{FEATURE_AUTO_BUF_REG, "AUTO_BUF_REG", "6.16",
	 "the kernel registers a request's pages as a fixed buffer by itself"},
	{FEATURE_QUIESCE, "QUIESCE", "6.16", "a device can be paused for a change of server"},
	{FEATURE_PER_IO_DAEMON, "PER_IO_DAEMON", "6.16",
	 "the slots of one queue can belong to several threads"},
	{FEATURE_BUF_REG_OFF_DAEMON, "BUF_REG_OFF_DAEMON", "6.17",
	 "any thread can register a request's pages"},
	{FEATURE_BATCH_IO, "BATCH_IO", "7.0", "one command can fetch or complete many requests"},
	{FEATURE_INTEGRITY, "INTEGRITY", "7.0", "requests can carry protection information"},
	{FEATURE_SAFE_STOP_DEV, "SAFE_STOP_DEV", "7.0",
	 "a device can be stopped only if nobody has it open"},
	{FEATURE_NO_AUTO_PART_SCAN, "NO_AUTO_PART_SCAN", "7.0",
	 "a device can start without a scan for partitions"},
	{FEATURE_SHMEM_ZC, "SHMEM_ZC", "7.1",
	 "users and server of a device can share the memory of its I/O"},
	{FEATURE_IO_DESC_SIZE, "IO_DESC_SIZE", "7.3", "request descriptors can be larger"},
};

const size_t n_features = ARRAY_SIZE(features);

const struct feature *feature_find(uint64_t flag)
{
	for (size_t i = 0; i < n_features; i++) {
		if (features[i].flag == flag)
			return &features[i];
	}
	return NULL;
}

const struct feature *feature_find_name(const char *name)
{
	for (size_t i = 0; i < n_features; i++) {
		if (strcmp(features[i].name, name) == 0)
			return &features[i];
	}
	return NULL;
}
