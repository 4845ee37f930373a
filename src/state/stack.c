/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A walk from a device upwards: whatever is met is taken down after all that stands upon it. Devices
 * are compared by number. A mount is followed by what it holds: mounts below it, swap files, and loop
 * and ublk devices with an image in it.
 */
#include "state/stack.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util/fd.h"
#include "util/mounts.h"
#include "util/unit-name.h"

#define SMALL_FILE_BYTES 4096
#define STACK_DEPTH_MAX  32
#define LVM_UUID_LEN     (4 + 64) /* "LVM-", group and volume; more: a part of a volume */

struct walk {
	const struct stack_source *from;
	struct stack *st;
	struct mounts mounts;
	bool *seen_mounts;
	char **seen_disks;
	size_t n_seen_disks;
	unsigned depth;
};

static int walk_disk(struct walk *w, const char *disk);
static int walk_mount(struct walk *w, size_t i);
static int walk_ublk(struct walk *w, const struct stack_ublk *u);

/* Takes the object and the unit over. */
static int walk_add(struct walk *w, enum stack_kind kind, char *object, char *unit)
{
	struct stack *st = w->st;
	struct stack_step *more = NULL;

	if (object)
		more = reallocarray(st->steps, st->n_steps + 1, sizeof(*more));
	if (!more) {
		free(object);
		free(unit);
		return -ENOMEM;
	}
	st->steps = more;
	more[st->n_steps++] = (struct stack_step){.kind = kind, .object = object, .unit = unit};
	return 0;
}

/* One whose unit is called by its path. */
static int walk_add_path(struct walk *w, enum stack_kind kind, const char *path, const char *suffix)
{
	char *unit = NULL;
	int r = unit_name_from_path(path, suffix, &unit);

	if (r == -ENOMEM)
		return r;
	return walk_add(w, kind, strdup(path), r == 0 ? unit : NULL);
}

static char *walk_read(const struct walk *w, const char *disk, const char *file)
{
	AUTO_FREE char *path = NULL;
	char *text;

	if (asprintf(&path, "%s/class/block/%s/%s", w->from->sys, disk, file) < 0) {
		path = NULL;
		return NULL;
	}
	if (fd_read_file(AT_FDCWD, path, SMALL_FILE_BYTES, &text, NULL) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static bool walk_get_dev(const struct walk *w, const char *disk, dev_t *ret)
{
	AUTO_FREE char *text = walk_read(w, disk, "dev");
	unsigned dev_major, dev_minor;

	if (!text || sscanf(text, "%u:%u", &dev_major, &dev_minor) != 2)
		return false;
	*ret = makedev(dev_major, dev_minor);
	return true;
}

static bool walk_is_node(const struct walk *w, const char *path, dev_t dev)
{
	struct stat st;

	return strncmp(path, "/dev/", 5) == 0 && stat(path, &st) == 0 &&
	       (st.st_mode & S_IFMT) == w->from->node_type && st.st_rdev == dev;
}

/* Whether a file lies on that mount, not on one that hides it. */
static bool walk_is_on(const struct walk *w, const char *path, size_t i)
{
	return path && path[0] == '/' && mounts_find(&w->mounts, path) == &w->mounts.mounts[i];
}

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* ---- swap, and devices with an image ---- */

/* On a node of that number, or, with dev 0, in a file on that mount. */
struct walk_below {
	struct walk *walk;
	dev_t dev;
	size_t mount;
};

static int walk_swap(const char *path, void *arg)
{
	const struct walk_below *b = arg;

	if (b->dev ? walk_is_node(b->walk, path, b->dev)
		   : strncmp(path, "/dev/", 5) != 0 && walk_is_on(b->walk, path, b->mount))
		return walk_add_path(b->walk, STACK_SWAP, path, "swap");
	return 0;
}

static int walk_swaps(struct walk *w, dev_t dev, size_t mount)
{
	struct walk_below below = {.walk = w, .dev = dev, .mount = mount};
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "%s/swaps", w->from->proc) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return mounts_each_swap(path, walk_swap, &below);
}

/* Loop devices on a node of that number, or, with dev 0, on a file of that mount. */
static int walk_loops(struct walk *w, dev_t dev, size_t mount)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;
	int r = 0;

	if (asprintf(&path, "%s/class/block", w->from->sys) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (fd_open_dir(AT_FDCWD, path, &d) < 0)
		return 0;
	while (r == 0 && (e = readdir(d))) {
		AUTO_FREE char *file = NULL;

		if (strncmp(e->d_name, "loop", 4) != 0)
			continue;
		file = walk_read(w, e->d_name, "loop/backing_file");
		if (file && (dev ? walk_is_node(w, file, dev) : walk_is_on(w, file, mount)))
			r = walk_disk(w, e->d_name);
	}
	return r;
}

static int walk_ublks(struct walk *w, dev_t dev, size_t mount)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->from->n_ublks; i++) {
		const struct stack_ublk *u = &w->from->ublks[i];

		if (!u->target || !*u->target)
			continue;
		if (dev ? walk_is_node(w, u->target, dev) : walk_is_on(w, u->target, mount))
			r = walk_ublk(w, u);
	}
	return r;
}

