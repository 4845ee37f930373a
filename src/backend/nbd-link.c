/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue's connection. While there is none, requests stay with us, the new ones too; when it is there
 * again all that have no answer are sent, in any order: their users wait for all of them. They fail
 * when nothing was heard for Timeout=, and from then on at once, until the server is there again.
 *
 * A connection that is only slow is kept until then: requests that are on their way to a server that
 * hangs are carried out when it goes on, and would undo what was written on a newer connection.
 *
 * The library allocates memory for each request and each connection. The thread is one whose memory
 * does not wait for its own device (PR_SET_IO_FLUSHER).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "backend/nbd.h"
#include "util/clock.h"

#define NBD_FIRST_BACKOFF_NS (NBD_NS_PER_S / 20)
#define NBD_MAX_BACKOFF_NS   (5 * NBD_NS_PER_S)
#define NBD_TRY_NS           (10 * NBD_NS_PER_S)
#define NBD_WATCH_NS         NBD_NS_PER_S
#define NBD_SETTLE_NS        (NBD_NS_PER_S / 200)
#define NBD_REPLY_BYTES      16 /* of a simple reply, without the data of a READ */

static void nbd_link_settle(struct nbd_link *l);
static void nbd_link_renew(struct nbd_link *l);

static bool nbd_request_changes(const struct io *io)
{
	return io->op == IO_WRITE || io->op == IO_WRITE_ZEROES || io->op == IO_DISCARD;
}

static void nbd_request_finish(struct nbd_request *req, int r)
{
	struct io *io = TAKE_PTR(req->io);

	if (nbd_request_changes(io))
		nbd_proof_end(&req->link->b->proof, io->offset_bytes, io->len_bytes, req->claim,
			      r == 0 && io->op == IO_WRITE ? io->buf : NULL);
	io_complete(io, r);
}

/* Only notes it: the library holds its lock. */
static int nbd_link_on_answer(void *arg, int *error)
{
	struct nbd_request *req = arg;
	struct nbd_link *l = req->link;

	req->error = *error;
	l->answered_bytes += NBD_REPLY_BYTES;
	if (req->io->op == IO_READ && *error == 0)
		l->answered_bytes += req->io->len_bytes;
	req->next = l->answers;
	l->answers = req;
	l->n_answers++;
	return 1;
}

/* Give it to the library. 0; -errno: it will not come back. */
static int nbd_request_send(struct nbd_request *req)
{
	nbd_completion_callback done = {.callback = nbd_link_on_answer, .user_data = req};
	struct nbd_handle *h = req->link->h;
	const struct io *io = req->io;
	const uint64_t at = io->offset_bytes, n = io->len_bytes;
	const uint32_t fua =
		io->flags & IO_FUA && req->link->b->offer.fua ? LIBNBD_CMD_FLAG_FUA : 0;
	int64_t r = -1;

	switch (io->op) {
	case IO_READ:
		r = nbd_lib.aio_pread(h, io->buf, n, at, done, 0);
		break;
	case IO_WRITE:
		r = nbd_lib.aio_pwrite(h, io->buf, n, at, done, fua);
		break;
	case IO_FLUSH:
		r = nbd_lib.aio_flush(h, done, 0);
		break;
	case IO_DISCARD:
		r = nbd_lib.aio_trim(h, n, at, done, fua);
		break;
	case IO_WRITE_ZEROES:
		r = nbd_lib.aio_zero(h, n, at, done,
				     fua | (io->flags & IO_NOUNMAP ? LIBNBD_CMD_FLAG_NO_HOLE : 0));
		break;
	case IO_OTHER:
	case N_IO_OPS:
		return -EOPNOTSUPP;
	}
	return r < 0 ? -nbd_errno() : 0;
}

