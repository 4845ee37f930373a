/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * The [Backend] section: one struct and one key table for each value of Type=. They stand here, not
 * with the backends, since the generator and ublkctl read definitions without linking what a
 * backend needs.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf_key;

enum null_fill {
	NULL_FILL_ZEROS,
	NULL_FILL_NONE,
};

struct null_conf {
	enum null_fill fill;
};

struct memory_conf {
	bool huge_pages;
};

enum file_create {
	FILE_CREATE_NO,
	FILE_CREATE_SPARSE,
	FILE_CREATE_PREALLOC,
};

enum direct_io {
	DIRECT_IO_NO,
	DIRECT_IO_YES,
	DIRECT_IO_AUTO,
};

struct file_conf {
	char *path;
	enum file_create create;
	enum direct_io direct_io;
};

enum nbd_structured {
	NBD_STRUCTURED_NO,
	NBD_STRUCTURED_YES,
	NBD_STRUCTURED_AUTO,
};

struct nbd_conf {
	char *uri;              /* NULL: the server is a program */
	char *command;          /* NULL: it is somewhere else */
	char *paths;            /* of the program; NULL: those that it is given */
	char *export;           /* NULL: the one of the URI, or the server's own choice */
	char *tls_certificates; /* directory; NULL: those that the system trusts, and none of our own */
	char *tls_psk_file;     /* NULL: certificates */
	char *tls_username;     /* whose key of that file; NULL: root's */
	char *tls_hostname;     /* in the server's certificate; NULL: the host of the URI */
	enum nbd_structured structured_replies;
	uint64_t timeout_ns; /* 0: for ever */
	uint64_t fence_ns;
};

struct rbd_conf {
	char *pool;
	char *namespace; /* NULL: none */
	char *image;
	char *snapshot; /* NULL: none */
	char *conf;
	char *user;
	uint64_t timeout_ns; /* 0: for ever */
};

struct backend_conf_type {
	const char *name;            /* value of Type= */
	const struct conf_key *keys; /* beside Type=; a zeroed entry ends the table */
	size_t size;                 /* bytes of the struct that those keys fill in */
	bool needs_size;             /* [Device] Size= is required */
};

extern const struct backend_conf_type null_conf_type;
extern const struct backend_conf_type memory_conf_type;
extern const struct backend_conf_type file_conf_type;
extern const struct backend_conf_type nbd_conf_type;
extern const struct backend_conf_type rbd_conf_type;

/* NULL-terminated. */
extern const struct backend_conf_type *const backend_conf_types[];
