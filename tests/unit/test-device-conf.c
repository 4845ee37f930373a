/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole definitions: values, files and their precedence. Runs in tests/unit/data. */
#include "conf-helper.h"

#include <dirent.h>
#include <syslog.h>

#include "conf/daemon-conf.h"
#include "conf/device-conf.h"
#include "conf/search.h"

static char *tree; /* with etc/ublk, run/ublk and usr/ublk */

static int setup_tree(void **state)
{
	char path[512];

	tree = make_dir();
	snprintf(path, sizeof(path), "%s/etc/ublk:%s/run/ublk/:%s/usr/ublk", tree, tree, tree);
	return setenv("UBLKD_CONFIG_PATH", path, 1);
}

static int remove_tree(void **state)
{
	remove_dir(TAKE_PTR(tree));
	return 0;
}

/* Expects a result and messages; NULL unless it is 0. */
static struct device_conf *load(const char *name, int expected_r, const char *expected)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct device_conf *c = NULL;

	assert_int_equal(device_conf_load(name, &diag, &c), expected_r);
	assert_diag(&diag, tree, expected);
	assert_true((expected_r == 0) == (c != NULL));
	assert_true(expected_r != -EUCLEAN || diag.n_errors > 0);
	return c;
}

static void test_defaults_are_those_of_the_man_page(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;
	const struct file_conf *file;

	write_file(tree, "etc/ublk/vm-1.conf", "[Backend]\nType=file\nPath=/srv/x\n");
	c = load("vm-1", 0, "");
	assert_string_equal(c->name, "vm-1");
	assert_string_equal(c->path + strlen(tree), "/etc/ublk/vm-1.conf");
	assert_null(c->description);
	assert_int_equal(c->size_bytes, 0);
	assert_int_equal(c->logical_block_bytes, 0);
	assert_false(c->read_only);
	assert_false(c->rotational);
	assert_null(c->serial);
	assert_int_equal(c->n_queues, 0);
	assert_int_equal(c->depth, 128);
	assert_int_equal(c->max_io_bytes, 0);
	assert_int_equal(c->copy_mode, COPY_MODE_AUTO);
	assert_int_equal(c->batch_io, BATCH_IO_AUTO);
	assert_int_equal(c->buffer_memory_bytes, 1 << 30);
	assert_int_equal(c->poll_us, 0);
	assert_int_equal(c->recovery_mode, RECOVERY_REISSUE);
	assert_int_equal(c->give_up, GIVE_UP_KEEP);
	assert_int_equal(c->rates.read_bytes, 0);
	assert_int_equal(c->rates.write_bytes, 0);
	assert_int_equal(c->rates.read_iops, 0);
	assert_int_equal(c->rates.write_iops, 0);
	assert_false(c->manager);
	assert_null(c->fault);
	assert_true(c->autostart);
	assert_int_equal(c->boot_options, 0);
	assert_true(c->watch);
	assert_null(c->owner);
	assert_null(c->group);
	assert_int_equal(c->mode, UINT32_MAX);
	assert_ptr_equal(c->backend_type, &file_conf_type);
	file = c->backend;
	assert_string_equal(file->path, "/srv/x");
	assert_int_equal(file->create, FILE_CREATE_NO);
	assert_int_equal(file->direct_io, DIRECT_IO_AUTO);
}