static int walk_images(struct walk *w, dev_t dev, size_t mount)
{
	int r = walk_ublks(w, dev, mount);

	if (r == 0)
		r = walk_loops(w, dev, mount);
	return r < 0 ? r : walk_swaps(w, dev, mount);
}

/* ---- mounts ---- */

/* What is mounted later goes first. */
static int walk_mount(struct walk *w, size_t i)
{
	const struct mount *m = &w->mounts.mounts[i];
	int r = 0;

	if (w->seen_mounts[i] || !m->target)
		return 0;
	w->seen_mounts[i] = true;
	for (size_t k = w->mounts.n_mounts; r == 0 && strcmp(m->target, "/") != 0 && k-- > i + 1;) {
		const struct mount *other = &w->mounts.mounts[k];

		if (other->target && is_below(other->target, m->target))
			r = walk_mount(w, k);
	}
	if (r == 0)
		r = walk_images(w, 0, i);
	return r < 0 ? r : walk_add_path(w, STACK_MOUNT, m->target, "mount");
}

static int walk_mounts(struct walk *w, dev_t dev)
{
	int r = 0;

	for (size_t k = w->mounts.n_mounts; r == 0 && k-- > 0;) {
		const struct mount *m = &w->mounts.mounts[k];

		/* a file system whose number is made up, as that of btrfs, is known by its node */
		if (m->source && (m->dev == dev || walk_is_node(w, m->source, dev)))
			r = walk_mount(w, k);
	}
	return r;
}

/* ---- devices ---- */

static bool walk_see_disk(struct walk *w, const char *disk, int *ret_r)
{
	char **more;

	*ret_r = 0;
	for (size_t i = 0; i < w->n_seen_disks; i++)
		if (strcmp(w->seen_disks[i], disk) == 0)
			return false;
	more = reallocarray(w->seen_disks, w->n_seen_disks + 1, sizeof(*more));
	if (more) {
		w->seen_disks = more;
		more[w->n_seen_disks] = strdup(disk);
	}
	if (!more || !more[w->n_seen_disks]) {
		*ret_r = -ENOMEM;
		return false;
	}
	w->n_seen_disks++;
	return true;
}

static int walk_holders(struct walk *w, const char *disk)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;
	int r = 0;

	if (asprintf(&path, "%s/class/block/%s/holders", w->from->sys, disk) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (fd_open_dir(AT_FDCWD, path, &d) < 0)
		return 0;
	while (r == 0 && (e = readdir(d)))
		if (e->d_name[0] != '.')
			r = walk_disk(w, e->d_name);
	return r;
}

/* All upon one disk or partition. */
static int walk_above(struct walk *w, const char *disk)
{
	dev_t dev;
	int r;

	if (!walk_get_dev(w, disk, &dev))
		return 0; /* gone meanwhile */
	r = walk_mounts(w, dev);
	if (r == 0)
		r = walk_images(w, dev, 0);
	return r < 0 ? r : walk_holders(w, disk);
}

