/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages from several threads while the log's own thread does the writing, and while it ends:
 * each is written or counted as lost, once. Made for a thread sanitizer.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/log.h"

#define N_WRITERS  4
#define N_MESSAGES 500

struct writer {
	char name[8];
	pthread_t thread;
	bool read[N_MESSAGES];
};

static struct writer writers[N_WRITERS];
static int pipe_fds[2], old_stderr;
static unsigned n_read, n_lost; /* the reader's */

static void *write_messages(void *arg)
{
	struct writer *w = arg;
	char last[64] = "";

	(void)log_set_device(w->name);
	log_set_capture(last, sizeof(last));
	for (unsigned i = 0; i < N_MESSAGES; i++) {
		log_error("%u", i);
		log_debug("not to be seen");
		if ((unsigned)atoi(last) != i)
			abort();
	}
	log_set_capture(NULL, 0);
	return NULL;
}

/* "w2: error: 17", or how many were lost. */
static void read_line(const char *line)
{
	unsigned writer, n;

	if (sscanf(line, "w%u: error: %u", &writer, &n) == 2) {
		if (writer >= N_WRITERS || n >= N_MESSAGES || writers[writer].read[n])
			abort();
		writers[writer].read[n] = true;
		n_read++;
		return;
	}
	if (sscanf(line, "warning: %u messages were lost", &n) != 1)
		abort();
	n_lost += n;
}

static void *read_all(void *arg)
{
	AUTO_FCLOSE FILE *f = fdopen(pipe_fds[0], "r");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		read_line(line);
	return NULL;
}

static void test_every_message_is_written_or_counted(void **state)
{
	pthread_t reader;

	unsetenv("JOURNAL_STREAM");
	old_stderr = dup(STDERR_FILENO);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
	close(pipe_fds[1]);
	assert_int_equal(pthread_create(&reader, NULL, read_all, NULL), 0);

	assert_int_equal(log_start(), 0);
	for (unsigned i = 0; i < N_WRITERS; i++) {
		snprintf(writers[i].name, sizeof(writers[i].name), "w%u", i);
		assert_int_equal(
			pthread_create(&writers[i].thread, NULL, write_messages, &writers[i]), 0);
	}
	for (unsigned i = 0; i < 20; i++)
		log_set_level(i % 2 ? LOG_WARNING : LOG_ERR);
	log_stop(60000); /* under some of them, most times */
	for (unsigned i = 0; i < N_WRITERS; i++)
		pthread_join(writers[i].thread, NULL);

	dup2(old_stderr, STDERR_FILENO); /* the pipe ends */
	close(old_stderr);
	pthread_join(reader, NULL);
	assert_true(n_read > 0);
	assert_int_equal(n_read + n_lost, N_WRITERS * N_MESSAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_message_is_written_or_counted),
	};

	return cmocka_run_group_tests_name("log-threads", tests, NULL, NULL);
}
