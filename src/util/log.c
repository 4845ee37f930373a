/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writers put records into a ring of fixed size under a mutex that nobody holds while doing I/O;
 * the log thread takes them out one by one and writes them. A full ring drops the new message and
 * counts it; the count is told with the next message that fits.
 */
#include "util/log.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

/* A record brings the place it was made at; the macros would add this file to it. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "util/capability.h"
#include "util/cleanup.h"
#include "util/messages.h"

#define LOG_TEXT_BYTES 1024
#define LOG_N_RECORDS  128

struct log_record {
	int level;
	int err; /* positive errno; 0: none */
	struct log_origin origin;
	char device[64];
	char text[LOG_TEXT_BYTES];
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	bool running;               /* guarded by mutex */
	bool stopping;              /* guarded by mutex */
	unsigned head, n;           /* guarded by mutex */
	unsigned n_dropped;         /* guarded by mutex */
	struct log_record *records; /* guarded by mutex */
	int level;                  /* atomic */
	bool object_unit;           /* set once, before there is anything to say */
	int kmsg_fd;                /* likewise; -1: none */
	const char *kmsg_program;
} log_state = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.level = LOG_INFO,
	.kmsg_fd = -1,
};

static _Thread_local const char *log_device;
static _Thread_local struct {
	char *buf;
	size_t size;
} log_capture;

static const struct {
	const char *name;
	int level;
} log_levels[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},
};

void log_set_level(int level)
{
	__atomic_store_n(&log_state.level, level, __ATOMIC_RELAXED);
}

