/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ublkd.conf of any bytes: it is right or there is an error, and a definition that takes its
 * [Defaults] is still one, or says what is wrong with it.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/stat.h>
#include <syslog.h>

#include "conf/daemon-conf.h"
#include "conf/device-conf.h"
#include "util/parse.h"

static const char definition[] = "[Device]\nSize=1G\n[Backend]\nType=null\n";

/* What the search path leads to. */
static const char *daemon_file(void)
{
	static char file[300], dirs[300];

	if (!file[0]) {
		snprintf(file, sizeof(file), "%s/ublkd.conf", fuzz_dir());
		snprintf(dirs, sizeof(dirs), "%s/ublk", fuzz_dir());
		CHECK(mkdir(dirs, 0700) == 0);
		CHECK(setenv("UBLKD_CONFIG_PATH", dirs, 1) == 0);
	}
	return file;
}

static void check_definition(bool defaults_are_right)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *c = NULL;
	const char *path = fuzz_memory_file(definition, sizeof(definition) - 1);
	int r = device_conf_load_file(path, "fuzz", &diag, &c);

	CHECK(r == 0 || diag.n_errors > 0);
	CHECK((r == 0) == (c != NULL));
	CHECK(r < 0 || defaults_are_right);
	fuzz_check_messages(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct daemon_conf c;
	int r;

	fuzz_write(daemon_file(), data, size);
	r = daemon_conf_load(&diag, &c);
	CHECK(r == 0 || diag.n_errors > 0);
	fuzz_check_messages(&diag);
	if (r == 0) {
		CHECK(c.log_level >= LOG_ERR && c.log_level <= LOG_DEBUG);
		CHECK(c.slow_request_ns >= NS_PER_S && c.slow_request_ns <= 86400 * NS_PER_S);
		CHECK(c.manager_threads <= 64);
	}
	check_definition(r == 0);
	return 0;
}
