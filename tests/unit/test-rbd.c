/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=rbd, with a Ceph cluster of one OSD: what requests do, and what becomes of them without it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/rbd.h"
#include "backend/registry.h"
#include "fake-data.h"
#include "util/clock.h"

#define SIZE_BYTES (64ULL << 20)
#define BUF_BYTES  (8U << 20)
#define MS         UINT64_C(1000000)

static char dir[64], conf_path[96], cluster_dir[80];
static const char *ceph_node, *self;

struct fixture {
	struct rbd_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	uint8_t *buf;
	int event_fd;
	struct fake_blocks blocks;
};

/* ---- the cluster ---- */

/* By the shell. Its exit status. */
__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
	char line[512];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	status = system(line); /* NOLINT */
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void node(const char *verb)
{
	assert_int_equal(run("%s %s %s", ceph_node, cluster_dir, verb), 0);
}

#define RBD(...)  assert_int_equal(run("rbd >/dev/null 2>&1 " __VA_ARGS__), 0)
#define CEPH(...) assert_int_equal(run("ceph 2>/dev/null " __VA_ARGS__), 0)

static int setup_cluster(void **state)
{
	snprintf(cluster_dir, sizeof(cluster_dir), "%s/cluster", dir);
	snprintf(conf_path, sizeof(conf_path), "%s/ceph.conf", cluster_dir);
	setenv("CEPH_CONF", conf_path, 1);
	node("start");
	return 0;
}

static int teardown_cluster(void **state)
{
	(void)run("%s %s stop", ceph_node, cluster_dir);
	return 0;
}

/* ---- fixture ---- */

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	/* in objects of their own */
	f->blocks.step_bytes = SIZE_BYTES / N_BLOCKS;
	f->buf = mmap(NULL, BUF_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->buf, MAP_FAILED);
	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(f->event_fd >= 0);
	RBD("create rbd/img --size 64M");
	f->conf = (struct rbd_conf){.pool = (char *)"rbd",
				    .image = (char *)"img",
				    .conf = conf_path,
				    .user = (char *)"ublk",
				    .timeout_ns = 60 * RBD_NS_PER_S};
	f->req = (struct backend_request){
		.device = "unit", .conf = &f->conf, .kept_fd = -1, .event_fd = f->event_fd};
	*state = f;
	return 0;
}

static void stop(struct fixture *f)
{
	if (!f->b)
		return;
	fake_queue_stop(&f->q);
	f->b = rbd_backend.close(f->b);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	RBD("snap purge rbd/img");
	RBD("rm rbd/img");
	munmap(f->buf, BUF_BYTES);
	close(f->event_fd);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(rbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &rbd_backend, f->b);
}

static int do_io(struct fixture *f, enum io_op op, uint32_t flags, uint64_t offset, uint64_t len)
{
	return fake_queue_do(&f->q, op, flags, offset, len, f->buf);
}

static const char *trouble(struct fixture *f)
{
	static char text[512];
	const char *next = "wait";
	const char *what = rbd_backend.get_trouble(f->b, &next);

	snprintf(text, sizeof(text), "%s; %s", what, next);
	return text;
}

/* ---- requests ---- */

static void test_requests_do_what_they_say(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES);
	assert_int_equal(f->limits.logical_block_bytes, 512);
	assert_true(f->limits.write_cache && !f->limits.fua && !f->limits.read_only);
	assert_int_equal(f->limits.io_opt_bytes, 4 << 20);
	assert_string_equal(rbd_backend.get_target(f->b), "rbd/img");
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0);
	fake_queue_fill(&f->q, 4096, BUF_BYTES, f->buf, 0x11); /* over three objects */
	fake_queue_expect(&f->q, 4096, BUF_BYTES, f->buf, 0x11);
	fake_queue_fill(&f->q, 512, 512, f->buf, 0x12);
	fake_queue_expect(&f->q, 512, 512, f->buf, 0x12);
	fake_queue_expect(&f->q, 1024, 3072, f->buf, 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_NOUNMAP, 8192, 8192), 0);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 16384, 8192), 0);
	fake_queue_expect(&f->q, 8192, 16384, f->buf, 0);
	fake_queue_expect(&f->q, 24576, 4096, f->buf, 0x11);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 4 << 20, 4 << 20), 0);
	fake_queue_expect(&f->q, 4 << 20, 4 << 20, f->buf,
			  0); /* a whole object, which is not there any more */
	fake_queue_expect(&f->q, (4 << 20) - 4096, 4096, f->buf, 0x11);
	fake_queue_expect(&f->q, 8 << 20, 4096, f->buf, 0x11);
	assert_int_equal(rbd_backend.flush(f->b), 0);
}