int log_level_from_string(const char *s, int *ret_level)
{
	for (size_t i = 0; i < ARRAY_SIZE(log_levels); i++) {
		if (strcmp(s, log_levels[i].name) == 0) {
			*ret_level = log_levels[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_set_device(const char *name)
{
	const char *before = log_device;

	log_device = name;
	return before;
}

void log_set_object_unit(bool on)
{
	log_state.object_unit = on;
}

void log_set_kmsg(const char *program)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return;
	log_state.kmsg_fd = fd; /* until the process ends */
	log_state.kmsg_program = program;
}

void log_set_capture(char *buf, size_t size)
{
	log_capture.buf = buf;
	log_capture.size = size;
}

/* Is stderr the journal's stream? Then fields and levels go to the journal by its own protocol. */
static bool log_stderr_is_journal(void)
{
	static int cached = -1; /* the same for every thread, so a race does no harm */
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (cached >= 0)
		return cached;
	cached = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
		 fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
	return cached;
}

static struct iovec log_field(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static struct iovec log_field(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return (struct iovec){.iov_base = buf, .iov_len = MIN((size_t)MAX(n, 0), size - 1)};
}

/* As in the repository, wherever it was built. */
static const char *log_source_path(const char *file)
{
	const char *found = file;

	for (const char *at = strstr(file, "src/"); at; at = strstr(at + 1, "src/")) {
		if (at == file || at[-1] == '/')
			found = at;
	}
	return found;
}

static void log_emit_journal(const struct log_record *rec)
{
	char message[LOG_TEXT_BYTES + 8], priority[16], file[192], line[32], func[128];
	char device[80], unit[128], err[32], id[64];
	struct iovec iov[9];
	int n = 0;

	iov[n++] = log_field(message, sizeof(message), "MESSAGE=%s", rec->text);
	iov[n++] = log_field(priority, sizeof(priority), "PRIORITY=%d", rec->level);
	iov[n++] = log_field(file, sizeof(file), "CODE_FILE=%s", log_source_path(rec->origin.file));
	iov[n++] = log_field(line, sizeof(line), "CODE_LINE=%d", rec->origin.line);
	iov[n++] = log_field(func, sizeof(func), "CODE_FUNC=%s", rec->origin.func);
	if (rec->device[0])
		iov[n++] = log_field(device, sizeof(device), "UBLKD_DEVICE=%s", rec->device);
	/* what "journalctl -u" looks for beside the unit of the sender */
	if (rec->device[0] && log_state.object_unit)
		iov[n++] = log_field(unit, sizeof(unit), "OBJECT_SYSTEMD_UNIT=ublk@%s.service",
				     rec->device);
	if (rec->err)
		iov[n++] = log_field(err, sizeof(err), "ERRNO=%d", rec->err);
	if (rec->origin.id)
		iov[n++] = log_field(id, sizeof(id), "MESSAGE_ID=%s", rec->origin.id);
	sd_journal_sendv(iov, n);
}

/*
 * One write is one record, and the kernel refuses more than 1024 bytes. Not dprintf(): that of glibc
 * 2.36 fails where there is no position.
 */
static void log_emit_kmsg(const struct log_record *rec)
{
	char text[1000];
	struct iovec iov = log_field(text, sizeof(text), "<%d>%s[%d]: %s%s%s\n",
				     LOG_DAEMON | rec->level, log_state.kmsg_program, (int)getpid(),
				     rec->device, rec->device[0] ? ": " : "", rec->text);

	/* There is nobody to tell a failure. */
	if (write(log_state.kmsg_fd, iov.iov_base, iov.iov_len) < 0)
		return;
}

static void log_emit(const struct log_record *rec)
{
	const char *level = "error";

	if (log_state.kmsg_fd >= 0) {
		log_emit_kmsg(rec);
		return;
	}
	if (log_stderr_is_journal()) {
		log_emit_journal(rec);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(log_levels); i++) {
		if (log_levels[i].level == rec->level)
			level = log_levels[i].name;
	}
	/* Not stdio's stderr: if nobody reads it, its lock would be held here when exit() wants it. */
	dprintf(STDERR_FILENO, "%s%s%s: %s\n", rec->device, rec->device[0] ? ": " : "", level,
		rec->text);
}

static void *log_thread(void *arg)
{
	struct log_record rec, lost;

	/* those that the service has; one that stays does no harm */
	(void)capability_drop(CAP_SYS_ADMIN);
	(void)capability_drop(CAP_SYS_PTRACE);
	(void)capability_drop(CAP_DAC_OVERRIDE);
	pthread_mutex_lock(&log_state.mutex);
	while (log_state.n > 0 || !log_state.stopping) {
		if (log_state.n == 0) {
			pthread_cond_wait(&log_state.changed, &log_state.mutex);
			continue;
		}
		rec = log_state.records[log_state.head];
		log_state.head = (log_state.head + 1) % LOG_N_RECORDS;
		log_state.n--;
		lost = (struct log_record){
			.level = LOG_WARNING,
			.origin = {__FILE__, __LINE__, __func__, MESSAGE_MESSAGES_LOST},
		};
		if (log_state.n_dropped > 0)
			snprintf(lost.text, sizeof(lost.text),
				 "%u messages were lost, the journal did not take them",
				 log_state.n_dropped);
		log_state.n_dropped = 0;
		pthread_mutex_unlock(&log_state.mutex);

		if (lost.text[0])
			log_emit(&lost);
		log_emit(&rec);

		pthread_mutex_lock(&log_state.mutex);
	}
	log_state.running = false;
	pthread_cond_broadcast(&log_state.changed);
	pthread_mutex_unlock(&log_state.mutex);
	return NULL;
}

int log_start(void)
{
	pthread_condattr_t cond;
	pthread_attr_t attr;
	int r;

	log_state.records = calloc(LOG_N_RECORDS, sizeof(struct log_record));
	if (!log_state.records)
		return -ENOMEM;
	pthread_condattr_init(&cond);
	pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
	pthread_cond_init(&log_state.changed, &cond);
	pthread_condattr_destroy(&cond);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	log_state.running = true;
	r = -pthread_create(&log_state.thread, &attr, log_thread, NULL);
	pthread_attr_destroy(&attr);
	if (r < 0)
		log_state.running = false;
	else
		pthread_setname_np(log_state.thread, "ublkd-log");
	return r;
}

void log_stop(unsigned timeout_ms)
{
	struct timespec until;
	bool done;

	if (!log_state.records)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&log_state.mutex);
	log_state.stopping = true;
	pthread_cond_broadcast(&log_state.changed);
	while (log_state.running &&
	       pthread_cond_timedwait(&log_state.changed, &log_state.mutex, &until) == 0)
		;
	done = !log_state.running;
	pthread_mutex_unlock(&log_state.mutex);
	if (!done) /* stuck in a write: it ends with the process */
		return;
	pthread_join(log_state.thread, NULL);
	free(TAKE_PTR(log_state.records));
	log_state.stopping = false;
}

static void log_push(const struct log_record *rec)
{
	bool queued = false;

	pthread_mutex_lock(&log_state.mutex);
	if (log_state.running && !log_state.stopping) {
		if (log_state.n < LOG_N_RECORDS) {
			log_state.records[(log_state.head + log_state.n) % LOG_N_RECORDS] = *rec;
			log_state.n++;
			pthread_cond_broadcast(&log_state.changed);
		} else {
			log_state.n_dropped++;
		}
		queued = true;
	}
	pthread_mutex_unlock(&log_state.mutex);
	if (!queued)
		log_emit(rec);
}

int log_write(int level, int r, const struct log_origin *origin, const char *fmt, ...)
{
	struct log_record rec = {.level = level, .err = r < 0 ? -r : 0, .origin = *origin};
	int saved = errno;
	va_list ap;

	if (level > __atomic_load_n(&log_state.level, __ATOMIC_RELAXED))
		return r;
	snprintf(rec.device, sizeof(rec.device), "%s", log_device ?: "");
	va_start(ap, fmt);
	errno = -r;
	vsnprintf(rec.text, sizeof(rec.text), fmt, ap);
	va_end(ap);
	if (level == LOG_ERR && log_capture.buf)
		snprintf(log_capture.buf, log_capture.size, "%s", rec.text);
	log_push(&rec);
	errno = saved;
	return r;
}
