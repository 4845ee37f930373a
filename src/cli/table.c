/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"

#include <libsmartcols.h>
#include <string.h>
#include <sys/ioctl.h>

#define TABLE_GAP 1

struct table {
	const struct table_column *columns;
	size_t n_columns;
	char **cells; /* of n_rows * n_columns */
	const char **colors;
	size_t n_rows;
};

int table_new(const struct table_column *columns, size_t n_columns, struct table **ret)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->columns = columns;
	t->n_columns = n_columns;
	*ret = t;
	return 0;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->colors);
	free(t);
	return NULL;
}

int table_add(struct table *t, const char *const cells[], const char *color)
{
	const size_t n = t->n_rows * t->n_columns;
	char **more = reallocarray(t->cells, n + t->n_columns, sizeof(*more));
	const char **colors;

	if (!more)
		return -ENOMEM;
	t->cells = more;
	colors = reallocarray(t->colors, t->n_rows + 1, sizeof(*colors));
	if (!colors)
		return -ENOMEM;
	t->colors = colors;
	colors[t->n_rows++] = color;
	memset(&more[n], 0, t->n_columns * sizeof(*more));
	for (size_t i = 0; i < t->n_columns; i++) {
		more[n + i] = strdup(cells[i] && *cells[i] ? cells[i] : "-");
		if (!more[n + i])
			return -ENOMEM; /* what there is, table_free() frees */
	}
	return 0;
}

/* What it takes at least; in bytes, which for what is shown here are columns. */
static size_t table_column_width(const struct table *t, size_t column)
{
	size_t width = strlen(t->columns[column].name);

	for (size_t row = 0; row < t->n_rows; row++)
		width = MAX(width, strlen(t->cells[row * t->n_columns + column]));
	if (t->columns[column].most > 0)
		width = MIN(width,
			    MAX(strlen(t->columns[column].name), (size_t)t->columns[column].most));
	return width + TABLE_GAP;
}

static void table_choose(const struct table *t, unsigned width, bool shown[])
{
	size_t sum = 0;

	for (size_t i = 0; i < t->n_columns; i++) {
		shown[i] = true;
		sum += table_column_width(t, i);
	}
	/* Columns that say the same of different things stay or go together. */
	while (width > 0 && sum > width + TABLE_GAP) {
		unsigned drop = 0;

		for (size_t i = 0; i < t->n_columns; i++)
			if (shown[i])
				drop = MAX(drop, t->columns[i].drop);
		if (drop == 0)
			return;
		for (size_t i = 0; i < t->n_columns; i++) {
			if (!shown[i] || t->columns[i].drop != drop)
				continue;
			shown[i] = false;
			sum -= table_column_width(t, i);
		}
	}
}

static int table_add_line(const struct table *t, size_t row, struct libscols_table *out,
			  const bool shown[])
{
	struct libscols_line *line = scols_table_new_line(out, NULL);
	size_t at = 0;
	int r = line ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < t->n_columns; i++) {
		if (shown[i])
			r = scols_line_set_data(line, at++, t->cells[row * t->n_columns + i]);
	}
	if (r == 0 && t->colors[row])
		r = scols_line_set_color(line, t->colors[row]);
	return r;
}

int table_print(const struct table *t, bool no_legend, unsigned width)
{
	AUTO_FREE bool *shown = calloc(t->n_columns, sizeof(*shown));
	struct libscols_table *out = scols_new_table();
	int r = out && shown ? 0 : -ENOMEM;

	if (r == 0) {
		table_choose(t, width, shown);
		scols_table_enable_noheadings(out, no_legend);
		scols_table_enable_colors(out, width > 0 && !getenv("NO_COLOR"));
	}
	for (size_t i = 0; r == 0 && i < t->n_columns; i++) {
		const struct table_column *c = &t->columns[i];

		if (shown[i] && !scols_table_new_column(out, c->name, 0,
							c->right  ? SCOLS_FL_RIGHT
							: c->drop ? 0
								  : SCOLS_FL_TRUNC))
			r = -ENOMEM;
	}
	for (size_t row = 0; r == 0 && row < t->n_rows; row++)
		r = table_add_line(t, row, out, shown);
	if (r == 0)
		r = scols_print_table(out);
	scols_unref_table(out);
	return r;
}

static struct winsize table_get_size(void)
{
	struct winsize w = {0};

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0)
		return (struct winsize){0};
	if (w.ws_col == 0)
		w.ws_col = 80;
	if (w.ws_row == 0)
		w.ws_row = 24;
	return w;
}

unsigned table_get_width(void)
{
	return table_get_size().ws_col;
}

unsigned table_get_height(void)
{
	return table_get_size().ws_row;
}
