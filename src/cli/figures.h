/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What the queues of a device have counted, at one moment or between two. */
#include "abi/io-cmd.h"
#include "state/stats.h"

struct figures {
	struct stats_op op[N_IO_OPS];
	uint64_t latency[STATS_N_CLASSES][LATENCY_N_BUCKETS];
	uint64_t retries;
	uint64_t turns;
	uint64_t backend_ns;
	uint64_t waited_ns;
	uint64_t full_ns;
	uint64_t reconnects;
	uint64_t in_flight;   /* always as of the end */
	uint64_t unreachable; /* queues; the same */
};

struct device_figures {
	char *name;
	unsigned n_queues;
	unsigned depth;
	uint64_t at_ns;       /* CLOCK_MONOTONIC */
	uint64_t interval_ns; /* between two moments; 0: since the device was made */
	struct stats_device device;
	struct figures total;
	struct figures *queues; /* of n_queues */
	int32_t *tids;
};

struct fleet_figures {
	struct device_figures *devices; /* sorted by name */
	size_t n;
	char *foreign; /* a name whose server is of another version; NULL: none is */
};

/* Silent. 0; -ENOENT: of no such device; -EPROTO: its server is of another version; else -errno. */
int figures_read(const char *name, struct device_figures *ret);
void figures_deinit(struct device_figures *f);

/* Of all that /run/ublkd knows, or of the one called so, which then must be there. */
int fleet_figures_read(const char *name, struct fleet_figures *ret);
/* 0 or -ENOMEM. */
int fleet_figures_copy(const struct fleet_figures *f, struct fleet_figures *ret);
void fleet_figures_deinit(struct fleet_figures *f);
DEFINE_AUTO(struct fleet_figures *, fleet_figures_deinit);

/* What was counted since then. A counter that is lower now has begun anew. */
void figures_since(struct device_figures *now, const struct device_figures *then);
/* Those that are not in @then have just come, and keep all they have. */
void fleet_figures_since(struct fleet_figures *now, const struct fleet_figures *then);

uint64_t figures_count(const struct figures *f);
uint64_t figures_errors(const struct figures *f);
/* Of one histogram: how many are in it, and what they took in all. */
uint64_t figures_class_count(const struct figures *f, unsigned class);
uint64_t figures_class_ns(const struct figures *f, unsigned class);
/* "read", "write", "flush", "other". */
const char *figures_class_name(unsigned class);
/* "EIO"; "other". */
const char *figures_errno_name(unsigned index);
/* As a key: "write_zeroes". */
const char *figures_op_name(enum io_op op);
