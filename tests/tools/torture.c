/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "torture.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "util/parse.h"

atomic_bool torture_stop;

static const char usage_text[] =
	"usage: torture [OPTION]... DEVICE\n"
	"       torture --verify LOG DEVICE\n"
	"Writes random blocks to a device and reads them again. Prints one line of JSON. Exit status: 0 if all was\n"
	"as it must be, 1 if a block was wrong or an operation failed, 2 if it could not be done.\n"
	"  --seed=N            what is done follows from it (default: another each time, in the output)\n"
	"  --seconds=N         so long (default 10); --operations=N: so many, and as long as it takes\n"
	"  --workers=N         threads (default 2)\n"
	"  --depth=N           requests in flight for each (default 8), each within its own part of the device\n"
	"  --offset=SIZE --size=SIZE  only this part of the device\n"
	"  --block=SIZE        what is told apart (default: the device's logical block)\n"
	"  --max=SIZE          most bytes of one operation (default 256K)\n"
	"  --weights=READ,WRITE,FUA,FLUSH,DISCARD,ZERO,PUNCH  how often (default 40,35,5,4,4,6,6)\n"
	"  --discard-zeroes    what was discarded reads as zeros (default: as anything)\n"
	"  --buffered          through the page cache\n"
	"  --corrupt-one=HOW   self-test: a block becomes lost, stale, torn or foreign at the end\n"
	"  --log=FILE          tells of each flush that was acknowledged, for --verify; -: on stdout\n"
	"SIGTERM and SIGINT end it early, with all the checks.\n";

enum {
	OPT_SEED = 256,
	OPT_SECONDS,
	OPT_OPERATIONS,
	OPT_WORKERS,
	OPT_DEPTH,
	OPT_OFFSET,
	OPT_SIZE,
	OPT_BLOCK,
	OPT_MAX,
	OPT_WEIGHTS,
	OPT_DISCARD_ZEROES,
	OPT_BUFFERED,
	OPT_CORRUPT_ONE,
	OPT_LOG,
	OPT_VERIFY,
	OPT_HELP
};

static const struct option long_options[] = {
	{"seed", required_argument, NULL, OPT_SEED},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"operations", required_argument, NULL, OPT_OPERATIONS},
	{"workers", required_argument, NULL, OPT_WORKERS},
	{"depth", required_argument, NULL, OPT_DEPTH},
	{"offset", required_argument, NULL, OPT_OFFSET},
	{"size", required_argument, NULL, OPT_SIZE},
	{"block", required_argument, NULL, OPT_BLOCK},
	{"max", required_argument, NULL, OPT_MAX},
	{"weights", required_argument, NULL, OPT_WEIGHTS},
	{"discard-zeroes", no_argument, NULL, OPT_DISCARD_ZEROES},
	{"buffered", no_argument, NULL, OPT_BUFFERED},
	{"corrupt-one", required_argument, NULL, OPT_CORRUPT_ONE},
	{"log", required_argument, NULL, OPT_LOG},
	{"verify", required_argument, NULL, OPT_VERIFY},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

struct options {
	uint64_t seconds, operations, offset_bytes, size_bytes, block_bytes, max_bytes, seed;
	uint32_t n_workers, depth, weights[N_OPS];
	bool discard_zeroes, buffered, help;
	enum verdict corrupt;
	const char *log, *verify, *device;
};

static int options_parse_weights(char *text, uint32_t *weights)
{
	unsigned n = 0;
	uint64_t sum = 0;

	for (char *word = strtok(text, ","); word; word = strtok(NULL, ","), n++) {
		if (n == N_OPS || parse_u32(word, weights + n) < 0 || weights[n] > 1000)
			return -EINVAL;
		sum += weights[n];
	}
	return n == N_OPS && sum > 0 ? 0 : -EINVAL;
}

static int options_parse_corrupt(const char *text, enum verdict *ret)
{
	const enum verdict ways[] = {VERDICT_LOST, VERDICT_STALE, VERDICT_TORN, VERDICT_FOREIGN};

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++)
		if (!strcmp(text, verdict_names[ways[i]])) {
			*ret = ways[i];
			return 0;
		}
	return -EINVAL;
}

