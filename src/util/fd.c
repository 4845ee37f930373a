/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/fd.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define READ_STEP_BYTES 4096
#define N_TEMP_TRIES    100

int fd_read_file(int dir_fd, const char *path, size_t max_bytes, char **ret, size_t *ret_len)
{
	AUTO_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	AUTO_FREE char *buf = NULL;
	size_t room = 0, len = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (room - len < 2) {
			char *more = realloc(buf, room + READ_STEP_BYTES);

			if (!more)
				return -ENOMEM;
			buf = more;
			room += READ_STEP_BYTES;
		}
		n = read(fd, buf + len, room - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max_bytes)
			return -EFBIG;
	}
	buf[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret = TAKE_PTR(buf);
	return 0;
}

int fd_create_temp(int dir_fd, const char *name, mode_t mode, char **ret_temp, int *ret_fd)
{
	for (int i = 0; i < N_TEMP_TRIES; i++) {
		AUTO_CLOSE int fd = -1;
		AUTO_FREE char *temp = NULL;
		uint32_t random;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return -errno;
		if (asprintf(&temp, ".#%s.%08x", name, random) < 0) {
			temp = NULL;
			return -ENOMEM;
		}
		fd = openat(dir_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return -errno;
		if (fchmod(fd, mode) < 0) {
			int r = -errno;

			unlinkat(dir_fd, temp, 0);
			return r;
		}
		*ret_fd = TAKE_FD(fd);
		*ret_temp = TAKE_PTR(temp);
		return 0;
	}
	return -EEXIST;
}

static int fd_write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_write_file(int dir_fd, const char *name, const void *data, size_t len, mode_t mode)
{
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *temp = NULL;
	int r;

	r = fd_create_temp(dir_fd, name, mode, &temp, &fd);
	if (r < 0)
		return r;
	r = fd_write_all(fd, data, len);
	if (r == 0 && renameat(dir_fd, temp, dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir_fd, temp, 0);
	return r;
}

int fd_make_dir(int dir_fd, const char *name, mode_t mode, int *ret_fd)
{
	AUTO_CLOSE int fd = -1;
	int made = mkdirat(dir_fd, name, mode);

	if (made < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* only what we made: the mode of another's directory is not ours to change */
	if (made == 0 && fchmod(fd, mode) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int fd_open_dir(int dir_fd, const char *path, DIR **ret)
{
	AUTO_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d)
		return -errno;
	fd = -1; /* closedir() closes it */
	*ret = d;
	return 0;
}

int fd_remove_files(int dir_fd, const char *except)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	int r;

	r = fd_open_dir(dir_fd, ".", &d);
	if (r < 0)
		return r;
	for (;;) {
		const struct dirent *e;

		errno = 0;
		e = readdir(d);
		if (!e)
			return -errno;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (except && strcmp(e->d_name, except) == 0)
			continue;
		if (unlinkat(dir_fd, e->d_name, 0) < 0 && errno != ENOENT)
			return -errno;
	}
}

int fd_remove_dir(int dir_fd, const char *name)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = fd_remove_files(fd, NULL);
	if (r < 0)
		return r;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}
