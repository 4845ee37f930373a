/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=nbd, with the servers that there are: what requests do, and what becomes of them without one. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/nbd.h"
#include "backend/registry.h"
#include "fake-data.h"
#include "util/clock.h"

#define SIZE_BYTES (8ULL << 20)
#define BUF_BYTES  (1U << 20)
#define MS         1000000ULL

static char dir[64], sock[96], image[96], uri[160], log_path[96];

struct fixture {
	struct nbd_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	uint8_t *buf;
	pid_t server;
	struct fake_blocks blocks;
};

/* ---- servers ---- */

/* A command line with blanks; @sock, @image, @log and @dir stand for ours. */
static pid_t spawn(const char *line)
{
	char words[1024], *argv[32], *save = NULL;
	char text[32][160];
	unsigned n = 0;
	pid_t pid;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		static const char *const names[] = {"@sock", "@image", "@log", "@dir"};
		const char *const with[] = {sock, image, log_path, dir};
		char *at = strchr(w, '@');

		snprintf(text[n], sizeof(text[n]), "%s", w);
		for (size_t i = 0; at && i < ARRAY_SIZE(names); i++) {
			size_t len = strlen(names[i]);

			if (strncmp(at, names[i], len) == 0)
				snprintf(text[n], sizeof(text[n]), "%.*s%s%s", (int)(at - w), w,
					 with[i], at + len);
		}
		argv[n] = text[n];
		n++;
	}
	argv[n] = NULL;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDOUT_FILENO);
		if (!getenv("TEST_VERBOSE"))
			dup2(null, STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static int run(const char *line)
{
	int status;
	pid_t pid = spawn(line);

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void begin_server(struct fixture *f, const char *line)
{
	unlink(sock);
	f->server = spawn(line);
}

static void kill_server(struct fixture *f)
{
	if (f->server <= 0)
		return;
	kill(f->server, SIGKILL);
	waitpid(f->server, NULL, 0);
	f->server = 0;
}

/* All its threads stand still on return. */
static void freeze_server(struct fixture *f)
{
	int status;

	kill(f->server, SIGSTOP);
	assert_int_equal(waitpid(f->server, &status, WUNTRACED), f->server);
	assert_true(WIFSTOPPED(status));
}

static void other_server(struct fixture *f, const char *line)
{
	kill_server(f);
	begin_server(f, line);
}

#define NBDKIT     "nbdkit -f -U @sock "
#define FILE_LINE  NBDKIT "file @image"
#define DELAY_LINE NBDKIT "--filter=delay file @image delay-write=300ms"

/* ---- fixture ---- */

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	assert_non_null(f);
	f->blocks.first_bytes = 65536;
	f->blocks.step_bytes = 8192;
	f->buf = mmap(NULL, BUF_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->buf, MAP_FAILED);
	fd = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && ftruncate(fd, (off_t)SIZE_BYTES) == 0);
	close(fd);
	unlink(log_path);
	f->conf = (struct nbd_conf){.uri = uri, .timeout_ns = 20 * NBD_NS_PER_S};
	f->req = (struct backend_request){
		.device = "unit", .dir = dir, .conf = &f->conf, .kept_fd = -1};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->b) {
		fake_queue_stop(&f->q);
		nbd_backend.close(f->b);
	}
	kill_server(f);
	unlink(sock);
	munmap(f->buf, BUF_BYTES);
	free(f);
	return 0;
}

/* Its socket is there, and mostly listens; open() would look again after a second only. */
static void wait_socket(void)
{
	while (access(sock, F_OK) < 0)
		usleep(2000);
	usleep(2000);
}

static void start(struct fixture *f, const char *line)
{
	begin_server(f, line);
	wait_socket();
	assert_int_equal(nbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &nbd_backend, f->b);
}

static int do_io(struct fixture *f, enum io_op op, uint32_t flags, uint64_t offset, uint64_t len)
{
	return fake_queue_do(&f->q, op, flags, offset, len, f->buf);
}

