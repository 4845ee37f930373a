/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The key tables for tests/lint/keys, as JSON: one object per key, with its range in the words of a
 * message. Type= stands in no table, and is written by hand.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/daemon-conf.h"
#include "conf/device-conf.h"
#include "util/parse.h"

static const struct {
	conf_parse_fn parse;
	const char *type;
} types[] = {
	{conf_parse_bool, "boolean"},       {conf_parse_number, "number"},
	{conf_parse_size, "size"},          {conf_parse_duration, "time span"},
	{conf_parse_percent, "percentage"}, {conf_parse_enum, "word"},
	{conf_parse_flags, "words"},        {conf_parse_mode, "mode"},
	{conf_parse_path, "path"},
};

static const char *const changes[] = {
	[CONF_STOP] = "stop",
	[CONF_RESTART] = "restart",
	[CONF_LIVE] = "reload",
};

static bool first = true;

/* Those with a parser of their own are strings with some rules. */
static const char *get_type(const struct conf_key *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].parse == key->parse)
			return types[i].type;
	return "text";
}

static void print_text(const char *name, const char *text)
{
	if (text)
		printf(", \"%s\": \"%s\"", name, text);
	else
		printf(", \"%s\": null", name);
}

static void print_limit(const char *name, const struct conf_key *key, uint64_t n)
{
	char text[64];

	if (key->parse == conf_parse_size)
		format_size(n, text);
	else if (key->parse == conf_parse_duration)
		format_duration(n, text);
	else if (key->parse == conf_parse_mode)
		snprintf(text, sizeof(text), "%04" PRIo64, n);
	else
		snprintf(text, sizeof(text), "%" PRIu64, n);
	print_text(name, n > 0 ? text : NULL);
}

static void print_start(const char *page, const char *section, const char *with, const char *key)
{
	printf("%s{\"page\": \"%s\"", first ? "[" : ",\n", page);
	first = false;
	print_text("section", section);
	print_text("with", with);
	print_text("key", key);
}

static void print_key(const char *page, const char *section, const char *with,
		      const struct conf_key *key)
{
	print_start(page, section, with, key->name);
	print_text("type", get_type(key));
	print_limit("min", key, key->min);
	print_limit("max", key, key->max);
	printf(", \"names\": [");
	for (const struct conf_name *n = key->names; n && n->name; n++)
		printf("%s\"%s\"", n == key->names ? "" : ", ", n->name);
	printf("]");
	print_text("default", key->fallback);
	print_text("change", changes[key->change]);
	printf(", \"required\": %s}", key->required ? "true" : "false");
}

static void print_table(const char *page, const char *section, const char *with,
			const struct conf_key *keys)
{
	for (; keys->name; keys++)
		print_key(page, section, with, keys);
}

static void print_type(void)
{
	print_start("ublk.conf.5", "Backend", NULL, "Type");
	print_text("type", "word");
	printf(", \"min\": null, \"max\": null, \"names\": [");
	for (size_t i = 0; backend_conf_types[i]; i++)
		printf("%s\"%s\"", i > 0 ? ", " : "", backend_conf_types[i]->name);
	printf("], \"default\": null, \"change\": \"stop\", \"required\": true}");
}

int main(void)
{
	struct device_conf device = {.fault = &(struct fault_conf){0}};
	struct conf_section sections[DEVICE_SECTIONS_MAX], daemon[DAEMON_SECTIONS];
	struct conf_key common[DEVICE_COMMON_MAX];
	size_t n = device_conf_sections(&device, sections);

	for (size_t i = 0; i < n; i++)
		print_table("ublk.conf.5", sections[i].name, NULL, sections[i].keys);
	print_type();
	for (size_t i = 0; backend_conf_types[i]; i++)
		print_table("ublk.conf.5", "Backend", backend_conf_types[i]->name,
			    backend_conf_types[i]->keys);
	daemon_conf_sections(&(struct daemon_conf){0}, daemon);
	for (size_t i = 0; i < DAEMON_SECTIONS; i++)
		print_table("ublkd.conf.5", daemon[i].name, NULL, daemon[i].keys);
	device_conf_common_keys(common);
	print_table("ublkd.conf.5", "Defaults", NULL, common);
	printf("]\n");
	return EXIT_SUCCESS;
}
