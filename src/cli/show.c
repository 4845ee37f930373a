/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkctl list and ublkctl status, for people. For scripts: show-json.c. */
#include "cli/show.h"

#include <inttypes.h>
#include <libsmartcols.h>
#include <stdarg.h>
#include <string.h>
#include <sysexits.h>

#include "abi/features.h"
#include "abi/io-cmd.h"
#include "cli/cli.h"
#include "cli/output.h"

#define NODE_MAX   32
#define LABEL_COLS 13

const char *show_backend(const struct survey_device *d)
{
	if (d->has_state)
		return d->state.backend;
	return d->conf ? d->conf->backend_type->name : NULL;
}

const char *show_definition(const struct survey_device *d)
{
	if (d->has_state && d->state.definition[0])
		return d->state.definition;
	return d->conf ? d->conf->path : NULL;
}

uint64_t show_size_bytes(const struct survey_device *d)
{
	if (d->has_disk)
		return d->disk.size_bytes;
	return d->conf ? d->conf->size_bytes : 0;
}

enum list_column {
	LIST_NAME,
	LIST_NODE,
	LIST_ID,
	LIST_STATE,
	LIST_SIZE,
	LIST_TYPE,
	LIST_QUEUES,
	LIST_PID,
	LIST_USED_BY,
	N_LIST_COLUMNS,
};

static const struct {
	const char *name;
	int flags;
} list_columns[N_LIST_COLUMNS] = {
	[LIST_NAME] = {"NAME", 0},
	[LIST_NODE] = {"NODE", 0},
	[LIST_ID] = {"ID", SCOLS_FL_RIGHT},
	[LIST_STATE] = {"STATE", 0},
	[LIST_SIZE] = {"SIZE", SCOLS_FL_RIGHT},
	[LIST_TYPE] = {"TYPE", 0},
	[LIST_QUEUES] = {"QUEUES", SCOLS_FL_RIGHT},
	[LIST_PID] = {"PID", SCOLS_FL_RIGHT},
	[LIST_USED_BY] = {"USED BY", 0},
};

static int list_add_line(struct libscols_table *t, const struct survey_device *d)
{
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};
	char node[NODE_MAX], id[16], size[OUTPUT_SIZE_MAX], queues[16], pid[16], used[512];
	const char *cells[N_LIST_COLUMNS] = {
		[LIST_NAME] = d->name,
		[LIST_STATE] = survey_state(d),
		[LIST_TYPE] = show_backend(d),
	};
	struct libscols_line *line = scols_table_new_line(t, NULL);
	int r = line ? 0 : -ENOMEM;

	if (d->has_dev) {
		snprintf(id, sizeof(id), "%" PRIu32, d->dev_id);
		cells[LIST_ID] = id;
	}
	if (d->has_disk) {
		snprintf(node, sizeof(node), "/dev/ublkb%" PRIu32, d->dev_id);
		cells[LIST_NODE] = node;
		holders_find_lasting(d->dev_id, h); /* what it finds is shown, at any rate */
		cells[LIST_USED_BY] = holders_to_string(h, used, sizeof(used));
	}
	if (show_size_bytes(d))
		cells[LIST_SIZE] = output_size(show_size_bytes(d), size);
	if (d->has_dev && d->info_error == 0) {
		snprintf(queues, sizeof(queues), "%ux%u", d->info.n_queues, d->info.depth);
		cells[LIST_QUEUES] = queues;
	}
	if (survey_server(d)) {
		snprintf(pid, sizeof(pid), "%d", (int)survey_server(d));
		cells[LIST_PID] = pid;
	}
	for (size_t i = 0; r == 0 && i < N_LIST_COLUMNS; i++)
		r = scols_line_set_data(line, i, cells[i] && *cells[i] ? cells[i] : "-");
	return r;
}