static void nbd_link_arm_watch(struct nbd_link *l)
{
	const uint64_t timeout_ns = l->b->timeout_ns;

	if (timeout_ns == 0 || l->watch.armed ||
	    (l->state == NBD_LINK_UP ? l->n_sent == 0 : l->gave_up))
		return;
	queue_wait_ns(l->queue, &l->watch, MIN(NBD_WATCH_NS, timeout_ns / 4));
}

static void nbd_link_arm(struct nbd_link *l)
{
	unsigned direction = nbd_lib.aio_get_direction(l->h);
	int fd = nbd_lib.aio_get_fd(l->h);

	if (direction & LIBNBD_AIO_DIRECTION_READ && !l->readable.armed)
		queue_wait_fd(l->queue, &l->readable, fd, POLLIN);
	if (direction & LIBNBD_AIO_DIRECTION_WRITE && !l->writable.armed)
		queue_wait_fd(l->queue, &l->writable, fd, POLLOUT);
}

static void nbd_link_wait(struct nbd_link *l, uint64_t ns)
{
	l->retry_ns = clock_now_ns() + ns;
	if (l->retry.armed)
		queue_cancel(&l->retry); /* comes at once, and is set anew then */
	else
		queue_wait_ns(l->queue, &l->retry, ns);
}

/* What was sent and has no answer may be carried out for so long. */
static void nbd_link_raise_fence(struct nbd_link *l)
{
	if (l->b->fence_ns == 0)
		return;
	if (l->lost_change) {
		l->lost_change = false;
		l->fence_until_ns = clock_now_ns() + l->b->fence_ns;
	}
	for (unsigned i = 0; i < l->depth; i++) {
		const struct nbd_request *req = &l->requests[i];

		if (req->io && req->sent && nbd_request_changes(req->io)) {
			l->fence_until_ns = clock_now_ns() + l->b->fence_ns;
			return;
		}
	}
}

/* Has this to wait for it? */
static bool nbd_link_holds(struct nbd_link *l, const struct nbd_request *req)
{
	uint64_t now_ns;

	if (l->fence_until_ns == 0 || !nbd_request_changes(req->io))
		return false;
	now_ns = clock_now_ns();
	if (now_ns >= l->fence_until_ns) {
		l->fence_until_ns = 0;
		return false;
	}
	if (!l->fence.armed)
		queue_wait_ns(l->queue, &l->fence, l->fence_until_ns - now_ns);
	return true;
}

static void nbd_link_leave(struct nbd_link *l)
{
	l->h = nbd_server_leave(l->h);
	nbd_link_raise_fence(l);
	for (unsigned i = 0; i < l->depth; i++)
		l->requests[i].sent = false;
	if (l->state == NBD_LINK_UP && l->n_sent == 0)
		l->heard_ns = clock_now_ns();
	l->n_sent = 0;
	l->answers = NULL;
	l->renews = false;
	queue_cancel(&l->readable);
	queue_cancel(&l->writable);
	l->state = NBD_LINK_WAITING;
}

/* There is no connection, or it is of no use. */
static void nbd_link_lose(struct nbd_link *l, enum nbd_trouble trouble, int error)
{
	const bool was_up = l->state == NBD_LINK_UP;

	nbd_link_leave(l);
	l->backoff_ns = was_up ? NBD_FIRST_BACKOFF_NS : MIN(2 * l->backoff_ns, NBD_MAX_BACKOFF_NS);
	l->address += !was_up;
	atomic_store(&l->b->trouble_errno, error);
	if (atomic_exchange(&l->b->trouble, (int)trouble) != (int)trouble || was_up)
		queue_set_reachable(l->queue, false);
	nbd_link_wait(l, l->backoff_ns);
	nbd_link_arm_watch(l);
}

/*
 * For the library and for the server this connection has the size that it began with. And the library
 * may wait for an answer where there is nothing to answer: TLS has had something to say for itself.
 */
