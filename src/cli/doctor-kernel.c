/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel: its ublk driver, io_uring, and releases that are known for trouble. */
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/doctor.h"
#include "util/fd.h"
#include "util/parse.h"

#define MODULE "ublk_drv"

/* ---- module ---- */

/* Is a line of this list of modules that of ours? */
static bool module_is_in(const struct doctor *d, const char *release, const char *list)
{
	AUTO_FREE char *path = NULL, *text = NULL;

	if (asprintf(&path, "/lib/modules/%s/%s", release, list) < 0) {
		path = NULL;
		return false;
	}
	text = doctor_read(d, path);
	return text && (strstr(text, "/ublk_drv.ko") || strstr(text, "/ublk_drv.o"));
}

/* "install ublk_drv /bin/false" in a file of modprobe.d: to be freed; NULL: there is none. */
static char *module_find_block(const struct doctor *d)
{
	static const char *const dirs[] = {"/etc/modprobe.d", "/run/modprobe.d",
					   "/usr/lib/modprobe.d"};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *full = doctor_path(d, "%s", dirs[i]);
		AUTO_CLOSEDIR DIR *dir = NULL;
		const struct dirent *e;

		if (!full || fd_open_dir(AT_FDCWD, full, &dir) < 0)
			continue;
		while ((e = readdir(dir))) {
			AUTO_FREE char *text = NULL;
			char *file;

			if (fnmatch("*.conf", e->d_name, 0) != 0 ||
			    asprintf(&file, "%s/%s", dirs[i], e->d_name) < 0)
				continue;
			text = doctor_read(d, file);
			if (text && (strncmp(text, "install " MODULE, 16) == 0 ||
				     strstr(text, "\ninstall " MODULE)))
				return file;
			free(file);
		}
	}
	return NULL;
}

static const char *module_remedy(const struct kernel_release *r)
{
	if (strstr(r->text, "microsoft"))
		return "Take a kernel of your own, built with CONFIG_BLK_DEV_UBLK: that of WSL has "
		       "none.";
	if (r->numbers[0] == 6 && r->numbers[1] == 1)
		return "Take a newer kernel: on Debian 12, apt install -t bookworm-backports "
		       "linux-image-amd64, and boot it.";
	if (r->numbers[3] > 0)
		return "Install the rest of the modules, as in apt install "
		       "linux-modules-extra-$(uname -r), or boot a kernel that has the driver.";
	return "Boot a kernel that is built with CONFIG_BLK_DEV_UBLK, 6.12 or newer.";
}

static int module_check_node(struct doctor *d)
{
	AUTO_FREE char *path = doctor_path(d, "/dev/ublk-control");
	struct stat st;

	if (!path)
		return -ENOMEM;
	if (stat(path, &st) < 0)
		return doctor_add(
			d, DOCTOR_ERROR, "/dev/ublk-control",
			"Look whether /dev is a devtmpfs, and whether something removes nodes "
			"from it.",
			"the driver is loaded, and its control device is not there");
	if (st.st_mode & S_IWOTH)
		return doctor_add(
			d, DOCTOR_WARNING, "/dev/ublk-control",
			"Remove the udev rule that sets this mode, unless unprivileged "
			"users are to make devices.",
			"everybody may write to it, so every user can make block devices");
	return 0;
}

