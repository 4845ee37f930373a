/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a definition is for its successor: printed, read again, and merged with a new one. */
#include "conf-helper.h"

#include "conf/device-conf.h"

static char *tree;

static int setup_tree(void **state)
{
	char path[512];

	tree = make_dir();
	snprintf(path, sizeof(path), "%s/etc/ublk", tree);
	return setenv("UBLKD_CONFIG_PATH", path, 1);
}

static int remove_tree(void **state)
{
	remove_dir(TAKE_PTR(tree));
	return 0;
}

/* A definition, and what stands in a drop-in above it. */
static struct device_conf *load(const char *text, const char *above)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct device_conf *c = NULL;
	int r;

	write_file(tree, "etc/ublk/a.conf", text);
	write_file(tree, "etc/ublk/a.conf.d/x.conf", above);
	r = device_conf_load("a", &diag, &c);
	if (r < 0)
		assert_diag(&diag, tree, "");
	assert_int_equal(r, 0);
	return c;
}

static void print_to_file(const struct device_conf *c, const char *path)
{
	AUTO_FCLOSE FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(device_conf_print(c, f), 0);
}

/* Printed, read again, and printed. */
static void check_kept(const struct device_conf *c)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *kept = NULL;
	AUTO_FREE char *path = NULL;

	assert_true(asprintf(&path, "%s/kept", tree) > 0);
	print_to_file(c, path);
	if (device_conf_load_kept(path, "a", &diag, &kept) < 0)
		assert_diag(&diag, tree, "");
	assert_non_null(kept);
	assert_int_equal(device_conf_digest(kept), device_conf_digest(c));
	assert_string_equal(kept->name, "a");
	assert_true(!kept->fault == !c->fault);
}

static const char base[] = "[Device]\nSize=1G\n[Backend]\nType=file\nPath=/x\n[Fault]\n";

/* Each key with a value that is not what it has in base. */
static const struct {
	const char *section, *key, *value;
	enum conf_change change;
} cases[] = {
	{"Device", "Description", "Project \xc3\xa4; #1", CONF_LIVE},
	{"Device", "Size", "2G", CONF_LIVE},
	{"Device", "LogicalBlockSize", "4096", CONF_STOP},
	{"Device", "ReadOnly", "yes", CONF_STOP},
	{"Device", "Rotational", "yes", CONF_STOP},
	{"Device", "Serial", "data-1", CONF_LIVE},
	{"Backend", "Path", "/srv/a b", CONF_STOP},
	{"Backend", "Create", "sparse", CONF_LIVE},
	{"Backend", "DirectIO", "no", CONF_RESTART},
	{"Queues", "Count", "2", CONF_STOP},
	{"Queues", "Depth", "1", CONF_STOP},
	{"Queues", "MaxIO", "1M", CONF_STOP},
	{"Queues", "CopyMode", "copy", CONF_STOP},
	{"Queues", "BatchIO", "no", CONF_STOP},
	{"Queues", "BufferMemory", "64M", CONF_STOP},
	{"Queues", "PollMicroseconds", "50", CONF_RESTART},
	{"Recovery", "Mode", "fail", CONF_STOP},
	{"Recovery", "OnGiveUp", "fail", CONF_LIVE},
	{"Limits", "ReadBandwidth", "4K", CONF_LIVE},
	{"Limits", "WriteBandwidth", "4097", CONF_LIVE},
	{"Limits", "ReadIOPS", "1", CONF_LIVE},
	{"Limits", "WriteIOPS", "18446744073709551615", CONF_LIVE},
	{"Boot", "Autostart", "no", CONF_LIVE},
	{"Boot", "Manager", "yes", CONF_LIVE},
	{"Boot", "Options", "nofail x-initrd.attach", CONF_LIVE},
	{"Udev", "Watch", "no", CONF_LIVE},
	{"Udev", "Owner", "_svc", CONF_LIVE},
	{"Udev", "Group", "disk", CONF_LIVE},
	{"Udev", "Mode", "0000", CONF_LIVE},
	{"Fault", "Seed", "0", CONF_RESTART},
	{"Fault", "ReadErrors", "0.0001%", CONF_RESTART},
	{"Fault", "WriteErrors", "99.99%", CONF_RESTART},
	{"Fault", "FlushErrors", "100%", CONF_RESTART},
	{"Fault", "DiscardErrors", "5%", CONF_RESTART},
	{"Fault", "Error", "ETIMEDOUT", CONF_RESTART},
	{"Fault", "Latency", "1ms 1ns", CONF_RESTART},
	{"Fault", "LatencyJitter", "1h", CONF_RESTART},
	{"Fault", "ShortTransfers", "0.5%", CONF_RESTART},
	{"Fault", "HangWhile", "/run/hang ", CONF_RESTART},
	{"Fault", "LyingFlush", "yes", CONF_RESTART},
	{"Fault", "PowerCut", "yes", CONF_RESTART},
};

