/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A load that costs little itself: so many requests of one size, a fixed number of them in flight. Tells what each
 * cost, split into this process ("client": the system calls here, and the block layer above the device) and all other
 * tasks ("server"): task work of the driver, the server's threads, kernel workers, and what lies below them. Under
 * QEMU's -icount a nanosecond is an instruction. For that, the CPU times of all tasks are read before and after; nothing
 * but requests lies between. With one CPU nobody else runs meanwhile, so that what a task has used is all counted.
 * Time of interrupts goes to whom they interrupt, and none to the idle task, which is in "total" only.
 */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <time.h>

#include "target.h"
#include "util/cleanup.h"
#include "util/parse.h"

#define MOST_DEPTH   4096
#define MOST_TASKS   4096
#define MOST_THREADS 64 /* of the server */

struct task {
	int tid;
	uint32_t pid;
	uint64_t cpu_ns;
	uint64_t switches;
};

struct snapshot {
	struct task *tasks; /* MOST_TASKS of them */
	size_t n_tasks;
	uint64_t switches; /* of the machine */
	uint64_t calls;    /* of the server's threads */
	uint64_t client_ns, now_ns;
};

static struct {
	struct target target;
	struct io_uring ring;
	char *bufs;
	uint32_t depth, server, seed, n_warm_up, n_requests;
	uint64_t block_bytes, size_bytes, n_blocks, random, next;
	int write, sequential, count_calls, tell_tasks, profile; /* what getopt_long() sets */
	int counters[MOST_THREADS];
	size_t n_counters;
} g = {.depth = 1, .block_bytes = 4096, .n_requests = 10000, .n_warm_up = 1000, .seed = 1};

static uint64_t offset_next(void)
{
	uint64_t x = g.random;

	if (g.sequential)
		return g.next++ % g.n_blocks * g.block_bytes;
	/* xorshift64 */
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	g.random = x;
	return x % g.n_blocks * g.block_bytes;
}

static void request_prep(uint64_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&g.ring);
	char *buf = g.bufs + slot * g.block_bytes;

	if (g.write)
		io_uring_prep_write_fixed(sqe, 0, buf, (unsigned)g.block_bytes, offset_next(),
					  (int)slot);
	else
		io_uring_prep_read_fixed(sqe, 0, buf, (unsigned)g.block_bytes, offset_next(),
					 (int)slot);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = slot;
}

/* From nothing in flight to nothing in flight. */
static int load_run(uint32_t n)
{
	uint32_t n_sent = 0, n_done = 0;

	while (n_sent < MIN(n, g.depth))
		request_prep(n_sent++);
	while (n_done < n) {
		struct io_uring_cqe *cqe;
		unsigned head, n_seen = 0;
		int r = io_uring_submit_and_wait(&g.ring, 1);

		if (r < 0 && r != -EINTR)
			return r;
		io_uring_for_each_cqe(&g.ring, head, cqe)
		{
			n_seen++;
			if (cqe->res != (int)g.block_bytes)
				return cqe->res < 0 ? cqe->res : -EIO;
			if (n_sent < n) {
				request_prep(cqe->user_data);
				n_sent++;
			}
		}
		io_uring_cq_advance(&g.ring, n_seen);
		n_done += n_seen;
	}
	return 0;
}

static int read_text(const char *path, char *buf, size_t size)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

/* Tasks that end while we look are of no use to anybody. */
static void snapshot_add_process(struct snapshot *s, const char *pid)
{
	char path[128], text[128];
	const struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)) && s->n_tasks < MOST_TASKS) {
		struct task t = {.tid = atoi(e->d_name), .pid = (uint32_t)atoi(pid)};

		snprintf(path, sizeof(path), "/proc/%.20s/task/%.20s/schedstat", pid, e->d_name);
		if (t.tid > 0 && t.tid != getpid() && read_text(path, text, sizeof(text)) == 0 &&
		    sscanf(text, "%" SCNu64 " %*u %" SCNu64, &t.cpu_ns, &t.switches) == 2)
			s->tasks[s->n_tasks++] = t;
	}
	if (dir)
		closedir(dir);
}