static void test_many_at_once(void **state)
{
	struct fixture *f = *state;
	struct queue other = {.id = 1};

	start(f);
	fake_queue_start(&other, &rbd_backend, f->b);
	for (int i = 0; i < 20; i++) {
		fake_blocks_fill(&f->blocks, &f->q, 0x20 + i);
		fake_blocks_expect(&f->blocks, &f->q, 0x20 + i);
	}
	assert_int_equal(fake_queue_do(&other, IO_READ, 0, 0, BLOCK_BYTES, f->buf), 0);
	assert_int_equal(f->buf[0], 0x20 + 19);
	fake_queue_stop(&other);
	assert_false(f->q.unreachable);
	stop(f);
	start(f);
	fake_blocks_expect(&f->blocks, &f->q, 0x20 + 19);
}

static void test_definition_has_to_fit(void **state)
{
	struct fixture *f = *state;

	f->req.size_bytes = SIZE_BYTES + 4096;
	assert_int_equal(rbd_backend.open(&f->req, &f->b, &f->limits), -EINVAL);
	f->conf.image = (char *)"other";
	assert_int_equal(rbd_backend.open(&f->req, &f->b, &f->limits), -ENOENT);
	f->conf.pool = (char *)"other";
	assert_int_equal(rbd_backend.open(&f->req, &f->b, &f->limits), -ENOENT);
	f->conf.conf = (char *)"/nowhere/ceph.conf";
	assert_int_equal(rbd_backend.open(&f->req, &f->b, &f->limits), -ENOENT);
	f->conf.conf = conf_path;
	f->conf.user = (char *)"nobody";
	assert_true(rbd_backend.open(&f->req, &f->b, &f->limits) < 0);
	assert_null(f->b);
}

static void test_snapshot_is_what_was(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_blocks_fill(&f->blocks, &f->q, 0x31);
	RBD("snap create rbd/img@s");
	fake_blocks_fill(&f->blocks, &f->q, 0x32);
	stop(f);
	f->conf.snapshot = (char *)"s";
	start(f);
	assert_true(f->limits.read_only && !f->limits.write_cache);
	assert_int_equal(f->limits.max_discard_bytes, 0);
	assert_string_equal(rbd_backend.get_target(f->b), "rbd/img@s");
	fake_blocks_expect(&f->blocks, &f->q, 0x31);
	stop(f);
	f->conf.snapshot = NULL;
	f->req.read_only = true;
	start(f);
	assert_true(f->limits.read_only);
	fake_blocks_expect(&f->blocks, &f->q, 0x32);
}

/* ---- without the cluster ---- */

static void test_requests_wait_for_an_osd(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_blocks_fill(&f->blocks, &f->q, 0x40);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	node("kill-osd");
	fake_blocks_submit(&f->blocks, &f->q, IO_READ, 0);
	fake_queue_wait_reachable(&f->q, false);
	assert_int_equal(f->q.n_inflight, N_BLOCKS);
	assert_non_null(strstr(trouble(f), "no answer from the cluster that has rbd/img; wait"));
	node("start-osd");
	fake_blocks_end(&f->blocks, &f->q, 0);
	assert_false(f->q.unreachable);
	fake_blocks_expect(&f->blocks, &f->q, 0x40);
	fake_blocks_fill(&f->blocks, &f->q, 0x41);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	fake_blocks_expect(&f->blocks, &f->q, 0x41);
}

static void test_requests_fail_after_the_timeout(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns;

	f->conf.timeout_ns = 2 * RBD_NS_PER_S;
	start(f);
	fake_blocks_fill(&f->blocks, &f->q, 0x50);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	node("kill-osd");
	start_ns = clock_now_ns();
	fake_blocks_submit(&f->blocks, &f->q, IO_READ, 0);
	fake_blocks_end(&f->blocks, &f->q, -EIO);
	assert_true(clock_now_ns() - start_ns >= 1900 * MS);
	assert_true(f->q.unreachable && strstr(trouble(f), "no answer"));
	node("start-osd");
	while (do_io(f, IO_READ, 0, 0, BLOCK_BYTES) < 0)
		assert_true(f->q.unreachable);
	assert_false(f->q.unreachable);
	fake_blocks_expect(&f->blocks, &f->q, 0x50);
}

static unsigned n_asked;

static bool count_and_interrupt(void *arg)
{
	return ++n_asked > 3;
}

static void test_start_waits_for_the_cluster(void **state)
{
	struct fixture *f = *state;

	node("kill-osd");
	f->req.interrupt = count_and_interrupt;
	assert_int_equal(rbd_backend.open(&f->req, &f->b, &f->limits), -ECANCELED);
	assert_int_equal(n_asked, 4);
	node("start-osd");
	f->req.interrupt = NULL;
	start(f);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0);
}

