/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/daemon-conf.h"

#include <syslog.h>

#include "conf/device-conf.h"
#include "conf/search.h"
#include "util/parse.h"

static const struct conf_name log_levels[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},     {0},
};

#define FIELD(field) CONF_FIELD(struct daemon_conf, field)

static const struct conf_key log_keys[] = {
	{"Level", conf_parse_enum, FIELD(log_level), .names = log_levels, .fallback = "info"},
	{"SlowRequest", conf_parse_duration, FIELD(slow_request_ns), .min = NS_PER_S,
	 .max = 86400 * NS_PER_S, .fallback = "30s"},
	{0},
};

static const struct conf_name auto_name[] = {
	{"auto", 0},
	{0},
};

static const struct conf_key manager_keys[] = {
	{"Threads", conf_parse_number, FIELD(manager_threads), .min = 1, .max = 64,
	 .names = auto_name, .fallback = "auto"},
	{0},
};

void daemon_conf_sections(struct daemon_conf *c, struct conf_section ret[static DAEMON_SECTIONS])
{
	ret[0] = (struct conf_section){.name = "Log", .keys = log_keys, .obj = c};
	ret[1] = (struct conf_section){.name = "Manager", .keys = manager_keys, .obj = c};
}

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
	struct conf_key defaults[DEVICE_COMMON_MAX];
	struct conf_section sections[DAEMON_SECTIONS + 1];
	int r = daemon_conf_read_files(doc, diag);

	if (r < 0)
		return r;
	device_conf_common_keys(defaults);
	daemon_conf_sections(&c, sections);
	sections[DAEMON_SECTIONS] = (struct conf_section){.name = "Defaults", .keys = defaults};
	conf_check_names(doc, sections, ARRAY_SIZE(sections), diag);
	for (size_t i = 0; r == 0 && i < DAEMON_SECTIONS; i++)
		r = conf_fill(doc, NULL, &sections[i], diag);
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