int doctor_check_module(struct doctor *d)
{
	AUTO_FREE char *block = NULL, *text = NULL, *disabled = NULL;
	struct kernel_release r = {0};
	bool is_there;

	if (doctor_exists(d, "/sys/module/" MODULE))
		return module_check_node(d);
	if (doctor_get_release(d, &r) < 0)
		return doctor_add(d, DOCTOR_UNKNOWN, NULL, "Mount /proc.",
				  "which kernel runs cannot be read from /proc");
	text = r.text;
	is_there = module_is_in(d, r.text, "modules.dep") ||
		   module_is_in(d, r.text, "modules.builtin");
	if (!is_there)
		return doctor_add(d, DOCTOR_ERROR, r.text, module_remedy(&r),
				  "this kernel has no module " MODULE);
	block = module_find_block(d);
	if (block)
		return doctor_add(d, DOCTOR_ERROR, block,
				  "Remove that line, and run modprobe ublk_drv.",
				  "it keeps " MODULE " from being loaded");
	disabled = doctor_read_line(d, "/proc/sys/kernel/modules_disabled");
	if (disabled && strcmp(disabled, "1") == 0)
		return doctor_add(
			d, DOCTOR_ERROR, NULL,
			"Name ublk_drv in /etc/modules-load.d, and boot again.",
			"modules cannot be loaded any more (kernel.modules_disabled), and " MODULE
			" is not");
	return doctor_add(d, DOCTOR_NOTE, NULL, "Nothing: the first server loads it.",
			  MODULE " is not loaded");
}

/* ---- known for trouble ---- */

struct kernel_trouble {
	unsigned first[4], last[4];
	const char *flavour; /* pattern of the release */
	enum doctor_severity severity;
	const char *what;
	const char *remedy;
};

#define ANY UINT32_MAX
#define OOPS                                                                                       \
	"making the first ublk device crashes the driver, which then holds a lock until the "      \
	"machine is booted again"

/* From what others have published who serve many kernels (go-ublk v0.2.0, "kernel bugs"; ublk-churn-repro), and
 * from our own tests. */
static const struct kernel_trouble troubles[] = {
	{{6, 17, 0, 24},
	 {6, 17, 0, 40},
	 "*-generic",
	 DOCTOR_ERROR,
	 OOPS,
	 "Boot 6.17.0-41 or newer."},
	{{6, 17, 0, 1019},
	 {6, 17, 0, 1019},
	 "*-aws",
	 DOCTOR_ERROR,
	 OOPS,
	 "Boot 6.17.0-1020-aws or newer."},
	{{6, 17, 0, 1014},
	 {6, 17, 0, 1020},
	 "*-azure",
	 DOCTOR_ERROR,
	 OOPS,
	 "Boot 6.17.0-1021-azure or newer."},
	{{6, 18, 4, 0}, {6, 18, 5, ANY}, "*", DOCTOR_ERROR, OOPS, "Boot 6.18.6 or newer."},
	{{6, 8, 0, 0},
	 {6, 8, ANY, ANY},
	 "*",
	 DOCTOR_WARNING,
	 "closing a ublk device under load can crash the kernel (CVE-2025-37906)",
	 "Boot a newer kernel: 6.12 is the first that ublkd is tested with."},
	{{0, 0, 0, 0},
	 {6, 11, ANY, ANY},
	 "*",
	 DOCTOR_WARNING,
	 "ublkd is tested with Linux 6.12 and newer only; older ones cut WRITE_ZEROES of 4 GiB and "
	 "more short",
	 "Boot 6.12 or newer."},
	{{6, 18, 40, 0},
	 {6, 18, 40, ANY},
	 "*",
	 DOCTOR_WARNING,
	 "control commands can hang where many devices are made and deleted",
	 "Boot another release, or make and delete few devices at once."},
	{{7, 0, 0, 28},
	 {7, 0, 0, 28},
	 "*-generic",
	 DOCTOR_WARNING,
	 "control commands can hang where many devices are made and deleted",
	 "Boot another release, or make and delete few devices at once."},
	{{7, 0, 14, 0},
	 {7, 0, 14, ANY},
	 "*",
	 DOCTOR_WARNING,
	 "control commands can hang where many devices are made and deleted",
	 "Boot another release, or make and delete few devices at once."},
	{{6, 12, 0, 0},
	 {7, 0, 9, ANY},
	 "*",
	 DOCTOR_NOTE,
	 "taking a device down while it is being taken over is not safe before 7.0.10 "
	 "(CVE-2026-53124), unless the distribution has the fix",
	 "Keep the kernel up to date."},
	{{6, 12, 0, 0},
	 {6, 14, ANY, ANY},
	 "*",
	 DOCTOR_NOTE,
	 "a server that dies while it takes a device over cannot be followed by another: the "
	 "device is given up then, since the kernel could crash",
	 "For devices that must survive that, boot 6.15 or newer."},
};

