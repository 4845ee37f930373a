/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A systemd that is a thread here, behind a socket of our own. */
#include "util/systemd.h"

#include "golden.h"
#include "util/cleanup.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>

struct fake {
	pthread_t thread;
	int listen_fd;
	bool hangs_up; /* after the connection, as one that is just leaving */
	char system_state[32];
	char unit_state[32];
	char asked_for[128];        /* path of the unit */
	uint32_t job_id;            /* of that unit */
	const char *const *running; /* units with a job that runs; NULL at the end */
	uint32_t main_pid;
	uint32_t n_stored_fds;
};

static char dir[64], socket_path[96];

static int fake_get(sd_bus *bus, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *arg, sd_bus_error *error)
{
	return sd_bus_message_append(reply, "s", (const char *)arg);
}

static int fake_get_job(sd_bus *bus, const char *path, const char *interface, const char *property,
			sd_bus_message *reply, void *arg, sd_bus_error *error)
{
	return sd_bus_message_append(reply, "(uo)", *(const uint32_t *)arg, "/");
}

static int fake_list_jobs(sd_bus_message *call, void *arg, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	const struct fake *f = arg;
	int r;

	r = sd_bus_message_new_method_return(call, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(usssoo)");
	if (r >= 0)
		r = sd_bus_message_append(reply, "(usssoo)", 1, "late.service", "stop", "waiting",
					  "/job/1", "/unit/1");
	for (size_t i = 0; r >= 0 && f->running[i]; i++)
		r = sd_bus_message_append(reply, "(usssoo)", 2, f->running[i], "stop", "running",
					  "/job/2", "/unit/2");
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	if (r >= 0)
		r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("ListJobs", "", "a(usssoo)", fake_list_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("SystemState", "s", fake_get, offsetof(struct fake, system_state), 0),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable unit_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("ActiveState", "s", fake_get, offsetof(struct fake, unit_state), 0),
	SD_BUS_PROPERTY("Job", "(uo)", fake_get_job, offsetof(struct fake, job_id), 0),
	SD_BUS_VTABLE_END,
};

static int fake_get_number(sd_bus *bus, const char *path, const char *interface,
			   const char *property, sd_bus_message *reply, void *arg,
			   sd_bus_error *error)
{
	return sd_bus_message_append(reply, "u", *(const uint32_t *)arg);
}

static const sd_bus_vtable service_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("MainPID", "u", fake_get_number, offsetof(struct fake, main_pid), 0),
	SD_BUS_PROPERTY("NFileDescriptorStore", "u", fake_get_number,
			offsetof(struct fake, n_stored_fds), 0),
	SD_BUS_VTABLE_END,
};

static int fake_find_unit(sd_bus *bus, const char *path, const char *interface, void *arg,
			  void **ret_found, sd_bus_error *error)
{
	struct fake *f = arg;

	snprintf(f->asked_for, sizeof(f->asked_for), "%s", path);
	*ret_found = f;
	return 1;
}

static void fake_serve(struct fake *f, int fd)
{
	sd_id128_t id;
	sd_bus *bus;

	if (sd_id128_randomize(&id) < 0 || sd_bus_new(&bus) < 0)
		abort();
	if (sd_bus_set_fd(bus, fd, fd) < 0 || sd_bus_set_server(bus, 1, id) < 0 ||
	    sd_bus_start(bus) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1",
				     "org.freedesktop.systemd1.Manager", manager_vtable, f) < 0 ||
	    sd_bus_add_fallback_vtable(bus, NULL, "/org/freedesktop/systemd1/unit",
				       "org.freedesktop.systemd1.Unit", unit_vtable, fake_find_unit,
				       f) < 0 ||
	    sd_bus_add_fallback_vtable(bus, NULL, "/org/freedesktop/systemd1/unit",
				       "org.freedesktop.systemd1.Service", service_vtable,
				       fake_find_unit, f) < 0)
		abort();
	for (;;) {
		int r = sd_bus_process(bus, NULL);

		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
		if (r < 0)
			break; /* the client has gone */
	}
	sd_bus_close_unref(bus);
}

static void *fake_run(void *arg)
{
	struct fake *f = arg;
	int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		abort();
	if (f->hangs_up)
		close(fd);
	else
		fake_serve(f, fd);
	return NULL;
}

static void fake_start(struct fake *f)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	unlink(socket_path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(f->listen_fd >= 0);
	assert_int_equal(bind(f->listen_fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(f->listen_fd, 1), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, fake_run, f), 0);
}

static void fake_stop(struct fake *f)
{
	assert_int_equal(pthread_join(f->thread, NULL), 0);
	close(f->listen_fd);
}

