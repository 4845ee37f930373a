/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* A run of torture: many lanes (plan.h), a part of them driven by each worker through its own ring. */
#include <stdatomic.h>

#include "plan.h"
#include "target.h"

struct totals {
	uint64_t n_ops[N_OPS];
	uint64_t read_bytes, written_bytes;
	uint64_t n_checked; /* blocks */
	uint64_t n_verdicts[N_VERDICTS];
	uint64_t n_errors;
};

struct run {
	struct plan plan;
	struct target target;
	uint32_t n_workers, depth; /* a worker has so many lanes, and so many requests in flight */
	uint64_t n_operations;     /* of a lane; 0: no limit */
	uint64_t deadline_ns;
	int log_fd;           /* -1: none */
	enum verdict corrupt; /* what the first worker does to a block at the end; SAME: nothing */
	_Atomic uint64_t last_ns, largest_gap_ns;
	atomic_uint n_reports;
};

/* Set by a signal: the lanes come to their ends. */
extern atomic_bool torture_stop;

/* Works off the worker's lanes and then checks them. Return: 0, whatever was found; -errno if it could not. */
int worker_run(struct run *run, uint32_t index, struct totals *totals);

/* Looks whether the device holds what the log at @path says that was acknowledged. Prints what it found. */
int verify_log(const char *path, const char *device);

/* The line of a log that tells the plan. Return: 0, -EINVAL */
void plan_print(const struct plan *p, int fd);
int plan_parse(const char *line, struct plan *ret);
