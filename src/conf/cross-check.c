/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each definition becomes a node that knows its backing file (as identity and as resolved path) and
 * which of the other nodes' devices that file needs: because it is one, or because it is on a file
 * system whose source is one, perhaps below device-mapper. A node that needs itself is an error.
 */
#include "conf/cross-check.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "util/mounts.h"

#define SLAVES_DEPTH_MAX 16

struct cross_node {
	const struct device_conf *conf;
	const struct file_conf *file; /* NULL: no backing file */
	char *path;                   /* of the backing file, links resolved as far as it exists */
	char *kernel_name;            /* "ublkb3"; NULL: the device is not there */
	bool exists;
	dev_t dev; /* of the file's file system, or of the block device that it is */
	ino_t ino; /* 0: a block device */
	const struct mount *mount; /* of the path; NULL for a block device */
	size_t *needs;             /* indexes of other nodes */
	size_t n_needs;
	size_t via; /* while looking for a way: the node before this one */
	bool visited;
};

struct cross {
	const struct cross_check *cc;
	const char *dev;
	const char *block;
	struct mounts mounts;
	struct cross_node *nodes;
	size_t n_nodes;
};

static void cross_deinit(struct cross *x)
{
	for (size_t i = 0; i < x->n_nodes; i++) {
		free(x->nodes[i].path);
		free(x->nodes[i].kernel_name);
		free(x->nodes[i].needs);
	}
	free(x->nodes);
	mounts_deinit(&x->mounts);
}

/* Resolves what exists of a normalized path, and keeps the rest of it. */
static int cross_resolve(const char *path, char **ret)
{
	AUTO_FREE char *head = strdup(path);
	size_t len = strlen(path);
	char *joined;

	if (!head)
		return -ENOMEM;
	while (len > 0) {
		AUTO_FREE char *real = NULL;

		head[len] = '\0';
		real = realpath(head, NULL);
		if (!real && errno == ENOMEM)
			return -ENOMEM;
		if (real) {
			const char *base = strcmp(real, "/") == 0 ? "" : real;

			if (asprintf(&joined, "%s%s", path[len] ? base : real, path + len) < 0)
				return -ENOMEM;
			*ret = joined;
			return 0;
		}
		while (len > 0 && head[--len] != '/')
			;
	}
	joined = strdup(path);
	if (!joined)
		return -ENOMEM;
	*ret = joined;
	return 0;
}

/* What /dev/... is called under the /dev that we look at. To be freed. */
static char *cross_dev_path(const struct cross *x, const char *path)
{
	char *s;

	return asprintf(&s, "%s%s", x->dev, path + strlen("/dev")) < 0 ? NULL : s;
}

static bool cross_is_dev_path(const char *path)
{
	return strncmp(path, "/dev/", 5) == 0;
}

/* The kernel's name of a block device by one of its links: "ublkb3" for "/dev/ublk/data". */
static int cross_kernel_name(const struct cross *x, const char *path, char **ret)
{
	AUTO_FREE char *dev_path = cross_dev_path(x, path);
	AUTO_FREE char *real = NULL;
	char *name;

	if (!dev_path)
		return -ENOMEM;
	real = realpath(dev_path, NULL);
	if (!real)
		return errno == ENOMEM ? -ENOMEM : -ENOENT;
	name = strdup(strrchr(real, '/') + 1);
	if (!name)
		return -ENOMEM;
	*ret = name;
	return 0;
}

static int cross_node_init(struct cross *x, struct cross_node *n, const struct device_conf *c)
{
	AUTO_FREE char *link = NULL;
	struct stat st;
	int r;

	n->conf = c;
	if (asprintf(&link, "/dev/ublk/%s", c->name) < 0) {
		link = NULL;
		return -ENOMEM;
	}
	r = cross_kernel_name(x, link, &n->kernel_name);
	if (r == -ENOMEM)
		return r;
	if (c->backend_type != &file_conf_type)
		return 0;

	n->file = c->backend;
	r = cross_resolve(n->file->path, &n->path);
	if (r < 0)
		return r;
	if (stat(n->path, &st) == 0) {
		n->exists = true;
		n->dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
		n->ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	}
	if (!cross_is_dev_path(n->file->path))
		n->mount = mounts_find(&x->mounts, n->path);
	return 0;
}

