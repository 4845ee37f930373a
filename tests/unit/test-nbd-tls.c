/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=nbd with TLS: who is believed to be the server, and that all works over it, too. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/nbd.h"
#include "backend/registry.h"
#include "fake-queue.h"

#define SIZE_BYTES (8ULL << 20)
#define BUF_BYTES  (1U << 20)
#define N_IOS      32

static char dir[64], uri[160], unix_uri[160], psk[96], certificates[96];
static unsigned port;

struct fixture {
	struct nbd_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	struct fake_io ios[N_IOS];
	pid_t server;
	uint8_t buf[BUF_BYTES];
};

/* In our directory. */
static int shell(const char *command)
{
	AUTO_FREE char *line = NULL;

	if (asprintf(&line, "cd %s && { %s; } >>log 2>&1", dir, command) < 0)
		return -1;
	return system(line);
}

/* As root of its own trust, so that each directory stands for somebody else. */
static void make_certificates(const char *name, const char *host)
{
	AUTO_FREE char *line = NULL;

	assert_true(
		asprintf(&line,
			 "mkdir %1$s && cd %1$s && "
			 "printf 'cn=Us\\nca\\ncert_signing_key\\n' >ca.info && "
			 "printf 'cn=%2$s\\ndns_name=%2$s\\ntls_www_server\\n"
			 "signing_key\\nencryption_key\\n' >server.info && "
			 "certtool --generate-privkey --key-type=ecdsa --outfile=ca-key.pem && "
			 "certtool --generate-self-signed --load-privkey=ca-key.pem "
			 "--template=ca.info --outfile=ca-cert.pem && "
			 "certtool --generate-privkey --key-type=ecdsa --outfile=server-key.pem && "
			 "certtool --generate-certificate --load-ca-certificate=ca-cert.pem "
			 "--load-ca-privkey=ca-key.pem --load-privkey=server-key.pem "
			 "--template=server.info --outfile=server-cert.pem",
			 name, host) > 0);
	assert_int_equal(shell(line), 0);
}

static unsigned find_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	return ntohs(in.sin_port);
}

/* nbdkit with one argument for its place, and one for its TLS. */
static void begin(struct fixture *f, const char *place, const char *tls)
{
	char image[96], pid_file[96], place_argument[160];

	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(pid_file, sizeof(pid_file), "%s/pid", dir);
	snprintf(place_argument, sizeof(place_argument), "%s", place);
	unlink(pid_file);
	f->server = fork();
	if (f->server == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execlp("nbdkit", "nbdkit", "-f", place_argument, "--tls=require", tls, "-P",
		       pid_file, "file", image, NULL);
		_exit(127);
	}
	while (access(pid_file, F_OK) < 0) /* written when it listens */
		usleep(2000);
}

static void begin_tcp(struct fixture *f, const char *name)
{
	char place[32], tls[160];

	snprintf(place, sizeof(place), "--port=%u", port);
	snprintf(tls, sizeof(tls), "--tls-certificates=%s/%s", dir, name);
	begin(f, place, tls);
}

static void begin_unix(struct fixture *f)
{
	char place[96], tls[160];

	snprintf(place, sizeof(place), "--unix=%s/sock", dir);
	snprintf(tls, sizeof(tls), "--tls-psk=%s/server.psk", dir);
	unlink(strchr(place, '/'));
	begin(f, place, tls);
	f->conf.uri = unix_uri;
	f->conf.tls_certificates = NULL;
	f->conf.tls_psk_file = psk;
	f->conf.tls_username = (char *)"disk";
}

static void end_server(struct fixture *f)
{
	if (f->server <= 0)
		return;
	kill(f->server, SIGKILL);
	waitpid(f->server, NULL, 0);
	f->server = 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->conf = (struct nbd_conf){
		.uri = uri, .tls_certificates = certificates, .timeout_ns = 20 * NBD_NS_PER_S};
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
	end_server(f);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(nbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &nbd_backend, f->b);
}

static void is_refused(struct fixture *f)
{
	struct backend *b = NULL;

	assert_true(nbd_backend.open(&f->req, &b, &f->limits) < 0);
	assert_null(b);
}

/* Several at once, larger than a record of TLS and than what a socket takes. */
static void do_all(struct fixture *f, enum io_op op, int byte)
{
	const size_t len = BUF_BYTES / N_IOS;

	memset(f->buf, op == IO_WRITE ? byte : 0, BUF_BYTES);
	for (unsigned i = 0; i < N_IOS; i++) {
		f->ios[i] = (struct fake_io){.io = {.op = op,
						    .offset_bytes = i * len,
						    .len_bytes = len,
						    .buf = f->buf + i * len}};
		fake_queue_submit(&f->q, &f->ios[i]);
	}
}

