/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* A disk in memory for what stands over a backend, and the faults over it. */
#include "backend/fault.h"
#include "fake-queue.h"

#define SECTOR     512U
#define N_SECTORS  256U
#define DISK_BYTES (N_SECTORS * SECTOR)
#define MAX_IO     (32U * SECTOR)

uint64_t next_random(uint64_t *state);

/*
 * What lies below: an array that changes when a request ends, or half of it when it begins. A
 * request takes from no to three turns of the ring.
 */
struct backend {
	uint8_t *data;
	uint64_t random;
	unsigned fail_ppm; /* of writes, DISCARD and WRITE_ZEROES */
	bool at_once;      /* all of it within submit(), by several threads */
	unsigned n_requests[N_IO_OPS];
	unsigned n_fua;
};

extern const struct backend_conf_type disk_conf_type;
extern const struct backend_ops disk_backend;

struct faults {
	struct fault_conf conf;
	struct backend disk;
	struct limits limits;
	const struct backend_ops *ops;
	struct backend *b;
	struct queue q;
	uint8_t *buf;
};

/* As cmocka wants them. */
int faults_setup(void **state);
int faults_teardown(void **state);

/* Put the faults that conf says over the disk, with a queue. */
void faults_wrap(struct faults *f);
void faults_unwrap(struct faults *f);
