/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Ownership by scope. A local that owns something is declared with AUTO(destructor), AUTO_FREE or
 * AUTO_CLOSE; TAKE_PTR and TAKE_FD hand what it owns to somebody else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

/* DEFINE_AUTO(struct x *, x_free): lets a local be declared as AUTO(x_free) struct x *x = NULL. */
#define DEFINE_AUTO(type, func)                                                                    \
	static inline void func##_auto(type *p)                                                    \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}                                                                                          \
	struct auto_needs_a_semicolon

#define AUTO(func) __attribute__((cleanup(func##_auto)))

static inline void auto_free(void *p)
{
	free(*(void **)p);
}

static inline void auto_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void auto_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define AUTO_FREE   __attribute__((cleanup(auto_free)))
#define AUTO_CLOSE  __attribute__((cleanup(auto_close)))
#define AUTO_FCLOSE __attribute__((cleanup(auto_fclose)))

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})