static int snapshot_tasks(struct snapshot *s)
{
	const struct dirent *e;
	DIR *dir = opendir("/proc");

	if (!dir)
		return -errno;
	s->n_tasks = 0;
	while ((e = readdir(dir)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			snapshot_add_process(s, e->d_name);
	closedir(dir);
	return 0;
}

static int snapshot_switches(struct snapshot *s)
{
	static char text[65536];
	const char *line;
	int r = read_text("/proc/stat", text, sizeof(text));

	if (r < 0)
		return r;
	line = strstr(text, "\nctxt ");
	return line && sscanf(line, " ctxt %" SCNu64, &s->switches) == 1 ? 0 : -EBADMSG;
}

static int snapshot_calls(struct snapshot *s)
{
	s->calls = 0;
	for (size_t i = 0; i < g.n_counters; i++) {
		uint64_t n;

		if (read(g.counters[i], &n, sizeof(n)) != sizeof(n))
			return -EIO;
		s->calls += n;
	}
	return 0;
}

static void snapshot_clocks(struct snapshot *s)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	s->client_ns = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
	s->now_ns = now_ns();
}

static int snapshot_take(struct snapshot *s)
{
	int r = snapshot_tasks(s);

	if (r == 0)
		r = snapshot_switches(s);
	return r < 0 ? r : snapshot_calls(s);
}

/* A counter of system calls for each thread of the server that there is now. It costs each of them some instructions. */
static int counters_open(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr)};
	char path[64], text[32];
	const struct dirent *e;
	DIR *dir;
	int r = read_text("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", text,
			  sizeof(text));

	if (r < 0)
		return r;
	attr.config = strtoull(text, NULL, 10);
	snprintf(path, sizeof(path), "/proc/%u/task", g.server);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (r == 0 && (e = readdir(dir)) && g.n_counters < MOST_THREADS) {
		if (e->d_name[0] == '.')
			continue;
		r = (int)syscall(SYS_perf_event_open, &attr, atoi(e->d_name), -1, -1,
				 PERF_FLAG_FD_CLOEXEC);
		if (r < 0)
			r = -errno;
		else
			g.counters[g.n_counters++] = r;
		r = MIN(r, 0);
	}
	closedir(dir);
	return r;
}

static const struct task *task_find(const struct snapshot *s, size_t guess, int tid)
{
	/* mostly the same order */
	for (size_t i = 0; i < s->n_tasks; i++) {
		const struct task *t = s->tasks + (guess + i) % s->n_tasks;

		if (t->tid == tid)
			return t;
	}
	return NULL;
}

/* Who else ran, on stderr: nanoseconds, how often it was switched to, name. */
static void report_task(const struct task *t, uint64_t ns, uint64_t n_switches)
{
	char path[64], name[32] = "?\n";

	snprintf(path, sizeof(path), "/proc/%d/comm", t->tid);
	(void)read_text(path, name, sizeof(name));
	if (ns > 0)
		fprintf(stderr, "%12" PRIu64 " %6" PRIu64 " %6d %s", ns, n_switches, t->tid, name);
}

static void report(const struct snapshot *before, const struct snapshot *after)
{
	uint64_t client_ns = after->client_ns - before->client_ns;
	uint64_t server_ns = 0, process_ns = 0, process_switches = 0;
	double n = g.n_requests;

	for (size_t i = 0; i < after->n_tasks; i++) {
		const struct task *t = after->tasks + i, *old = task_find(before, i, t->tid);
		uint64_t ns = t->cpu_ns - (old ? old->cpu_ns : 0);

		if (g.tell_tasks)
			report_task(t, ns, t->switches - (old ? old->switches : 0));
		/* workers of our own ring, for what cannot be sent without waiting */
		if (t->pid == (uint32_t)getpid())
			client_ns += ns;
		else
			server_ns += ns;
		if (g.server > 0 && t->pid == g.server) {
			process_ns += ns;
			process_switches += t->switches - (old ? old->switches : 0);
		}
	}
	printf("{\"total\":%.2f,\"client\":%.2f,\"server\":%.2f,\"process\":%.2f,\"switches\":%.3f,"
	       "\"process_switches\":%.3f",
	       (double)(after->now_ns - before->now_ns) / n, (double)client_ns / n,
	       (double)server_ns / n, (double)process_ns / n,
	       (double)(after->switches - before->switches) / n, (double)process_switches / n);
	if (g.count_calls)
		printf(",\"calls\":%.3f", (double)(after->calls - before->calls) / n);
	printf(",\"requests\":%u}\n", g.n_requests);
}

static int buffers_register(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	AUTO_FREE struct iovec *iov = calloc(g.depth, sizeof(*iov));

	if (!iov)
		return -ENOMEM;
	for (uint32_t i = 0; i < g.depth; i++)
		iov[i] = (struct iovec){.iov_base = g.bufs + i * g.block_bytes,
					.iov_len = g.block_bytes};
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited); /* without, the kernel may refuse them */
	return io_uring_register_buffers(&g.ring, iov, g.depth);
}

