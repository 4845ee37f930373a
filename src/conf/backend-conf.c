/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/backend-conf.h"

#include <errno.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/nbd-uri.h"
#include "conf/nbd-words.h"
#include "conf/search.h"
#include "util/parse.h"

#define RBD_NAME_MAX 95 /* of an image, says librbd; each of the others may be as long */

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

static const struct conf_key memory_keys[] = {
	{"HugePages", conf_parse_bool, CONF_FIELD(struct memory_conf, huge_pages), .fallback = "no",
	 .change = CONF_RESTART},
	{0},
};

const struct backend_conf_type memory_conf_type = {
	.name = "memory",
	.keys = memory_keys,
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

#undef FIELD
#define FIELD(field) CONF_FIELD(struct nbd_conf, field)

static int conf_parse_nbd_uri(const struct conf_value *v, const struct conf_key *key, void *field,
			      struct conf_diag *diag)
{
	AUTO(nbd_uri_deinit) struct nbd_uri uri = {0};
	const char *why = NULL;
	char **text = field, *copy;
	int r = nbd_uri_parse(v->value, &uri, &why);

	if (r == -EINVAL)
		conf_error(diag, &v->place, "\"%s\" is no URI of an NBD server: %s", v->value, why);
	if (r < 0)
		return r;
	copy = strdup(v->value);
	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int conf_parse_words(const struct conf_value *v, char **field, struct conf_diag *diag,
			    char ***ret_words)
{
	AUTO(conf_strv_free) char **words = NULL;
	const char *why = NULL;
	char *copy;
	int r = nbd_words_split(v->value, &words, &why);

	if (r == -EINVAL)
		conf_error(diag, &v->place, "it cannot be split into words: %s", why);
	if (r < 0)
		return r;
	copy = strdup(v->value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	*ret_words = TAKE_PTR(words);
	return 0;
}

static int conf_parse_nbd_command(const struct conf_value *v, const struct conf_key *key,
				  void *field, struct conf_diag *diag)
{
	AUTO(conf_strv_free) char **words = NULL;
	int r = conf_parse_words(v, field, diag, &words);

	if (r < 0)
		return r;
	if (**words && (**words == '/' || !strchr(*words, '/')))
		return 0;
	conf_error(diag, &v->place, "\"%s\" is neither the absolute path nor the name of a program",
		   *words);
	return -EINVAL;
}

static int conf_parse_nbd_paths(const struct conf_value *v, const struct conf_key *key, void *field,
				struct conf_diag *diag)
{
	AUTO(conf_strv_free) char **words = NULL;
	int r = conf_parse_words(v, field, diag, &words);

	for (char **w = words; r == 0 && *w; w++) {
		AUTO_FREE char *path = NULL;

		r = parse_path(*w, &path);
		if (r == -EINVAL || r == -ENAMETOOLONG) {
			conf_error(diag, &v->place, "\"%s\" is no absolute path without \"..\"",
				   *w);
			r = -EINVAL;
		}
	}
	return r;
}

/* Of a time that has no end, which a field has as 0. */
static const struct conf_name infinity_names[] = {
	{"infinity", 0},
	{0},
};

/* Of one that is not there. */
static const struct conf_name no_names[] = {
	{"no", 0},
	{0},
};

static const struct conf_name nbd_structured_names[] = {
	{"no", NBD_STRUCTURED_NO},
	{"yes", NBD_STRUCTURED_YES},
	{"auto", NBD_STRUCTURED_AUTO},
	{0},
};

static const struct conf_key nbd_keys[] = {
	{"Uri", conf_parse_nbd_uri, FIELD(uri), .change = CONF_RESTART},
	{"Command", conf_parse_nbd_command, FIELD(command), .change = CONF_RESTART},
	{"Paths", conf_parse_nbd_paths, FIELD(paths), .change = CONF_RESTART},
	{"Export", conf_parse_string, FIELD(export), .max = 4096, .change = CONF_RESTART},
	{"TlsCertificates", conf_parse_path, FIELD(tls_certificates), .change = CONF_RESTART},
	{"TlsPskFile", conf_parse_path, FIELD(tls_psk_file), .change = CONF_RESTART},
	{"TlsUsername", conf_parse_string, FIELD(tls_username), .change = CONF_RESTART},
	{"TlsHostname", conf_parse_string, FIELD(tls_hostname), .change = CONF_RESTART},
	{"StructuredReplies", conf_parse_enum, FIELD(structured_replies),
	 .names = nbd_structured_names, .fallback = "auto", .change = CONF_RESTART},
	{"Timeout", conf_parse_duration, FIELD(timeout_ns), .names = infinity_names,
	 .min = 1000000000, .fallback = "5min", .change = CONF_RESTART},
	{"Fence", conf_parse_duration, FIELD(fence_ns), .names = no_names, .fallback = "no",
	 .change = CONF_RESTART},
	{0},
};

const struct backend_conf_type nbd_conf_type = {
	.name = "nbd",
	.keys = nbd_keys,
	.size = sizeof(struct nbd_conf),
};

#undef FIELD
#define FIELD(field) CONF_FIELD(struct rbd_conf, field)

static int conf_parse_rbd_name(const struct conf_value *v, const struct conf_key *key, void *field,
			       struct conf_diag *diag)
{
	/* What stands between them where they are written in one: pool/namespace/image@snapshot. */
	if (strpbrk(v->value, "/@")) {
		conf_error(diag, &v->place,
			   "\"%s\" has a / or @, which no name has: Pool=, Namespace=, Image= and "
			   "Snapshot= have one name each",
			   v->value);
		return -EINVAL;
	}
	return conf_parse_string(v, key, field, diag);
}

static const struct conf_key rbd_keys[] = {
	{"Pool", conf_parse_rbd_name, FIELD(pool), .max = RBD_NAME_MAX, .fallback = "rbd"},
	{"Namespace", conf_parse_rbd_name, FIELD(namespace), .max = RBD_NAME_MAX},
	{"Image", conf_parse_rbd_name, FIELD(image), .max = RBD_NAME_MAX, .required = true},
	{"Snapshot", conf_parse_rbd_name, FIELD(snapshot), .max = RBD_NAME_MAX},
	{"Conf", conf_parse_path, FIELD(conf), .fallback = "/etc/ceph/ceph.conf",
	 .change = CONF_RESTART},
	{"User", conf_parse_string, FIELD(user), .max = RBD_NAME_MAX, .fallback = "admin",
	 .change = CONF_RESTART},
	{"Timeout", conf_parse_duration, FIELD(timeout_ns), .names = infinity_names,
	 .min = 1000000000, .fallback = "5min", .change = CONF_RESTART},
	{0},
};

const struct backend_conf_type rbd_conf_type = {
	.name = "rbd",
	.keys = rbd_keys,
	.size = sizeof(struct rbd_conf),
};

const struct backend_conf_type *const backend_conf_types[] = {
	&null_conf_type, &memory_conf_type, &file_conf_type, &nbd_conf_type, &rbd_conf_type, NULL,
};