static bool nbd_link_needs_another(struct nbd_link *l, const struct nbd_request *req)
{
	const struct io *io = req->io;

	/* A FLUSH has no place, though the kernel may give it one. */
	l->renews |= io->op != IO_FLUSH && io->offset_bytes + io->len_bytes > l->size_bytes;
	l->renews |= l->n_sent == 0 && nbd_lib.aio_is_ready(l->h) != 1;
	return l->renews;
}

static void nbd_link_send(struct nbd_link *l, struct nbd_request *req)
{
	int r;

	if (nbd_link_needs_another(l, req) || nbd_link_holds(l, req))
		return;
	if (l->n_sent == 0)
		l->heard_ns = clock_now_ns();
	req->error = 0;
	req->sent = true;
	l->n_sent++;
	r = nbd_request_send(req);
	if (r == 0)
		return;
	req->sent = false;
	l->n_sent--;
	if (!nbd_server_is_gone(l->h))
		nbd_request_finish(req, r);
}

static void nbd_link_send_waiting(struct nbd_link *l)
{
	for (unsigned i = 0; i < l->depth && l->state == NBD_LINK_UP; i++) {
		if (l->requests[i].io && !l->requests[i].sent)
			nbd_link_send(l, &l->requests[i]);
	}
	nbd_link_settle(l);
	nbd_link_arm_watch(l);
}

static void nbd_link_come_up(struct nbd_link *l)
{
	l->state = NBD_LINK_UP;
	l->gave_up = false;
	l->heard_ns = clock_now_ns();
	queue_set_reachable(l->queue, true);
	nbd_link_send_waiting(l);
}

/* ---- is it the same server, with all that it had? ---- */

static int nbd_link_on_check(void *arg, int *error)
{
	struct nbd_link *l = arg;

	l->check_error = *error;
	return 1;
}

static void nbd_link_check(struct nbd_link *l)
{
	nbd_completion_callback done = {.callback = nbd_link_on_check, .user_data = l};

	for (; l->check < NBD_PROOF_SLOTS; l->check++) {
		l->check_entry = atomic_load(&l->b->proof.entries[l->check]);
		if (l->check_entry)
			break;
	}
	if (l->check == NBD_PROOF_SLOTS) {
		nbd_link_come_up(l);
		return;
	}
	l->check_error = -1;
	if (nbd_lib.aio_pread(l->h, l->check_buf, NBD_PROOF_BYTES, nbd_proof_offset(l->check_entry),
			      done, 0) < 0)
		nbd_link_lose(l, NBD_LOST, nbd_errno());
	else
		nbd_link_arm(l);
}

static void nbd_link_checked(struct nbd_link *l)
{
	if (l->check_error > 0) {
		nbd_link_lose(l, NBD_LOST, l->check_error);
		return;
	}
	if (nbd_proof_refutes(&l->b->proof, l->check, l->check_entry, l->check_buf)) {
		nbd_link_lose(l, NBD_FORGOT, 0);
		return;
	}
	l->check++;
	nbd_link_check(l);
}

static void nbd_link_greet(struct nbd_link *l)
{
	struct nbd_offer offer;

	nbd_server_watch(l->h);
	nbd_server_get_offer(l->h, &offer);
	if (!nbd_server_is_same(l->b, &offer)) {
		atomic_store(&l->b->seen_bytes, offer.size_bytes);
		nbd_link_lose(l, NBD_CHANGED, 0);
		return;
	}
	l->size_bytes = offer.size_bytes;
	l->state = NBD_LINK_CHECKING;
	l->check = 0;
	nbd_link_check(l);
}

/* Nothing is on its way, and the server is there. */
static void nbd_link_renew(struct nbd_link *l)
{
	nbd_link_leave(l);
	l->backoff_ns = NBD_FIRST_BACKOFF_NS;
	nbd_link_wait(l, 0);
	nbd_link_arm_watch(l);
}

static void nbd_link_connect(struct nbd_link *l)
{
	int r = nbd_server_begin(l->b, l->address, &l->h);

	if (r < 0) {
		nbd_link_lose(l, NBD_LOST, -r);
		return;
	}
	l->state = NBD_LINK_CONNECTING;
	nbd_link_arm(l);
	nbd_link_wait(l, NBD_TRY_NS);
}