static bool log_has(const char *text)
{
	char line[512];
	bool has = false;
	FILE *file = fopen(log_path, "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		has |= strstr(line, text) != NULL;
	fclose(file);
	return has;
}

/* ---- requests ---- */

static void test_limits_are_the_servers(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=blocksize-policy file @image blocksize-minimum=4K "
			"blocksize-preferred=8K blocksize-maximum=256K");
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES);
	assert_int_equal(f->limits.logical_block_bytes, 4096);
	assert_int_equal(f->limits.max_io_bytes, 256 << 10);
	assert_true(f->limits.write_cache && f->limits.fua && !f->limits.read_only);
	assert_true(f->limits.max_discard_bytes > 0 && f->limits.max_write_zeroes_bytes > 0);
	assert_int_equal(f->limits.max_queues, 0);
	assert_string_equal(nbd_backend.get_target(f->b), uri);
}

static void test_a_server_without_multi_conn_has_one_queue(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=multi-conn file @image multi-conn-mode=disable");
	assert_int_equal(f->limits.max_queues, 1);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x55);
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x55);
}

static void test_definition_has_to_fit(void **state)
{
	struct fixture *f = *state;
	struct backend *b = NULL;

	begin_server(f, NBDKIT "--filter=blocksize-policy file @image blocksize-minimum=4K");
	wait_socket();
	f->req.size_bytes = SIZE_BYTES + 4096;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -EINVAL);
	f->req.size_bytes = SIZE_BYTES / 2;
	f->req.logical_block_bytes = 512;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -EINVAL);
	f->req.logical_block_bytes = 4096;
	assert_int_equal(nbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &nbd_backend, f->b);
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES / 2);
}

static void test_requests_arrive_with_their_flags(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=log file @image logfile=@log");
	fake_queue_fill(&f->q, 4096, BUF_BYTES, f->buf, 0x11);
	fake_queue_expect(&f->q, 4096, BUF_BYTES, f->buf, 0x11);
	assert_false(log_has("fua=1"));
	assert_int_equal(do_io(f, IO_WRITE, IO_FUA, 512, 512), 0);
	assert_true(log_has("fua=1"));
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_true(log_has("Flush"));
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_NOUNMAP, 8192, 8192), 0);
	assert_true(log_has("Zero") && !log_has("trim=1 fua="));
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 16384, 8192), 0);
	assert_true(log_has("trim=1 fua="));
	fake_queue_expect(&f->q, 8192, 16384, f->buf, 0);
	fake_queue_expect(&f->q, 24576, 4096, f->buf, 0x11);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 65536, 65536), 0);
	assert_true(log_has("Trim"));
	fake_queue_expect(&f->q, 65536 * 2, 4096, f->buf, 0x11);
}

static void test_many_at_once(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	for (int i = 0; i < 20; i++) {
		fake_blocks_fill(&f->blocks, &f->q, 0x20 + i);
		fake_blocks_expect(&f->blocks, &f->q, 0x20 + i);
	}
	assert_int_equal(f->q.n_reconnects, 0);
}

static void test_errors_of_the_server_are_those_of_requests(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=error file @image error-pread=EIO error-pread-rate=100% "
			"error-pwrite=ENOSPC error-pwrite-rate=100%");
	assert_int_equal(do_io(f, IO_READ, 0, 0, 4096), -EIO);
	assert_int_equal(do_io(f, IO_WRITE, 0, 0, 4096), -ENOSPC);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(f->q.n_reconnects, 0);
}

static void test_read_only_server(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "-r file @image");
	assert_true(f->limits.read_only && !f->limits.write_cache);
	assert_int_equal(f->limits.max_discard_bytes, 0);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0);
}

