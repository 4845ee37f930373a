/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkctl stats and ublkctl top. What the servers count stands in /run/ublkd, where this maps it: no
 * server is asked, nor the kernel, and it is there while a device waits for its next server.
 */
#include "cli/stats.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/table.h"

#define CLEAR_SCREEN "\033[H\033[2J"
#define COLOR_ERROR  "red"

enum fleet_column {
	FLEET_NAME,
	FLEET_READS,
	FLEET_READ,
	FLEET_READ_P50,
	FLEET_READ_P99,
	FLEET_READ_P999,
	FLEET_WRITES,
	FLEET_WRITTEN,
	FLEET_WRITE_P50,
	FLEET_WRITE_P99,
	FLEET_WRITE_P999,
	FLEET_OTHERS,
	FLEET_ERRORS,
	FLEET_IN_FLIGHT,
	FLEET_RECOVERIES,
	N_FLEET_COLUMNS,
};

static const struct table_column fleet_columns[N_FLEET_COLUMNS] = {
	[FLEET_NAME] = {"NAME", false, 0, 24},
	[FLEET_READS] = {"READS", true, 0},
	[FLEET_READ] = {"READ", true, 1},
	[FLEET_READ_P50] = {"P50", true, 5},
	[FLEET_READ_P99] = {"P99", true, 3},
	[FLEET_READ_P999] = {"P99.9", true, 7},
	[FLEET_WRITES] = {"WRITES", true, 0},
	[FLEET_WRITTEN] = {"WRITTEN", true, 1},
	[FLEET_WRITE_P50] = {"P50", true, 5},
	[FLEET_WRITE_P99] = {"P99", true, 3},
	[FLEET_WRITE_P999] = {"P99.9", true, 7},
	[FLEET_OTHERS] = {"OTHERS", true, 6},
	[FLEET_ERRORS] = {"ERRORS", true, 2},
	[FLEET_IN_FLIGHT] = {"IN FLIGHT", true, 4},
	[FLEET_RECOVERIES] = {"RECOVERIES", true, 8},
};

enum op_column {
	OP_NAME,
	OP_COUNT,
	OP_BYTES,
	OP_ERRORS,
	OP_MEAN,
	OP_P50,
	OP_P99,
	OP_P999,
	N_OP_COLUMNS,
};

static const struct table_column op_columns[N_OP_COLUMNS] = {
	[OP_NAME] = {"OPERATION", false, 0}, [OP_COUNT] = {"COUNT", true, 0},
	[OP_BYTES] = {"BYTES", true, 0},     [OP_ERRORS] = {"ERRORS", true, 0},
	[OP_MEAN] = {"MEAN", true, 4},       [OP_P50] = {"P50", true, 2},
	[OP_P99] = {"P99", true, 1},         [OP_P999] = {"P99.9", true, 3},
};

enum queue_column {
	QUEUE_ID,
	QUEUE_TID,
	QUEUE_REQUESTS,
	QUEUE_READ,
	QUEUE_WRITTEN,
	QUEUE_ERRORS,
	QUEUE_IN_FLIGHT,
	QUEUE_READ_P99,
	QUEUE_WRITE_P99,
	N_QUEUE_COLUMNS,
};

static const struct table_column queue_columns[N_QUEUE_COLUMNS] = {
	[QUEUE_ID] = {"QUEUE", true, 0},
	[QUEUE_TID] = {"TID", true, 3},
	[QUEUE_REQUESTS] = {"REQUESTS", true, 0},
	[QUEUE_READ] = {"READ", true, 1},
	[QUEUE_WRITTEN] = {"WRITTEN", true, 1},
	[QUEUE_ERRORS] = {"ERRORS", true, 2},
	[QUEUE_IN_FLIGHT] = {"IN FLIGHT", true, 0},
	[QUEUE_READ_P99] = {"READ P99", true, 4},
	[QUEUE_WRITE_P99] = {"WRITE P99", true, 4},
};

/* Room for the texts of a row. */
#define MAX_CELLS 16
typedef char cell_text[OUTPUT_SIZE_MAX];

/* ---- cells ---- */

static const char *cell_count(uint64_t n, uint64_t interval_ns, char *buf)
{
	if (interval_ns)
		return output_rate((double)n * 1e9 / (double)interval_ns, buf);
	snprintf(buf, OUTPUT_SIZE_MAX, "%" PRIu64, n);
	return buf;
}

static const char *cell_bytes(uint64_t n, uint64_t interval_ns, char *buf)
{
	if (interval_ns)
		n = (uint64_t)((double)n * 1e9 / (double)interval_ns);
	return output_size(n, buf);
}