/* Whether s is "", or separator and a number: what the name of a partition has at its end. */
static bool cross_is_partition(const char *s, const char *separator)
{
	size_t len = strlen(separator);

	if (!*s)
		return true;
	return strncmp(s, separator, len) == 0 && s[len] && !s[len + strspn(s + len, "0123456789")];
}

/* Whether a link in /dev, as it is written, is that of a device of ours or of its partition. */
static bool cross_is_link(const char *path, const char *name, bool exactly)
{
	static const char *const prefixes[] = {"/dev/ublk/", "/dev/disk/by-id/ublk-"};
	size_t name_len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t len = strlen(prefixes[i]);

		if (strncmp(path, prefixes[i], len) != 0 ||
		    strncmp(path + len, name, name_len) != 0)
			continue;
		path += len + name_len;
		return exactly ? !*path : cross_is_partition(path, "-part");
	}
	return false;
}

static int cross_add_need(struct cross_node *n, size_t other)
{
	size_t *needs;

	for (size_t i = 0; i < n->n_needs; i++)
		if (n->needs[i] == other)
			return 0;
	needs = reallocarray(n->needs, n->n_needs + 1, sizeof(*needs));
	if (!needs)
		return -ENOMEM;
	n->needs = needs;
	needs[n->n_needs++] = other;
	return 0;
}