static struct device_conf *load_case(size_t i)
{
	char above[128];

	snprintf(above, sizeof(above), "[%s]\n%s=%s\n", cases[i].section, cases[i].key,
		 cases[i].value);
	return load(base, above);
}

static void test_every_key_has_a_case(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = load(base, "# nothing");
	struct conf_section sections[DEVICE_SECTIONS_MAX];
	size_t n = device_conf_sections(c, sections), i = 0;

	for (size_t s = 0; s < n; s++)
		for (const struct conf_key *k = sections[s].keys; k->name; k++, i++) {
			assert_true(i < ARRAY_SIZE(cases));
			assert_string_equal(sections[s].name, cases[i].section);
			assert_string_equal(k->name, cases[i].key);
			assert_int_equal(k->change, cases[i].change);
		}
	assert_int_equal(i, ARRAY_SIZE(cases));
}

static void test_every_key_is_kept(void **state)
{
	AUTO(device_conf_free) struct device_conf *old = load(base, "# nothing");
	uint64_t digest = device_conf_digest(old);

	check_kept(old);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(device_conf_free) struct device_conf *c = load_case(i);

		print_message("[%s] %s\n", cases[i].section, cases[i].key);
		assert_int_not_equal(device_conf_digest(c), digest);
		check_kept(c);
	}
}

static void test_all_keys_are_kept_at_once(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = NULL;
	char above[4096] = "";
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		len += (size_t)snprintf(above + len, sizeof(above) - len, "[%s]\n%s=%s\n",
					cases[i].section, cases[i].key, cases[i].value);
	assert_true(len < sizeof(above));
	c = load(base, above);
	check_kept(c);
}

static void test_what_is_printed_is_a_definition(void **state)
{
	AUTO(device_conf_free)
	struct device_conf *c =
		load("[Device]\nSize=1024M\nSerial=s\n[Backend]\nType=memory\n[Limits]\n"
		     "ReadBandwidth=100M\n[Udev]\nMode=640\n[Boot]\nOptions=_netdev   nofail\n",
		     "# nothing");
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	assert_int_equal(device_conf_print(c, f), 0);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(
		text, "[Device]\nSize=1G\nReadOnly=no\nRotational=no\nSerial=s\n\n"
		      "[Backend]\nType=memory\nHugePages=no\n\n"
		      "[Queues]\nCount=auto\nDepth=128\nMaxIO=auto\nCopyMode=auto\nBatchIO=auto\n"
		      "BufferMemory=1G\nPollMicroseconds=0\n\n"
		      "[Recovery]\nMode=reissue\nOnGiveUp=keep\n\n"
		      "[Limits]\nReadBandwidth=100M\nWriteBandwidth=0\nReadIOPS=0\n"
		      "WriteIOPS=0\n\n"
		      "[Boot]\nAutostart=yes\nManager=no\nOptions=nofail _netdev\n\n"
		      "[Udev]\nWatch=yes\nMode=0640\n");
	check_kept(c);
	f = fopen("/dev/full", "we");
	assert_non_null(f);
	assert_int_equal(device_conf_print(c, f), -EIO);
	fclose(f);
}

