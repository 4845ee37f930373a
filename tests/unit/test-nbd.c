/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=nbd, with the servers that there are: what requests do. */
#include "nbd-fixture.h"

static bool log_has(const char *text)
{
	char line[512];
	bool has = false;
	FILE *file = fopen(log_path, "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		has |= strstr(line, text) != NULL;
	fclose(file);
	return has;
}

/* ---- requests ---- */

static void test_limits_are_the_servers(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=blocksize-policy file @image blocksize-minimum=4K "
			"blocksize-preferred=8K blocksize-maximum=256K");
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES);
	assert_int_equal(f->limits.logical_block_bytes, 4096);
	assert_int_equal(f->limits.max_io_bytes, 256 << 10);
	assert_true(f->limits.write_cache && f->limits.fua && !f->limits.read_only);
	assert_true(f->limits.max_discard_bytes > 0 && f->limits.max_write_zeroes_bytes > 0);
	assert_int_equal(f->limits.max_queues, 0);
	assert_string_equal(nbd_backend.get_target(f->b), uri);
}

static void test_a_server_without_multi_conn_has_one_queue(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=multi-conn file @image multi-conn-mode=disable");
	assert_int_equal(f->limits.max_queues, 1);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x55);
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x55);
}

static void test_definition_has_to_fit(void **state)
{
	struct fixture *f = *state;
	struct backend *b = NULL;

	begin_server(f, NBDKIT "--filter=blocksize-policy file @image blocksize-minimum=4K");
	wait_socket();
	f->req.size_bytes = SIZE_BYTES + 4096;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -EINVAL);
	f->req.size_bytes = SIZE_BYTES / 2;
	f->req.logical_block_bytes = 512;
	assert_int_equal(nbd_backend.open(&f->req, &b, &f->limits), -EINVAL);
	f->req.logical_block_bytes = 4096;
	assert_int_equal(nbd_backend.open(&f->req, &f->b, &f->limits), 0);
	fake_queue_start(&f->q, &nbd_backend, f->b);
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES / 2);
}

static void test_requests_arrive_with_their_flags(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=log file @image logfile=@log");
	fake_queue_fill(&f->q, 4096, BUF_BYTES, f->buf, 0x11);
	fake_queue_expect(&f->q, 4096, BUF_BYTES, f->buf, 0x11);
	assert_false(log_has("fua=1"));
	assert_int_equal(do_io(f, IO_WRITE, IO_FUA, 512, 512), 0);
	assert_true(log_has("fua=1"));
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_true(log_has("Flush"));
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, IO_NOUNMAP, 8192, 8192), 0);
	assert_true(log_has("Zero") && !log_has("trim=1 fua="));
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 16384, 8192), 0);
	assert_true(log_has("trim=1 fua="));
	fake_queue_expect(&f->q, 8192, 16384, f->buf, 0);
	fake_queue_expect(&f->q, 24576, 4096, f->buf, 0x11);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 65536, 65536), 0);
	assert_true(log_has("Trim"));
	fake_queue_expect(&f->q, 65536 * 2, 4096, f->buf, 0x11);
}

static void test_many_at_once(void **state)
{
	struct fixture *f = *state;

	start(f, FILE_LINE);
	for (int i = 0; i < 20; i++) {
		fake_blocks_fill(&f->blocks, &f->q, 0x20 + i);
		fake_blocks_expect(&f->blocks, &f->q, 0x20 + i);
	}
	assert_int_equal(f->q.n_reconnects, 0);
}

static void test_errors_of_the_server_are_those_of_requests(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=error file @image error-pread=EIO error-pread-rate=100% "
			"error-pwrite=ENOSPC error-pwrite-rate=100%");
	assert_int_equal(do_io(f, IO_READ, 0, 0, 4096), -EIO);
	assert_int_equal(do_io(f, IO_WRITE, 0, 0, 4096), -ENOSPC);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(f->q.n_reconnects, 0);
}

static void test_read_only_server(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "-r file @image");
	assert_true(f->limits.read_only && !f->limits.write_cache);
	assert_int_equal(f->limits.max_discard_bytes, 0);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0);
}

static void test_flush_of_the_backend(void **state)
{
	struct fixture *f = *state;

	start(f, NBDKIT "--filter=log file @image logfile=@log");
	fake_queue_fill(&f->q, 0, 4096, f->buf, 0x12);
	fake_queue_stop(&f->q);
	assert_false(log_has("Flush"));
	assert_int_equal(nbd_backend.flush(f->b), 0);
	assert_true(log_has("Flush"));
	kill_server(f);
	begin_server(f, FILE_LINE); /* over a new connection if need be */
	wait_socket();
	assert_int_equal(nbd_backend.flush(f->b), 0);
	kill_server(f);
	assert_true(nbd_backend.flush(f->b) < 0);
	fake_queue_start(&f->q, &null_backend, NULL);
}

/* ---- a larger disk ---- */

