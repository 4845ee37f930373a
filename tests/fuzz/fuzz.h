/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct conf_diag;

/* What libFuzzer calls, and corpus.c for each file of a corpus. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(), also with NDEBUG. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* A directory for this process, in TMPDIR or /tmp. Removed at its end, but for one that crashes. */
const char *fuzz_dir(void);

/* Makes a file that holds these bytes. */
void fuzz_write(const char *path, const void *data, size_t size);

/* The same in memory, one for all inputs: where it is. */
const char *fuzz_memory_file(const void *data, size_t size);

/* Messages can be shown on a terminal, name a file, and stand in the order of its lines. */
void fuzz_check_messages(const struct conf_diag *diag);
