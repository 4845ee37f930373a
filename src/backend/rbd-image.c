/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image, from the cluster's configuration to its lock.
 *
 * Its exclusive lock is taken at the start and kept, so that nobody else writes. A server that was
 * killed still has it: the cluster takes that for alive for 30 s, for which its users would wait. So who
 * has the lock is written into the image's metadata, with the device and the boot of the machine: the
 * next server of the device, whose name only one process has at a time, breaks it at once. To break
 * it is to shut the dead one out (a blocklist entry), by which none of its writes that are still on their
 * way can come after ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/rbd.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/messages.h"
#include "util/sandbox.h"

#define RBD_CREDENTIAL   "ceph.keyring"
#define RBD_OWNER_KEY    "ublkd.server"
#define RBD_OWNER_BYTES  512
#define RBD_MAX_WATCHERS 16
/* For one thing while the image is opened: the first time, and the longest. */
#define RBD_FIRST_TRY_NS (5 * RBD_NS_PER_S)
#define RBD_LAST_TRY_NS  (30 * RBD_NS_PER_S)
#define RBD_CLOSE_NS     (10 * RBD_NS_PER_S)
/* A client that has died loses its lock within 30 s. */
#define RBD_LOCK_NS      (40 * RBD_NS_PER_S)
#define RBD_OPEN_STEPS   5
#define RBD_OPEN_STEP_US 200000

static void rbd_image_set(struct backend *b, const char *key, const char *value)
{
	int r = rbd_lib.conf_set(b->cluster, key, value);

	if (r < 0)
		log_warning_errno(r, "cannot set %s of Ceph's client to %s: %m", key, value);
}

void rbd_image_set_patience(struct backend *b, uint64_t ns)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, (ns + RBD_NS_PER_S - 1) / RBD_NS_PER_S);
	(void)rbd_lib.conf_set(b->cluster, "rados_osd_op_timeout", text);
	(void)rbd_lib.conf_set(b->cluster, "rados_mon_op_timeout", text);
}

static bool rbd_image_pause(const struct backend_request *req)
{
	for (unsigned i = 0; i < RBD_OPEN_STEPS; i++) {
		if (req->interrupt && req->interrupt(req->interrupt_arg))
			return true;
		usleep(RBD_OPEN_STEP_US);
	}
	return false;
}

/* ---- cluster and image ---- */

static void rbd_image_leave(struct backend *b)
{
	if (b->image)
		(void)rbd_lib.close(TAKE_PTR(b->image));
	if (b->pool)
		rbd_lib.ioctx_destroy(TAKE_PTR(b->pool));
	if (b->cluster)
		rbd_lib.shutdown(TAKE_PTR(b->cluster));
}

static int rbd_image_configure(struct backend *b, uint64_t patience_ns)
{
	char text[24];
	int r;

	r = rbd_lib.create(&b->cluster, b->conf->user);
	if (r == 0)
		r = rbd_lib.conf_read_file(b->cluster, b->conf->conf);
	if (r < 0)
		return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r,
				   "cannot read Conf=%s of %s: %m", b->conf->conf, b->text);
	if (b->keyring)
		rbd_image_set(b, "keyring", b->keyring);
	/* Nobody changes the buffer of a request meanwhile, as far as checksums are concerned. */
	rbd_image_set(b, "rbd_disable_zero_copy_writes", "false");
	snprintf(text, sizeof(text), "%" PRIu64, patience_ns / RBD_NS_PER_S);
	rbd_image_set(b, "client_mount_timeout", text);
	rbd_image_set_patience(b, patience_ns);
	return 0;
}

/* Silent. *ret_what: what could not be done. */
static int rbd_image_try_open(struct backend *b, const char **ret_what)
{
	const struct rbd_conf *c = b->conf;
	int r;

	*ret_what = "connect to the cluster of";
	r = rbd_lib.connect(b->cluster);
	if (r < 0)
		return r;
	*ret_what = "find the pool of";
	r = rbd_lib.ioctx_create(b->cluster, c->pool, &b->pool);
	if (r < 0)
		return r;
	/* Where there is no room, a write fails; else it would wait for some. */
	rbd_lib.set_pool_full_try(b->pool);
	if (c->namespace)
		rbd_lib.ioctx_set_namespace(b->pool, c->namespace);
	*ret_what = "open";
	return b->read_only ? rbd_lib.open_read_only(b->pool, c->image, &b->image, c->snapshot)
			    : rbd_lib.open(b->pool, c->image, &b->image, NULL);
}