static void test_flush_of_the_backend(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=log file @image logfile=@log");
	fake_queue_fill(&f->q, 0, 4096, f->buf, 0x12);
	fake_queue_stop(&f->q);
	assert_false(log_has("Flush"));
	assert_int_equal(nbd_backend.flush(f->b), 0);
	assert_true(log_has("Flush"));
	kill_server(f);
	begin_server(f, FILE_LINE); /* over a new connection if need be */
	wait_socket();
	assert_int_equal(nbd_backend.flush(f->b), 0);
	kill_server(f);
	assert_true(nbd_backend.flush(f->b) < 0);
	fake_queue_start(&f->q, &null_backend, NULL);
}

/* ---- without a server ---- */

static unsigned n_asked;

static bool count_and_interrupt(void *arg)
{
	return ++n_asked > 3;
}

static void test_start_waits_for_the_server(void **state)
{
	struct fixture *f = *state;
	struct backend *b = NULL;

	f->conf.timeout_ns = 300 * MS;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -ENOENT);
	f->conf.timeout_ns = 0;
	f->req.interrupt = count_and_interrupt;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -ECANCELED);
	assert_int_equal(n_asked, 4);
	assert_null(b);
}

static void test_killed_server_loses_nothing(void **state)
{
	struct fixture *f = *state;

	start(f, DELAY_LINE);
	for (int i = 0; i < 3; i++) {
		fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x40 + i);
		fake_queue_look(&f->q, 0);
		usleep(20000);
		kill_server(f);
		fake_queue_wait_reachable(&f->q, false);
		assert_int_equal(f->q.n_inflight, N_BLOCKS);
		assert_non_null(
			strstr(nbd_backend.get_trouble(f->b, NULL), "no connection to nbd"));
		begin_server(f, i < 2 ? DELAY_LINE : FILE_LINE);
		fake_blocks_end(&f->blocks, &f->q, 0);
		assert_int_equal(f->q.n_reconnects, i + 1);
	}
	fake_blocks_expect(&f->blocks, &f->q, 0x42);
}

/* More than a socket takes at once. */
static void submit_large(struct fixture *f, enum io_op op, int byte)
{
	const size_t len = BUF_BYTES / N_BLOCKS;

	if (op == IO_WRITE)
		memset(f->buf, byte, BUF_BYTES);
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		f->blocks.ios[i] = (struct fake_io){.io = {.op = op,
							   .offset_bytes = i * len,
							   .len_bytes = len,
							   .buf = f->buf + i * len}};
		fake_queue_submit(&f->q, &f->blocks.ios[i]);
	}
}

static void test_servers_come_and_go_under_load(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	for (int i = 0; i < 60; i++) {
		submit_large(f, IO_WRITE, i + 1);
		for (int n = i % 7; n > 0; n--)
			fake_queue_turn(&f->q);
		if (i % 5 == 0) {
			kill_server(f);
			begin_server(f, FILE_LINE);
		} else if (i % 5 == 1) {
			freeze_server(f);
			fake_queue_look(&f->q, 0);
			kill(f->server, SIGCONT);
		}
		fake_blocks_end(&f->blocks, &f->q, 0);
		submit_large(f, IO_READ, 0);
		fake_blocks_end(&f->blocks, &f->q, 0);
		for (size_t at = 0; at < BUF_BYTES; at++)
			assert_int_equal(f->buf[at], i + 1);
	}
}

static void test_frozen_server_is_waited_for(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	fake_blocks_fill(&f->blocks, &f->q, 0x50);
	freeze_server(f);
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x51);
	fake_queue_look(&f->q, 1); /* the watch: nothing has come of the requests */
	assert_int_equal(f->q.n_inflight, N_BLOCKS);
	kill(f->server, SIGCONT);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_blocks_expect(&f->blocks, &f->q, 0x51);
	assert_int_equal(f->q.n_reconnects, 0);
}

/* The kernel says that there is something to read, and there is not. */
static void wake_for_nothing(struct fixture *f)
{
	struct nbd_link *l = f->q.ctx;

	f->q.ops->on_event(l, &l->readable, POLLIN);
}