static const char *cell_number(uint64_t n, char *buf)
{
	snprintf(buf, OUTPUT_SIZE_MAX, "%" PRIu64, n);
	return buf;
}

/* NULL: nothing was counted. */
static const char *cell_percentile(const struct figures *f, unsigned class, unsigned per_mille,
				   char *buf)
{
	const uint64_t ns = latency_percentile(f->latency[class], per_mille);

	return ns ? output_time(ns, buf) : NULL;
}

/* ---- all devices ---- */

static int fleet_add_line(struct table *t, const struct device_figures *d)
{
	const struct figures *f = &d->total;
	const uint64_t ns = d->interval_ns, errors = figures_errors(f);
	const struct stats_op *read = &f->op[IO_READ], *write = &f->op[IO_WRITE];
	cell_text b[MAX_CELLS];
	const char *cells[N_FLEET_COLUMNS] = {
		[FLEET_NAME] = d->name,
		[FLEET_READS] = cell_count(read->count, ns, b[0]),
		[FLEET_READ] = cell_bytes(read->bytes, ns, b[1]),
		[FLEET_READ_P50] = cell_percentile(f, stats_class(IO_READ), 500, b[2]),
		[FLEET_READ_P99] = cell_percentile(f, stats_class(IO_READ), 990, b[3]),
		[FLEET_READ_P999] = cell_percentile(f, stats_class(IO_READ), 999, b[4]),
		[FLEET_WRITES] = cell_count(write->count, ns, b[5]),
		[FLEET_WRITTEN] = cell_bytes(write->bytes, ns, b[6]),
		[FLEET_WRITE_P50] = cell_percentile(f, stats_class(IO_WRITE), 500, b[7]),
		[FLEET_WRITE_P99] = cell_percentile(f, stats_class(IO_WRITE), 990, b[8]),
		[FLEET_WRITE_P999] = cell_percentile(f, stats_class(IO_WRITE), 999, b[9]),
		[FLEET_OTHERS] =
			cell_count(figures_count(f) - read->count - write->count, ns, b[10]),
		[FLEET_ERRORS] = cell_count(errors, ns, b[11]),
		[FLEET_IN_FLIGHT] = cell_number(f->in_flight, b[12]),
		[FLEET_RECOVERIES] = cell_number(d->device.recoveries, b[13]),
	};

	return table_add(t, cells, errors ? COLOR_ERROR : NULL);
}

static int fleet_print(const struct fleet_figures *f, size_t most, const struct cli *cli)
{
	AUTO(table_free) struct table *t = NULL;
	int r;

	r = table_new(fleet_columns, N_FLEET_COLUMNS, &t);
	for (size_t i = 0; r == 0 && i < MIN(f->n, most); i++)
		r = fleet_add_line(t, &f->devices[i]);
	return r < 0 ? r : table_print(t, cli->no_legend, table_get_width());
}

/* ---- one device ---- */

static int op_add_line(struct table *t, const struct device_figures *d, enum io_op op)
{
	const struct stats_op *o = &d->total.op[op];
	const unsigned class = stats_class(op);
	cell_text b[MAX_CELLS];
	const char *cells[N_OP_COLUMNS] = {
		[OP_NAME] = io_op_to_string(op),
		[OP_COUNT] = cell_count(o->count, d->interval_ns, b[0]),
		[OP_BYTES] = cell_bytes(o->bytes, d->interval_ns, b[1]),
		[OP_ERRORS] = cell_count(o->errors, d->interval_ns, b[2]),
	};

	if (o->count > 0) {
		cells[OP_MEAN] = output_time(o->latency_ns / o->count, b[3]);
		cells[OP_P50] = cell_percentile(&d->total, class, 500, b[4]);
		cells[OP_P99] = cell_percentile(&d->total, class, 990, b[5]);
		cells[OP_P999] = cell_percentile(&d->total, class, 999, b[6]);
	}
	return table_add(t, cells, o->errors ? COLOR_ERROR : NULL);
}

static int device_print_ops(const struct device_figures *d, const struct cli *cli)
{
	AUTO(table_free) struct table *t = NULL;
	int r;

	r = table_new(op_columns, N_OP_COLUMNS, &t);
	for (enum io_op op = 0; r == 0 && op < N_IO_OPS; op++) {
		if (op != IO_OTHER || d->total.op[op].count > 0)
			r = op_add_line(t, d, op);
	}
	return r < 0 ? r : table_print(t, cli->no_legend, table_get_width());
}

