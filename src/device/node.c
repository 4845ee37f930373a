/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The unit has a network namespace of its own, where no udev monitor is heard. But udev replaces
 * a file in its database as the last step for each event, after the links, and inotify sees that.
 */
#include "device/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libudev.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include "util/cleanup.h"

#define NODE_UDEV_CONTROL "/run/udev/control"
#define NODE_UDEV_DATA    "/run/udev/data"
#define NODE_TICK_MS      200
#define NODE_LINK_GRACE_S 5

DEFINE_AUTO(struct udev *, udev_unref);
DEFINE_AUTO(struct udev_device *, udev_device_unref);

int node_open_watch(void)
{
	AUTO_CLOSE int fd = -1;

	if (access(NODE_UDEV_CONTROL, F_OK) < 0)
		return -ENOENT;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return -errno;
	/* udev makes the directory with its first device; until then the ticks below must do. */
	if (inotify_add_watch(fd, NODE_UDEV_DATA, IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE) < 0 &&
	    errno != ENOENT)
		return -errno;
	return TAKE_FD(fd);
}

static bool node_udev_is_done(uint32_t dev_id)
{
	AUTO(udev_unref) struct udev *udev = udev_new();
	AUTO(udev_device_unref) struct udev_device *dev = NULL;
	char sysname[32];

	if (!udev)
		return false;
	snprintf(sysname, sizeof(sysname), "ublkb%u", dev_id);
	dev = udev_device_new_from_subsystem_sysname(udev, "block", sysname);
	return dev && udev_device_get_is_initialized(dev) > 0;
}

static bool node_has_link(uint32_t dev_id, const char *name)
{
	char node[64], link[128];
	struct stat a, b;

	snprintf(node, sizeof(node), "/dev/ublkb%u", dev_id);
	snprintf(link, sizeof(link), "/dev/ublk/%s", name);
	return stat(node, &a) == 0 && stat(link, &b) == 0 && S_ISBLK(a.st_mode) &&
	       a.st_rdev == b.st_rdev;
}

static void node_drain(int watch_fd)
{
	char buf[4096];

	while (read(watch_fd, buf, sizeof(buf)) > 0)
		;
}

int node_wait(int watch_fd, uint32_t dev_id, const char *name, unsigned timeout_s,
	      node_interrupt_fn interrupt, void *arg)
{
	struct timespec start, now;
	time_t done_s = 0; /* since when udev is done */

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct pollfd p = {.fd = watch_fd, .events = POLLIN};

		node_drain(watch_fd); /* before looking: what comes later wakes us */
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (node_udev_is_done(dev_id)) {
			if (node_has_link(dev_id, name))
				return 0;
			/* It may have been done with an earlier device of the same number. */
			done_s = done_s ?: now.tv_sec;
			if (now.tv_sec - done_s >= NODE_LINK_GRACE_S)
				return -ENOLINK;
		}
		if (now.tv_sec - start.tv_sec >= (time_t)timeout_s)
			return -ETIMEDOUT;
		if (interrupt && interrupt(arg))
			return -ECANCELED;
		if (poll(&p, 1, NODE_TICK_MS) < 0 && errno != EINTR)
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