static void test_a_wake_up_for_nothing_keeps_nothing_from_being_sent(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	wake_for_nothing(f);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0x61);
	freeze_server(f);
	/* Some of it is on its way, one has been sent in part, and the rest has not. */
	submit_large(f, IO_WRITE, 0x62);
	fake_queue_look(&f->q, 0);
	wake_for_nothing(f);
	assert_int_equal(f->q.n_inflight, N_BLOCKS);
	kill(f->server, SIGCONT);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x62);
	assert_int_equal(f->q.n_reconnects, 0);
}

static void test_a_request_does_not_wait_for_the_answer_of_another(void **state)
{
	struct fixture *f = *state;
	struct fake_io slow = {
		.io = {.op = IO_DISCARD, .offset_bytes = SIZE_BYTES / 2, .len_bytes = 65536},
	};

	start(f, NBDKIT "--filter=delay file @image delay-trim=1000ms");
	for (int i = 0; i < 3; i++) {
		fake_queue_submit(&f->q, &slow);
		wake_for_nothing(f);
		for (int op = IO_READ; op <= IO_WRITE; op++) {
			fake_blocks_submit(&f->blocks, &f->q, (enum io_op)op, 0x64 + i);
			while (f->q.n_inflight > 1 && !slow.done)
				fake_queue_look(&f->q, 1);
		}
		assert_false(slow.done);
		fake_queue_run(&f->q);
		assert_int_equal(slow.res, 0);
	}
}

/* As with a word of TLS that is no answer, which it reads and says nothing of. */
static void test_a_connection_that_waits_for_no_answer_is_renewed(void **state)
{
	struct fixture *f = *state;
	struct nbd_link *l;

	start(f, FILE_LINE);
	fake_queue_fill(&f->q, 0, BLOCK_BYTES, f->buf, 0x68);
	l = f->q.ctx;
	assert_int_equal(nbd_lib.aio_notify_read(l->h), 0);
	assert_int_not_equal(nbd_lib.aio_is_ready(l->h), 1);
	fake_queue_expect(&f->q, 0, BLOCK_BYTES, f->buf, 0x68);
	assert_int_equal(f->q.n_reconnects, 1);
	/* The last flush is not given to such a one either. */
	assert_int_equal(nbd_lib.aio_notify_read(l->h), 0);
	fake_queue_stop(&f->q);
	assert_int_equal(nbd_backend.flush(f->b), 0);
	f->b = nbd_backend.close(f->b);
}

static void test_requests_fail_after_the_timeout(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns;

	f->conf.timeout_ns = 400 * MS;
	start(f, FILE_LINE);
	fake_blocks_fill(&f->blocks, &f->q, 0x60);
	/* It hangs, */
	freeze_server(f);
	start_ns = clock_now_ns();
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x61);
	fake_blocks_end(&f->blocks, &f->q, -EIO);
	assert_true(clock_now_ns() - start_ns >= 400 * MS && f->q.unreachable);
	assert_int_equal(do_io(f, IO_READ, 0, 0, 4096), -EIO);
	/* another one is there, */
	other_server(f, FILE_LINE);
	fake_queue_wait_reachable(&f->q, true);
	fake_blocks_fill(&f->blocks, &f->q, 0x62);
	fake_blocks_expect(&f->blocks, &f->q, 0x62);
	/* and goes. */
	kill_server(f);
	start_ns = clock_now_ns();
	fake_blocks_submit(&f->blocks, &f->q, IO_READ, 0);
	fake_blocks_end(&f->blocks, &f->q, -EIO);
	assert_true(clock_now_ns() - start_ns >= 300 * MS);
	begin_server(f, FILE_LINE);
	fake_queue_wait_reachable(&f->q, true);
	fake_blocks_expect(&f->blocks, &f->q, 0x62);
}

static void wait_trouble(struct fixture *f, const char *text)
{
	while (!strstr(nbd_backend.get_trouble(f->b, NULL), text))
		fake_queue_look(&f->q, 1);
}

