/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices are compared by number, not by path: a node has many names. The number of a path is asked
 * for only below /dev, and that of an open file without syncing with its file system, so that a
 * dead network mount or a device without a server cannot hang us.
 */
#include "state/holders.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util/fd.h"
#include "util/mounts.h"

#define SMALL_FILE_BYTES 4096

/* The disk and its partitions. */
struct devices {
	dev_t *items;
	size_t n;
};

struct search {
	const struct holders_source *from;
	struct devices devices;
	struct holders *holders;
};

static bool search_has_device(const struct search *s, dev_t dev)
{
	for (size_t i = 0; i < s->devices.n; i++) {
		if (s->devices.items[i] == dev)
			return true;
	}
	return false;
}

static int search_add_device(struct search *s, dev_t dev)
{
	struct devices *d = &s->devices;
	dev_t *more = reallocarray(d->items, d->n + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	d->items = more;
	d->items[d->n++] = dev;
	return 0;
}

/* A name from the system may hold anything, but must not break a line of the journal. */
static void replace_control_characters(char *text)
{
	for (; *text; text++) {
		if (iscntrl((unsigned char)*text))
			*text = '?';
	}
}

__attribute__((format(printf, 3, 4))) static int search_add(struct search *s, enum holder_kind kind,
							    const char *format, ...)
{
	struct holders *h = s->holders;
	AUTO_FREE char *text = NULL;
	struct holder *more;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&text, format, args);
	va_end(args);
	if (r < 0) {
		text = NULL;
		return -ENOMEM;
	}
	replace_control_characters(text);
	for (size_t i = 0; i < h->n; i++) {
		if (h->items[i].kind == kind && strcmp(h->items[i].text, text) == 0)
			return 0;
	}
	more = reallocarray(h->items, h->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	h->items = more;
	h->items[h->n++] = (struct holder){.kind = kind, .text = TAKE_PTR(text)};
	return 0;
}

/* A line of a file below the directory, without its end. NULL: there is none. */
static char *read_line(int dir_fd, const char *path)
{
	char *text;

	if (fd_read_file(dir_fd, path, SMALL_FILE_BYTES, &text, NULL) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static bool parse_dev(const char *text, dev_t *ret)
{
	unsigned dev_major, dev_minor;
	char end;

	if (sscanf(text, "%u:%u%c", &dev_major, &dev_minor, &end) != 2)
		return false;
	*ret = makedev(dev_major, dev_minor);
	return true;
}

static bool search_has_node(const struct search *s, const char *path)
{
	struct stat st;

	return strncmp(path, "/dev/", 5) == 0 && stat(path, &st) == 0 &&
	       (st.st_mode & S_IFMT) == s->from->node_type && search_has_device(s, st.st_rdev);
}

/* A file system whose number is made up, as that of btrfs, is known by its node. */
static int search_mountinfo(struct search *s, const char *process)
{
	struct mounts mounts = {0};
	AUTO_FREE char *path = NULL;
	int r = 0;

	if (asprintf(&path, "%s/%s/mountinfo", s->from->proc, process) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	(void)mounts_read(path, &mounts); /* what cannot be read has none */
	for (size_t i = 0; r == 0 && i < mounts.n_mounts; i++) {
		const struct mount *m = &mounts.mounts[i];

		if (m->target && m->source &&
		    (search_has_device(s, m->dev) || search_has_node(s, m->source)))
			r = search_add(s, HOLDER_MOUNT, "%s", m->target);
	}
	mounts_deinit(&mounts);
	return r;
}

static int search_mounts(struct search *s)
{
	int r;

	r = search_mountinfo(s, "self");
	/* ours may be a namespace of its own, if the unit is sandboxed */
	return r < 0 ? r : search_mountinfo(s, "1");
}

static int search_swap(const char *path, void *arg)
{
	struct search *s = arg;

	return search_has_node(s, path) ? search_add(s, HOLDER_SWAP, "%s", path) : 0;
}

static int search_swaps(struct search *s)
{
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "%s/swaps", s->from->proc) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return mounts_each_swap(path, search_swap, s);
}

/* Devices stacked upon the one whose sysfs directory is open: they are links in its holders/. */
static int search_stacked(struct search *s, int sys_fd)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;
	int r = 0;

	if (fd_open_dir(sys_fd, "holders", &d) < 0)
		return 0;
	while (r == 0 && (e = readdir(d))) {
		AUTO_FREE char *path = NULL, *name = NULL;

		if (e->d_name[0] == '.')
			continue;
		if (asprintf(&path, "%s/dm/name", e->d_name) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		name = read_line(dirfd(d), path);
		r = name && *name ? search_add(s, HOLDER_DEVICE, "%s (%s)", e->d_name, name)
				  : search_add(s, HOLDER_DEVICE, "%s", e->d_name);
	}
	return r;
}

/* One directory of sysfs, of the disk or a partition: its number, and what stands upon it. */
static int search_disk_dir(struct search *s, int sys_fd)
{
	AUTO_FREE char *text = read_line(sys_fd, "dev");
	dev_t dev;
	int r;

	if (!text || !parse_dev(text, &dev))
		return -ENODEV;
	r = search_add_device(s, dev);
	return r < 0 ? r : search_stacked(s, sys_fd);
}

static int search_disk(struct search *s, uint32_t dev_id)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;
	char prefix[32];
	int r;

	snprintf(prefix, sizeof(prefix), "ublkb%" PRIu32 "p", dev_id);
	if (asprintf(&path, "%s/class/block/ublkb%" PRIu32, s->from->sys, dev_id) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = fd_open_dir(AT_FDCWD, path, &d);
	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	r = search_disk_dir(s, dirfd(d));
	while (r == 0 && (e = readdir(d))) {
		AUTO_CLOSE int fd = -1;

		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue; /* gone meanwhile */
		r = search_disk_dir(s, fd);
		if (r == -ENODEV)
			r = 0;
	}
	return r;
}

/* A loop device has its file open in the kernel, where neither holders/ nor a process shows it. */
static int search_loops(struct search *s)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;
	int r = 0;

	if (asprintf(&path, "%s/class/block", s->from->sys) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (fd_open_dir(AT_FDCWD, path, &d) < 0)
		return 0;
	while (r == 0 && (e = readdir(d))) {
		AUTO_FREE char *file = NULL, *backing = NULL;

		if (strncmp(e->d_name, "loop", 4) != 0)
			continue;
		if (asprintf(&file, "%s/loop/backing_file", e->d_name) < 0) {
			file = NULL;
			return -ENOMEM;
		}
		backing = read_line(dirfd(d), file);
		if (backing && search_has_node(s, backing))
			r = search_add(s, HOLDER_DEVICE, "%s", e->d_name);
	}
	return r;
}

/* Whether one of the open files is a node of ours. */
static bool search_has_open(const struct search *s, int pid_fd)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;

	if (fd_open_dir(pid_fd, "fd", &d) < 0)
		return false;
	while ((e = readdir(d))) {
		struct statx st;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (statx(dirfd(d), e->d_name, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
			continue;
		if ((st.stx_mode & S_IFMT) == s->from->node_type &&
		    search_has_device(s, makedev(st.stx_rdev_major, st.stx_rdev_minor)))
			return true;
	}
	return false;
}

static int search_processes(struct search *s)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;
	int r;

	r = fd_open_dir(AT_FDCWD, s->from->proc, &d);
	while (r == 0 && (e = readdir(d))) {
		AUTO_FREE char *comm = NULL;
		AUTO_CLOSE int fd = -1;

		if (!isdigit((unsigned char)e->d_name[0]) || atoi(e->d_name) == s->from->self)
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || !search_has_open(s, fd))
			continue;
		comm = read_line(fd, "comm");
		r = search_add(s, HOLDER_PROCESS, "%s (pid %s)", comm ? comm : "a process",
			       e->d_name);
	}
	return r;
}

int holders_find_in(const struct holders_source *from, uint32_t dev_id, struct holders *h)
{
	struct search s = {.from = from, .holders = h};
	int r;

	holders_deinit(h);
	r = search_disk(&s, dev_id);
	if (r == 0)
		r = search_mounts(&s);
	if (r == 0)
		r = search_swaps(&s);
	if (r == 0)
		r = search_loops(&s);
	if (r == 0 && !from->no_processes)
		r = search_processes(&s);
	free(s.devices.items);
	return r;
}

static const struct holders_source holders_system = {
	.proc = "/proc",
	.sys = "/sys",
	.node_type = S_IFBLK,
};

int holders_find(uint32_t dev_id, struct holders *h)
{
	struct holders_source from = holders_system;

	from.self = getpid();
	return holders_find_in(&from, dev_id, h);
}

int holders_find_lasting(uint32_t dev_id, struct holders *h)
{
	struct holders_source from = holders_system;

	from.no_processes = true;
	return holders_find_in(&from, dev_id, h);
}

int holders_find_char(uint32_t dev_id, struct holders *h)
{
	struct holders_source from = holders_system;
	struct search s = {.from = &from, .holders = h};
	AUTO_CLOSEDIR DIR *d = NULL;
	char path[64];
	int r;

	holders_deinit(h);
	from.self = getpid();
	from.node_type = S_IFCHR;
	snprintf(path, sizeof(path), "/sys/class/ublk-char/ublkc%" PRIu32, dev_id);
	r = fd_open_dir(AT_FDCWD, path, &d);
	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	r = search_disk_dir(&s, dirfd(d));
	if (r == 0)
		r = search_processes(&s);
	free(s.devices.items);
	return r;
}

const char *holder_kind_to_string(enum holder_kind kind)
{
	static const char *const names[] = {
		[HOLDER_MOUNT] = "mount",
		[HOLDER_SWAP] = "swap",
		[HOLDER_DEVICE] = "device",
		[HOLDER_PROCESS] = "process",
	};

	return names[kind];
}

const char *holders_to_string(const struct holders *h, char *buf, size_t size)
{
	static const char *const verbs[] = {
		[HOLDER_MOUNT] = "mounted on",
		[HOLDER_SWAP] = "swap on",
		[HOLDER_DEVICE] = "held by",
		[HOLDER_PROCESS] = "open in",
	};
	const size_t tail_bytes = sizeof("; and 18446744073709551615 more");
	size_t len = 0, i;

	buf[0] = '\0';
	for (i = 0; i < h->n; i++) {
		const char *verb = verbs[h->items[i].kind];
		const char *text = h->items[i].text;
		/* the last one needs no room behind it for how many are left out */
		const size_t room = size - len, tail = i + 1 < h->n ? tail_bytes : 0;
		const int n = snprintf(NULL, 0, "%s%s %s", i ? "; " : "", verb, text);

		if ((size_t)n + 1 + tail > room)
			break;
		len += (size_t)snprintf(buf + len, room, "%s%s %s", i ? "; " : "", verb, text);
	}
	if (i < h->n)
		snprintf(buf + len, size - len, "%s%zu more", i ? "; and " : "", h->n - i);
	return buf;
}

void holders_deinit(struct holders *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->items[i].text);
	free(h->items);
	*h = (struct holders){0};
}
