/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/fault-cache.h"
#include "fake-disk.h"

/*
 * The model of PowerCut=. Each write has a number and fills its sectors with that and the sector's;
 * zeroes stand for the last operation that makes them. A cut at any moment, which is what the disk
 * below holds then, must show each sector not older than what was durable, whole, and its own.
 */
struct sector {
	uint32_t issued;
	uint32_t completed;
	uint32_t durable;
	uint32_t zeroed;
	unsigned n_writers;
};

struct slot {
	struct fake_io io;
	uint8_t buf[MAX_IO];
	bool busy;
	uint32_t number;
	uint32_t first;
	uint32_t n;
	uint32_t completed[N_SECTORS]; /* when it was submitted */
};

#define MODEL_QUEUES 2
#define MODEL_SLOTS  8

struct model {
	struct faults *f;
	struct queue q[MODEL_QUEUES];
	struct slot slots[MODEL_QUEUES][MODEL_SLOTS];
	struct sector sectors[N_SECTORS];
	uint64_t random;
	uint32_t last;
	bool overlap;        /* writes to a sector that is being written */
	unsigned n_lost;     /* durable ones that a cut would have lost: must be 0 */
	unsigned n_stale;    /* reads that were older than what was completed: must be 0 */
	unsigned n_foreign;  /* sectors of another place, or in parts: must be 0 */
	unsigned n_volatile; /* completed ones that a cut would have lost: that is the point */
	unsigned n_failed;
};

static void model_fill(const struct slot *s, uint8_t *buf)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t word = (uint64_t)(s->first + i) << 32 | s->number;

		for (uint32_t j = 0; j < SECTOR; j += sizeof(word))
			memcpy(buf + i * SECTOR + j, &word, sizeof(word));
	}
}

/* The number of what a sector holds; counts what nobody wrote there. */
static uint32_t model_number(struct model *m, uint32_t sector, const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	if (memcmp(bytes, bytes + sizeof(word), SECTOR - sizeof(word)) != 0 ||
	    (word != 0 && word >> 32 != sector))
		m->n_foreign++;
	return word == 0 ? m->sectors[sector].zeroed : (uint32_t)word;
}

static void model_cut(struct model *m)
{
	for (uint32_t i = 0; i < N_SECTORS; i++) {
		const struct sector *s = &m->sectors[i];
		uint32_t number = model_number(m, i, m->f->disk.data + i * SECTOR);

		m->n_lost += number < s->durable;
		m->n_foreign += number > s->issued;
		m->n_volatile += number < s->completed;
	}
}

static void model_read_done(struct model *m, const struct slot *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t number = model_number(m, s->first + i, s->buf + i * SECTOR);

		m->n_stale += number < s->completed[s->first + i];
		m->n_foreign += number > m->sectors[s->first + i].issued;
	}
}

static void model_done(struct model *m, struct slot *s)
{
	const struct io *io = &s->io.io;
	bool ok = s->io.res == 0;

	s->busy = false;
	m->n_failed += !ok;
	/* As it was submitted: that is what the statistics count. */
	assert_int_equal(io->offset_bytes, (uint64_t)s->first * SECTOR);
	assert_int_equal(io->len_bytes, (uint64_t)s->n * SECTOR);
	assert_ptr_equal(io->buf, s->buf);
	if (io->op == IO_READ && ok && !m->overlap)
		model_read_done(m, s);
	if (io->op == IO_FLUSH && ok) {
		for (uint32_t i = 0; i < N_SECTORS; i++)
			m->sectors[i].durable = MAX(m->sectors[i].durable, s->completed[i]);
	}
	if (io->op == IO_READ || io->op == IO_FLUSH)
		return;
	for (uint32_t i = s->first; i < s->first + s->n; i++) {
		struct sector *sector = &m->sectors[i];

		sector->n_writers--;
		if (ok)
			sector->completed = MAX(sector->completed, s->number);
		if (ok && io->flags & IO_FUA)
			sector->durable = MAX(sector->durable, s->number);
	}
}

