/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What the tools of the tests write to: a block device, or a file. All functions report failures. */
#include <stdbool.h>
#include <stdint.h>

struct target {
	const char *path; /* not owned */
	int fd;
	bool is_device;
	bool can_discard, can_punch;
	uint64_t size_bytes;
	uint32_t block_bytes; /* least unit of I/O */
};

/* @direct: O_DIRECT */
int target_open(struct target *t, const char *path, bool direct, bool write);
void target_close(struct target *t);

/* Blocks. Return: 0 or -errno, silent. */
int target_discard(const struct target *t, uint64_t offset_bytes, uint64_t len_bytes);

/* All of it, or -errno (-EIO: less). Silent. */
int target_pread(const struct target *t, void *buf, uint64_t len_bytes, uint64_t offset_bytes);
int target_pwrite(const struct target *t, const void *buf, uint64_t len_bytes,
		  uint64_t offset_bytes);

/* What is read next does not come from the page cache. */
int target_forget(const struct target *t);

uint64_t now_ns(void);
