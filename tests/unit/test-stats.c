/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/stats.h"

#include "golden.h"
#include "state/state.h"
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int lock_fd;

static int setup(void **state)
{
	char *base = strdup("/tmp/test-stats.XXXXXX");

	if (!base || !mkdtemp(base))
		return -1;
	setenv("UBLKD_STATE_DIR", base, 1);
	umask(077);
	*state = base;
	return state_lock("data", &lock_fd);
}

static int teardown(void **state)
{
	AUTO_FREE char *base = *state;
	int r = state_remove("data", UINT32_MAX);

	close(lock_fd);
	return r < 0 ? r : rmdir(base);
}

static const char *stats_path(void)
{
	static char buf[256];

	snprintf(buf, sizeof(buf), "%s/data/stats", state_dir());
	return buf;
}

static void test_reader_sees_what_the_writer_counts(void **state)
{
	struct stats w, r;
	struct stat st;

	assert_int_equal(stats_create("data", 3, 128, &w), 0);
	assert_int_equal(stat(stats_path(), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(stats_open("data", &r), 0);
	assert_int_equal(stats_get_n_queues(&w), 3);
	assert_int_equal(stats_get_n_queues(&r), 3);
	for (unsigned q = 0; q < 3; q++) {
		assert_int_equal((uintptr_t)stats_get_queue(&w, q) % 64, 0);
		stats_add(&stats_get_queue(&w, q)->op[1].bytes, 4096 * (q + 1));
		stats_add(&stats_get_queue(&w, q)->op[1].bytes, 1);
		stats_get_queue(&w, q)->tid = (int32_t)q;
	}
	for (unsigned q = 0; q < 3; q++) {
		assert_int_equal(stats_read(&stats_get_queue(&r, q)->op[1].bytes),
				 4096 * (q + 1) + 1);
		assert_int_equal(stats_read(&stats_get_queue(&r, q)->op[0].bytes), 0);
		assert_int_equal(stats_get_queue(&r, q)->tid, (int32_t)q);
	}
	stats_close(&w);
	stats_close(&r);
	stats_close(&r);
}

static void test_new_file_begins_at_zero_and_leaves_the_old_alone(void **state)
{
	struct stats first, reader, second;

	assert_int_equal(stats_create("data", 2, 128, &first), 0);
	stats_add(&stats_get_queue(&first, 1)->turns, 5);
	assert_int_equal(stats_open("data", &reader), 0);
	assert_int_equal(stats_create("data", 1, 128, &second), 0);
	assert_int_equal(stats_get_queue(&second, 0)->turns, 0);
	assert_int_equal(stats_get_queue(&reader, 1)->turns, 5);
	stats_close(&first);
	stats_close(&reader);
	stats_close(&second);
}

static void test_successor_goes_on_counting(void **state)
{
	struct stats old, s;

	assert_int_equal(stats_create("data", 2, 128, &old), 0);
	stats_get_queue(&old, 1)->op[0].count = 7;
	stats_get_queue(&old, 1)->latency[0][100] = 7;
	stats_get_queue(&old, 1)->tid = 5;
	stats_get_queue(&old, 1)->in_flight = 3;
	stats_count_recovery(&old, 1000, 3000);
	assert_int_equal(stats_create("data", 2, 64, &s), 0);
	stats_continue(&s, &old);
	assert_int_equal(s.header->depth, 64);
	assert_int_equal(stats_get_queue(&s, 1)->op[0].count, 7);
	assert_int_equal(stats_get_queue(&s, 1)->latency[0][100], 7);
	assert_int_equal(stats_get_queue(&s, 1)->tid, 0);
	assert_int_equal(stats_get_queue(&s, 1)->in_flight, 0);
	assert_int_equal(stats_get_device(&s)->recoveries, 1);
	stats_close(&s);
	/* of another shape: what is the device's goes on */
	assert_int_equal(stats_create("data", 1, 64, &s), 0);
	stats_continue(&s, &old);
	assert_int_equal(stats_get_queue(&s, 0)->op[0].count, 0);
	assert_int_equal(stats_get_device(&s)->recoveries, 1);
	stats_close(&s);
	stats_close(&old);
}

static void test_pause_of_a_recovery(void **state)
{
	const struct stats_device *d;
	struct stats old, s;

	assert_int_equal(stats_create("data", 2, 128, &old), 0);
	assert_int_equal(stats_get_seen_ns(&old), 0);
	stats_get_queue(&old, 0)->seen_ns = 5000;
	stats_get_queue(&old, 1)->seen_ns = 4000;
	assert_int_equal(stats_get_seen_ns(&old), 5000);
	stats_get_device(&old)->left_ns = 4500; /* on purpose: from then on users waited */
	assert_int_equal(stats_get_seen_ns(&old), 4500);
	assert_int_equal(stats_create("data", 2, 128, &s), 0);
	stats_continue(&s, &old);
	d = stats_get_device(&s);
	assert_int_equal(d->left_ns, 0);
	stats_count_recovery(&s, 4500, 6500);
	stats_count_recovery(&s, 7000, 8000);
	stats_count_recovery(&s, 9000, 8500); /* another clock's */
	assert_int_equal(d->recoveries, 3);
	assert_int_equal(d->pause_ns, 3000);
	assert_int_equal(d->last_pause_ns, 0);
	assert_int_equal(d->max_pause_ns, 2000);
	stats_close(&s);
	stats_close(&old);
}

static void test_errnos_have_their_places(void **state)
{
	for (unsigned i = 0; i < STATS_N_ERRNOS; i++)
		assert_int_equal(stats_errno_index(stats_errno(i)), i);
	assert_int_equal(stats_errno(0), 0);
	assert_int_equal(stats_errno(stats_errno_index(EIO)), EIO);
	assert_int_equal(stats_errno(stats_errno_index(ENOSPC)), ENOSPC);
	assert_int_equal(stats_errno_index(EDOM), 0);
}

static void test_number_of_queues_is_bounded(void **state)
{
	struct stats s = {0};

	assert_int_equal(stats_create("data", 0, 128, &s), -EINVAL);
	assert_int_equal(stats_create("data", 4097, 128, &s), -EINVAL);
	assert_int_equal(stats_create("data", 64, 128, &s), 0);
	stats_close(&s);
}

static void test_no_file(void **state)
{
	struct stats s;

	assert_int_equal(stats_open("data", &s), -ENOENT);
	assert_int_equal(stats_open("other", &s), -ENOENT);
	assert_int_equal(stats_create("other", 1, 128, &s), -ENOENT);
}

static void spoil(off_t at, uint32_t value)
{
	AUTO_CLOSE int fd = open(stats_path(), O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, &value, sizeof(value), at), sizeof(value));
}

static void test_header_is_checked(void **state)
{
	const struct {
		off_t at;
		uint32_t value;
		int r;
	} cases[] = {
		{offsetof(struct stats_header, magic), 0, -EBADMSG},
		{offsetof(struct stats_header, version), STATS_VERSION + 1, -EPROTO},
		{offsetof(struct stats_header, n_queues), 0, -EBADMSG},
		{offsetof(struct stats_header, n_queues), 3, -EBADMSG},
		{offsetof(struct stats_header, n_queues), UINT32_MAX, -EBADMSG},
		{offsetof(struct stats_header, queue_size_bytes), 64, -EBADMSG},
		{offsetof(struct stats_header, n_ops), 9, -EBADMSG},
		{offsetof(struct stats_header, queues_at), 64, -EBADMSG},
		{offsetof(struct stats_header, n_buckets), 767, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stats s, r;

		assert_int_equal(stats_create("data", 2, 128, &s), 0);
		spoil(cases[i].at, cases[i].value);
		assert_int_equal(stats_open("data", &r), cases[i].r);
		stats_close(&s);
	}
}

static void test_short_file_is_refused(void **state)
{
	const off_t whole = 128 + 2 * (off_t)sizeof(struct stats_queue);
	const off_t lengths[] = {0, 1, 63, 64, 127, 128, whole / 2, whole - 1, whole + 1};
	struct stats s, r;

	assert_int_equal(stats_create("data", 2, 128, &s), 0);
	stats_close(&s);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_int_equal(truncate(stats_path(), lengths[i]), 0);
		assert_int_equal(stats_open("data", &r), -EBADMSG);
		assert_int_equal(stats_create("data", 2, 128, &s), 0);
		stats_close(&s);
	}
}

static void test_stats_may_not_be_a_pipe(void **state)
{
	struct stats s;

	assert_int_equal(mkfifo(stats_path(), 0600), 0);
	assert_int_equal(stats_open("data", &s), -EBADMSG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reader_sees_what_the_writer_counts),
		TEST(test_new_file_begins_at_zero_and_leaves_the_old_alone),
		TEST(test_successor_goes_on_counting),
		TEST(test_pause_of_a_recovery),
		TEST(test_errnos_have_their_places),
		TEST(test_number_of_queues_is_bounded),
		TEST(test_no_file),
		TEST(test_header_is_checked),
		TEST(test_short_file_is_refused),
		TEST(test_stats_may_not_be_a_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