static void model_submit(struct model *m, struct queue *q, struct slot *s, enum io_op op)
{
	uint32_t n_max = MAX_IO / SECTOR;
	uint32_t flags = 0;

	s->first = s->n = 0;
	if (op != IO_FLUSH) {
		s->first = (uint32_t)next_random(&m->random) % N_SECTORS;
		s->n = 1 + (uint32_t)next_random(&m->random) % n_max;
		if (next_random(&m->random) % 2)
			s->n = MIN(s->n, 3U);
		s->n = MIN(s->n, N_SECTORS - s->first);
	}
	if (op != IO_READ) {
		for (uint32_t i = s->first; i < s->first + s->n && !m->overlap; i++) {
			if (m->sectors[i].n_writers > 0)
				return;
		}
		s->number = ++m->last;
		flags = next_random(&m->random) % 8 == 0 && op != IO_FLUSH ? IO_FUA : 0;
		for (uint32_t i = s->first; i < s->first + s->n; i++) {
			m->sectors[i].issued = s->number;
			m->sectors[i].n_writers++;
			if (op != IO_WRITE)
				m->sectors[i].zeroed = s->number;
		}
	}
	if (op == IO_WRITE)
		model_fill(s, s->buf);
	for (uint32_t i = 0; i < N_SECTORS; i++)
		s->completed[i] = m->sectors[i].completed;
	s->busy = true;
	s->io.io = (struct io){
		.op = op,
		.flags = flags,
		.offset_bytes = (uint64_t)s->first * SECTOR,
		.len_bytes = (uint64_t)s->n * SECTOR,
		.buf = s->buf,
	};
	fake_queue_submit(q, &s->io);
}

static void model_turn(struct model *m)
{
	for (unsigned i = 0; i < MODEL_QUEUES; i++) {
		for (unsigned j = 0; j < MODEL_SLOTS; j++) {
			if (m->slots[i][j].busy && m->slots[i][j].io.done)
				model_done(m, &m->slots[i][j]);
		}
	}
}

static bool model_is_busy(const struct model *m)
{
	return m->q[0].n_inflight + m->q[1].n_inflight > 0;
}

static void model_run(struct model *m, unsigned n)
{
	const enum io_op ops[] = {IO_READ,  IO_READ,    IO_READ,        IO_WRITE,
				  IO_WRITE, IO_WRITE,   IO_WRITE,       IO_WRITE,
				  IO_FLUSH, IO_DISCARD, IO_WRITE_ZEROES};

	for (unsigned i = 0; i < n; i++) {
		unsigned queue = (unsigned)next_random(&m->random) % MODEL_QUEUES;
		struct slot *s = &m->slots[queue][next_random(&m->random) % MODEL_SLOTS];

		if (!s->busy)
			model_submit(m, &m->q[queue], s,
				     ops[next_random(&m->random) % ARRAY_SIZE(ops)]);
		m->q[queue].n_sqes = 0;
		if (next_random(&m->random) % 3 == 0)
			fake_queue_turn(&m->q[next_random(&m->random) % MODEL_QUEUES]);
		model_turn(m);
		if (!m->overlap && i % 4 == 0)
			model_cut(m);
	}
	while (model_is_busy(m)) {
		for (unsigned i = 0; i < MODEL_QUEUES; i++)
			fake_queue_turn(&m->q[i]);
	}
	model_turn(m);
}

static struct model *model_start(struct faults *f, uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->f = f;
	m->random = seed;
	memset(f->disk.data, 0, DISK_BYTES);
	f->disk.random = seed + 100;
	f->conf.seed = seed;
	f->conf.power_cut = true;
	f->ops = &disk_backend;
	f->b = &f->disk;
	assert_int_equal(fault_wrap(&f->conf, &f->ops, &f->b, &f->limits, false), 0);
	for (uint16_t i = 0; i < MODEL_QUEUES; i++) {
		m->q[i].id = i;
		fake_queue_start(&m->q[i], f->ops, f->b);
	}
	return m;
}

/* The server dies: nothing is flushed. */
static void model_kill(struct model *m)
{
	for (unsigned i = 0; i < MODEL_QUEUES; i++)
		fake_queue_stop(&m->q[i]);
	m->f->ops->close(m->f->b);
}

