/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the targets share. */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/diag.h"
#include "util/cleanup.h"
#include "util/parse.h"

static char dir[256];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_dir(void)
{
	(void)nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_dir(void)
{
	if (!dir[0]) {
		snprintf(dir, sizeof(dir), "%s/fuzz.XXXXXX", getenv("TMPDIR") ?: "/tmp");
		CHECK(mkdtemp(dir));
		CHECK(atexit(remove_dir) == 0);
	}
	return dir;
}

void fuzz_write(const char *path, const void *data, size_t size)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK(size == 0 || write(fd, data, size) == (ssize_t)size);
}

const char *fuzz_memory_file(const void *data, size_t size)
{
	static char path[32];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		CHECK(fd >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size);
	return path;
}

void fuzz_check_messages(const struct conf_diag *diag)
{
	const char *file = "";
	unsigned last = 0;

	for (size_t i = 0; i < diag->n_messages; i++) {
		const struct conf_message *m = &diag->messages[i];
		AUTO_FREE char *text = NULL;

		CHECK(conf_message_format(m, &text) == 0);
		CHECK(utf8_is_valid(text, strlen(text)));
		for (const char *p = text; *p; p++)
			CHECK((unsigned char)*p >= 0x20 || *p == '\t');
		CHECK(m->file);
		if (strcmp(m->file, file) != 0)
			last = 0;
		file = m->file;
		CHECK(m->line >= last || m->line == 0);
		if (m->line > 0)
			last = m->line;
	}
}
