/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The schema of list --json and status --json, which ublkctl(8) documents: a key once there stays,
 * with its type; what is not known or does not apply is null, never left out.
 */
#include <inttypes.h>
#include <libudev.h>
#include <stdio.h>

#include "abi/features.h"
#include "abi/io-cmd.h"
#include "cli/output.h"
#include "cli/show.h"

static void add_text(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value && *value ? output_json_text(value) : NULL);
}

static void add_u64(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

/* null unless it is known. */
static void add_u64_if(struct json_object *o, const char *key, bool is_known, uint64_t value)
{
	json_object_object_add(o, key, is_known ? json_object_new_uint64(value) : NULL);
}

static void add_bool_if(struct json_object *o, const char *key, bool is_known, bool value)
{
	json_object_object_add(o, key, is_known ? json_object_new_boolean(value) : NULL);
}

static struct json_object *show_holders_json(const struct holders *h)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < h->n; i++) {
		struct json_object *o = json_object_new_object();

		add_text(o, "kind", holder_kind_to_string(h->items[i].kind));
		add_text(o, "text", h->items[i].text);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *show_features_json(uint64_t flags)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < n_features; i++) {
		if (flags & features[i].flag)
			json_object_array_add(list, json_object_new_string(features[i].name));
	}
	return list;
}

struct json_object *show_device_json(const struct survey_device *d, const struct holders *h)
{
	const bool has_info = d->has_dev && d->info_error == 0;
	struct json_object *o = json_object_new_object();
	char node[32] = "";

	if (d->has_disk)
		snprintf(node, sizeof(node), "/dev/ublkb%" PRIu32, d->dev_id);
	add_text(o, "name", d->name);
	add_text(o, "state", survey_state(d));
	add_text(o, "kernel_state", has_info ? dev_state_to_string(d->info.state) : NULL);
	add_u64_if(o, "id", d->has_dev, d->dev_id);
	add_text(o, "node", node);
	add_u64_if(o, "size_bytes", show_size_bytes(d) != 0, show_size_bytes(d));
	add_text(o, "backend", show_backend(d));
	add_text(o, "target", d->has_state ? d->state.target : NULL);
	add_text(o, "definition", show_definition(d));
	add_u64_if(o, "queues", has_info, d->info.n_queues);
	add_u64_if(o, "depth", has_info, d->info.depth);
	add_u64_if(o, "max_io_bytes", has_info, d->info.max_io_bytes);
	add_u64_if(o, "owner_uid", has_info, d->info.owner_uid);
	add_u64_if(o, "owner_gid", has_info, d->info.owner_gid);
	json_object_object_add(o, "features", has_info ? show_features_json(d->info.flags) : NULL);
	add_u64_if(o, "server_pid", survey_server(d) != 0, (uint64_t)survey_server(d));
	add_bool_if(o, "locked", d->owner_error == 0, d->owner > 0);
	json_object_object_add(o, "holders", d->has_disk ? show_holders_json(h) : NULL);
	return o;
}

struct json_object *show_links_json(const struct survey_device *d)
{
	struct json_object *list = json_object_new_array();
	struct udev_device *device = NULL;
	struct udev *udev = udev_new();
	struct udev_list_entry *e;
	char name[32];

	snprintf(name, sizeof(name), "ublkb%" PRIu32, d->dev_id);
	if (udev && d->has_disk)
		device = udev_device_new_from_subsystem_sysname(udev, "block", name);
	e = device ? udev_device_get_devlinks_list_entry(device) : NULL;
	for (; e; e = udev_list_entry_get_next(e))
		json_object_array_add(list, output_json_text(udev_list_entry_get_name(e)));
	udev_device_unref(device);
	udev_unref(udev);
	return list;
}

static struct json_object *show_disk_json(const struct survey_disk *k)
{
	struct json_object *o = json_object_new_object();