static void test_power_cut_keeps_what_was_flushed(void **state)
{
	struct faults *f = *state;
	unsigned n_volatile = 0;

	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct model *m;

		f->limits.write_cache = f->limits.fua = seed % 2;
		m = model_start(f, seed);
		model_run(m, 3000);
		assert_int_equal(m->n_failed, 0);
		model_kill(m);
		model_cut(m);
		assert_int_equal(m->n_lost, 0);
		assert_int_equal(m->n_stale, 0);
		assert_int_equal(m->n_foreign, 0);
		n_volatile += m->n_volatile;
		free(m);
	}
	assert_true(n_volatile > 1000); /* else there was no cache */
}

static void test_power_cut_over_a_disk_with_errors(void **state)
{
	struct faults *f = *state;

	f->disk.fail_ppm = 50000;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct model *m = model_start(f, seed);

		model_run(m, 3000);
		assert_true(m->n_failed > 0);
		model_kill(m);
		model_cut(m);
		assert_int_equal(m->n_lost, 0);
		assert_int_equal(m->n_stale, 0);
		assert_int_equal(m->n_foreign, 0);
		free(m);
	}
}

static void submit_sector(struct queue *q, struct fake_io *io, enum io_op op, uint32_t flags,
			  uint8_t *buf, int byte)
{
	memset(buf, byte, SECTOR);
	io->io = (struct io){
		.op = op,
		.flags = flags,
		.len_bytes = op == IO_FLUSH ? 0 : SECTOR,
		.buf = buf,
	};
	fake_queue_submit(q, io);
}

/*
 * A FLUSH comes while a block is on its way down, then that block is written once more, and then
 * what was under way fails: neither content is below, and the FLUSH has to put one there. It
 * is on another queue, so that it looks again when the test wants it, however long that takes.
 */
static void test_flush_after_what_failed_and_was_replaced(void **state)
{
	const struct {
		enum io_op op;
		uint32_t flags;
	} cases[] = {{IO_FLUSH, 0}, {IO_WRITE, IO_FUA}, {IO_DISCARD, 0}, {IO_WRITE_ZEROES, 0}};
	struct faults *f = *state;

	f->conf.power_cut = true;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_io old = {0}, failing = {0}, flush = {0}, new = {0};
		struct queue other = {.id = 1};
		uint8_t bufs[4][MAX_IO];

		memset(f->disk.data, 0, DISK_BYTES);
		f->disk.random = 0;
		faults_wrap(f);
		fake_queue_start(&other, f->ops, f->b);
		submit_sector(&f->q, &old, IO_WRITE, 0, bufs[0], 1);
		assert_true(old.done);
		assert_int_equal(f->disk.data[0], 0); /* kept */
		f->disk.fail_ppm = 1000000;
		submit_sector(&f->q, &failing, cases[i].op, cases[i].flags, bufs[1], 2);
		assert_false(failing.done); /* on its way */
		submit_sector(&other, &flush, IO_FLUSH, 0, bufs[2], 0);
		assert_false(flush.done);
		submit_sector(&f->q, &new, IO_WRITE, 0, bufs[3], 3);
		assert_true(new.done);
		fake_queue_run(&f->q);
		assert_int_equal(failing.res, -EREMOTEIO);
		f->disk.fail_ppm = 0;
		fake_queue_run(&other);
		assert_int_equal(flush.res, 0);
		assert_int_equal(f->disk.data[0], 3);
		fake_queue_stop(&other);
		faults_unwrap(f);
	}
}

/* The model is a test: it finds out a FLUSH that lies. */
static void test_lying_flush_is_caught(void **state)
{
	struct faults *f = *state;
	struct model *m;

	f->conf.lying_flush = true;
	m = model_start(f, 1);
	model_run(m, 3000);
	assert_int_equal(m->n_stale, 0); /* who only reads sees nothing of it */
	assert_int_equal(m->n_foreign, 0);
	model_kill(m);
	model_cut(m);
	assert_true(m->n_lost > 0);
	free(m);
}

