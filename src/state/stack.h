/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What stands upon a device, and in which order it is taken down: mounts with those below them, swap,
 * device-mapper, md, loop, and ublk devices whose images lie there. From /proc and /sys; nothing is
 * changed and no device touched.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/cleanup.h"

enum stack_kind {
	STACK_MOUNT, /* object: where */
	STACK_SWAP,  /* object: node or file */
	STACK_LUKS,  /* object: its name in /dev/mapper */
	STACK_LVM,   /* the same, of a logical volume */
	STACK_DM,    /* the same, of anything else */
	STACK_MD,    /* object: kernel name, "md0" */
	STACK_LOOP,  /* the same, "loop0" */
	STACK_UBLK,  /* object: name of the device */
	STACK_OTHER, /* object: kernel name of what we do not know how to stop */
};

struct stack_step {
	enum stack_kind kind;
	char *object;
	char *unit; /* that systemd has for it, if it has one; NULL: it has none of that kind */
};

/* First to last; the device itself comes last. */
struct stack {
	struct stack_step *steps;
	size_t n_steps;
};

/* A ublk device with a name. */
struct stack_ublk {
	const char *name;
	uint32_t dev_id;
	const char *target; /* path of what it has behind it; NULL or empty: nothing */
};

struct stack_source {
	const char *proc;
	const char *sys;
	mode_t node_type; /* S_IFBLK; tests have no block devices */
	const struct stack_ublk *ublks;
	size_t n_ublks;
	bool parts; /* of logical volumes, too, each as a STACK_DM: for who does not use LVM's tools */
};

/**
 * stack_find() - what has to go before a device can
 * @name:	one of the source's devices
 * @st:		starts zeroed; on failure it is for stack_deinit() all the same
 *
 * Silent. Return: 0; -ENODEV: no such device; else -errno.
 */
int stack_find(const struct stack_source *from, const char *name, struct stack *st);

void stack_deinit(struct stack *st);
DEFINE_AUTO(struct stack *, stack_deinit);

/* "unmount", "swap off", ... what is done to an object of that kind */
const char *stack_verb(enum stack_kind kind);
