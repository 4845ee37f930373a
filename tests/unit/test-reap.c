/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What "ublkd reap" does with a device, by policy and when the machine goes down. */
#include "service/reap.h"

#include "golden.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "conf/device-conf.h"
#include "ring/ctrl.h"
#include "service/linger.h"
#include "state/holders.h"
#include "state/state.h"
#include "util/log.h"
#include "util/systemd.h"

#define N_FAKE 4

static char root[64];
static char said[1024];

/* ---- the kernel ---- */

struct ctrl {
	bool is_there[N_FAKE];
	struct dev_info infos[N_FAKE];
	int stop_result;
	unsigned n_stops;
};
static struct ctrl kernel;

int ctrl_open(struct ctrl **ret)
{
	*ret = &kernel;
	return 0;
}

struct ctrl *ctrl_close(struct ctrl *c)
{
	return NULL;
}

int ctrl_get_dev_info(struct ctrl *c, uint32_t dev_id, struct dev_info *ret_info)
{
	if (dev_id >= N_FAKE || !c->is_there[dev_id])
		return -ENODEV;
	*ret_info = c->infos[dev_id];
	return 0;
}

int ctrl_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	c->n_stops++;
	return c->stop_result;
}

int ctrl_try_stop_dev(struct ctrl *c, uint32_t dev_id)
{
	return -EOPNOTSUPP;
}

int ctrl_del_dev(struct ctrl *c, uint32_t dev_id)
{
	fail();
	return 0;
}

int ctrl_del_dev_async(struct ctrl *c, uint32_t dev_id)
{
	c->is_there[dev_id] = false;
	return 0;
}

/* ---- those who do not let go ---- */

static char dealt_with[80];
static unsigned n_continued;

void linger_look(struct linger *l, unsigned tick)
{
	l->alone_ms = 1;
}

bool linger_is_due(const struct linger *l, unsigned tick)
{
	return l->alone_ms > 0 && tick % LINGER_TICKS == 0;
}

void linger_continue(pid_t server)
{
	assert_int_equal(server, getpid());
	n_continued++;
}

void linger_deal(struct linger *l, const char *name, pid_t server)
{
	assert_int_equal(server, getpid());
	snprintf(dealt_with, sizeof(dealt_with), "%s", name);
}

/* ---- the rest of the machine ---- */

static bool is_held, is_stopping;
static enum systemd_unit_state unit_state;
static pid_t main_pid;
static int n_stored_fds; /* -errno: systemd does not tell */
static char store_of[80];
static unsigned n_pauses;
static int lock_to_close; /* by the first pause: a server ends; -1: none */

int __wrap_holders_find(uint32_t dev_id, struct holders *h);
int __wrap_holders_find(uint32_t dev_id, struct holders *h)
{
	if (is_held) {
		h->items = calloc(1, sizeof(*h->items));
		assert_non_null(h->items);
		h->items[0] = (struct holder){.kind = HOLDER_MOUNT, .text = strdup("/srv")};
		h->n = 1;
	}
	return 0;
}

int __wrap_systemd_is_stopping(bool *ret);
int __wrap_systemd_is_stopping(bool *ret)
{
	*ret = is_stopping;
	return 0;
}

int __wrap_systemd_get_unit_state(const char *unit, enum systemd_unit_state *ret);
int __wrap_systemd_get_unit_state(const char *unit, enum systemd_unit_state *ret)
{
	*ret = strncmp(unit, "ublk@", 5) == 0 ? unit_state : SYSTEMD_UNIT_INACTIVE;
	return 0;
}

int __wrap_systemd_get_main_pid(const char *unit, pid_t *ret);
int __wrap_systemd_get_main_pid(const char *unit, pid_t *ret)
{
	*ret = main_pid;
	return 0;
}

int __wrap_systemd_count_stored_fds(const char *unit, unsigned *ret);
int __wrap_systemd_count_stored_fds(const char *unit, unsigned *ret)
{
	snprintf(store_of, sizeof(store_of), "%s", unit);
	if (n_stored_fds < 0)
		return n_stored_fds;
	*ret = (unsigned)n_stored_fds;
	return 0;
}

int __wrap_nanosleep(const struct timespec *ts, struct timespec *left);
int __wrap_nanosleep(const struct timespec *ts, struct timespec *left)
{
	if (++n_pauses > 1000)
		fail_msg("it goes on and on");
	if (lock_to_close >= 0)
		close(lock_to_close);
	lock_to_close = -1;
	main_pid = 0;
	return 0;
}