static const char *rbd_image_hint(int r)
{
	switch (-r) {
	case EPERM:
	case EACCES:
	case EKEYREJECTED:
	case EOPNOTSUPP: /* of what the cluster wants as proof, without a keyring */
		return "; is the keyring of User= there, and may it do this? See ublk.conf(5)";
	default:
		return "";
	}
}

/* The cluster may start after us, or be away while we take a device over. */
static int rbd_image_connect(struct backend *b, const struct backend_request *req)
{
	const uint64_t start_ns = clock_now_ns();
	uint64_t patience_ns = RBD_FIRST_TRY_NS;
	const char *what;
	bool told = false;
	int r;

	for (;;) {
		r = rbd_image_configure(b, patience_ns);
		if (r < 0)
			return r;
		r = rbd_image_try_open(b, &what);
		if (r == 0)
			return 0;
		rbd_image_leave(b);
		if (r != -ETIMEDOUT && r != -EAGAIN && r != -ECONNREFUSED)
			return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r,
					   "cannot %s %s as client.%s: %m%s", what, b->text,
					   b->conf->user, rbd_image_hint(r));
		if (b->timeout_ns > 0 && clock_now_ns() - start_ns >= b->timeout_ns)
			return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r,
					   "cannot %s %s within Timeout=: %m", what, b->text);
		if (!told)
			log_at(LOG_NOTICE, r, "waiting for the cluster of %s: %m", b->text);
		told = true;
		if (rbd_image_pause(req))
			return log_at(LOG_NOTICE, -ECANCELED, "waiting for %s was given up",
				      b->text);
		patience_ns = MIN(2 * patience_ns, RBD_LAST_TRY_NS);
	}
}

/* ---- lock ---- */

/* Who has it: an address. 0; -ENOENT: nobody; -EINVAL: the image has no such lock. */
static int rbd_image_find_owner(struct backend *b, char *ret, size_t size)
{
	rbd_lock_mode_t mode;
	char *owners[4];
	size_t n = ARRAY_SIZE(owners);
	int r = rbd_lib.lock_get_owners(b->image, &mode, owners, &n);

	if (r < 0)
		return r;
	if (n == 0)
		return -ENOENT;
	snprintf(ret, size, "%s", owners[0]);
	rbd_lib.lock_get_owners_cleanup(owners, n);
	return 0;
}

/* Does it still watch the image, as each client does that can write? */
static bool rbd_image_is_alive(struct backend *b, const char *owner)
{
	rbd_image_watcher_t watchers[RBD_MAX_WATCHERS];
	size_t n = ARRAY_SIZE(watchers);
	bool found = false;

	if (rbd_lib.watchers_list(b->image, watchers, &n) < 0)
		return true;
	for (size_t i = 0; i < n; i++)
		found |= strcmp(watchers[i].addr, owner) == 0;
	rbd_lib.watchers_list_cleanup(watchers, n);
	return found;
}

/* "BOOT DEVICE ADDRESS" */
static char *rbd_image_owner_text(const char *device, const char *address)
{
	AUTO_FREE char *boot_id = NULL;
	char *text = NULL;

	if (fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot_id, NULL) < 0)
		return NULL;
	boot_id[strcspn(boot_id, "\n")] = '\0';
	return asprintf(&text, "%s %s %s", boot_id, device, address) < 0 ? NULL : text;
}

/* A server of this device, which is dead: there is only one at a time. */
static bool rbd_image_is_ours(struct backend *b, const char *device, const char *owner)
{
	AUTO_FREE char *want = rbd_image_owner_text(device, owner);
	char value[RBD_OWNER_BYTES] = "";
	size_t len = sizeof(value) - 1;

	return want && rbd_lib.metadata_get(b->image, RBD_OWNER_KEY, value, &len) >= 0 &&
	       strcmp(value, want) == 0;
}