static void test_another_server_is_refused(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	fake_queue_fill(&f->q, 4 << 20, 65536, f->buf, 0x70); /* and not again, as the others */
	fake_blocks_fill(&f->blocks, &f->q, 0x70);
	other_server(f, NBDKIT "memory 16M");
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x71);
	wait_trouble(f, "another size");
	/* As large, and empty. */
	other_server(f, NBDKIT "memory 8M");
	wait_trouble(f, "does not have what it had acknowledged");
	other_server(f, NBDKIT "-r file @image");
	wait_trouble(f, "another size or other abilities");
	assert_int_equal(f->q.n_inflight, N_BLOCKS);
	assert_int_equal(f->q.n_reconnects, 0);
	other_server(f, FILE_LINE);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_blocks_expect(&f->blocks, &f->q, 0x71);
	assert_int_equal(f->q.n_reconnects, 1);
}

/* ---- a larger disk ---- */

static void grow(struct fixture *f, uint64_t size_bytes)
{
	uint64_t is_bytes = 0;

	assert_int_equal(truncate(image, (off_t)size_bytes), 0);
	assert_int_equal(nbd_backend.resize(f->b, &f->req, &is_bytes), 0);
	assert_int_equal(is_bytes, size_bytes);
}

static void test_a_disk_grows(void **state)
{
	struct fixture *f = *state;
	uint8_t *more = f->buf + (size_t)N_BLOCKS * 4096;
	uint64_t is_bytes = 0;

	start(f, FILE_LINE);
	fake_blocks_fill(&f->blocks, &f->q, 0x80);
	grow(f, 2 * SIZE_BYTES);
	/* Some are on their way when the first comes for what is new. */
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x81);
	memset(more, 0x82, 65536);
	assert_int_equal(fake_queue_do(&f->q, IO_WRITE, 0, SIZE_BYTES + 4096, 65536, more), 0);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_queue_expect(&f->q, SIZE_BYTES + 4096, 65536, f->buf, 0x82);
	fake_blocks_expect(&f->blocks, &f->q, 0x81);
	/* A server that has it, too. */
	other_server(f, FILE_LINE);
	fake_queue_expect(&f->q, SIZE_BYTES + 4096, 65536, f->buf, 0x82);
	/* It does not shrink. */
	assert_int_equal(truncate(image, (off_t)SIZE_BYTES), 0);
	assert_int_equal(nbd_backend.resize(f->b, &f->req, &is_bytes), 0);
	assert_int_equal(is_bytes, 2 * SIZE_BYTES);
}

static void test_a_disk_of_one_connection_grows(void **state)
{
	struct fixture *f = *state;
	uint64_t is_bytes = 0;

	start(f, NBDKIT "--filter=multi-conn file @image multi-conn-mode=disable");
	fake_queue_fill(&f->q, 0, 4096, f->buf, 0x90);
	assert_int_equal(truncate(image, (off_t)(2 * SIZE_BYTES)), 0);
	other_server(f, NBDKIT "--filter=multi-conn file @image multi-conn-mode=disable");
	fake_queue_wait_reachable(&f->q, false);
	wait_trouble(f, "another size");
	assert_int_equal(nbd_backend.resize(f->b, &f->req, &is_bytes), 0);
	assert_int_equal(is_bytes, 2 * SIZE_BYTES);
	fake_queue_fill(&f->q, SIZE_BYTES, 4096, f->buf, 0x91);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0x90);
}

/* ---- several queues ---- */

static void test_queues_have_a_connection_each(void **state)
{
	struct fixture *f = *state;
	struct queue other = {.id = 1};
	uint8_t block[4096];

	start(f, DELAY_LINE);
	fake_queue_start(&other, &nbd_backend, f->b);
	memset(block, 0x33, sizeof(block));
	assert_int_equal(fake_queue_do(&other, IO_WRITE, 0, 0, sizeof(block), block), 0);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0x33);
	other_server(f, FILE_LINE);
	fake_queue_fill(&f->q, 0, 4096, f->buf, 0x34);
	assert_int_equal(fake_queue_do(&other, IO_READ, 0, 0, sizeof(block), block), 0);
	assert_int_equal(block[4095], 0x34);
	assert_int_equal(f->q.n_reconnects, 1);
	assert_int_equal(other.n_reconnects, 1);
	fake_queue_stop(&other);
}