/* ---- what else happens to an image ---- */

static bool is_told(struct fixture *f, int timeout_ms)
{
	struct pollfd p = {.fd = f->event_fd, .events = POLLIN};
	eventfd_t n;

	if (poll(&p, 1, timeout_ms) < 1)
		return false;
	(void)eventfd_read(f->event_fd, &n);
	return true;
}

static void test_size_is_followed(void **state)
{
	struct fixture *f = *state;
	uint64_t size_bytes = 0;

	start(f);
	RBD("snap create rbd/img@other"); /* a change, but not of the size */
	assert_true(is_told(f, 20000));
	assert_false(rbd_backend.take_change(f->b));
	RBD("resize rbd/img --size 96M");
	do
		assert_true(is_told(f, 20000));
	while (!rbd_backend.take_change(f->b));
	assert_int_equal(rbd_backend.resize(f->b, &f->req, &size_bytes), 0);
	assert_int_equal(size_bytes, 96 << 20);
	assert_false(rbd_backend.take_change(f->b));
	fake_queue_fill(&f->q, (96 << 20) - BLOCK_BYTES, BLOCK_BYTES, f->buf, 0x61);
	fake_queue_expect(&f->q, (96 << 20) - BLOCK_BYTES, BLOCK_BYTES, f->buf, 0x61);
	RBD("resize rbd/img --size 32M --allow-shrink");
	do
		assert_true(is_told(f, 20000));
	while (!rbd_backend.take_change(f->b));
	assert_int_equal(rbd_backend.resize(f->b, &f->req, &size_bytes), 0);
	assert_int_equal(size_bytes, 32 << 20);
	assert_int_equal(do_io(f, IO_READ, 0, (32 << 20) - 2048, BLOCK_BYTES), -EIO);
	assert_int_equal(do_io(f, IO_WRITE, 0, 64 << 20, BLOCK_BYTES), -EIO);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0);
}

static void test_cluster_without_room(void **state)
{
	struct fixture *f = *state;
	int r = 0;

	start(f);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0x71);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	CEPH("osd set-nearfull-ratio 0.01");
	CEPH("osd set-backfillfull-ratio 0.02");
	CEPH("osd set-full-ratio 0.03");
	/* The OSD looks at itself once in a while. What is there can be written in any case. */
	for (int i = 0; r == 0 && i < 300; i++) {
		memset(f->buf, i, BLOCK_BYTES);
		r = do_io(f, IO_WRITE, 0, (4 << 20) + (uint64_t)i * BLOCK_BYTES, BLOCK_BYTES);
		if (r == 0)
			r = do_io(f, IO_FLUSH, 0, 0, 0);
		usleep(100000);
	}
	assert_int_equal(r, -ENOSPC);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0x71);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 0, 4 << 20), 0);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0);
	CEPH("osd set-full-ratio 0.95");
	CEPH("osd set-backfillfull-ratio 0.9");
	CEPH("osd set-nearfull-ratio 0.85");
	while (r < 0) {
		usleep(100000);
		r = do_io(f, IO_WRITE, 0, 0, BLOCK_BYTES);
		if (r == 0)
			r = do_io(f, IO_FLUSH, 0, 0, 0);
	}
}

static void test_shut_out_client_is_told_so(void **state)
{
	struct fixture *f = *state;
	uint64_t since_ns;

	start(f);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0x81);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	CEPH("osd blocklist add \"$(rbd lock ls rbd/img | awk '/^client/ { print $NF }')\"");
	since_ns = clock_now_ns();
	/* the OSD hears of it a moment later, each group of objects for itself */
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		uint64_t at = f->blocks.first_bytes + i * f->blocks.step_bytes;

		while (do_io(f, IO_READ, 0, at, BLOCK_BYTES) == 0)
			assert_true(clock_now_ns() - since_ns < 30000 * MS);
	}
	fake_blocks_submit(&f->blocks, &f->q, IO_READ, 0);
	fake_blocks_end(&f->blocks, &f->q, -EIO);
	assert_true(f->q.unreachable);
	assert_non_null(strstr(trouble(f),
			       "shut this server out of rbd/img (blocklisted); requests fail;"));
	stop(f);
	start(f); /* as another client */
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0x81);
}

/* A server of its own, on an image that it has locked, until it is killed. */
static pid_t begin_other(struct fixture *f, const char *device)
{
	int fds[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], STDOUT_FILENO);
		execl(self, self, "--hold", device, conf_path, NULL);
		_exit(127);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	close(fds[0]);
	return pid;
}

