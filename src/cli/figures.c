/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/figures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state/state.h"
#include "util/clock.h"

/* Counters of 64 bits, one by one, since somebody writes them meanwhile. */
static void counters_add(uint64_t *to, const uint64_t *from, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes / sizeof(*to); i++)
		to[i] += stats_read(&from[i]);
}

static void counters_subtract(uint64_t *from, const uint64_t *then, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes / sizeof(*from); i++)
		from[i] -= from[i] < then[i] ? 0 : then[i];
}

static void figures_add_queue(struct figures *f, const struct stats_queue *q)
{
	counters_add((uint64_t *)f->op, (const uint64_t *)q->op, sizeof(f->op));
	counters_add(f->latency[0], q->latency[0], sizeof(f->latency));
	f->retries += stats_read(&q->retries);
	f->turns += stats_read(&q->turns);
	f->backend_ns += stats_read(&q->backend_ns);
	f->waited_ns += stats_read(&q->waited_ns);
	f->full_ns += stats_read(&q->full_ns);
	f->reconnects += stats_read(&q->reconnects);
	f->unreachable += __atomic_load_n(&q->unreachable, __ATOMIC_RELAXED);
	f->in_flight += __atomic_load_n(&q->in_flight, __ATOMIC_RELAXED);
}

static void figures_add(struct figures *f, const struct figures *more)
{
	counters_add((uint64_t *)f, (const uint64_t *)more, sizeof(*f));
}

void figures_deinit(struct device_figures *f)
{
	free(f->name);
	free(f->queues);
	free(f->tids);
	*f = (struct device_figures){0};
}

static int figures_take(const char *name, const struct stats *s, struct device_figures *ret)
{
	const unsigned n = stats_get_n_queues(s);
	struct device_figures f = {
		.name = strdup(name),
		.n_queues = n,
		.depth = s->header->depth,
		.at_ns = clock_now_ns(),
		.queues = calloc(n, sizeof(*f.queues)),
		.tids = calloc(n, sizeof(*f.tids)),
	};

	if (!f.name || !f.queues || !f.tids) {
		figures_deinit(&f);
		return -ENOMEM;
	}
	counters_add((uint64_t *)&f.device, (const uint64_t *)stats_get_device(s),
		     sizeof(f.device));
	for (unsigned i = 0; i < n; i++) {
		const struct stats_queue *q = stats_get_queue(s, i);

		figures_add_queue(&f.queues[i], q);
		figures_add(&f.total, &f.queues[i]);
		f.tids[i] = __atomic_load_n(&q->tid, __ATOMIC_RELAXED);
	}
	*ret = f;
	return 0;
}

int figures_read(const char *name, struct device_figures *ret)
{
	struct stats s;
	int r = stats_open(name, &s);

	if (r < 0)
		return r;
	r = figures_take(name, &s, ret);
	stats_close(&s);
	return r;
}

void fleet_figures_deinit(struct fleet_figures *f)
{
	for (size_t i = 0; i < f->n; i++)
		figures_deinit(&f->devices[i]);
	free(f->devices);
	free(f->foreign);
	*f = (struct fleet_figures){0};
}

static int fleet_figures_add(struct fleet_figures *f, const char *name)
{
	struct device_figures *more = reallocarray(f->devices, f->n + 1, sizeof(*more));
	int r;

	if (!more)
		return -ENOMEM;
	f->devices = more;
	r = figures_read(name, &more[f->n]);
	if (r == 0)
		f->n++;
	if (r == -EPROTO && !f->foreign)
		f->foreign = strdup(name);
	return r;
}

int fleet_figures_read(const char *name, struct fleet_figures *ret)
{
	AUTO(state_list_free) char **names = NULL;
	struct fleet_figures f = {0};
	int r;

	if (name) {
		r = fleet_figures_add(&f, name);
	} else {
		r = state_list(&names);
		/* One that cannot be read is just being made, or is on its way out. */
		for (size_t i = 0; r == 0 && names[i]; i++) {
			if (fleet_figures_add(&f, names[i]) == -ENOMEM)
				r = -ENOMEM;
		}
	}
	if (r < 0) {
		fleet_figures_deinit(&f);
		return r;
	}
	*ret = f;
	return 0;
}