static void grow(struct fixture *f, uint64_t size_bytes)
{
	uint64_t is_bytes = 0;

	assert_int_equal(truncate(image, (off_t)size_bytes), 0);
	assert_int_equal(nbd_backend.resize(f->b, &f->req, &is_bytes), 0);
	assert_int_equal(is_bytes, size_bytes);
}

static void test_a_disk_grows(void **state)
{
	struct fixture *f = *state;
	uint8_t *more = f->buf + (size_t)N_BLOCKS * 4096;
	uint64_t is_bytes = 0;

	start(f, FILE_LINE);
	fake_blocks_fill(&f->blocks, &f->q, 0x80);
	grow(f, 2 * SIZE_BYTES);
	/* Some are on their way when the first comes for what is new. */
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x81);
	memset(more, 0x82, 65536);
	assert_int_equal(fake_queue_do(&f->q, IO_WRITE, 0, SIZE_BYTES + 4096, 65536, more), 0);
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_queue_expect(&f->q, SIZE_BYTES + 4096, 65536, f->buf, 0x82);
	fake_blocks_expect(&f->blocks, &f->q, 0x81);
	/* A server that has it, too. */
	other_server(f, FILE_LINE);
	fake_queue_expect(&f->q, SIZE_BYTES + 4096, 65536, f->buf, 0x82);
	/* It does not shrink. */
	assert_int_equal(truncate(image, (off_t)SIZE_BYTES), 0);
	assert_int_equal(nbd_backend.resize(f->b, &f->req, &is_bytes), 0);
	assert_int_equal(is_bytes, 2 * SIZE_BYTES);
}

static void test_a_disk_of_one_connection_grows(void **state)
{
	struct fixture *f = *state;
	uint64_t is_bytes = 0;

	start(f, NBDKIT "--filter=multi-conn file @image multi-conn-mode=disable");
	fake_queue_fill(&f->q, 0, 4096, f->buf, 0x90);
	assert_int_equal(truncate(image, (off_t)(2 * SIZE_BYTES)), 0);
	other_server(f, NBDKIT "--filter=multi-conn file @image multi-conn-mode=disable");
	fake_queue_wait_reachable(&f->q, false);
	wait_trouble(f, "another size");
	assert_int_equal(nbd_backend.resize(f->b, &f->req, &is_bytes), 0);
	assert_int_equal(is_bytes, 2 * SIZE_BYTES);
	fake_queue_fill(&f->q, SIZE_BYTES, 4096, f->buf, 0x91);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0x90);
}

/* ---- several queues ---- */

static void test_queues_have_a_connection_each(void **state)
{
	struct fixture *f = *state;
	struct queue other = {.id = 1};
	uint8_t block[4096];

	start(f, DELAY_LINE);
	fake_queue_start(&other, &nbd_backend, f->b);
	memset(block, 0x33, sizeof(block));
	assert_int_equal(fake_queue_do(&other, IO_WRITE, 0, 0, sizeof(block), block), 0);
	fake_queue_expect(&f->q, 0, 4096, f->buf, 0x33);
	other_server(f, FILE_LINE);
	fake_queue_fill(&f->q, 0, 4096, f->buf, 0x34);
	assert_int_equal(fake_queue_do(&other, IO_READ, 0, 0, sizeof(block), block), 0);
	assert_int_equal(block[4095], 0x34);
	assert_int_equal(f->q.n_reconnects, 1);
	assert_int_equal(other.n_reconnects, 1);
	fake_queue_stop(&other);
}

/* ---- what a server has acknowledged ---- */

static bool proof_refutes(struct nbd_proof *p, uint64_t block, const void *data)
{
	unsigned slot = block % NBD_PROOF_SLOTS;
	uint64_t entry = atomic_load(&p->entries[slot]);

	if (!entry)
		return false;
	assert_int_equal(nbd_proof_offset(entry), block * NBD_PROOF_BYTES);
	return nbd_proof_refutes(p, slot, entry, data);
}

static void test_proof_is_of_blocks_that_nobody_writes(void **state)
{
	static struct nbd_proof p;
	static uint8_t a[NBD_PROOF_BYTES], b[NBD_PROOF_BYTES] = {1};
	uint64_t first, second;

	memset(&p, 0, sizeof(p));
	first = nbd_proof_begin(&p, 8192, 4096);
	nbd_proof_end(&p, 8192, 4096, first, a);
	assert_true(proof_refutes(&p, 2, b) && !proof_refutes(&p, 2, a));
	/* Two at once: which of them came last is not known. */
	first = nbd_proof_begin(&p, 8192, 4096);
	assert_false(proof_refutes(&p, 2, b));
	second = nbd_proof_begin(&p, 4096, 3 * 4096);
	nbd_proof_end(&p, 4096, 3 * 4096, second, NULL);
	nbd_proof_end(&p, 8192, 4096, first, a);
	assert_false(proof_refutes(&p, 2, b));
	/* One after the other; and what a part of it was written to. */
	first = nbd_proof_begin(&p, 8192, 4096);
	nbd_proof_end(&p, 8192, 4096, first, b);
	assert_true(proof_refutes(&p, 2, a));
	first = nbd_proof_begin(&p, 8192 + 512, 512);
	nbd_proof_end(&p, 8192 + 512, 512, first, a);
	assert_false(proof_refutes(&p, 2, a));
	/* A range of all slots. */
	first = nbd_proof_begin(&p, 8192, 4096);
	nbd_proof_end(&p, 8192, 4096, first, b);
	first = nbd_proof_begin(&p, 0, 1 << 30);
	assert_false(proof_refutes(&p, 2, a));
	nbd_proof_end(&p, 0, 1 << 30, first, NULL);
	for (unsigned i = 0; i < NBD_PROOF_SLOTS; i++)
		assert_int_equal((uint32_t)p.claims[i], 0);
}

