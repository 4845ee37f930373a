/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkctl metrics: OpenMetrics 1.0 text, as a monitoring agent scrapes it. Each family is a row in a
 * table; its samples stand together, for all devices. Names, labels and types are an interface:
 * none is changed, more may come.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/figures.h"
#include "cli/output.h"
#include "cli/show.h"
#include "cli/survey.h"

/* Bounds of histograms: powers of two, in ns, at which our buckets begin. */
#define METRICS_FIRST_SHIFT 10
#define METRICS_LAST_SHIFT  33

struct metrics_device {
	const struct survey_device *d;
	const struct device_figures *f; /* NULL: nothing is counted */
};

struct metrics_family {
	const char *name;
	const char *type;
	const char *unit; /* "": none */
	const char *help;
	void (*print)(const struct metrics_family *m, const struct metrics_device *d);
	size_t at; /* of struct figures, where that is enough to know */
};

/* The value of a label: what OpenMetrics wants escaped, and only UTF-8. */
static void metrics_label(const char *key, const char *value)
{
	struct json_object *clean = output_json_text(value ?: "");

	printf("%s=\"", key);
	for (const char *c = json_object_get_string(clean); c && *c; c++) {
		if (*c == '\n')
			fputs("\\n", stdout);
		else if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else
			putchar(*c);
	}
	putchar('"');
	json_object_put(clean);
}

/* NAME{device="...", and open for more. */
static void metrics_begin(const struct metrics_family *m, const char *suffix,
			  const struct metrics_device *d)
{
	printf("%s%s{", m->name, suffix);
	metrics_label("device", d->d->name);
}

static void metrics_seconds(const struct metrics_family *m, const char *suffix,
			    const struct metrics_device *d, uint64_t ns)
{
	metrics_begin(m, suffix, d);
	printf("} %" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static void metrics_integer(const struct metrics_family *m, const char *suffix,
			    const struct metrics_device *d, uint64_t n)
{
	metrics_begin(m, suffix, d);
	printf("} %" PRIu64 "\n", n);
}

static void print_info(const struct metrics_family *m, const struct metrics_device *d)
{
	const struct survey_device *s = d->d;
	char node[32] = "";

	if (s->has_disk)
		snprintf(node, sizeof(node), "/dev/ublkb%" PRIu32, s->dev_id);
	metrics_begin(m, "_info", d);
	putchar(',');
	metrics_label("node", node);
	putchar(',');
	metrics_label("backend", show_backend(s));
	putchar(',');
	metrics_label("target", s->has_state ? s->state.target : "");
	fputs("} 1\n", stdout);
}

static void print_state(const struct metrics_family *m, const struct metrics_device *d)
{
	static const char *const states[] = {"live",    "quiesced", "fail-io", "dead",   "starting",
					     "stopped", "masked",   "invalid", "unknown"};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		metrics_begin(m, "", d);
		putchar(',');
		metrics_label("ublk_device_state", states[i]);
		printf("} %d\n", strcmp(states[i], survey_state(d->d)) == 0);
	}
}

static void print_size(const struct metrics_family *m, const struct metrics_device *d)
{
	if (show_size_bytes(d->d))
		metrics_integer(m, "", d, show_size_bytes(d->d));
}

static void print_requests(const struct metrics_family *m, const struct metrics_device *d)
{
	for (enum io_op op = 0; d->f && op < N_IO_OPS; op++) {
		const struct stats_op *o = &d->f->total.op[op];

		metrics_begin(m, "_total", d);
		printf(",operation=\"%s\"} %" PRIu64 "\n", figures_op_name(op),
		       m->at == offsetof(struct stats_op, bytes) ? o->bytes : o->count);
	}
}

static void print_errors(const struct metrics_family *m, const struct metrics_device *d)
{
	for (enum io_op op = 0; d->f && op < N_IO_OPS; op++) {
		for (unsigned i = 0; i < STATS_N_ERRNOS; i++) {
			const uint64_t n = d->f->total.op[op].errnos[i];

			/* EIO is always there, so that a rule that looks for an increase sees the first. */
			if (n == 0 && i != stats_errno_index(EIO))
				continue;
			metrics_begin(m, "_total", d);
			printf(",operation=\"%s\",errno=\"%s\"} %" PRIu64 "\n", figures_op_name(op),
			       figures_errno_name(i), n);
		}
	}
}

static void print_histogram(const struct metrics_family *m, const struct metrics_device *d,
			    unsigned class)
{
	const struct figures *f = &d->f->total;
	const uint64_t ns = figures_class_ns(f, class), n = figures_class_count(f, class);

	for (unsigned shift = METRICS_FIRST_SHIFT; shift <= METRICS_LAST_SHIFT; shift++) {
		const uint64_t bound_ns = 1ULL << shift;

		metrics_begin(m, "_bucket", d);
		printf(",operation=\"%s\",le=\"%.10g\"} %" PRIu64 "\n", figures_class_name(class),
		       (double)bound_ns / 1e9, latency_count_below(f->latency[class], bound_ns));
	}
	metrics_begin(m, "_bucket", d);
	printf(",operation=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", figures_class_name(class), n);
	metrics_begin(m, "_count", d);
	printf(",operation=\"%s\"} %" PRIu64 "\n", figures_class_name(class), n);
	metrics_begin(m, "_sum", d);
	printf(",operation=\"%s\"} %" PRIu64 ".%09" PRIu64 "\n", figures_class_name(class),
	       ns / 1000000000, ns % 1000000000);
}

static void print_histograms(const struct metrics_family *m, const struct metrics_device *d)
{
	for (unsigned class = 0; d->f && class < STATS_N_CLASSES; class ++)
		print_histogram(m, d, class);
}

static uint64_t metrics_figure(const struct metrics_family *m, const struct metrics_device *d)
{
	return *(const uint64_t *)(const void *)((const char *)&d->f->total + m->at);
}

static void print_gauge(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f)
		metrics_integer(m, "", d, metrics_figure(m, d));
}

