/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * The [Fault] section: what goes wrong on purpose, over any backend. A definition without the
 * section has no struct fault_conf, and nothing of it in the way of a request.
 */
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

struct fault_conf {
	uint64_t seed; /* the same one: the same faults */
	/* Of a million requests of that kind. */
	uint32_t read_errors_ppm;
	uint32_t write_errors_ppm;
	uint32_t flush_errors_ppm;
	uint32_t discard_errors_ppm;
	int error; /* errno, positive, of those that fail */
	uint64_t latency_ns;
	uint64_t jitter_ns; /* on top of it, from 0 to this */
	uint32_t short_ppm; /* transfers that end early */
	char *hang_while;   /* requests hang as long as this file exists; NULL: never */
	bool lying_flush;   /* FLUSH and FUA succeed and do nothing */
	bool power_cut;     /* what was not flushed is in memory only, for a kill to lose */
};

extern const struct conf_key fault_keys[];
