/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/backend-conf.h"

#include "conf/conf.h"

static const struct conf_key no_keys[] = {
	{0},
};

static const struct conf_name null_fill_names[] = {
	{"zeros", NULL_FILL_ZEROS},
	{"none", NULL_FILL_NONE},
	{0},
};

static const struct conf_key null_keys[] = {
	{"Fill", conf_parse_enum, CONF_FIELD(struct null_conf, fill), .names = null_fill_names,
	 .fallback = "zeros", .change = CONF_RESTART},
	{0},
};

const struct backend_conf_type null_conf_type = {
	.name = "null",
	.keys = null_keys,
	.size = sizeof(struct null_conf),
	.needs_size = true,
};

const struct backend_conf_type memory_conf_type = {
	.name = "memory",
	.keys = no_keys,
	.size = sizeof(struct memory_conf),
	.needs_size = true,
};

static const struct conf_name create_names[] = {
	{"no", FILE_CREATE_NO},
	{"sparse", FILE_CREATE_SPARSE},
	{"prealloc", FILE_CREATE_PREALLOC},
	{0},
};

static const struct conf_name direct_io_names[] = {
	{"no", DIRECT_IO_NO},
	{"yes", DIRECT_IO_YES},
	{"auto", DIRECT_IO_AUTO},
	{0},
};

#define FIELD(field) CONF_FIELD(struct file_conf, field)

static const struct conf_key file_keys[] = {
	{"Path", conf_parse_path, FIELD(path), .required = true},
	{"Create", conf_parse_enum, FIELD(create), .names = create_names, .fallback = "no",
	 .change = CONF_LIVE},
	{"DirectIO", conf_parse_enum, FIELD(direct_io), .names = direct_io_names,
	 .fallback = "auto", .change = CONF_RESTART},
	{0},
};

const struct backend_conf_type file_conf_type = {
	.name = "file",
	.keys = file_keys,
	.size = sizeof(struct file_conf),
};

const struct backend_conf_type *const backend_conf_types[] = {
	&null_conf_type,
	&memory_conf_type,
	&file_conf_type,
	NULL,
};
