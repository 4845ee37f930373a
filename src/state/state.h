/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * /run/ublkd: what a server leaves for its successor, for udev and for ublkctl.
 *
 *	NAME/lock	held (flock) by the process that serves NAME, all its life
 *	NAME/state	KEY=VALUE lines, replaced atomically: struct state
 *	NAME/definition	what it serves, see state_write_definition()
 *	NAME/stats	counters, see stats.h
 *	NAME/reload	what came of the last reload
 *	udev/ublkbN	KEY=VALUE lines that the udev rule imports
 *
 * All functions are silent and for the main thread. A name is checked here only as far as it could
 * lead out of the directory or into udev/, which no device can be called: -EINVAL. The manager of
 * many devices has a directory too: .manager, with a lock and the last reload of its own. What the
 * files say is checked in full, since a process may die, or a file system fill up, at any moment.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/cleanup.h"

#define STATE_DIR     "/run/ublkd"
#define STATE_MANAGER ".manager"

/* STATE_DIR, or $UBLKD_STATE_DIR for tests. */
const char *state_dir(void);

struct state {
	uint32_t dev_id;
	char boot_id[33]; /* of the kernel that knows dev_id: 32 hexadecimal digits */
	uint64_t cookie;  /* our mark in the kernel's device, see state_cookie() */
	pid_t pid;        /* of the server */
	uint64_t flags;   /* negotiated, FEATURE_* */
	uint64_t digest;  /* of the definition */
	uint32_t
		takeover; /* 1: a server began to take the device over and has not come to the end */
	char *backend;    /* Type= */
	char *target;     /* what lies behind, for people: a path; may be empty */
	char *definition; /* path of the main file */
};

/* Frees what state_read() allocated; takes a zeroed struct too. */
void state_deinit(struct state *s);

/* The mark that ties a kernel device to a name: 64-bit FNV-1a of the name, never 0. It outlives the
 * program, so the function must not change. */
uint64_t state_cookie(const char *name);

/* The running kernel's boot id as 32 hexadecimal digits. */
int state_boot_id(char ret_id[static 33]);

/**
 * state_lock() - become the server of a name
 * @ret_fd:	keeps the lock until it is closed
 *
 * Makes the directories. Return: 0; 1: there was a server that ended without state_remove(), so it
 * may have left something; -EBUSY: another process serves it; else -errno.
 */
int state_lock(const char *name, int *ret_fd);

/* The pid that holds the lock; 0: nobody. -errno if that cannot be told: -EACCES if not root, -EAGAIN
 * if somebody is just taking it. */
int state_get_owner(const char *name, pid_t *ret_pid);

/* Only under the lock. */
int state_write(const char *name, const struct state *s);

/* 0; -ENOENT; -EBADMSG: not ours to understand; else -errno. */
int state_read(const char *name, struct state *ret_s);

/**
 * state_write_reload() - tell "ublkd reload", which waits for it, what came of a reload
 * @n:		how many reloads there were since the file was made, this one included
 * @result:	0 or -errno
 * @text:	one line for people; control characters become spaces, what is too long is cut
 *
 * Only under the lock.
 */
int state_write_reload(const char *name, uint64_t n, int result, const char *text);

/* 0, with a text to be freed; -ENOENT: there was none yet; -EBADMSG; else -errno. */
int state_read_reload(const char *name, uint64_t *ret_n, int *ret_result, char **ret_text);

/*
 * NAME/definition: the one in force, as text, so that a successor can go on with it whatever the
 * files in /etc say by then. Only under the lock.
 */
int state_write_definition(const char *name, const char *text, size_t len);
/* Where it is; returns buf. */
const char *state_definition_path(const char *name, char *buf, size_t size);

/* Removes NAME/ with all in it, and the udev file of dev_id (UINT32_MAX: there is none). Only under
 * the lock, which is kept until its fd is closed; another process may take the name at once. */
int state_remove(const char *name, uint32_t dev_id);

/* Names of devices that have a directory, sorted: NULL-terminated, for state_list_free(). */
int state_list(char ***ret_names);
char **state_list_free(char **names);
DEFINE_AUTO(char **, state_list_free);

struct udev_properties {
	const char *name;
	const char *backend;
	const char *serial; /* NULL: none */
	const char *owner;  /* NULL: udev's */
	const char *group;
	uint32_t mode; /* UINT32_MAX: udev's */
	bool watch;
};

/* -EINVAL if a value holds a quote, a backslash or a control character: udev would misread it. */
int state_write_udev(uint32_t dev_id, const struct udev_properties *p);

/* Only while the number is ours: 0, also if there is no such file. */
int state_remove_udev(uint32_t dev_id);
