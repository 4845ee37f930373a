/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Type=nbd, in parts:
 *
 *	nbd-lib.c	the library
 *	nbd-command.c	the server, where it is a program that we start
 *	nbd-server.c	the server: its addresses, how a connection begins, what it offers
 *	nbd-tls.c	how it is secured
 *	nbd-proof.c	what it has acknowledged, to tell it from another one when it comes back
 *	nbd-fence.c	what may still be on its way when there is none
 *	nbd-link.c	the connection of a queue, which may be lost and found again
 *	nbd.c		requests, and the backend as the device sees it
 *
 * Threads: the main one until the queues start and when they have ended; between that each queue has
 * its link, and they share the proof and the trouble.
 */
#include <stdatomic.h>
#include <sys/socket.h>

#include "backend/backend.h"
#include "backend/nbd-command.h"
#include "backend/nbd-lib.h"
#include "backend/nbd-proof.h"
#include "backend/nbd-tls.h"
#include "conf/nbd-uri.h"
#include "ring/event.h"
#include "ring/queue.h"
#include "util/cleanup.h"

#define NBD_MAX_ADDRESSES     8
/* What a server takes in one request that does not say it, by the protocol. */
#define NBD_DEFAULT_MAX_BYTES (32U << 20)
#define NBD_NS_PER_S          1000000000ULL

/* ---- nbd-server.c ---- */

/* What a server has said when a connection begins. */
struct nbd_offer {
	uint64_t size_bytes;
	uint32_t min_bytes;
	uint32_t preferred_bytes;
	uint32_t max_bytes;
	bool read_only;
	bool rotational;
	bool flush;
	bool fua;
	bool trim;
	bool zero;
	bool multi_conn;
};

struct nbd_address {
	struct sockaddr_storage addr;
	socklen_t len;
};

/* Why there is no connection. */
enum nbd_trouble {
	NBD_LOST,    /* cannot be made, with an errno */
	NBD_CHANGED, /* the server offers something else than before */
	NBD_FORGOT,  /* it does not have what it had acknowledged */
};

struct backend {
	struct nbd_uri uri;
	struct nbd_tls tls;
	struct nbd_command *command; /* NULL: it is somewhere else */
	char *text;                  /* for people */
	bool structured;             /* replies, if the server has them */
	uint64_t timeout_ns;
	struct nbd_address addresses[NBD_MAX_ADDRESSES];
	unsigned n_addresses;
	uint64_t fence_ns;           /* 0: none */
	uint64_t fence_until_ns;     /* of a takeover; 0: none */
	int dir_fd;                  /* for its mark; -1: none */
	_Atomic bool unsettled;      /* a queue has left with requests on their way */
	struct nbd_offer offer;      /* but for its size */
	_Atomic uint64_t size_bytes; /* which a reload may find to be more */
	_Atomic uint64_t seen_bytes; /* of a server that came back with another one */
	struct nbd_proof proof;
	/* A connection that no queue uses: of the first one before it starts and when it has ended. */
	struct nbd_handle *_Atomic spare;
	_Atomic bool lent; /* to the first queue */
	_Atomic int trouble;
	_Atomic int trouble_errno;
	char trouble_text[320]; /* main thread */
};

/* Silent. Looks up the host. 0, or -errno: -ENXIO: no such name. */
int nbd_server_resolve(struct backend *b);
/* Silent. A handle that has begun to connect. */
int nbd_server_begin(const struct backend *b, unsigned address, struct nbd_handle **ret);
/* What can be done about what poll() says. 0, or -errno, which may be of the whole connection. */
int nbd_server_notify(struct nbd_handle *h, bool readable, bool writable);
bool nbd_server_is_gone(struct nbd_handle *h);
/* Of a handle that is ready. */
uint64_t nbd_server_get_size(struct nbd_handle *h);
void nbd_server_get_offer(struct nbd_handle *h, struct nbd_offer *ret);
/* A new offer in place of the one that the device was made from. */
bool nbd_server_is_same(const struct backend *b, const struct nbd_offer *is);
/* What the kernel should notice by itself. */
void nbd_server_watch(struct nbd_handle *h);

/* Silent, blocks. Over any address. @interrupt may be NULL; -ECANCELED. */
int nbd_server_connect(const struct backend *b, uint64_t deadline_ns, bool (*interrupt)(void *arg),
		       void *arg, struct nbd_handle **ret);
/* Silent, blocks. On a handle that nobody else uses, which is not to be used any more if it fails. */
int nbd_server_flush(struct nbd_handle *h, uint64_t deadline_ns);
/* Does not wait for an answer. Takes NULL. */
struct nbd_handle *nbd_server_leave(struct nbd_handle *h);
DEFINE_AUTO(struct nbd_handle *, nbd_server_leave);

/* ---- nbd-fence.c ---- */

void nbd_fence_open(struct backend *b, const struct backend_request *req, uint64_t fence_ns);
void nbd_fence_close(struct backend *b);

/* ---- nbd-link.c; on the queue's thread ---- */

enum nbd_link_state {
	NBD_LINK_UP,
	NBD_LINK_WAITING,    /* until it is time to try again */
	NBD_LINK_CONNECTING, /* until the handle is ready */
	NBD_LINK_CHECKING,   /* it is, and is asked for what it had acknowledged */
};

struct nbd_request {
	struct nbd_link *link;
	struct io *io; /* NULL: free */
	uint64_t claim;
	bool sent;
	int error;                /* of the answer, positive */
	struct nbd_request *next; /* of those with an answer */
};

struct nbd_link {
	struct backend *b;
	struct queue *queue;
	struct nbd_handle *h; /* not while WAITING */
	enum nbd_link_state state;
	uint64_t size_bytes; /* of the disk when this connection began */
	bool renews;         /* it goes when nothing is on its way, for one that serves */
	bool gave_up;        /* requests fail until it is up again */
	struct queue_event readable, writable, retry, watch, fence;
	bool lost_change;        /* one was sent, and ends without an answer */
	uint64_t fence_until_ns; /* no change is sent before; 0: none */
	unsigned n_sent;
	unsigned n_answers;      /* ever */
	uint64_t answered_bytes; /* of those of this look at the socket */
	struct nbd_request *answers;
	uint64_t heard_ns; /* last sign of life while something was asked */
	uint64_t retry_ns; /* when to try again; the end of a try that does not end */
	uint64_t backoff_ns;
	unsigned address;
	unsigned check;       /* slot of the proof */
	uint64_t check_entry; /* what is being read */
	int check_error;      /* -1: no answer yet */
	void *check_buf;
	unsigned depth;
	struct nbd_request requests[];
};

/* On a connection that is there. */
int nbd_link_new(struct backend *b, struct queue *q, struct nbd_handle *h, struct nbd_link **ret);
/* The connection, if it is up; the rest is freed. */
struct nbd_handle *nbd_link_free(struct nbd_link *l);
/* Send it, now or when that is possible. */
void nbd_link_submit(struct nbd_link *l, struct io *io);
void nbd_link_on_event(struct nbd_link *l, struct queue_event *e, int res);