/* ---- other servers ---- */

static void test_qemu_nbd_with_qcow2(void **state)
{
	struct fixture *f = *state;

	if (!is_there("qemu-nbd") || !is_there("qemu-img"))
		skip();
	/* Else it has what it acknowledged in its own memory, and a SIGKILL takes that away. */
	assert_int_equal(run("qemu-img create -q -f qcow2 @image 8M"), 0);
	start(f, "qemu-nbd -t --cache=writethrough -f qcow2 -e 8 -k @sock @image");
	assert_int_equal(f->limits.size_bytes, SIZE_BYTES);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x23);
	assert_int_equal(do_io(f, IO_WRITE_ZEROES, 0, 65536, 65536), 0);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	fake_queue_expect(&f->q, 0, 65536, f->buf, 0x23);
	fake_queue_expect(&f->q, 65536, 65536, f->buf, 0);
	fake_blocks_submit(&f->blocks, &f->q, IO_WRITE, 0x24);
	other_server(f, "qemu-nbd -t --cache=writethrough -f qcow2 -e 8 -k @sock @image");
	fake_blocks_end(&f->blocks, &f->q, 0);
	fake_blocks_expect(&f->blocks, &f->q, 0x24);
}

/* What the server says of how a connection begins. */
static void test_structured_replies(void **state)
{
	static const struct {
		enum nbd_structured conf;
		bool asked_for; /* over a local socket */
	} cases[] = {
		{NBD_STRUCTURED_AUTO, false},
		{NBD_STRUCTURED_YES, true},
		{NBD_STRUCTURED_NO, false},
	};
	struct fixture *f = *state;
	char script[128];
	FILE *file;

	snprintf(script, sizeof(script), "%s/verbose", dir);
	file = fopen(script, "we");
	assert_non_null(file);
	fprintf(file, "exec nbdkit -f -v -U %s file %s 2>%s\n", sock, image, log_path);
	fclose(file);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->conf.structured_replies = cases[i].conf;
		start(f, "sh @dir/verbose");
		fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x31 + (int)i);
		fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x31 + (int)i);
		fake_queue_expect(&f->q, BUF_BYTES, 65536, f->buf, 0); /* a hole */
		assert_true(log_has("newstyle negotiation"));
		assert_int_equal(log_has("STRUCTURED_REPLY"), cases[i].asked_for);
		fake_queue_stop(&f->q);
		f->b = nbd_backend.close(f->b);
		kill_server(f);
	}
	unlink(script);
}

static void test_nbd_server(void **state)
{
	struct fixture *f = *state;
	char conf[160];
	FILE *file;

	if (!is_there("nbd-server"))
		skip();
	snprintf(conf, sizeof(conf), "%s/server.conf", dir);
	file = fopen(conf, "we");
	assert_non_null(file);
	fprintf(file,
		"[generic]\nunixsock=%s\n[export]\nexportname=%s\nflush=true\nfua=true\ntrim=true\n",
		sock, image);
	fclose(file);
	snprintf(conf, sizeof(conf), "nbd+unix:///export?socket=%s", sock);
	f->conf.uri = conf;
	start(f, "nbd-server -d -C @dir/server.conf");
	assert_true(f->limits.fua);
	fake_queue_fill(&f->q, 0, BUF_BYTES, f->buf, 0x25);
	fake_queue_expect(&f->q, 0, BUF_BYTES, f->buf, 0x25);
	assert_int_equal(do_io(f, IO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(do_io(f, IO_DISCARD, 0, 0, 65536), 0);
	fake_blocks_fill(&f->blocks, &f->q, 0x26);
	fake_blocks_expect(&f->blocks, &f->q, 0x26);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_limits_are_the_servers),
		TEST(test_a_server_without_multi_conn_has_one_queue),
		TEST(test_definition_has_to_fit),
		TEST(test_requests_arrive_with_their_flags),
		TEST(test_many_at_once),
		TEST(test_errors_of_the_server_are_those_of_requests),
		TEST(test_read_only_server),
		TEST(test_flush_of_the_backend),
		TEST(test_a_disk_grows),
		TEST(test_a_disk_of_one_connection_grows),
		TEST(test_queues_have_a_connection_each),
		cmocka_unit_test(test_proof_is_of_blocks_that_nobody_writes),
		TEST(test_qemu_nbd_with_qcow2),
		TEST(test_structured_replies),
		TEST(test_nbd_server),
	};

	return run_with_servers(tests, ARRAY_SIZE(tests));
}