static int options_parse_one(struct options *o, int option)
{
	switch (option) {
	case OPT_SEED:
		return parse_u64(optarg, &o->seed);
	case OPT_SECONDS:
		return parse_u64(optarg, &o->seconds);
	case OPT_OPERATIONS:
		return parse_u64(optarg, &o->operations);
	case OPT_WORKERS:
		return parse_u32(optarg, &o->n_workers);
	case OPT_DEPTH:
		return parse_u32(optarg, &o->depth);
	case OPT_OFFSET:
		return parse_size(optarg, &o->offset_bytes);
	case OPT_SIZE:
		return parse_size(optarg, &o->size_bytes);
	case OPT_BLOCK:
		return parse_size(optarg, &o->block_bytes);
	case OPT_MAX:
		return parse_size(optarg, &o->max_bytes);
	case OPT_WEIGHTS:
		return options_parse_weights(optarg, o->weights);
	case OPT_CORRUPT_ONE:
		return options_parse_corrupt(optarg, &o->corrupt);
	case OPT_DISCARD_ZEROES:
		o->discard_zeroes = true;
		return 0;
	case OPT_BUFFERED:
		o->buffered = true;
		return 0;
	case OPT_LOG:
		o->log = optarg;
		return 0;
	case OPT_VERIFY:
		o->verify = optarg;
		return 0;
	case OPT_HELP:
		o->help = true;
		return 0;
	}
	return -EINVAL;
}

static int options_parse(struct options *o, int argc, char **argv)
{
	int option, at = -1;

	while ((option = getopt_long(argc, argv, "", long_options, &at)) != -1) {
		if (option == '?' || options_parse_one(o, option) < 0) {
			if (option != '?')
				fprintf(stderr, "--%s: bad value '%s'\n", long_options[at].name,
					optarg);
			return -EINVAL;
		}
	}
	if (o->help)
		return 0;
	if (optind + 1 != argc || o->n_workers - 1 >= 256 || o->depth - 1 >= 4096 ||
	    o->seconds > 1000000000 || o->max_bytes - 1 >= UINT64_C(64) << 20) {
		fputs(usage_text, stderr);
		return -EINVAL;
	}
	o->device = argv[optind];
	return 0;
}

/* Cuts the device into lanes. */
static int run_plan(struct run *run, const struct options *o)
{
	const struct target *t = &run->target;
	struct plan *p = &run->plan;
	uint64_t size;

	p->seed = o->seed;
	p->n_lanes = o->n_workers * o->depth;
	p->block_bytes = (uint32_t)(o->block_bytes ? o->block_bytes : t->block_bytes);
	p->offset_bytes = o->offset_bytes;
	p->max_bytes = (uint32_t)o->max_bytes;
	p->discard_zeroes = o->discard_zeroes;
	memcpy(p->weights, o->weights, sizeof(p->weights));
	if (!t->can_discard)
		p->weights[OP_DISCARD] = 0;
	if (!t->can_punch)
		p->weights[OP_PUNCH] = 0;
	if (o->offset_bytes >= t->size_bytes || o->size_bytes > t->size_bytes - o->offset_bytes) {
		fprintf(stderr, "%s has only %" PRIu64 " bytes\n", t->path, t->size_bytes);
		return -EINVAL;
	}
	size = o->size_bytes ? o->size_bytes : t->size_bytes - o->offset_bytes;
	p->lane_bytes = size / p->n_lanes / p->block_bytes * p->block_bytes;
	if (p->lane_bytes == 0 || p->lane_bytes / p->block_bytes > UINT32_MAX ||
	    p->block_bytes % t->block_bytes || p->block_bytes % SECTOR_BYTES ||
	    p->offset_bytes % p->block_bytes || p->max_bytes % p->block_bytes ||
	    (p->offset_bytes + size) / SECTOR_BYTES > UINT32_MAX) {
		fprintf(stderr, "%s: %" PRIu32 " lanes with blocks of %" PRIu32 " do not fit\n",
			t->path, p->n_lanes, p->block_bytes);
		return -EINVAL;
	}
	return 0;
}

struct thread {
	pthread_t id;
	struct run *run;
	uint32_t index;
	int result;
	struct totals totals;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	t->result = worker_run(t->run, t->index, &t->totals);
	if (t->result < 0)
		fprintf(stderr, "worker %" PRIu32 ": %s\n", t->index, strerror(-t->result));
	return NULL;
}

static void totals_add(struct totals *sum, const struct totals *t)
{
	for (unsigned i = 0; i < N_OPS; i++)
		sum->n_ops[i] += t->n_ops[i];
	for (unsigned i = 0; i < N_VERDICTS; i++)
		sum->n_verdicts[i] += t->n_verdicts[i];
	sum->read_bytes += t->read_bytes;
	sum->written_bytes += t->written_bytes;
	sum->n_checked += t->n_checked;
	sum->n_errors += t->n_errors;
}