static int hold(char *device, char *path)
{
	struct rbd_conf conf = {.pool = (char *)"rbd",
				.image = (char *)"img",
				.conf = path,
				.user = (char *)"ublk"};
	struct backend_request req = {
		.device = device, .conf = &conf, .kept_fd = -1, .event_fd = -1};
	struct limits limits;
	struct backend *b;

	if (rbd_backend.open(&req, &b, &limits) < 0 || write(STDOUT_FILENO, "+", 1) != 1)
		return 1;
	for (;;)
		pause();
}

static void kill_other(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_image_has_one_writer(void **state)
{
	struct fixture *f = *state;
	pid_t other = begin_other(f, "other");

	n_asked = 0;
	f->req.interrupt = count_and_interrupt;
	assert_int_equal(rbd_backend.open(&f->req, &f->b, &f->limits), -ECANCELED);
	f->req.interrupt = NULL;
	f->req.read_only = true;
	start(f);
	stop(f);
	f->req.read_only = false;
	kill_other(other); /* of which nothing is known, so the cluster has to notice */
	start(f);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0x91);
}

static void test_successor_of_a_killed_server_does_not_wait(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns;

	kill_other(begin_other(f, "unit"));
	start_ns = clock_now_ns();
	start(f);
	assert_true(clock_now_ns() - start_ns < 6 * RBD_NS_PER_S);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0xa1);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0xa1);
	CEPH("osd blocklist ls | grep -q 127.0.0.1"); /* the dead one is fenced */
	stop(f);
	assert_int_not_equal(run("rbd image-meta get rbd/img ublkd.server >/dev/null 2>&1"), 0);
}

static void test_image_without_the_lock(void **state)
{
	struct fixture *f = *state;

	RBD("feature disable rbd/img fast-diff object-map exclusive-lock");
	start(f);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0xb1);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0xb1);
}

static void test_namespace(void **state)
{
	struct fixture *f = *state;

	RBD("namespace create rbd/blue");
	RBD("create rbd/blue/img --size 8M");
	f->conf.namespace = (char *)"blue";
	start(f);
	assert_int_equal(f->limits.size_bytes, 8 << 20);
	assert_string_equal(rbd_backend.get_target(f->b), "rbd/blue/img");
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0xc1);
	stop(f);
	RBD("rm rbd/blue/img");
	RBD("namespace remove rbd/blue");
}

static void test_keyring_is_a_credential(void **state)
{
	struct fixture *f = *state;
	char path[160];

	/* A configuration that has none. */
	snprintf(path, sizeof(path), "%s/bare.conf", cluster_dir);
	assert_int_equal(run("sed 's!^keyring = .*!keyring = /nowhere!' %s >%s", conf_path, path),
			 0);
	f->conf.conf = path;
	f->conf.timeout_ns = RBD_NS_PER_S;
	assert_true(rbd_backend.open(&f->req, &f->b, &f->limits) < 0);
	assert_int_equal(run("mkdir %s/cred && cp %s/keyring %s/cred/ceph.keyring", cluster_dir,
			     cluster_dir, cluster_dir),
			 0);
	snprintf(path, sizeof(path), "%s/cred", cluster_dir);
	setenv("CREDENTIALS_DIRECTORY", path, 1);
	snprintf(path, sizeof(path), "%s/bare.conf", cluster_dir);
	start(f);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0);
	unsetenv("CREDENTIALS_DIRECTORY");
}

static const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	T(test_requests_do_what_they_say),   T(test_many_at_once),
	T(test_definition_has_to_fit),       T(test_snapshot_is_what_was),
	T(test_requests_wait_for_an_osd),    T(test_requests_fail_after_the_timeout),
	T(test_start_waits_for_the_cluster), T(test_size_is_followed),
	T(test_cluster_without_room),        T(test_shut_out_client_is_told_so),
	T(test_image_has_one_writer),        T(test_successor_of_a_killed_server_does_not_wait),
	T(test_image_without_the_lock),      T(test_namespace),
	T(test_keyring_is_a_credential),
#undef T
};

int main(int argc, char **argv)
{
	int r;

	if (argc == 4 && strcmp(argv[1], "--hold") == 0)
		return hold(argv[2], argv[3]);
	self = argv[0];
	ceph_node = argv[1];
	if (run("command -v ceph-mon ceph-osd rbd >/dev/null") != 0) {
		fprintf(stderr, "skipped: there are no ceph-mon, ceph-osd and rbd\n");
		return 77;
	}
	snprintf(dir, sizeof(dir), "/var/tmp/test-rbd.XXXXXX");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	cmocka_set_test_filter(getenv("TEST_FILTER"));
	r = cmocka_run_group_tests(tests, setup_cluster, teardown_cluster);
	rmdir(dir);
	return r;
}
