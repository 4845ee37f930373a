/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every finding of ublkctl doctor, provoked in a made-up root directory. */
#include "cli/doctor.h"

#include "golden.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/backend-conf.h"
#include "conf/diag.h"

static char *root;
static struct doctor doctor;
static struct survey survey;
static struct survey_device devices[3];
static struct device_conf confs[2];
static struct device_conf *conf_list[2] = {&confs[0], &confs[1]};
static struct file_conf files[2];

static int setup(void **state)
{
	char base[] = "/tmp/test-doctor.XXXXXX";

	if (!mkdtemp(base))
		return -1;
	root = strdup(base);
	memset(devices, 0, sizeof(devices));
	memset(confs, 0, sizeof(confs));
	survey = (struct survey){.devices = devices};
	doctor = (struct doctor){.root = root, .survey = &survey, .confs = conf_list};
	return root ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	doctor_deinit(&doctor);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	free(root);
	return system(command);
}

/* With the directories it is in. */
static const char *path_of(const char *path)
{
	static char full[512];

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *c = full + strlen(root) + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		mkdir(full, 0755);
		*c = '/';
	}
	return full;
}

static void put(const char *path, const char *text)
{
	AUTO_CLOSE int fd = open(path_of(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void put_link(const char *path, const char *target)
{
	assert_int_equal(symlink(target, path_of(path)), 0);
}

static void put_dir(const char *path)
{
	assert_true(mkdir(path_of(path), 0755) == 0 || errno == EEXIST);
}

static void release(const char *text)
{
	put("/proc/sys/kernel/osrelease", text);
}

/* Runs one check, anew. The worst it says. */
static enum doctor_severity run(const char *name)
{
	doctor_deinit(&doctor);
	for (size_t i = 0; i < n_doctor_checks; i++) {
		if (strcmp(doctor_checks[i].name, name) != 0)
			continue;
		doctor.check = &doctor_checks[i];
		assert_int_equal(doctor.check->run(&doctor), 0);
		for (size_t j = 0; j < doctor.n_findings; j++) {
			assert_true(strlen(doctor.findings[j].reason) > 0);
			assert_true(strlen(doctor.findings[j].remedy) > 0);
		}
		return doctor_worst(&doctor, name);
	}
	fail_msg("no check is called %s", name);
	return DOCTOR_OK;
}

static bool says(const char *text)
{
	for (size_t i = 0; i < doctor.n_findings; i++) {
		if (strstr(doctor.findings[i].reason, text) ||
		    strstr(doctor.findings[i].remedy, text))
			return true;
	}
	return false;
}

static void test_module(void **state)
{
	assert_int_equal(run("module"), DOCTOR_UNKNOWN); /* no /proc */
	release("6.1.0-31-amd64\n");
	put("/lib/modules/6.1.0-31-amd64/modules.dep", "kernel/drivers/block/loop.ko:\n");
	assert_int_equal(run("module"), DOCTOR_ERROR);
	assert_true(says("bookworm-backports"));
	release("6.8.0-45-generic\n");
	assert_int_equal(run("module"), DOCTOR_ERROR);
	assert_true(says("linux-modules-extra"));
	release("6.6.87.2-microsoft-standard-WSL2\n");
	assert_int_equal(run("module"), DOCTOR_ERROR);
	assert_true(says("WSL"));
	release("6.12.5\n");
	assert_int_equal(run("module"), DOCTOR_ERROR);
	put("/lib/modules/6.12.5/modules.builtin", "kernel/drivers/block/ublk_drv.ko\n");
	assert_int_equal(run("module"), DOCTOR_NOTE);
	put("/lib/modules/6.12.5/modules.builtin", "");
	put("/lib/modules/6.12.5/modules.dep", "kernel/drivers/block/ublk_drv.ko.xz:\n");
	assert_int_equal(run("module"), DOCTOR_NOTE);
	put("/proc/sys/kernel/modules_disabled", "1\n");
	assert_int_equal(run("module"), DOCTOR_ERROR);
	assert_true(says("modules_disabled"));
	put("/proc/sys/kernel/modules_disabled", "0\n");
	put("/etc/modprobe.d/local.conf", "# no\ninstall ublk_drv /bin/false\n");
	assert_int_equal(run("module"), DOCTOR_ERROR);
	assert_string_equal(doctor.findings[0].subject, "/etc/modprobe.d/local.conf");
	/* loaded at any rate */
	put_dir("/sys/module/ublk_drv");
	assert_int_equal(run("module"), DOCTOR_ERROR);
	assert_true(says("control device"));
	put("/dev/ublk-control", "");
	assert_int_equal(run("module"), DOCTOR_OK);
	chmod(path_of("/dev/ublk-control"), 0666);
	assert_int_equal(run("module"), DOCTOR_WARNING);
}

static void test_kernels_known_for_trouble(void **state)
{
	static const struct {
		const char *release;
		enum doctor_severity severity;
		const char *text;
	} cases[] = {
		{"6.17.0-23-generic", DOCTOR_NOTE, "CVE-2026-53124"},
		{"6.17.0-24-generic", DOCTOR_ERROR, "crashes the driver"},
		{"6.17.0-40-generic", DOCTOR_ERROR, "6.17.0-41"},
		{"6.17.0-41-generic", DOCTOR_NOTE, "CVE-2026-53124"},
		{"6.17.0-30-lowlatency", DOCTOR_NOTE, "CVE-2026-53124"},
		{"6.17.0-1019-aws", DOCTOR_ERROR, "6.17.0-1020-aws"},
		{"6.17.0-1020-aws", DOCTOR_NOTE, "CVE-2026-53124"},
		{"6.17.0-1014-azure", DOCTOR_ERROR, "6.17.0-1021-azure"},
		{"6.17.0-1021-azure", DOCTOR_NOTE, "CVE-2026-53124"},
		{"6.18.3", DOCTOR_NOTE, "CVE-2026-53124"},
		{"6.18.4", DOCTOR_ERROR, "6.18.6"},
		{"6.18.5-arch1-1", DOCTOR_ERROR, "6.18.6"},
		{"6.18.6", DOCTOR_NOTE, "CVE-2026-53124"},
		{"6.18.40", DOCTOR_WARNING, "hang"},
		{"6.8.0-45-generic", DOCTOR_WARNING, "CVE-2025-37906"},
		{"6.1.0-31-amd64", DOCTOR_WARNING, "6.12"},
		{"6.12.107+deb13-amd64", DOCTOR_NOTE, "taken over"},
		{"7.0.0-28-generic", DOCTOR_WARNING, "hang"},
		{"7.0.14", DOCTOR_WARNING, "hang"},
		{"7.0.9", DOCTOR_NOTE, "CVE-2026-53124"},
		{"7.0.10", DOCTOR_OK, NULL},
		{"7.3.4+deb13-cloud-amd64", DOCTOR_OK, NULL},
		{"7.3-rc5", DOCTOR_OK, NULL},
		{"nonsense", DOCTOR_UNKNOWN, "/proc"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		release(cases[i].release);
		if (run("kernel") != cases[i].severity)
			fail_msg("%s: severity %d", cases[i].release, doctor_worst(&doctor, NULL));
		if (cases[i].text && !says(cases[i].text))
			fail_msg("%s: does not say %s", cases[i].release, cases[i].text);
	}
	release("7.3.4");
	put("/proc/sys/kernel/panic_on_warn", "1\n");
	assert_int_equal(run("kernel"), DOCTOR_WARNING);
}

static void test_io_uring(void **state)
{
	assert_int_equal(run("io_uring"), DOCTOR_OK);
	put("/proc/sys/kernel/io_uring_disabled", "0\n");
	assert_int_equal(run("io_uring"), DOCTOR_OK);
	put("/proc/sys/kernel/io_uring_disabled", "1\n");
	assert_int_equal(run("io_uring"), DOCTOR_NOTE);
	put("/proc/sys/kernel/io_uring_disabled", "2\n");
	assert_int_equal(run("io_uring"), DOCTOR_ERROR);
}

static void test_ublks_max(void **state)
{
	assert_int_equal(run("ublks_max"), DOCTOR_OK);
	release("6.12.5");
	put("/sys/module/ublk_drv/parameters/ublks_max", "64\n");
	assert_int_equal(run("ublks_max"), DOCTOR_OK);
	doctor.n_confs = 51;
	assert_int_equal(run("ublks_max"), DOCTOR_OK);
	doctor.n_confs = 52;
	assert_int_equal(run("ublks_max"), DOCTOR_WARNING);
	doctor.n_confs = 63;
	devices[0].has_dev = devices[1].has_dev = true;
	devices[1].conf = &confs[0]; /* counted already */
	survey.n = 2;
	assert_int_equal(run("ublks_max"), DOCTOR_WARNING);
	doctor.n_confs = 64;
	assert_int_equal(run("ublks_max"), DOCTOR_ERROR);
	release("6.15.0");
	assert_int_equal(run("ublks_max"), DOCTOR_NOTE);
	doctor.n_confs = 0;
}

static void test_systemd(void **state)
{
	assert_int_equal(run("systemd"), DOCTOR_NOTE); /* none */
	put_dir("/run/systemd/system");
	assert_int_equal(run("systemd"), DOCTOR_UNKNOWN);
	put("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so", "");
	assert_int_equal(run("systemd"), DOCTOR_OK);
	assert_int_equal(
		unlink(path_of("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so")), 0);
	put("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", "");
	assert_int_equal(run("systemd"), DOCTOR_NOTE);
	assert_int_equal(doctor.n_findings, 2);
	assert_int_equal(
		unlink(path_of("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so")), 0);
	put("/usr/lib/systemd/libsystemd-shared-249.11-0ubuntu3.so", "");
	assert_int_equal(run("systemd"), DOCTOR_ERROR);
}

static void test_udev(void **state)
{
	assert_int_equal(run("udev"), DOCTOR_ERROR);
	assert_true(says("not installed"));
	put("/usr/lib/udev/rules.d/61-ublk.rules", "# rule\n");
	assert_int_equal(run("udev"), DOCTOR_OK);
	put_link("/etc/udev/rules.d/61-ublk.rules", "/dev/null");
	assert_int_equal(run("udev"), DOCTOR_ERROR);
	assert_true(says("masks"));
	assert_int_equal(unlink(path_of("/etc/udev/rules.d/61-ublk.rules")), 0);
	put("/etc/udev/rules.d/61-ublk.rules", "");
	assert_int_equal(run("udev"), DOCTOR_ERROR);
	put("/etc/udev/rules.d/61-ublk.rules", "# my own\n");
	/* a device */
	survey.n = 1;
	devices[0] = (struct survey_device){.name = (char *)"data",
					    .has_dev = true,
					    .has_disk = true,
					    .has_state = true,
					    .dev_id = 5};
	assert_int_equal(run("udev"), DOCTOR_ERROR);
	assert_true(says("/dev/ublk/data is not"));
	put_link("/dev/ublk/data", "../ublkb4");
	assert_int_equal(run("udev"), DOCTOR_ERROR);
	assert_true(says("does not lead"));
	devices[0].dev_id = 4;
	assert_int_equal(run("udev"), DOCTOR_OK);
}

static void test_limits(void **state)
{
	survey.n = 2;
	for (unsigned i = 0; i < 2; i++)
		devices[i] = (struct survey_device){.name = (char *)(i ? "b" : "a"), .owner = 77};
	assert_int_equal(run("limits"), DOCTOR_OK); /* it has ended */
	put("/proc/77/limits", "Limit            Soft Limit   Hard Limit   Units\n"
			       "Max locked memory      8388608      8388608      bytes\n"
			       "Max open files         10           4096         files\n");
	put("/proc/77/status", "Name:\tublkd\nVmLck:\t    4096 kB\n");
	for (unsigned i = 0; i < 7; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/77/fd/%u", i);
		put(path, "");
	}
	assert_int_equal(run("limits"), DOCTOR_OK);
	put("/proc/77/fd/7", "");
	assert_int_equal(run("limits"), DOCTOR_WARNING);
	assert_int_equal(doctor.n_findings, 1); /* once for a manager */
	assert_true(says("8 of 10"));
	put("/proc/77/status", "Name:\tublkd\nVmLck:\t       0 kB\n");
	assert_int_equal(run("limits"), DOCTOR_WARNING);
	assert_int_equal(doctor.n_findings, 2);
	assert_true(says("LimitMEMLOCK"));
}

static void test_orphans(void **state)
{
	survey.n = 3;
	devices[0] = (struct survey_device){
		.name = (char *)"served", .has_dev = true, .info.state = DEV_QUIESCED, .owner = 5};
	devices[1] = (struct survey_device){
		.name = (char *)"live", .has_dev = true, .dev_id = 1, .info.state = DEV_LIVE};
	assert_int_equal(run("orphans"), DOCTOR_OK);
	devices[0].owner = 0;
	devices[2] = (struct survey_device){
		.has_dev = true, .dev_id = 9, .info.state = DEV_DEAD, .owner_error = -ENODATA};
	assert_int_equal(run("orphans"), DOCTOR_WARNING);
	assert_int_equal(doctor.n_findings, 2);
	assert_true(says("ublk@served.service"));
	assert_true(says("gc --force ublkb9"));
	survey.ctrl_error = -EACCES;
	assert_int_equal(run("orphans"), DOCTOR_UNKNOWN);
	assert_true(says("as root"));
	survey.ctrl_error = -ENOTSUP;
	assert_int_equal(run("orphans"), DOCTOR_UNKNOWN);
	doctor.survey = NULL;
	assert_int_equal(run("orphans"), DOCTOR_UNKNOWN);
}

static void define(unsigned i, const char *name, const char *path)
{
	files[i] = (struct file_conf){.path = (char *)path};
	confs[i] = (struct device_conf){
		.name = (char *)name, .backend_type = &file_conf_type, .backend = &files[i]};
	doctor.n_confs = i + 1;
}

static void test_definitions(void **state)
{
	struct conf_place place = {.file = "/etc/ublk/a.conf", .line = 3};
	struct conf_diag diag = {0};

	doctor.diag = &diag;
	assert_int_equal(run("definitions"), DOCTOR_OK);
	conf_warning(&diag, &place, "odd");
	assert_int_equal(run("definitions"), DOCTOR_WARNING);
	conf_error(&diag, &place, "wrong");
	assert_int_equal(run("definitions"), DOCTOR_ERROR);
	assert_true(says("/etc/ublk/a.conf:3"));
	conf_diag_deinit(&diag);
	define(0, "data", "/srv/data.img");
	assert_int_equal(run("definitions"), DOCTOR_WARNING);
	assert_true(says("/srv/data.img is not there"));
	files[0].create = FILE_CREATE_SPARSE;
	assert_int_equal(run("definitions"), DOCTOR_OK);
	files[0].create = FILE_CREATE_NO;
	put("/srv/data.img", "");
	assert_int_equal(run("definitions"), DOCTOR_OK);
}

static void test_backing_in_use_elsewhere(void **state)
{
	define(0, "data", "/srv/data.img");
	define(1, "disk", "/dev/mapper/disk");
	assert_int_equal(run("backing"), DOCTOR_OK);
	put("/sys/class/block/loop3/loop/backing_file", "/srv/data.img\n");
	assert_int_equal(run("backing"), DOCTOR_ERROR);
	assert_true(says("loop3"));
	put("/sys/class/block/loop3/loop/backing_file", "/srv/other.img\n");
	put("/dev/dm-1", "");
	put_link("/dev/mapper/disk", "../dm-1");
	put_dir("/sys/class/block/dm-1/holders/");
	put("/proc/swaps", "Filename Type Size Used Priority\n/dev/dm-11 partition 1 0 -2\n");
	put("/proc/self/mountinfo", "30 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
				    "31 1 253:2 / /mnt rw shared:2 - ext4 /dev/dm-12 rw\n");
	assert_int_equal(run("backing"), DOCTOR_OK);
	put("/proc/swaps", "Filename Type Size Used Priority\n/dev/dm-1 partition 1 0 -2\n");
	assert_int_equal(run("backing"), DOCTOR_ERROR);
	assert_true(says("swap"));
	put("/proc/swaps", "");
	put("/proc/self/mountinfo", "31 1 253:2 / /mnt rw shared:2 - ext4 /dev/mapper/disk rw\n");
	assert_int_equal(run("backing"), DOCTOR_ERROR);
	assert_true(says("mounted on /mnt"));
	put("/proc/self/mountinfo", "31 1 253:2 / /part rw shared:2 - ext4 /dev/dm-1p2 rw\n");
	assert_int_equal(run("backing"), DOCTOR_ERROR);
	assert_true(says("mounted on /part"));
	put("/proc/self/mountinfo", "");
	put("/sys/class/block/dm-1/holders/md0", "");
	assert_int_equal(run("backing"), DOCTOR_ERROR);
	assert_true(says("used by md0"));
	assert_int_equal(unlink(path_of("/sys/class/block/dm-1/holders/md0")), 0);
	/* the server of a definition that has been changed since */
	survey.n = 1;
	devices[0] = (struct survey_device){.name = (char *)"old",
					    .has_state = true,
					    .owner = 9,
					    .state.target = (char *)"/srv/data.img"};
	assert_int_equal(run("backing"), DOCTOR_ERROR);
	assert_true(says("server of old"));
	devices[0].name = (char *)"data";
	assert_int_equal(run("backing"), DOCTOR_OK);
}

static void test_exit_status_and_json(void **state)
{
	struct json_object *o, *checks, *findings;

	assert_int_equal(doctor_exit_status(DOCTOR_OK), 0);
	assert_int_equal(doctor_exit_status(DOCTOR_NOTE), 0);
	assert_int_equal(doctor_exit_status(DOCTOR_WARNING), 1);
	assert_int_equal(doctor_exit_status(DOCTOR_ERROR), 2);
	assert_int_equal(doctor_exit_status(DOCTOR_UNKNOWN), 3);
	release("7.3.4");
	put("/proc/sys/kernel/io_uring_disabled", "2\n");
	assert_int_equal(doctor_run(&doctor), 0);
	assert_int_equal(doctor_worst(&doctor, NULL), DOCTOR_ERROR);
	assert_int_equal(doctor_worst(&doctor, "kernel"), DOCTOR_OK);
	o = doctor_json(&doctor);
	assert_string_equal(json_object_get_string(json_object_object_get(o, "severity")), "error");
	checks = json_object_object_get(o, "checks");
	findings = json_object_object_get(o, "findings");
	assert_int_equal(json_object_array_length(checks), n_doctor_checks);
	assert_int_equal(json_object_array_length(findings), doctor.n_findings);
	json_object_put(o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_module),
		TEST(test_kernels_known_for_trouble),
		TEST(test_io_uring),
		TEST(test_ublks_max),
		TEST(test_systemd),
		TEST(test_udev),
		TEST(test_limits),
		TEST(test_orphans),
		TEST(test_definitions),
		TEST(test_backing_in_use_elsewhere),
		TEST(test_exit_status_and_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