/* A blank that a path ends with, in the middle of a line before the path was normalized. */
static void test_odd_values_are_kept(void **state)
{
	static const char *const texts[] = {
		"[Backend]\nType=file\nPath=/a /\n",
		"[Backend]\nType=file\nPath=/a\t/.\n",
		"[Backend]\nType=file\nPath=/\n",
		"[Backend]\nType=file\nPath=/x\n[Boot]\nOptions=noauto\n",
		"[Backend]\nType=null\n[Device]\nSize=512\n[Fault]\n",
		"[Backend]\nType=null\n[Device]\nSize=512\n[Fault]\nHangWhile=/a /\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO(device_conf_free) struct device_conf *c = load(texts[i], "# nothing");

		check_kept(c);
	}
}

/* Neither [Defaults] nor drop-ins count for what another server has kept. */
static void test_kept_values_stand_alone(void **state)
{
	AUTO(device_conf_free) struct device_conf *c = load(base, "# nothing");
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	struct device_conf *none = NULL;
	char path[512];

	write_file(tree, "etc/ublkd.conf", "[Defaults]\nDepth=7\nGroup=g\nOptions=nofail\nBad=1\n");
	write_file(tree, "kept.d/x.conf", "[Queues]\nDepth=7\n");
	check_kept(c);
	snprintf(path, sizeof(path), "%s/nothing", tree);
	assert_int_equal(device_conf_load_kept(path, "a", &diag, &none), -EUCLEAN);
	write_file(tree, "nothing", "[Device]\nSize=1G\n[Backe");
	assert_int_equal(device_conf_load_kept(path, "a", &diag, &none), -EUCLEAN);
	assert_null(none);
}

static void assert_list(const char *list, const char *expected)
{
	assert_string_equal(list ?: "", expected);
}

/* Adopts and expects lists; a target that took all is what it was taken from. */
static void check_adopt(struct device_conf *to, const struct device_conf *from,
			enum conf_change least, const char *taken, const char *restart,
			const char *stop)
{
	AUTO(conf_changes_deinit) struct conf_changes *changes = &(struct conf_changes){0};
	uint64_t digest = device_conf_digest(to);

	assert_int_equal(device_conf_adopt(to, from, least, changes), 0);
	assert_list(changes->taken, taken);
	assert_list(changes->restart, restart);
	assert_list(changes->stop, stop);
	if (!*taken)
		assert_int_equal(device_conf_digest(to), digest);
	if (!*restart && !*stop)
		assert_int_equal(device_conf_digest(to), device_conf_digest(from));
	check_kept(to);
}

/* Both ways: a string comes, and goes. */
static void test_every_key_goes_by_its_class(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases) * 4; i++) {
		size_t n = i / 4;
		enum conf_change least = i % 2 ? CONF_LIVE : CONF_RESTART;
		AUTO(device_conf_free) struct device_conf *changed = load_case(n);
		AUTO(device_conf_free) struct device_conf *old = load(base, "# nothing");
		bool forth = i % 4 < 2, is_mode = strcmp(cases[n].key, "Mode") == 0;
		char name[64];

		print_message("[%s] %s\n", cases[n].section, cases[n].key);
		snprintf(name, sizeof(name), "%s%s%s%s=", is_mode ? "[" : "",
			 is_mode ? cases[n].section : "", is_mode ? "] " : "", cases[n].key);
		check_adopt(forth ? old : changed, forth ? changed : old, least,
			    cases[n].change >= least ? name : "",
			    cases[n].change < least && cases[n].change == CONF_RESTART ? name : "",
			    cases[n].change == CONF_STOP ? name : "");
	}
}

