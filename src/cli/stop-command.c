/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/stop.h"

#include <errno.h>
#include <stdio.h>

int stop_command(const struct stack_step *s, const char *ret[static STOP_COMMAND_MAX], char *buf,
		 size_t size)
{
	static const struct {
		const char *words[3];
		const char *prefix; /* of the object */
	} tools[] = {
		[STACK_MOUNT] = {{"umount", "--"}, ""},
		[STACK_SWAP] = {{"swapoff", "--"}, ""},
		[STACK_LUKS] = {{"cryptsetup", "close", "--"}, ""},
		[STACK_LVM] = {{"lvchange", "--activate=n", "--"}, "/dev/mapper/"},
		[STACK_DM] = {{"dmsetup", "remove", "--"}, ""},
		[STACK_MD] = {{"mdadm", "--stop"}, "/dev/"},
		[STACK_LOOP] = {{"losetup", "--detach"}, "/dev/"},
		[STACK_OTHER] = {{NULL}, ""},
		[STACK_UBLK] = {{NULL}, ""},
	};
	size_t n = 0;

	if (!tools[s->kind].words[0])
		return -EOPNOTSUPP;
	if ((size_t)snprintf(buf, size, "%s%s", tools[s->kind].prefix, s->object) >= size)
		return -ENAMETOOLONG;
	while (n < ARRAY_SIZE(tools[0].words) && tools[s->kind].words[n]) {
		ret[n] = tools[s->kind].words[n];
		n++;
	}
	ret[n] = buf;
	ret[n + 1] = NULL;
	return 0;
}