/* The disk, and its partitions, which are directories below it that have a number. */
static int walk_whole(struct walk *w, const char *disk)
{
	AUTO_FREE char *path = NULL;
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;
	int r;

	r = walk_above(w, disk);
	if (asprintf(&path, "%s/class/block/%s", w->from->sys, disk) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (r < 0 || fd_open_dir(AT_FDCWD, path, &d) < 0)
		return r;
	while (r == 0 && (e = readdir(d))) {
		AUTO_FREE char *part = NULL;

		if (strncmp(e->d_name, disk, strlen(disk)) != 0)
			continue;
		if (asprintf(&part, "%s/%s", disk, e->d_name) < 0) {
			part = NULL;
			return -ENOMEM;
		}
		r = walk_above(w, part);
	}
	return r;
}

static int walk_add_dm(struct walk *w, const char *name, const char *uuid)
{
	AUTO_FREE char *instance = NULL, *path = NULL;
	char *unit = NULL;
	int r;

	if (strncmp(uuid, "LVM-", 4) == 0) {
		const bool part = strlen(uuid) > LVM_UUID_LEN;

		if (part && !w->from->parts)
			return 0;
		return walk_add(w, part ? STACK_DM : STACK_LVM, strdup(name), NULL);
	}
	if (strncmp(uuid, "CRYPT-", 6) != 0)
		return walk_add(w, STACK_DM, strdup(name), NULL);
	if (asprintf(&path, "/%s", name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	/* systemd-escape without --path differs in slashes only, and there are none */
	r = unit_name_escape_path(path, &instance);
	if (r == -ENOMEM)
		return r;
	if (r == 0 && asprintf(&unit, "systemd-cryptsetup@%s.service", instance) < 0)
		return -ENOMEM;
	return walk_add(w, STACK_LUKS, strdup(name), unit);
}

static int walk_add_disk(struct walk *w, const char *disk)
{
	AUTO_FREE char *name = walk_read(w, disk, "dm/name");
	AUTO_FREE char *uuid = walk_read(w, disk, "dm/uuid");

	if (name && *name)
		return walk_add_dm(w, name, uuid ?: "");
	if (strncmp(disk, "md", 2) == 0)
		return walk_add(w, STACK_MD, strdup(disk), NULL);
	if (strncmp(disk, "loop", 4) == 0)
		return walk_add(w, STACK_LOOP, strdup(disk), NULL);
	return walk_add(w, STACK_OTHER, strdup(disk), NULL);
}

/* All upon a disk that was not met before: 1; 0: it was; -errno. */
static int walk_once(struct walk *w, const char *disk)
{
	int r;

	if (!walk_see_disk(w, disk, &r))
		return r;
	if (w->depth >= STACK_DEPTH_MAX)
		return -ELOOP;
	w->depth++;
	r = walk_whole(w, disk);
	w->depth--;
	return r < 0 ? r : 1;
}

/* A device that is stacked upon another one. */
static int walk_disk(struct walk *w, const char *disk)
{
	int r = walk_once(w, disk);

	return r <= 0 ? r : walk_add_disk(w, disk);
}

static int walk_ublk(struct walk *w, const struct stack_ublk *u)
{
	char disk[32], *unit;
	int r;

	snprintf(disk, sizeof(disk), "ublkb%" PRIu32, u->dev_id);
	r = walk_once(w, disk);
	if (r <= 0)
		return r;
	if (asprintf(&unit, "ublk@%s.service", u->name) < 0)
		return -ENOMEM;
	return walk_add(w, STACK_UBLK, strdup(u->name), unit);
}

int stack_find(const struct stack_source *from, const char *name, struct stack *st)
{
	struct walk w = {.from = from, .st = st};
	AUTO_FREE char *path = NULL;
	int r = -ENODEV;

	if (asprintf(&path, "%s/self/mountinfo", from->proc) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (mounts_read(path, &w.mounts) == -ENOMEM)
		r = -ENOMEM;
	w.seen_mounts = calloc(w.mounts.n_mounts + 1, sizeof(*w.seen_mounts));
	if (!w.seen_mounts)
		r = -ENOMEM;
	for (size_t i = 0; r == -ENODEV && i < from->n_ublks; i++) {
		if (strcmp(from->ublks[i].name, name) == 0) {
			r = walk_ublk(&w, &from->ublks[i]);
			break;
		}
	}
	for (size_t i = 0; i < w.n_seen_disks; i++)
		free(w.seen_disks[i]);
	free(w.seen_disks);
	free(w.seen_mounts);
	mounts_deinit(&w.mounts);
	return r;
}

void stack_deinit(struct stack *st)
{
	for (size_t i = 0; i < st->n_steps; i++) {
		free(st->steps[i].object);
		free(st->steps[i].unit);
	}
	free(st->steps);
	*st = (struct stack){0};
}

const char *stack_verb(enum stack_kind kind)
{
	static const char *const verbs[] = {
		[STACK_MOUNT] = "unmount",
		[STACK_SWAP] = "swap off",
		[STACK_LUKS] = "close encrypted volume",
		[STACK_LVM] = "deactivate logical volume",
		[STACK_DM] = "remove mapped device",
		[STACK_MD] = "stop array",
		[STACK_LOOP] = "detach loop device",
		[STACK_UBLK] = "stop ublk device",
		[STACK_OTHER] = "stop",
	};

	return verbs[kind];
}
