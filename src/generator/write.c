/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "generator/write.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fd.h"
#include "util/log.h"

/* Directories of a path, which are one deep, and its last part. */
static int write_open_dir(int base_fd, const char *path, int *ret_fd, const char **ret_name)
{
	const char *slash = strchr(path, '/');
	AUTO_FREE char *dir = strndup(path, (size_t)(slash - path));

	if (!dir)
		return -ENOMEM;
	*ret_name = slash + 1;
	return fd_make_dir(base_fd, dir, 0755, ret_fd);
}

static int write_link(int dir_fd, const char *target, const char *name, bool *ret_made)
{
	char have[PATH_MAX];
	ssize_t n;

	if (symlinkat(target, dir_fd, name) == 0) {
		*ret_made = true;
		return 0;
	}
	if (errno != EEXIST)
		return -errno;
	n = readlinkat(dir_fd, name, have, sizeof(have) - 1);
	if (n < 0)
		return -errno;
	have[n] = '\0';
	return strcmp(have, target) == 0 ? 0 : -EEXIST;
}

static int write_entry(int base_fd, const struct plan_entry *e, bool *ret_made)
{
	AUTO_CLOSE int dir_fd = -1;
	const char *name;
	int r = write_open_dir(base_fd, e->path, &dir_fd, &name);

	*ret_made = false;
	if (r < 0)
		return r;
	if (e->is_link)
		return write_link(dir_fd, e->text, name, ret_made);
	r = fd_write_file(dir_fd, name, e->text, strlen(e->text), 0644);
	*ret_made = r == 0;
	return r;
}

int write_plan(const char *dir, const struct plan *p)
{
	AUTO_CLOSE int base_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE bool *made = calloc(p->n_entries + 1, sizeof(*made));
	int r = 0;

	if (base_fd < 0)
		return log_error_errno(-errno, "cannot open %s: %m", dir);
	if (!made)
		return log_error_errno(-ENOMEM, "%m");
	for (size_t i = 0; r == 0 && i < p->n_entries; i++) {
		r = write_entry(base_fd, &p->entries[i], &made[i]);
		if (r < 0)
			log_error_errno(r, "cannot write %s/%s: %m", dir, p->entries[i].path);
	}
	for (size_t i = 0; r < 0 && i < p->n_entries; i++)
		if (made[i])
			(void)unlinkat(base_fd, p->entries[i].path, 0);
	return r;
}
