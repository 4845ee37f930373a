/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NAME/state: one KEY=VALUE a line, each key once, unknown keys left to whoever wrote them. In a
 * value a backslash and two hexadecimal digits stand for a control character or a backslash.
 * STATE=1 comes last: a file without it was cut short.
 */
#include <stddef.h>
#include <string.h>

#include "state/state-internal.h"
#include "state/state.h"
#include "util/fd.h"

#define STATE_FILE      "state"
#define DEFINITION_FILE "definition"
#define STATE_MAX_BYTES (64 << 10)

enum value_type { VALUE_U32, VALUE_HEX64, VALUE_PID, VALUE_TEXT, VALUE_BOOT_ID, VALUE_END };

struct value {
	const char *key;
	enum value_type type;
	size_t offset; /* in struct state */
};

static const struct value values[] = {
	{"DEV_ID", VALUE_U32, offsetof(struct state, dev_id)},
	{"BOOT_ID", VALUE_BOOT_ID, offsetof(struct state, boot_id)},
	{"COOKIE", VALUE_HEX64, offsetof(struct state, cookie)},
	{"PID", VALUE_PID, offsetof(struct state, pid)},
	{"FLAGS", VALUE_HEX64, offsetof(struct state, flags)},
	{"DIGEST", VALUE_HEX64, offsetof(struct state, digest)},
	{"TAKEOVER", VALUE_U32, offsetof(struct state, takeover)},
	{"BACKEND", VALUE_TEXT, offsetof(struct state, backend)},
	{"TARGET", VALUE_TEXT, offsetof(struct state, target)},
	{"DEFINITION", VALUE_TEXT, offsetof(struct state, definition)},
	{"STATE", VALUE_END, 0},
};

void state_deinit(struct state *s)
{
	free(s->backend);
	free(s->target);
	free(s->definition);
	*s = (struct state){0};
}

int state_parse_u64(const char *s, int base, uint64_t *ret)
{
	const size_t len = strlen(s);
	uint64_t v;
	char *end;

	/* strtoull() would take a sign, a prefix and leading space */
	if (len == 0 || strspn(s, base == 16 ? "0123456789abcdef" : "0123456789") != len)
		return -EBADMSG;
	errno = 0;
	v = strtoull(s, &end, base);
	if (errno)
		return -EBADMSG;
	*ret = v;
	return 0;
}

bool state_boot_id_is_valid(const char *id)
{
	return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

static void state_print_text(FILE *f, const char *text)
{
	for (const char *c = text ? text : ""; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '\\')
			fprintf(f, "\\%02x", (unsigned char)*c);
		else
			fputc(*c, f);
	}
}

static void state_print_value(FILE *f, const struct value *v, const struct state *s)
{
	const void *field = (const char *)s + v->offset;

	fprintf(f, "%s=", v->key);
	switch (v->type) {
	case VALUE_U32:
		fprintf(f, "%u", *(const uint32_t *)field);
		break;
		fprintf(f, "%llu", (unsigned long long)*(const uint64_t *)field);
		break;
	case VALUE_HEX64:
		fprintf(f, "%016llx", (unsigned long long)*(const uint64_t *)field);
		break;
	case VALUE_PID:
		fprintf(f, "%d", (int)*(const pid_t *)field);
		break;
	case VALUE_TEXT:
		state_print_text(f, *(char *const *)field);
		break;
	case VALUE_BOOT_ID:
		fputs(field, f);
		break;
	case VALUE_END:
		fputs("1", f);
		break;
	}
	fputc('\n', f);
}

int state_write(const char *name, const struct state *s)
{
	AUTO_CLOSE int dir = -1;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *f;
	int r;

	if (!state_boot_id_is_valid(s->boot_id) || s->pid <= 0)
		return -EINVAL;
	r = state_open_dir(name, false, &dir);
	if (r < 0)
		return r;
	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		state_print_value(f, &values[i], s);
	if (fclose(f) != 0)
		return -ENOMEM;
	return fd_write_file(dir, STATE_FILE, text, len, 0644);
}

int state_write_definition(const char *name, const char *text, size_t len)
{
	AUTO_CLOSE int dir = -1;
	int r = state_open_dir(name, false, &dir);

	return r < 0 ? r : fd_write_file(dir, DEFINITION_FILE, text, len, 0644);
}

const char *state_definition_path(const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s/" DEFINITION_FILE, state_dir(), name);
	return buf;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int state_parse_text(const char *value, char **ret)
{
	AUTO_FREE char *text = malloc(strlen(value) + 1);
	char *to = text;

	if (!text)
		return -ENOMEM;
	for (const char *c = value; *c; c++) {
		int high, low;

		if (*c != '\\') {
			*to++ = *c;
			continue;
		}
		high = hex_digit(c[1]);
		low = high < 0 ? -1 : hex_digit(c[2]);
		if (low < 0 || high * 16 + low == 0)
			return -EBADMSG;
		*to++ = (char)(high * 16 + low);
		c += 2;
	}
	*to = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

static int state_parse_value(const struct value *v, const char *text, struct state *s)
{
	void *field = (char *)s + v->offset;
	uint64_t number;

	switch (v->type) {
	case VALUE_TEXT:
		return state_parse_text(text, field);
	case VALUE_BOOT_ID:
		if (!state_boot_id_is_valid(text))
			return -EBADMSG;
		memcpy(field, text, sizeof(s->boot_id));
		return 0;
	case VALUE_END:
		return strcmp(text, "1") == 0 ? 0 : -EBADMSG;
	case VALUE_U32:
	case VALUE_HEX64:
	case VALUE_PID:
		break;
	}
	if (state_parse_u64(text, v->type == VALUE_HEX64 ? 16 : 10, &number) < 0)
		return -EBADMSG;
	if (v->type == VALUE_U32) {
		if (number > UINT32_MAX)
			return -EBADMSG;
		*(uint32_t *)field = (uint32_t)number;
	} else if (v->type == VALUE_PID) {
		if (number == 0 || number > INT32_MAX)
			return -EBADMSG;
		*(pid_t *)field = (pid_t)number;
	} else {
		*(uint64_t *)field = number;
	}
	return 0;
}

static int state_parse_line(char *line, struct state *s, unsigned *seen)
{
	char *equals = strchr(line, '=');

	if (!equals)
		return -EBADMSG;
	*equals = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (strcmp(values[i].key, line) != 0)
			continue;
		if (*seen & 1U << i)
			return -EBADMSG;
		*seen |= 1U << i;
		return state_parse_value(&values[i], equals + 1, s);
	}
	return 0;
}

int state_read(const char *name, struct state *ret_s)
{
	AUTO_CLOSE int dir = -1;
	AUTO_FREE char *text = NULL;
	struct state s = {0};
	unsigned seen = 0;
	size_t len;
	char *next;
	int r;

	r = state_open_dir(name, false, &dir);
	if (r == 0)
		r = fd_read_file(dir, STATE_FILE, STATE_MAX_BYTES, &text, &len);
	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	if (strlen(text) != len || len == 0 || text[len - 1] != '\n')
		return -EBADMSG;
	for (char *line = text; r == 0 && *line; line = next) {
		next = strchr(line, '\n') + 1;
		next[-1] = '\0';
		r = state_parse_line(line, &s, &seen);
	}
	if (r == 0 && seen != (1U << ARRAY_SIZE(values)) - 1)
		r = -EBADMSG;
	if (r < 0) {
		state_deinit(&s);
		return r;
	}
	*ret_s = s;
	return 0;
}
