/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "nbd-fixture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

char dir[64], sock[96], image[96], uri[160], log_path[96];

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

int run(const char *line)
{
	int status;
	pid_t pid = spawn(line);

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void begin_server(struct fixture *f, const char *line)
{
	unlink(sock);
	f->server = spawn(line);
}

void kill_server(struct fixture *f)
{
	if (f->server <= 0)
		return;
	kill(f->server, SIGKILL);
	waitpid(f->server, NULL, 0);
	f->server = 0;
}

void freeze_server(struct fixture *f)
{
	int status;

	kill(f->server, SIGSTOP);
	assert_int_equal(waitpid(f->server, &status, WUNTRACED), f->server);
	assert_true(WIFSTOPPED(status));
}

void other_server(struct fixture *f, const char *line)
{
	kill_server(f);
	begin_server(f, line);
}

/* ---- fixture ---- */

int setup(void **state)
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

int teardown(void **state)
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

void wait_socket(void)
{
	while (access(sock, F_OK) < 0)
		usleep(2000);
	usleep(2000);
}

void start(struct fixture *f, const char *line)
{
	begin_server(f, line);
	wait_socket();
	assert_int_equal(nbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &nbd_backend, f->b);
}

int do_io(struct fixture *f, enum io_op op, uint32_t flags, uint64_t offset, uint64_t len)
{
	return fake_queue_do(&f->q, op, flags, offset, len, f->buf);
}

bool is_there(const char *program)
{
	char line[128];

	snprintf(line, sizeof(line), "%s --version", program);
	return run(line) != 127;
}

void wait_trouble(struct fixture *f, const char *text)
{
	while (!strstr(nbd_backend.get_trouble(f->b, NULL), text))
		fake_queue_look(&f->q, 1);
}

int run_with_servers(const struct CMUnitTest *tests, size_t n_tests)
{
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
	r = _cmocka_run_group_tests("nbd", tests, n_tests, NULL, NULL);
	for (const char *const *name = (const char *const[]){"image", "log", "server.conf", NULL};
	     *name; name++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", dir, *name);
		unlink(path);
	}
	rmdir(dir);
	return r;
}
