/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /run/ublkd: the lock, the directory, and what udev imports. The contents of NAME/state are in
 * state-file.c.
 *
 * Who holds the lock of a name may change everything below NAME/. The lock file itself goes last, so
 * a process that opened it just before finds out, once it has the lock, that the file is no longer
 * the one under that name, and starts over.
 */
#include "state/state.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "state/state-internal.h"
#include "util/fd.h"

#define UDEV_DIR       "udev"
#define LOCK_FILE      "lock"
#define LOCK_MAX_BYTES 64
/* state_get_owner() holds a shared lock for an instant, which is no reason to refuse a start. */
#define N_LOCK_TRIES   25
#define LOCK_TRY_NS    (10 * 1000 * 1000)

const char *state_dir(void)
{
	const char *dir = secure_getenv("UBLKD_STATE_DIR");

	return dir && *dir ? dir : STATE_DIR;
}

static bool state_name_is_valid(const char *name)
{
	if (strcmp(name, STATE_MANAGER) == 0)
		return true;
	return name[0] != '\0' && name[0] != '.' && !strchr(name, '/') &&
	       strcmp(name, UDEV_DIR) != 0 && strlen(name) < 200;
}

uint64_t state_cookie(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
	return hash ? hash : 1;
}

int state_boot_id(char ret_id[static 33])
{
	AUTO_FREE char *text = NULL;
	char id[33];
	size_t n = 0;
	int r;

	r = fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &text, NULL);
	if (r < 0)
		return r;
	for (const char *c = text; *c && *c != '\n'; c++) {
		if (*c == '-')
			continue;
		if (n == 32)
			return -EBADMSG;
		id[n++] = *c;
	}
	id[n] = '\0';
	if (!state_boot_id_is_valid(id))
		return -EBADMSG;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

