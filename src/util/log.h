/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Messages for people: to the journal with fields when stderr is the journal's, else to stderr with
 * the level in words. After log_start() a thread of its own does the writing, behind a bounded
 * queue: a journal that does not take messages (it may lie on the very device we serve) costs
 * messages, which are counted, and never time. Any thread may log, but queue threads do not.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/* Messages above this level are dropped. LOG_INFO unless told; any thread. */
void log_set_level(int level);

/* Sets *ret_level for error, warning, notice, info or debug; else -EINVAL. */
int log_level_from_string(const char *s, int *ret_level);

/**
 * log_set_device() - whom this thread's messages are about
 * @name:	becomes UBLKD_DEVICE= in the journal and a prefix on stderr; NULL: nobody; not copied
 *
 * Return: what was set before, to be set again.
 */
const char *log_set_device(const char *name);

/**
 * log_set_object_unit() - messages of a device also belong to its unit in the journal
 *
 * For short-lived commands that deal with ublk@NAME.service from outside: people look there, and by
 * the time the journal asks which unit the sender is of, it may have ended. Before the first message.
 */
void log_set_object_unit(bool on);

/**
 * log_set_capture() - where this thread's errors go as well
 * @buf:	gets the text of each message of LOG_ERR, so that the last one stays; NULL: nowhere
 *
 * For whoever has to tell later why something failed that reports its failures by itself.
 */
void log_set_capture(char *buf, size_t size);

/**
 * log_set_kmsg() - write to the kernel's log, as generators do
 * @program:	stands before each message
 *
 * Where that log cannot be opened, everything stays as it was. Before the first message.
 */
void log_set_kmsg(const char *program);

/* Hand the writing to a thread. 0 or -errno; without it messages are written by the caller. */
int log_start(void);

/* Wait until all is written, for at most @timeout_ms, and stop the thread. */
void log_stop(unsigned timeout_ms);

/* Where a message is from, and which one it is. */
struct log_origin {
	const char *file;
	int line;
	const char *func;
	const char *id; /* MESSAGE_ID= in the journal; NULL: none */
};

/**
 * log_write() - what the macros below call
 * @level:	LOG_ERR to LOG_DEBUG
 * @r:		-errno, which "%m" in @fmt stands for and ERRNO= tells; 0: none
 *
 * Return: @r.
 */
int log_write(int level, int r, const struct log_origin *origin, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* @id: one of util/messages.h */
#define log_message(id, level, r, ...)                                                             \
	log_write(level, r, &(struct log_origin){__FILE__, __LINE__, __func__, id}, __VA_ARGS__)
#define log_at(level, r, ...) log_message(NULL, level, r, __VA_ARGS__)

#define log_error(...)   ((void)log_at(LOG_ERR, 0, __VA_ARGS__))
#define log_warning(...) ((void)log_at(LOG_WARNING, 0, __VA_ARGS__))
#define log_notice(...)  ((void)log_at(LOG_NOTICE, 0, __VA_ARGS__))
#define log_info(...)    ((void)log_at(LOG_INFO, 0, __VA_ARGS__))
#define log_debug(...)   ((void)log_at(LOG_DEBUG, 0, __VA_ARGS__))

/* The same with a cause; the value is r, so that "return log_error_errno(r, ...)" reads well. */
#define log_error_errno(r, ...)   log_at(LOG_ERR, r, __VA_ARGS__)
#define log_warning_errno(r, ...) log_at(LOG_WARNING, r, __VA_ARGS__)
#define log_info_errno(r, ...)    log_at(LOG_INFO, r, __VA_ARGS__)
#define log_debug_errno(r, ...)   log_at(LOG_DEBUG, r, __VA_ARGS__)
