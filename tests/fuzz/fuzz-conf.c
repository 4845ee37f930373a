/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A definition of any bytes, in /etc or left by a server: it is right or there is an error, its
 * messages can be shown, and what is right means the same when it is read again, also by the next
 * server.
 */
#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/device-conf.h"

typedef int (*load_fn)(const char *path, const char *name, struct conf_diag *diag,
		       struct device_conf **ret);

static void check_values(const struct device_conf *c)
{
	const struct file_conf *file;

	CHECK(c->backend_type && c->backend);
	CHECK(c->size_bytes % 512 == 0);
	CHECK(c->size_bytes > 0 || !c->backend_type->needs_size);
	CHECK((c->logical_block_bytes & (c->logical_block_bytes - 1)) == 0);
	CHECK(c->n_queues <= 4096);
	CHECK(c->depth >= 1 && c->depth <= 4096);
	CHECK(c->max_io_bytes == 0 || (c->max_io_bytes >= 4096 && c->max_io_bytes <= 32 << 20));
	CHECK(c->mode == UINT32_MAX || c->mode <= 0777);
	if (c->backend_type == &file_conf_type) {
		file = c->backend;
		CHECK(file->path && file->path[0] == '/' && !strstr(file->path, "//"));
	}
}

/* What a server leaves for its successor is read as what it was. */
static void check_kept(const struct device_conf *c)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(device_conf_free) struct device_conf *kept = NULL;
	AUTO_FCLOSE FILE *f = NULL;
	char path[32];
	int fd = memfd_create("fuzz-kept", MFD_CLOEXEC);

	CHECK(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	f = fdopen(fd, "w");
	CHECK(f && device_conf_print(c, f) == 0);
	CHECK(device_conf_load_kept(path, "fuzz", &diag, &kept) == 0);
	CHECK(device_conf_digest(kept) == device_conf_digest(c));
}

static void check_load(load_fn load, const char *path)
{
	uint64_t digest = 0;

	for (unsigned again = 0; again < 2; again++) {
		AUTO(conf_diag_deinit) struct conf_diag diag = {0};
		AUTO(device_conf_free) struct device_conf *c = NULL;
		int r = load(path, "fuzz", &diag, &c);

		CHECK(r == 0 || diag.n_errors > 0);
		CHECK((r == 0) == (c != NULL));
		fuzz_check_messages(&diag);
		if (r < 0)
			break;
		check_values(c);
		check_kept(c);
		CHECK(!again || digest == device_conf_digest(c));
		digest = device_conf_digest(c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_memory_file(data, size);

	CHECK(setenv("UBLKD_CONFIG_PATH", "/nonexistent/ublk", 1) == 0);
	check_load(device_conf_load_file, path);
	check_load(device_conf_load_kept, path);
	return 0;
}