static void test_every_key_arrives(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;
	const struct file_conf *file;

	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nDescription=Project \xc3\xa4; #1\nSize=100G\nLogicalBlockSize=4096\n"
		   "ReadOnly=no\nRotational=yes\nSerial=data-0001\n"
		   "[Backend]\nType=file\nPath=/srv//a b;c.img\nCreate=sparse\nDirectIO=on\n"
		   "[Queues]\nCount=4096\nDepth=1\nMaxIO=32M\nCopyMode=copy\nBatchIO=no\n"
		   "BufferMemory=1M\nPollMicroseconds=10000\n"
		   "[Recovery]\nMode=queue\nOnGiveUp=fail\n"
		   "[Limits]\nReadBandwidth=100M\nWriteBandwidth=4K\nReadIOPS=5000\n"
		   "WriteIOPS=1\n"
		   "[Boot]\nAutostart=no\nManager=yes\n"
		   "Options=nofail _netdev noauto x-initrd.attach\n"
		   "[Udev]\nWatch=no\nOwner=_svc\nGroup=disk\nMode=0640\n");
	c = load("a", 0, "");
	assert_string_equal(c->description, "Project \xc3\xa4; #1");
	assert_int_equal(c->size_bytes, 100ULL << 30);
	assert_int_equal(c->logical_block_bytes, 4096);
	assert_true(c->rotational);
	assert_string_equal(c->serial, "data-0001");
	assert_int_equal(c->n_queues, 4096);
	assert_int_equal(c->depth, 1);
	assert_int_equal(c->max_io_bytes, 32 << 20);
	assert_int_equal(c->copy_mode, COPY_MODE_COPY);
	assert_int_equal(c->batch_io, BATCH_IO_NO);
	assert_int_equal(c->buffer_memory_bytes, 1 << 20);
	assert_int_equal(c->poll_us, 10000);
	assert_int_equal(c->recovery_mode, RECOVERY_QUEUE);
	assert_int_equal(c->give_up, GIVE_UP_FAIL);
	assert_int_equal(c->rates.read_bytes, 100 << 20);
	assert_int_equal(c->rates.write_bytes, 4096);
	assert_int_equal(c->rates.read_iops, 5000);
	assert_int_equal(c->rates.write_iops, 1);
	assert_true(c->manager);
	assert_false(c->autostart);
	assert_int_equal(c->boot_options, BOOT_NOFAIL | BOOT_NETDEV | BOOT_NOAUTO | BOOT_INITRD);
	assert_false(c->watch);
	assert_string_equal(c->owner, "_svc");
	assert_string_equal(c->group, "disk");
	assert_int_equal(c->mode, 0640);
	file = c->backend;
	assert_string_equal(file->path, "/srv/a b;c.img");
	assert_int_equal(file->create, FILE_CREATE_SPARSE);
	assert_int_equal(file->direct_io, DIRECT_IO_YES);
}

static void test_faults_are_loud(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;
	static const char warning[] =
		"/etc/ublk/a.conf:5: [Fault] warning: this device fails on purpose, and may lose "
		"what is written to it\n";

	write_file(tree, "etc/ublk/a.conf", "[Device]\nSize=1G\n[Backend]\nType=null\n[Fault]\n");
	c = load("a", 0, warning);
	assert_int_equal(c->fault->seed, 1);
	assert_int_equal(c->fault->read_errors_ppm, 0);
	assert_int_equal(c->fault->write_errors_ppm, 0);
	assert_int_equal(c->fault->flush_errors_ppm, 0);
	assert_int_equal(c->fault->discard_errors_ppm, 0);
	assert_int_equal(c->fault->error, EIO);
	assert_int_equal(c->fault->latency_ns, 0);
	assert_int_equal(c->fault->jitter_ns, 0);
	assert_int_equal(c->fault->short_ppm, 0);
	assert_null(c->fault->hang_while);
	assert_false(c->fault->lying_flush);
	assert_false(c->fault->power_cut);
	device_conf_free(TAKE_PTR(c));

	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nSize=1G\n[Backend]\nType=null\n[Fault]\nSeed=18446744073709551615\n"
		   "ReadErrors=0.1%\nWriteErrors=1%\nFlushErrors=10%\nDiscardErrors=100%\n"
		   "Error=EILSEQ\nLatency=2ms\nLatencyJitter=500us\nShortTransfers=0.0001%\n"
		   "HangWhile=/run/hang\nLyingFlush=yes\nPowerCut=yes\n");
	c = load("a", 0, warning);
	assert_int_equal(c->fault->seed, UINT64_MAX);
	assert_int_equal(c->fault->read_errors_ppm, 1000);
	assert_int_equal(c->fault->write_errors_ppm, 10000);
	assert_int_equal(c->fault->flush_errors_ppm, 100000);
	assert_int_equal(c->fault->discard_errors_ppm, 1000000);
	assert_int_equal(c->fault->error, EILSEQ);
	assert_int_equal(c->fault->latency_ns, 2000000);
	assert_int_equal(c->fault->jitter_ns, 500000);
	assert_int_equal(c->fault->short_ppm, 1);
	assert_string_equal(c->fault->hang_while, "/run/hang");
	assert_true(c->fault->lying_flush);
	assert_true(c->fault->power_cut);
}