/* ---- answers ---- */

/* What has come, and what has become of the connection. */
static void nbd_link_settle(struct nbd_link *l)
{
	bool gone;

	if (l->state != NBD_LINK_UP)
		return;
	gone = nbd_server_is_gone(l->h);
	while (l->answers) {
		struct nbd_request *req = l->answers;

		l->answers = TAKE_PTR(req->next);
		l->n_sent--;
		req->sent = false;
		/* Which of the requests had failed, when all end with the connection, nobody knows. */
		if (req->error == ESHUTDOWN || req->error == ENOTCONN)
			gone = true;
		if (req->error == 0 || !gone)
			nbd_request_finish(req, -req->error);
		else
			l->lost_change |= nbd_request_changes(req->io);
	}
	/* Who was told of a result may have asked for more, and found the connection lost. */
	if (l->state != NBD_LINK_UP)
		return;
	if (gone)
		nbd_link_lose(l, NBD_LOST, ECONNRESET);
	else if (l->renews && l->n_sent == 0)
		nbd_link_renew(l);
	else
		nbd_link_arm(l);
}

/* 0 also if there is an end or an error to read, and of sockets that do not tell. */
static unsigned nbd_link_count_bytes(const struct nbd_link *l)
{
	int n = 0;

	return ioctl(nbd_lib.aio_get_fd(l->h), FIONREAD, &n) == 0 ? (unsigned)n : 0;
}

