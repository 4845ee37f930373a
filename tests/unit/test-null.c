/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "backend/registry.h"
#include "fake-queue.h"
#include "util/cleanup.h"

static const struct null_conf conf = {.fill = NULL_FILL_ZEROS};
static const struct backend_request request = {.device = "n", .conf = &conf, .size_bytes = 1 << 20};

static void test_read_gives_zeros(void **state)
{
	struct backend *b;
	struct limits limits;
	struct queue q = {0};
	uint8_t buf[4096], zeros[4096] = {0};

	assert_int_equal(null_backend.open(&request, &b, &limits), 0);
	assert_false(limits.no_data);
	fake_queue_start(&q, &null_backend, b);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(fake_queue_do(&q, IO_WRITE, IO_FUA, 0, sizeof(buf), buf), 0);
	assert_int_equal(buf[0], 0xaa);
	assert_int_equal(fake_queue_do(&q, IO_READ, 0, 0, sizeof(buf) / 2, buf), 0);
	assert_memory_equal(buf, zeros, sizeof(buf) / 2);
	assert_int_equal(buf[sizeof(buf) / 2], 0xaa);
	fake_queue_stop(&q);

	/* the same where the data is with the kernel */
	q.data = IO_DATA_KERNEL;
	fake_queue_start(&q, &null_backend, b);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(fake_queue_do(&q, IO_WRITE, 0, 0, sizeof(buf), buf), 0);
	assert_int_equal(fake_queue_do(&q, IO_READ, 0, 0, sizeof(buf) / 2, buf), 0);
	assert_memory_equal(buf, zeros, sizeof(buf) / 2);
	assert_int_equal(buf[sizeof(buf) / 2], 0xaa);
	fake_queue_stop(&q);
	assert_null(null_backend.close(b));
}

static void test_read_touches_nothing(void **state)
{
	const struct null_conf none = {.fill = NULL_FILL_NONE};
	struct backend_request req = request;
	struct backend *b;
	struct limits limits;
	struct queue q = {0};
	uint8_t buf[4096];

	req.conf = &none;
	assert_int_equal(null_backend.open(&req, &b, &limits), 0);
	assert_true(limits.no_data);
	fake_queue_start(&q, &null_backend, b);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(fake_queue_do(&q, IO_READ, 0, 0, sizeof(buf), buf), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0xaa);
	fake_queue_stop(&q);
	assert_null(null_backend.close(b));
}

static void test_everything_else_succeeds_without_a_buffer(void **state)
{
	const enum io_op ops[] = {IO_FLUSH, IO_DISCARD, IO_WRITE_ZEROES};
	struct backend *b;
	struct limits limits;
	struct queue q = {0};

	assert_int_equal(null_backend.open(&request, &b, &limits), 0);
	fake_queue_start(&q, &null_backend, b);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		assert_int_equal(fake_queue_do(&q, ops[i], 0, 0, 1 << 20, NULL), 0);
	assert_int_equal(q.n_sqes, 0);
	fake_queue_stop(&q);
	assert_null(null_backend.close(b));
}

static void test_limits_follow_the_request(void **state)
{
	struct backend_request req = request;
	struct backend *b;
	struct limits limits;

	req.logical_block_bytes = 4096;
	assert_int_equal(null_backend.open(&req, &b, &limits), 0);
	assert_int_equal(limits.size_bytes, 1 << 20);
	assert_int_equal(limits.logical_block_bytes, 4096);
	assert_int_equal(limits.max_discard_bytes, LIMITS_MAX_RANGE_BYTES);
	assert_int_equal(limits.max_write_zeroes_bytes, LIMITS_MAX_RANGE_BYTES);
	assert_false(limits.write_cache || limits.fua || limits.read_only);
	assert_null(null_backend.close(b));

	req.read_only = true;
	assert_int_equal(null_backend.open(&req, &b, &limits), 0);
	assert_true(limits.read_only);
	assert_int_equal(limits.max_discard_bytes, 0);
	assert_int_equal(limits.max_write_zeroes_bytes, 0);
	assert_null(null_backend.close(b));
}

static void test_takes_any_size_and_any_predecessor(void **state)
{
	struct backend_request req = request;
	struct backend *b;
	struct limits limits;
	uint64_t size = 0;

	req.takeover = true;
	req.kept_fd = -1;
	assert_int_equal(null_backend.open(&req, &b, &limits), 0);
	req.size_bytes = 1ULL << 50;
	assert_int_equal(null_backend.resize(b, &req, &size), 0);
	assert_int_equal(size, 1ULL << 50);
	assert_null(null_backend.get_kept_fd); /* nothing to keep */
	assert_null(null_backend.close(b));
}

static void test_size_is_required(void **state)
{
	const struct backend_request req = {.device = "n"};
	struct backend *b = (struct backend *)&b;
	struct limits limits = {.size_bytes = 7};

	assert_int_equal(null_backend.open(&req, &b, &limits), -EINVAL);
	assert_ptr_equal(b, &b); /* untouched on failure */
	assert_int_equal(limits.size_bytes, 7);
}

static void test_registry_finds_by_type(void **state)
{
	assert_ptr_equal(backend_find(&null_conf_type), &null_backend);
	assert_ptr_equal(backend_find(&memory_conf_type), &memory_backend);
	assert_ptr_equal(backend_find(&file_conf_type), &file_backend);
	assert_null(backend_find(&(const struct backend_conf_type){.name = "null"}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_gives_zeros),
		cmocka_unit_test(test_read_touches_nothing),
		cmocka_unit_test(test_everything_else_succeeds_without_a_buffer),
		cmocka_unit_test(test_limits_follow_the_request),
		cmocka_unit_test(test_takes_any_size_and_any_predecessor),
		cmocka_unit_test(test_size_is_required),
		cmocka_unit_test(test_registry_finds_by_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