static int device_print_queues(const struct device_figures *d, const struct cli *cli)
{
	AUTO(table_free) struct table *t = NULL;
	int r;

	r = table_new(queue_columns, N_QUEUE_COLUMNS, &t);
	for (unsigned i = 0; r == 0 && i < d->n_queues; i++) {
		const struct figures *f = &d->queues[i];
		const uint64_t ns = d->interval_ns;
		cell_text b[MAX_CELLS];
		const char *cells[N_QUEUE_COLUMNS] = {
			[QUEUE_ID] = cell_number(i, b[0]),
			[QUEUE_TID] =
				d->tids[i] > 0 ? cell_number((uint64_t)d->tids[i], b[1]) : NULL,
			[QUEUE_REQUESTS] = cell_count(figures_count(f), ns, b[2]),
			[QUEUE_READ] = cell_bytes(f->op[IO_READ].bytes, ns, b[3]),
			[QUEUE_WRITTEN] = cell_bytes(f->op[IO_WRITE].bytes, ns, b[4]),
			[QUEUE_ERRORS] = cell_count(figures_errors(f), ns, b[5]),
			[QUEUE_IN_FLIGHT] = cell_number(f->in_flight, b[6]),
			[QUEUE_READ_P99] = cell_percentile(f, stats_class(IO_READ), 990, b[7]),
			[QUEUE_WRITE_P99] = cell_percentile(f, stats_class(IO_WRITE), 990, b[8]),
		};

		r = table_add(t, cells, figures_errors(f) ? COLOR_ERROR : NULL);
	}
	return r < 0 ? r : table_print(t, cli->no_legend, table_get_width());
}

static void device_print_errors(const struct figures *f)
{
	const char *before = "Errors: ";

	for (unsigned i = 0; i < STATS_N_ERRNOS; i++) {
		uint64_t n = 0;

		for (unsigned op = 0; op < N_IO_OPS; op++)
			n += f->op[op].errnos[i];
		if (n == 0)
			continue;
		printf("%s%" PRIu64 " %s", before, n, figures_errno_name(i));
		before = ", ";
	}
	if (*before == ',')
		putchar('\n');
}

static int device_print(const struct device_figures *d, const struct cli *cli)
{
	const uint64_t n = figures_count(&d->total);
	char a[OUTPUT_SIZE_MAX], b[OUTPUT_SIZE_MAX], c[OUTPUT_SIZE_MAX];
	int r;

	r = device_print_ops(d, cli);
	if (r < 0)
		return r;
	putchar('\n');
	printf("In flight: %" PRIu64 " of %u; all slots of a queue taken for %s\n",
	       d->total.in_flight, d->n_queues * d->depth, output_time(d->total.full_ns, a));
	if (n > 0)
		printf("Each request on average: %s with the backend beyond a turn, %s held back by "
		       "[Limits]\n",
		       output_time(d->total.backend_ns / n, a),
		       output_time(d->total.waited_ns / n, b));
	if (d->device.recoveries > 0)
		printf("Recoveries: %" PRIu64 "; pauses: %s the last, %s the longest, %s in all\n",
		       d->device.recoveries, output_time(d->device.last_pause_ns, a),
		       output_time(d->device.max_pause_ns, b), output_time(d->device.pause_ns, c));
	device_print_errors(&d->total);
	putchar('\n');
	return device_print_queues(d, cli);
}

/* ---- again and again ---- */

static int stats_busier(const void *left, const void *right)
{
	const struct device_figures *a = left, *b = right;
	const uint64_t n_a = figures_count(&a->total), n_b = figures_count(&b->total);

	return n_a != n_b ? (n_a < n_b ? 1 : -1) : strcmp(a->name, b->name);
}

static int stats_print(const struct fleet_figures *f, const char *name, const struct cli *cli)
{
	struct json_object *list;

	if (!cli->json)
		return name ? device_print(&f->devices[0], cli) : fleet_print(f, SIZE_MAX, cli);
	list = stats_json(f);
	if (cli->watch)
		output_json_line(list);
	else
		output_json(list);
	json_object_put(list);
	return 0;
}

static void stats_sleep(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000),
			      .tv_nsec = (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}

/* What came within an interval. @before becomes what was read at its end. */
static int stats_read_since(const char *name, struct fleet_figures *before,
			    struct fleet_figures *ret)
{
	struct fleet_figures now, next;
	int r;

