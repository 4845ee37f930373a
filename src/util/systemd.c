/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/systemd.h"

#include <string.h>

#include "util/systemd-internal.h"

#define SYSTEMD_SOCKET     "/run/systemd/private"
#define SYSTEMD_SHUTDOWN   "shutdown.target"
#define SYSTEMD_TIMEOUT_US (5 * 1000 * 1000)

static const char *const systemd_states[] = {
	[SYSTEMD_INITIALIZING] = "initializing", [SYSTEMD_STARTING] = "starting",
	[SYSTEMD_RUNNING] = "running",           [SYSTEMD_DEGRADED] = "degraded",
	[SYSTEMD_MAINTENANCE] = "maintenance",   [SYSTEMD_STOPPING] = "stopping",
};

static const char *const systemd_unit_states[] = {
	[SYSTEMD_UNIT_ACTIVE] = "active",         [SYSTEMD_UNIT_RELOADING] = "reloading",
	[SYSTEMD_UNIT_INACTIVE] = "inactive",     [SYSTEMD_UNIT_FAILED] = "failed",
	[SYSTEMD_UNIT_ACTIVATING] = "activating", [SYSTEMD_UNIT_DEACTIVATING] = "deactivating",
};

/* The index of a word, or @n if it is none of them. */
static unsigned systemd_find_word(const char *const *words, unsigned n, const char *word)
{
	unsigned i = 0;

	while (i < n && strcmp(words[i], word) != 0)
		i++;
	return i;
}

/* What the calls of sd-bus return once PID 1 has turned into something else. */
static int systemd_translate(int r)
{
	return r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE ? -EHOSTDOWN : r;
}

int systemd_connect(sd_bus **ret)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	const char *path = secure_getenv("UBLKD_SYSTEMD_SOCKET");
	char address[256];
	int r;

	/* of tests, and short enough for a socket: no character in it needs to be escaped */
	if ((size_t)snprintf(address, sizeof(address), "unix:path=%s",
			     path && *path ? path : SYSTEMD_SOCKET) >= sizeof(address))
		return -ENAMETOOLONG;
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, SYSTEMD_TIMEOUT_US);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return -EHOSTDOWN;
	if (r < 0)
		return systemd_translate(r);
	*ret = TAKE_PTR(bus);
	return 0;
}

static int systemd_get_word(sd_bus *bus, const char *path, const char *interface,
			    const char *property, char **ret)
{
	return systemd_translate(sd_bus_get_property_string(bus, SYSTEMD_SERVICE, path, interface,
							    property, NULL, ret));
}

static int systemd_read_state(sd_bus *bus, enum systemd_state *ret)
{
	AUTO_FREE char *word = NULL;
	int r = systemd_get_word(bus, SYSTEMD_PATH, SYSTEMD_SERVICE ".Manager", "SystemState",
				 &word);

	if (r < 0)
		return r;
	*ret = systemd_find_word(systemd_states, ARRAY_SIZE(systemd_states), word);
	return 0;
}

static int systemd_read_unit_state(sd_bus *bus, const char *unit, enum systemd_unit_state *ret)
{
	AUTO_FREE char *path = NULL, *word = NULL;
	int r;

	r = sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path);
	if (r < 0)
		return r;
	/* Asking for the object of a unit makes systemd load it, so there is one for any name. */
	r = systemd_get_word(bus, path, SYSTEMD_SERVICE ".Unit", "ActiveState", &word);
	if (r < 0)
		return r;
	*ret = systemd_find_word(systemd_unit_states, ARRAY_SIZE(systemd_unit_states), word);
	return 0;
}

