/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkd: the programs that systemd runs. Each is a row in the table below. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "service/process.h"
#include "service/serve.h"
#include "service/settings.h"
#include "util/log.h"

#define MAIN_LOG_STOP_MS 2000

static int main_usage(FILE *out)
{
	fputs("Usage: ublkd serve NAME\n"
	      "       ublkd serve --config FILE\n"
	      "\n"
	      "Serves the block device that /etc/ublk/NAME.conf, or FILE, defines, in the\n"
	      "foreground, until SIGTERM or SIGINT comes and nobody uses the device any more.\n"
	      "\n"
	      "  -c, --config FILE    take the definition from FILE; its name is the device's\n"
	      "  -l, --log-level L    error, warning, notice, info or debug\n"
	      "  -h, --help           show this text\n"
	      "      --version        show the version\n"
	      "\n"
	      "See ublkd(8), ublk.conf(5) and ublk@.service(8).\n",
	      out);
	return out == stdout ? EX_OK : EX_USAGE;
}

/* -errno of the service as the status that design and manual promise. */
static int main_exit_status(int r)
{
	switch (r) {
	case 0:
		return EX_OK;
	case -EUCLEAN:
		return EX_CONFIG;
	case -EOPNOTSUPP:
		return EX_UNAVAILABLE;
	case -EPERM:
	case -EACCES:
		return EX_NOPERM;
	case -EBUSY:
	case -EAGAIN:
	case -ETIMEDOUT:
		return EX_TEMPFAIL;
	default:
		return 1;
	}
}

struct main_options {
	const char *config; /* NULL: the definition is searched for by name */
	int log_level;      /* -1: as ublkd.conf says */
};

static int main_serve(const char *name, const struct main_options *o)
{
	AUTO(device_conf_free) struct device_conf *conf = NULL;
	int r;

	if (name && !device_name_is_valid(name))
		return log_at(
			LOG_ERR, -EUCLEAN,
			"'%s' is not a name for a device: a to z, 0 to 9, and '_', '.', '-' but "
			"not first, at most %d characters",
			name, DEVICE_NAME_MAX);
	r = settings_load_daemon(o->log_level);
	if (r < 0)
		return r;
	(void)log_set_device(name);
	r = settings_load_device(name, o->config, &conf);
	if (r < 0)
		return r;
	(void)log_set_device(conf->name);
	r = process_set_up();
	if (r < 0)
		return r;
	r = log_start();
	if (r < 0)
		return log_error_errno(r, "cannot start the log thread: %m");
	r = serve_device(conf, o->log_level);
	log_stop(MAIN_LOG_STOP_MS);
	(void)log_set_device(NULL);
	return r;
}

/* Else an image or a device would get the number of stderr, and our messages. */
static int main_fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"log-level", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct main_options o = {.log_level = -1};
	int c;

	if (main_fill_standard_fds() < 0)
		return 1;
	while ((c = getopt_long(argc, argv, "c:l:h", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			o.config = optarg;
			break;
		case 'l':
			if (log_level_from_string(optarg, &o.log_level) < 0) {
				log_error("--log-level=%s: error, warning, notice, info or debug",
					  optarg);
				return EX_USAGE;
			}
			break;
		case 'h':
			return main_usage(stdout);
		case 'V':
			printf("ublkd %s\n", PROJECT_VERSION);
			return EX_OK;
		default:
			return main_usage(stderr);
		}
	}
	argv += optind;
	argc -= optind;
	if (argc < 1 || strcmp(argv[0], "serve") != 0 || argc != (o.config ? 1 : 2))
		return main_usage(stderr);
	return main_exit_status(main_serve(o.config ? NULL : argv[1], &o));
}
