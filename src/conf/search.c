/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/search.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "conf/device-conf.h"

void conf_files_deinit(struct conf_files *f)
{
	for (size_t i = 0; i < f->n_drop_ins; i++)
		free(f->drop_ins[i]);
	free(f->drop_ins);
	free(f->main);
	*f = (struct conf_files){0};
}

char **conf_strv_free(char **strings)
{
	for (char **s = strings; s && *s; s++)
		free(*s);
	free(strings);
	return NULL;
}

int conf_strv_push(char ***strings, size_t *n, char *s)
{
	char **grown = s ? reallocarray(*strings, *n + 2, sizeof(*grown)) : NULL;

	if (!grown) {
		free(s);
		return -ENOMEM;
	}
	grown[(*n)++] = s;
	grown[*n] = NULL;
	*strings = grown;
	return 0;
}

const char *conf_search_path(void)
{
	const char *path = secure_getenv("UBLKD_CONFIG_PATH");

	return path && *path ? path : UBLKD_CONF_DIRS;
}

/* The search path; `daemon`: the directories that those are in. */
static int conf_split_path(bool daemon, char ***ret)
{
	const char *path = conf_search_path();
	AUTO(conf_strv_free) char **dirs = calloc(1, sizeof(*dirs));
	size_t n = 0;

	if (!dirs)
		return -ENOMEM;
	while (*path) {
		size_t len = strcspn(path, ":"), keep = len;
		int r;

		while (keep > 1 && path[keep - 1] == '/')
			keep--;
		while (daemon && keep > 0 && path[keep - 1] != '/')
			keep--;
		while (daemon && keep > 1 && path[keep - 1] == '/')
			keep--;
		if (keep > 0 || len > 0) {
			r = conf_strv_push(&dirs, &n, keep > 0 ? strndup(path, keep) : strdup("."));
			if (r < 0)
				return r;
		}
		path += len + (path[len] == ':');
	}
	*ret = TAKE_PTR(dirs);
	return 0;
}

