/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ublkd: the programs that systemd runs. Each is a row in the table below. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "service/keep.h"
#include "service/manage.h"
#include "service/process.h"
#include "service/reap.h"
#include "service/reload.h"
#include "service/serve.h"
#include "service/settings.h"
#include "state/state.h"
#include "util/log.h"

#define MAIN_LOG_STOP_MS 2000

static int main_usage(FILE *out)
{
	fputs("Usage: ublkd serve NAME\n"
	      "       ublkd serve --config FILE\n"
	      "       ublkd manage [NAME...]\n"
	      "       ublkd reload NAME | --manager\n"
	      "       ublkd reap NAME | --shutdown\n"
	      "\n"
	      "serve: serves the block device that /etc/ublk/NAME.conf, or FILE, defines, in the\n"
	      "foreground, until SIGTERM or SIGINT comes and nobody uses the device any more.\n"
	      "manage: serves the devices with [Boot] Manager=yes, or those named, in one process.\n"
	      "reload: makes the server of NAME read its definition again, and waits for it.\n"
	      "reap: removes what a dead server of NAME has left, as OnGiveUp= of its definition\n"
	      "says.\n"
	      "\n"
	      "  -c, --config FILE    take the definition from FILE; its name is the device's\n"
	      "  -l, --log-level L    error, warning, notice, info or debug\n"
	      "      --manager        reload: the server of many devices, \"ublkd manage\"\n"
	      "      --shutdown       reap: all names, if the machine goes down\n"
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
	bool manager, shutdown;
};

static int main_check_name(const char *name)
{
	if (device_name_is_valid(name))
		return 0;
	return log_at(LOG_ERR, -EUCLEAN,
		      "'%s' is not a name for a device: a to z, 0 to 9, and '_', '.', '-' but "
		      "not first, at most %d characters",
		      name, DEVICE_NAME_MAX);
}

/* Files with errors are no reason to let the users of a device wait whose server has died. */
static int main_load(const char *name, const struct main_options *o, struct serve_options *options,
		     struct device_conf **ret)
{
	struct daemon_conf daemon = {0};
	int r;

	r = settings_load_daemon(o->log_level, &daemon);
	options->slow_request_ns = daemon.slow_request_ns;
	(void)log_set_device(name);
	if (r >= 0)
		r = settings_load_device(name, o->config, ret);
	if (r >= 0 || !name || settings_load_kept(name, ret) < 0)
		return r;
	options->only_takeover = true;
	return 0;
}

static int main_serve(const char *name, const struct main_options *o)
{
	AUTO(device_conf_free) struct device_conf *conf = NULL;
	struct serve_options options = {.config = o->config, .log_level = o->log_level};
	AUTO_FREE char *label = NULL;
	int r;

	r = name ? main_check_name(name) : 0;
	if (r < 0)
		return r;
	r = process_block_signals();
	if (r >= 0)
		r = main_load(name, o, &options, &conf);
	if (r < 0)
		return r;
	label = strdup(conf->name); /* the definition may be replaced */
	(void)log_set_device(label);
	r = process_set_up();
	if (r < 0)
		return r;
	r = log_start();
	if (r < 0)
		return log_error_errno(r, "cannot start the log thread: %m");
	keep_init();
	r = serve_device(TAKE_PTR(conf), &options);
	log_stop(MAIN_LOG_STOP_MS);
	(void)log_set_device(NULL);
	return r;
}

static int main_manage(char *const *names, const struct main_options *o)
{
	const struct manage_options options = {.names = names, .log_level = o->log_level};
	int r = 0;

	for (char *const *name = names; *name && r == 0; name++)
		r = main_check_name(*name);
	if (r == 0)
		r = process_block_signals();
	if (r == 0)
		r = process_set_up();
	if (r < 0)
		return r;
	r = log_start();
	if (r < 0)
		return log_error_errno(r, "cannot start the log thread: %m");
	keep_init();
	r = manage_devices(&options);
	log_stop(MAIN_LOG_STOP_MS);
	return r;
}

static int main_reload(const char *name, const struct main_options *o)
{
	int r = strcmp(name, STATE_MANAGER) == 0 ? 0 : main_check_name(name);

	if (o->log_level >= 0)
		log_set_level(o->log_level);
	(void)log_set_device(o->manager ? NULL : name);
	return r < 0 ? r : reload_request(name);
}

static int main_reap(const char *name, const struct main_options *o)
{
	int r;

	if (o->log_level >= 0)
		log_set_level(o->log_level);
	/* the name of ublk-reap@.manager.service, for all that the manager has left, is no device's */
	r = !name || strcmp(name, STATE_MANAGER) == 0 ? 0 : main_check_name(name);
	if (r < 0)
		return r;
	log_set_object_unit(true);
	/* the journal may be waiting for the very device that is to be removed */
	r = log_start();
	if (r < 0)
		return log_error_errno(r, "cannot start the log thread: %m");
	(void)log_set_device(name && name[0] != '.' ? name : NULL);
	r = o->shutdown ? reap_at_shutdown() : reap_by_policy(name);
	log_stop(MAIN_LOG_STOP_MS);
	return r;
}

/* Words behind the verb, and the options that it takes; an exit status. */
static int main_run(const char *verb, int argc, char **argv, const struct main_options *o)
{
	if (strcmp(verb, "serve") == 0 && argc == (o->config ? 0 : 1) && !o->manager &&
	    !o->shutdown)
		return main_exit_status(main_serve(o->config ? NULL : argv[0], o));
	if (strcmp(verb, "manage") == 0 && !o->config && !o->manager && !o->shutdown)
		return main_exit_status(main_manage(argv, o));
	if (strcmp(verb, "reload") == 0 && argc == (o->manager ? 0 : 1) && !o->config &&
	    !o->shutdown)
		return main_exit_status(main_reload(o->manager ? STATE_MANAGER : argv[0], o));
	if (strcmp(verb, "reap") == 0 && argc == (o->shutdown ? 0 : 1) && !o->config && !o->manager)
		return main_exit_status(main_reap(o->shutdown ? NULL : argv[0], o));
	return main_usage(stderr);
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
		{"manager", no_argument, NULL, 'm'},
		{"shutdown", no_argument, NULL, 's'},
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
		case 'm':
			o.manager = true;
			break;
		case 's':
			o.shutdown = true;
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
	if (argc < 1)
		return main_usage(stderr);
	return main_run(argv[0], argc - 1, argv + 1, &o);
}
