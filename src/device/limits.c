/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device/limits.h"

#include <errno.h>
#include <inttypes.h>

#include "util/log.h"

#define LIMITS_AUTO_QUEUES   4
#define LIMITS_DEFAULT_BLOCK 512
#define LIMITS_AUTO_IO_BYTES (1U << 20)

int limits_settle(const struct device_conf *conf, struct limits *l)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	uint32_t max_io_bytes;
	const char *why;

	if (l->logical_block_bytes == 0)
		l->logical_block_bytes = conf->logical_block_bytes ?: LIMITS_DEFAULT_BLOCK;
	l->physical_block_bytes = MAX(l->physical_block_bytes, l->logical_block_bytes);
	max_io_bytes = conf->max_io_bytes ?: LIMITS_AUTO_IO_BYTES;
	if (l->max_io_bytes == 0 || l->max_io_bytes > max_io_bytes)
		l->max_io_bytes = max_io_bytes;
	l->max_io_bytes = MAX(l->max_io_bytes / page * page, page);
	l->rotational |= conf->rotational;
	l->read_only |= conf->read_only;
	if (l->read_only) {
		l->write_cache = false;
		l->fua = false;
		l->max_discard_bytes = 0;
		l->max_write_zeroes_bytes = 0;
	}
	l->max_discard_bytes = MIN(l->max_discard_bytes, LIMITS_MAX_RANGE_BYTES);
	l->max_write_zeroes_bytes = MIN(l->max_write_zeroes_bytes, LIMITS_MAX_RANGE_BYTES);
	if (l->max_discard_bytes > 0 || l->max_write_zeroes_bytes > 0)
		l->discard_granularity_bytes =
			MAX(l->discard_granularity_bytes, l->logical_block_bytes);
	if (l->size_bytes == 0 || l->size_bytes % l->logical_block_bytes != 0)
		return log_at(LOG_ERR, -EUCLEAN,
			      "the size, %" PRIu64 " bytes, is not a multiple of the logical block "
			      "of %" PRIu32 " bytes; set Size= or LogicalBlockSize= in %s",
			      l->size_bytes, l->logical_block_bytes, conf->path ?: conf->name);
	if (params_check(l, page, &why) < 0)
		return log_at(LOG_ERR, -EUCLEAN, "the kernel would refuse this device: %s", why);
	return 0;
}

unsigned limits_n_queues(const struct device_conf *conf, const struct limits *l)
{
	long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = conf->n_queues;

	if (n == 0)
		n = (unsigned)MIN(MAX(n_cpus, 1), LIMITS_AUTO_QUEUES);
	return l->max_queues > 0 ? MIN(n, (unsigned)l->max_queues) : n;
}
