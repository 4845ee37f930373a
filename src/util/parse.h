/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Words that people write, to values. All functions are silent and leave their output untouched on
 * failure: -EINVAL: not such a word; -ERANGE: one, but the value does not fit its type.
 * Space around a word is not accepted; the caller has stripped it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only: no sign, no base prefix. */
int parse_u64(const char *s, uint64_t *ret);
int parse_u32(const char *s, uint32_t *ret);

/* Digits and at most one of B K M G T P E (base 1024). */
int parse_size(const char *s, uint64_t *ret_bytes);

/*
 * "90", "5min 20s", "1h30m", "infinity" (UINT64_MAX). A number without unit is in seconds. Units as
 * in systemd.time(7), up to weeks.
 */
int parse_duration(const char *s, uint64_t *ret_ns);

/*
 * "0.1%", "100%", into millionths; -ERANGE: above 100%. More than four digits behind the point are
 * no percentage, since they would be lost.
 */
int parse_percent(const char *s, uint32_t *ret_ppm);

/* yes no, true false, on off, y n, t f, 1 0; in any case. */
int parse_bool(const char *s, bool *ret);

/* Octal digits up to 7777, with or without a leading 0. */
int parse_mode(const char *s, uint32_t *ret_mode);

/*
 * An absolute path with "//", "/./" and a slash at the end taken out, to be freed. -EINVAL:
 * relative, or with a ".."; -ENAMETOOLONG: no path name of the kernel's; -ENOMEM.
 */
int parse_path(const char *s, char **ret_path);

/* Whether the bytes are UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool utf8_is_valid(const char *s, size_t len);

#define NS_PER_S 1000000000ULL

#define SIZE_TEXT_MAX 24

/* The shortest form that parse_size() reads back as the same value: 512K, 4097. Returns buf. */
const char *format_size(uint64_t bytes, char buf[static SIZE_TEXT_MAX]);

#define DURATION_TEXT_MAX 24

/* The same for parse_duration(): 90s, 1500ms, infinity. */
const char *format_duration(uint64_t ns, char buf[static DURATION_TEXT_MAX]);

#define PERCENT_TEXT_MAX 16

/* The same for parse_percent(): 0.1%. */
const char *format_percent(uint32_t ppm, char buf[static PERCENT_TEXT_MAX]);