/* Without --all what is only defined is left out. */
static bool list_has(const struct survey_device *d, const struct cli *cli)
{
	return cli->all || d->has_dev || d->owner_error != -ENODATA;
}

static int list_print_table(const struct survey *s, const struct cli *cli)
{
	struct libscols_table *t = scols_new_table();
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < N_LIST_COLUMNS; i++) {
		if (!scols_table_new_column(t, list_columns[i].name, 0, list_columns[i].flags))
			r = -ENOMEM;
	}
	if (r == 0)
		scols_table_enable_noheadings(t, cli->no_legend);
	for (size_t i = 0; r == 0 && i < s->n; i++) {
		if (list_has(&s->devices[i], cli))
			r = list_add_line(t, &s->devices[i]);
	}
	if (r == 0)
		r = scols_print_table(t);
	scols_unref_table(t);
	return r;
}

static int list_print_json(const struct survey *s, const struct cli *cli)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->n; i++) {
		AUTO(holders_deinit) struct holders *h = &(struct holders){0};
		const struct survey_device *d = &s->devices[i];

		if (!list_has(d, cli))
			continue;
		if (d->has_disk)
			holders_find_lasting(d->dev_id, h);
		json_object_array_add(list, show_device_json(d, h));
	}
	output_json(list);
	json_object_put(list);
	return 0;
}

int show_complain(const struct survey *s)
{
	if (s->ctrl_error < 0)
		return output_complain_ctrl(s->ctrl_error);
	for (size_t i = 0; i < s->n; i++) {
		const struct survey_device *d = &s->devices[i];

		if (d->has_dev && d->info_error < 0)
			return output_complain(d->info_error,
					       "cannot ask the kernel for ublk device "
					       "%" PRIu32,
					       d->dev_id);
		if (d->owner_error < 0 && d->owner_error != -ENODATA && d->owner_error != -EAGAIN)
			return output_complain(d->owner_error, "cannot see who serves %s", d->name);
	}
	return EX_OK;
}

int cmd_list(int argc, char **argv, const struct cli *cli)
{
	struct survey s = {0};
	int r, status;

	if (argc > 1) {
		fputs("usage: ublkctl list [--all] [--json]\n", stderr);
		return EX_USAGE;
	}
	r = survey_take("/sys", &s);
	if (r == 0)
		r = cli->json ? list_print_json(&s, cli) : list_print_table(&s, cli);
	status = r < 0 ? output_complain(r, "cannot list devices") : show_complain(&s);
	survey_deinit(&s);
	return status;
}

