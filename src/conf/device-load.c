/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Definitions from their files, and what is wrong in them beyond single values. */
#include <assert.h>
#include <string.h>

#include "conf/daemon-conf.h"
#include "conf/device-conf.h"
#include "conf/nbd-uri.h"
#include "conf/search.h"
#include "util/parse.h"

/* What a definition was read from. */
struct device_docs {
	struct conf_doc own;
	struct conf_doc defaults;
};

struct device_conf *device_conf_free(struct device_conf *c)
{
	struct conf_section sections[DEVICE_SECTIONS_MAX];
	size_t n;

	if (!c)
		return NULL;
	n = device_conf_sections(c, sections);
	for (size_t i = 0; i < n; i++)
		conf_clear(sections[i].keys, sections[i].obj);
	if (c->docs) {
		conf_doc_deinit(&c->docs->own);
		conf_doc_deinit(&c->docs->defaults);
	}
	free(c->docs);
	free(c->backend);
	free(c->fault);
	free(c->name);
	free(c->path);
	free(c);
	return NULL;
}

static int device_parse_type(const struct conf_value *v, const struct conf_key *key, void *field,
			     struct conf_diag *diag)
{
	const struct backend_conf_type **type = field;
	char known[64] = "";
	size_t len = 0;

	for (size_t i = 0; backend_conf_types[i]; i++) {
		if (strcmp(backend_conf_types[i]->name, v->value) == 0) {
			*type = backend_conf_types[i];
			return 0;
		}
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i > 0 ? ", " : "",
					backend_conf_types[i]->name);
		assert(len < sizeof(known));
	}
	conf_error(diag, &v->place, "\"%s\" is not known to this version; values are: %s", v->value,
		   known);
	return -EINVAL;
}

#define FIELD(field) CONF_FIELD(struct device_conf, field)

static const struct conf_key type_keys[] = {
	{"Type", device_parse_type, FIELD(backend_type), .required = true},
	{0},
};

static const struct conf_value *device_find(const struct device_docs *docs, const char *section,
					    const char *key)
{
	struct conf_section sections[DEVICE_SECTIONS_MAX];
	size_t n = device_conf_sections(&(struct device_conf){0}, sections);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(sections[i].name, section) != 0)
			continue;
		for (const struct conf_key *k = sections[i].keys; k->name; k++)
			if (strcmp(k->name, key) == 0)
				return conf_find(&docs->own, &docs->defaults, section, k);
	}
	return conf_doc_find(&docs->own, section, key);
}

/* Where a value came from, or where it is missing. */
static struct conf_place device_place(const struct device_docs *docs, const char *section,
				      const char *key)
{
	const struct conf_value *v = device_find(docs, section, key);

	if (!v)
		v = conf_doc_find(&docs->own, section, key); /* "Key=" */
	if (v)
		return v->place;
	return (struct conf_place){.file = docs->own.files[0], .section = section, .key = key};
}

struct conf_place device_conf_place(const struct device_conf *c, const char *section,
				    const char *key)
{
	return device_place(c->docs, section, key);
}

static void device_verify_sizes(const struct device_conf *c, const struct device_docs *docs,
				struct conf_diag *diag)
{
	uint32_t page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	uint32_t block = c->logical_block_bytes;
	char text[2][SIZE_TEXT_MAX];
	struct conf_place place;

	place = device_place(docs, "Device", "LogicalBlockSize");
	if (block & (block - 1)) {
		conf_error(diag, &place, "%s is not a power of two", format_size(block, text[0]));
		block = 0;
	} else if (block > page_bytes) {
		conf_error(diag, &place, "%s is above the page size of this machine, %s",
			   format_size(block, text[0]), format_size(page_bytes, text[1]));
	}

	place = device_place(docs, "Device", "Size");
	if (c->size_bytes % (block > 0 ? block : 512) != 0)
		conf_error(diag, &place, "%s is not a multiple of the logical block size, %s",
			   format_size(c->size_bytes, text[0]),
			   block > 0 ? format_size(block, text[1]) : "at least 512");

	place = device_place(docs, "Queues", "MaxIO");
	if (c->max_io_bytes % page_bytes != 0)
		conf_error(diag, &place, "%s is not a multiple of the page size, %s",
			   format_size(c->max_io_bytes, text[0]), format_size(page_bytes, text[1]));
}

/* Nothing is sent in the clear that was meant not to be, and to nobody whose name is not known. */
static void device_verify_tls(const struct nbd_conf *nbd, const struct nbd_uri *uri,
			      const struct device_docs *docs, struct conf_diag *diag)
{
	const char *const values[] = {nbd->tls_certificates, nbd->tls_psk_file, nbd->tls_username,
				      nbd->tls_hostname};
	static const char *const keys[] = {"TlsCertificates", "TlsPskFile", "TlsUsername",
					   "TlsHostname"};
	struct conf_place place;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		place = device_place(docs, "Backend", keys[i]);
		if (values[i] && !uri->tls)
			conf_error(diag, &place, "is for URIs with TLS, that begin with nbds");
		else if (values[i] && i != 1 && (i == 2) != (nbd->tls_psk_file != NULL))
			conf_error(diag, &place, "is %s TlsPskFile=",
				   i == 2 ? "only for" : "for certificates, and there is");
	}
	place = device_place(docs, "Backend", "Uri");
	if (uri->tls && !uri->host && !nbd->tls_psk_file && !nbd->tls_hostname)
		conf_error(diag, &place,
			   "names no host, so that it takes TlsHostname= to know whose "
			   "certificate is the right one");
}

