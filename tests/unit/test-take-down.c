/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands upon a device, layer by layer: what the kernel is asked for, and what is left alone. */
#include "service/take-down.h"

#include "golden.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <linux/raid/md_u.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "state/stack.h"

#define FD 1000

static const struct stack_step *steps;
static size_t n_steps;
static bool is_busy, excludes;
static int said_fd;
static char asked[512], opened[64], said[1024];

static void ask(const char *what, const char *object)
{
	size_t len = strlen(asked);

	snprintf(asked + len, sizeof(asked) - len, "%s %s\n", what, object);
}

int __wrap_stack_find(const struct stack_source *from, const char *name, struct stack *st);
int __wrap_stack_find(const struct stack_source *from, const char *name, struct stack *st)
{
	assert_string_equal(from->proc, "/proc");
	assert_int_equal(from->ublks[0].dev_id, 3);
	assert_string_equal(from->ublks[0].name, name);
	assert_true(from->parts);
	st->steps = calloc(n_steps + 1, sizeof(*st->steps));
	assert_non_null(st->steps);
	for (; st->n_steps < n_steps; st->n_steps++)
		st->steps[st->n_steps] =
			(struct stack_step){.kind = steps[st->n_steps].kind,
					    .object = strdup(steps[st->n_steps].object)};
	return 0;
}

static int answer(void)
{
	errno = EBUSY;
	return is_busy ? -1 : 0;
}

int __wrap_umount2(const char *target, int flags);
int __wrap_umount2(const char *target, int flags)
{
	assert_int_equal(flags, UMOUNT_NOFOLLOW);
	ask("umount", target);
	return answer();
}

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	snprintf(opened, sizeof(opened), "%s", path);
	excludes = flags & O_EXCL;
	return FD;
}

int __wrap_close(int fd);
int __wrap_close(int fd)
{
	assert_int_equal(fd, FD);
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	const struct dm_ioctl *dm = arg;

	assert_int_equal(fd, FD);
	if (request == DM_DEV_REMOVE) {
		assert_string_equal(opened, "/dev/mapper/control");
		assert_int_equal(dm->version[0], DM_VERSION_MAJOR);
		assert_int_equal(dm->data_size, sizeof(*dm));
		assert_int_equal(dm->flags, 0); /* not later, when it is free */
		ask("remove", dm->name);
		return answer();
	}
	assert_true(excludes);
	assert_true(request == STOP_ARRAY || request == LOOP_CLR_FD);
	ask(request == STOP_ARRAY ? "stop" : "clear", opened);
	return answer();
}

static void run(const struct stack_step *list, size_t n)
{
	ssize_t len;

	steps = list;
	n_steps = n;
	asked[0] = '\0';
	assert_int_equal(ftruncate(said_fd, 0), 0);
	assert_int_equal(lseek(said_fd, 0, SEEK_SET), 0);
	take_down(3, said_fd);
	len = pread(said_fd, said, sizeof(said) - 1, 0);
	assert_true(len >= 0);
	said[len] = '\0';
}

#define STEP(k, o)                                                                                 \
	{                                                                                          \
		.kind = STACK_##k, .object = (char *)(o)                                           \
	}

static const struct stack_step stacked[] = {
	STEP(LOOP, "loop4"),  STEP(MOUNT, "/srv/data"), STEP(LVM, "vg-data"),
	STEP(LUKS, "secret"), STEP(DM, "plain"),        STEP(MD, "md127"),
};

static void test_each_layer_goes(void **state)
{
	is_busy = false;
	run(stacked, ARRAY_SIZE(stacked));
	assert_string_equal(asked,
			    "clear /dev/loop4\numount /srv/data\nremove vg-data\nremove secret\n"
			    "remove plain\nstop /dev/md127\n");
	assert_string_equal(said, "detached /dev/loop4\nunmounted /srv/data\n"
				  "deactivated /dev/mapper/vg-data\nclosed /dev/mapper/secret\n"
				  "removed /dev/mapper/plain\nstopped /dev/md127\n");
}

static void test_what_is_in_use_stays_in_silence(void **state)
{
	is_busy = true;
	run(stacked, ARRAY_SIZE(stacked));
	assert_non_null(strstr(asked, "stop /dev/md127"));
	assert_string_equal(said, "");
}

/* Nor what has a name that is too long for the kernel. */
static void test_what_is_not_ours_is_not_asked_for(void **state)
{
	char name[DM_NAME_LEN + 1] = "";
	const struct stack_step left_alone[] = {
		STEP(MOUNT, "/"),     STEP(SWAP, "/dev/dm-0"), STEP(UBLK, "inner"),
		STEP(OTHER, "drbd0"), STEP(DM, name),          STEP(MD, name),
	};

	memset(name, 'x', sizeof(name) - 1);
	is_busy = false;
	run(left_alone, ARRAY_SIZE(left_alone));
	assert_string_equal(asked, "");
	assert_string_equal(said, "");
	run(NULL, 0);
	assert_string_equal(asked, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_layer_goes),
		cmocka_unit_test(test_what_is_in_use_stays_in_silence),
		cmocka_unit_test(test_what_is_not_ours_is_not_asked_for),
	};

	said_fd = memfd_create("said", MFD_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
