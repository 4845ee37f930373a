/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * A definition, /etc/ublk/NAME.conf, as its reader leaves it: every key has a value, from the file,
 * a drop-in, [Defaults] of ublkd.conf, or its built-in default.
 */
#include <stdbool.h>
#include <stdint.h>

#include "conf/backend-conf.h"
#include "conf/conf.h"
#include "conf/fault-conf.h"
#include "util/cleanup.h"

#define DEVICE_NAME_MAX 63

enum copy_mode {
	COPY_MODE_AUTO,
	COPY_MODE_ZERO_COPY,
	COPY_MODE_USER_COPY,
	COPY_MODE_COPY,
};

enum batch_io {
	BATCH_IO_NO,
	BATCH_IO_YES,
	BATCH_IO_AUTO,
};

/* What becomes of a device whose server died. */
enum recovery_mode {
	RECOVERY_REISSUE, /* its users wait; requests that were at work are done again */
	RECOVERY_QUEUE,   /* its users wait; requests that were at work fail */
	RECOVERY_FAIL,    /* its requests fail until the next server is there */
	RECOVERY_NONE,    /* it goes with its server */
};

/* And what, if no other server takes it over. */
enum give_up {
	GIVE_UP_KEEP,
	GIVE_UP_FAIL,
};

/* Per second; 0: no limit. */
struct rate_limits {
	uint64_t read_bytes;
	uint64_t write_bytes;
	uint64_t read_iops;
	uint64_t write_iops;
};

enum boot_option {
	BOOT_NOFAIL = 1 << 0,
	BOOT_NOAUTO = 1 << 1,
	BOOT_NETDEV = 1 << 2,
	BOOT_INITRD = 1 << 3,
};

struct device_conf {
	char *name;
	char *path; /* of the main file; NULL if the definition consists of drop-ins only */

	/* [Device] */
	char *description;            /* NULL: none */
	uint64_t size_bytes;          /* 0: what the backend has */
	uint32_t logical_block_bytes; /* 0: what the backend prefers */
	bool read_only;
	bool rotational;
	char *serial; /* NULL: none */

	/* [Backend] */
	const struct backend_conf_type *backend_type;
	void *backend; /* of backend_type->size bytes */

	/* [Queues] */
	uint32_t n_queues; /* 0: auto */
	uint32_t depth;
	uint32_t max_io_bytes; /* 0: auto */
	enum copy_mode copy_mode;
	enum batch_io batch_io;
	uint64_t buffer_memory_bytes; /* for all buffers of a device */
	uint32_t poll_us;             /* 0: sleep at once */

	/* [Recovery] */
	enum recovery_mode recovery_mode;
	enum give_up give_up;

	/* [Limits] */
	struct rate_limits rates;

	/* [Boot] */
	bool autostart;
	bool manager;          /* "ublkd manage" serves it */
	unsigned boot_options; /* enum boot_option */

	/* [Udev] */
	bool watch;
	char *owner; /* NULL: udev's */
	char *group;
	uint32_t mode; /* UINT32_MAX: udev's */

	struct fault_conf *fault; /* NULL: there is no [Fault] */

	struct device_docs *docs; /* what it was read from: device_conf_place() */
};

/**
 * device_conf_load() - find, read, merge and check a definition
 * @name:	of the device; looked for in /etc/ublk, /run/ublk and /usr/lib/ublk, with drop-ins
 * @diag:	gets every error, and the warnings
 * @ret:	the definition, to be freed with device_conf_free()
 *
 * Silent. Return: 0; -ENOENT: no such definition; -EUCLEAN: errors are in @diag (a bad @name is
 * one); -ERFKILL: masked; -ENOMEM; else -errno of a failed read, with the file named in @diag.
 */
int device_conf_load(const char *name, struct conf_diag *diag, struct device_conf **ret);

/**
 * device_conf_load_file() - the same for one file outside the search path, without drop-ins
 * @path:	the name of the device is its base name without ".conf"
 * @name:	takes the place of that name; NULL: a base name that is no device's is an error
 *
 * [Defaults] of ublkd.conf count here, too.
 */
int device_conf_load_file(const char *path, const char *name, struct conf_diag *diag,
			  struct device_conf **ret);

/**
 * device_conf_load_kept() - read what device_conf_print() wrote
 *
 * No drop-ins and no [Defaults]: the result is what was printed, with the same digest.
 * Return: as device_conf_load_file().
 */
int device_conf_load_kept(const char *path, const char *name, struct conf_diag *diag,
			  struct device_conf **ret);

/* All that is in force, as a definition. Silent: 0; -ENOMEM; -EIO: the stream has an error. */
int device_conf_print(const struct device_conf *c, FILE *f);

/**
 * device_conf_list() - names of all definitions in the search path, masked ones included
 * @diag:	gets an error for each file whose name is no device's; may be NULL
 * @ret:	sorted, NULL-terminated, to be freed with conf_strv_free() of conf/search.h
 *
 * Silent. Return: 0; -ENOMEM; else -errno of a directory, which is in @diag.
 */
int device_conf_list(struct conf_diag *diag, char ***ret);

/* Where a value came from; line 0: nowhere, the file is the one to write it into. */
struct conf_place device_conf_place(const struct device_conf *c, const char *section,
				    const char *key);

/*
 * conf_digest_text() of what device_conf_print() writes: two definitions that mean the same have the
 * same one. 0: no memory. What another version has printed is to be compared as text.
 */
uint64_t device_conf_digest(const struct device_conf *c);

/*
 * Keys that differ, "Depth=, MaxIO="; NULL: none. One that several sections have stands with its
 * section, a whole section as "[Fault]".
 */
struct conf_changes {
	char *taken;
	char *restart; /* left as they were until a restart */
	char *stop;    /* left as they were until a stop and a start */
};

void conf_changes_deinit(struct conf_changes *c);
DEFINE_AUTO(struct conf_changes *, conf_changes_deinit);

/**
 * device_conf_adopt() - take over what may change now
 * @from:	a definition of the same device
 * @least:	class of the keys to be taken: CONF_LIVE, or CONF_RESTART for both
 * @ret:	for conf_changes_deinit()
 *
 * Of another Type= none of the keys of [Backend] is compared. Places are still those of @to.
 * Silent. Return: 0; -ENOMEM: nothing was taken.
 */
int device_conf_adopt(struct device_conf *to, const struct device_conf *from,
		      enum conf_change least, struct conf_changes *ret);

struct device_conf *device_conf_free(struct device_conf *c);
DEFINE_AUTO(struct device_conf *, device_conf_free);

/* NAME: [a-z0-9][a-z0-9_.-]{0,62}, but not "udev", which is no device's in /run/ublkd */
bool device_name_is_valid(const char *name);

/* For the reader of ublkd.conf: the keys of [Defaults], and whether their values are right. */
#define DEVICE_COMMON_MAX 32

void device_conf_common_keys(struct conf_key ret_keys[static DEVICE_COMMON_MAX]);
int device_conf_check_defaults(const struct conf_doc *doc, struct conf_diag *diag);

/* All tables and what they fill in, as the man page has them; Type= stands in none. */
#define DEVICE_SECTIONS_MAX 10

size_t device_conf_sections(const struct device_conf *c,
			    struct conf_section ret[static DEVICE_SECTIONS_MAX]);