static int figures_copy(const struct device_figures *f, struct device_figures *ret)
{
	struct device_figures copy = *f;

	copy.name = strdup(f->name);
	copy.queues = calloc(f->n_queues, sizeof(*copy.queues));
	copy.tids = calloc(f->n_queues, sizeof(*copy.tids));
	if (!copy.name || !copy.queues || !copy.tids) {
		figures_deinit(&copy);
		return -ENOMEM;
	}
	memcpy(copy.queues, f->queues, f->n_queues * sizeof(*copy.queues));
	memcpy(copy.tids, f->tids, f->n_queues * sizeof(*copy.tids));
	*ret = copy;
	return 0;
}

int fleet_figures_copy(const struct fleet_figures *f, struct fleet_figures *ret)
{
	struct fleet_figures copy = {.devices = calloc(MAX(f->n, 1U), sizeof(*copy.devices))};

	for (; copy.devices && copy.n < f->n; copy.n++) {
		if (figures_copy(&f->devices[copy.n], &copy.devices[copy.n]) < 0)
			break;
	}
	if (!copy.devices || copy.n < f->n) {
		fleet_figures_deinit(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

static void figures_subtract(struct figures *f, const struct figures *then)
{
	const uint64_t in_flight = f->in_flight, unreachable = f->unreachable;

	counters_subtract((uint64_t *)f, (const uint64_t *)then, sizeof(*f));
	f->in_flight = in_flight;
	f->unreachable = unreachable;
}

void figures_since(struct device_figures *now, const struct device_figures *then)
{
	now->interval_ns = now->at_ns - then->at_ns;
	if (now->n_queues != then->n_queues)
		return;
	figures_subtract(&now->total, &then->total);
	for (unsigned i = 0; i < now->n_queues; i++)
		figures_subtract(&now->queues[i], &then->queues[i]);
}

void fleet_figures_since(struct fleet_figures *now, const struct fleet_figures *then)
{
	for (size_t i = 0, j = 0; i < now->n; i++) {
		while (j < then->n && strcmp(then->devices[j].name, now->devices[i].name) < 0)
			j++;
		if (j < then->n && strcmp(then->devices[j].name, now->devices[i].name) == 0)
			figures_since(&now->devices[i], &then->devices[j]);
		else if (then->n > 0)
			now->devices[i].interval_ns =
				now->devices[i].at_ns - then->devices[0].at_ns;
	}
}

uint64_t figures_count(const struct figures *f)
{
	uint64_t n = 0;

	for (unsigned op = 0; op < N_IO_OPS; op++)
		n += f->op[op].count;
	return n;
}

uint64_t figures_errors(const struct figures *f)
{
	uint64_t n = 0;

	for (unsigned op = 0; op < N_IO_OPS; op++)
		n += f->op[op].errors;
	return n;
}

uint64_t figures_class_count(const struct figures *f, unsigned class)
{
	return latency_count_below(f->latency[class], LATENCY_MAX_NS);
}

uint64_t figures_class_ns(const struct figures *f, unsigned class)
{
	uint64_t ns = 0;

	for (unsigned op = 0; op < N_IO_OPS; op++) {
		if (stats_class(op) == class)
			ns += f->op[op].latency_ns;
	}
	return ns;
}

const char *figures_class_name(unsigned class)
{
	static const char *const names[STATS_N_CLASSES] = {"read", "write", "flush", "other"};

	return names[class];
}

const char *figures_errno_name(unsigned index)
{
	const char *name = index > 0 ? strerrorname_np(stats_errno(index)) : NULL;

	return name ?: "other";
}

const char *figures_op_name(enum io_op op)
{
	return op == IO_WRITE_ZEROES ? "write_zeroes" : io_op_to_string(op);
}