	r = fleet_figures_read(name, &now);
	if (r < 0)
		return r;
	r = fleet_figures_copy(&now, &next);
	if (r < 0) {
		fleet_figures_deinit(&now);
		return r;
	}
	fleet_figures_since(&now, before);
	fleet_figures_deinit(before);
	*before = next;
	*ret = now;
	return 0;
}

static int top_print(struct fleet_figures *f, const struct cli *cli)
{
	const unsigned height = table_get_height(), width = table_get_width();
	uint64_t interval_ns = 0, n = 0;
	char a[OUTPUT_SIZE_MAX], b[OUTPUT_SIZE_MAX], line[128];

	for (size_t i = 0; i < f->n; i++) {
		n += figures_count(&f->devices[i].total);
		interval_ns = MAX(interval_ns, f->devices[i].interval_ns);
	}
	if (f->n > 0)
		qsort(f->devices, f->n, sizeof(*f->devices), stats_busier);
	if (cli->json)
		return stats_print(f, NULL, cli);
	snprintf(line, sizeof(line), "%zu device%s", f->n, f->n == 1 ? "" : "s");
	if (interval_ns > 0)
		snprintf(line + strlen(line), sizeof(line) - strlen(line),
			 ", %s requests/s, over %s",
			 output_rate((double)n * 1e9 / (double)interval_ns, a),
			 output_time(interval_ns, b));
	/* a second line of it would push the first off the screen */
	if (!cli->no_legend)
		printf("%.*s\n\n", width > 0 ? (int)width : INT_MAX, line);
	return fleet_print(f, height > 5 ? height - 4 : SIZE_MAX, cli);
}

static int stats_watch(const char *name, bool is_top, const struct cli *cli)
{
	AUTO(fleet_figures_deinit) struct fleet_figures *before = &(struct fleet_figures){0};
	const bool clears = !cli->json && table_get_width() > 0;
	int r;

	if (clears)
		setvbuf(stdout, NULL, _IOFBF, 0); /* a screen comes at once, or it flickers */
	r = fleet_figures_read(name, before);
	for (uint64_t i = 0; r == 0 && (cli->n_times == 0 || i < cli->n_times); i++) {
		AUTO(fleet_figures_deinit) struct fleet_figures *f = &(struct fleet_figures){0};

		stats_sleep(cli->every_ns);
		r = stats_read_since(name, before, f);
		if (r < 0)
			return r;
		if (clears)
			fputs(CLEAR_SCREEN, stdout);
		else if (i > 0 && !cli->json)
			putchar('\n');
		r = is_top ? top_print(f, cli) : stats_print(f, name, cli);
		if (fflush(stdout) != 0 || ferror(stdout))
			return 0; /* main() says it */
	}
	return r;
}

static int stats_once(const char *name, const struct cli *cli)
{
	AUTO(fleet_figures_deinit) struct fleet_figures *f = &(struct fleet_figures){0};
	int r;

	r = fleet_figures_read(name, f);
	if (r == 0)
		r = stats_print(f, name, cli);
	if (r == 0 && f->foreign)
		fprintf(stderr,
			"ublkctl: the server of %s is of another version: restart it to see what "
			"it counts\n",
			f->foreign);
	return r;
}

static int stats_complain(const char *name, int r)
{
	if (r == 0)
		return EX_OK;
	if (name && (r == -ENOENT || r == -EINVAL)) {
		fprintf(stderr,
			"ublkctl: nothing is counted for \"%s\": no device of that name is served "
			"or waits for a server\n",
			name);
		return 1;
	}
	if (name && r == -EPROTO) {
		fprintf(stderr,
			"ublkctl: the server of %s is of another version: restart it to see what "
			"it counts\n",
			name);
		return 1;
	}
	if (name)
		return output_complain(r, "cannot read what %s counts", name);
	return output_complain(r, "cannot read what devices count");
}

int cmd_stats(int argc, char **argv, const struct cli *cli)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (argc > 2) {
		fputs("usage: ublkctl stats [--watch[=SECONDS] [--count=N]] [--json] [NAME]\n",
		      stderr);
		return EX_USAGE;
	}
	if (name && strncmp(name, "/dev/ublk/", 10) == 0)
		name += 10;
	return stats_complain(name,
			      cli->watch ? stats_watch(name, false, cli) : stats_once(name, cli));
}

int cmd_top(int argc, char **argv, const struct cli *cli)
{
	struct cli watch = *cli;

	if (argc > 1) {
		fputs("usage: ublkctl top [--watch=SECONDS] [--count=N] [--json]\n", stderr);
		return EX_USAGE;
	}
	watch.watch = true;
	return stats_complain(NULL, stats_watch(NULL, true, &watch));
}