static void test_changes_are_sorted_by_class(void **state)
{
	AUTO(device_conf_free) struct device_conf *to = load(base, "# nothing");
	AUTO(device_conf_free)
	struct device_conf *from =
		load(base, "[Device]\nDescription=d\nRotational=yes\n[Backend]\nDirectIO=yes\n"
			   "Path=/y\n[Queues]\nDepth=4\n[Limits]\nReadIOPS=5\n[Fault]\nSeed=2\n"
			   "[Recovery]\nMode=none\n[Udev]\nMode=0600\n");
	const struct file_conf *file = to->backend;

	check_adopt(to, from, CONF_LIVE, "Description=, ReadIOPS=, [Udev] Mode=",
		    "DirectIO=, Seed=", "Rotational=, Path=, Depth=, [Recovery] Mode=");
	assert_string_equal(to->description, "d");
	assert_int_equal(to->rates.read_iops, 5);
	assert_int_equal(to->mode, 0600);
	assert_int_equal(to->recovery_mode, RECOVERY_REISSUE);
	assert_int_equal(to->depth, 128);
	assert_string_equal(file->path, "/x");
	assert_int_equal(file->direct_io, DIRECT_IO_AUTO);
	assert_int_equal(to->fault->seed, 1);
	check_adopt(to, from, CONF_RESTART, "DirectIO=, Seed=", "",
		    "Rotational=, Path=, Depth=, [Recovery] Mode=");
	assert_int_equal(file->direct_io, DIRECT_IO_YES);
	assert_int_equal(to->fault->seed, 2);
	check_adopt(to, from, CONF_RESTART, "", "", "Rotational=, Path=, Depth=, [Recovery] Mode=");
	/* The new one is only read. */
	assert_string_equal(from->description, "d");
	check_kept(from);
}

static void test_another_type_has_other_keys(void **state)
{
	AUTO(device_conf_free) struct device_conf *file = load(base, "# nothing");
	AUTO(device_conf_free)
	struct device_conf *null =
		load("[Device]\nSize=2G\n[Backend]\nType=null\n[Fault]\n", "# nothing");

	check_adopt(file, null, CONF_RESTART, "Size=", "", "Type=");
	assert_ptr_equal(file->backend_type, &file_conf_type);
	check_adopt(null, file, CONF_LIVE, "", "", "Type=");
	assert_ptr_equal(null->backend_type, &null_conf_type);
}

static void test_faults_come_and_go_as_a_whole(void **state)
{
	static const char without[] = "[Device]\nSize=1G\n[Backend]\nType=null\n";
	static const char faulty[] = "[Fault]\nSeed=7\nHangWhile=/run/hang\n";
	AUTO(device_conf_free) struct device_conf *c = load(without, "# nothing");
	AUTO(device_conf_free) struct device_conf *none = load(without, "# nothing");
	AUTO(device_conf_free) struct device_conf *some = load(without, faulty);

	check_adopt(c, some, CONF_LIVE, "", "[Fault]", "");
	assert_null(c->fault);
	check_adopt(c, some, CONF_RESTART, "[Fault]", "", "");
	assert_int_equal(c->fault->seed, 7);
	assert_string_equal(c->fault->hang_while, "/run/hang");
	assert_true(c->fault->hang_while != some->fault->hang_while);
	check_adopt(c, none, CONF_LIVE, "", "[Fault]", "");
	assert_non_null(c->fault);
	check_adopt(c, none, CONF_RESTART, "[Fault]", "", "");
	assert_null(c->fault);
	check_adopt(c, none, CONF_RESTART, "", "", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_tree, remove_tree)
		TREE_TEST(test_every_key_has_a_case),
		TREE_TEST(test_every_key_is_kept),
		TREE_TEST(test_all_keys_are_kept_at_once),
		TREE_TEST(test_what_is_printed_is_a_definition),
		TREE_TEST(test_odd_values_are_kept),
		TREE_TEST(test_kept_values_stand_alone),
		TREE_TEST(test_every_key_goes_by_its_class),
		TREE_TEST(test_changes_are_sorted_by_class),
		TREE_TEST(test_another_type_has_other_keys),
		TREE_TEST(test_faults_come_and_go_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
