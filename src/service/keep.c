/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/keep.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "util/cleanup.h"

#define KEEP_PREFIX     "data-"
/* At boot systemd has hundreds of others to look after. */
#define KEEP_BARRIER_US 60000000

static struct {
	pthread_mutex_t lock;
	char **names; /* guarded by lock; a descriptor that was taken has none */
	int n;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

void keep_init(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	if (n <= 0)
		return;
	kept.names = names;
	kept.n = n;
}

bool keep_is_possible(void)
{
	const char *max = getenv("FDSTORE"); /* since systemd 254 */

	/* Before, nothing tells: the unit file of this version has one. */
	return getenv("NOTIFY_SOCKET") && (!max || strcmp(max, "0") != 0);
}

static void keep_remove(const char *name)
{
	sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=" KEEP_PREFIX "%s", name);
}

int keep_fd(void *arg, const char *device, int fd)
{
	AUTO_FREE char *text = NULL;
	int r;

	/* A name has one descriptor: one of an earlier life, which nobody has taken, goes with its
	 * memory. */
	r = keep_take_fd(arg, device);
	if (r >= 0)
		close(r);
	keep_remove(device);
	if (fd < 0)
		return 0;
	if (asprintf(&text, "FDSTORE=1\nFDNAME=" KEEP_PREFIX "%s", device) < 0)
		return -ENOMEM;
	r = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	if (r <= 0)
		return r < 0 ? r : -ENOTCONN;
	/* Ours may be the only one until systemd has looked at its socket. */
	r = sd_notify_barrier(0, KEEP_BARRIER_US);
	return r < 0 ? r : 0;
}

int keep_take_fd(void *arg, const char *device)
{
	int fd = -1;

	pthread_mutex_lock(&kept.lock);
	for (int i = 0; i < kept.n && fd < 0; i++) {
		const char *name = kept.names[i];

		if (!name || strncmp(name, KEEP_PREFIX, strlen(KEEP_PREFIX)) != 0 ||
		    strcmp(name + strlen(KEEP_PREFIX), device) != 0)
			continue;
		fd = SD_LISTEN_FDS_START + i;
		free(TAKE_PTR(kept.names[i]));
	}
	pthread_mutex_unlock(&kept.lock);
	return fd;
}

void keep_forget_rest(void)
{
	pthread_mutex_lock(&kept.lock);
	for (int i = 0; i < kept.n; i++) {
		if (!kept.names[i])
			continue;
		sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", kept.names[i]);
		close(SD_LISTEN_FDS_START + i);
		free(TAKE_PTR(kept.names[i]));
	}
	pthread_mutex_unlock(&kept.lock);
}
