/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a server left in /run/ublkd/NAME, of any bytes: it is understood whole or not at all, and
 * what was understood can be written and is the same then.
 */
#include "fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "state/state.h"

/* Escapes may make three bytes of one, and a file may have 64 KiB. */
#define REWRITE_MAX (16 << 10)

static const char *in_state_dir(const char *name)
{
	static char base[300], path[330];

	if (!base[0]) {
		snprintf(base, sizeof(base), "%s/fuzz", fuzz_dir());
		CHECK(mkdir(base, 0700) == 0);
		CHECK(setenv("UBLKD_STATE_DIR", fuzz_dir(), 1) == 0);
	}
	snprintf(path, sizeof(path), "%s/%s", base, name);
	return path;
}

static void check_is_same(const struct state *a, const struct state *b)
{
	CHECK(a->dev_id == b->dev_id && a->cookie == b->cookie && a->pid == b->pid);
	CHECK(a->flags == b->flags && a->digest == b->digest && a->takeover == b->takeover);
	CHECK(strcmp(a->boot_id, b->boot_id) == 0);
	CHECK(strcmp(a->backend, b->backend) == 0);
	CHECK(strcmp(a->target, b->target) == 0);
	CHECK(strcmp(a->definition, b->definition) == 0);
}

static void check_state(size_t size)
{
	struct state s, again;
	int r = state_read("fuzz", &s);

	CHECK(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	CHECK(s.pid > 0 && strlen(s.boot_id) == 32);
	if (size <= REWRITE_MAX) {
		CHECK(state_write("fuzz", &s) == 0);
		CHECK(state_read("fuzz", &again) == 0);
		check_is_same(&s, &again);
		state_deinit(&again);
	}
	state_deinit(&s);
}

static void check_reload(void)
{
	AUTO_FREE char *text = NULL, *text_again = NULL;
	uint64_t n, n_again;
	int result, result_again;
	int r = state_read_reload("fuzz", &n, &result, &text);

	CHECK(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	CHECK(result <= 0 && result >= -4095);
	CHECK(!strchr(text, '\n'));
	CHECK(state_write_reload("fuzz", n, result, text) == 0);
	CHECK(state_read_reload("fuzz", &n_again, &result_again, &text_again) == 0);
	CHECK(n == n_again && result == result_again);
	CHECK(strlen(text_again) <= strlen(text));
	for (size_t i = 0; text_again[i]; i++)
		CHECK(text_again[i] == (iscntrl((unsigned char)text[i]) ? ' ' : text[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_write(in_state_dir("state"), data, size);
	check_state(size);
	fuzz_write(in_state_dir("reload"), data, size);
	check_reload();
	return 0;
}
