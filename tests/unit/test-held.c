/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said of those who hold a device that is to stop, and when it is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "service/held.h"
#include "util/cleanup.h"

static struct holder mount = {.kind = HOLDER_MOUNT, .text = (char *)"/srv"};
static struct holder process = {.kind = HOLDER_PROCESS, .text = (char *)"dd (pid 7)"};

/* The next try finds this one, or nobody. Is it worth a line, and when is it tried again? */
static void finds(struct held *h, struct holder *who, bool news, uint64_t delay_ms)
{
	struct holders holders = {.items = who, .n = who != NULL};
	char text[HELD_TEXT_BYTES];

	assert_int_equal(held_note(h, held_describe(&holders, text)), news);
	assert_int_equal(held_delay_ms(h), delay_ms);
	if (news)
		assert_string_equal(h->said, text);
}

static void test_each_is_told_once(void **state)
{
	struct held h = {0};

	finds(&h, &mount, false, 200);
	finds(&h, &mount, true, 1000);
	finds(&h, &mount, false, 1000);
	finds(&h, &process, true, 1000);
	finds(&h, &mount, true, 1000);
}

static void test_a_look_of_udev_is_not_told(void **state)
{
	struct held h = {0};

	finds(&h, NULL, false, 200);
	finds(&h, &mount, true, 1000);
	finds(&h, NULL, false, 200); /* it was closed just now */
	finds(&h, &mount, false, 1000);
	finds(&h, NULL, false, 200);
	finds(&h, NULL, true, 1000); /* somebody has it all the same */
	assert_string_equal(h.said, "in use by somebody who cannot be seen from here");
	finds(&h, NULL, false, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_is_told_once),
		cmocka_unit_test(test_a_look_of_udev_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
