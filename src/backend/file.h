/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by the files of Type=file: what stands open, and who does which part of opening it. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backend/backend.h"
#include "util/cleanup.h"

struct io_uring_sqe;

struct backend {
	int fd; /* locked as long as it is open */
	char *path;
	struct stat st; /* as it was found; the size may have changed since */
	bool is_block;
	bool read_only;
	bool takeover;        /* the predecessor's last traces may still hold it */
	bool created;         /* by us, so it goes again if the start fails */
	bool allocated;       /* Create=prealloc: no operation may give space back */
	uint32_t block_bytes; /* block device: its own logical block; else 0 */
	uint32_t align_bytes; /* of offsets and lengths of direct I/O; 1: buffered */
	uint64_t size_bytes;  /* written by the main thread, atomic, since queues read it */
	void *zeros;          /* FILE_ZEROS_BYTES of them, which take no memory */
};

/* Largest write of WRITE_ZEROES where the file system cannot do it alone. */
#define FILE_ZEROS_BYTES (1U << 20)

/*
 * file-open.c. Logging. Opens, creates and locks what the definition names, and gives it the size
 * that it asks for: fills fd to size_bytes.
 */
int file_open_backing(const struct backend_request *req, struct backend *b);
/* Silent. A new file outlives a power cut only with its directory. */
int file_sync_dir(const char *path);
/* Silent: what open() made goes again. Only as long as the lock is held. */
void file_remove_created(struct backend *b);

/*
 * file-size.c. Logging. The size that the definition asks for, or the file's own; -EINVAL if it
 * cannot be had. At a takeover nothing changes, and the file may have more than the device.
 */
int file_set_size(const struct backend_request *req, struct backend *b);
/* The same while the device is in use, as in backend_ops. -EINVAL also: the file became shorter. */
int file_resize(struct backend *b, const struct backend_request *req, uint64_t *ret_size_bytes);

/*
 * file-lock.c. Logging. One writer or many readers, until the descriptor is closed: of the file
 * and not of its name. -EBUSY: somebody else has it, and the message says who.
 */
int file_lock(const struct backend *b);
/* Silent. At once, and not when the last ring has let go of the descriptor. */
void file_unlock(const struct backend *b);
/* Silent. After -EBUSY: sleeps a moment; false: it is no use, there is a holder or it took long. */
bool file_wait_for_release(const struct backend *b, unsigned *waited_ms);
/* Logging: returns -EBUSY. For a block device that open() found claimed. */
int file_log_busy(const char *path, const struct stat *st);

/* file-probe.c. Logging. Direct I/O or not; what the file can do goes to *ret_limits. */
int file_probe(const struct backend_request *req, struct backend *b, struct limits *ret_limits);
/* Silent. Discard a range of a block device. */
void file_prep_trim(struct io_uring_sqe *sqe, int fd, uint64_t offset_bytes, uint64_t len_bytes);
