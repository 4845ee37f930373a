/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/device-conf.h"

#include <assert.h>
#include <string.h>

#define FIELD(field) CONF_FIELD(struct device_conf, field)

static const char alnum[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* Letters, digits, and the others, the first of which may also stand at the start. */
static int device_parse_word(const struct conf_value *v, const struct conf_key *key, void *field,
			     const char *others, size_t n_first, struct conf_diag *diag)
{
	const char *p = v->value;

	if (strchr(alnum, *p) || memchr(others, *p, n_first))
		p++;
	while (p > v->value && *p && (strchr(alnum, *p) || strchr(others, *p)))
		p++;
	if (*p) {
		conf_error(diag, &v->place,
			   "\"%s\" has more than letters, digits and %s, or starts with one that "
			   "only may follow",
			   v->value, others);
		return -EINVAL;
	}
	return conf_parse_string(v, key, field, diag);
}

/* Becomes ID_SERIAL and part of a link's name, which udev would change if it had other characters. */
static int device_parse_serial(const struct conf_value *v, const struct conf_key *key, void *field,
			       struct conf_diag *diag)
{
	return device_parse_word(v, key, field, "_.:-", 0, diag);
}

/* Stands in a file of properties and in a rule, where quotes and $ mean something. */
static int device_parse_user(const struct conf_value *v, const struct conf_key *key, void *field,
			     struct conf_diag *diag)
{
	return device_parse_word(v, key, field, "_.-", 1, diag);
}

static const struct conf_name copy_mode_names[] = {
	{"auto", COPY_MODE_AUTO},
	{"zero-copy", COPY_MODE_ZERO_COPY},
	{"user-copy", COPY_MODE_USER_COPY},
	{"copy", COPY_MODE_COPY},
	{0},
};

static const struct conf_name batch_io_names[] = {
	{"no", BATCH_IO_NO},
	{"yes", BATCH_IO_YES},
	{"auto", BATCH_IO_AUTO},
	{0},
};

static const struct conf_name recovery_mode_names[] = {
	{"reissue", RECOVERY_REISSUE},
	{"queue", RECOVERY_QUEUE},
	{"fail", RECOVERY_FAIL},
	{"none", RECOVERY_NONE},
	{0},
};

static const struct conf_name give_up_names[] = {
	{"keep", GIVE_UP_KEEP},
	{"fail", GIVE_UP_FAIL},
	{0},
};

static const struct conf_name no_limit_name[] = {
	{"0", 0},
	{0},
};

static const struct conf_name auto_name[] = {
	{"auto", 0},
	{0},
};

static const struct conf_name boot_option_names[] = {
	{"nofail", BOOT_NOFAIL},
	{"noauto", BOOT_NOAUTO},
	{"_netdev", BOOT_NETDEV},
	{"x-initrd.attach", BOOT_INITRD},
	{0},
};

static const struct conf_key device_keys[] = {
	{"Description", conf_parse_string, FIELD(description), .max = 256, .change = CONF_LIVE},
	{"Size", conf_parse_size, FIELD(size_bytes), .min = 512, .max = 1ULL << 62,
	 .change = CONF_LIVE},
	{"LogicalBlockSize", conf_parse_size, FIELD(logical_block_bytes), .min = 512,
	 .max = 64 << 10, .common = true},
	{"ReadOnly", conf_parse_bool, FIELD(read_only), .fallback = "no"},
	{"Rotational", conf_parse_bool, FIELD(rotational), .fallback = "no", .common = true},
	{"Serial", device_parse_serial, FIELD(serial), .max = 64, .change = CONF_LIVE},
	{0},
};

static const struct conf_key queues_keys[] = {
	{"Count", conf_parse_number, FIELD(n_queues), .min = 1, .max = 4096, .names = auto_name,
	 .fallback = "auto", .common = true},
	{"Depth", conf_parse_number, FIELD(depth), .min = 1, .max = 4096, .fallback = "128",
	 .common = true},
	{"MaxIO", conf_parse_size, FIELD(max_io_bytes), .min = 4096, .max = 32 << 20,
	 .names = auto_name, .fallback = "auto", .common = true},
	{"CopyMode", conf_parse_enum, FIELD(copy_mode), .names = copy_mode_names,
	 .fallback = "auto", .common = true},
	{"BatchIO", conf_parse_enum, FIELD(batch_io), .names = batch_io_names, .fallback = "auto",
	 .common = true},
	{"BufferMemory", conf_parse_size, FIELD(buffer_memory_bytes), .min = 1 << 20,
	 .fallback = "1G", .common = true},
	{"PollMicroseconds", conf_parse_number, FIELD(poll_us), .max = 10000, .fallback = "0",
	 .common = true, .change = CONF_RESTART},
	{0},
};

static const struct conf_key recovery_keys[] = {
	{"Mode", conf_parse_enum, FIELD(recovery_mode), .names = recovery_mode_names,
	 .fallback = "reissue", .common = true, .common_name = "RecoveryMode"},
	{"OnGiveUp", conf_parse_enum, FIELD(give_up), .names = give_up_names, .fallback = "keep",
	 .common = true, .change = CONF_LIVE},
	{0},
};

/* Less than a page a second would not do for the largest request within a quarter of an hour. */
static const struct conf_key limits_keys[] = {
	{"ReadBandwidth", conf_parse_size, FIELD(rates.read_bytes), .min = 4096,
	 .names = no_limit_name, .fallback = "0", .common = true, .change = CONF_LIVE},
	{"WriteBandwidth", conf_parse_size, FIELD(rates.write_bytes), .min = 4096,
	 .names = no_limit_name, .fallback = "0", .common = true, .change = CONF_LIVE},
	{"ReadIOPS", conf_parse_number, FIELD(rates.read_iops), .fallback = "0", .common = true,
	 .change = CONF_LIVE},
	{"WriteIOPS", conf_parse_number, FIELD(rates.write_iops), .fallback = "0", .common = true,
	 .change = CONF_LIVE},
	{0},
};

static const struct conf_key boot_keys[] = {
	{"Autostart", conf_parse_bool, FIELD(autostart), .fallback = "yes", .common = true,
	 .change = CONF_LIVE},
	{"Manager", conf_parse_bool, FIELD(manager), .fallback = "no", .common = true,
	 .change = CONF_LIVE},
	{"Options", conf_parse_flags, FIELD(boot_options), .names = boot_option_names,
	 .common = true, .change = CONF_LIVE},
	{0},
};

static const struct conf_key udev_keys[] = {
	{"Watch", conf_parse_bool, FIELD(watch), .fallback = "yes", .common = true,
	 .change = CONF_LIVE},
	{"Owner", device_parse_user, FIELD(owner), .max = 32, .common = true, .change = CONF_LIVE},
	{"Group", device_parse_user, FIELD(group), .max = 32, .common = true, .change = CONF_LIVE},
	{"Mode", conf_parse_mode, FIELD(mode), .max = 0777, .common = true, .change = CONF_LIVE},
	{0},
};

/* All that fills in struct device_conf itself, in the order of the man page. */
static const struct {
	const char *section;
	const struct conf_key *keys;
} device_tables[] = {
	{"Device", device_keys}, {"Queues", queues_keys}, {"Recovery", recovery_keys},
	{"Limits", limits_keys}, {"Boot", boot_keys},     {"Udev", udev_keys},
};

size_t device_conf_sections(const struct device_conf *c,
			    struct conf_section ret[static DEVICE_SECTIONS_MAX])
{
	size_t n = 0;

	static_assert(ARRAY_SIZE(device_tables) + 2 <= DEVICE_SECTIONS_MAX, "room for all tables");
	for (size_t i = 0; i < ARRAY_SIZE(device_tables); i++) {
		ret[n++] = (struct conf_section){.name = device_tables[i].section,
						 .keys = device_tables[i].keys,
						 .obj = (void *)c};
		if (i == 0 && c->backend)
			ret[n++] = (struct conf_section){.name = "Backend",
							 .keys = c->backend_type->keys,
							 .obj = c->backend};
	}
	if (c->fault)
		ret[n++] =
			(struct conf_section){.name = "Fault", .keys = fault_keys, .obj = c->fault};
	return n;
}

bool device_name_is_valid(const char *name)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";

	return name[0] && strchr(first, name[0]) && !name[strspn(name, rest)] &&
	       strlen(name) <= DEVICE_NAME_MAX && strcmp(name, "udev") != 0;
}

void device_conf_common_keys(struct conf_key ret_keys[static DEVICE_COMMON_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(device_tables); i++)
		for (const struct conf_key *k = device_tables[i].keys; k->name; k++)
			if (k->common) {
				assert(n < DEVICE_COMMON_MAX - 1);
				ret_keys[n] = *k;
				ret_keys[n++].name = k->common_name ?: k->name;
			}
	ret_keys[n] = (struct conf_key){0};
}

int device_conf_check_defaults(const struct conf_doc *doc, struct conf_diag *diag)
{
	struct conf_key keys[DEVICE_COMMON_MAX];
	struct device_conf scratch = {0};
	const struct conf_section section = {.name = "Defaults", .keys = keys, .obj = &scratch};
	int r;

	device_conf_common_keys(keys);
	r = conf_fill(doc, NULL, &section, diag);
	conf_clear(keys, &scratch);
	return r;
}