/* What a block device, by the kernel's name, is made of. */
static int cross_add_block(struct cross *x, struct cross_node *n, const char *name, unsigned depth)
{
	AUTO_FREE char *path = NULL;
	struct dirent *de;
	int r = 0;
	DIR *d;

	for (size_t i = 0; i < x->n_nodes; i++) {
		const char *own = x->nodes[i].kernel_name;
		size_t len = own ? strlen(own) : 0;

		if (own && strncmp(name, own, len) == 0 && cross_is_partition(name + len, "p"))
			return cross_add_need(n, i);
	}
	if (asprintf(&path, "%s/%s/slaves", x->block, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	d = depth < SLAVES_DEPTH_MAX ? opendir(path) : NULL;
	if (!d)
		return 0;
	while (r == 0 && (de = readdir(d)))
		if (de->d_name[0] != '.')
			r = cross_add_block(x, n, de->d_name, depth + 1);
	closedir(d);
	return r;
}

static int cross_add_source(struct cross *x, struct cross_node *n, const char *source)
{
	AUTO_FREE char *name = NULL;
	int r;

	if (!cross_is_dev_path(source))
		return 0;
	/* Twice, since "data-part1" is also a name that a device may have. */
	for (unsigned exactly = 2; exactly-- > 0;)
		for (size_t i = 0; i < x->n_nodes; i++)
			if (cross_is_link(source, x->nodes[i].conf->name, exactly))
				return cross_add_need(n, i);
	r = cross_kernel_name(x, source, &name);
	if (r == -ENOMEM)
		return r;
	/* A name that is gone from /dev still is the kernel's, as mountinfo has it. */
	return cross_add_block(x, n, name ? name : strrchr(source, '/') + 1, 0);
}

static int cross_find_needs(struct cross *x, struct cross_node *n)
{
	if (!n->file)
		return 0;
	return cross_add_source(x, n, n->mount ? n->mount->source : n->file->path);
}

/* A way from a node back to itself, breadth first so that it is a short one; via tells it. */
static int cross_find_loop(struct cross *x, size_t start, bool *ret_found)
{
	AUTO_FREE size_t *queue = calloc(x->n_nodes, sizeof(*queue));
	size_t head = 0, tail = 0;

	if (!queue)
		return -ENOMEM;
	for (size_t i = 0; i < x->n_nodes; i++)
		x->nodes[i].visited = false;
	for (queue[tail++] = start; head < tail; head++) {
		const struct cross_node *n = &x->nodes[queue[head]];

		for (size_t i = 0; i < n->n_needs; i++) {
			struct cross_node *next = &x->nodes[n->needs[i]];

			if (next->visited)
				continue;
			next->visited = true;
			next->via = queue[head];
			if (n->needs[i] == start) {
				*ret_found = true;
				return 0;
			}
			queue[tail++] = n->needs[i];
		}
	}
	*ret_found = false;
	return 0;
}

static int cross_report_loop(const struct cross *x, size_t start, struct conf_diag *diag)
{
	const struct cross_node *n = &x->nodes[start];
	struct conf_place place = device_conf_place(n->conf, "Backend", "Path");
	AUTO_FREE char *way = NULL;

	if (n->via == start && n->mount) {
		conf_error(diag, &place,
			   "%s is on the file system of %s, which lies on this very device",
			   n->file->path, n->mount->target);
		return 0;
	}
	if (n->via == start) {
		conf_error(diag, &place, "%s is this very device", n->file->path);
		return 0;
	}
	for (size_t i = n->via; i != start; i = x->nodes[i].via) {
		char *longer;

		if (asprintf(&longer, "%s, which needs %s", x->nodes[i].conf->name,
			     way ? way : n->conf->name) < 0)
			return -ENOMEM;
		free(way);
		way = longer;
	}
	conf_error(diag, &place, "%s needs the device %s again: none of them could start",
		   n->file->path, way);
	return 0;
}

static bool cross_is_same_file(const struct cross_node *a, const struct cross_node *b)
{
	if (a->exists && b->exists)
		return a->dev == b->dev && a->ino == b->ino;
	return strcmp(a->path, b->path) == 0;
}

static const char *cross_format_place(const struct conf_place *p, char *buf, size_t size)
{
	if (p->line > 0)
		snprintf(buf, size, "%s:%u", p->file, p->line);
	else
		snprintf(buf, size, "%s", p->file);
	return buf;
}

static void cross_check_pair(const struct cross_node *n, const struct cross_node *other,
			     struct conf_diag *diag)
{
	const struct device_conf *a = n->conf, *b = other->conf;
	struct conf_place place, other_place;
	char text[PATH_MAX + 16];

	if (a->serial && b->serial && strcmp(a->serial, b->serial) == 0) {
		place = device_conf_place(a, "Device", "Serial");
		other_place = device_conf_place(b, "Device", "Serial");
		conf_error(diag, &place, "%s is the serial of %s as well (%s)", a->serial, b->name,
			   cross_format_place(&other_place, text, sizeof(text)));
	}
	if (n->file && other->file && !(a->read_only && b->read_only) &&
	    cross_is_same_file(n, other)) {
		place = device_conf_place(a, "Backend", "Path");
		other_place = device_conf_place(b, "Backend", "Path");
		conf_error(diag, &place, "%s backs %s as well (%s)%s", n->file->path, b->name,
			   cross_format_place(&other_place, text, sizeof(text)),
			   a->read_only || b->read_only ? ": with a writer it can have no reader"
							: "");
	}
}

static int cross_init(struct cross *x, const struct cross_check *cc)
{
	const char *mountinfo = cc->mountinfo ? cc->mountinfo : "/proc/self/mountinfo";
	int r;

	x->cc = cc;
	x->dev = cc->dev ? cc->dev : "/dev";
	x->block = cc->block ? cc->block : "/sys/class/block";
	/* Without /proc there is less to find. */
	if (mounts_read(mountinfo, &x->mounts) == -ENOMEM)
		return -ENOMEM;
	x->nodes = calloc(cc->n_confs + 1, sizeof(*x->nodes));
	if (!x->nodes)
		return -ENOMEM;
	x->n_nodes = cc->n_confs;
	for (size_t i = 0; i < x->n_nodes; i++) {
		r = cross_node_init(x, &x->nodes[i], cc->confs[i]);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < x->n_nodes; i++) {
		r = cross_find_needs(x, &x->nodes[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

int cross_check(const struct cross_check *cc, struct conf_diag *diag)
{
	struct cross x = {0};
	int r = cross_init(&x, cc);

	for (size_t i = 0; r == 0 && i < cc->n_subjects; i++) {
		bool has_loop = false;

		/* Of two subjects the later one gets the message. */
		for (size_t k = 0; k < cc->n_confs; k++)
			if (k < i || k >= cc->n_subjects)
				cross_check_pair(&x.nodes[i], &x.nodes[k], diag);
		r = cross_find_loop(&x, i, &has_loop);
		if (r == 0 && has_loop)
			r = cross_report_loop(&x, i, diag);
	}
	cross_deinit(&x);
	conf_diag_sort(diag);
	return r;
}
