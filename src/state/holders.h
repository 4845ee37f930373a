/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Who uses a block device: what is mounted from it or from one of its partitions, devices stacked
 * upon it, swap, and processes that have it open. From /proc and /sys; the device is not touched.
 * The server uses this interface too (src/device): keep its shape.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/cleanup.h"

enum holder_kind {
	HOLDER_MOUNT,   /* text: where */
	HOLDER_SWAP,    /* text: the node */
	HOLDER_DEVICE,  /* text: of device-mapper, md, ...: kernel name and, if any, its own name */
	HOLDER_PROCESS, /* text: command and pid */
};

struct holder {
	enum holder_kind kind;
	char *text;
};

struct holders {
	struct holder *items;
	size_t n;
};

/**
 * holders_find() - all holders of /dev/ublkb@dev_id and its partitions
 * @h:	initialized, by {0} or an earlier call, whose findings are replaced
 *
 * Silent. The calling process does not count. Processes of others are seen with CAP_SYS_PTRACE
 * only; a mount in another mount namespace than ours and that of init is not seen. The texts hold no
 * control characters: those of a name are shown as "?".
 * Return: 0; -ENODEV: no such block device; else -errno, with what was found until then.
 */
int holders_find(uint32_t dev_id, struct holders *h);

/* The same without processes, for whoever asks for many devices at once. */
int holders_find_lasting(uint32_t dev_id, struct holders *h);

/* Processes that have /dev/ublkc@dev_id open: its server, and who has a descriptor of that one. */
int holders_find_char(uint32_t dev_id, struct holders *h);

/* Where holders_find() looks. */
struct holders_source {
	const char *proc;
	const char *sys;
	pid_t self;        /* the process that does not count */
	mode_t node_type;  /* S_IFBLK; tests have no block devices */
	bool no_processes; /* leave them out: their open files are the costly part */
};

int holders_find_in(const struct holders_source *from, uint32_t dev_id, struct holders *h);

/* One line: "mounted on /srv/data; held by dm-0 (vg-data); open in dd (pid 812)". What does not fit
 * is counted: "...; and 7 more". Empty if nobody holds it. Returns buf. */
const char *holders_to_string(const struct holders *h, char *buf, size_t size);

/* "mount", "swap", "device", "process" */
const char *holder_kind_to_string(enum holder_kind kind);

void holders_deinit(struct holders *h);
DEFINE_AUTO(struct holders *, holders_deinit);
