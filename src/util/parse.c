/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/parse.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"

/* Takes decimal digits off *s. -EINVAL: there are none; -ERANGE, with *s behind them all the same. */
static int parse_digits(const char **s, uint64_t *ret)
{
	const char *p = *s;
	bool overflow = false;
	uint64_t v = 0;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		overflow |= __builtin_mul_overflow(v, 10, &v) ||
			    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	*s = p;
	if (overflow)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_u64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;
	int r = parse_digits(&s, &v);

	if (r == -EINVAL || *s)
		return -EINVAL;
	if (r < 0)
		return r;
	*ret = v;
	return 0;
}

int parse_u32(const char *s, uint32_t *ret)
{
	uint64_t v;
	int r = parse_u64(s, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

static const char size_suffixes[] = "BKMGTPE";

int parse_size(const char *s, uint64_t *ret_bytes)
{
	unsigned shift = 0;
	uint64_t v = 0;
	int r = parse_digits(&s, &v);

	if (r == -EINVAL)
		return r;
	if (*s) {
		const char *suffix = strchr(size_suffixes, *s);

		if (!suffix || s[1])
			return -EINVAL;
		shift = 10 * (unsigned)(suffix - size_suffixes);
	}
	if (r < 0)
		return r;
	if (v > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = v << shift;
	return 0;
}

const char *format_size(uint64_t bytes, char buf[static SIZE_TEXT_MAX])
{
	unsigned i = 0;

	while (bytes > 0 && bytes % 1024 == 0 && size_suffixes[i + 1]) {
		bytes /= 1024;
		i++;
	}
	snprintf(buf, SIZE_TEXT_MAX, "%" PRIu64 "%.*s", bytes, i > 0, size_suffixes + i);
	return buf;
}

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
	{"nsec", 1},
	{"ns", 1},
	{"usec", 1000},
	{"us", 1000},
	{"msec", 1000000},
	{"ms", 1000000},
	{"seconds", 1000000000},
	{"second", 1000000000},
	{"sec", 1000000000},
	{"s", 1000000000},
	{"minutes", 60000000000},
	{"minute", 60000000000},
	{"min", 60000000000},
	{"m", 60000000000},
	{"hours", 3600000000000},
	{"hour", 3600000000000},
	{"hr", 3600000000000},
	{"h", 3600000000000},
	{"days", 86400000000000},
	{"day", 86400000000000},
	{"d", 86400000000000},
	{"weeks", 604800000000000},
	{"week", 604800000000000},
	{"w", 604800000000000},
};

static int parse_duration_unit(const char **s, uint64_t *ret_ns)
{
	size_t len = strspn(*s, "abcdefghijklmnopqrstuvwxyz");

	for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
		if (strlen(duration_units[i].name) != len ||
		    strncmp(*s, duration_units[i].name, len) != 0)
			continue;
		*s += len;
		*ret_ns = duration_units[i].ns;
		return 0;
	}
	return -EINVAL;
}

int parse_duration(const char *s, uint64_t *ret_ns)
{
	bool overflow = false;
	uint64_t total = 0;

	if (strcmp(s, "infinity") == 0) {
		*ret_ns = UINT64_MAX;
		return 0;
	}
	do {
		uint64_t v = 0, unit_ns = 1000000000;
		int r = parse_digits(&s, &v);

		if (r == -EINVAL)
			return r;
		overflow |= r < 0;
		s += strspn(s, " ");
		/* "20" and "1min 20": seconds. */
		if (*s && !isdigit((unsigned char)*s)) {
			r = parse_duration_unit(&s, &unit_ns);
			if (r < 0)
				return r;
			s += strspn(s, " ");
		}
		overflow |= __builtin_mul_overflow(v, unit_ns, &v) ||
			    __builtin_add_overflow(total, v, &total);
	} while (*s);
	if (overflow || total == UINT64_MAX)
		return -ERANGE;
	*ret_ns = total;
	return 0;
}

const char *format_duration(uint64_t ns, char buf[static DURATION_TEXT_MAX])
{
	static const char *const units[] = {"w", "d", "h", "min", "s", "ms", "us", "ns"};

	for (size_t i = 0; i < ARRAY_SIZE(units) && ns > 0 && ns < UINT64_MAX; i++) {
		const char *unit = units[i];
		uint64_t unit_ns = 0;

		(void)parse_duration_unit(&unit, &unit_ns);
		if (ns % unit_ns > 0)
			continue;
		snprintf(buf, DURATION_TEXT_MAX, "%" PRIu64 "%s", ns / unit_ns, units[i]);
		return buf;
	}
	return strcpy(buf, ns > 0 ? "infinity" : "0");
}

/* "5" of "99.5%": with up to four digits, a millionth of the whole is the last one. */
static int parse_percent_fraction(const char **s, uint32_t *ret_ppm)
{
	uint32_t ppm = 0, digit_ppm = 1000;

	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); (*s)++, digit_ppm /= 10) {
		if (digit_ppm == 0)
			return -EINVAL;
		ppm += digit_ppm * (uint32_t)(**s - '0');
	}
	*ret_ppm = ppm;
	return 0;
}

