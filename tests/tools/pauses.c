/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pause that users of a device see. Some threads read and write one small block after another. Each line on
 * stdin is an event: write it before what is to be looked at is done. Its pause is the longest time between two
 * completions from then to the next event. Ends with the line "end", or with stdin.
 */
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sysexits.h>

#include "target.h"
#include "util/cleanup.h"
#include "util/parse.h"

#define MOST_THREADS 64
#define N_BUCKETS    20 /* powers of two of a millisecond */
#define N_BYTES      4096

struct event {
	char name[80];
	uint64_t at_ns, before_ns, after_ns; /* the two completions with the longest time between */
};

static struct {
	pthread_mutex_t lock; /* guards what follows, up to the empty line */
	uint64_t last_ns, n_done, n_errors;
	struct event *events; /* the first is what was before all others */
	size_t n_events;

	struct target target;
	uint64_t offset_bytes, size_bytes, interval_ns, start_ns;
	unsigned depth;
	atomic_bool stop;
} g = {.lock = PTHREAD_MUTEX_INITIALIZER, .depth = 4, .interval_ns = 1000000};

static void done(int r)
{
	struct event *e;
	uint64_t now;

	pthread_mutex_lock(&g.lock);
	now = now_ns();
	e = g.events + g.n_events - 1;
	if (now - g.last_ns > e->after_ns - e->before_ns) {
		e->before_ns = g.last_ns;
		e->after_ns = now;
	}
	g.last_ns = now;
	g.n_done++;
	if (r < 0 && g.n_errors++ < 10)
		fprintf(stderr, "error: %s\n", strerror(-r));
	pthread_mutex_unlock(&g.lock);
}

static void *user_main(void *arg)
{
	uint64_t n_blocks = g.size_bytes / N_BYTES / g.depth, first = (uintptr_t)arg * n_blocks;
	struct timespec interval = {.tv_sec = (time_t)(g.interval_ns / 1000000000),
				    .tv_nsec = (long)(g.interval_ns % 1000000000)};
	AUTO_FREE void *buf = NULL;

	if (posix_memalign(&buf, N_BYTES, N_BYTES)) {
		done(-ENOMEM);
		return NULL;
	}
	memset(buf, (int)(uintptr_t)arg + 1, N_BYTES);
	for (uint64_t n = 0; !atomic_load(&g.stop); n++) {
		uint64_t at = g.offset_bytes + (first + n / 2 % n_blocks) * N_BYTES;

		done(n % 2 ? target_pread(&g.target, buf, N_BYTES, at)
			   : target_pwrite(&g.target, buf, N_BYTES, at));
		if (g.interval_ns)
			nanosleep(&interval, NULL);
	}
	return NULL;
}

static int event_add(const char *name)
{
	struct event *more;

	pthread_mutex_lock(&g.lock);
	more = reallocarray(g.events, g.n_events + 1, sizeof(*more));
	if (more) {
		g.events = more;
		more += g.n_events++;
		*more = (struct event){.at_ns = now_ns()};
		snprintf(more->name, sizeof(more->name), "%.*s", (int)strcspn(name, "\"\\\n"),
			 name);
	}
	pthread_mutex_unlock(&g.lock);
	return more ? 0 : -ENOMEM;
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

/* The smallest that @percent of them do not exceed. */
static double percentile_ms(const uint64_t *sorted, size_t n, unsigned percent)
{
	return n ? ms(sorted[(n * percent + 99) / 100 - 1]) : 0;
}

static int report(void)
{
	size_t n = g.n_events - 1, buckets[N_BUCKETS] = {0};
	AUTO_FREE uint64_t *pauses = calloc(n + 1, sizeof(*pauses));
	const char *comma = "";

	if (!pauses)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct event *e = g.events + i + 1;
		unsigned bucket = 0;

		pauses[i] = e->after_ns - e->before_ns;
		while (bucket + 1 < N_BUCKETS && pauses[i] >= UINT64_C(1000000) << bucket)
			bucket++;
		buckets[bucket]++;
		printf("{\"event\":\"%s\",\"at_ms\":%.1f,\"last_before_ms\":%.1f,\"first_after_ms\":%.1f,\"pause_ms\":%.1f}\n",
		       e->name, ms(e->at_ns - g.start_ns), ms(e->before_ns - g.start_ns),
		       ms(e->after_ns - g.start_ns), ms(pauses[i]));
	}
	qsort(pauses, n, sizeof(*pauses), compare_ns);
	printf("{\"events\":%zu,\"median_ms\":%.1f,\"p99_ms\":%.1f,\"max_ms\":%.1f,\"without_event_ms\":%.1f,"
	       "\"completions\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"histogram\":{",
	       n, percentile_ms(pauses, n, 50), percentile_ms(pauses, n, 99),
	       percentile_ms(pauses, n, 100), ms(g.events[0].after_ns - g.events[0].before_ns),
	       g.n_done, g.n_errors);
	for (unsigned i = 0; i < N_BUCKETS; i++)
		if (buckets[i]) {
			printf("%s\"<%lums\":%zu", comma, 1UL << i, buckets[i]);
			comma = ",";
		}
	printf("}}\n");
	return g.n_errors ? -EIO : 0;
}

static int options_parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"depth", required_argument, NULL, 'd'},
		{"interval", required_argument, NULL, 'i'},
		{"offset", required_argument, NULL, 'o'},
		{"size", required_argument, NULL, 's'},
		{0},
	};
	int option, r = 0;
	uint32_t us = 1000;

	while (r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		r = option == 'd'   ? parse_u32(optarg, &g.depth)
		    : option == 'i' ? parse_u32(optarg, &us)
		    : option == 'o' ? parse_size(optarg, &g.offset_bytes)
		    : option == 's' ? parse_size(optarg, &g.size_bytes)
				    : -EINVAL;
	g.interval_ns = (uint64_t)us * 1000;
	return r == 0 && optind + 1 == argc && g.depth - 1 < MOST_THREADS ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	pthread_t threads[MOST_THREADS];
	char line[80];

	if (options_parse(argc, argv) < 0) {
		fputs("usage: pauses [--depth=N] [--interval=MICROSECONDS] [--offset=SIZE] [--size=SIZE] DEVICE\n"
		      "4K reads and writes; lines on stdin are events, \"end\" is the last. JSON: a line for each, and one of all.\n",
		      stderr);
		return EX_USAGE;
	}
	if (target_open(&g.target, argv[optind], true, true) < 0)
		return 2;
	if (g.size_bytes == 0)
		g.size_bytes = g.target.size_bytes - g.offset_bytes;
	if (g.offset_bytes + g.size_bytes > g.target.size_bytes ||
	    g.size_bytes / N_BYTES / g.depth == 0) {
		fprintf(stderr, "%s is too small\n", g.target.path);
		return 2;
	}
	g.start_ns = g.last_ns = now_ns();
	if (event_add("") < 0)
		return 2;
	for (unsigned i = 0; i < g.depth; i++)
		if (pthread_create(threads + i, NULL, user_main, (void *)(uintptr_t)i))
			return 2;
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n"))
		if (event_add(line) < 0)
			break;
	atomic_store(&g.stop, true);
	for (unsigned i = 0; i < g.depth; i++)
		pthread_join(threads[i], NULL);
	return report() < 0 ? 1 : 0;
}
