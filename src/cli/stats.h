/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What stats and top show, as JSON: the schema is in ublkctl(8). */
#include <json-c/json.h>

#include "cli/figures.h"

/* An array with an element for each device. */
struct json_object *stats_json(const struct fleet_figures *f);
