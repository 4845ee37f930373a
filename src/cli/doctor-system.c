/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is around the servers: systemd, udev, limits. */
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/doctor.h"
#include "util/fd.h"
#include "util/parse.h"

#define UDEV_RULE        "61-ublk.rules"
#define SYSTEMD_MIN      252
#define FDS_FULL_PERCENT 80

/* ---- systemd ---- */

/* What the units do without before that version. */
static const struct {
	unsigned since;
	const char *what;
} systemd_news[] = {
	{253, "\"systemctl reload\" relies on ublkd reload to tell when it is done"},
	{254,
	 "what depends on a device is stopped when its server crashes (RestartMode=direct), and "
	 "the contents of memory devices are lost with \"systemctl stop\""},
};

/* By the name of its library, which no process has to be started for. 0: not known. */
static unsigned systemd_find_version(const struct doctor *d)
{
	static const char *const patterns[] = {
		"/usr/lib/*/systemd/libsystemd-shared-*.so",
		"/usr/lib/systemd/libsystemd-shared-*.so",
		"/usr/lib64/systemd/libsystemd-shared-*.so",
		"/lib/systemd/libsystemd-shared-*.so",
	};
	unsigned version = 0;

	for (size_t i = 0; i < ARRAY_SIZE(patterns) && version == 0; i++) {
		AUTO_FREE char *pattern = doctor_path(d, "%s", patterns[i]);
		glob_t g = {0};

		if (pattern && glob(pattern, 0, NULL, &g) == 0 && g.gl_pathc > 0)
			(void)!sscanf(strrchr(g.gl_pathv[g.gl_pathc - 1], '/'),
				      "/libsystemd-shared-%u", &version);
		globfree(&g);
	}
	return version;
}

int doctor_check_systemd(struct doctor *d)
{
	unsigned version;
	int r = 0;

	if (!doctor_exists(d, "/run/systemd/system"))
		return doctor_add(d, DOCTOR_NOTE, NULL,
				  "Nothing, if servers are started by hand with ublkd serve.",
				  "systemd does not run here, so there are no services");
	version = systemd_find_version(d);
	if (version == 0)
		return doctor_add(d, DOCTOR_UNKNOWN, NULL, "Compare systemctl --version with 252.",
				  "the version of systemd is not known");
	if (version < SYSTEMD_MIN)
		return doctor_add(d, DOCTOR_ERROR, "systemd", "Take systemd 252 or newer.",
				  "version %u is too old for the units", version);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(systemd_news); i++) {
		if (version < systemd_news[i].since)
			r = doctor_add(d, DOCTOR_NOTE, "systemd",
				       "Nothing; a newer systemd does it.",
				       "version %u is older than %u: %s", version,
				       systemd_news[i].since, systemd_news[i].what);
	}
	return r;
}

/* ---- udev ---- */

static bool udev_is_masked(const char *path)
{
	char target[16];
	ssize_t n = readlink(path, target, sizeof(target));
	struct stat st;

	return (n == 9 && memcmp(target, "/dev/null", 9) == 0) ||
	       (stat(path, &st) == 0 && st.st_size == 0);
}

/* 1: there is a rule, and it is in force. */
static int udev_check_rule(struct doctor *d)
{
	static const char *const dirs[] = {"/etc/udev/rules.d", "/run/udev/rules.d",
					   "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d",
					   "/lib/udev/rules.d"};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *path = doctor_path(d, "%s/" UDEV_RULE, dirs[i]);
		AUTO_FREE char *subject = NULL;
		struct stat st;

		if (!path)
			return -ENOMEM;
		if (lstat(path, &st) < 0)
			continue;
		if (!udev_is_masked(path))
			return 1;
		if (asprintf(&subject, "%s/" UDEV_RULE, dirs[i]) < 0) {
			subject = NULL;
			return -ENOMEM;
		}
		return doctor_add(d, DOCTOR_ERROR, subject,
				  "Remove it, and run udevadm control --reload && udevadm trigger "
				  "-s block.",
				  "it masks the udev rule, so devices get no /dev/ublk/NAME");
	}
	return doctor_add(d, DOCTOR_ERROR, UDEV_RULE, "Install it from the package of ublkd.",
			  "the udev rule is not installed, so devices get no /dev/ublk/NAME");
}