static int setup(void **state)
{
	char path[80];

	strcpy(root, "/tmp/test-reap.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(path, sizeof(path), "%s/run", root);
	setenv("UBLKD_STATE_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/ublk", root);
	setenv("UBLKD_CONFIG_PATH", path, 1);
	mkdir(path, 0755);
	kernel = (struct ctrl){0};
	is_held = is_stopping = false;
	unit_state = SYSTEMD_UNIT_FAILED;
	main_pid = 0;
	n_stored_fds = 1;
	n_pauses = n_continued = 0;
	dealt_with[0] = '\0';
	lock_to_close = -1;
	said[0] = '\0';
	log_set_capture(said, sizeof(said));
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	log_set_capture(NULL, 0);
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

/* A device, what its server has left, and the definition in /etc; returns the lock. */
static int add(const char *name, uint32_t dev_id, enum dev_state dev_state, const char *rest)
{
	struct state s = {.dev_id = dev_id, .cookie = state_cookie(name), .pid = getpid()};
	char path[96];
	FILE *f;
	int fd;

	kernel.is_there[dev_id] = true;
	kernel.infos[dev_id] = (struct dev_info){
		.dev_id = dev_id, .state = dev_state, .cookie = state_cookie(name)};
	assert_int_equal(state_boot_id(s.boot_id), 0);
	assert_int_equal(state_lock(name, &fd), 0);
	assert_int_equal(state_write(name, &s), 0);
	snprintf(path, sizeof(path), "%s/ublk/%s.conf", root, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "[Device]\nSize=1M\n[Backend]\nType=memory\n%s", rest);
	assert_int_equal(fclose(f), 0);
	return fd;
}

/* The definition that was in force, which counts more than the one in /etc. */
static void keep(const char *name, enum give_up give_up)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *conf = NULL;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	assert_int_equal(device_conf_load(name, &diag, &conf), 0);
	conf->give_up = give_up;
	assert_int_equal(device_conf_print(conf, f), 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(state_write_definition(name, text, len), 0);
}

static bool is_left(const char *name, uint32_t dev_id)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/run/%s", root, name);
	assert_int_equal(access(path, F_OK) == 0, kernel.is_there[dev_id]);
	return kernel.is_there[dev_id];
}

#define FAIL "[Recovery]\nOnGiveUp=fail\n"

static void test_policy(void **state)
{
	const struct {
		enum dev_state dev_state;
		bool held, stopping;
		const char *definition;
		bool left;
	} cases[] = {
		{DEV_QUIESCED, false, false, "", false}, {DEV_QUIESCED, true, false, "", true},
		{DEV_FAIL_IO, true, false, "", true},    {DEV_QUIESCED, true, false, FAIL, false},
		{DEV_QUIESCED, true, true, "", false},   {DEV_QUIESCED, false, false, FAIL, false},
		{DEV_DEAD, false, false, "", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setup(state);
		close(add("data", 2, cases[i].dev_state, cases[i].definition));
		is_held = cases[i].held;
		is_stopping = cases[i].stopping;
		assert_int_equal(reap_by_policy("data"), 0);
		assert_int_equal(is_left("data", 2), cases[i].left);
		assert_int_equal(kernel.n_stops, !cases[i].left);
		if (cases[i].left) {
			assert_non_null(strstr(said, "mounted on /srv"));
			assert_non_null(strstr(said, "systemctl start ublk@data.service"));
			assert_non_null(strstr(said, "gc --force data"));
		}
		assert_int_equal(teardown(state), 0);
	}
	setup(state);
}

/* Whoever waited for what was only in memory would wait for ever. */
static void test_lost_memory_is_not_kept(void **state)
{
	const struct {
		const char *rest, *unit;
		int n_stored_fds;
		bool left;
	} cases[] = {
		{"", "ublk@data.service", 0, false},
		{"", "ublk@data.service", 1, true}, /* FileDescriptorStorePreserve=yes */
		{"", "ublk@data.service", -EHOSTDOWN, true},
		{"[Boot]\nManager=yes\n", "ublkd.service", 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setup(state);
		close(add("data", 2, DEV_QUIESCED, cases[i].rest));
		is_held = true;
		n_stored_fds = cases[i].n_stored_fds;
		assert_int_equal(reap_by_policy("data"), 0);
		assert_int_equal(is_left("data", 2), cases[i].left);
		assert_string_equal(store_of, cases[i].unit);
		assert_int_equal(teardown(state), 0);
	}
	setup(state);
}

static void test_definition_in_force_counts(void **state)
{
	int fd = add("data", 2, DEV_QUIESCED, FAIL);

	keep("data", GIVE_UP_KEEP);
	close(fd);
	is_held = true;
	assert_int_equal(reap_by_policy("data"), 0);
	assert_true(is_left("data", 2));

	fd = add("other", 3, DEV_QUIESCED, "");
	keep("other", GIVE_UP_FAIL);
	close(fd);
	assert_int_equal(reap_by_policy("other"), 0);
	assert_false(is_left("other", 3));
}

static void test_served_device_is_left_alone(void **state)
{
	int fd = add("data", 2, DEV_LIVE, FAIL);

	is_stopping = true;
	assert_int_equal(reap_by_policy("data"), 0);
	assert_true(is_left("data", 2));
	close(fd);
}

static void test_nothing_is_there(void **state)
{
	char path[96];

	assert_int_equal(reap_by_policy("data"), 0);
	assert_int_equal(reap_by_policy(STATE_MANAGER), 0);
	snprintf(path, sizeof(path), "%s/run/data", root);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_what_the_manager_left(void **state)
{
	close(add("data", 2, DEV_QUIESCED, "[Boot]\nManager=yes\n"));
	close(add("other", 3, DEV_QUIESCED, ""));
	is_held = true;
	assert_int_equal(reap_by_policy(STATE_MANAGER), 0);
	assert_true(is_left("data", 2));
	assert_non_null(strstr(said, "systemctl reload-or-restart ublkd.service"));
	is_held = false;
	assert_int_equal(reap_by_policy(STATE_MANAGER), 0);
	assert_false(is_left("data", 2));
	assert_true(is_left("other", 3));
}

static void test_shutdown_only_if_there_is_one(void **state)
{
	close(add("data", 2, DEV_QUIESCED, ""));
	assert_int_equal(reap_at_shutdown(), 0);
	assert_true(is_left("data", 2));
}

static void test_shutdown_watches_until_all_have_ended(void **state)
{
	close(add("data", 2, DEV_QUIESCED, ""));
	lock_to_close = add("other", 3, DEV_QUIESCED, ""); /* has a server, which then dies */
	unit_state = SYSTEMD_UNIT_DEACTIVATING;
	is_held = is_stopping = true;
	assert_int_equal(reap_at_shutdown(), 0);
	assert_false(is_left("data", 2) || is_left("other", 3));
	assert_int_equal(n_pauses, 1);
	assert_int_equal(n_continued, 1);
	assert_string_equal(dealt_with, "other");
}

static void test_shutdown_waits_for_the_server_of_a_unit(void **state)
{
	lock_to_close = add("data", 2, DEV_LIVE, "");
	unit_state = SYSTEMD_UNIT_ACTIVE;
	is_stopping = true;
	kernel.infos[2].state = DEV_QUIESCED;
	assert_int_equal(reap_at_shutdown(), 0);
	assert_string_equal(dealt_with, ""); /* nobody has told it to end yet */
	assert_int_equal(n_pauses, 1);
	assert_false(is_left("data", 2));
}

static void test_shutdown_waits_for_a_server_that_starts(void **state)
{
	close(add("data", 2, DEV_QUIESCED, ""));
	unit_state = SYSTEMD_UNIT_ACTIVATING;
	main_pid = 4711;
	is_stopping = true;
	assert_int_equal(reap_at_shutdown(), 0);
	assert_int_equal(n_pauses, 1);
	assert_false(is_left("data", 2));
}

static void test_shutdown_does_not_wait_for_what_nobody_stops(void **state)
{
	int fd = add("data", 2, DEV_LIVE, "");

	is_stopping = true;
	assert_int_equal(reap_at_shutdown(), 0);
	assert_int_equal(n_pauses, 0);
	assert_true(is_left("data", 2));
	close(fd);
}

static void test_shutdown_gives_up(void **state)
{
	close(add("data", 2, DEV_QUIESCED, ""));
	is_stopping = true;
	kernel.stop_result = -ETIMEDOUT;
	assert_int_equal(reap_at_shutdown(), -ETIMEDOUT);
	assert_true(n_pauses > 0 && n_pauses < 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_policy),
		TEST(test_lost_memory_is_not_kept),
		TEST(test_definition_in_force_counts),
		TEST(test_served_device_is_left_alone),
		TEST(test_nothing_is_there),
		TEST(test_what_the_manager_left),
		TEST(test_shutdown_only_if_there_is_one),
		TEST(test_shutdown_watches_until_all_have_ended),
		TEST(test_shutdown_waits_for_the_server_of_a_unit),
		TEST(test_shutdown_waits_for_a_server_that_starts),
		TEST(test_shutdown_does_not_wait_for_what_nobody_stops),
		TEST(test_shutdown_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
