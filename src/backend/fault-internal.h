/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Shared by fault.c, fault-io.c and fault-power.c. */
#include <liburing.h>
#include <sys/stat.h>

#include "backend/fault-cache.h"
#include "backend/fault.h"

/* The wrapper. What it wraps is a struct backend of another file's making. */
struct backend {
	const struct fault_conf *conf;
	struct io_ops io;       /* of ops */
	struct backend_ops ops; /* what the inner one lacks is lacking here, too */
	const struct backend_ops *inner_ops;
	struct backend *inner;
	const struct limits *limits; /* the device's */
	bool inner_has_cache;        /* FLUSH means something to it */
	bool inner_has_fua;
	struct fault_cache *cache; /* NULL: PowerCut=no */
};

/* Whose the SQE of a slot is, and for what. */
enum fault_phase {
	FAULT_IDLE,  /* the slot has no request */
	FAULT_LOOK,  /* is the file of HangWhile= there? */
	FAULT_HANG,  /* it was; a moment until the next look */
	FAULT_DELAY, /* Latency= */
	FAULT_WAIT,  /* PowerCut=: others are in the way below; a moment until the next look */
	FAULT_BELOW, /* the inner backend's */
};

enum fault_stage {
	STAGE_READ,    /* block by block from the cache or from below */
	STAGE_WRITE,   /* not decided yet what becomes of it */
	STAGE_TORN,    /* kept, and its begin goes down */
	STAGE_THROUGH, /* goes down as a whole, when its turn has come */
	STAGE_DRAIN,   /* FLUSH: what is kept goes down */
	STAGE_SETTLE,  /* FLUSH: what others were sending down has to be there, too */
	STAGE_SYNC,    /* FLUSH: below */
	STAGE_END,     /* slot->result is the answer */
};

struct fault_slot {
	enum fault_phase phase;
	uint64_t number; /* of the request among those of its queue */
	uint32_t n_cqes;
	struct __kernel_timespec timer; /* until its SQE is submitted */

	/* PowerCut=: the inner backend gets parts of the request, in the same struct io. */
	enum fault_stage stage;
	bool in_submit;
	bool completed; /* from within submit() */
	bool begun;     /* fault_cache_begin() was called for the range */
	int result;
	struct io_desc whole; /* the request as it arrived */
	void *buf;
	uint64_t at_bytes;  /* READ: how far it has come; FLUSH: where on the device it is */
	uint32_t n_retries; /* of the parts that are done */
	unsigned n_drains;
	uint64_t n_failed;
	uint64_t ticket;
	struct fault_range range;
};

/* Of one queue, its thread only. */
struct fault_queue {
	struct backend *b;
	void *inner_ctx;
	uint16_t id;
	uint16_t depth;
	uint64_t n_requests;
	uint32_t max_io_bytes;
	uint32_t block_bytes;
	struct statx statx; /* nobody reads it */
	struct fault_slot slots[];
};

extern const struct io_ops fault_io;

static inline struct fault_slot *fault_slot(struct fault_queue *fq, const struct io *io)
{
	return &fq->slots[io->tag];
}

/* What a number is drawn for: each draw is independent of whether there were others. */
enum fault_draw {
	DRAW_ERROR,
	DRAW_JITTER,
	DRAW_FATE,
	DRAW_TEAR,
	DRAW_SHORT, /* and all above it: two for each result */
};

/* By Seed=, queue, number of the request and @draw alone. */
uint64_t fault_draw(const struct fault_queue *fq, const struct fault_slot *s, uint32_t draw);

/* Come back to on_cqe() in that phase. */
void fault_sleep(struct fault_queue *fq, struct io *io, enum fault_phase phase, uint64_t ns);

/* The answer, to the kernel. */
void fault_finish(struct fault_queue *fq, struct io *io, int r);

/* fault-power.c: requests through the cache of PowerCut=. */
void fault_power_start(struct fault_queue *fq, struct io *io);
void fault_power_go(struct fault_queue *fq, struct io *io);
void fault_power_complete(struct fault_queue *fq, struct io *io, int r);
/* The queue has ended, perhaps with requests that will never complete. */
void fault_power_forget(struct fault_queue *fq);
/* Logging. Main thread, nothing is under way: write down what is kept. */
int fault_power_drain(struct backend *b);
