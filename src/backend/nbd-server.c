/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host is looked up once, when the backend is opened: the library would do it with every
 * connection, on the queue's thread, which does not wait for name servers.
 */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

#include "backend/nbd.h"
#include "util/clock.h"

/* How long one address may take. */
#define NBD_CONNECT_NS (10 * NBD_NS_PER_S)
#define NBD_STEP_MS    200

/* A host that is gone, seen by the kernel: nothing heard for so long, or nothing taken. */
#define NBD_KEEP_IDLE_S  10
#define NBD_KEEP_EVERY_S 5
#define NBD_KEEP_TRIES   4
#define NBD_UNACKED_MS   30000

static int nbd_server_resolve_host(struct backend *b)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int r = getaddrinfo(b->uri.host, b->uri.port, &hints, &list);

	if (r == EAI_AGAIN)
		return -EAGAIN;
	if (r == EAI_SYSTEM)
		return errno > 0 ? -errno : -EIO;
	if (r != 0)
		return r == EAI_MEMORY ? -ENOMEM : -ENXIO;
	b->n_addresses = 0;
	for (const struct addrinfo *a = list; a && b->n_addresses < NBD_MAX_ADDRESSES;
	     a = a->ai_next) {
		struct nbd_address *to = &b->addresses[b->n_addresses];

		if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
			continue;
		memcpy(&to->addr, a->ai_addr, a->ai_addrlen);
		to->len = a->ai_addrlen;
		b->n_addresses++;
	}
	freeaddrinfo(list);
	return b->n_addresses > 0 ? 0 : -ENXIO;
}

static void nbd_server_resolve_vsock(struct backend *b)
{
	struct sockaddr_vm *vm = (struct sockaddr_vm *)(void *)&b->addresses[0].addr;

	*vm = (struct sockaddr_vm){
		.svm_family = AF_VSOCK, .svm_cid = b->uri.cid, .svm_port = b->uri.vsock_port};
	b->addresses[0].len = sizeof(*vm);
}

int nbd_server_resolve(struct backend *b)
{
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&b->addresses[0].addr;

	if (b->uri.host)
		return nbd_server_resolve_host(b);
	b->n_addresses = 1;
	if (b->uri.vsock) {
		nbd_server_resolve_vsock(b);
		return 0;
	}
	b->addresses[0].len = sizeof(*un);
	if (b->command) {
		*un = *nbd_command_get_address(b->command);
		return 0;
	}
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, b->uri.socket); /* its length was checked with the definition */
	return 0;
}

/* Begins. 0 or -1. */
static int nbd_server_aim(const struct backend *b, unsigned address, struct nbd_handle *h)
{
	const struct nbd_address *a = &b->addresses[address % b->n_addresses];

	/* It looks the name up, whatever we know. */
	if (nbd_tls_needs_name(&b->tls))
		return nbd_lib.aio_connect_tcp(h, b->uri.host, b->uri.port);
	return nbd_lib.aio_connect(h, (const struct sockaddr *)&a->addr, a->len);
}

int nbd_server_begin(const struct backend *b, unsigned address, struct nbd_handle **ret)
{
	AUTO(nbd_server_leave) struct nbd_handle *h = nbd_lib.create();
	int r;

	if (!h)
		return -nbd_errno();
	r = nbd_tls_apply(&b->tls, h);
	if (r < 0)
		return r;
	/* Whatever a server does not send of a READ is an error, so nothing shows through. */
	if (nbd_lib.set_export_name(h, b->uri.export) < 0 ||
	    nbd_lib.set_pread_initialize(h, false) < 0 ||
	    nbd_lib.set_request_structured_replies(h, b->structured) < 0 ||
	    nbd_server_aim(b, address, h) < 0)
		return -nbd_errno();
	*ret = TAKE_PTR(h);
	return 0;
}

int nbd_server_notify(struct nbd_handle *h, bool readable, bool writable)
{
	int r = 0;

	if (readable && nbd_lib.aio_get_direction(h) & LIBNBD_AIO_DIRECTION_READ)
		r = nbd_lib.aio_notify_read(h);
	else if (writable && nbd_lib.aio_get_direction(h) & LIBNBD_AIO_DIRECTION_WRITE)
		r = nbd_lib.aio_notify_write(h);
	return r < 0 ? -nbd_errno() : 0;
}

bool nbd_server_is_gone(struct nbd_handle *h)
{
	return nbd_lib.aio_is_dead(h) == 1 || nbd_lib.aio_is_closed(h) == 1;
}