static int run_threads(struct run *run, struct totals *sum)
{
	AUTO_FREE struct thread *threads = calloc(run->n_workers, sizeof(*threads));
	uint32_t n = 0;
	int r = threads ? 0 : -ENOMEM;

	for (; r == 0 && n < run->n_workers; n++) {
		threads[n] = (struct thread){.run = run, .index = n};
		r = -pthread_create(&threads[n].id, NULL, thread_main, threads + n);
		if (r < 0)
			break;
	}
	if (r < 0) {
		atomic_store(&torture_stop, true);
		fprintf(stderr, "cannot start a worker: %s\n", strerror(-r));
	}
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(threads[i].id, NULL);
		totals_add(sum, &threads[i].totals);
		if (r == 0)
			r = threads[i].result;
	}
	return r;
}

static void run_print(const struct run *run, const struct totals *t, uint64_t took_ns,
		      uint64_t n_wrong)
{
	printf("{\"seed\":%" PRIu64 ",\"seconds\":%.3f,\"lanes\":%" PRIu32 ",\"block\":%" PRIu32
	       ",\"operations\":{",
	       run->plan.seed, (double)took_ns / 1e9, run->plan.n_lanes, run->plan.block_bytes);
	for (unsigned i = 0; i < N_OPS; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", op_names[i], t->n_ops[i]);
	printf("},\"read_bytes\":%" PRIu64 ",\"written_bytes\":%" PRIu64
	       ",\"checked_blocks\":%" PRIu64 ",\"mismatches\":%" PRIu64 ",\"verdicts\":{",
	       t->read_bytes, t->written_bytes, t->n_checked, n_wrong);
	for (unsigned i = 0; i < N_VERDICTS; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", verdict_names[i], t->n_verdicts[i]);
	printf("},\"errors\":%" PRIu64 ",\"largest_gap_ms\":%.1f}\n", t->n_errors,
	       (double)atomic_load(&run->largest_gap_ns) / 1e6);
}

/* Return: exit status */
static int run_run(struct run *run, uint64_t seconds)
{
	struct totals sum = {0};
	uint64_t start = now_ns(), n_wrong;
	int r;

	run->deadline_ns = run->n_operations ? UINT64_MAX : start + seconds * 1000000000;
	atomic_store(&run->last_ns, start);
	if (run->log_fd >= 0)
		plan_print(&run->plan, run->log_fd);
	r = run_threads(run, &sum);
	n_wrong = sum.n_checked - sum.n_verdicts[VERDICT_SAME];
	run_print(run, &sum, now_ns() - start, n_wrong);
	if (r < 0)
		return 2;
	return n_wrong || sum.n_errors ? 1 : 0;
}

static void on_signal(int number)
{
	atomic_store(&torture_stop, true);
}

int main(int argc, char **argv)
{
	struct options o = {
		.seconds = 10,
		.seed = pattern_mix(now_ns() ^ (uint64_t)getpid() << 40) >> 16,
		.n_workers = 2,
		.depth = 8,
		.max_bytes = 256 << 10,
		.weights = {40, 35, 5, 4, 4, 6, 6},
		.corrupt = VERDICT_SAME,
	};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct run run = {.log_fd = -1};
	int status;

	if (options_parse(&o, argc, argv) < 0)
		return EX_USAGE;
	if (o.help) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (o.verify)
		return verify_log(o.verify, o.device);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	run.n_workers = o.n_workers;
	run.depth = o.depth;
	run.corrupt = o.corrupt;
	run.n_operations = (o.operations + o.n_workers * o.depth - 1) / (o.n_workers * o.depth);
	if (target_open(&run.target, o.device, !o.buffered, true) < 0 || run_plan(&run, &o) < 0)
		return 2;
	if (o.log)
		run.log_fd =
			strcmp(o.log, "-")
				? open(o.log, O_WRONLY | O_CREAT | O_APPEND | O_SYNC | O_CLOEXEC,
				       0644)
				: STDOUT_FILENO;
	if (o.log && run.log_fd < 0) {
		fprintf(stderr, "cannot open %s: %m\n", o.log);
		return 2;
	}
	status = run_run(&run, o.seconds);
	target_close(&run.target);
	return status;
}
