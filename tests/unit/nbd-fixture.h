/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Real NBD servers, on a socket in a directory of the test's own, and the queue that works with them. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/nbd.h"
#include "backend/registry.h"
#include "fake-data.h"
#include "util/clock.h"

#define SIZE_BYTES (8ULL << 20)
#define BUF_BYTES  (1U << 20)
#define MS         1000000ULL

/* Paths, and the URI. */
extern char dir[64], sock[96], image[96], uri[160], log_path[96];

struct fixture {
	struct nbd_conf conf;
	struct backend_request req;
	struct backend *b;
	struct limits limits;
	struct queue q;
	uint8_t *buf;
	pid_t server;
	struct fake_blocks blocks;
};

#define NBDKIT     "nbdkit -f -U @sock "
#define FILE_LINE  NBDKIT "file @image"
#define DELAY_LINE NBDKIT "--filter=delay file @image delay-write=300ms"

/* A command line with blanks; @sock, @image, @log and @dir stand for ours. Its exit status. */
int run(const char *line);
bool is_there(const char *program);

/* The same, in the background. */
void begin_server(struct fixture *f, const char *line);
void other_server(struct fixture *f, const char *line);
void kill_server(struct fixture *f);
/* All its threads stand still on return. */
void freeze_server(struct fixture *f);
/* Its socket is there, and mostly listens; open() would look again after a second only. */
void wait_socket(void);

/* With a server, a backend, and a queue. */
void start(struct fixture *f, const char *line);
int do_io(struct fixture *f, enum io_op op, uint32_t flags, uint64_t offset, uint64_t len);
/* Until the backend says that of its server. */
void wait_trouble(struct fixture *f, const char *text);

int setup(void **state);
int teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Of a group that needs nbdkit: 77 without it. */
int run_with_servers(const struct CMUnitTest *tests, size_t n_tests);
