/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What the subcommands print with: numbers for people, JSON, complaints. */
#include <json-c/json.h>
#include <stdint.h>

#include "util/cleanup.h"

#define OUTPUT_SIZE_MAX 24

/* "512", "4K", "1.5G": at most one digit behind the point. Returns buf. */
const char *output_size(uint64_t bytes, char buf[static OUTPUT_SIZE_MAX]);

/* "850ns", "12.3us", "1.5ms", "2.04s", "3m", "5h": three digits at most below a minute. Returns buf. */
const char *output_time(uint64_t ns, char buf[static OUTPUT_SIZE_MAX]);

/* "950", "12.3k", "1.5M": three digits. Returns buf. */
const char *output_rate(double n, char buf[static OUTPUT_SIZE_MAX]);

/* Any bytes as a JSON string; what is not UTF-8 becomes "?". NULL becomes null. */
struct json_object *output_json_text(const char *text);

static inline void output_json_free_auto(struct json_object **o)
{
	json_object_put(*o);
}

/* Prints and leaves the object to the caller. */
void output_json(struct json_object *o);
/* In one line, for a stream of them; at once. */
void output_json_line(struct json_object *o);

/* "ublkctl: ...: reason" on stderr; r is -errno. Return: the exit status that it means. */
int output_complain(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for what ctrl_open() returned, with what to do about it. */
int output_complain_ctrl(int r);
