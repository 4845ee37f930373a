/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices and definitions: those without a server, those with errors, and what lies behind them. */
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "cli/doctor.h"
#include "conf/backend-conf.h"
#include "util/fd.h"
#include "util/mounts.h"

/* ---- orphans ---- */

static int orphan_check(struct doctor *d, const struct survey_device *s)
{
	AUTO_FREE char *remedy = NULL;
	const bool has_server = s->owner_error == 0 && s->owner > 0;
	char subject[32];
	int r;

	if (!s->has_dev || s->info_error < 0 || has_server || s->info.state == DEV_LIVE)
		return 0;
	snprintf(subject, sizeof(subject), "ublkb%" PRIu32, s->dev_id);
	if (s->name)
		r = asprintf(&remedy,
			     "Run systemctl start ublk@%s.service; to give it up, ublkctl gc "
			     "--force %s.",
			     s->name, s->name);
	else
		r = asprintf(
			&remedy,
			"Start the program that made it; to give it up, ublkctl gc --force %s.",
			subject);
	if (r < 0) {
		remedy = NULL;
		return -ENOMEM;
	}
	return doctor_add(d, DOCTOR_WARNING, s->name ?: subject, remedy,
			  "ublk device %" PRIu32 " is %s and has no server: %s", s->dev_id,
			  dev_state_to_string(s->info.state),
			  s->info.state == DEV_QUIESCED  ? "whoever uses it waits"
			  : s->info.state == DEV_FAIL_IO ? "whoever uses it gets errors"
							 : "it is of no use to anybody");
}

int doctor_check_orphans(struct doctor *d)
{
	int r = 0;

	if (!d->survey)
		return doctor_add(d, DOCTOR_UNKNOWN, NULL, "Run ublkctl list.",
				  "devices cannot be listed");
	if (d->survey->ctrl_error == -EACCES || d->survey->ctrl_error == -EPERM)
		return doctor_add(d, DOCTOR_UNKNOWN, NULL, "Run ublkctl doctor as root.",
				  "the state of devices is for root to know");
	if (d->survey->ctrl_error < 0)
		return doctor_add(d, DOCTOR_UNKNOWN, NULL, "See what the other checks say.",
				  "the kernel cannot be asked for the state of devices: %s",
				  strerror(-d->survey->ctrl_error));
	for (size_t i = 0; r == 0 && i < d->survey->n; i++)
		r = orphan_check(d, &d->survey->devices[i]);
	return r;
}

/* ---- definitions ---- */

int doctor_check_definitions(struct doctor *d)
{
	int r = 0;

	for (size_t i = 0; r == 0 && d->diag && i < d->diag->n_messages; i++) {
		const struct conf_message *m = &d->diag->messages[i];
		AUTO_FREE char *text = NULL;

		r = conf_message_format(m, &text);
		if (r == 0)
			r = doctor_add(d, m->severity == CONF_ERROR ? DOCTOR_ERROR : DOCTOR_WARNING,
				       m->file,
				       "Repair it, and see that ublkctl check has nothing to say.",
				       "%s", text);
	}
	for (size_t i = 0; r == 0 && i < d->n_confs; i++) {
		const struct device_conf *c = d->confs[i];
		const struct file_conf *file = c->backend;

		if (c->backend_type != &file_conf_type || file->create != FILE_CREATE_NO ||
		    doctor_exists(d, file->path))
			continue;
		/* a disk that comes later, or one that udev does not know yet */
		r = doctor_add(d, DOCTOR_WARNING, c->name,
			       "Make the file, or say Create= in [Backend].",
			       "%s is not there, and the definition makes none", file->path);
	}
	return r;
}

/* ---- backing ---- */

struct backing {
	struct doctor *d;
	const struct device_conf *conf;
	const char *path;
	char base[NAME_MAX + 1]; /* of the block device; "": it is a file */
};

static int backing_fight(const struct backing *b, const char *how, const char *who)
{
	return doctor_add(b->d, DOCTOR_ERROR, b->conf->name,
			  "End one of the two: what both write is lost, or worse.",
			  "%s, which the definition names, is also %s%s", b->path, how, who);
}