static void print_counter(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f)
		metrics_integer(m, "_total", d, metrics_figure(m, d));
}

static void print_seconds(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f)
		metrics_seconds(m, "_total", d, metrics_figure(m, d));
}

static void print_slots(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f)
		metrics_integer(m, "", d, (uint64_t)d->f->n_queues * d->f->depth);
}

static void print_recoveries(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f)
		metrics_integer(m, "_total", d, d->f->device.recoveries);
}

static void print_pauses(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f)
		metrics_seconds(m, "_total", d, d->f->device.pause_ns);
}

static void print_last_pause(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f && d->f->device.recoveries > 0)
		metrics_seconds(m, "", d, d->f->device.last_pause_ns);
}

static void print_longest_pause(const struct metrics_family *m, const struct metrics_device *d)
{
	if (d->f && d->f->device.recoveries > 0)
		metrics_seconds(m, "", d, d->f->device.max_pause_ns);
}

static const struct metrics_family families[] = {
	{"ublk_device", "info", "", "What a device is.", print_info},
	{"ublk_device_state", "stateset", "", "State, as ublkctl list has it.", print_state},
	{"ublk_device_size_bytes", "gauge", "bytes", "Size of the block device.", print_size},
	{"ublk_requests", "counter", "", "Requests that were answered.", print_requests},
	{"ublk_request_bytes", "counter", "bytes", "Bytes of requests that succeeded.",
	 print_requests, offsetof(struct stats_op, bytes)},
	{"ublk_request_errors", "counter", "", "Requests that failed.", print_errors},
	{"ublk_request_duration_seconds", "histogram", "seconds",
	 "From the arrival of a request to its answer.", print_histograms},
	{"ublk_backend_seconds", "counter", "seconds",
	 "With the backend beyond one turn of the loop, sum over requests.", print_seconds,
	 offsetof(struct figures, backend_ns)},
	{"ublk_limited_seconds", "counter", "seconds",
	 "Held back by limits of the device, sum over requests.", print_seconds,
	 offsetof(struct figures, waited_ns)},
	{"ublk_full_seconds", "counter", "seconds",
	 "Time in which all slots of a queue were taken, sum over queues.", print_seconds,
	 offsetof(struct figures, full_ns)},
	{"ublk_in_flight", "gauge", "", "Requests that are with the backend.", print_gauge,
	 offsetof(struct figures, in_flight)},
	{"ublk_slots", "gauge", "", "Requests that all queues together can hold.", print_slots},
	{"ublk_retries", "counter", "", "Short transfers and the like, that were tried again.",
	 print_counter, offsetof(struct figures, retries)},
	{"ublk_turns", "counter", "", "Turns of the loops of queues.", print_counter,
	 offsetof(struct figures, turns)},
	{"ublk_unreachable_queues", "gauge", "",
	 "Queues whose requests wait for a server that is out of reach.", print_gauge,
	 offsetof(struct figures, unreachable)},
	{"ublk_reconnects", "counter", "", "Times that such a server was found again.",
	 print_counter, offsetof(struct figures, reconnects)},
	{"ublk_recoveries", "counter", "", "Servers that took the device over from another.",
	 print_recoveries},
	{"ublk_recovery_pause_seconds", "counter", "seconds",
	 "Time without a server, until one took the device over.", print_pauses},
	{"ublk_recovery_last_pause_seconds", "gauge", "seconds", "The last one of these pauses.",
	 print_last_pause},
	{"ublk_recovery_longest_pause_seconds", "gauge", "seconds", "The longest one.",
	 print_longest_pause},
};

static void metrics_print(const struct metrics_device *devices, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct metrics_family *m = &families[i];

		printf("# TYPE %s %s\n", m->name, m->type);
		if (*m->unit)
			printf("# UNIT %s %s\n", m->name, m->unit);
		printf("# HELP %s %s\n", m->name, m->help);
		for (size_t j = 0; j < n; j++)
			m->print(m, &devices[j]);
	}
	puts("# EOF");
}

static const struct device_figures *metrics_find(const struct fleet_figures *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++) {
		if (strcmp(f->devices[i].name, name) == 0)
			return &f->devices[i];
	}
	return NULL;
}

int cmd_metrics(int argc, char **argv, const struct cli *cli)
{
	AUTO(fleet_figures_deinit) struct fleet_figures *f = &(struct fleet_figures){0};
	AUTO_FREE struct metrics_device *devices = NULL;
	struct survey s = {0};
	int r, status;
	size_t n = 0;

	if (argc > 1) {
		fputs("usage: ublkctl metrics\n", stderr);
		return EX_USAGE;
	}
	r = survey_take("/sys", &s);
	if (r == 0)
		r = fleet_figures_read(NULL, f);
	devices = r == 0 ? calloc(MAX(s.n, 1U), sizeof(*devices)) : NULL;
	if (r == 0 && !devices)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < s.n; i++) {
		if (s.devices[i].name)
			devices[n++] = (struct metrics_device){
				.d = &s.devices[i],
				.f = metrics_find(f, s.devices[i].name),
			};
	}
	if (r == 0)
		metrics_print(devices, n);
	status = r < 0 ? output_complain(r, "cannot tell of devices") : show_complain(&s);
	survey_deinit(&s);
	return status;
}