static bool nbd_link_polls_readable(const struct nbd_link *l)
{
	struct pollfd p = {.fd = nbd_lib.aio_get_fd(l->h), .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

/* Of @n_bytes something is left, or more has come. What is counted is less than other answers than
 * simple ones have. */
static bool nbd_link_has_more(const struct nbd_link *l, unsigned n_bytes)
{
	const bool simple = !l->b->structured && !l->b->tls.on;

	return (simple && l->answered_bytes < n_bytes) || nbd_link_count_bytes(l) > 0;
}

/*
 * All answers that are there, which the next look at the socket would bring anyhow.
 *
 * Asked for an answer in vain, libnbd (1.14 to 1.22) waits for one, whatever else there is: it sends no
 * new request, and nothing more of one that it was sending. So it is asked only when there is something
 * to read. An event is no proof of that: who sends to a unix socket wakes up its peer when that may have
 * read it already.
 */
static void nbd_link_serve(struct nbd_link *l, bool readable, bool writable)
{
	const unsigned first = l->n_answers;
	unsigned before, n_bytes = 0;

	if (readable) {
		n_bytes = nbd_link_count_bytes(l);
		readable = n_bytes > 0 || nbd_link_polls_readable(l);
	}
	l->answered_bytes = 0;
	do {
		before = l->n_answers;
		(void)nbd_server_notify(l->h, readable, writable);
	} while (readable && l->n_answers != before && l->n_answers - first < l->n_sent &&
		 nbd_link_has_more(l, n_bytes));
	l->heard_ns = clock_now_ns();
	nbd_link_settle(l);
}

static void nbd_link_on_socket(struct nbd_link *l, bool readable, bool writable)
{
	int r;

	if (l->state == NBD_LINK_UP) {
		nbd_link_serve(l, readable, writable);
		return;
	}
	r = nbd_server_notify(l->h, readable, writable);
	if (nbd_server_is_gone(l->h))
		nbd_link_lose(l, NBD_LOST, r < 0 ? -r : ECONNRESET);
	else if (l->state == NBD_LINK_CONNECTING && nbd_lib.aio_is_ready(l->h) == 1)
		nbd_link_greet(l);
	else if (l->state == NBD_LINK_CHECKING && l->check_error >= 0)
		nbd_link_checked(l);
	else
		nbd_link_arm(l);
}

/* ---- time ---- */

static void nbd_link_on_retry(struct nbd_link *l)
{
	const uint64_t now_ns = clock_now_ns();

	if (l->state == NBD_LINK_UP)
		return;
	if (now_ns < l->retry_ns)
		queue_wait_ns(l->queue, &l->retry, l->retry_ns - now_ns);
	else if (l->state != NBD_LINK_WAITING)
		nbd_link_lose(l, NBD_LOST, ETIMEDOUT);
	else if (l->readable.armed || l->writable.armed)
		queue_wait_ns(l->queue, &l->retry, NBD_SETTLE_NS); /* of the last socket */
	else
		nbd_link_connect(l);
}

static void nbd_link_give_up(struct nbd_link *l)
{
	l->gave_up = true;
	if (l->state == NBD_LINK_UP)
		nbd_link_lose(l, NBD_LOST, ETIMEDOUT);
	for (unsigned i = 0; i < l->depth; i++) {
		if (l->requests[i].io)
			nbd_request_finish(&l->requests[i], -EIO);
	}
}

static void nbd_link_on_watch(struct nbd_link *l)
{
	const bool waits = l->state != NBD_LINK_UP || l->n_sent > 0;

	if (waits && clock_now_ns() - l->heard_ns >= l->b->timeout_ns)
		nbd_link_give_up(l);
	nbd_link_arm_watch(l);
}

void nbd_link_on_event(struct nbd_link *l, struct queue_event *e, int res)
{
	if (e == &l->retry)
		nbd_link_on_retry(l);
	else if (e == &l->watch)
		nbd_link_on_watch(l);
	else if (e == &l->fence)
		nbd_link_send_waiting(l);
	else if (l->h) /* not what was left of a socket that is closed */
		nbd_link_on_socket(l, e == &l->readable, e == &l->writable);
}

void nbd_link_submit(struct nbd_link *l, struct io *io)
{
	struct nbd_request *req = &l->requests[io->tag];

	if (l->gave_up) {
		io_complete(io, -EIO);
		return;
	}
	if (io->op == IO_FLUSH && !l->b->offer.flush) {
		io_complete(io, 0); /* nothing there is volatile */
		return;
	}
	*req = (struct nbd_request){.link = l, .io = io};
	if (nbd_request_changes(io))
		req->claim = nbd_proof_begin(&l->b->proof, io->offset_bytes, io->len_bytes);
	if (l->state == NBD_LINK_UP) {
		nbd_link_send(l, req);
		nbd_link_settle(l);
	}
	nbd_link_arm_watch(l);
}

/* ---- beginning and end ---- */

int nbd_link_new(struct backend *b, struct queue *q, struct nbd_handle *h, struct nbd_link **ret)
{
	const unsigned depth = queue_get_depth(q);
	struct nbd_link *l = calloc(1, sizeof(*l) + depth * sizeof(l->requests[0]));

	if (!l)
		return -ENOMEM;
	l->check_buf = malloc(NBD_PROOF_BYTES);
	if (!l->check_buf) {
		free(l);
		return -ENOMEM;
	}
	l->b = b;
	l->queue = q;
	l->h = h;
	l->depth = depth;
	l->state = NBD_LINK_UP;
	l->fence_until_ns = b->fence_until_ns;
	l->size_bytes = nbd_server_get_size(h);
	nbd_link_arm(l);
	*ret = l;
	return 0;
}

struct nbd_handle *nbd_link_free(struct nbd_link *l)
{
	struct nbd_handle *h = TAKE_PTR(l->h);

	if (l->n_sent > 0 || clock_now_ns() < l->fence_until_ns)
		atomic_store(&l->b->unsettled, true);
	if (l->state != NBD_LINK_UP || l->n_sent > 0 || nbd_lib.aio_is_ready(h) != 1)
		h = nbd_server_leave(h);
	free(l->check_buf);
	free(l);
	return h;
}
