/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/take-down.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <linux/raid/md_u.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "state/stack.h"
#include "util/fd.h"

static int take_mount(const char *where)
{
	if (strcmp(where, "/") == 0)
		return -EBUSY; /* it would be made read-only */
	return umount2(where, UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

static int take_open(const char *name, int flags)
{
	char path[64];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "/dev/%s", name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Of a disk that is open nowhere else. */
static int take_disk(const char *name, unsigned long request)
{
	AUTO_CLOSE int fd = take_open(name, O_RDONLY | O_EXCL);

	if (fd < 0)
		return fd;
	return ioctl(fd, request, NULL) < 0 ? -errno : 0;
}

static int take_array(const char *name)
{
	return take_disk(name, STOP_ARRAY);
}

static int take_loop(const char *name)
{
	return take_disk(name, LOOP_CLR_FD);
}

static int take_volume(const char *name)
{
	struct dm_ioctl dm = {.version = {DM_VERSION_MAJOR, 0, 0},
			      .data_size = sizeof(dm),
			      .data_start = sizeof(dm)};
	AUTO_CLOSE int fd = -1;

	if (strlen(name) >= sizeof(dm.name))
		return -ENAMETOOLONG;
	memcpy(dm.name, name, strlen(name));
	fd = take_open("mapper/control", O_RDWR);
	if (fd < 0)
		return fd;
	return ioctl(fd, DM_DEV_REMOVE, &dm) < 0 ? -errno : 0;
}

void take_down(uint32_t dev_id, int fd)
{
	static const struct {
		int (*take)(const char *object);
		const char *done;
	} kinds[] = {
		[STACK_MOUNT] = {take_mount, "unmounted "},
		[STACK_LUKS] = {take_volume, "closed /dev/mapper/"},
		[STACK_LVM] = {take_volume, "deactivated /dev/mapper/"},
		[STACK_DM] = {take_volume, "removed /dev/mapper/"},
		[STACK_MD] = {take_array, "stopped /dev/"},
		[STACK_LOOP] = {take_loop, "detached /dev/"},
		[STACK_SWAP] = {NULL, NULL}, /* of systemd's, which does it whoever uses it */
		[STACK_UBLK] = {NULL, NULL}, /* has a server of its own */
		[STACK_OTHER] = {NULL, NULL},
	};
	const struct stack_ublk self = {.name = "", .dev_id = dev_id};
	const struct stack_source from = {.proc = "/proc",
					  .sys = "/sys",
					  .node_type = S_IFBLK,
					  .ublks = &self,
					  .n_ublks = 1,
					  .parts = true};
	AUTO(stack_deinit) struct stack *st = &(struct stack){0};

	if (stack_find(&from, self.name, st) < 0)
		return;
	for (size_t i = 0; i < st->n_steps; i++) {
		const struct stack_step *s = &st->steps[i];

		if (kinds[s->kind].take && kinds[s->kind].take(s->object) == 0)
			(void)dprintf(fd, "%s%s\n", kinds[s->kind].done, s->object);
	}
}