__attribute__((format(printf, 2, 3))) static void status_line(const char *label, const char *format,
							      ...)
{
	va_list args;

	printf("%*s: ", LABEL_COLS, label);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* The links that udev made, with blanks between. */
static char *status_links(const struct survey_device *d)
{
	struct json_object *links = show_links_json(d);
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	for (size_t i = 0; f && i < json_object_array_length(links); i++)
		fprintf(f, "%s%s", i ? " " : "",
			json_object_get_string(json_object_array_get_idx(links, i)));
	json_object_put(links);
	if (!f || fclose(f) != 0 || len == 0)
		return NULL;
	return TAKE_PTR(text);
}

static void status_print_disk(const struct survey_device *d)
{
	const struct survey_disk *k = &d->disk;
	AUTO_FREE char *links = status_links(d);
	char a[OUTPUT_SIZE_MAX], b[OUTPUT_SIZE_MAX];

	status_line("Device", "/dev/ublkb%" PRIu32, d->dev_id);
	if (links)
		status_line("Links", "%s", links);
	status_line("Size", "%s (%" PRIu64 " bytes)", output_size(k->size_bytes, a), k->size_bytes);
	status_line("Blocks", "%s logical, %s physical", output_size(k->logical_block_bytes, a),
		    output_size(k->physical_block_bytes, b));
	status_line("Attributes", "%s%s%s%s", k->read_only ? "read-only" : "read-write",
		    k->rotational ? ", rotational" : "", k->write_cache ? ", write cache" : "",
		    k->fua ? ", FUA" : "");
	if (k->max_discard_bytes)
		status_line("Discard", "up to %s, in units of %s",
			    output_size(k->max_discard_bytes, a),
			    output_size(k->discard_granularity_bytes, b));
	if (k->max_write_zeroes_bytes)
		status_line("Write zeroes", "up to %s", output_size(k->max_write_zeroes_bytes, a));
}

static void status_print_info(const struct survey_device *d)
{
	char size[OUTPUT_SIZE_MAX];

	status_line("Queues", "%u of depth %u", d->info.n_queues, d->info.depth);
	status_line("Max I/O", "%s", output_size(d->info.max_io_bytes, size));
	printf("%*s:", LABEL_COLS, "Features");
	for (size_t i = 0; i < n_features; i++) {
		if (d->info.flags & features[i].flag)
			printf(" %s", features[i].name);
	}
	putchar('\n');
}

static void status_print_server(const struct survey_device *d)
{
	const pid_t pid = survey_server(d);

	if (d->owner_error == 0 && d->owner > 0)
		status_line("Server", "pid %d, holds the lock", (int)d->owner);
	else if (d->name && d->owner_error == 0 && d->has_dev)
		status_line("Server", "none%s", d->has_state ? ", the last one has died" : "");
	else if (pid)
		status_line("Server", "pid %d", (int)pid);
	else if (d->has_state)
		status_line("Server", "pid %d, if it is alive", (int)d->state.pid);
}

static void status_print_holders(const struct survey_device *d)
{
	AUTO(holders_deinit) struct holders *h = &(struct holders){0};
	char text[4096];
	int r;

	r = holders_find(d->dev_id, h);
	if (h->n > 0 || r == 0)
		status_line("Used by", "%s",
			    h->n > 0         ? holders_to_string(h, text, sizeof(text))
			    : geteuid() == 0 ? "nobody"
					     : "nobody that this user may see");
}

static void status_print_error(const struct stats_queue *q, unsigned queue)
{
	const int error = __atomic_load_n(&q->last_errno, __ATOMIC_RELAXED);

	if (error > 0)
		status_line("Last error", "%s at byte %" PRIu64 " of queue %u: %s",
			    io_op_to_string((enum io_op)q->last_error_op), q->last_error_offset,
			    queue, strerror(error));
}

static int counters_add_line(struct libscols_table *t, const char *name,
			     const struct show_counters *c)
{
	struct libscols_line *line = scols_table_new_line(t, NULL);
	const struct stats_op *op = c->op;
	uint64_t errors = 0;
	char cells[10][32];
	size_t n = 0;
	int r = line ? 0 : -ENOMEM;

	for (size_t i = 0; i < STATS_N_OPS; i++)
		errors += op[i].errors;
	snprintf(cells[n++], 32, "%s", name);
	snprintf(cells[n++], 32, "%" PRIu64, op[IO_READ].count);
	output_size(op[IO_READ].bytes, cells[n++]);
	snprintf(cells[n++], 32, "%" PRIu64, op[IO_WRITE].count);
	output_size(op[IO_WRITE].bytes, cells[n++]);
	snprintf(cells[n++], 32, "%" PRIu64, op[IO_FLUSH].count);
	snprintf(cells[n++], 32, "%" PRIu64, op[IO_DISCARD].count);
	snprintf(cells[n++], 32, "%" PRIu64, op[IO_WRITE_ZEROES].count);
	snprintf(cells[n++], 32, "%" PRIu64, errors);
	snprintf(cells[n++], 32, "%" PRIu64, c->in_flight);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = scols_line_set_data(line, i, cells[i]);
	return r;
}

static int status_print_counters(const struct stats *stats, const struct cli *cli)
{
	static const char *const columns[] = {"QUEUE",   "READS",    "READ",     "WRITES",
					      "WRITTEN", "FLUSHES",  "DISCARDS", "ZEROES",
					      "ERRORS",  "IN FLIGHT"};
	struct libscols_table *t = scols_new_table();
	struct show_counters c;
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(columns); i++) {
		if (!scols_table_new_column(t, columns[i], 0, SCOLS_FL_RIGHT))
			r = -ENOMEM;
	}
	if (r == 0)
		scols_table_enable_noheadings(t, cli->no_legend);
	for (unsigned q = 0; r == 0 && q < stats_get_n_queues(stats); q++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", q);
		c = (struct show_counters){0};
		show_add_counters(stats_get_queue(stats, q), &c);
		r = counters_add_line(t, name, &c);
	}
	c = (struct show_counters){0};
	for (unsigned q = 0; q < stats_get_n_queues(stats); q++)
		show_add_counters(stats_get_queue(stats, q), &c);
	if (r == 0)
		r = counters_add_line(t, "all", &c);
	if (r == 0)
		putchar('\n');
	if (r == 0)
		r = scols_print_table(t);
	scols_unref_table(t);
	return r;
}

