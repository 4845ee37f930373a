/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/systemd.h"

#include <string.h>
#include <systemd/sd-bus.h>

#include "util/cleanup.h"

#define SYSTEMD_SOCKET     "/run/systemd/private"
#define SYSTEMD_SERVICE    "org.freedesktop.systemd1"
#define SYSTEMD_PATH       "/org/freedesktop/systemd1"
#define SYSTEMD_TIMEOUT_US (5 * 1000 * 1000)

DEFINE_AUTO(sd_bus *, sd_bus_close_unref);

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

static int systemd_connect(sd_bus **ret)
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
	if (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET)
		return -EHOSTDOWN;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(bus);
	return 0;
}

static int systemd_get_property(const char *path, const char *interface, const char *property,
				char **ret)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	char *value;
	int r;

	r = systemd_connect(&bus);
	if (r < 0)
		return r;
	r = sd_bus_get_property_string(bus, SYSTEMD_SERVICE, path, interface, property, NULL,
				       &value);
	if (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)
		return -EHOSTDOWN;
	if (r < 0)
		return r;
	*ret = value;
	return 0;
}

int systemd_get_state(enum systemd_state *ret)
{
	AUTO_FREE char *word = NULL;
	int r;

	r = systemd_get_property(SYSTEMD_PATH, SYSTEMD_SERVICE ".Manager", "SystemState", &word);
	if (r < 0)
		return r;
	*ret = systemd_find_word(systemd_states, ARRAY_SIZE(systemd_states), word);
	return 0;
}

int systemd_get_unit_state(const char *unit, enum systemd_unit_state *ret)
{
	AUTO_FREE char *path = NULL, *word = NULL;
	int r;

	r = sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path);
	if (r < 0)
		return r;
	/* Asking for the object of a unit makes systemd load it, so there is one for any name. */
	r = systemd_get_property(path, SYSTEMD_SERVICE ".Unit", "ActiveState", &word);
	if (r < 0)
		return r;
	*ret = systemd_find_word(systemd_unit_states, ARRAY_SIZE(systemd_unit_states), word);
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
