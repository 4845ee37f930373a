/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A definition of any bytes: it is right or there is an error, its messages can be shown, and what
 * is right means the same when it is read again, also by the next server.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/device-conf.h"
#include "util/parse.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* One file for all inputs. */
static const char *input_path(const uint8_t *data, size_t size)
{
	static char path[32];
	static int fd = -1;

	if (fd < 0) {
		CHECK(setenv("UBLKD_CONFIG_PATH", "/nonexistent/ublk", 1) == 0);
		fd = memfd_create("fuzz-conf", MFD_CLOEXEC);
		CHECK(fd >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size);
	return path;
}

static void check_messages(struct conf_diag *diag, const char *path)
{
	unsigned last = 0;

	for (size_t i = 0; i < diag->n_messages; i++) {
		const struct conf_message *m = &diag->messages[i];
		AUTO_FREE char *text = NULL;

		CHECK(conf_message_format(m, &text) == 0);
		CHECK(m->file && strcmp(m->file, path) == 0);
		/* It can be shown on a terminal as it is. */
		CHECK(utf8_is_valid(text, strlen(text)));
		for (const char *p = text; *p; p++)
			CHECK((unsigned char)*p >= 0x20 || *p == '\t');
		CHECK(m->line >= last || m->line == 0);
		if (m->line > 0)
			last = m->line;
	}
}

static void check_values(const struct device_conf *c)
{
	const struct file_conf *file;

	CHECK(c->backend_type && c->backend);
	CHECK(c->size_bytes % 512 == 0);
	CHECK(c->size_bytes > 0 || !c->backend_type->needs_size);
	CHECK((c->logical_block_bytes & (c->logical_block_bytes - 1)) == 0);
	CHECK(c->n_queues <= 4096);
	CHECK(c->depth >= 1 && c->depth <= 4096);
	CHECK(c->max_io_bytes >= 4096 && c->max_io_bytes <= 32 << 20);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = input_path(data, size);
	uint64_t digest = 0;

	for (unsigned again = 0; again < 2; again++) {
		AUTO(conf_diag_deinit) struct conf_diag diag = {0};
		AUTO(device_conf_free) struct device_conf *c = NULL;
		int r = device_conf_load_file(path, "fuzz", &diag, &c);

		CHECK(r == 0 || diag.n_errors > 0);
		CHECK((r == 0) == (c != NULL));
		check_messages(&diag, path);
		if (r < 0)
			break;
		check_values(c);
		check_kept(c);
		CHECK(!again || digest == device_conf_digest(c));
		digest = device_conf_digest(c);
	}
	return 0;
}
