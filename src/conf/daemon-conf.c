/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/daemon-conf.h"

#include <syslog.h>

#include "conf/device-conf.h"
#include "conf/search.h"

static const struct conf_name log_levels[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},     {0},
};

static const struct conf_key log_keys[] = {
	{"Level", conf_parse_enum, CONF_FIELD(struct daemon_conf, log_level), .names = log_levels,
	 .fallback = "info"},
	{0},
};

static int daemon_conf_read_files(struct conf_doc *doc, struct conf_diag *diag)
{
	AUTO(conf_files_deinit) struct conf_files files = {0};
	int r = conf_find_daemon(diag, &files);

	if (r < 0)
		return r;
	if (files.masked)
		return 0;
	if (files.main)
		r = conf_doc_read_file(doc, files.main, diag);
	for (size_t i = 0; r != -ENOMEM && i < files.n_drop_ins; i++) {
		int k = conf_doc_read_file(doc, files.drop_ins[i], diag);

		r = r < 0 ? r : k;
	}
	return r;
}

int daemon_conf_read(struct conf_doc *doc, struct conf_diag *diag, struct daemon_conf *ret)
{
	size_t n_reported = diag->n_reported;
	struct daemon_conf c = {0};
	struct conf_section log = {.name = "Log", .keys = log_keys, .obj = &c};
	struct conf_key defaults[DEVICE_COMMON_MAX];
	const struct conf_section sections[] = {log, {.name = "Defaults", .keys = defaults}};
	int r = daemon_conf_read_files(doc, diag);

	if (r < 0)
		return r;
	device_conf_common_keys(defaults);
	conf_check_names(doc, sections, ARRAY_SIZE(sections), diag);
	r = conf_fill(doc, NULL, &log, diag);
	if (r == 0)
		r = device_conf_check_defaults(doc, diag);
	if (r < 0)
		return r;
	if (diag->n_reported > n_reported)
		return -EUCLEAN;
	*ret = c;
	return 0;
}

int daemon_conf_load(struct conf_diag *diag, struct daemon_conf *ret)
{
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};
	int r = daemon_conf_read(&doc, diag, ret);

	conf_diag_sort(diag);
	return r;
}