static int udev_check_link(struct doctor *d, const struct survey_device *s)
{
	AUTO_FREE char *path = doctor_path(d, "/dev/ublk/%s", s->name);
	char node[32], target[64];
	const char *base;
	ssize_t n;

	if (!path)
		return -ENOMEM;
	snprintf(node, sizeof(node), "ublkb%" PRIu32, s->dev_id);
	n = readlink(path, target, sizeof(target) - 1);
	target[MAX(n, 0)] = '\0';
	base = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
	if (strcmp(base, node) == 0)
		return 0;
	return doctor_add(
		d, DOCTOR_ERROR, s->name,
		"Run udevadm control --reload && udevadm trigger -s block, and look whether "
		"systemd-udevd.service runs.",
		n < 0 ? "the device is there, and /dev/ublk/%s is not"
		      : "/dev/ublk/%s does not lead to the device",
		s->name);
}

int doctor_check_udev(struct doctor *d)
{
	int r = udev_check_rule(d);

	for (size_t i = 0; r == 1 && d->survey && i < d->survey->n; i++) {
		const struct survey_device *s = &d->survey->devices[i];

		/* without a state it is one that was just made */
		if (s->name && s->has_state && s->has_disk && udev_check_link(d, s) < 0)
			r = -ENOMEM;
	}
	return MIN(r, 0);
}

/* ---- limits ---- */

/* Of /proc/PID/limits: the soft one. UINT64_MAX: none, or not known. */
static uint64_t limits_get(const char *text, const char *what)
{
	const char *line = strstr(text, what);
	uint64_t n;

	if (!line || sscanf(line + strlen(what), " %" SCNu64, &n) != 1)
		return UINT64_MAX;
	return n;
}

static size_t limits_count_fds(const struct doctor *d, pid_t pid)
{
	AUTO_FREE char *path = doctor_path(d, "/proc/%d/fd", (int)pid);
	AUTO_CLOSEDIR DIR *dir = NULL;
	size_t n = 0;

	if (!path || fd_open_dir(AT_FDCWD, path, &dir) < 0)
		return 0;
	while (readdir(dir))
		n++;
	return n > 2 ? n - 2 : 0; /* . and .. */
}

static int limits_check_server(struct doctor *d, const char *name, pid_t pid)
{
	AUTO_FREE char *text = NULL, *status = NULL;
	char path[64];
	const char *locked;
	uint64_t max, n;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
	text = doctor_read(d, path);
	if (!text)
		return 0; /* it has ended */
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	status = doctor_read(d, path);
	max = limits_get(text, "Max open files");
	n = limits_count_fds(d, pid);
	if (max != UINT64_MAX && n * 100 >= max * FDS_FULL_PERCENT)
		r = doctor_add(d, DOCTOR_WARNING, name,
			       "Raise LimitNOFILE= of its service, with systemctl edit.",
			       "its server, process %d, has %" PRIu64 " of %" PRIu64
			       " descriptors that it may have",
			       (int)pid, n, max);
	locked = status ? strstr(status, "\nVmLck:") : NULL;
	if (r == 0 && locked && sscanf(locked, "\nVmLck: %" SCNu64, &n) == 1 && n == 0)
		r = doctor_add(
			d, DOCTOR_WARNING, name,
			"Raise LimitMEMLOCK= of its service, or give it CAP_IPC_LOCK.",
			"its server, process %d, has not locked its memory (limit: %" PRIu64
			" bytes), so that a machine short of memory may wait for its own device",
			(int)pid, limits_get(text, "Max locked memory"));
	return r;
}

int doctor_check_limits(struct doctor *d)
{
	for (size_t i = 0; d->survey && i < d->survey->n; i++) {
		const struct survey_device *s = &d->survey->devices[i];
		bool is_first = true;

		if (!s->name || s->owner_error != 0 || s->owner == 0)
			continue;
		/* a manager is one process of many names */
		for (size_t j = 0; j < i; j++)
			is_first &= d->survey->devices[j].owner != s->owner;
		if (is_first && limits_check_server(d, s->name, s->owner) < 0)
			return -ENOMEM;
	}
	return 0;
}