int state_open_dir(const char *name, bool make, int *ret_fd)
{
	AUTO_CLOSE int base = -1;
	int fd, r;

	if (!state_name_is_valid(name))
		return -EINVAL;
	if (make) {
		r = fd_make_dir(AT_FDCWD, state_dir(), 0755, &base);
		return r < 0 ? r : fd_make_dir(base, name, 0755, ret_fd);
	}
	base = open(state_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return -errno;
	fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* 0; 1: a pid is in it; -EBUSY; -ESTALE: the file was removed meanwhile; else -errno. */
static int state_try_lock(int dir_fd, int *ret_fd)
{
	AUTO_CLOSE int fd =
		openat(dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat ours, named;

	if (fd < 0)
		return errno == ENOENT ? -ESTALE : -errno; /* the directory was removed */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(fd, &ours) < 0)
		return -errno;
	if (fstatat(dir_fd, LOCK_FILE, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	if (ours.st_dev != named.st_dev || ours.st_ino != named.st_ino)
		return -ESTALE;
	if (fchmod(fd, 0600) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return ours.st_size > 0;
}

static int state_write_owner(int fd)
{
	char text[LOCK_MAX_BYTES];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	/* cut first: a reader takes no pid over a mixture of two */
	if (ftruncate(fd, 0) < 0)
		return -errno;
	if (pwrite(fd, text, (size_t)len, 0) != len)
		return errno ? -errno : -EIO;
	return 0;
}

int state_lock(const char *name, int *ret_fd)
{
	const struct timespec pause = {.tv_nsec = LOCK_TRY_NS};
	AUTO_CLOSE int fd = -1;
	int r = -EBUSY, was_owned;

	for (int i = 0; i < N_LOCK_TRIES; i++) {
		AUTO_CLOSE int dir = -1;

		r = state_open_dir(name, true, &dir);
		if (r == -ENOENT)
			continue; /* removed between mkdir and open */
		if (r < 0)
			return r;
		r = state_try_lock(dir, &fd);
		if (r == -EBUSY)
			nanosleep(&pause, NULL);
		else if (r != -ESTALE)
			break;
	}
	if (r < 0)
		return r == -ESTALE || r == -ENOENT ? -EBUSY : r;
	was_owned = r;
	r = state_write_owner(fd);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return was_owned;
}

int state_get_owner(const char *name, pid_t *ret_pid)
{
	AUTO_CLOSE int dir = -1, fd = -1;
	char text[LOCK_MAX_BYTES];
	uint64_t pid;
	ssize_t n;
	int r;

	r = state_open_dir(name, false, &dir);
	if (r == 0)
		fd = openat(dir, LOCK_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && fd < 0 && errno != ENOENT)
		return -errno;
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0) {
		*ret_pid = 0;
		return 0;
	}
	if (errno != EWOULDBLOCK)
		return -errno;
	n = pread(fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno;
	if (n == 0 || text[n - 1] != '\n')
		return -EAGAIN;
	text[n - 1] = '\0';
	if (strlen(text) != (size_t)n - 1 || state_parse_u64(text, 10, &pid) < 0 || pid == 0 ||
	    pid > INT32_MAX)
		return -EBADMSG;
	*ret_pid = (pid_t)pid;
	return 0;
}

/* Also what fd_write_file() had not finished when its process was killed. */
static int state_remove_udev_at(int base, uint32_t dev_id)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	char name[32], temp[40];
	int r;

	snprintf(name, sizeof(name), "ublkb%u", dev_id);
	snprintf(temp, sizeof(temp), ".#%s.", name);
	r = fd_open_dir(base, UDEV_DIR, &d);
	if (r < 0) /* -ENOTDIR: somebody put a file where the directory should be */
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	for (;;) {
		const struct dirent *e;

		errno = 0;
		e = readdir(d);
		if (!e)
			return -errno;
		if (strcmp(e->d_name, name) != 0 && strncmp(e->d_name, temp, strlen(temp)) != 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0 && errno != ENOENT)
			return -errno;
	}
}

int state_remove_udev(uint32_t dev_id)
{
	AUTO_CLOSE int base = open(state_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (base < 0)
		return errno == ENOENT ? 0 : -errno;
	return state_remove_udev_at(base, dev_id);
}

int state_remove(const char *name, uint32_t dev_id)
{
	AUTO_CLOSE int base = -1, dir = -1;
	int r;

	r = state_open_dir(name, false, &dir);
	if (r < 0 && r != -ENOENT)
		return r;
	base = open(state_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return errno == ENOENT ? 0 : -errno;
	if (dev_id != UINT32_MAX) {
		r = state_remove_udev_at(base, dev_id);
		if (r < 0)
			return r;
	}
	if (dir < 0)
		return 0;
	r = fd_remove_files(dir, LOCK_FILE);
	if (r < 0)
		return r;
	if (unlinkat(dir, LOCK_FILE, 0) < 0 && errno != ENOENT)
		return -errno;
	/* ENOTEMPTY: the next server is there already */
	if (unlinkat(base, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY)
		return -errno;
	return 0;
}

char **state_list_free(char **names)
{
	for (char **n = names; n && *n; n++)
		free(*n);
	free(names);
	return NULL;
}

static int state_compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool state_is_dir(DIR *d, const char *name)
{
	struct stat st;

	return fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

int state_list(char ***ret_names)
{
	AUTO(state_list_free) char **names = calloc(1, sizeof(*names));
	AUTO_CLOSEDIR DIR *d = NULL;
	size_t n = 0;
	int r;

	if (!names)
		return -ENOMEM;
	r = fd_open_dir(AT_FDCWD, state_dir(), &d);
	if (r < 0 && r != -ENOENT)
		return r;
	while (d) {
		const struct dirent *e;
		char **more;

		errno = 0;
		e = readdir(d);
		if (!e && errno)
			return -errno;
		if (!e)
			break;
		if (!state_name_is_valid(e->d_name) || strcmp(e->d_name, STATE_MANAGER) == 0 ||
		    !state_is_dir(d, e->d_name))
			continue;
		more = reallocarray(names, n + 2, sizeof(*names));
		if (!more)
			return -ENOMEM;
		names = more;
		names[n] = strdup(e->d_name);
		names[n + 1] = NULL;
		if (!names[n])
			return -ENOMEM;
		n++;
	}
	qsort(names, n, sizeof(*names), state_compare_names);
	*ret_names = TAKE_PTR(names);
	return 0;
}

/* udev strips quotes and knows no escapes, so such a value would become another one. */
static bool state_udev_value_is_safe(const char *value)
{
	for (const char *c = value; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f || strchr("\"'\\", *c))
			return false;
	}
	return true;
}

int state_write_udev(uint32_t dev_id, const struct udev_properties *p)
{
	const struct {
		const char *key;
		const char *value;
	} strings[] = {
		{"UBLK_NAME", p->name},   {"UBLK_TYPE", p->backend}, {"UBLK_SERIAL", p->serial},
		{"UBLK_OWNER", p->owner}, {"UBLK_GROUP", p->group},
	};
	AUTO_CLOSE int base = -1, dir = -1;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	char name[32];
	FILE *f;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (strings[i].value && !state_udev_value_is_safe(strings[i].value))
			return -EINVAL;
	}
	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (strings[i].value)
			fprintf(f, "%s=%s\n", strings[i].key, strings[i].value);
	}
	fprintf(f, "UBLK_WATCH=%d\n", p->watch);
	if (p->mode != UINT32_MAX)
		fprintf(f, "UBLK_MODE=%04o\n", p->mode);
	if (fclose(f) != 0)
		return -ENOMEM;

	r = fd_make_dir(AT_FDCWD, state_dir(), 0755, &base);
	if (r == 0)
		r = fd_make_dir(base, UDEV_DIR, 0755, &dir);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "ublkb%u", dev_id);
	return fd_write_file(dir, name, text, len, 0644);
}