static void test_higher_tree_has_the_main_file(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;

	write_file(tree, "usr/ublk/a.conf", "[Device]\nSize=1G\n[Backend]\nType=null\nBad=1\n");
	write_file(tree, "run/ublk/a.conf", "[Device]\nSize=2G\n[Backend]\nType=null\n");
	c = load("a", 0, "");
	assert_int_equal(c->size_bytes, 2ULL << 30);
	device_conf_free(TAKE_PTR(c));
	write_file(tree, "etc/ublk/a.conf", "[Device]\nSize=3G\n[Backend]\nType=null\n");
	c = load("a", 0, "");
	assert_int_equal(c->size_bytes, 3ULL << 30);
}

static void test_drop_ins_merge_in_the_order_of_their_names(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;

	write_file(tree, "usr/ublk/a.conf", "[Device]\nSize=1G\nSerial=x\n[Backend]\nType=null\n");
	write_file(tree, "etc/ublk/a.conf.d/20.conf", "[Device]\nSize=2G\n[Queues]\nDepth=20\n");
	write_file(tree, "usr/ublk/a.conf.d/30.conf", "[Device]\nSize=3G\n");
	write_file(tree, "run/ublk/a.conf.d/10.conf", "[Device]\nSize=4G\n[Queues]\nDepth=10\n");
	/* Hidden by the same base name above, or no drop-ins at all. */
	write_file(tree, "run/ublk/a.conf.d/20.conf", "[Device]\nSerial=hidden\n");
	write_file(tree, "usr/ublk/a.conf.d/90.conf", "[Device]\nSerial=hidden\n");
	link_file(tree, "run/ublk/a.conf.d/90.conf", "/dev/null");
	write_file(tree, "usr/ublk/a.conf.d/91.conf", "[Device]\nSerial=hidden\n");
	write_file(tree, "etc/ublk/a.conf.d/91.conf", "");
	write_file(tree, "etc/ublk/a.conf.d/.92.conf", "[Device]\nSerial=hidden\n");
	write_file(tree, "etc/ublk/a.conf.d/93.conf~", "[Device]\nSerial=hidden\n");
	c = load("a", 0, "");
	assert_int_equal(c->size_bytes, 3ULL << 30);
	assert_int_equal(c->depth, 20);
	assert_string_equal(c->serial, "x");
}

static void test_drop_in_repairs_and_resets(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;

	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nSize=banana\nSerial=x\n[Backend]\nType=nbd\n[Queues]\nDepth=9999\n");
	write_file(tree, "etc/ublk/a.conf.d/x.conf",
		   "[Device]\nSize=1G\nSerial=\n[Backend]\nType=null\n[Queues]\nDepth=\n");
	c = load("a", 0, "");
	assert_int_equal(c->size_bytes, 1ULL << 30);
	assert_null(c->serial);
	assert_int_equal(c->depth, 128);
	device_conf_free(TAKE_PTR(c));

	/* What it cannot repair is a name that nobody knows. */
	write_file(tree, "etc/ublk/a.conf.d/y.conf", "[Device]\nSize=7\n[Queues]\nDeph=1\n");
	load("a", -EUCLEAN,
	     "/etc/ublk/a.conf.d/y.conf:2: [Device] Size=: 7 is below 512\n"
	     "/etc/ublk/a.conf.d/y.conf:4: [Queues] Deph=: unknown key, did you mean Depth=?\n");
}

