/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Command= of Type=nbd: programs that are started, end, and are started again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/nbd.h"
#include "backend/registry.h"
#include "fake-data.h"

#define SIZE_BYTES (8ULL << 20)
#define SECTOR     4096

static char dir[64], image[96], line[512];

struct fixture {
	struct nbd_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	uint8_t buf[SECTOR];
};

/* A file in our directory; NULL without it. */
static FILE *open_there(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "re");
}

static bool is_there(const char *name)
{
	AUTO_FCLOSE FILE *f = open_there(name);

	return f;
}

static pid_t get_server(void)
{
	AUTO_FCLOSE FILE *f = open_there("nbd.pid");
	int pid = 0;

	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	return pid;
}

/* Another one than that. */
static pid_t wait_server(pid_t before)
{
	pid_t pid;

	while ((pid = get_server()) == before || pid == 0)
		usleep(2000);
	return pid;
}

/* Not one that has ended, and that nobody has asked for yet. */
static bool is_alive(pid_t pid)
{
	AUTO_FCLOSE FILE *f = NULL;
	char path[32], state = 'X';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	return f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && !strchr("XZ", state);
}

/* @command with "@" for the directory, which has the image. */
static void set_command(struct fixture *f, const char *command)
{
	size_t len = 0;

	for (const char *c = command; *c; c++)
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%.*s", *c == '@' ? 64 : 1,
					*c == '@' ? dir : c);
	f->conf.command = line;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_non_null(f);
	assert_true(fd >= 0 && ftruncate(fd, (off_t)SIZE_BYTES) == 0);
	close(fd);
	f->conf = (struct nbd_conf){.timeout_ns = 20 * NBD_NS_PER_S};
	f->req = (struct backend_request){
		.device = "unit", .dir = dir, .conf = &f->conf, .kept_fd = -1};
	set_command(f, "nbdkit file @/image");
	*state = f;
	return 0;
}

static void stop(struct fixture *f)
{
	if (!f->b)
		return;
	fake_queue_stop(&f->q);
	f->b = nbd_backend.close(f->b);
}

static int teardown(void **state)
{
	stop(*state);
	free(*state);
	return 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(nbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &nbd_backend, f->b);
}

static void test_it_lives_as_long_as_the_device(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	start(f);
	pid = get_server();
	assert_true(pid > 0 && is_alive(pid));
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES);
	fake_queue_fill(&f->q, SECTOR, SECTOR, f->buf, 0x21);
	fake_queue_expect(&f->q, SECTOR, SECTOR, f->buf, 0x21);
	assert_string_equal(nbd_backend.get_target(f->b), line);
	stop(f);
	assert_false(is_alive(pid));
	assert_false(is_there("nbd.sock"));
}

static void test_another_connection_after_the_last(void **state)
{
	struct fixture *f = *state;

	/* It ends with its last client, and is there again for the next. */
	set_command(f, "qemu-nbd -f raw @/image");
	start(f);
	fake_queue_fill(&f->q, SECTOR, SECTOR, f->buf, 0x22);
	for (int i = 0; i < 2; i++) {
		pid_t pid = get_server();

		kill(pid, SIGKILL);
		fake_queue_fill(&f->q, SECTOR, SECTOR, f->buf, 0x23 + i);
		fake_queue_expect(&f->q, SECTOR, SECTOR, f->buf, 0x23 + i);
		assert_true(get_server() != pid);
	}
	assert_int_equal(f->q.n_reconnects, 2);
}

static void test_it_is_started_again(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_queue_fill(&f->q, SECTOR, SECTOR, f->buf, 0x31);
	for (int i = 0; i < 3; i++) {
		const pid_t pid = get_server();

		kill(pid, SIGKILL);
		fake_queue_fill(&f->q, SECTOR, SECTOR, f->buf, 0x32 + i);
		fake_queue_expect(&f->q, SECTOR, SECTOR, f->buf, 0x32 + i);
		assert_true(wait_server(pid) != pid);
	}
	assert_int_equal(f->q.n_reconnects, 3);
}