/* ---- what a server has acknowledged ---- */

static bool proof_refutes(struct nbd_proof *p, uint64_t block, const void *data)
{
	unsigned slot = block % NBD_PROOF_SLOTS;
	uint64_t entry = atomic_load(&p->entries[slot]);

	if (!entry)
		return false;
	assert_int_equal(nbd_proof_offset(entry), block * NBD_PROOF_BYTES);
	return nbd_proof_refutes(p, slot, entry, data);
}

static void test_proof_is_of_blocks_that_nobody_writes(void **state)
{
	static struct nbd_proof p;
	static uint8_t a[NBD_PROOF_BYTES], b[NBD_PROOF_BYTES] = {1};
	uint64_t first, second;

	memset(&p, 0, sizeof(p));
	first = nbd_proof_begin(&p, 8192, 4096);
	nbd_proof_end(&p, 8192, 4096, first, a);
	assert_true(proof_refutes(&p, 2, b) && !proof_refutes(&p, 2, a));
	/* Two at once: which of them came last is not known. */
	first = nbd_proof_begin(&p, 8192, 4096);
	assert_false(proof_refutes(&p, 2, b));
	second = nbd_proof_begin(&p, 4096, 3 * 4096);
	nbd_proof_end(&p, 4096, 3 * 4096, second, NULL);
	nbd_proof_end(&p, 8192, 4096, first, a);
	assert_false(proof_refutes(&p, 2, b));
	/* One after the other; and what a part of it was written to. */
	first = nbd_proof_begin(&p, 8192, 4096);
	nbd_proof_end(&p, 8192, 4096, first, b);
	assert_true(proof_refutes(&p, 2, a));
	first = nbd_proof_begin(&p, 8192 + 512, 512);
	nbd_proof_end(&p, 8192 + 512, 512, first, a);
	assert_false(proof_refutes(&p, 2, a));
	/* A range of all slots. */
	first = nbd_proof_begin(&p, 8192, 4096);
	nbd_proof_end(&p, 8192, 4096, first, b);
	first = nbd_proof_begin(&p, 0, 1 << 30);
	assert_false(proof_refutes(&p, 2, a));
	nbd_proof_end(&p, 0, 1 << 30, first, NULL);
	for (unsigned i = 0; i < NBD_PROOF_SLOTS; i++)
		assert_int_equal((uint32_t)p.claims[i], 0);
}

/* ---- other servers ---- */

static bool is_there(const char *program)
{
	char line[128];

	snprintf(line, sizeof(line), "%s --version", program);
	return run(line) != 127;
}

static void test_qemu_nbd_with_qcow2(void **state)
{
	struct fixture *f = *state;

	if (!is_there("qemu-nbd") || !is_there("qemu-img"))
		skip();
	/* Else it has what it acknowledged in its own memory, and a SIGKILL takes that away. */
	assert_int_equal(run("qemu-img create -q -f qcow2 @image 8M"), 0);
	start(f, "qemu-nbd -t --cache=writethrough -f qcow2 -e 8 -k @sock @image");
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x23);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 65536, 65536), 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	fake_queue_expect(&f->q, 0, 65536, f->buf, 0x23);
	fake_queue_expect(&f->q, 65536, 65536, f->buf, 0);
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x24);
	other_server(f, "qemu-nbd -t --cache=writethrough -f qcow2 -e 8 -k @sock @image");
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_blocks_expect(&f->blocks, &f->q, 0x24);
}