static void test_state_of_the_system(void **state)
{
	const struct {
		const char *word;
		enum systemd_state want;
	} cases[] = {
		{"initializing", SYSTEMD_INITIALIZING}, {"starting", SYSTEMD_STARTING},
		{"running", SYSTEMD_RUNNING},           {"degraded", SYSTEMD_DEGRADED},
		{"maintenance", SYSTEMD_MAINTENANCE},   {"stopping", SYSTEMD_STOPPING},
		{"dancing", SYSTEMD_UNKNOWN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake f = {0};
		enum systemd_state got;

		snprintf(f.system_state, sizeof(f.system_state), "%s", cases[i].word);
		fake_start(&f);
		assert_int_equal(systemd_get_state(&got), 0);
		fake_stop(&f);
		assert_int_equal(got, cases[i].want);
	}
}

static void test_state_of_a_unit(void **state)
{
	const struct {
		const char *word;
		enum systemd_unit_state want;
		bool busy;
	} cases[] = {
		{"active", SYSTEMD_UNIT_ACTIVE, true},
		{"reloading", SYSTEMD_UNIT_RELOADING, true},
		{"inactive", SYSTEMD_UNIT_INACTIVE, false},
		{"failed", SYSTEMD_UNIT_FAILED, false},
		{"activating", SYSTEMD_UNIT_ACTIVATING, true},
		{"deactivating", SYSTEMD_UNIT_DEACTIVATING, true},
		{"refreshing", SYSTEMD_UNIT_UNKNOWN, true}, /* systemd 258 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake f = {0};
		enum systemd_unit_state got;

		snprintf(f.unit_state, sizeof(f.unit_state), "%s", cases[i].word);
		fake_start(&f);
		assert_int_equal(systemd_get_unit_state("ublk@my-data.service", &got), 0);
		fake_stop(&f);
		assert_int_equal(got, cases[i].want);
		assert_int_equal(systemd_unit_is_busy(got), cases[i].busy);
		assert_string_equal(systemd_unit_state_to_string(got),
				    got == SYSTEMD_UNIT_UNKNOWN ? "unknown" : cases[i].word);
		assert_string_equal(f.asked_for,
				    "/org/freedesktop/systemd1/unit/ublk_40my_2ddata_2eservice");
	}
}

static void test_main_process(void **state)
{
	const pid_t pids[] = {0, 1, 4194304};

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		struct fake f = {.main_pid = (uint32_t)pids[i]};
		pid_t got = -1;

		fake_start(&f);
		assert_int_equal(systemd_get_main_pid("ublkd.service", &got), 0);
		fake_stop(&f);
		assert_int_equal(got, pids[i]);
		assert_string_equal(f.asked_for, "/org/freedesktop/systemd1/unit/ublkd_2eservice");
	}
}

static void test_stored_descriptors(void **state)
{
	struct fake f = {.main_pid = 5, .n_stored_fds = 3};
	unsigned got = 0;

	fake_start(&f);
	assert_int_equal(systemd_count_stored_fds("ublk@mem.service", &got), 0);
	fake_stop(&f);
	assert_int_equal(got, 3);
	assert_string_equal(f.asked_for, "/org/freedesktop/systemd1/unit/ublk_40mem_2eservice");
}

static void test_machine_goes_down(void **state)
{
	const struct {
		const char *state, *unit_state; /* of shutdown.target */
		uint32_t job_id;
		bool want;
	} cases[] = {
		{"running", "inactive", 0, false},     {"degraded", "inactive", 0, false},
		{"stopping", "inactive", 7, true},     {"starting", "inactive", 0, false},
		{"starting", "inactive", 7, true},     {"initializing", "inactive", 0, false},
		{"initializing", "inactive", 7, true}, {"starting", "active", 0, true},
		{"maintenance", "inactive", 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake f = {.job_id = cases[i].job_id};
		bool got = !cases[i].want;

		snprintf(f.system_state, sizeof(f.system_state), "%s", cases[i].state);
		snprintf(f.unit_state, sizeof(f.unit_state), "%s", cases[i].unit_state);
		fake_start(&f);
		assert_int_equal(systemd_is_stopping(&got), 0);
		fake_stop(&f);
		assert_int_equal(got, cases[i].want);
		if (f.asked_for[0])
			assert_string_equal(f.asked_for,
					    "/org/freedesktop/systemd1/unit/shutdown_2etarget");
	}
}

static void test_no_systemd(void **state)
{
	enum systemd_state got = SYSTEMD_UNKNOWN;
	enum systemd_unit_state unit = SYSTEMD_UNIT_UNKNOWN;
	bool stopping;
	unsigned n;
	pid_t pid;
	struct fake f = {.hangs_up = true};

	unlink(socket_path);
	assert_int_equal(systemd_get_state(&got), -EHOSTDOWN);
	assert_int_equal(systemd_get_unit_state("x.service", &unit), -EHOSTDOWN);
	assert_int_equal(systemd_is_stopping(&stopping), -EHOSTDOWN);
	assert_int_equal(systemd_get_main_pid("x.service", &pid), -EHOSTDOWN);
	assert_int_equal(systemd_count_stored_fds("x.service", &n), -EHOSTDOWN);

	fake_start(&f);
	assert_int_equal(systemd_get_state(&got), -EHOSTDOWN);
	fake_stop(&f);
	/* the socket is left, and nobody listens */
	assert_int_equal(systemd_get_state(&got), -EHOSTDOWN);
	assert_int_equal(got, SYSTEMD_UNKNOWN);
	assert_int_equal(unit, SYSTEMD_UNIT_UNKNOWN);
}

static int group_setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/test-systemd.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/private", dir);
	return setenv("UBLKD_SYSTEMD_SOCKET", socket_path, 1);
}

static int group_teardown(void **state)
{
	unlink(socket_path);
	return rmdir(dir);
}

static bool is_data(const char *unit)
{
	return strcmp(unit, "ublk@data.service") == 0;
}

static void test_running_jobs(void **state)
{
	static const char *const none[] = {NULL}, *const own[] = {"ublk@data.service", NULL},
				 *const both[] = {"srv.mount", "ublk@data.service", NULL};
	const struct {
		const char *const *running;
		bool want;
	} cases[] = {{none, false}, {own, false}, {both, true}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake f = {.running = cases[i].running};
		bool has = !cases[i].want;

		fake_start(&f);
		assert_int_equal(systemd_has_running_job(is_data, &has), 0);
		assert_int_equal(has, cases[i].want);
		fake_stop(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_of_the_system),
		cmocka_unit_test(test_state_of_a_unit),
		cmocka_unit_test(test_main_process),
		cmocka_unit_test(test_stored_descriptors),
		cmocka_unit_test(test_machine_goes_down),
		cmocka_unit_test(test_no_systemd),
		cmocka_unit_test(test_running_jobs),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