static void test_what_it_cannot_be_started_with(void **state)
{
	struct fixture *f = *state;
	struct backend *b = NULL;

	set_command(f, "no-such-program");
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -ENOENT);
	set_command(f, "@/image"); /* cannot be executed */
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -EACCES);
	set_command(f, "nbdkit file @/no/such/file");
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -EIO);
	assert_null(b);
}

/* It has its socket, what it shares with us by intent, and nothing of the device. */
static void test_nothing_leaks_into_it(void **state)
{
	struct fixture *f = *state;
	char text[4096] = "";
	FILE *out;
	int leak = dup(STDIN_FILENO); /* stands for any without O_CLOEXEC */

	setenv("NOTIFY_SOCKET", "/nowhere", 1);
	set_command(
		f, "sh -c '(exec ls /proc/self/fd >@/fds); env >@/env; grep CapEff /proc/$$/status "
		   ">>@/env; exec nbdkit file @/image'");
	start(f);
	fake_queue_expect(&f->q, SECTOR, SECTOR, f->buf, 0);
	out = open_there("fds");
	assert_non_null(out);
	assert_true(fread(text, 1, sizeof(text) - 1, out) > 0);
	fclose(out);
	assert_string_equal(text, "0\n1\n2\n3\n4\n"); /* 4: the directory itself */
	out = open_there("env");
	memset(text, 0, sizeof(text));
	assert_true(fread(text, 1, sizeof(text) - 1, out) > 0);
	fclose(out);
	assert_non_null(strstr(text, "LISTEN_FDS=1\n"));
	assert_null(strstr(text, "NOTIFY_SOCKET"));
	/* CAP_SYS_ADMIN is bit 21 */
	assert_int_equal(strtoull(strstr(text, "CapEff:") + 7, NULL, 16) >> 21 & 1, 0);
	unsetenv("NOTIFY_SOCKET");
	close(leak);
}

/* A server of the device that is killed: its program ends, and the next one begins after that. */
static void test_the_next_server_begins_anew(void **state)
{
	struct fixture *f = *state;
	pid_t first = get_server(), old, other = fork();

	if (other == 0) {
		int r = nbd_backend.open(&f->req, &f->b, &f->limits);

		if (r == 0)
			pause();
		_exit(1);
	}
	old = wait_server(first);
	usleep(100000); /* it listens */
	kill(old, SIGSTOP);
	kill(other, SIGKILL);
	assert_int_equal(waitpid(other, NULL, 0), other);
	assert_true(is_alive(old)); /* it has been told, but is frozen */
	f->req.takeover = true;
	if (fork() == 0) {
		usleep(300000);
		kill(old, SIGCONT);
		_exit(0);
	}
	start(f);
	assert_true(get_server() != old);
	assert_false(is_alive(old));
	fake_queue_fill(&f->q, SECTOR, SECTOR, f->buf, 0x41);
	fake_queue_expect(&f->q, SECTOR, SECTOR, f->buf, 0x41);
	wait(NULL);
}

static bool has_program(const char *name)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", name);
	return system(command) == 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_it_lives_as_long_as_the_device),
		TEST(test_another_connection_after_the_last),
		TEST(test_it_is_started_again),
		TEST(test_what_it_cannot_be_started_with),
		TEST(test_nothing_leaks_into_it),
		TEST(test_the_next_server_begins_anew),
	};
	char command[96];
	int r;

	if (!has_program("nbdkit") || !has_program("qemu-nbd")) {
		fprintf(stderr, "needs nbdkit and qemu-nbd\n");
		return 77;
	}
	snprintf(dir, sizeof(dir), "/tmp/test-nbd-command-XXXXXX");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	snprintf(image, sizeof(image), "%s/image", dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) == 0 ? r : 1;
}