/* What the server says of how a connection begins. */
static void test_structured_replies(void **state)
{
	static const struct {
		enum nbd_structured conf;
		bool asked_for; /* over a local socket */
	} cases[] = {
		{NBD_STRUCTURED_AUTO, false},
		{NBD_STRUCTURED_YES, true},
		{NBD_STRUCTURED_NO, false},
	};
	struct fixture *f = *state;
	char script[128];
	FILE *file;

	snprintf(script, sizeof(script), "%s/verbose", dir);
	file = fopen(script, "we");
	assert_non_null(file);
	fprintf(file, "exec nbdkit -f -v -U %s file %s 2>%s\n", sock, image, log_path);
	fclose(file);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->conf.structured_replies = cases[i].conf;
		start(f, "sh @dir/verbose");
		fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x31 + (int)i);
		fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x31 + (int)i);
		fake_queue_expect(&f->q, BUF_BYTES, 65536, f->buf, 0); /* a hole */
		assert_true(log_has("newstyle negotiation"));
		assert_int_equal(log_has("STRUCTURED_REPLY"), cases[i].asked_for);
		fake_queue_stop(&f->q);
		f->b = nbd_backend.close(f->b);
		kill_server(f);
	}
	unlink(script);
}

static void test_nbd_server(void **state)
{
	struct fixture *f = *state;
	char conf[160];
	FILE *file;

	if (!is_there("nbd-server"))
		skip();
	snprintf(conf, sizeof(conf), "%s/server.conf", dir);
	file = fopen(conf, "we");
	assert_non_null(file);
	fprintf(file,
		"[generic]\nunixsock=%s\n[export]\nexportname=%s\nflush=true\nfua=true\ntrim=true\n",
		sock, image);
	fclose(file);
	snprintf(conf, sizeof(conf), "nbd+unix:///export?socket=%s", sock);
	f->conf.uri = conf;
	start(f, "nbd-server -d -C @dir/server.conf");
	assert_true(f->limits.fua);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x25);
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x25);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 0, 65536), 0);
	fake_blocks_fill(&f->blocks, &f->q, 0x26);
	fake_blocks_expect(&f->blocks, &f->q, 0x26);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_limits_are_the_servers),
		TEST(test_a_server_without_multi_conn_has_one_queue),
		TEST(test_definition_has_to_fit),
		TEST(test_requests_arrive_with_their_flags),
		TEST(test_many_at_once),
		TEST(test_errors_of_the_server_are_those_of_requests),
		TEST(test_read_only_server),
		TEST(test_flush_of_the_backend),
		TEST(test_start_waits_for_the_server),
		TEST(test_killed_server_loses_nothing),
		TEST(test_servers_come_and_go_under_load),
		TEST(test_frozen_server_is_waited_for),
		TEST(test_a_wake_up_for_nothing_keeps_nothing_from_being_sent),
		TEST(test_a_request_does_not_wait_for_the_answer_of_another),
		TEST(test_a_connection_that_waits_for_no_answer_is_renewed),
		TEST(test_requests_fail_after_the_timeout),
		TEST(test_another_server_is_refused),
		TEST(test_a_disk_grows),
		TEST(test_a_disk_of_one_connection_grows),
		TEST(test_queues_have_a_connection_each),
		cmocka_unit_test(test_proof_is_of_blocks_that_nobody_writes),
		TEST(test_qemu_nbd_with_qcow2),
		TEST(test_structured_replies),
		TEST(test_nbd_server),
	};
	int r;

	snprintf(dir, sizeof(dir), "/tmp/test-nbd-XXXXXX");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	snprintf(sock, sizeof(sock), "%s/sock", dir);
	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", sock);
	if (!is_there("nbdkit")) {
		fprintf(stderr, "needs nbdkit\n");
		rmdir(dir);
		return 77;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	for (const char *const *name = (const char *const[]){"image", "log", "server.conf", NULL};
	     *name; name++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", dir, *name);
		unlink(path);
	}
	rmdir(dir);
	return r;
}
