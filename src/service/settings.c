/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/settings.h"

#include <errno.h>

#include "state/state.h"
#include "util/log.h"
#include "util/messages.h"

/* Each message on a line of its own: "file:line: [Section] Key=: reason". */
static void settings_log(struct conf_diag *diag)
{
	conf_diag_sort(diag);
	for (size_t i = 0; i < diag->n_messages; i++) {
		const struct conf_message *m = &diag->messages[i];
		AUTO_FREE char *text = NULL;

		if (conf_message_format(m, &text) < 0)
			continue;
		if (m->severity == CONF_ERROR)
			log_message(MESSAGE_DEFINITION_BAD, LOG_ERR, 0, "%s", text);
		else
			log_warning("%s", text);
	}
}

int settings_load_daemon(int log_level, struct daemon_conf *ret)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct daemon_conf conf;
	int r;

	r = daemon_conf_load(&diag, &conf);
	settings_log(&diag);
	if (r < 0) {
		if (diag.n_errors == 0)
			log_error_errno(r, "cannot read ublkd.conf: %m");
		return r;
	}
	log_set_level(log_level >= 0 ? log_level : (int)conf.log_level);
	*ret = conf;
	return 0;
}

int settings_load_device(const char *name, const char *path, struct device_conf **ret)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	int r;

	r = name ? device_conf_load(name, &diag, ret)
		 : device_conf_load_file(path, NULL, &diag, ret);
	settings_log(&diag);
	if (r == -EUCLEAN || r >= 0)
		return r;
	if (r == -ENOENT && name)
		return log_message(MESSAGE_DEFINITION_BAD, LOG_ERR, -EUCLEAN,
				   "there is no definition of %s: make /etc/ublk/%s.conf, see "
				   "ublk.conf(5)",
				   name, name);
	if (r == -ERFKILL)
		return log_message(
			MESSAGE_DEFINITION_BAD, LOG_ERR, -EUCLEAN,
			"the definition of %s is masked: an empty file or a link to /dev/null "
			"stands for it",
			name ?: path);
	if (diag.n_errors == 0)
		log_error_errno(r, "cannot read the definition %s: %m", name ?: path);
	return r == -ENOENT ? -EUCLEAN : r;
}

int settings_load_kept(const char *name, struct device_conf **ret)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	char path[256];
	int r;

	r = device_conf_load_kept(state_definition_path(name, path, sizeof(path)), name, &diag,
				  ret);
	if (r < 0)
		return r;
	log_message(MESSAGE_OLD_DEFINITION, LOG_WARNING, 0,
		    "going on with the definition that %s had before its files were changed", name);
	return 0;
}