static uint32_t nbd_server_get_block(struct nbd_handle *h, int type)
{
	int64_t n = nbd_lib.get_block_size(h, type);

	return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

uint64_t nbd_server_get_size(struct nbd_handle *h)
{
	int64_t size_bytes = nbd_lib.get_size(h);

	return size_bytes > 0 ? (uint64_t)size_bytes : 0;
}

void nbd_server_get_offer(struct nbd_handle *h, struct nbd_offer *ret)
{
	*ret = (struct nbd_offer){
		.size_bytes = nbd_server_get_size(h),
		.min_bytes = nbd_server_get_block(h, LIBNBD_SIZE_MINIMUM),
		.preferred_bytes = nbd_server_get_block(h, LIBNBD_SIZE_PREFERRED),
		.max_bytes = nbd_server_get_block(h, LIBNBD_SIZE_MAXIMUM),
		.read_only = nbd_lib.is_read_only(h) == 1,
		.rotational = nbd_lib.is_rotational(h) == 1,
		.flush = nbd_lib.can_flush(h) == 1,
		.fua = nbd_lib.can_fua(h) == 1,
		.trim = nbd_lib.can_trim(h) == 1,
		.zero = nbd_lib.can_zero(h) == 1,
		.multi_conn = nbd_lib.can_multi_conn(h) == 1,
	};
}

static uint32_t nbd_server_max_bytes(const struct nbd_offer *o)
{
	return MIN(o->max_bytes ?: NBD_DEFAULT_MAX_BYTES, NBD_DEFAULT_MAX_BYTES);
}

bool nbd_server_is_same(const struct backend *b, const struct nbd_offer *is)
{
	const struct nbd_offer *was = &b->offer;

	return is->size_bytes == atomic_load(&b->size_bytes) &&
	       is->min_bytes <= MAX(was->min_bytes, 512U) &&
	       nbd_server_max_bytes(is) >= nbd_server_max_bytes(was) &&
	       is->read_only == was->read_only && is->flush == was->flush && is->fua == was->fua &&
	       is->trim >= was->trim && is->zero >= was->zero && is->multi_conn >= was->multi_conn;
}

void nbd_server_watch(struct nbd_handle *h)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, NBD_KEEP_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, NBD_KEEP_EVERY_S},
		{IPPROTO_TCP, TCP_KEEPCNT, NBD_KEEP_TRIES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, NBD_UNACKED_MS},
	};
	int fd = nbd_lib.aio_get_fd(h);

	/* Sockets that are not of TCP refuse them, and need them not. */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
				 sizeof(options[i].value));
}

/* Once, for a moment: 0; -errno: there is no connection any more, or it is too late. */
static int nbd_server_step(struct nbd_handle *h, uint64_t deadline_ns)
{
	unsigned direction = nbd_lib.aio_get_direction(h);
	struct pollfd p = {.fd = nbd_lib.aio_get_fd(h)};
	int r = 0;

	if (nbd_server_is_gone(h))
		return -ENOTCONN;
	if (clock_now_ns() >= deadline_ns)
		return -ETIMEDOUT;
	if (direction & LIBNBD_AIO_DIRECTION_READ)
		p.events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		p.events |= POLLOUT;
	if (poll(&p, 1, NBD_STEP_MS) > 0)
		r = nbd_server_notify(h, p.revents & ~POLLOUT, p.revents & ~POLLIN);
	return r < 0 && nbd_server_is_gone(h) ? r : 0;
}

static int nbd_server_wait(struct nbd_handle *h, uint64_t deadline_ns, bool (*interrupt)(void *arg),
			   void *arg)
{
	int r = 0;

	while (r == 0 && nbd_lib.aio_is_ready(h) != 1) {
		if (interrupt && interrupt(arg))
			return -ECANCELED;
		r = nbd_server_step(h, deadline_ns);
	}
	return r;
}

static int nbd_server_on_flush(void *arg, int *error)
{
	int *result = arg;

	*result = *error;
	return 1;
}

int nbd_server_flush(struct nbd_handle *h, uint64_t deadline_ns)
{
	int result = -1, r = 0;
	nbd_completion_callback done = {.callback = nbd_server_on_flush, .user_data = &result};

	if (nbd_lib.aio_flush(h, done, 0) < 0)
		return -nbd_errno();
	while (r == 0 && result < 0)
		r = nbd_server_step(h, deadline_ns);
	return result < 0 ? r : -result;
}

int nbd_server_connect(const struct backend *b, uint64_t deadline_ns, bool (*interrupt)(void *arg),
		       void *arg, struct nbd_handle **ret)
{
	int r = -EHOSTUNREACH;

	for (unsigned i = 0; i < b->n_addresses; i++) {
		AUTO(nbd_server_leave) struct nbd_handle *h = NULL;

		r = nbd_server_begin(b, i, &h);
		if (r == 0)
			r = nbd_server_wait(h, MIN(deadline_ns, clock_now_ns() + NBD_CONNECT_NS),
					    interrupt, arg);
		if (r == 0) {
			nbd_server_watch(h);
			*ret = TAKE_PTR(h);
			return 0;
		}
		if (r == -ECANCELED)
			return r;
	}
	return r;
}

struct nbd_handle *nbd_server_leave(struct nbd_handle *h)
{
	if (!h)
		return NULL;
	if (nbd_lib.aio_is_ready(h) == 1)
		(void)nbd_lib.aio_disconnect(h, 0); /* a word of parting, if there is room for it */
	nbd_lib.close(h);
	return NULL;
}
