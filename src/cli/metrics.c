/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkctl metrics: OpenMetrics 1.0 text, or the older format of Prometheus, with the same samples. Each
 * family is a row in a table; its samples stand together, for all devices. Names, labels and types are
 * an interface: none is changed, more may come.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/figures.h"
#include "cli/output.h"
#include "cli/show.h"
#include "cli/survey.h"
#include "util/fd.h"

/* Bounds of histograms: powers of two, in ns, at which our buckets begin. */
#define METRICS_FIRST_SHIFT 10
#define METRICS_LAST_SHIFT  33

struct metrics_device {
	FILE *out;
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
static void metrics_label(FILE *out, const char *key, const char *value)
{
	struct json_object *clean = output_json_text(value ?: "");

	fprintf(out, "%s=\"", key);
	for (const char *c = json_object_get_string(clean); c && *c; c++) {
		if (*c == '\n')
			fputs("\\n", out);
		else if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else
			putc(*c, out);
	}
	putc('"', out);
	json_object_put(clean);
}

/* NAME{device="...", and open for more. */
static void metrics_begin(const struct metrics_family *m, const char *suffix,
			  const struct metrics_device *d)
{
	fprintf(d->out, "%s%s{", m->name, suffix);
	metrics_label(d->out, "device", d->d->name);
}

static void metrics_seconds(const struct metrics_family *m, const char *suffix,
			    const struct metrics_device *d, uint64_t ns)
{
	metrics_begin(m, suffix, d);
	fprintf(d->out, "} %" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static void metrics_integer(const struct metrics_family *m, const char *suffix,
			    const struct metrics_device *d, uint64_t n)
{
	metrics_begin(m, suffix, d);
	fprintf(d->out, "} %" PRIu64 "\n", n);
}

static void print_info(const struct metrics_family *m, const struct metrics_device *d)
{
	const struct survey_device *s = d->d;
	char node[32] = "";

	if (s->has_disk)
		snprintf(node, sizeof(node), "/dev/ublkb%" PRIu32, s->dev_id);
	metrics_begin(m, "_info", d);
	putc(',', d->out);
	metrics_label(d->out, "node", node);
	putc(',', d->out);
	metrics_label(d->out, "backend", show_backend(s));
	putc(',', d->out);
	metrics_label(d->out, "target", s->has_state ? s->state.target : "");
	fputs("} 1\n", d->out);
}

static void print_state(const struct metrics_family *m, const struct metrics_device *d)
{
	static const char *const states[] = {"live",    "quiesced", "fail-io", "dead",   "starting",
					     "stopped", "masked",   "invalid", "unknown"};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		metrics_begin(m, "", d);
		putc(',', d->out);
		metrics_label(d->out, "ublk_device_state", states[i]);
		fprintf(d->out, "} %d\n", strcmp(states[i], survey_state(d->d)) == 0);
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
		fprintf(d->out, ",operation=\"%s\"} %" PRIu64 "\n", figures_op_name(op),
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
			fprintf(d->out, ",operation=\"%s\",errno=\"%s\"} %" PRIu64 "\n",
				figures_op_name(op), figures_errno_name(i), n);
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
		fprintf(d->out, ",operation=\"%s\",le=\"%.10g\"} %" PRIu64 "\n",
			figures_class_name(class), (double)bound_ns / 1e9,
			latency_count_below(f->latency[class], bound_ns));
	}
	metrics_begin(m, "_bucket", d);
	fprintf(d->out, ",operation=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", figures_class_name(class),
		n);
	metrics_begin(m, "_count", d);
	fprintf(d->out, ",operation=\"%s\"} %" PRIu64 "\n", figures_class_name(class), n);
	metrics_begin(m, "_sum", d);
	fprintf(d->out, ",operation=\"%s\"} %" PRIu64 ".%09" PRIu64 "\n", figures_class_name(class),
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

/* The names of its samples begin with NAME and this. */
static const char *metrics_suffix(const struct metrics_family *m)
{
	if (strcmp(m->type, "counter") == 0)
		return "_total";
	return strcmp(m->type, "info") == 0 ? "_info" : "";
}

static void metrics_head_openmetrics(const struct metrics_family *m, FILE *out)
{
	fprintf(out, "# TYPE %s %s\n", m->name, m->type);
	if (*m->unit)
		fprintf(out, "# UNIT %s %s\n", m->name, m->unit);
	fprintf(out, "# HELP %s %s\n", m->name, m->help);
}

/*
 * Version 0.0.4: a family is called as its samples are, and of the types that came with OpenMetrics a
 * parser refuses all of the text (expfmt/text_parse.go of Prometheus).
 */
static void metrics_head_prometheus(const struct metrics_family *m, FILE *out)
{
	const bool is_old = strcmp(m->type, "counter") == 0 || strcmp(m->type, "histogram") == 0;
	const char *suffix = metrics_suffix(m);

	fprintf(out, "# HELP %s%s %s\n", m->name, suffix, m->help);
	fprintf(out, "# TYPE %s%s %s\n", m->name, suffix, is_old ? m->type : "gauge");
}

static void metrics_print(struct metrics_device *devices, size_t n, bool is_openmetrics, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct metrics_family *m = &families[i];

		if (is_openmetrics)
			metrics_head_openmetrics(m, out);
		else
			metrics_head_prometheus(m, out);
		for (size_t j = 0; j < n; j++) {
			devices[j].out = out;
			m->print(m, &devices[j]);
		}
	}
	if (is_openmetrics)
		fputs("# EOF\n", out);
}

/* Who reads the file sees the old text or the new. */
static int metrics_write_file(const char *path, const char *text, size_t len)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	const char *name = slash ? slash + 1 : path;
	AUTO_CLOSE int fd = -1;
	struct stat st;

	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* renaming would take the place of /dev/stdout, too */
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		return -EINVAL;
	return fd_write_file(fd, name, text, len, 0644);
}

static int metrics_tell(struct metrics_device *devices, size_t n, const struct cli *cli)
{
	const bool is_openmetrics = cli->format == CLI_FORMAT_OPENMETRICS;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *out;
	int r;

	if (!cli->output) {
		metrics_print(devices, n, is_openmetrics, stdout);
		return 0;
	}
	out = open_memstream(&text, &len);
	if (out)
		metrics_print(devices, n, is_openmetrics, out);
	if (!out || fclose(out))
		return output_complain(-ENOMEM, "cannot tell of devices");
	r = metrics_write_file(cli->output, text, len);
	if (r == -EINVAL) {
		fprintf(stderr, "ublkctl: --output=%s: not a regular file\n", cli->output);
		return EX_USAGE;
	}
	return r < 0 ? output_complain(r, "cannot write %s", cli->output) : 0;
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
		fputs("usage: ublkctl metrics [--format=FORMAT] [--output=FILE]\n", stderr);
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
	if (r < 0)
		status = output_complain(r, "cannot tell of devices");
	else
		status = metrics_tell(devices, n, cli) ?: show_complain(&s);
	survey_deinit(&s);
	return status;
}
