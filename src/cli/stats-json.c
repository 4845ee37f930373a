/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schema of stats --json, as ublkctl(8) has it and conf/schema/ublkctl.schema.json says it. */
#include "cli/output.h"
#include "cli/stats.h"

static void add_u64(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

/* null without an interval. */
static void add_rate(struct json_object *o, const char *key, uint64_t n, uint64_t interval_ns)
{
	json_object_object_add(
		o, key,
		interval_ns ? json_object_new_double((double)n * 1e9 / (double)interval_ns) : NULL);
}

static struct json_object *operation_json(const struct stats_op *op, uint64_t interval_ns)
{
	struct json_object *o = json_object_new_object(), *errors = json_object_new_object();

	add_u64(o, "count", op->count);
	add_u64(o, "bytes", op->bytes);
	add_u64(o, "errors", op->errors);
	for (unsigned i = 0; i < STATS_N_ERRNOS; i++) {
		if (op->errnos[i] > 0)
			add_u64(errors, figures_errno_name(i), op->errnos[i]);
	}
	json_object_object_add(o, "errors_by", errors);
	add_u64(o, "latency_ns", op->latency_ns);
	add_rate(o, "per_second", op->count, interval_ns);
	add_rate(o, "bytes_per_second", op->bytes, interval_ns);
	return o;
}

static struct json_object *latency_json(const struct figures *f, unsigned class)
{
	struct json_object *o = json_object_new_object();
	const uint64_t n = figures_class_count(f, class);
	static const struct {
		const char *key;
		unsigned per_mille;
	} percentiles[] = {{"p50_ns", 500}, {"p90_ns", 900}, {"p99_ns", 990}, {"p999_ns", 999}};

	add_u64(o, "count", n);
	json_object_object_add(o, "mean_ns",
			       n ? json_object_new_uint64(figures_class_ns(f, class) / n) : NULL);
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		json_object_object_add(o, percentiles[i].key,
				       n ? json_object_new_uint64(latency_percentile(
						   f->latency[class], percentiles[i].per_mille))
					 : NULL);
	return o;
}

static struct json_object *figures_json(const struct figures *f, uint64_t interval_ns)
{
	struct json_object *o = json_object_new_object(), *operations = json_object_new_object(),
			   *latency = json_object_new_object();

	for (enum io_op op = 0; op < N_IO_OPS; op++)
		json_object_object_add(operations, figures_op_name(op),
				       operation_json(&f->op[op], interval_ns));
	for (unsigned class = 0; class < STATS_N_CLASSES; class ++)
		json_object_object_add(latency, figures_class_name(class), latency_json(f, class));
	json_object_object_add(o, "operations", operations);
	json_object_object_add(o, "latency", latency);
	add_u64(o, "in_flight", f->in_flight);
	add_u64(o, "retries", f->retries);
	add_u64(o, "turns", f->turns);
	add_u64(o, "backend_ns", f->backend_ns);
	add_u64(o, "limited_ns", f->waited_ns);
	add_u64(o, "full_ns", f->full_ns);
	return o;
}

static struct json_object *recoveries_json(const struct stats_device *d)
{
	struct json_object *o = json_object_new_object();

	add_u64(o, "count", d->recoveries);
	add_u64(o, "pause_ns", d->pause_ns);
	add_u64(o, "last_pause_ns", d->last_pause_ns);
	add_u64(o, "max_pause_ns", d->max_pause_ns);
	return o;
}

static struct json_object *device_json(const struct device_figures *d)
{
	struct json_object *o = json_object_new_object(), *queues = json_object_new_array();

	json_object_object_add(o, "name", output_json_text(d->name));
	json_object_object_add(o, "interval_ns",
			       d->interval_ns ? json_object_new_uint64(d->interval_ns) : NULL);
	add_u64(o, "depth", d->depth);
	json_object_object_add(o, "recoveries", recoveries_json(&d->device));
	json_object_object_add(o, "total", figures_json(&d->total, d->interval_ns));
	for (unsigned i = 0; i < d->n_queues; i++) {
		struct json_object *q = figures_json(&d->queues[i], d->interval_ns);

		json_object_object_add(q, "tid",
				       d->tids[i] > 0 ? json_object_new_int(d->tids[i]) : NULL);
		json_object_array_add(queues, q);
	}
	json_object_object_add(o, "queues", queues);
	return o;
}

struct json_object *stats_json(const struct fleet_figures *f)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < f->n; i++)
		json_object_array_add(list, device_json(&f->devices[i]));
	return list;
}
