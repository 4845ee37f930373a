/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The unit has a network namespace of its own, where no udev monitor is heard, and inotify would wake
 * every server that waits for each event of every device: hundreds that start together would leave
 * udev no processor. So it is looked for, less often the longer it takes.
 */
#include "device/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libudev.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"

#define NODE_UDEV_CONTROL "/run/udev/control"
#define NODE_TICK_MIN_MS  2
#define NODE_TICK_MAX_MS  200
#define NODE_TICK_SHARE   8    /* a tick is this part of the time that has passed */
#define NODE_DATABASE_MS  1000 /* between two looks at the database, which costs more */

DEFINE_AUTO(struct udev *, udev_unref);
DEFINE_AUTO(struct udev_device *, udev_device_unref);

/* Is udev done with a device of this number that came after @since_ns? The database of an earlier one
 * is there until udev comes to its removal. */
static bool node_udev_is_done(uint32_t dev_id, uint64_t since_ns)
{
	AUTO(udev_unref) struct udev *udev = udev_new();
	AUTO(udev_device_unref) struct udev_device *dev = NULL;
	char sysname[32];

	if (!udev)
		return false;
	snprintf(sysname, sizeof(sysname), "ublkb%u", dev_id);
	dev = udev_device_new_from_subsystem_sysname(udev, "block", sysname);
	if (!dev || udev_device_get_is_initialized(dev) <= 0)
		return false;
	return clock_now_ns() - udev_device_get_usec_since_initialized(dev) * 1000 >= since_ns;
}

static bool node_has_link(uint32_t dev_id, const char *name)
{
	char node[64], link[128];
	struct stat a, b;

	snprintf(node, sizeof(node), "/dev/ublkb%u", dev_id);
	snprintf(link, sizeof(link), "/dev/ublk/%s", name);
	return stat(link, &b) == 0 && stat(node, &a) == 0 && S_ISBLK(a.st_mode) &&
	       a.st_rdev == b.st_rdev;
}

int node_wait(uint64_t since_ns, uint32_t dev_id, const char *name, unsigned timeout_s,
	      node_interrupt_fn interrupt, void *arg)
{
	const uint64_t start_ns = clock_now_ns();
	uint64_t database_ms = 0; /* when it was last looked at for a device without link */

	if (access(NODE_UDEV_CONTROL, F_OK) < 0)
		return -ENOENT;
	for (;;) {
		uint64_t waited_ms = (clock_now_ns() - start_ns) / 1000000;
		uint64_t tick_ms = waited_ms / NODE_TICK_SHARE;

		if (node_has_link(dev_id, name)) {
			if (node_udev_is_done(dev_id, 0))
				return 0;
		} else if (waited_ms - database_ms >= NODE_DATABASE_MS) {
			database_ms = waited_ms;
			/* links come before the database */
			if (node_udev_is_done(dev_id, since_ns) && !node_has_link(dev_id, name))
				return -ENOLINK;
		}
		if (waited_ms >= (uint64_t)timeout_s * 1000)
			return -ETIMEDOUT;
		if (interrupt && interrupt(arg))
			return -ECANCELED;
		tick_ms = tick_ms < NODE_TICK_MIN_MS   ? NODE_TICK_MIN_MS
			  : tick_ms > NODE_TICK_MAX_MS ? NODE_TICK_MAX_MS
						       : tick_ms;
		if (poll(NULL, 0, (int)tick_ms) < 0 && errno != EINTR)
			return -errno;
	}
}

static int node_write_attribute(uint32_t dev_id, const char *attribute, const char *value)
{
	AUTO_CLOSE int fd = -1;
	char path[96];

	snprintf(path, sizeof(path), "/sys/block/ublkb%" PRIu32 "/%s", dev_id, attribute);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}

int node_set_depth(uint32_t dev_id, unsigned n_requests)
{
	char value[16];

	snprintf(value, sizeof(value), "%u", n_requests);
	return node_write_attribute(dev_id, "queue/nr_requests", value);
}

int node_trigger(uint32_t dev_id, const char *action)
{
	return node_write_attribute(dev_id, "uevent", action);
}

int node_sync(uint32_t dev_id)
{
	AUTO_CLOSE int fd = -1;
	char path[32];

	snprintf(path, sizeof(path), "/dev/ublkb%" PRIu32, dev_id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}