static int load_open(const char *path)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER |
					     IORING_SETUP_DEFER_TASKRUN};
	int r = target_open(&g.target, path, true, g.write);

	if (r < 0)
		return r;
	if (g.size_bytes == 0 || g.size_bytes > g.target.size_bytes)
		g.size_bytes = g.target.size_bytes;
	g.n_blocks = g.size_bytes / g.block_bytes;
	if (g.n_blocks == 0 || g.block_bytes % g.target.block_bytes != 0)
		return -EINVAL;
	g.bufs = aligned_alloc(4096, g.depth * g.block_bytes);
	if (!g.bufs)
		return -ENOMEM;
	memset(g.bufs, 1, g.depth * g.block_bytes);
	g.random = UINT64_C(0x9e3779b97f4a7c15) * (g.seed + 1);
	r = io_uring_queue_init_params(g.depth, &g.ring, &p);
	if (r == 0)
		r = io_uring_register_files(&g.ring, &g.target.fd, 1);
	if (r == 0)
		r = buffers_register();
	if (r == 0)
		r = io_uring_register_ring_fd(&g.ring) == 1 ? 0 : -EIO;
	return r < 0 || !g.count_calls ? r : counters_open();
}

/* Address of a function of the kernel; 0: not found */
static uint64_t kernel_address(const char *function)
{
	AUTO_FCLOSE FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], name[128];
	uint64_t address;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 " %*c %127s", &address, name) == 2 &&
		    strcmp(name, function) == 0)
			return address;
	return 0;
}

/* For tests/bench/profile.c: a long no-op. */
static void mark(uint64_t value)
{
#ifdef __x86_64__
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80; .ascii \"load\"" : : "a"(value));
#else
	(void)value;
#endif
}

static int load_measure(void)
{
	uint64_t switch_to = g.profile ? kernel_address("__switch_to_asm") : 0;
	AUTO_FREE struct task *a = calloc(MOST_TASKS, sizeof(*a));
	AUTO_FREE struct task *b = calloc(MOST_TASKS, sizeof(*b));
	struct snapshot before = {.tasks = a}, after = {.tasks = b};
	int r = a && b ? 0 : -ENOMEM;

	/* what they need is in memory by then */
	if (r == 0)
		r = snapshot_take(&after);
	if (r == 0)
		r = load_run(g.n_warm_up);
	if (r == 0)
		r = snapshot_take(&before);
	snapshot_clocks(&before);
	mark(switch_to);
	if (r == 0)
		r = load_run(g.n_requests);
	mark(0);
	snapshot_clocks(&after);
	if (r == 0)
		r = snapshot_take(&after);
	if (r == 0)
		report(&before, &after);
	return r;
}

static int options_parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"block", required_argument, NULL, 'b'},
		{"calls", no_argument, &g.count_calls, 1},
		{"depth", required_argument, NULL, 'd'},
		{"profile", no_argument, &g.profile, 1},
		{"requests", required_argument, NULL, 'n'},
		{"seed", required_argument, NULL, 's'},
		{"sequential", no_argument, &g.sequential, 1},
		{"server", required_argument, NULL, 'p'},
		{"size", required_argument, NULL, 'z'},
		{"tasks", no_argument, &g.tell_tasks, 1},
		{"warm-up", required_argument, NULL, 'u'},
		{"write", no_argument, &g.write, 1},
		{0},
	};
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		r = option == 0     ? 0
		    : option == 'b' ? parse_size(optarg, &g.block_bytes)
		    : option == 'd' ? parse_u32(optarg, &g.depth)
		    : option == 'n' ? parse_u32(optarg, &g.n_requests)
		    : option == 's' ? parse_u32(optarg, &g.seed)
		    : option == 'p' ? parse_u32(optarg, &g.server)
		    : option == 'z' ? parse_size(optarg, &g.size_bytes)
		    : option == 'u' ? parse_u32(optarg, &g.n_warm_up)
				    : -EINVAL;
	if (r == 0 && (optind + 1 != argc || g.depth - 1 >= MOST_DEPTH || g.n_requests == 0 ||
		       g.block_bytes - 1 >= (64 << 20) || (g.count_calls && g.server == 0)))
		r = -EINVAL;
	return r;
}

int main(int argc, char **argv)
{
	int r;

	if (options_parse(argc, argv) < 0) {
		fputs("usage: load [--depth=N] [--block=SIZE] [--write] [--sequential] [--seed=N] [--requests=N]\n"
		      "            [--warm-up=N] [--size=SIZE] [--server=PID [--calls]] [--tasks] [--profile]\n"
		      "            DEVICE|FILE\n"
		      "Direct I/O at random offsets; prints one line of JSON, nanoseconds and counts for each request.\n"
		      "--server: what of it is that process; --calls: its system calls, which costs instructions.\n"
		      "--tasks: who else ran, on stderr; --profile: for tests/bench/profile.\n",
		      stderr);
		return EX_USAGE;
	}
	r = load_open(argv[optind]);
	if (r == 0)
		r = load_measure();
	if (r < 0) {
		fprintf(stderr, "load: %s: %s\n", argv[optind], strerror(-r));
		return 1;
	}
	return 0;
}
