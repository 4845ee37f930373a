/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkd-generator: systemd runs it at boot and at each daemon-reload. One definition after the other
 * becomes files, so that none that has errors can do harm to the rest.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "conf/device-conf.h"
#include "conf/search.h"
#include "generator/cmdline.h"
#include "generator/plan.h"
#include "generator/write.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define GENERATOR_CMDLINE_MAX (64 << 10)

struct generator {
	const char *dir;
	const char *state_dir;
	bool initrd;
	bool allowed; /* by the kernel command line */
	int r;        /* the first error */
};

static void generator_note(struct generator *g, int r)
{
	if (g->r == 0)
		g->r = r;
}

static bool generator_get_flag(const char *name)
{
	const char *value = secure_getenv(name);
	bool flag;

	return value && parse_bool(value, &flag) == 0 && flag;
}

/* As systemd's own: to the kernel's log when systemd runs us, since there may be no other yet. */
static void generator_set_log(void)
{
	static const char *const levels[] = {"emerg",   "alert",  "crit", "err",
					     "warning", "notice", "info", "debug"};
	const char *level = secure_getenv("SYSTEMD_LOG_LEVEL");
	const char *target = secure_getenv("SYSTEMD_LOG_TARGET");
	uint32_t n;

	log_set_level(LOG_NOTICE);
	for (uint32_t i = 0; level && i < ARRAY_SIZE(levels); i++)
		if (strcmp(level, levels[i]) == 0)
			log_set_level((int)i);
	if (level && parse_u32(level, &n) == 0 && n <= LOG_DEBUG)
		log_set_level((int)n);
	if (target ? strncmp(target, "console", 7) != 0 : secure_getenv("SYSTEMD_SCOPE") != NULL)
		log_set_kmsg("ublkd-generator");
}

static bool generator_read_cmdline(bool initrd)
{
	const char *text = secure_getenv("SYSTEMD_PROC_CMDLINE");
	AUTO_FREE char *own = NULL;

	if (!text &&
	    fd_read_file(AT_FDCWD, "/proc/cmdline", GENERATOR_CMDLINE_MAX, &own, NULL) == 0)
		text = own;
	return !text || cmdline_allows(text, initrd);
}

/* One line for each device, whatever is wrong with it: ublkctl tells the rest. */
static void generator_warn(const char *name, const struct conf_diag *diag, int r)
{
	AUTO_FREE char *text = NULL;
	const struct conf_message *first = NULL;

	for (size_t i = 0; i < diag->n_messages && !first; i++)
		if (diag->messages[i].severity == CONF_ERROR)
			first = &diag->messages[i];
	if (first && conf_message_format(first, &text) == 0)
		log_warning("%s; left out until \"ublkctl check %s\" finds nothing", text, name);
	else
		log_warning_errno(r, "cannot read the definition of %s, it is left out: %m", name);
}

/* What a server of that name is at work with, or one that died was. */
static struct device_conf *generator_load_kept(const struct generator *g, const char *name)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct device_conf *kept = NULL;
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "%s/%s/definition", g->state_dir, name) < 0) {
		path = NULL;
		return NULL;
	}
	if (access(path, F_OK) == 0)
		(void)device_conf_load_kept(path, name, &diag, &kept);
	return kept;
}

static void generator_do_device(struct generator *g, const char *name)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *conf = NULL;
	AUTO(device_conf_free) struct device_conf *kept = generator_load_kept(g, name);
	AUTO(plan_deinit) struct plan plan = {0};
	int r = device_conf_load(name, &diag, &conf);

	/* Masked, or not defined any more: as somebody wants it. */
	if (r < 0 && r != -ERFKILL && r != -ENOENT) {
		generator_warn(name, &diag, r);
		generator_note(g, r);
	}
	/* The initial RAM disk may have definitions that are not for it. */
	if (conf && g->initrd && !(conf->boot_options & BOOT_INITRD))
		conf = device_conf_free(conf);
	if (!conf && !kept)
		return;
	r = plan_device(&plan,
			&(struct plan_input){.conf = conf, .kept = kept, .starts = g->allowed});
	if (r == -EILSEQ)
		log_warning("a path in the definition of %s has control characters, which no unit "
			    "can have; it is left out",
			    name);
	else if (r < 0)
		log_error_errno(r, "cannot write units for %s: %m", name);
	else
		r = write_plan(g->dir, &plan);
	generator_note(g, r);
}

static bool generator_is_in(char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/* Devices in use whose definitions are gone. */
static void generator_do_kept(struct generator *g, char *const *names)
{
	AUTO_CLOSEDIR DIR *d = NULL;
	const struct dirent *e;

	if (fd_open_dir(AT_FDCWD, g->state_dir, &d) < 0)
		return;
	while ((e = readdir(d)))
		if (device_name_is_valid(e->d_name) && !generator_is_in(names, e->d_name))
			generator_do_device(g, e->d_name);
}

static void generator_do_all(struct generator *g)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_strv_free) char **names = NULL;
	int r = device_conf_list(&diag, &names);

	for (size_t i = 0; i < diag.n_messages; i++) {
		AUTO_FREE char *text = NULL;

		if (conf_message_format(&diag.messages[i], &text) == 0)
			log_warning("%s", text);
		generator_note(g, -EUCLEAN);
	}
	if (r < 0) {
		if (diag.n_messages == 0)
			log_error_errno(r, "cannot list the definitions: %m");
		generator_note(g, r);
		return;
	}
	for (char **name = names; *name; name++)
		generator_do_device(g, *name);
	generator_do_kept(g, names);
}

int main(int argc, char **argv)
{
	const char *state_dir = secure_getenv("UBLKD_STATE_DIR");
	struct generator g = {.state_dir = state_dir && *state_dir ? state_dir : "/run/ublkd"};

	if (argc != 2 && argc != 4) {
		fputs("Usage: ublkd-generator NORMAL-DIR [EARLY-DIR LATE-DIR]\n"
		      "\n"
		      "Run by systemd, see ublkd-generator(8).\n",
		      stderr);
		return EX_USAGE;
	}
	umask(0022);
	generator_set_log();
	g.dir = argv[1];
	g.initrd = generator_get_flag("SYSTEMD_IN_INITRD");
	g.allowed = generator_read_cmdline(g.initrd);
	generator_do_all(&g);
	return g.r < 0 ? 1 : 0;
}
