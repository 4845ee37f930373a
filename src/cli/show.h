/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What list and status show, as text and as JSON. */
#include <json-c/json.h>

#include "cli/survey.h"
#include "state/holders.h"
#include "state/stats.h"

/* NULL: not known. */
const char *show_backend(const struct survey_device *d);
const char *show_definition(const struct survey_device *d);

/* Of the block device, else as defined; 0: not known. */
uint64_t show_size_bytes(const struct survey_device *d);

struct show_counters {
	struct stats_op op[STATS_N_OPS];
	uint64_t retries;
	uint64_t in_flight;
};

/* A queue's counters as they are now, added to *c. */
void show_add_counters(const struct stats_queue *q, struct show_counters *c);

/* The links to the node that udev knows: an array of strings. */
struct json_object *show_links_json(const struct survey_device *d);

/* An element of list --json. */
struct json_object *show_device_json(const struct survey_device *d, const struct holders *h);

/* Complains of what could not be found out. Return: the exit status that it means. */
int show_complain(const struct survey *s);

/* Prints the object of status --json. 0. */
int show_status_json(const struct survey_device *d);