static bool conf_has_suffix(const char *name, const char *suffix)
{
	size_t len = strlen(name), suffix_len = strlen(suffix);

	return name[0] != '.' && len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

static bool conf_is_mask(const char *path)
{
	struct stat st;

	/* What cannot be read is found by the reader. */
	if (stat(path, &st) < 0)
		return false;
	return (S_ISREG(st.st_mode) && st.st_size == 0) ||
	       (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/*
 * Calls fn for each name with that suffix, without it. That there is no such directory is no error.
 */
static int conf_scan(const char *dir, const char *suffix, struct conf_diag *diag,
		     int (*fn)(void *user, const char *dir, const char *name), void *user)
{
	struct conf_place place = {.file = dir};
	struct dirent *de;
	int r = 0;
	DIR *d = opendir(dir);

	if (!d && errno == ENOENT)
		return 0;
	if (!d) {
		r = -errno;
		if (diag)
			conf_error(diag, &place, "cannot be read: %s", strerror(-r));
		return r;
	}
	for (errno = 0; r == 0 && (de = readdir(d)); errno = 0)
		if (conf_has_suffix(de->d_name, suffix))
			r = fn(user, dir, de->d_name);
	if (r == 0 && errno) {
		r = -errno;
		if (diag)
			conf_error(diag, &place, "cannot be read: %s", strerror(-r));
	}
	closedir(d);
	return r;
}

static const char *conf_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int conf_add_drop_in(void *user, const char *dir, const char *name)
{
	struct conf_files *f = user;
	char *path;

	for (size_t i = 0; i < f->n_drop_ins; i++)
		if (strcmp(conf_base_name(f->drop_ins[i]), name) == 0)
			return 0;
	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	return conf_strv_push(&f->drop_ins, &f->n_drop_ins, path);
}

static int conf_compare_base_names(const void *a, const void *b)
{
	return strcmp(conf_base_name(*(char *const *)a), conf_base_name(*(char *const *)b));
}

static void conf_drop_masked(struct conf_files *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_drop_ins; i++) {
		if (conf_is_mask(f->drop_ins[i]))
			free(f->drop_ins[i]);
		else
			f->drop_ins[n++] = f->drop_ins[i];
	}
	f->n_drop_ins = n;
}

/* base: name of the main file */
static int conf_find_files(char *const *dirs, const char *base, struct conf_diag *diag,
			   struct conf_files *ret)
{
	AUTO(conf_files_deinit) struct conf_files f = {0};
	struct stat st;

	for (; *dirs; dirs++) {
		AUTO_FREE char *main = NULL, *drop_ins = NULL;
		const char *slash = strcmp(*dirs, "/") == 0 ? "" : "/";
		int r;

		if (asprintf(&main, "%s%s%s", *dirs, slash, base) < 0) {
			main = NULL;
			return -ENOMEM;
		}
		if (asprintf(&drop_ins, "%s.d", main) < 0) {
			drop_ins = NULL;
			return -ENOMEM;
		}
		r = conf_scan(drop_ins, ".conf", diag, conf_add_drop_in, &f);
		if (r < 0)
			return r;
		/* A link to nowhere is there, too: its reader will say so. */
		if (!f.main && lstat(main, &st) == 0)
			f.main = TAKE_PTR(main);
	}
	if (!f.main && f.n_drop_ins == 0)
		return -ENOENT;
	f.masked = f.main && conf_is_mask(f.main);
	conf_drop_masked(&f);
	if (f.n_drop_ins > 0)
		qsort(f.drop_ins, f.n_drop_ins, sizeof(*f.drop_ins), conf_compare_base_names);
	*ret = f;
	f = (struct conf_files){0};
	return 0;
}

int conf_find_definition(const char *name, struct conf_diag *diag, struct conf_files *ret)
{
	AUTO(conf_strv_free) char **dirs = NULL;
	AUTO_FREE char *base = NULL;
	int r = conf_split_path(false, &dirs);

	if (r < 0)
		return r;
	if (asprintf(&base, "%s.conf", name) < 0) {
		base = NULL;
		return -ENOMEM;
	}
	return conf_find_files(dirs, base, diag, ret);
}

int conf_find_daemon(struct conf_diag *diag, struct conf_files *ret)
{
	AUTO(conf_strv_free) char **dirs = NULL;
	int r = conf_split_path(true, &dirs);

	if (r < 0)
		return r;
	r = conf_find_files(dirs, "ublkd.conf", diag, ret);
	if (r == -ENOENT) {
		*ret = (struct conf_files){0};
		return 0;
	}
	return r;
}

struct conf_list {
	char **names;
	size_t n;
	struct conf_diag *diag;
	const char *suffix;
};

static int conf_add_name(void *user, const char *dir, const char *file)
{
	struct conf_list *l = user;
	AUTO_FREE char *name = strndup(file, strlen(file) - strlen(l->suffix));

	if (!name)
		return -ENOMEM;
	if (!device_name_is_valid(name)) {
		AUTO_FREE char *path = NULL;
		struct conf_place place = {0};

		if (asprintf(&path, "%s/%s", dir, file) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		place.file = path;
		if (l->diag)
			conf_error(l->diag, &place,
				   "\"%s\" is no name for a device (lower-case letters, digits, "
				   "and _ . - behind the first, up to %d)",
				   name, DEVICE_NAME_MAX);
		return 0;
	}
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->names[i], name) == 0)
			return 0;
	return conf_strv_push(&l->names, &l->n, TAKE_PTR(name));
}

static int conf_compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int conf_list_definitions(struct conf_diag *diag, char ***ret)
{
	AUTO(conf_strv_free) char **dirs = NULL;
	struct conf_list l = {.diag = diag};
	int r = conf_split_path(false, &dirs);

	if (r < 0)
		return r;
	l.names = calloc(1, sizeof(*l.names));
	if (!l.names)
		return -ENOMEM;
	for (char **d = dirs; r == 0 && *d; d++) {
		l.suffix = ".conf";
		r = conf_scan(*d, l.suffix, diag, conf_add_name, &l);
		l.suffix = ".conf.d";
		if (r == 0)
			r = conf_scan(*d, l.suffix, diag, conf_add_name, &l);
	}
	if (r < 0) {
		conf_strv_free(l.names);
		return r;
	}
	if (l.n > 0)
		qsort(l.names, l.n, sizeof(*l.names), conf_compare_names);
	*ret = l.names;
	return 0;
}
