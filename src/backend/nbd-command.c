/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Command=: a server that is a program of ours. It gets a socket that listens, as from a socket unit
 * of systemd, so we connect to it as to any other, as often as we like. When it ends it is started
 * again, and every link finds it as one that was away.
 *
 * A thread does that and nothing else, since the program is sent SIGTERM when the thread that has
 * started it ends, whatever the reason: it ends with us, and can write out what it has. Whoever
 * comes after us waits for that. A socket of the file system that nobody has any more refuses
 * connections, so they need not know the process; they do to end one that hangs.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/nbd-command.h"
#include "conf/nbd-words.h"
#include "conf/search.h"
#include "util/capability.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/parse.h"

#define COMMAND_SOCKET      "nbd.sock"
#define COMMAND_PROCESS     "nbd.pid"
#define COMMAND_BACKLOG     64
#define COMMAND_END_MS      15000 /* from SIGTERM to SIGKILL */
#define COMMAND_OLD_NS      20000000000ULL
#define COMMAND_OLD_STEP_US 50000
#define COMMAND_FIRST_MS    50 /* before it is started again */
#define COMMAND_LAST_MS     5000
#define COMMAND_LASTS_NS    10000000000ULL /* then the next time is a first one */
#define COMMAND_PATH        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define COMMAND_LISTEN_PID  "LISTEN_PID=0000000000" /* room for any */

struct nbd_command {
	char *text; /* of the definition */
	char *device;
	char *dir;
	char **argv;
	char *program;
	char **environment;
	char *listen_pid; /* in the environment */
	struct sockaddr_un address;
	pthread_t thread;
	bool has_thread;
	sem_t started; /* start_r is there */
	int start_r;
	int stop_fd;
	_Atomic unsigned n_ended;
	/* the thread's */
	pid_t pid;
	int pidfd;
	int exec_errno; /* set by the child, which shares our memory until it is the program */
};

/* ---- what it is started with ---- */

/* Not what systemd says to us alone. */
static bool nbd_command_is_ours(const char *variable)
{
	static const char *const ours[] = {"NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_",
					   "FDSTORE=",       "UBLKD_",    "MAINPID="};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (strncmp(variable, ours[i], strlen(ours[i])) == 0)
			return true;
	return false;
}

static int nbd_command_make_environment(struct nbd_command *c)
{
	size_t n = 0;

	while (environ[n])
		n++;
	c->environment = calloc(n + 3, sizeof(*c->environment));
	if (!c->environment)
		return -ENOMEM;
	n = 0;
	for (char **e = environ; *e; e++) {
		if (nbd_command_is_ours(*e))
			continue;
		c->environment[n] = strdup(*e);
		if (!c->environment[n++])
			return -ENOMEM;
	}
	c->environment[n] = strdup("LISTEN_FDS=1");
	if (!c->environment[n++])
		return -ENOMEM;
	c->environment[n] = c->listen_pid = strdup(COMMAND_LISTEN_PID);
	return c->listen_pid ? 0 : -ENOMEM;
}

/* As a shell would find it. -ENOENT. */
static int nbd_command_find_program(struct nbd_command *c)
{
	const char *name = c->argv[0], *path = getenv("PATH") ?: COMMAND_PATH;

	if (strchr(name, '/')) {
		c->program = strdup(name);
		return c->program ? 0 : -ENOMEM;
	}
	for (; *path; path += strspn(path, ":")) {
		size_t len = strcspn(path, ":");
		AUTO_FREE char *file = NULL;

		if (asprintf(&file, "%.*s/%s", (int)len, path, name) < 0) {
			file = NULL;
			return -ENOMEM;
		}
		if (access(file, X_OK) == 0) {
			c->program = TAKE_PTR(file);
			return 0;
		}
		path += len;
	}
	return -ENOENT;
}

static int nbd_command_listen(struct nbd_command *c, int *ret_fd)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* The socket gets its mode from this, before anybody can find it. */
	if (fchmod(fd, 0600) < 0)
		return -errno;
	if (unlink(c->address.sun_path) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&c->address, sizeof(c->address)) < 0 ||
	    listen(fd, COMMAND_BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- a process ---- */

/* Without leading zeros, which make it octal for some, and without the C library. */
static void nbd_command_print_pid(pid_t pid, char *buf)
{
	pid_t unit = 1;

	while (pid / unit >= 10)
		unit *= 10;
	for (; unit > 0; unit /= 10)
		*buf++ = (char)('0' + pid / unit % 10);
	*buf = '\0';
}

/*
 * In the child, in the memory of the parent, whose thread stands still: system calls only. It keeps
 * the flag for tasks that serve a disk (PR_SET_IO_FLUSHER), as it is one, and loses what only we need.
 */
static void __attribute__((noreturn))
nbd_command_exec(struct nbd_command *c, int listen_fd, pid_t parent)
{
	static const unsigned caps[] = {CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_RESOURCE};
	const struct sigaction as_ever = {.sa_handler = SIG_DFL};
	sigset_t none;
	int null;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != parent) /* ended before */
		_exit(1);
	nbd_command_print_pid(getpid(), c->listen_pid + strlen("LISTEN_PID="));
	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &as_ever, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null >= 0)
		(void)dup2(null, STDIN_FILENO);
	if (listen_fd == 3)
		(void)fcntl(listen_fd, F_SETFD, 0);
	else if (dup2(listen_fd, 3) < 0)
		goto failed;
	/* All of them are O_CLOEXEC; this is for those that a library may have opened. */
	(void)close_range(4, ~0U, 0);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		(void)capability_drop(caps[i]);
	execve(c->program, c->argv, c->environment);
