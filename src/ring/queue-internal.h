/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by io.c and queue.c: what a queue is made of. Only the queue's thread touches it. */
#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>

#include "ring/queue.h"

/* Registered files: the char device, then what backends register. */
#define QUEUE_DEV_FILE 0
#define QUEUE_N_FILES  8

struct queue {
	struct queue_config config;
	struct io_uring ring;
	bool have_ring;
	unsigned cmd_flags; /* IO_CMD_* for our commands */
	unsigned n_files;
	void *descs; /* the kernel's descriptors, read-only */
	size_t descs_bytes;
	void *bufs; /* depth buffers; pages are taken when first written */
	size_t bufs_bytes;
	struct io *ios;
	void *backend_ctx;
	bool have_backend_ctx;
	unsigned n_dead;       /* slots in IO_DEAD */
	unsigned n_at_backend; /* slots in IO_AT_BACKEND */
	uint64_t wake_value;

	/* shared with the main thread */
	int wake_fd;   /* eventfd: look at stop */
	int stop;      /* atomic */
	int ended;     /* atomic, release: result is valid */
	int result;    /* of the thread */
	int failed;    /* atomic: a request has failed since queue_take_failed() */
	sem_t started; /* posted once: started_r is valid */
	int started_r;
	pthread_t thread;
};

/* A request has failed: tell the main thread, which reports it when it sees fit. */
void queue_note_failure(struct queue *q);

/* The answer of a slot, with the next turn's system call. */
void queue_commit(struct io *io, int32_t result);
