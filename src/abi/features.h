/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* The feature flags of the driver, in GET_FEATURES and in the flags of a device. */
#include <stddef.h>
#include <stdint.h>

#define FEATURE_ZERO_COPY          (1ULL << 0)
#define FEATURE_COMP_IN_TASK       (1ULL << 1)
#define FEATURE_NEED_GET_DATA      (1ULL << 2)
#define FEATURE_USER_RECOVERY      (1ULL << 3)
#define FEATURE_RECOVERY_REISSUE   (1ULL << 4)
#define FEATURE_UNPRIVILEGED_DEV   (1ULL << 5)
#define FEATURE_CMD_IOCTL_ENCODE   (1ULL << 6)
#define FEATURE_USER_COPY          (1ULL << 7)
#define FEATURE_ZONED              (1ULL << 8)
#define FEATURE_RECOVERY_FAIL_IO   (1ULL << 9)
#define FEATURE_UPDATE_SIZE        (1ULL << 10)
#define FEATURE_AUTO_BUF_REG       (1ULL << 11)
#define FEATURE_QUIESCE            (1ULL << 12)
#define FEATURE_PER_IO_DAEMON      (1ULL << 13)
#define FEATURE_BUF_REG_OFF_DAEMON (1ULL << 14)
#define FEATURE_BATCH_IO           (1ULL << 15)
#define FEATURE_INTEGRITY          (1ULL << 16)
#define FEATURE_SAFE_STOP_DEV      (1ULL << 17)
#define FEATURE_NO_AUTO_PART_SCAN  (1ULL << 18)
#define FEATURE_SHMEM_ZC           (1ULL << 19)
#define FEATURE_IO_DESC_SIZE       (1ULL << 20)

struct feature {
	uint64_t flag;
	const char *name;    /* as the kernel's header spells it, without UBLK_F_ */
	const char *since;   /* first mainline release */
	const char *meaning; /* one line, for people */
};

/* All features known here, in the order of their bits. */
extern const struct feature features[];
extern const size_t n_features;

/* NULL if this build does not know the flag. */
const struct feature *feature_find(uint64_t flag);
const struct feature *feature_find_name(const char *name);