/* Loop devices over it. */
static int backing_check_loops(const struct backing *b)
{
	AUTO_FREE char *path = doctor_path(b->d, "/sys/class/block");
	AUTO_CLOSEDIR DIR *dir = NULL;
	const struct dirent *e;
	int r = 0;

	if (!path)
		return -ENOMEM;
	if (fd_open_dir(AT_FDCWD, path, &dir) < 0)
		return 0;
	while (r == 0 && (e = readdir(dir))) {
		AUTO_FREE char *file = NULL;
		char at[PATH_MAX];

		if (fnmatch("loop[0-9]*", e->d_name, 0) != 0)
			continue;
		snprintf(at, sizeof(at), "/sys/class/block/%s/loop/backing_file", e->d_name);
		file = doctor_read_line(b->d, at);
		if (file && strcmp(file, b->path) == 0)
			r = backing_fight(b, "what is behind ", e->d_name);
	}
	return r;
}

/* The block device, or a partition of it. */
static bool backing_is(const struct backing *b, const char *source)
{
	const size_t len = strlen(b->base);

	if (strcmp(source, b->path) == 0)
		return true;
	if (!b->base[0] || strncmp(source, "/dev/", 5) != 0 ||
	    strncmp(source + 5, b->base, len) != 0)
		return false;
	source += 5 + len;
	/* sda1, nvme0n1p1 */
	if (*source && strchr("0123456789", b->base[len - 1]) && *source++ != 'p')
		return false;
	return source[strspn(source, "0123456789")] == '\0';
}

static int backing_check_mounts(const struct backing *b, const struct mounts *m)
{
	for (size_t i = 0; i < m->n_mounts; i++) {
		if (m->mounts[i].source && backing_is(b, m->mounts[i].source))
			return backing_fight(b, "mounted on ", m->mounts[i].target);
	}
	return 0;
}

static int backing_check_swap(const struct backing *b)
{
	AUTO_FREE char *text = doctor_read(b->d, "/proc/swaps");
	char *next = text, *line;

	while ((line = strsep(&next, "\n"))) {
		line[strcspn(line, " \t")] = '\0';
		mounts_unescape(line);
		if (backing_is(b, line))
			return backing_fight(b, "swap space", "");
	}
	return 0;
}

/* Device-mapper, md and the like upon it. */
static int backing_check_holders(const struct backing *b)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSEDIR DIR *dir = NULL;
	const struct dirent *e;

	if (!b->base[0])
		return 0;
	path = doctor_path(b->d, "/sys/class/block/%s/holders", b->base);
	if (!path)
		return -ENOMEM;
	if (fd_open_dir(AT_FDCWD, path, &dir) < 0)
		return 0;
	while ((e = readdir(dir))) {
		if (e->d_name[0] != '.')
			return backing_fight(b, "used by ", e->d_name);
	}
	return 0;
}

/* Other servers of ours that go on with an older definition. */
static int backing_check_servers(const struct backing *b)
{
	for (size_t i = 0; b->d->survey && i < b->d->survey->n; i++) {
		const struct survey_device *s = &b->d->survey->devices[i];

		if (s->name && s->has_state && s->owner > 0 && !b->conf->read_only &&
		    strcmp(s->name, b->conf->name) != 0 && strcmp(s->state.target, b->path) == 0)
			return backing_fight(b, "open in the server of ", s->name);
	}
	return 0;
}

static void backing_find_base(struct backing *b)
{
	AUTO_FREE char *full = doctor_path(b->d, "%s", b->path);
	AUTO_FREE char *real = full ? realpath(full, NULL) : NULL;
	AUTO_FREE char *block = NULL;
	const char *base = real ? strrchr(real, '/') + 1 : NULL;

	if (!base || strncmp(b->path, "/dev/", 5) != 0)
		return;
	block = doctor_path(b->d, "/sys/class/block/%s", base);
	if (block && access(block, F_OK) == 0)
		snprintf(b->base, sizeof(b->base), "%s", base);
}

int doctor_check_backing(struct doctor *d)
{
	AUTO_FREE char *mountinfo = doctor_path(d, "/proc/self/mountinfo");
	struct mounts mounts = {0};
	int r = mountinfo ? 0 : -ENOMEM;

	if (r == 0)
		(void)mounts_read(mountinfo, &mounts);
	for (size_t i = 0; r == 0 && i < d->n_confs; i++) {
		struct backing b = {.d = d, .conf = d->confs[i]};

		if (b.conf->backend_type != &file_conf_type)
			continue;
		b.path = ((const struct file_conf *)b.conf->backend)->path;
		backing_find_base(&b);
		r = backing_check_loops(&b);
		if (r == 0)
			r = backing_check_mounts(&b, &mounts);
		if (r == 0)
			r = backing_check_swap(&b);
		if (r == 0)
			r = backing_check_holders(&b);
		if (r == 0)
			r = backing_check_servers(&b);
	}
	mounts_deinit(&mounts);
	return r;
}