static void test_drop_ins_alone_are_a_definition(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;

	write_file(tree, "usr/ublk/a.conf.d/x.conf", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	c = load("a", 0, "");
	assert_null(c->path);
	device_conf_free(TAKE_PTR(c));
	write_file(tree, "etc/ublk/a.conf.d/x.conf", "");
	load("a", -ENOENT, "");
}

static void test_masks_and_missing_files(void **state)
{
	load("a", -ENOENT, "");
	write_file(tree, "usr/ublk/a.conf", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	link_file(tree, "etc/ublk/a.conf", "/dev/null");
	load("a", -ERFKILL, "");
	write_file(tree, "etc/ublk/a.conf.d/x.conf", "[Queues]\nDepth=1\n");
	load("a", -ERFKILL, "");
	write_file(tree, "usr/ublk/b.conf", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	write_file(tree, "run/ublk/b.conf", "");
	load("b", -ERFKILL, "");
	link_file(tree, "etc/ublk/c.conf", "nowhere");
	load("c", -EUCLEAN, "/etc/ublk/c.conf: cannot be read: No such file or directory\n");
	link_file(tree, "etc/ublk/z.conf", "/dev/zero");
	load("z", -ENOTSUP, "/etc/ublk/z.conf: is not a regular file\n");
	write_file(tree, "etc/ublk/d.conf/x", "");
	load("d", -EISDIR, "/etc/ublk/d.conf: cannot be read: Is a directory\n");
}

static void test_names_of_devices(void **state)
{
	static const char *const good[] = {"a", "0", "data", "vm-1_2.x", "a.conf", "a..b"};
	static const char *const bad[] = {"",  "udev", ".a",  "-a",       "_a",
					  "A", "a/b",  "a b", "\xc3\xa4", "a@b"};
	char name[DEVICE_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(device_name_is_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(device_name_is_valid(bad[i]));
	memset(name, 'a', sizeof(name));
	name[DEVICE_NAME_MAX + 1] = '\0';
	assert_false(device_name_is_valid(name));
	name[DEVICE_NAME_MAX] = '\0';
	assert_true(device_name_is_valid(name));
	load("../a", -EUCLEAN, "\"../a\" is no name for a device\n");
}

static void test_list_has_each_name_once(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_strv_free) char **names = NULL;

	assert_int_equal(device_conf_list(&diag, &names), 0);
	assert_null(names[0]);
	conf_strv_free(TAKE_PTR(names));

	write_file(tree, "usr/ublk/b.conf", "x");
	write_file(tree, "etc/ublk/b.conf", "x");
	link_file(tree, "run/ublk/a.conf", "/dev/null");
	write_file(tree, "etc/ublk/c.conf.d/x.conf", "x");
	write_file(tree, "etc/ublk/README", "x");
	write_file(tree, "etc/ublk/.d.conf", "x");
	write_file(tree, "etc/ublk/Bad.conf", "x");
	assert_int_equal(device_conf_list(&diag, &names), 0);
	assert_string_equal(names[0], "a");
	assert_string_equal(names[1], "b");
	assert_string_equal(names[2], "c");
	assert_null(names[3]);
	assert_diag(&diag, tree,
		    "/etc/ublk/Bad.conf: \"Bad\" is no name for a device (lower-case letters, "
		    "digits, and _ . - behind the first, up to 63)\n");
}

static void test_defaults_stand_below_definitions(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;

	write_file(tree, "etc/ublkd.conf",
		   "[Defaults]\nDepth=32\nWatch=no\nMaxIO=1M\nGroup=ublk\n"
		   "Mode=0600\nRecoveryMode=none\nManager=yes\nOnGiveUp=fail\nReadIOPS=7\n"
		   "WriteBandwidth=1M\n[Log]\nLevel=debug\n");
	write_file(tree, "usr/ublkd.conf.d/x.conf", "[Defaults]\nMaxIO=64K\n");
	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nSize=1G\n[Backend]\nType=null\n[Queues]\nDepth=8\nMaxIO=\n"
		   "[Limits]\nWriteBandwidth=0\n");
	c = load("a", 0, "");
	assert_int_equal(c->recovery_mode, RECOVERY_NONE);
	assert_int_equal(c->mode, 0600);
	assert_true(c->manager);
	assert_int_equal(c->give_up, GIVE_UP_FAIL);
	assert_int_equal(c->rates.read_iops, 7);
	assert_int_equal(c->rates.write_bytes, 0);
	assert_int_equal(c->depth, 8);
	assert_int_equal(c->max_io_bytes, 64 << 10);
	assert_false(c->watch);
	assert_string_equal(c->group, "ublk");
}

static void test_bad_defaults_are_named_once(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct device_conf *c = NULL;
	struct daemon_conf daemon;

	write_file(tree, "etc/ublkd.conf",
		   "[Defaults]\nDepth=0\nSize=1G\nDept=1\nLogicalBlockSize=1000\n[Log]\n"
		   "Level=loud\n[Manager]\nThreads=65\n");
	write_file(tree, "etc/ublk/a.conf", "[Device]\nSize=1M\n[Backend]\nType=null\n");
	write_file(tree, "etc/ublk/b.conf", "[Backend]\nType=null\n");
	assert_int_equal(daemon_conf_load(&diag, &daemon), -EUCLEAN);
	assert_int_equal(device_conf_load("a", &diag, &c), -EUCLEAN);
	assert_int_equal(device_conf_load("b", &diag, &c), -EUCLEAN);
	assert_diag(&diag, tree,
		    "/etc/ublkd.conf:2: [Defaults] Depth=: 0 is below 1\n"
		    "/etc/ublkd.conf:3: [Defaults] Size=: unknown key\n"
		    "/etc/ublkd.conf:4: [Defaults] Dept=: unknown key, did you mean Depth=?\n"
		    "/etc/ublkd.conf:5: [Defaults] LogicalBlockSize=: 1000 is not a power of two\n"
		    "/etc/ublkd.conf:7: [Log] Level=: \"loud\" is not known to this version; "
		    "values are: error, warning, notice, info, debug\n"
		    "/etc/ublkd.conf:9: [Manager] Threads=: 65 is above 64\n"
		    "/etc/ublk/b.conf: [Device] Size=: is required with Type=null\n");
}

static void test_daemon_conf_has_a_level(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct daemon_conf c;

	assert_int_equal(daemon_conf_load(&diag, &c), 0);
	assert_int_equal(c.log_level, LOG_INFO);
	write_file(tree, "run/ublkd.conf", "[Log]\nLevel=error\n");
	assert_int_equal(daemon_conf_load(&diag, &c), 0);
	assert_int_equal(c.log_level, LOG_ERR);
	write_file(tree, "etc/ublkd.conf.d/x.conf", "[Log]\nLevel=debug\n");
	assert_int_equal(daemon_conf_load(&diag, &c), 0);
	assert_int_equal(c.log_level, LOG_DEBUG);
	write_file(tree, "etc/ublkd.conf.d/y.conf", "[Log]\nLevel=\n");
	assert_int_equal(daemon_conf_load(&diag, &c), 0);
	assert_int_equal(c.log_level, LOG_INFO);
	assert_int_equal(diag.n_messages, 0);
}

static void test_daemon_conf_has_threads_and_patience(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct daemon_conf c;

	assert_int_equal(daemon_conf_load(&diag, &c), 0);
	assert_int_equal(c.manager_threads, 0);
	assert_int_equal(c.slow_request_ns, 30000000000);
	write_file(tree, "etc/ublkd.conf", "[Manager]\nThreads=64\n[Log]\nSlowRequest=1s\n");
	assert_int_equal(daemon_conf_load(&diag, &c), 0);
	assert_int_equal(c.manager_threads, 64);
	assert_int_equal(c.slow_request_ns, 1000000000);
	write_file(tree, "etc/ublkd.conf", "[Manager]\nThreads=auto\n[Log]\nSlowRequest=1d\n");
	assert_int_equal(daemon_conf_load(&diag, &c), 0);
	assert_int_equal(c.manager_threads, 0);
	assert_int_equal(diag.n_messages, 0);
	write_file(tree, "etc/ublkd.conf", "[Manager]\nThreads=0\n[Log]\nSlowRequest=infinity\n");
	assert_int_equal(daemon_conf_load(&diag, &c), -EUCLEAN);
	assert_diag(&diag, tree,
		    "/etc/ublkd.conf:2: [Manager] Threads=: 0 is below 1\n"
		    "/etc/ublkd.conf:4: [Log] SlowRequest=: infinity is above 1d\n");
}

static void test_sizes_fit_the_machine(void **state)
{
	unsigned page_bytes = (unsigned)sysconf(_SC_PAGESIZE);
	char text[256], expected[512];

	snprintf(text, sizeof(text),
		 "[Device]\nSize=64M\nLogicalBlockSize=%u\n[Backend]\nType=null\n[Queues]\n"
		 "MaxIO=%u\n",
		 page_bytes, page_bytes);
	write_file(tree, "etc/ublk/a.conf", text);
	device_conf_free(load("a", 0, ""));

	snprintf(text, sizeof(text),
		 "[Device]\nSize=64M\nLogicalBlockSize=%u\n[Backend]\nType=null\n[Queues]\n"
		 "MaxIO=%u\n",
		 2 * page_bytes, page_bytes + 512);
	write_file(tree, "etc/ublk/a.conf", text);
	snprintf(expected, sizeof(expected),
		 "/etc/ublk/a.conf:3: [Device] LogicalBlockSize=: %uK is above the page size of "
		 "this machine, %uK\n"
		 "/etc/ublk/a.conf:7: [Queues] MaxIO=: %u is not a multiple of the page size, "
		 "%uK\n",
		 page_bytes / 512, page_bytes / 1024, page_bytes + 512, page_bytes / 1024);
	load("a", -EUCLEAN, expected);
}

static void test_noauto_turns_autostart_off(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;

	write_file(tree, "etc/ublkd.conf", "[Defaults]\nAutostart=yes\n");
	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nSize=1G\n[Backend]\nType=null\n[Boot]\nOptions=noauto\n");
	c = load("a", 0, "");
	assert_false(c->autostart);
}

static void test_warning_does_not_stop(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;

	write_file(tree, "etc/ublk/a.conf",
		   "[Device]\nSize=1G\nReadOnly=yes\n[Backend]\nType=file\nPath=/x\n"
		   "Create=sparse\n");
	c = load("a", 0,
		 "/etc/ublk/a.conf:7: [Backend] Create=: warning: makes nothing for a "
		 "device with ReadOnly=yes\n");
	assert_true(c->read_only);
}

static void test_digest_is_of_what_is_in_force(void **state)
{
	struct device_conf *c;
	uint64_t digest;

	write_file(tree, "etc/ublk/a.conf", "[Device]\nSize=1G\n[Backend]\nType=file\nPath=/x\n");
	c = load("a", 0, "");
	digest = device_conf_digest(c);
	device_conf_free(c);

	write_file(
		tree, "etc/ublk/b.conf",
		"# the same\n[Backend]\nPath=//x\nType=file\nDirectIO=auto\n[Queues]\nDepth=128\n"
		"[Device]\nSize=1024M\n");
	c = load("b", 0, "");
	assert_int_equal(device_conf_digest(c), digest);
	device_conf_free(c);

	write_file(tree, "etc/ublk/b.conf.d/x.conf", "[Backend]\nPath=/y\n");
	c = load("b", 0, "");
	assert_int_not_equal(device_conf_digest(c), digest);
	device_conf_free(c);

	write_file(tree, "etc/ublkd.conf", "[Defaults]\nDepth=64\n");
	c = load("a", 0, "");
	assert_int_not_equal(device_conf_digest(c), digest);
	device_conf_free(c);
}

static void test_place_is_that_of_the_value(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;
	struct conf_place p;

	write_file(tree, "etc/ublkd.conf", "[Defaults]\nDepth=64\n");
	write_file(tree, "etc/ublk/a.conf", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	write_file(tree, "etc/ublk/a.conf.d/x.conf", "\n\n[Device]\nSize=2G\n");
	c = load("a", 0, "");
	p = device_conf_place(c, "Device", "Size");
	assert_string_equal(p.file + strlen(tree), "/etc/ublk/a.conf.d/x.conf");
	assert_int_equal(p.line, 4);
	p = device_conf_place(c, "Queues", "Depth");
	assert_string_equal(p.file + strlen(tree), "/etc/ublkd.conf");
	p = device_conf_place(c, "Backend", "Type");
	assert_int_equal(p.line, 4);
	p = device_conf_place(c, "Udev", "Group");
	assert_string_equal(p.file + strlen(tree), "/etc/ublk/a.conf");
	assert_int_equal(p.line, 0);
}

static void test_file_of_any_name_can_be_checked(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct device_conf *c = NULL;
	char path[512];

	write_file(tree, ".tmp.Xy", "[Device]\nSize=1G\n[Backend]\nType=null\n");
	write_file(tree, ".tmp.Xy.d/a.conf", "[Queues]\nDepth=1\n");
	snprintf(path, sizeof(path), "%s/.tmp.Xy", tree);
	assert_int_equal(device_conf_load_file(path, NULL, &diag, &c), -EUCLEAN);
	assert_diag(&diag, tree, "/.tmp.Xy: \".tmp.Xy\" is no name for a device\n");
	assert_int_equal(device_conf_load_file(path, "data", &diag, &c), 0);
	assert_string_equal(c->name, "data");
	assert_string_equal(c->path, path);
	assert_int_equal(c->depth, 128); /* drop-ins are for names */
	device_conf_free(c);
}

/* ublkd.conf with every "#Key=Value" of the installed example put in force. */
static void write_daemon_sample(void)
{
	AUTO_FREE char *text = calloc(1, CONF_FILE_MAX), *line = NULL;
	AUTO_FCLOSE FILE *f = fopen("../../../conf/ublkd.conf", "re");
	size_t size = 0, len = 0;

	assert_non_null(text);
	assert_non_null(f);
	while (getline(&line, &size, f) > 0) {
		const char *from =
			line[0] == '#' && line[1] != ' ' && strchr(line, '=') ? line + 1 : line;

		assert_true(len + strlen(from) < CONF_FILE_MAX);
		len += (size_t)sprintf(text + len, "%s", from);
	}
	assert_non_null(strstr(text, "\nDepth=128\n"));
	write_file(tree, "etc/ublkd.conf", text);
}

/* What we install as examples is right as it stands. */
static void test_samples_are_right(void **state)
{
	static const char samples[] = "../../../conf/samples";
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct daemon_conf daemon;
	unsigned n = 0;
	struct dirent *de;
	DIR *d = opendir(samples);

	assert_non_null(d);
	while ((de = readdir(d))) {
		AUTO(device_conf_free) struct device_conf *c = NULL;
		AUTO_FREE char *path = NULL;

		if (!strstr(de->d_name, ".conf"))
			continue;
		assert_true(asprintf(&path, "%s/%s", samples, de->d_name) > 0);
		assert_int_equal(device_conf_load_file(path, NULL, &diag, &c), 0);
		n++;
	}
	closedir(d);
	assert_int_equal(n, 7);
	write_daemon_sample();
	assert_int_equal(daemon_conf_load(&diag, &daemon), 0);
	assert_int_equal(daemon.log_level, LOG_INFO);
	assert_int_equal(daemon.slow_request_ns, 30000000000);
	assert_diag(&diag, "",
		    "../../../conf/samples/fault.conf:15: [Fault] warning: this device fails on "
		    "purpose, and may lose what is written to it\n");
}

/* Each data/bad/NAME.conf has its messages in NAME.expect. */
static void check_golden(const char *name, size_t len)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO_FREE char *path = NULL, *expect_path = NULL, *expect = NULL, *text = NULL;
	struct device_conf *c = NULL;
	size_t size = 0;
	FILE *f;

	assert_true(asprintf(&path, "bad/%s", name) > 0);
	assert_true(asprintf(&expect_path, "bad/%.*s.expect", (int)len, name) > 0);
	assert_int_equal(device_conf_load_file(path, NULL, &diag, &c), -EUCLEAN);
	assert_null(c);
	text = diag_text(&diag, "");
	f = fopen(expect_path, "re");
	if (!f)
		print_message("%s is missing; its text would be:\n%s", expect_path, text);
	assert_non_null(f);
	assert_true(getdelim(&expect, &size, '\0', f) > 0);
	fclose(f);
	print_message("%s\n", path);
	assert_string_equal(text, expect);
}

static void test_golden_messages(void **state)
{
	unsigned n = 0;
	struct dirent *de;
	DIR *d = opendir("bad");

	assert_non_null(d);
	while ((de = readdir(d))) {
		const char *suffix = strrchr(de->d_name, '.');

		if (strcmp(suffix, ".conf") != 0)
			continue;
		check_golden(de->d_name, (size_t)(suffix - de->d_name));
		n++;
	}
	closedir(d);
	assert_in_range(n, 15, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_tree, remove_tree)
		TREE_TEST(test_defaults_are_those_of_the_man_page),
		TREE_TEST(test_every_key_arrives),
		TREE_TEST(test_faults_are_loud),
		TREE_TEST(test_higher_tree_has_the_main_file),
		TREE_TEST(test_drop_ins_merge_in_the_order_of_their_names),
		TREE_TEST(test_drop_in_repairs_and_resets),
		TREE_TEST(test_drop_ins_alone_are_a_definition),
		TREE_TEST(test_masks_and_missing_files),
		TREE_TEST(test_names_of_devices),
		TREE_TEST(test_list_has_each_name_once),
		TREE_TEST(test_defaults_stand_below_definitions),
		TREE_TEST(test_bad_defaults_are_named_once),
		TREE_TEST(test_daemon_conf_has_a_level),
		TREE_TEST(test_daemon_conf_has_threads_and_patience),
		TREE_TEST(test_sizes_fit_the_machine),
		TREE_TEST(test_noauto_turns_autostart_off),
		TREE_TEST(test_warning_does_not_stop),
		TREE_TEST(test_digest_is_of_what_is_in_force),
		TREE_TEST(test_place_is_that_of_the_value),
		TREE_TEST(test_file_of_any_name_can_be_checked),
		TREE_TEST(test_samples_are_right),
		TREE_TEST(test_golden_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