static void all_have(struct fixture *f, int byte)
{
	fake_queue_run(&f->q);
	for (unsigned i = 0; i < N_IOS; i++)
		assert_int_equal(f->ios[i].res, 0);
	for (size_t i = 0; i < BUF_BYTES; i++)
		assert_int_equal(f->buf[i], byte);
}

static void test_certificates(void **state)
{
	struct fixture *f = *state;

	begin_tcp(f, "us");
	start(f);
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES);
	for (int i = 1; i < 20; i++) {
		do_all(f, IO_WRITE, i);
		all_have(f, i);
		do_all(f, IO_READ, i);
		all_have(f, i);
	}
	assert_int_equal(f->q.n_reconnects, 0);
}

static void test_keys(void **state)
{
	struct fixture *f = *state;

	begin_unix(f);
	start(f);
	do_all(f, IO_WRITE, 0x31);
	all_have(f, 0x31);
	do_all(f, IO_READ, 0);
	all_have(f, 0x31);
}

static void test_servers_come_and_go(void **state)
{
	struct fixture *f = *state;

	begin_unix(f);
	start(f);
	for (int i = 1; i < 12; i++) {
		do_all(f, IO_WRITE, i);
		for (int n = i % 5; n > 0; n--)
			fake_queue_turn(&f->q);
		end_server(f);
		begin_unix(f);
		all_have(f, i);
		do_all(f, IO_READ, i);
		all_have(f, i);
	}
	assert_true(f->q.n_reconnects > 0);
}

static void test_who_is_not_the_server(void **state)
{
	struct fixture *f = *state;

	/* Trusted by somebody else, or for another name. */
	begin_tcp(f, "others");
	is_refused(f);
	end_server(f);
	begin_tcp(f, "named");
	snprintf(certificates, sizeof(certificates), "%s/named", dir);
	is_refused(f);
	snprintf(certificates, sizeof(certificates), "%s/us", dir);
	end_server(f);
	/* Who does not have the key. */
	begin_unix(f);
	snprintf(psk, sizeof(psk), "%s/others.psk", dir);
	is_refused(f);
	snprintf(psk, sizeof(psk), "%s/client.psk", dir);
}

/* What the definition names comes second. */
static void test_credentials_of_the_service(void **state)
{
	struct fixture *f = *state;
	char credentials[96];

	snprintf(credentials, sizeof(credentials), "%s/credentials", dir);
	assert_int_equal(shell("mkdir credentials && cp us/ca-cert.pem credentials && "
			       "cp client.psk credentials/psk"),
			 0);
	setenv("CREDENTIALS_DIRECTORY", credentials, 1);
	f->conf.tls_certificates = (char *)"/nowhere";
	begin_tcp(f, "us");
	start(f);
	fake_queue_stop(&f->q);
	f->b = nbd_backend.close(f->b);
	end_server(f);
	begin_unix(f);
	f->conf.tls_psk_file = (char *)"/nowhere";
	start(f);
	unsetenv("CREDENTIALS_DIRECTORY");
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
		TEST(test_certificates),
		TEST(test_keys),
		TEST(test_servers_come_and_go),
		TEST(test_who_is_not_the_server),
		TEST(test_credentials_of_the_service),
	};
	int r;

	if (!has_program("nbdkit") || !has_program("certtool") || !has_program("psktool")) {
		fprintf(stderr, "needs nbdkit, certtool and psktool\n");
		return 77;
	}
	snprintf(dir, sizeof(dir), "/tmp/test-nbd-tls-XXXXXX");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	port = find_port();
	snprintf(uri, sizeof(uri), "nbds://localhost:%u", port);
	snprintf(unix_uri, sizeof(unix_uri), "nbds+unix:///?socket=%s/sock", dir);
	snprintf(psk, sizeof(psk), "%s/client.psk", dir);
	snprintf(certificates, sizeof(certificates), "%s/us", dir);
	assert_int_equal(shell("truncate -s 8M image && psktool -u disk -p client.psk && "
			       "cp client.psk server.psk && psktool -u disk -p others.psk"),
			 0);
	make_certificates("us", "localhost");
	make_certificates("others", "localhost");
	make_certificates("named", "somewhere.example");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	return shell("rm -r \"$PWD\"") == 0 ? r : 1;
}