static void test_clean_stop_loses_nothing(void **state)
{
	struct faults *f = *state;

	for (unsigned lying = 0; lying < 2; lying++) {
		struct model *m;

		f->conf.lying_flush = lying;
		m = model_start(f, 5);
		model_run(m, 1000);
		for (unsigned i = 0; i < MODEL_QUEUES; i++)
			fake_queue_stop(&m->q[i]);
		assert_int_equal(f->ops->flush(f->b), 0);
		f->ops->close(f->b);
		m->n_volatile = 0;
		model_cut(m);
		assert_int_equal(m->n_foreign, 0);
		if (lying)
			assert_true(m->n_volatile > 0);
		else
			assert_int_equal(m->n_volatile, 0);
		free(m);
	}
}

/* Which of two writes at the same time wins is open, but then it has won. */
static void test_overlapping_writes_settle(void **state)
{
	struct faults *f = *state;

	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct model *m = model_start(f, seed);
		uint8_t *seen = malloc(DISK_BYTES);

		assert_non_null(seen);
		m->overlap = true;
		for (unsigned round = 0; round < 10; round++) {
			model_run(m, 300);
			for (uint64_t at = 0; at < DISK_BYTES; at += MAX_IO)
				assert_int_equal(
					fake_queue_do(&m->q[0], IO_READ, 0, at, MAX_IO, seen + at),
					0);
			for (uint32_t i = 0; i < N_SECTORS; i++)
				model_number(m, i, seen + i * SECTOR);
			assert_int_equal(fake_queue_do(&m->q[1], IO_FLUSH, 0, 0, 0, f->buf), 0);
			assert_memory_equal(seen, f->disk.data, DISK_BYTES);
		}
		assert_int_equal(m->n_foreign, 0);
		model_kill(m);
		free(seen);
		free(m);
	}
}

static void test_flush_empties_the_cache(void **state)
{
	struct faults *f = *state;
	unsigned n;

	f->conf.power_cut = true;
	faults_wrap(f);
	memset(f->buf, 7, MAX_IO);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(fake_queue_do(&f->q, IO_WRITE, 0, i * SECTOR, SECTOR, f->buf), 0);
	n = f->disk.n_requests[IO_WRITE];
	assert_in_range(n, 10, 50); /* those that went down at once */
	assert_int_equal(fake_queue_do(&f->q, IO_FLUSH, 0, 0, 0, f->buf), 0);
	assert_true(f->disk.n_requests[IO_WRITE] > n);
	assert_int_equal(f->disk.n_requests[IO_FLUSH], 1);
	n = f->disk.n_requests[IO_WRITE];
	assert_int_equal(fake_queue_do(&f->q, IO_FLUSH, 0, 0, 0, f->buf), 0);
	assert_int_equal(f->disk.n_requests[IO_WRITE], n);
	assert_int_equal(f->disk.n_requests[IO_FLUSH], 2);
	assert_int_equal(fake_queue_do(&f->q, IO_READ, 0, 0, MAX_IO, f->buf), 0);
	assert_int_equal(f->disk.n_requests[IO_READ], 1); /* in one piece */
	faults_unwrap(f);
}

struct worker {
	struct faults *f;
	uint16_t id;
	bool ok;
};