failed:
	c->exec_errno = errno;
	_exit(127);
}

/* What tells a process from another one that gets its number later. */
static int nbd_command_get_age(pid_t pid, uint64_t *ret_start)
{
	AUTO_FREE char *text = NULL;
	char path[64], *at;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = fd_read_file(AT_FDCWD, path, 4096, &text, NULL);
	if (r < 0)
		return r;
	/* Field 22. The second is in parentheses and may have any. */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -EBADMSG;
	*ret_start = strtoull(at + 1, NULL, 10);
	return 0;
}

static void nbd_command_note_process(const struct nbd_command *c)
{
	AUTO_CLOSE int dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[64];
	uint64_t start;
	int len;

	if (dir_fd < 0 || nbd_command_get_age(c->pid, &start) < 0)
		return;
	len = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)c->pid, start);
	(void)fd_write_file(dir_fd, COMMAND_PROCESS, text, (size_t)len, 0600);
}

/* Not fork(): the copy would have our locked memory, and the device's. */
static pid_t nbd_command_fork(struct nbd_command *c, int listen_fd)
{
	const pid_t parent = getpid();
	pid_t pid = vfork();

	if (pid == 0)
		nbd_command_exec(c, listen_fd, parent);
	return pid;
}

/* Logging. */
static int nbd_command_spawn(struct nbd_command *c)
{
	AUTO_CLOSE int listen_fd = -1;
	int r = nbd_command_listen(c, &listen_fd);

	if (r < 0)
		return log_error_errno(r, "cannot listen on %s: %m", c->address.sun_path);
	c->exec_errno = 0;
	c->pid = nbd_command_fork(c, listen_fd);
	if (c->pid < 0)
		return log_error_errno(-errno, "cannot start %s: %m", c->program);
	if (c->exec_errno > 0) {
		(void)waitpid(c->pid, NULL, 0);
		return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, -c->exec_errno,
				   "cannot execute %s: %m", c->program);
	}
	c->pidfd = pidfd_open(c->pid, 0);
	if (c->pidfd < 0) {
		r = log_error_errno(-errno, "cannot watch %s: %m", c->program);
		(void)kill(c->pid, SIGKILL);
		(void)waitpid(c->pid, NULL, 0);
		return r;
	}
	nbd_command_note_process(c);
	return 0;
}

/* Of a process that has ended. */
static void nbd_command_reap(struct nbd_command *c, bool wanted)
{
	int status = 0;

	(void)waitpid(c->pid, &status, 0);
	close(TAKE_FD(c->pidfd));
	if (wanted)
		return;
	if (WIFSIGNALED(status))
		log_message(MESSAGE_BACKING_FAILED, LOG_ERR, 0, "%s was ended by signal %d",
			    c->program, WTERMSIG(status));
	else
		log_message(MESSAGE_BACKING_FAILED, LOG_ERR, 0, "%s has ended with status %d",
			    c->program, WEXITSTATUS(status));
}

static bool nbd_command_wait(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

static void nbd_command_end_process(struct nbd_command *c)
{
	(void)kill(c->pid, SIGTERM);
	if (!nbd_command_wait(c->pidfd, COMMAND_END_MS)) {
		log_warning("%s does not end within %d s of SIGTERM: SIGKILL follows", c->program,
			    COMMAND_END_MS / 1000);
		(void)kill(c->pid, SIGKILL);
	}
	nbd_command_reap(c, true);
}

/* ---- the thread ---- */

/* Until it ends, or has to. True: it has to. */
static bool nbd_command_watch(struct nbd_command *c)
{
	struct pollfd p[2] = {{.fd = c->pidfd, .events = POLLIN},
			      {.fd = c->stop_fd, .events = POLLIN}};

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	return p[1].revents;
}

static void *nbd_command_run(void *arg)
{
	struct nbd_command *c = arg;
	int wait_ms = COMMAND_FIRST_MS;
	sigset_t all;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, NULL);
	(void)log_set_device(c->device);
	c->start_r = nbd_command_spawn(c);
	sem_post(&c->started);
	for (int r = c->start_r; c->start_r == 0;) {
		const uint64_t start_ns = clock_now_ns();

		if (r == 0 && nbd_command_watch(c)) {
			nbd_command_end_process(c);
			break;
		}
		if (r == 0)
			nbd_command_reap(c, false);
		atomic_fetch_add(&c->n_ended, 1);
		wait_ms = clock_now_ns() - start_ns >= COMMAND_LASTS_NS
				  ? COMMAND_FIRST_MS
				  : MIN(2 * wait_ms, COMMAND_LAST_MS);
		if (nbd_command_wait(c->stop_fd, wait_ms))
			break;
		r = nbd_command_spawn(c);
	}
	return NULL;
}

