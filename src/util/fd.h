/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Files and directories. @dir_fd is a directory, or AT_FDCWD; every function is silent, does not
 * depend on the umask, and opens with O_CLOEXEC.
 */
#include <dirent.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/cleanup.h"

static inline void auto_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define AUTO_CLOSEDIR __attribute__((cleanup(auto_closedir)))

/**
 * fd_read_file() - read a small file whole
 * @max_bytes:	refuse more
 * @ret:	contents, with a NUL behind them; to be freed
 * @ret_len:	bytes without that NUL; may be NULL
 *
 * Files of /proc and /sys, which say that they are empty, are read too. Return: 0; -EFBIG; -errno.
 */
int fd_read_file(int dir_fd, const char *path, size_t max_bytes, char **ret, size_t *ret_len);

/**
 * fd_write_file() - replace a file in one step
 *
 * Readers see the old contents or the new, never a part. Nothing is synced: that is for /run. What
 * a killed writer leaves is called .#NAME.XXXXXX.
 */
int fd_write_file(int dir_fd, const char *name, const void *data, size_t len, mode_t mode);

/**
 * fd_create_temp() - create a file under another name, to be filled first
 * @ret_temp:	that name in the same directory, to be renamed or unlinked, and freed
 */
int fd_create_temp(int dir_fd, const char *name, mode_t mode, char **ret_temp, int *ret_fd);

/* Make a directory, or take the one that is there, and open it. A symbolic link is refused. */
int fd_make_dir(int dir_fd, const char *name, mode_t mode, int *ret_fd);

/* A stream of the directory of its own; @dir_fd stays the caller's. */
int fd_open_dir(int dir_fd, const char *path, DIR **ret);

/* Remove all files of a directory but one (NULL: all). A directory in it is -EISDIR or -EPERM. */
int fd_remove_files(int dir_fd, const char *except);

/* Remove a directory that holds files only. 0 also if it is not there. */
int fd_remove_dir(int dir_fd, const char *name);