/* A job is queued or runs for the unit. */
static int systemd_read_has_job(sd_bus *bus, const char *unit, bool *ret)
{
	AUTO(sd_bus_message_unref) sd_bus_message *m = NULL;
	AUTO_FREE char *path = NULL;
	uint32_t id;
	int r;

	r = sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path);
	if (r >= 0)
		r = systemd_translate(sd_bus_get_property(bus, SYSTEMD_SERVICE, path,
							  SYSTEMD_SERVICE ".Unit", "Job", NULL, &m,
							  "(uo)"));
	if (r >= 0)
		r = sd_bus_message_read(m, "(uo)", &id, NULL);
	if (r < 0)
		return r;
	*ret = id != 0;
	return 0;
}

int systemd_has_running_job(bool (*ignored)(const char *unit), bool *ret)
{
	AUTO(sd_bus_message_unref) sd_bus_message *m = NULL;
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	const char *unit, *job_state;
	bool found = false;
	int r;

	r = systemd_connect(&bus);
	if (r == 0)
		r = systemd_translate(sd_bus_call_method(bus, SYSTEMD_SERVICE, SYSTEMD_PATH,
							 SYSTEMD_SERVICE ".Manager", "ListJobs",
							 NULL, &m, NULL));
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "(usssoo)");
	while (r >= 0 && (r = sd_bus_message_read(m, "(usssoo)", NULL, &unit, NULL, &job_state,
						  NULL, NULL)) > 0)
		found = found || (strcmp(job_state, "running") == 0 && !ignored(unit));
	if (r < 0)
		return r;
	*ret = found;
	return 0;
}

int systemd_get_state(enum systemd_state *ret)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	int r = systemd_connect(&bus);

	return r < 0 ? r : systemd_read_state(bus, ret);
}

int systemd_get_unit_state(const char *unit, enum systemd_unit_state *ret)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	int r = systemd_connect(&bus);

	return r < 0 ? r : systemd_read_unit_state(bus, unit, ret);
}

static int systemd_get_number(const char *unit, const char *property, uint32_t *ret)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	AUTO_FREE char *path = NULL;
	int r;

	r = systemd_connect(&bus);
	if (r == 0)
		r = sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path);
	if (r >= 0)
		r = systemd_translate(sd_bus_get_property_trivial(
			bus, SYSTEMD_SERVICE, path, SYSTEMD_SERVICE ".Service", property, NULL,
			SD_BUS_TYPE_UINT32, ret));
	return MIN(r, 0);
}

int systemd_get_main_pid(const char *unit, pid_t *ret)
{
	uint32_t pid;
	int r = systemd_get_number(unit, "MainPID", &pid);

	if (r < 0)
		return r;
	*ret = (pid_t)pid;
	return 0;
}

int systemd_count_stored_fds(const char *unit, unsigned *ret)
{
	uint32_t n;
	int r = systemd_get_number(unit, "NFileDescriptorStore", &n);

	if (r < 0)
		return r;
	*ret = n;
	return 0;
}

int systemd_is_stopping(bool *ret)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	enum systemd_unit_state unit;
	enum systemd_state state;
	bool has_job = false;
	int r;

	r = systemd_connect(&bus);
	if (r == 0)
		r = systemd_read_state(bus, &state);
	if (r < 0)
		return r;
	if (state != SYSTEMD_INITIALIZING && state != SYSTEMD_STARTING) {
		*ret = state == SYSTEMD_STOPPING;
		return 0;
	}
	r = systemd_read_unit_state(bus, SYSTEMD_SHUTDOWN, &unit);
	if (r == 0)
		r = systemd_read_has_job(bus, SYSTEMD_SHUTDOWN, &has_job);
	if (r < 0)
		return r;
	*ret = has_job || unit == SYSTEMD_UNIT_ACTIVE;
	return 0;
}

const char *systemd_unit_state_to_string(enum systemd_unit_state state)
{
	return state < ARRAY_SIZE(systemd_unit_states) ? systemd_unit_states[state] : "unknown";
}

bool systemd_unit_is_busy(enum systemd_unit_state state)
{
	return state != SYSTEMD_UNIT_INACTIVE && state != SYSTEMD_UNIT_FAILED;
}