	add_u64(o, "logical_block_bytes", k->logical_block_bytes);
	add_u64(o, "physical_block_bytes", k->physical_block_bytes);
	add_u64(o, "io_min_bytes", k->io_min_bytes);
	add_u64(o, "io_opt_bytes", k->io_opt_bytes);
	add_u64(o, "max_io_bytes", k->max_io_bytes);
	add_u64(o, "max_discard_bytes", k->max_discard_bytes);
	add_u64(o, "discard_granularity_bytes", k->discard_granularity_bytes);
	add_u64(o, "max_write_zeroes_bytes", k->max_write_zeroes_bytes);
	json_object_object_add(o, "read_only", json_object_new_boolean(k->read_only));
	json_object_object_add(o, "rotational", json_object_new_boolean(k->rotational));
	json_object_object_add(o, "write_cache", json_object_new_boolean(k->write_cache));
	json_object_object_add(o, "fua", json_object_new_boolean(k->fua));
	return o;
}

void show_add_counters(const struct stats_queue *q, struct show_counters *c)
{
	for (size_t i = 0; i < STATS_N_OPS; i++) {
		c->op[i].count += stats_read(&q->op[i].count);
		c->op[i].bytes += stats_read(&q->op[i].bytes);
		c->op[i].errors += stats_read(&q->op[i].errors);
	}
	c->retries += stats_read(&q->retries);
	c->in_flight += __atomic_load_n(&q->in_flight, __ATOMIC_RELAXED);
}

/* The name of an operation as a key, which jq takes without quotes. Returns buf. */
static const char *show_op_key(uint32_t op, char buf[static 32])
{
	snprintf(buf, 32, "%s", io_op_to_string((enum io_op)op));
	for (char *c = buf; *c; c++) {
		if (*c == '-')
			*c = '_';
	}
	return buf;
}

static struct json_object *show_counters_json(const struct show_counters *c)
{
	struct json_object *o = json_object_new_object();

	for (enum io_op op = 0; op < N_IO_OPS; op++) {
		struct json_object *one = json_object_new_object();
		char key[32];

		add_u64(one, "count", c->op[op].count);
		add_u64(one, "bytes", c->op[op].bytes);
		add_u64(one, "errors", c->op[op].errors);
		json_object_object_add(o, show_op_key(op, key), one);
	}
	add_u64(o, "retries", c->retries);
	add_u64(o, "in_flight", c->in_flight);
	return o;
}

static struct json_object *show_error_json(const struct stats_queue *q)
{
	const int error = __atomic_load_n(&q->last_errno, __ATOMIC_RELAXED);
	struct json_object *o;
	char key[32];

	if (error <= 0)
		return NULL;
	o = json_object_new_object();
	add_u64(o, "errno", (uint64_t)error);
	add_text(o, "operation", show_op_key(q->last_error_op, key));
	add_u64(o, "offset_bytes", stats_read(&q->last_error_offset));
	return o;
}

static struct json_object *show_stats_json(const struct stats *s)
{
	struct json_object *o = json_object_new_object(), *queues = json_object_new_array();
	struct show_counters all = {0};

	for (unsigned i = 0; i < stats_get_n_queues(s); i++) {
		const struct stats_queue *q = stats_get_queue(s, i);
		struct show_counters c = {0};
		struct json_object *one;

		show_add_counters(q, &c);
		show_add_counters(q, &all);
		one = show_counters_json(&c);
		json_object_object_add(one, "last_error", show_error_json(q));
		json_object_array_add(queues, one);
	}
	json_object_object_add(o, "total", show_counters_json(&all));
	json_object_object_add(o, "queues", queues);
	return o;
}

int show_status_json(const struct survey_device *d)
{
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};
	struct json_object *o;
	struct stats stats;

	if (d->has_disk)
		holders_find(d->dev_id, h); /* what it finds is shown, at any rate */
	o = show_device_json(d, h);
	add_text(o, "description", d->conf ? d->conf->description : NULL);
	json_object_object_add(o, "links", show_links_json(d));
	json_object_object_add(o, "limits", d->has_disk ? show_disk_json(&d->disk) : NULL);
	if (d->name && d->has_dev && stats_open(d->name, &stats) == 0) {
		json_object_object_add(o, "counters", show_stats_json(&stats));
		stats_close(&stats);
	} else {
		json_object_object_add(o, "counters", NULL);
	}
	output_json(o);
	json_object_put(o);
	return 0;
}