static bool trouble_is_of(const struct kernel_trouble *t, const struct kernel_release *r)
{
	return kernel_release_compare(r, t->first) >= 0 &&
	       kernel_release_compare(r, t->last) <= 0 && fnmatch(t->flavour, r->text, 0) == 0;
}

int doctor_check_kernel(struct doctor *d)
{
	AUTO_FREE char *text = NULL, *panic = NULL;
	struct kernel_release r = {0};
	int e = 0;

	if (doctor_get_release(d, &r) < 0)
		return doctor_add(d, DOCTOR_UNKNOWN, NULL, "Mount /proc.",
				  "which kernel runs cannot be read from /proc");
	text = r.text;
	for (size_t i = 0; e == 0 && i < ARRAY_SIZE(troubles); i++) {
		const struct kernel_trouble *t = &troubles[i];

		if (trouble_is_of(t, &r))
			e = doctor_add(d, t->severity, r.text, t->remedy, "%s", t->what);
	}
	panic = doctor_read_line(d, "/proc/sys/kernel/panic_on_warn");
	if (e == 0 && panic && strcmp(panic, "1") == 0)
		e = doctor_add(
			d, DOCTOR_WARNING, NULL,
			"Set kernel.panic_on_warn=0, or CopyMode=copy for all devices.",
			"the kernel panics on warnings, and kernels with CONFIG_UBSAN may give a "
			"false one where requests are not copied");
	return e;
}

/* ---- io_uring ---- */

int doctor_check_io_uring(struct doctor *d)
{
	AUTO_FREE char *text = doctor_read_line(d, "/proc/sys/kernel/io_uring_disabled");

	if (!text || strcmp(text, "0") == 0)
		return 0; /* kernels before 6.6 cannot forbid it */
	if (strcmp(text, "1") == 0)
		return doctor_add(
			d, DOCTOR_NOTE, "kernel.io_uring_disabled=1",
			"Nothing, if servers run as root. Else put them into the group of "
			"kernel.io_uring_group.",
			"only processes with CAP_SYS_ADMIN, and one group, may use io_uring");
	return doctor_add(
		d, DOCTOR_ERROR, "kernel.io_uring_disabled=2",
		"Set kernel.io_uring_disabled=0 in /etc/sysctl.d, or 1, which is enough for "
		"root.",
		"nobody may use io_uring, without which no ublk device can be served");
}

/* ---- ublks_max ---- */

int doctor_check_ublks_max(struct doctor *d)
{
	AUTO_FREE char *text = doctor_read_line(d, "/sys/module/" MODULE "/parameters/ublks_max");
	AUTO_FREE char *release = NULL;
	struct kernel_release r = {0};
	size_t n = d->n_confs;
	uint64_t max;

	if (!text || parse_u64(text, &max) < 0 || doctor_get_release(d, &r) < 0)
		return 0;
	release = r.text;
	for (size_t i = 0; d->survey && i < d->survey->n; i++)
		n += d->survey->devices[i].has_dev && !d->survey->devices[i].conf;
	if (n < max && n * 5 < max * 4)
		return 0;
	if (kernel_release_compare(&r, (const unsigned[]){6, 15, 0, 0}) >= 0)
		return doctor_add(
			d, DOCTOR_NOTE, "ublks_max", "Nothing, if servers run as root.",
			"it is %" PRIu64 ", and counts devices of unprivileged users only on "
			"this kernel, so that it does not limit the %zu that there are or are "
			"defined",
			max, n);
	return doctor_add(
		d, n > max ? DOCTOR_ERROR : DOCTOR_WARNING, "ublks_max",
		"echo 1024 >/sys/module/ublk_drv/parameters/ublks_max, and say the same in "
		"/etc/modprobe.d.",
		"%zu devices are there or defined, and this kernel makes no more than "
		"%" PRIu64 " of all users together",
		n, max);
}
