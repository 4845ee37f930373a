/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What the files of this directory share. */
#include <stdbool.h>
#include <stdint.h>

/* Opens NAME/; with @make, makes it and what it stands in. -EINVAL: no name for a directory. */
int state_open_dir(const char *name, bool make, int *ret_fd);

/* Digits of the base (10 or 16) only, all of the string. 0; -EBADMSG. */
int state_parse_u64(const char *s, int base, uint64_t *ret);

/* 32 lower-case hexadecimal digits. */
bool state_boot_id_is_valid(const char *id);
