/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * The subcommands of ublkctl. Each one gets its own words (argv[0] is its name) and what the
 * options before and behind it said, prints to stdout, complains on stderr, and returns an exit
 * status of sysexits.h.
 */
#include <stdbool.h>
#include <stdint.h>

enum cli_format {
	CLI_FORMAT_OPENMETRICS,
	CLI_FORMAT_PROMETHEUS,
};

struct cli {
	bool json;
	bool no_legend;         /* no headings, no closing lines */
	bool all;               /* list: definitions without a device too */
	bool dry_run;           /* apply, gc, stop: only say what would be done */
	bool yes;               /* stop: do not ask */
	bool watch;             /* stats: again and again, what came in between */
	uint64_t every_ns;      /* stats, top: so often */
	uint64_t n_times;       /* stats, top: and no more than that; 0: for ever */
	enum cli_format format; /* metrics */
	const char *output;     /* metrics: this file; NULL: stdout */
	const char *force;      /* gc: this one, whoever uses it or made it; NULL: none */
};

int cmd_check(int argc, char **argv, const struct cli *cli);
int cmd_cat(int argc, char **argv, const struct cli *cli);
int cmd_show(int argc, char **argv, const struct cli *cli);
int cmd_list(int argc, char **argv, const struct cli *cli);
int cmd_status(int argc, char **argv, const struct cli *cli);
int cmd_apply(int argc, char **argv, const struct cli *cli);
int cmd_stop(int argc, char **argv, const struct cli *cli);
int cmd_gc(int argc, char **argv, const struct cli *cli);
int cmd_stats(int argc, char **argv, const struct cli *cli);
int cmd_top(int argc, char **argv, const struct cli *cli);
int cmd_metrics(int argc, char **argv, const struct cli *cli);
int cmd_doctor(int argc, char **argv, const struct cli *cli);
int cmd_features(int argc, char **argv, const struct cli *cli);
