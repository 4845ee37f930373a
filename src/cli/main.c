/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkctl: what people and scripts ask of ublk devices. Each subcommand is a row in the table. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/parse.h"

struct command {
	const char *name;
	const char *arguments;
	const char *help;
	int (*run)(int argc, char **argv, const struct cli *cli);
};

static const struct command commands[] = {
	{"list", "", "ublk devices, whoever made them", cmd_list},
	{"status", "NAME|DEVICE|ID", "everything about one device", cmd_status},
	{"stats", "[NAME]", "what queues have counted, and how long it took", cmd_stats},
	{"top", "", "the busiest devices, every second", cmd_top},
	{"metrics", "", "the same for monitoring, as text", cmd_metrics},
	{"check", "[FILE|NAME...]", "find errors in definitions", cmd_check},
	{"cat", "NAME", "files that make up a definition", cmd_cat},
	{"show", "NAME", "what a definition means, with all defaults", cmd_show},
	{"apply", "[NAME...]", "make what runs what the definitions say", cmd_apply},
	{"stop", "NAME...", "stop devices, and what stands upon them first", cmd_stop},
	{"gc", "", "remove what dead servers have left", cmd_gc},
	{"doctor", "", "find what keeps devices from working, and say what to do", cmd_doctor},
	{"features", "", "what the running kernel can do", cmd_features},
};

static const struct option options[] = {
	{"all", no_argument, NULL, 'a'},
	{"dry-run", no_argument, NULL, 'd'},
	{"force", required_argument, NULL, 'f'},
	{"json", no_argument, NULL, 'j'},
	{"watch", optional_argument, NULL, 'w'},
	{"count", required_argument, NULL, 'c'},
	{"format", required_argument, NULL, 'F'},
	{"output", required_argument, NULL, 'o'},
	{"no-legend", no_argument, NULL, 'n'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{"yes", no_argument, NULL, 'y'},
	{0},
};

static int main_usage(FILE *out)
{
	fputs("Usage: ublkctl [OPTION...] COMMAND [ARGUMENT...]\n\nCommands:\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-9s %-15s %s\n", commands[i].name, commands[i].arguments,
			commands[i].help);
	fputs("\nOptions:\n"
	      "  -a, --all         list: definitions that do not run too\n"
	      "      --dry-run     apply, gc, stop: only say what would be done\n"
	      "      --force NAME  gc: remove this one, though it is in use or not ours\n"
	      "  -j, --json        print JSON\n"
	      "  -w, --watch[=SECONDS]\n"
	      "                    stats: again and again, what came in between\n"
	      "      --count=N     stats --watch, top: end after so many times\n"
	      "      --format=FORMAT\n"
	      "                    metrics: openmetrics, or prometheus for text format 0.0.4\n"
	      "  -o, --output=FILE metrics: replace FILE, in one step\n"
	      "      --no-legend   print no headings\n"
	      "  -y, --yes         stop: do not ask\n"
	      "  -h, --help        show this text\n"
	      "      --version     show the version\n"
	      "\n"
	      "See ublkctl(8).\n",
	      out);
	return out == stdout ? EX_OK : EX_USAGE;
}

/* What was printed must have arrived: a full disk or a closed pipe is a failure too. */
static int main_flush(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	perror("ublkctl: cannot write the output");
	return status ? status : 1;
}

static int main_seconds(const char *text, uint64_t *ret_ns)
{
	char *end;
	double s;

	if (!text)
		return 0;
	s = strtod(text, &end);
	if (end == text || *end || !(s >= 0.01 && s <= 86400)) {
		fprintf(stderr, "ublkctl: --watch=%s: seconds from 0.01 to 86400\n", text);
		return -EINVAL;
	}
	*ret_ns = (uint64_t)(s * NS_PER_S);
	return 0;
}

static int main_number(const char *text, uint64_t *ret)
{
	if (parse_u64(text, ret) == 0 && *ret > 0)
		return 0;
	fprintf(stderr, "ublkctl: --count=%s: a number from 1 on\n", text);
	return -EINVAL;
}

static int main_format(const char *text, enum cli_format *ret)
{
	static const char *const names[] = {
		[CLI_FORMAT_OPENMETRICS] = "openmetrics",
		[CLI_FORMAT_PROMETHEUS] = "prometheus",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum cli_format)i;
			return 0;
		}
	}
	fprintf(stderr, "ublkctl: --format=%s: openmetrics or prometheus\n", text);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	struct cli cli = {.every_ns = NS_PER_S};
	int c;

	while ((c = getopt_long(argc, argv, "ajo:w::hy", options, NULL)) != -1) {
		switch (c) {
		case 'a':
			cli.all = true;
			break;
		case 'd':
			cli.dry_run = true;
			break;
		case 'f':
			cli.force = optarg;
			break;
		case 'j':
			cli.json = true;
			break;
		case 'w':
			cli.watch = true;
			if (main_seconds(optarg, &cli.every_ns) < 0)
				return EX_USAGE;
			break;
		case 'c':
			if (main_number(optarg, &cli.n_times) < 0)
				return EX_USAGE;
			break;
		case 'F':
			if (main_format(optarg, &cli.format) < 0)
				return EX_USAGE;
			break;
		case 'o':
			cli.output = optarg;
			break;
		case 'n':
			cli.no_legend = true;
			break;
		case 'y':
			cli.yes = true;
			break;
		case 'h':
			return main_flush(main_usage(stdout));
		case 'V':
			puts("ublkctl " PROJECT_VERSION);
			return main_flush(EX_OK);
		default:
			return EX_USAGE; /* getopt has said why */
		}
	}
	if (optind == argc)
		return main_usage(stderr);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, argv[optind]) == 0)
			return main_flush(commands[i].run(argc - optind, argv + optind, &cli));
	}
	fprintf(stderr, "ublkctl: there is no command \"%s\"; ublkctl --help names them\n",
		argv[optind]);
	return EX_USAGE;
}