static int status_print_text(const struct survey_device *d, const struct cli *cli)
{
	const char *definition = show_definition(d);
	const char *backend = show_backend(d);
	struct stats stats;
	int r = 0;

	if (d->name)
		printf("%s%s%s\n", d->name, d->conf && d->conf->description ? " - " : "",
		       d->conf && d->conf->description ? d->conf->description : "");
	else
		printf("ublkb%" PRIu32 " - made by another program\n", d->dev_id);
	if (d->definition == DEFINITION_INVALID)
		status_line("State",
			    "%s; \"ublkctl check %s\" says what is wrong with the definition",
			    survey_state(d), d->name);
	else
		status_line("State", "%s", survey_state(d));
	if (definition)
		status_line("Definition", "%s", definition);
	if (backend && d->has_state && d->state.target[0])
		status_line("Backend", "%s %s", backend, d->state.target);
	else if (backend)
		status_line("Backend", "%s", backend);
	if (d->has_disk)
		status_print_disk(d);
	if (d->has_dev && d->info_error == 0)
		status_print_info(d);
	status_print_server(d);
	if (d->has_disk)
		status_print_holders(d);
	if (d->name && d->has_dev && stats_open(d->name, &stats) == 0) {
		for (unsigned q = 0; q < stats_get_n_queues(&stats); q++)
			status_print_error(stats_get_queue(&stats, q), q);
		r = status_print_counters(&stats, cli);
		stats_close(&stats);
	}
	return r;
}

/* Scripts ask "is it live?", as they ask systemctl. */
static int status_of(const struct survey *s, const struct survey_device *d)
{
	if (strcmp(survey_state(d), "live") == 0)
		return EX_OK;
	if (strcmp(survey_state(d), "unknown") == 0)
		return MAX(show_complain(s), 1);
	return 1;
}

int cmd_status(int argc, char **argv, const struct cli *cli)
{
	const struct survey_device *d;
	struct survey s = {0};
	int r, status;

	if (argc != 2) {
		fputs("usage: ublkctl status NAME|DEVICE|ID\n", stderr);
		return EX_USAGE;
	}
	r = survey_take("/sys", &s);
	if (r < 0)
		return output_complain(r, "cannot look for %s", argv[1]);
	d = survey_find(&s, argv[1]);
	if (!d) {
		fprintf(stderr,
			"ublkctl: there is no device and no definition \"%s\"; "
			"ublkctl list --all names those there are\n",
			argv[1]);
		survey_deinit(&s);
		return 1;
	}
	r = cli->json ? show_status_json(d) : status_print_text(d, cli);
	status = r < 0 ? output_complain(r, "cannot show %s", argv[1]) : status_of(&s, d);
	survey_deinit(&s);
	return status;
}
