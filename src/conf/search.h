/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Where definitions are: in each directory of the search path, the one with the highest rank first.
 * UBLKD_CONFIG_PATH in the environment replaces the path (directories with colons between). Each
 * directory, /etc/ublk, has ublkd.conf beside it, /etc/ublkd.conf.
 */
#include <stdbool.h>
#include <stddef.h>

#include "conf/diag.h"

/* The directories, with colons between them, for messages. */
const char *conf_search_path(void);

/* Files that add up to one document. */
struct conf_files {
	char *main; /* NULL: there are only drop-ins */
	char **drop_ins;
	size_t n_drop_ins;
	bool masked; /* the main file is empty or leads to /dev/null */
};

void conf_files_deinit(struct conf_files *f);

static inline void conf_files_deinit_auto(struct conf_files *f)
{
	conf_files_deinit(f);
}

/**
 * conf_find_definition() - the files of a device
 *
 * Silent. The main file is that of the highest directory; drop-ins are those of all, by their base
 * names, of which again the highest counts, and an empty one for nothing.
 * Return: 0; -ENOENT: nothing of that name, -ENOMEM; else -errno, which is in @diag.
 */
int conf_find_definition(const char *name, struct conf_diag *diag, struct conf_files *ret);

/* The same for ublkd.conf; to have none is no error. */
int conf_find_daemon(struct conf_diag *diag, struct conf_files *ret);

/**
 * conf_list_definitions() - names that have a file NAME.conf or a directory NAME.conf.d
 * @diag:	gets an error for a file whose name is no device's; may be NULL
 * @ret:	sorted, NULL-terminated; each and the array to be freed: conf_strv_free()
 *
 * Silent. Return: 0; -ENOMEM; else -errno, which is in @diag.
 */
int conf_list_definitions(struct conf_diag *diag, char ***ret);

char **conf_strv_free(char **strings);
/* Appends @s, which it takes over, also on failure, to *@n strings. 0 or -ENOMEM. */
int conf_strv_push(char ***strings, size_t *n, char *s);
DEFINE_AUTO(char **, conf_strv_free);
