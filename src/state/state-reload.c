/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NAME/reload: three lines, replaced in one step after each reload: how many there were, 0 or -errno
 * of the last, and what it had to say. The last line's end tells that the file is whole.
 */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "state/state-internal.h"
#include "state/state.h"
#include "util/fd.h"

#define RELOAD_FILE       "reload"
#define RELOAD_MAX_BYTES  8192
#define RELOAD_TEXT_BYTES 4096
#define RELOAD_RESULT_MAX 4095 /* the largest errno there is */
#define RELOAD_LINES      3

int state_write_reload(const char *name, uint64_t n, int result, const char *text)
{
	AUTO_CLOSE int dir = -1;
	AUTO_FREE char *out = NULL;
	int len, r;

	r = state_open_dir(name, false, &dir);
	if (r < 0)
		return r;
	len = asprintf(&out, "%" PRIu64 "\n%d\n%.*s\n", n, -result, RELOAD_TEXT_BYTES, text);
	if (len < 0)
		return -ENOMEM;
	/* the text is one line whatever is in it */
	for (char *c = out + len - 2, *first = strchr(strchr(out, '\n') + 1, '\n'); c > first;
	     c--) {
		if (iscntrl((unsigned char)*c))
			*c = ' ';
	}
	return fd_write_file(dir, RELOAD_FILE, out, (size_t)len, 0644);
}

int state_read_reload(const char *name, uint64_t *ret_n, int *ret_result, char **ret_text)
{
	AUTO_CLOSE int dir = -1;
	AUTO_FREE char *text = NULL;
	char *lines[RELOAD_LINES], *next;
	uint64_t n, result;
	size_t len;
	int r;

	r = state_open_dir(name, false, &dir);
	if (r == 0)
		r = fd_read_file(dir, RELOAD_FILE, RELOAD_MAX_BYTES, &text, &len);
	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	if (strlen(text) != len)
		return -EBADMSG;
	next = text;
	for (size_t i = 0; i < RELOAD_LINES; i++) {
		char *end = strchr(next, '\n');

		if (!end)
			return -EBADMSG;
		*end = '\0';
		lines[i] = next;
		next = end + 1;
	}
	if (*next || state_parse_u64(lines[0], 10, &n) < 0 ||
	    state_parse_u64(lines[1], 10, &result) < 0 || result > RELOAD_RESULT_MAX)
		return -EBADMSG;
	memmove(text, lines[2], strlen(lines[2]) + 1);
	*ret_n = n;
	*ret_result = -(int)result;
	*ret_text = TAKE_PTR(text);
	return 0;
}
