/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/apply.h"

#include "golden.h"
#include "tree-fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void put_dir(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static int setup(void **state)
{
	strcpy(root, "/tmp/test-apply.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static struct device_conf *conf(const char *more)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct device_conf *c = NULL;
	char path[256], text[512];

	snprintf(text, sizeof(text), "[Device]\nSize=1M\n[Backend]\nType=%s\n%s",
		 strstr(more, "# memory") ? "memory" : "null", more);
	put_file("data.conf", text);
	snprintf(path, sizeof(path), "%s/data.conf", root);
	assert_int_equal(device_conf_load_file(path, NULL, &diag, &c), 0);
	return c;
}

/* An active device, from one definition to another; NULL: there is none. */
static struct apply_facts running(const char *kept, const char *now)
{
	return (struct apply_facts){
		.name = "data",
		.definition = now ? DEFINITION_GOOD : DEFINITION_NONE,
		.conf = now ? conf(now) : NULL,
		.kept = conf(kept),
		.has_device = true,
		.has_server = true,
		.unit = SYSTEMD_UNIT_ACTIVE,
		.manager = SYSTEMD_UNIT_INACTIVE,
	};
}

static void assert_decision(struct apply_facts f, const char *want)
{
	struct apply_decision d;
	char text[APPLY_REASON_BYTES + 64];

	assert_int_equal(apply_decide(&f, &d), 0);
	snprintf(text, sizeof(text), "%s: %s", apply_action_to_string(d.action), d.reason);
	assert_string_equal(text, want);
	device_conf_free((struct device_conf *)f.conf);
	device_conf_free(f.kept);
}

static void test_changes(void **state)
{
	struct apply_facts f;

	assert_decision(running("", ""), "nothing: as defined");
	assert_decision(running("", "[Limits]\nReadIOPS=5\n"), "reload: changed: ReadIOPS=");
	assert_decision(running("", "[Fault]\nSeed=5\n[Limits]\nReadIOPS=5\n"),
			"restart: changed: [Fault], ReadIOPS=");
	assert_decision(running("", "[Queues]\nDepth=8\n"), "stop-start: changed: Depth=");
	assert_decision(running("", "# memory\n"), "stop-start: changed: [Backend] Type=");
	/* what nobody uses may have contents all the same */
	assert_decision(running("# memory\n", "# memory\n[Queues]\nDepth=8\n"),
			"refused: changed: Depth=, and its contents would be lost: stop and start "
			"it by hand");
	f = running("", "[Queues]\nDepth=8\n");
	f.users = "mounted on /srv";
	assert_decision(f, "refused: changed: Depth=, and it is in use: mounted on /srv; "
			   "ublkctl stop data takes that down");
	/* a reload or a restart needs nobody to let go */
	f = running("", "[Limits]\nReadIOPS=5\n");
	f.users = "mounted on /srv";
	assert_decision(f, "reload: changed: ReadIOPS=");
}

static void test_manager(void **state)
{
	struct apply_facts f = running("[Boot]\nManager=yes\n", "[Boot]\nManager=yes\n");
	struct apply_decision d;

	f.unit = SYSTEMD_UNIT_INACTIVE;
	f.manager = SYSTEMD_UNIT_ACTIVE;
	assert_int_equal(apply_decide(&f, &d), 0);
	assert_true(d.was_managed && d.is_managed);
	assert_decision(f, "nothing: as defined");
	assert_decision(running("", "[Boot]\nManager=yes\n"), "stop-start: changed: Manager=");
	f = running("[Boot]\nManager=yes\n", "[Boot]\nManager=yes\n[Queues]\nDepth=8\n");
	f.manager = SYSTEMD_UNIT_ACTIVE;
	assert_decision(f, "refused: changed: Depth=; the manager takes that if its definition is "
			   "away for one reload");
	f = running("[Boot]\nManager=yes\n", NULL);
	f.unit = SYSTEMD_UNIT_INACTIVE;
	f.manager = SYSTEMD_UNIT_ACTIVE;
	assert_decision(f, "stop: its definition is gone");
}

static void test_gone(void **state)
{
	struct apply_facts f = running("", NULL);

	f.users = "open in dd (pid 8)";
	assert_decision(f, "refused: its definition is gone, and it is in use: open in dd (pid 8); "
			   "ublkctl stop data takes that down");
	f = running("", NULL);
	f.definition = DEFINITION_MASKED;
	assert_decision(f, "stop: its definition is masked");
	f = running("", NULL);
	f.unit = SYSTEMD_UNIT_INACTIVE;
	assert_decision(f,
			"refused: its definition is gone, and no service has it: see ublkctl gc");
	f = running("", NULL);
	f.definition = DEFINITION_INVALID;
	assert_decision(f, "refused: its definition has errors: ublkctl check data");
}

static void test_not_running(void **state)
{
	struct apply_facts f = running("", "");

	f.has_server = false;
	f.unit = SYSTEMD_UNIT_FAILED;
	assert_decision(f, "start: it has lost its server");
	f = running("", "");
	f.has_server = f.has_device = false;
	f.unit = SYSTEMD_UNIT_INACTIVE;
	assert_decision(f, "start: it does not run");
	f = running("", "[Boot]\nAutostart=no\n");
	f.has_server = f.has_device = false;
	f.unit = SYSTEMD_UNIT_INACTIVE;
	assert_decision(f, "nothing: it does not run, and Autostart=no");
	f = running("", "");
	f.has_server = f.has_device = false;
	f.unit = SYSTEMD_UNIT_ACTIVATING;
	assert_decision(f, "nothing: its service is activating");
	f = running("", "[Queues]\nDepth=8\n");
	f.unit = SYSTEMD_UNIT_INACTIVE;
	assert_decision(f, "nothing: it is served by hand");
}

static void test_daemon_reload(void **state)
{
	const struct timespec tick = {.tv_nsec = 20 * 1000 * 1000};
	char search[256], generator[256];

	snprintf(search, sizeof(search), "%s/ublk:%s/none", root, root);
	snprintf(generator, sizeof(generator), "%s/generator", root);
	put_dir("ublk");
	put_dir("ublk/a.conf.d");
	put_file("ublk/a.conf", "");
	put_file("ublk/a.conf.d/1.conf", "");
	put_dir("ublkd.conf.d");
	put_file("ublkd.conf", "");
	assert_true(apply_needs_daemon_reload(search, generator));
	nanosleep(&tick, NULL);
	put_dir("generator");
	assert_false(apply_needs_daemon_reload(search, generator));
	for (int i = 0; i < 4; i++) {
		static const char *const files[] = {"ublk/a.conf", "ublk/a.conf.d/1.conf",
						    "ublkd.conf", "ublkd.conf.d/2.conf"};

		nanosleep(&tick, NULL);
		put_file(files[i], "x");
		assert_true(apply_needs_daemon_reload(search, generator));
		nanosleep(&tick, NULL);
		put_file("generator/unit", "");
		remove(strcat(strcpy((char[256]){0}, generator), "/unit"));
		assert_false(apply_needs_daemon_reload(search, generator));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_manager, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_running, setup, teardown),
		cmocka_unit_test_setup_teardown(test_daemon_reload, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