/* A queue on a thread, with sectors of its own, as the rings want it. */
static void *worker_run(void *arg)
{
	struct worker *w = arg;
	uint64_t random = w->id + 1;
	uint32_t n_own = N_SECTORS / 4, base = w->id * n_own;
	uint8_t own[N_SECTORS / 4], buf[MAX_IO];
	struct queue q = {.id = w->id};

	memset(own, 0, sizeof(own));
	fake_queue_start(&q, w->f->ops, w->f->b);
	w->ok = true;
	for (unsigned i = 0; i < 4000 && w->ok; i++) {
		uint32_t first = (uint32_t)next_random(&random) % n_own;
		uint32_t want = 1 + (uint32_t)next_random(&random) % 8;
		uint32_t n = MIN(want, n_own - first);
		uint64_t at = (uint64_t)(base + first) * SECTOR;
		unsigned what = next_random(&random) % 8;

		q.n_sqes = 0;
		if (what == 0) {
			w->ok = fake_queue_do(&q, IO_FLUSH, 0, 0, 0, buf) == 0;
		} else if (what < 5) {
			memset(buf, (int)i, n * SECTOR);
			memset(own + first, (int)i, n);
			w->ok = fake_queue_do(&q, IO_WRITE, what == 1 ? IO_FUA : 0, at, n * SECTOR,
					      buf) == 0;
		} else {
			w->ok = fake_queue_do(&q, IO_READ, 0, at, n * SECTOR, buf) == 0;
			for (uint32_t j = 0; j < n * SECTOR; j++)
				w->ok &= buf[j] == own[first + j / SECTOR];
		}
	}
	w->ok &= fake_queue_do(&q, IO_FLUSH, 0, 0, 0, buf) == 0;
	for (uint32_t j = 0; j < n_own * SECTOR; j++)
		w->ok &= w->f->disk.data[base * SECTOR + j] == own[j / SECTOR];
	fake_queue_stop(&q);
	return NULL;
}

static void test_queues_share_the_cache(void **state)
{
	struct faults *f = *state;
	struct worker workers[4];
	pthread_t threads[4];

	f->conf.power_cut = true;
	f->disk.at_once = true;
	f->ops = &disk_backend;
	f->b = &f->disk;
	assert_int_equal(fault_wrap(&f->conf, &f->ops, &f->b, &f->limits, false), 0);
	for (uint16_t i = 0; i < 4; i++) {
		workers[i] = (struct worker){.f = f, .id = i};
		assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_true(workers[i].ok);
	}
	f->ops->close(f->b);
}

static void test_cache_has_an_end(void **state)
{
	AUTO(fault_cache_free) struct fault_cache *c = NULL, *huge = NULL;
	AUTO_FREE uint8_t *buf = malloc(1 << 20);
	uint64_t offset, len, n = 0;

	assert_non_null(buf);
	memset(buf, 1, 1 << 20);
	assert_int_equal(fault_cache_new(1ULL << 37, 512, &c), 0); /* takes address space alone */
	for (uint64_t at = 0; !fault_cache_is_full(c); at += 1ULL << 30, n++)
		fault_cache_keep(c, at, 1 << 20, buf);
	assert_int_equal(n, 64);
	n = 0;
	for (uint64_t at = 0; fault_cache_find(c, at, 1ULL << 37, 1 << 19, &offset, &len);) {
		assert_int_equal(offset, (n / 2 << 30) + n % 2 * (1 << 19));
		assert_int_equal(len, 1 << 19);
		fault_cache_begin(c, offset, len);
		assert_int_equal(fault_cache_gap(c, offset, len), 0);
		fault_cache_end(c, offset, len, true);
		assert_int_equal(fault_cache_gap(c, offset, len), len);
		at = offset + len;
		n++;
	}
	assert_int_equal(n, 128);
	assert_int_equal(fault_cache_kept_bytes(c), 0);
	assert_int_equal(fault_cache_new(1ULL << 62, 512, &huge), -ENOMEM);
	assert_int_equal(fault_cache_grow(c, 1ULL << 62), -ENOMEM);
	assert_int_equal(fault_cache_size_bytes(c), 1ULL << 37);
	fault_cache_keep(c, (1ULL << 37) - 512, 512, buf);
	assert_int_equal(fault_cache_grow(c, 1ULL << 38), 0);
	fault_cache_keep(c, (1ULL << 38) - 512, 512, buf);
	assert_true(fault_cache_find(c, 0, 1ULL << 38, 4096, &offset, &len));
	assert_int_equal(offset, (1ULL << 37) - 512);
	assert_int_equal(len, 512);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, faults_setup, faults_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_power_cut_keeps_what_was_flushed),
		TEST(test_power_cut_over_a_disk_with_errors),
		TEST(test_flush_after_what_failed_and_was_replaced),
		TEST(test_lying_flush_is_caught),
		TEST(test_clean_stop_loses_nothing),
		TEST(test_overlapping_writes_settle),
		TEST(test_flush_empties_the_cache),
		TEST(test_queues_share_the_cache),
		TEST(test_cache_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
