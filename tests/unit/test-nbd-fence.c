/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fence= of Type=nbd: a server that carries out what nobody waits for any more. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/nbd.h"
#include "backend/registry.h"
#include "fake-queue.h"
#include "util/clock.h"

#define SIZE_BYTES (8ULL << 20)
#define MS         1000000ULL

static char dir[64], uri[160];

struct fixture {
	struct nbd_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	struct fake_io io;
	pid_t server;
	uint8_t buf[4096];
};

/* A file of ours. */
static const char *at(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void make_file(const char *name, off_t size)
{
	AUTO_CLOSE int fd = open(at(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0 && ftruncate(fd, size) == 0);
}

static void make_script(void)
{
	AUTO_FCLOSE FILE *script = fopen(at("slow"), "we");

	assert_non_null(script);
	/* While there is a file "slowly", a write is carried out a second later, though its sender
	 * and even nbdkit may be gone by then. */
	fprintf(script,
		"cd %s\n"
		"case $1 in\n"
		"get_size) echo %llu ;;\n"
		"can_write) exit 0 ;;\n"
		"thread_model) echo parallel ;;\n"
		"pread) dd if=image bs=512 skip=$(($4 / 512)) count=$(($3 / 512)) ;;\n"
		"pwrite)\n"
		"	cat >data.$$\n"
		"	[ -e slowly ] && s=1 || s=0\n"
		"	setsid sh -c \"sleep $s; dd if=data.$$ of=image bs=512 "
		"seek=$(($4 / 512)) conv=notrunc\" ;;\n"
		"*) exit 2 ;;\n"
		"esac\n",
		dir, SIZE_BYTES);
	assert_int_equal(chmod(at("slow"), 0700), 0);
}

static void begin_server(struct fixture *f)
{
	unlink(at("sock"));
	f->server = fork();
	if (f->server == 0) {
		int null = open("/dev/null", O_RDWR);
		char socket[128];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		snprintf(socket, sizeof(socket), "%s/sock", dir);
		execlp("nbdkit", "nbdkit", "-f", "-U", socket, "sh", at("slow"), NULL);
		_exit(127);
	}
	while (access(at("sock"), F_OK) < 0)
		usleep(2000);
	usleep(20000);
}

static void kill_server(struct fixture *f)
{
	kill(f->server, SIGKILL);
	waitpid(f->server, NULL, 0);
}

static void start(struct fixture *f)
{
	assert_int_equal(nbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &nbd_backend, f->b);
}

static void stop(struct fixture *f)
{
	fake_queue_stop(&f->q);
	f->b = nbd_backend.close(f->b);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	make_file("image", SIZE_BYTES);
	unlink(at("nbd.settled"));
	unlink(at("slowly"));
	f->conf = (struct nbd_conf){.uri = uri, .timeout_ns = 20 * NBD_NS_PER_S};
	f->req = (struct backend_request){
		.device = "unit", .dir = dir, .conf = &f->conf, .kept_fd = -1};
	begin_server(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->b)
		stop(f);
	kill_server(f);
	free(f);
	return 0;
}

static int do_io(struct fixture *f, enum io_op op)
{
	return fake_queue_do(&f->q, op, 0, 0, sizeof(f->buf), f->buf);
}

static void fill(struct fixture *f, int byte)
{
	memset(f->buf, byte, sizeof(f->buf));
	assert_int_equal(do_io(f, IO_WRITE), 0);
}

static void test_no_write_overtakes_one_on_its_way(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns;

	f->conf.fence_ns = 1500 * MS;
	start(f);
	make_file("slowly", 0);
	memset(f->buf, 0x11, sizeof(f->buf));
	f->io = (struct fake_io){
		.io = {.op = IO_WRITE, .len_bytes = sizeof(f->buf), .buf = f->buf}};
	fake_queue_submit(&f->q, &f->io);
	fake_queue_look(&f->q, 0);
	usleep(300000); /* it is there */
	unlink(at("slowly"));
	start_ns = clock_now_ns();
	kill_server(f);
	begin_server(f);
	fake_queue_run(&f->q);
	assert_int_equal(f->io.res, 0);
	assert_true(clock_now_ns() - start_ns >= 1500 * MS);
	fill(f, 0x22);
	usleep(1000000); /* the first one comes */
	assert_int_equal(do_io(f, IO_READ), 0);
	assert_int_equal(f->buf[0], 0x22);
}

static void test_fence_of_a_takeover(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns;

	f->conf.fence_ns = 1000 * MS;
	f->req.takeover = true;
	start_ns = clock_now_ns();
	start(f);
	assert_int_equal(do_io(f, IO_READ), 0);
	assert_true(clock_now_ns() - start_ns < 1000 * MS);
	fill(f, 0x22);
	assert_true(clock_now_ns() - start_ns >= 1000 * MS);
	/* One that ended in peace. */
	stop(f);
	start(f);
	start_ns = clock_now_ns();
	fill(f, 0x23);
	assert_true(clock_now_ns() - start_ns < 900 * MS);
	stop(f);
	/* And it counts once. */
	unlink(at("nbd.settled"));
	start_ns = clock_now_ns();
	start(f);
	fill(f, 0x24);
	assert_true(clock_now_ns() - start_ns >= 1000 * MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_no_write_overtakes_one_on_its_way),
		TEST(test_fence_of_a_takeover),
	};
	char command[96];
	int r;

	if (system("command -v nbdkit >/dev/null") != 0) {
		fprintf(stderr, "needs nbdkit\n");
		return 77;
	}
	snprintf(dir, sizeof(dir), "/tmp/test-nbd-fence-XXXXXX");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s/sock", dir);
	make_script();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) == 0 ? r : 1;
}
