/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What keeps ublk devices from working on this machine, or will. A check is a function and a row in the
 * table of doctor.c. It looks at files below a root directory, at the definitions and at the survey, all
 * of which tests make up, and adds what it finds.
 */
#include <json-c/json.h>
#include <stdarg.h>

#include "cli/survey.h"

struct doctor;

enum doctor_severity {
	DOCTOR_OK,
	DOCTOR_NOTE,    /* good to know */
	DOCTOR_UNKNOWN, /* could not be found out */
	DOCTOR_WARNING, /* works, and may not always */
	DOCTOR_ERROR,   /* does not work */
};

struct doctor_finding {
	const char *check;
	enum doctor_severity severity;
	char *subject; /* a name, a file, a kernel; NULL: the machine */
	char *reason;
	char *remedy;
};

struct doctor_check {
	const char *name;
	const char *title;
	int (*run)(struct doctor *d); /* 0 or -ENOMEM */
};

struct doctor {
	const char *root;                 /* "" is the system's */
	const struct survey *survey;      /* NULL: could not be taken */
	struct device_conf *const *confs; /* those that can be read */
	size_t n_confs;
	const struct conf_diag *diag;     /* what is wrong with definitions */
	const struct doctor_check *check; /* that runs */
	struct doctor_finding *findings;
	size_t n_findings;
};

extern const struct doctor_check doctor_checks[];
extern const size_t n_doctor_checks;

/* Runs all of them. Silent: 0 or -ENOMEM. */
int doctor_run(struct doctor *d);
void doctor_deinit(struct doctor *d);

/* The worst there is: of one check, or of all (NULL). */
enum doctor_severity doctor_worst(const struct doctor *d, const char *check);
/* Exit status for monitoring. */
int doctor_exit_status(enum doctor_severity worst);
struct json_object *doctor_json(const struct doctor *d);

/* ---- for checks ---- */

/* @remedy: what to do, as a sentence; @format: what is. */
int doctor_add(struct doctor *d, enum doctor_severity severity, const char *subject,
	       const char *remedy, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A path below the root; to be freed. NULL: no memory. */
char *doctor_path(const struct doctor *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool doctor_exists(const struct doctor *d, const char *path);
/* The first line of a file below the root; to be freed. NULL: it cannot be read. */
char *doctor_read_line(const struct doctor *d, const char *path);
/* The whole, up to 4 MiB. */
char *doctor_read(const struct doctor *d, const char *path);

/* "6.17.0-24-generic" is 6, 17, 0, 24. */
struct kernel_release {
	unsigned numbers[4];
	char *text;
};

/* -ENODATA: it is not known. */
int doctor_get_release(const struct doctor *d, struct kernel_release *ret);
int kernel_release_parse(const char *text, struct kernel_release *ret);
/* -1, 0, 1 */
int kernel_release_compare(const struct kernel_release *r, const unsigned numbers[static 4]);

/* doctor-kernel.c */
int doctor_check_module(struct doctor *d);
int doctor_check_kernel(struct doctor *d);
int doctor_check_io_uring(struct doctor *d);
int doctor_check_ublks_max(struct doctor *d);
/* doctor-system.c */
int doctor_check_systemd(struct doctor *d);
int doctor_check_udev(struct doctor *d);
int doctor_check_limits(struct doctor *d);
/* doctor-devices.c */
int doctor_check_orphans(struct doctor *d);
int doctor_check_definitions(struct doctor *d);
int doctor_check_backing(struct doctor *d);