int parse_percent(const char *s, uint32_t *ret_ppm)
{
	uint32_t fraction_ppm = 0;
	uint64_t percent = UINT64_MAX;
	int r = parse_digits(&s, &percent);

	if (r == -EINVAL)
		return r;
	if (*s == '.') {
		s++;
		r = parse_percent_fraction(&s, &fraction_ppm);
		if (r < 0)
			return r;
	}
	if (strcmp(s, "%") != 0)
		return -EINVAL;
	if (percent > 100 || (percent == 100 && fraction_ppm > 0))
		return -ERANGE;
	*ret_ppm = (uint32_t)percent * 10000 + fraction_ppm;
	return 0;
}

const char *format_percent(uint32_t ppm, char buf[static PERCENT_TEXT_MAX])
{
	uint32_t fraction = ppm % 10000;
	int digits = 4;

	for (; fraction > 0 && fraction % 10 == 0; digits--)
		fraction /= 10;
	if (fraction > 0)
		snprintf(buf, PERCENT_TEXT_MAX, "%" PRIu32 ".%0*" PRIu32 "%%", ppm / 10000, digits,
			 fraction);
	else
		snprintf(buf, PERCENT_TEXT_MAX, "%" PRIu32 "%%", ppm / 10000);
	return buf;
}

int parse_bool(const char *s, bool *ret)
{
	/* Even places are true. */
	static const char *const words[] = {"yes", "no", "true", "false", "on", "off",
					    "y",   "n",  "t",    "f",     "1",  "0"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(s, words[i]) != 0)
			continue;
		*ret = i % 2 == 0;
		return 0;
	}
	return -EINVAL;
}

int parse_mode(const char *s, uint32_t *ret_mode)
{
	uint32_t v = 0;

	if (!*s || s[strspn(s, "01234567")])
		return -EINVAL;
	for (; *s; s++) {
		v = v << 3 | (uint32_t)(*s - '0');
		if (v > 07777)
			return -ERANGE;
	}
	*ret_mode = v;
	return 0;
}

int parse_path(const char *s, char **ret_path)
{
	AUTO_FREE char *path = NULL;
	size_t len = 0;

	if (*s != '/')
		return -EINVAL;
	path = malloc(strlen(s) + 1);
	if (!path)
		return -ENOMEM;
	while (*s) {
		size_t part;

		s += strspn(s, "/");
		part = strcspn(s, "/");
		if (part == 2 && s[0] == '.' && s[1] == '.')
			return -EINVAL;
		if (part > NAME_MAX)
			return -ENAMETOOLONG;
		if (part > 0 && !(part == 1 && s[0] == '.')) {
			path[len++] = '/';
			memcpy(path + len, s, part);
			len += part;
		}
		s += part;
	}
	if (len == 0)
		path[len++] = '/';
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	path[len] = '\0';
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* Length of the sequence that starts with this byte, and the range of its second byte. */
static size_t utf8_sequence(unsigned char first, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = 0x80;
	*ret_high = 0xbf;
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return 2;
	if (first >= 0xe0 && first <= 0xef) {
		if (first == 0xe0)
			*ret_low = 0xa0; /* shorter forms exist below */
		if (first == 0xed)
			*ret_high = 0x9f; /* surrogates above */
		return 3;
	}
	if (first >= 0xf0 && first <= 0xf4) {
		if (first == 0xf0)
			*ret_low = 0x90;
		if (first == 0xf4)
			*ret_high = 0x8f; /* U+10FFFF is the last one */
		return 4;
	}
	return 0;
}

bool utf8_is_valid(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	for (size_t i = 0; i < len;) {
		unsigned char low, high;
		size_t n = utf8_sequence(p[i], &low, &high);

		if (n == 0 || n > len - i)
			return false;
		if (n > 1 && (p[i + 1] < low || p[i + 1] > high))
			return false;
		for (size_t k = 2; k < n; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		i += n;
	}
	return true;
}
