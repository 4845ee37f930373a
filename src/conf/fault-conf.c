/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/fault-conf.h"

#include <errno.h>

#include "conf/conf.h"
#include "util/parse.h"

/* Those that the block layer tells apart, and so do its users. */
static const struct conf_name error_names[] = {
	{"EIO", EIO},
	{"ENOSPC", ENOSPC},
	{"ETIMEDOUT", ETIMEDOUT},
	{"EREMOTEIO", EREMOTEIO},
	{"ENODATA", ENODATA},
	{"EILSEQ", EILSEQ},
	{0},
};

#define FIELD(field) CONF_FIELD(struct fault_conf, field)

/* Requests that hang for longer are what HangWhile= is for. */
#define DELAY_MAX_NS (3600 * NS_PER_S)

const struct conf_key fault_keys[] = {
	{"Seed", conf_parse_number, FIELD(seed), .fallback = "1", .change = CONF_RESTART},
	{"ReadErrors", conf_parse_percent, FIELD(read_errors_ppm), .fallback = "0%",
	 .change = CONF_RESTART},
	{"WriteErrors", conf_parse_percent, FIELD(write_errors_ppm), .fallback = "0%",
	 .change = CONF_RESTART},
	{"FlushErrors", conf_parse_percent, FIELD(flush_errors_ppm), .fallback = "0%",
	 .change = CONF_RESTART},
	{"DiscardErrors", conf_parse_percent, FIELD(discard_errors_ppm), .fallback = "0%",
	 .change = CONF_RESTART},
	{"Error", conf_parse_enum, FIELD(error), .names = error_names, .fallback = "EIO",
	 .change = CONF_RESTART},
	{"Latency", conf_parse_duration, FIELD(latency_ns), .max = DELAY_MAX_NS, .fallback = "0",
	 .change = CONF_RESTART},
	{"LatencyJitter", conf_parse_duration, FIELD(jitter_ns), .max = DELAY_MAX_NS,
	 .fallback = "0", .change = CONF_RESTART},
	{"ShortTransfers", conf_parse_percent, FIELD(short_ppm), .fallback = "0%",
	 .change = CONF_RESTART},
	{"HangWhile", conf_parse_path, FIELD(hang_while), .change = CONF_RESTART},
	{"LyingFlush", conf_parse_bool, FIELD(lying_flush), .fallback = "no",
	 .change = CONF_RESTART},
	{"PowerCut", conf_parse_bool, FIELD(power_cut), .fallback = "no", .change = CONF_RESTART},
	{0},
};
