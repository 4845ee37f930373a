/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/output.h"

#include <stdarg.h>
#include <string.h>
#include <sysexits.h>

#include "util/parse.h"

const char *output_size(uint64_t bytes, char buf[static OUTPUT_SIZE_MAX])
{
	static const char units[] = "BKMGTPE";
	unsigned unit = bytes ? (63 - (unsigned)__builtin_clzll(bytes)) / 10 : 0;
	unsigned shift = 10 * unit, tenths;

	if (unit == 0) {
		snprintf(buf, OUTPUT_SIZE_MAX, "%u", (unsigned)bytes);
		return buf;
	}
	/* rounded to the nearest, from the 20 bits that count */
	tenths = (unsigned)(((bytes >> (shift - 10) & 0xfffff) * 10 + 512) / 1024);
	if (tenths >= 10240) {
		tenths = 10;
		unit++;
	}
	if (tenths % 10)
		snprintf(buf, OUTPUT_SIZE_MAX, "%u.%u%c", tenths / 10, tenths % 10, units[unit]);
	else
		snprintf(buf, OUTPUT_SIZE_MAX, "%u%c", tenths / 10, units[unit]);
	return buf;
}

/* Three digits, without zeros at their end. */
static void output_digits(double n, const char *unit, char buf[static OUTPUT_SIZE_MAX])
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%.*f", n < 9.995 ? 2 : n < 99.95 ? 1 : 0, n);
	if (strchr(digits, '.')) {
		size_t len = strlen(digits);

		while (digits[len - 1] == '0')
			len--;
		digits[digits[len - 1] == '.' ? len - 1 : len] = '\0';
	}
	snprintf(buf, OUTPUT_SIZE_MAX, "%s%s", digits, unit);
}

const char *output_time(uint64_t ns, char buf[static OUTPUT_SIZE_MAX])
{
	static const char *const units[] = {"ns", "us", "ms"};
	double n = (double)ns;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (n < 999.5) {
			output_digits(n, units[i], buf);
			return buf;
		}
		n /= 1000;
	}
	if (n < 120)
		output_digits(n, "s", buf);
	else if (n < 7200)
		snprintf(buf, OUTPUT_SIZE_MAX, "%.0fm", n / 60);
	else
		snprintf(buf, OUTPUT_SIZE_MAX, "%.0fh", n / 3600);
	return buf;
}

const char *output_rate(double n, char buf[static OUTPUT_SIZE_MAX])
{
	static const char *const units[] = {"", "k", "M", "G"};
	size_t i = 0;

	for (; n >= 999.5 && i + 1 < ARRAY_SIZE(units); i++)
		n /= 1000;
	output_digits(n, units[i], buf);
	return buf;
}

struct json_object *output_json_text(const char *text)
{
	AUTO_FREE char *clean = NULL;

	if (!text)
		return NULL;
	if (utf8_is_valid(text, strlen(text)))
		return json_object_new_string(text);
	clean = strdup(text);
	if (!clean)
		return NULL;
	for (char *c = clean; *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	return json_object_new_string(clean);
}

void output_json(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
}

void output_json_line(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout); /* main() looks at whether it could */
}

static int output_exit_status(int r)
{
	switch (r) {
	case -EACCES:
	case -EPERM:
		return EX_NOPERM;
	case -ENOTSUP:
		return EX_UNAVAILABLE;
	case -EBUSY:
	case -EAGAIN:
	case -ETIMEDOUT:
		return EX_TEMPFAIL;
	default:
		return 1;
	}
}

int output_complain(int r, const char *format, ...)
{
	va_list args;

	fputs("ublkctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(-r));
	return output_exit_status(r);
}

int output_complain_ctrl(int r)
{
	switch (r) {
	case -ENOENT:
		fputs("ublkctl: there is no /dev/ublk-control: load the kernel module ublk_drv, "
		      "or take a kernel that has it\n",
		      stderr);
		return EX_UNAVAILABLE;
	case -EACCES:
	case -EPERM:
		fputs("ublkctl: /dev/ublk-control is not for this user: run ublkctl as root\n",
		      stderr);
		return EX_NOPERM;
	case -ENOTSUP:
		fputs("ublkctl: io_uring cannot be used here: see sysctl kernel.io_uring_disabled "
		      "and the system call filter\n",
		      stderr);
		return EX_UNAVAILABLE;
	default:
		return output_complain(r, "cannot use /dev/ublk-control");
	}
}