/* ---- the one of who was there before us ---- */

/* 0: nobody has it; 1: somebody has; -errno */
static int nbd_command_probe(const struct nbd_command *c)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&c->address, sizeof(c->address)) == 0 ||
	    errno == EAGAIN)
		return 1;
	return errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
}

static void nbd_command_kill_old(const struct nbd_command *c)
{
	AUTO_CLOSE int dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	AUTO_FREE char *text = NULL;
	uint64_t noted, start;
	int pid;

	if (dir_fd < 0 || fd_read_file(dir_fd, COMMAND_PROCESS, 64, &text, NULL) < 0 ||
	    sscanf(text, "%d %" SCNu64, &pid, &noted) != 2 || pid <= 1)
		return;
	fd = pidfd_open(pid, 0);
	if (fd < 0 || nbd_command_get_age(pid, &start) < 0 || start != noted)
		return;
	log_warning("process %d of the server before does not end: SIGKILL follows", pid);
	(void)pidfd_send_signal(fd, SIGKILL, NULL, 0);
}

/* Logging. What it still writes must not come after what we write. */
static int nbd_command_wait_for_old(const struct nbd_command *c, const struct backend_request *req)
{
	const uint64_t start_ns = clock_now_ns();
	bool told = false, killed = false;

	for (;;) {
		int r = nbd_command_probe(c);

		if (r < 0)
			return log_error_errno(r, "cannot look at %s: %m", c->address.sun_path);
		if (r == 0)
			return 0;
		if (!told)
			log_notice("waiting for the end of the server before: %s", c->text);
		told = true;
		if (!killed && clock_now_ns() - start_ns >= COMMAND_OLD_NS) {
			nbd_command_kill_old(c);
			killed = true;
		}
		if (req->interrupt && req->interrupt(req->interrupt_arg))
			return log_at(LOG_NOTICE, -ECANCELED, "waiting for %s was given up",
				      c->text);
		usleep(COMMAND_OLD_STEP_US);
	}
}

/* ---- beginning and end ---- */

static int nbd_command_fill(struct nbd_command *c, const struct backend_request *req,
			    const char *text)
{
	AUTO_FREE char *path = NULL;
	const char *why;
	int r;

	c->text = strdup(text);
	c->device = strdup(req->device);
	c->dir = strdup(req->dir);
	if (!c->text || !c->device || !c->dir)
		return -ENOMEM;
	r = nbd_words_split(text, &c->argv, &why);
	if (r == 0)
		r = nbd_command_make_environment(c);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/" COMMAND_SOCKET, c->dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (strlen(path) >= sizeof(c->address.sun_path))
		return -ENAMETOOLONG;
	c->address.sun_family = AF_UNIX;
	strcpy(c->address.sun_path, path);
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	return c->stop_fd < 0 ? -errno : 0;
}

int nbd_command_start(const struct backend_request *req, const char *text, struct nbd_command **ret)
{
	AUTO(nbd_command_stop) struct nbd_command *c = calloc(1, sizeof(*c));
	int r = c ? 0 : -ENOMEM;

	if (c) {
		c->stop_fd = c->pidfd = -1;
		sem_init(&c->started, 0, 0);
		r = nbd_command_fill(c, req, text);
	}
	if (r < 0)
		return log_error_errno(r, "cannot prepare %s: %m", text);
	r = nbd_command_find_program(c);
	if (r < 0)
		return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r,
				   "Command=: cannot find the program %s: %m", c->argv[0]);
	r = nbd_command_wait_for_old(c, req);
	if (r < 0)
		return r;
	r = -pthread_create(&c->thread, NULL, nbd_command_run, c);
	if (r < 0)
		return log_error_errno(r, "cannot start a thread for %s: %m", text);
	c->has_thread = true;
	while (sem_wait(&c->started) < 0 && errno == EINTR)
		;
	if (c->start_r < 0)
		return c->start_r;
	*ret = TAKE_PTR(c);
	return 0;
}

const struct sockaddr_un *nbd_command_get_address(const struct nbd_command *c)
{
	return &c->address;
}

unsigned nbd_command_count_ends(const struct nbd_command *c)
{
	return atomic_load(&c->n_ended);
}

struct nbd_command *nbd_command_stop(struct nbd_command *c)
{
	if (!c)
		return NULL;
	if (c->has_thread) {
		const uint64_t one = 1;

		(void)!write(c->stop_fd, &one, sizeof(one));
		(void)pthread_join(c->thread, NULL);
		(void)unlink(c->address.sun_path);
	}
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	sem_destroy(&c->started);
	conf_strv_free(c->argv);
	conf_strv_free(c->environment);
	free(c->program);
	free(c->text);
	free(c->device);
	free(c->dir);
	free(c);
	return NULL;
}