/* Which of its keys go together. */
static void device_verify_nbd(const struct nbd_conf *nbd, const struct device_docs *docs,
			      struct conf_diag *diag)
{
	struct conf_place place = device_place(docs, "Backend", "Uri");
	AUTO(nbd_uri_deinit) struct nbd_uri uri = {0};
	const char *why;
	/* Values that could not be parsed have had their message. */
	const bool has_uri = device_find(docs, "Backend", "Uri");
	const bool has_command = device_find(docs, "Backend", "Command");

	if (!has_uri && !has_command)
		conf_error(diag, &place, "is required with Type=nbd, unless there is Command=");
	if (has_uri && has_command)
		conf_error(diag, &place, "contradicts Command=: the server is one or the other");
	if (nbd->paths && !has_command) {
		place = device_place(docs, "Backend", "Paths");
		conf_error(diag, &place, "is for Command= only");
	}
	if (nbd->uri && nbd_uri_parse(nbd->uri, &uri, &why) < 0)
		return;
	if (nbd->export && uri.export && *uri.export) {
		place = device_place(docs, "Backend", "Export");
		conf_error(diag, &place, "Uri= names an export, too");
	}
	if (nbd->uri || has_command)
		device_verify_tls(nbd, &uri, docs, diag);
}

static void device_verify_backend(const struct device_conf *c, const struct device_docs *docs,
				  struct conf_diag *diag)
{
	struct conf_place place = device_place(docs, "Device", "Size");
	/* A value that could not be parsed has had its message. */
	bool has_size = device_find(docs, "Device", "Size") != NULL;
	const struct file_conf *file;

	if (c->backend_type->needs_size && !has_size)
		conf_error(diag, &place, "is required with Type=%s", c->backend_type->name);
	if (c->backend_type == &nbd_conf_type)
		device_verify_nbd(c->backend, docs, diag);
	if (c->backend_type != &file_conf_type)
		return;
	file = c->backend;
	if (file->create != FILE_CREATE_NO && !has_size)
		conf_error(diag, &place, "is required with Create=%s",
			   file->create == FILE_CREATE_SPARSE ? "sparse" : "prealloc");
	if (file->create != FILE_CREATE_NO && c->read_only) {
		place = device_place(docs, "Backend", "Create");
		conf_warning(diag, &place, "makes nothing for a device with ReadOnly=yes");
	}
}

static bool device_needs_network(const struct device_conf *c)
{
	const struct nbd_conf *nbd = c->backend;

	if (c->backend_type == &rbd_conf_type)
		return true;
	return c->backend_type == &nbd_conf_type && nbd->uri && nbd_uri_is_remote(nbd->uri);
}

/* noauto is fstab's word for Autostart=no. A server on the network is what _netdev says. */
static void device_verify_boot(struct device_conf *c, const struct device_docs *docs,
			       struct conf_diag *diag)
{
	const struct conf_value *autostart = conf_doc_find(&docs->own, "Boot", "Autostart");
	struct conf_place place = device_place(docs, "Boot", "Options");

	if (device_needs_network(c))
		c->boot_options |= BOOT_NETDEV;
	if (!(c->boot_options & BOOT_NOAUTO))
		return;
	if (c->autostart && autostart && *autostart->value)
		conf_error(diag, &place, "noauto contradicts Autostart=%s in line %u of %s",
			   autostart->value, autostart->place.line, autostart->place.file);
	c->autostart = false;
}

/* Tables that need not apply are known all the same, for the sake of messages. */
static size_t device_other_sections(const struct device_conf *c, struct conf_section *sections)
{
	size_t n = 0;

	for (size_t i = 0; backend_conf_types[i]; i++) {
		const struct backend_conf_type *type = backend_conf_types[i];

		if (c->backend_type != type)
			sections[n++] = (struct conf_section){
				.name = "Backend",
				.keys = type->keys,
				.only_with = c->backend_type ? type->name : NULL,
			};
	}
	sections[n++] = (struct conf_section){.name = "Fault", .keys = fault_keys};
	return n;
}

/* The parts that are there only if a definition asks for them. */
static int device_conf_make_parts(struct device_conf *c, const struct device_docs *docs,
				  struct conf_diag *diag)
{
	const struct conf_value *fault = conf_doc_find_section(&docs->own, "Fault");

