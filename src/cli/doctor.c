/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/doctor.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/output.h"
#include "util/fd.h"

#define DOCTOR_MAX_BYTES (4U << 20)

const struct doctor_check doctor_checks[] = {
	{"module", "the kernel has the ublk driver", doctor_check_module},
	{"kernel", "this kernel is not known for trouble", doctor_check_kernel},
	{"io_uring", "io_uring may be used", doctor_check_io_uring},
	{"ublks_max", "there may be as many devices as are defined", doctor_check_ublks_max},
	{"systemd", "systemd has what the units need", doctor_check_systemd},
	{"udev", "the udev rule makes names for devices", doctor_check_udev},
	{"limits", "servers have the resources they need", doctor_check_limits},
	{"orphans", "no device has lost its server", doctor_check_orphans},
	{"definitions", "definitions are right", doctor_check_definitions},
	{"backing", "nobody else uses what lies behind a device", doctor_check_backing},
};
const size_t n_doctor_checks = ARRAY_SIZE(doctor_checks);

int doctor_run(struct doctor *d)
{
	for (size_t i = 0; i < n_doctor_checks; i++) {
		int r;

		d->check = &doctor_checks[i];
		r = d->check->run(d);
		if (r < 0)
			return r;
	}
	return 0;
}

void doctor_deinit(struct doctor *d)
{
	for (size_t i = 0; i < d->n_findings; i++) {
		free(d->findings[i].subject);
		free(d->findings[i].reason);
		free(d->findings[i].remedy);
	}
	free(TAKE_PTR(d->findings));
	d->n_findings = 0;
}

int doctor_add(struct doctor *d, enum doctor_severity severity, const char *subject,
	       const char *remedy, const char *format, ...)
{
	struct doctor_finding *more = reallocarray(d->findings, d->n_findings + 1, sizeof(*more));
	struct doctor_finding *f;
	va_list args;
	int r;

	if (!more)
		return -ENOMEM;
	d->findings = more;
	f = &more[d->n_findings++];
	*f = (struct doctor_finding){.check = d->check->name, .severity = severity};
	f->subject = subject ? strdup(subject) : NULL;
	f->remedy = strdup(remedy);
	va_start(args, format);
	r = vasprintf(&f->reason, format, args);
	va_end(args);
	if (r < 0)
		f->reason = NULL;
	return !f->remedy || !f->reason || (subject && !f->subject) ? -ENOMEM : 0;
}

enum doctor_severity doctor_worst(const struct doctor *d, const char *check)
{
	enum doctor_severity worst = DOCTOR_OK;

	for (size_t i = 0; i < d->n_findings; i++) {
		if (!check || strcmp(d->findings[i].check, check) == 0)
			worst = MAX(worst, d->findings[i].severity);
	}
	return worst;
}

int doctor_exit_status(enum doctor_severity worst)
{
	switch (worst) {
	case DOCTOR_OK:
	case DOCTOR_NOTE:
		return 0;
	case DOCTOR_WARNING:
		return 1;
	case DOCTOR_ERROR:
		return 2;
	case DOCTOR_UNKNOWN:
		break;
	}
	return 3;
}

/* ---- JSON ---- */

static const char *severity_to_string(enum doctor_severity severity)
{
	static const char *const names[] = {
		[DOCTOR_OK] = "ok",           [DOCTOR_NOTE] = "note",
		[DOCTOR_UNKNOWN] = "unknown", [DOCTOR_WARNING] = "warning",
		[DOCTOR_ERROR] = "error",
	};

	return names[severity];
}

struct json_object *doctor_json(const struct doctor *d)
{
	struct json_object *o = json_object_new_object(), *checks = json_object_new_array(),
			   *findings = json_object_new_array();

	for (size_t i = 0; i < n_doctor_checks; i++) {
		const struct doctor_check *c = &doctor_checks[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "name", output_json_text(c->name));
		json_object_object_add(one, "title", output_json_text(c->title));
		json_object_object_add(
			one, "severity",
			output_json_text(severity_to_string(doctor_worst(d, c->name))));
		json_object_array_add(checks, one);
	}
	for (size_t i = 0; i < d->n_findings; i++) {
		const struct doctor_finding *f = &d->findings[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "check", output_json_text(f->check));
		json_object_object_add(one, "severity",
				       output_json_text(severity_to_string(f->severity)));
		json_object_object_add(one, "subject", output_json_text(f->subject));
		json_object_object_add(one, "reason", output_json_text(f->reason));
		json_object_object_add(one, "remedy", output_json_text(f->remedy));
		json_object_array_add(findings, one);
	}
	json_object_object_add(o, "severity",
			       output_json_text(severity_to_string(doctor_worst(d, NULL))));
	json_object_object_add(o, "checks", checks);
	json_object_object_add(o, "findings", findings);
	return o;
}

/* ---- for checks ---- */

char *doctor_path(const struct doctor *d, const char *format, ...)
{
	AUTO_FREE char *below = NULL;
	char *path;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&below, format, args);
	va_end(args);
	if (r < 0) {
		below = NULL;
		return NULL;
	}
	return asprintf(&path, "%s%s", d->root, below) < 0 ? NULL : path;
}

bool doctor_exists(const struct doctor *d, const char *path)
{
	AUTO_FREE char *full = doctor_path(d, "%s", path);
	struct stat st;

	return full && lstat(full, &st) == 0;
}

char *doctor_read(const struct doctor *d, const char *path)
{
	AUTO_FREE char *full = doctor_path(d, "%s", path);
	char *text;

	if (!full || fd_read_file(AT_FDCWD, full, DOCTOR_MAX_BYTES, &text, NULL) < 0)
		return NULL;
	return text;
}

char *doctor_read_line(const struct doctor *d, const char *path)
{
	char *text = doctor_read(d, path);

	if (text)
		text[strcspn(text, "\n")] = '\0';
	return text;
}

int kernel_release_parse(const char *text, struct kernel_release *ret)
{
	struct kernel_release r = {0};
	int n = sscanf(text, "%u.%u.%u-%u", &r.numbers[0], &r.numbers[1], &r.numbers[2],
		       &r.numbers[3]);

	if (n < 2)
		return -EINVAL;
	r.text = strdup(text);
	if (!r.text)
		return -ENOMEM;
	*ret = r;
	return 0;
}

int doctor_get_release(const struct doctor *d, struct kernel_release *ret)
{
	AUTO_FREE char *text = doctor_read_line(d, "/proc/sys/kernel/osrelease");
	int r = text ? kernel_release_parse(text, ret) : -ENODATA;

	return r == -EINVAL ? -ENODATA : r;
}

int kernel_release_compare(const struct kernel_release *r, const unsigned numbers[static 4])
{
	for (size_t i = 0; i < ARRAY_SIZE(r->numbers); i++) {
		if (r->numbers[i] != numbers[i])
			return r->numbers[i] < numbers[i] ? -1 : 1;
	}
	return 0;
}
