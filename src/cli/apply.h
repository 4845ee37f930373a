/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* ublkctl apply: what is to be done with each device, decided from facts alone. */
#include <stdbool.h>

#include "cli/survey.h"
#include "util/cleanup.h"
#include "util/systemd.h"

enum apply_action {
	APPLY_NOTHING,
	APPLY_START,
	APPLY_RELOAD,
	APPLY_RESTART,
	APPLY_STOP,
	APPLY_STOP_START, /* what a device in use cannot take */
	APPLY_REFUSED,    /* something is to be done, and somebody has to see to it first */
};

/* What is known of a device with a name. */
struct apply_facts {
	const char *name;
	enum survey_definition definition;
	const struct device_conf
		*conf;                /* as the files have it; NULL: there is none that is right */
	struct device_conf *kept;     /* as it runs; NULL: not known; the decision may change it */
	bool has_device;              /* of ours, in the kernel */
	bool has_server;              /* some process holds the lock */
	enum systemd_unit_state unit; /* of ublk@NAME.service */
	enum systemd_unit_state manager;
	const char *users; /* who holds it; NULL: nobody */
};

#define APPLY_REASON_BYTES 512

struct apply_decision {
	enum apply_action action;
	bool was_managed; /* served by the manager now */
	bool is_managed;  /* to be served by it */
	char reason[APPLY_REASON_BYTES];
};

/* Silent. 0 or -ENOMEM. */
int apply_decide(const struct apply_facts *f, struct apply_decision *ret);

/* "nothing", "start", ... */
const char *apply_action_to_string(enum apply_action action);

/* Whether that action is a call to systemd. */
bool apply_is_call(enum apply_action action);

/**
 * apply_needs_daemon_reload() - whether files are newer than what the generator has made of them
 * @search_path:	directories with colons between, as of conf_search_path()
 * @generator_dir:	/run/systemd/generator, which is made anew by each daemon-reload
 *
 * By the time of the last change of files and directories, which "cp -p" does not carry over.
 * Silent.
 */
bool apply_needs_daemon_reload(const char *search_path, const char *generator_dir);
