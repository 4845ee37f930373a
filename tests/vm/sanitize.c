/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the sanitizers of a program in a guest are told, whoever starts it (tests/vm/run --sanitize).
 * Their reports are files, which the runner looks for behind each case: of a service, stderr is the
 * journal.
 */
#include <stdlib.h>

#define OPTIONS                                                                                    \
	"log_path=/run/vm-sanitizer:print_stacktrace=1:check_initialization_order=1:"              \
	"strict_init_order=1:detect_stack_use_after_return=1"

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
int __lsan_is_turned_off(void);

const char *__asan_default_options(void)
{
	return OPTIONS;
}

const char *__ubsan_default_options(void)
{
	return OPTIONS;
}

/* The search for leaks stops all threads by ptrace(), which a service of ours may not call. */
int __lsan_is_turned_off(void)
{
	return getenv("INVOCATION_ID") != NULL;
}