	if (c->backend_type) {
		c->backend = calloc(1, c->backend_type->size);
		if (!c->backend)
			return -ENOMEM;
	}
	if (fault) {
		c->fault = calloc(1, sizeof(*c->fault));
		if (!c->fault)
			return -ENOMEM;
		conf_warning(diag, &fault->place,
			     "this device fails on purpose, and may lose what is written to it");
	}
	return 0;
}

static int device_conf_fill(struct device_conf *c, const struct device_docs *docs,
			    struct conf_diag *diag)
{
	struct conf_section sections[DEVICE_SECTIONS_MAX + 8];
	const struct conf_section type = {.name = "Backend", .keys = type_keys, .obj = c};
	size_t n;
	int r = conf_fill(&docs->own, NULL, &type, diag);

	if (r == 0)
		r = device_conf_make_parts(c, docs, diag);
	if (r < 0)
		return r;
	n = device_conf_sections(c, sections);
	for (size_t i = 0; i < n && r == 0; i++)
		r = conf_fill(&docs->own, &docs->defaults, &sections[i], diag);
	if (r < 0)
		return r;
	sections[n++] = type;
	n += device_other_sections(c, sections + n);
	assert(n <= ARRAY_SIZE(sections));
	conf_check_names(&docs->own, sections, n, diag);
	device_verify_sizes(c, docs, diag);
	if (c->backend_type)
		device_verify_backend(c, docs, diag);
	device_verify_boot(c, docs, diag);
	return 0;
}

static int device_read_files(const struct conf_files *files, bool with_defaults,
			     struct device_docs *docs, struct conf_diag *diag)
{
	struct daemon_conf unused;
	int r = with_defaults ? daemon_conf_read(&docs->defaults, diag, &unused) : 0;

	if (r == -EUCLEAN) /* noted in diag, as what follows will be */
		r = 0;
	if (files->main && r != -ENOMEM) {
		int k = conf_doc_read_file(&docs->own, files->main, diag);

		r = r < 0 ? r : k;
	}
	for (size_t i = 0; r != -ENOMEM && i < files->n_drop_ins; i++) {
		int k = conf_doc_read_file(&docs->own, files->drop_ins[i], diag);

		r = r < 0 ? r : k;
	}
	/* A link to nowhere: -ENOENT is for a name that has no file at all. */
	return r == -ENOENT ? -EUCLEAN : r;
}

static int device_conf_new(const char *name, const struct conf_files *files, bool with_defaults,
			   struct conf_diag *diag, struct device_conf **ret)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;
	size_t n_reported = diag->n_reported;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->docs = calloc(1, sizeof(*c->docs));
	if (!c->docs)
		return -ENOMEM;
	c->mode = UINT32_MAX;
	c->name = strdup(name);
	c->path = files->main ? strdup(files->main) : NULL;
	if (!c->name || (files->main && !c->path))
		return -ENOMEM;

	r = device_read_files(files, with_defaults, c->docs, diag);
	/* Nothing but masked drop-ins is no definition. */
	if (r == 0 && c->docs->own.n_files == 0)
		r = -ENOENT;
	if (r == 0)
		r = device_conf_fill(c, c->docs, diag);
	if (r == 0 && diag->n_reported > n_reported)
		r = -EUCLEAN;
	conf_diag_sort(diag);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

int device_conf_load(const char *name, struct conf_diag *diag, struct device_conf **ret)
{
	AUTO(conf_files_deinit) struct conf_files files = {0};
	struct conf_place nowhere = {0};
	int r;

	if (!device_name_is_valid(name)) {
		conf_error(diag, &nowhere, "\"%s\" is no name for a device", name);
		return -EUCLEAN;
	}
	r = conf_find_definition(name, diag, &files);
	if (r < 0)
		return r;
	if (files.masked)
		return -ERFKILL;
	return device_conf_new(name, &files, true, diag, ret);
}

int device_conf_load_file(const char *path, const char *name, struct conf_diag *diag,
			  struct device_conf **ret)
{
	/* Only borrows. */
	const struct conf_files files = {.main = (char *)path};
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	AUTO_FREE char *base_name = NULL;
	size_t len = strlen(base);

	if (len > 5 && strcmp(base + len - 5, ".conf") == 0)
		len -= 5;
	base_name = strndup(base, len);
	if (!base_name)
		return -ENOMEM;
	if (!name && !device_name_is_valid(base_name)) {
		struct conf_place place = {.file = path};

		conf_error(diag, &place, "\"%s\" is no name for a device", base_name);
		return -EUCLEAN;
	}
	return device_conf_new(name ? name : base_name, &files, true, diag, ret);
}

int device_conf_load_kept(const char *path, const char *name, struct conf_diag *diag,
			  struct device_conf **ret)
{
	/* Only borrows. */
	const struct conf_files files = {.main = (char *)path};

	return device_conf_new(name, &files, false, diag, ret);
}

int device_conf_list(struct conf_diag *diag, char ***ret)
{
	return conf_list_definitions(diag, ret);
}
