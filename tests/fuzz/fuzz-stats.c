/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file of counters of any bytes: it is refused, or all its queues can be read. */
#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/state.h"
#include "state/stats.h"

#define HEADER_BYTES sizeof(struct stats_header)
#define QUEUES_AT    128

static const char *stats_file(void)
{
	static char path[320];

	if (!path[0]) {
		snprintf(path, sizeof(path), "%s/fuzz", fuzz_dir());
		CHECK(mkdir(path, 0700) == 0);
		CHECK(setenv("UBLKD_STATE_DIR", fuzz_dir(), 1) == 0);
		strcat(path, "/stats");
	}
	return path;
}

static void check_open(uint64_t file_bytes)
{
	uint64_t sum = 0;
	struct stats s;
	int r = stats_open("fuzz", &s);

	CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r < 0)
		return;
	CHECK(stats_get_n_queues(&s) >= 1 && stats_get_n_queues(&s) == s.header->n_queues);
	for (unsigned i = 0; i < stats_get_n_queues(&s); i++) {
		const uint64_t *q = (const uint64_t *)stats_get_queue(&s, i);

		for (size_t j = 0; j < sizeof(struct stats_queue) / sizeof(*q); j++)
			sum += stats_read(&q[j]);
		CHECK((uintptr_t)q + sizeof(struct stats_queue) <=
		      (uintptr_t)s.header + file_bytes);
	}
	/* so that nobody leaves the reads out */
	__asm__ volatile("" ::"r"(sum));
	stats_close(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stats_header h;
	uint64_t whole;

	fuzz_write(stats_file(), data, size);
	check_open(size);
	if (size < HEADER_BYTES)
		return 0;
	/* As long as the header says, which no input is by chance. */
	memcpy(&h, data, sizeof(h));
	whole = QUEUES_AT + (uint64_t)h.n_queues * h.queue_size_bytes;
	if (whole > 2 << 20)
		return 0;
	CHECK(truncate(stats_file(), (off_t)whole) == 0);
	check_open(whole);
	return 0;
}