static int rbd_image_try_lock(struct backend *b, const char *device, char *owner, size_t size)
{
	int r = rbd_image_find_owner(b, owner, size);

	if (r == 0 && rbd_image_is_ours(b, device, owner)) {
		r = rbd_lib.lock_break(b->image, RBD_LOCK_MODE_EXCLUSIVE, owner);
		if (r < 0 && r != -ENOENT)
			return r;
		log_info("the server before, %s, was shut out of %s", owner, b->text);
	} else if (r == 0 && rbd_image_is_alive(b, owner)) {
		return -EBUSY;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	r = rbd_lib.lock_acquire(b->image, RBD_LOCK_MODE_EXCLUSIVE);
	return r == -EROFS ? -EBUSY : r;
}

static void rbd_image_sign(struct backend *b, const char *device)
{
	char address[RBD_OWNER_BYTES];
	int r = rbd_image_find_owner(b, address, sizeof(address));

	if (r == 0) {
		b->owner = rbd_image_owner_text(device, address);
		r = b->owner ? rbd_lib.metadata_set(b->image, RBD_OWNER_KEY, b->owner) : -ENOMEM;
	}
	if (r < 0)
		log_warning_errno(r,
				  "cannot write into %s who serves it: %m; after a crash the next "
				  "server has to wait for its lock",
				  b->text);
}

static int rbd_image_lock(struct backend *b, const struct backend_request *req)
{
	const uint64_t start_ns = clock_now_ns();
	char owner[RBD_OWNER_BYTES] = "";
	bool told = false;
	int r;

	for (;;) {
		r = rbd_image_try_lock(b, req->device, owner, sizeof(owner));
		if (r == 0)
			break;
		if (r == -EINVAL) {
			log_warning("%s does not have the feature exclusive-lock: nothing keeps "
				    "others from writing to it",
				    b->text);
			return 0;
		}
		if (r != -EBUSY)
			return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r,
					   "cannot lock %s as client.%s: %m%s", b->text,
					   b->conf->user, rbd_image_hint(r));
		if (clock_now_ns() - start_ns >= RBD_LOCK_NS)
			return log_message(MESSAGE_BACKING_IN_USE, LOG_ERR, r,
					   "%s is locked by %s: %m", b->text, owner);
		if (!told)
			log_notice("waiting for %s, which is locked by %s", b->text, owner);
		told = true;
		if (rbd_image_pause(req))
			return log_at(LOG_NOTICE, -ECANCELED, "waiting for %s was given up",
				      b->text);
	}
	rbd_image_sign(b, req->device);
	return 0;
}

/* ---- beginning and end ---- */

/* On a thread of the library. */
static void rbd_image_on_change(void *arg)
{
	struct backend *b = arg;
	const uint64_t one = 1;

	atomic_store(&b->changed, true);
	if (b->event_fd >= 0)
		(void)!write(b->event_fd, &one, sizeof(one));
}

/* librados would only wait, and not say why. */
static int rbd_image_check_sandbox(const struct backend *b)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 && errno == EAFNOSUPPORT && sandbox_is_there())
		return sandbox_log_is_old(b->text, -EAFNOSUPPORT);
	return 0;
}

static int rbd_image_find_keyring(struct backend *b)
{
	const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");

	if (!dir)
		return 0;
	if (asprintf(&b->keyring, "%s/" RBD_CREDENTIAL, dir) < 0) {
		b->keyring = NULL;
		return log_error_errno(-ENOMEM, "cannot look for the keyring of %s: %m", b->text);
	}
	if (access(b->keyring, F_OK) < 0) {
		free(b->keyring);
		b->keyring = NULL;
	}
	return 0;
}

int rbd_image_open(struct backend *b, const struct backend_request *req)
{
	int r = rbd_image_check_sandbox(b);

	if (r == 0)
		r = rbd_image_find_keyring(b);
	if (r == 0)
		r = rbd_image_connect(b, req);
	if (r < 0)
		return r;
	rbd_image_set_patience(b, RBD_LAST_TRY_NS);
	if (!b->read_only) {
		r = rbd_image_lock(b, req);
		if (r < 0)
			return r;
	}
	if (!b->conf->snapshot) {
		r = rbd_lib.update_watch(b->image, &b->watch, rbd_image_on_change, b);
		b->watches = r == 0;
	}
	if (r == 0)
		r = rbd_lib.get_size(b->image, &b->size_bytes);
	if (r < 0)
		return log_message(MESSAGE_BACKING_FAILED, LOG_ERR, r, "cannot watch %s: %m",
				   b->text);
	rbd_image_set_patience(b, b->timeout_ns);
	return 0;
}

void rbd_image_close(struct backend *b)
{
	if (b->image) {
		rbd_image_set_patience(b, RBD_CLOSE_NS);
		if (b->watches)
			(void)rbd_lib.update_unwatch(b->image, b->watch);
		if (b->owner)
			(void)rbd_lib.metadata_remove(b->image, RBD_OWNER_KEY);
	}
	rbd_image_leave(b);
	free(b->owner);
	free(b->keyring);
}
