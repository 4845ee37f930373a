/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a worker waits, which is what it does most of its life.
 *
 * One call sends what was queued and sleeps until something comes. The completions of commands that
 * end within that call (n_inline) would end the sleep at once, so it waits for that many more.
 *
 * A thread that sleeps in io_uring_enter() counts as waiting for I/O, and a machine with an idle
 * device would show a CPU full of iowait. Where the kernel can be told otherwise (6.15), it is.
 * Elsewhere the thread sleeps in poll() when nothing has come for a while: a timer that is set once
 * for many requests finds that out. It polls an eventfd that the ring writes, which is registered for
 * that time only: who polls the ring's own descriptor is not woken up by a request on every 6.12 (seen:
 * not on 6.12.95, where requests then wait for ever; on 6.12.117). The next request costs some calls
 * more, and none after it does.
 *
 * With spin_ns it looks for work for a while before it sleeps. Where that was in vain, the next
 * sleeps go without, more of them each time.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "ring/queue-internal.h"
#include "ring/ring.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define IDLE_NS        20000000
#define SPIN_CHECK     16  /* looks at the ring between two looks at the clock */
#define SPIN_MAX_SKIPS 255 /* sleeps */

/* What waited for its time goes on. Nanoseconds until there is more. */
static uint64_t worker_release(struct worker *w)
{
	uint64_t wait_ns = UINT64_MAX, now_ns = 0;

	for (struct queue *q = w->queues; q; q = q->next) {
		uint64_t ns;

		if (throttle_is_empty(&q->throttle))
			continue;
		if (now_ns == 0)
			now_ns = w->now_ns = clock_now_ns();
		ns = queue_release(q, now_ns);
		wait_ns = MIN(wait_ns, ns);
	}
	return wait_ns;
}

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static void worker_spin(struct worker *w)
{
	uint64_t end_ns;

	if (w->spin_skips > 0) {
		w->spin_skips--;
		return;
	}
	if (worker_submit(w) < 0)
		return; /* the call that waits says it again */
	end_ns = clock_now_ns() + w->spin_ns;
	for (unsigned i = 1; !ring_has_work(&w->ring, w->n_inline); i++) {
		cpu_relax();
		if (i % SPIN_CHECK == 0 && clock_now_ns() > end_ns) {
			w->spin_penalty = MIN(2 * w->spin_penalty + 1, SPIN_MAX_SKIPS);
			w->spin_skips = w->spin_penalty;
			return;
		}
	}
	w->spin_penalty = 0;
}

static void worker_arm_idle_timer(struct worker *w)
{
	struct io_uring_sqe *sqe = worker_sqe(w);

	w->idle_timer = (struct __kernel_timespec){.tv_nsec = IDLE_NS};
	io_uring_prep_timeout(sqe, &w->idle_timer, 0, 0);
	sqe->user_data = IO_SOURCE_IDLE;
	w->idle_armed = true;
	w->busy = false;
}

void worker_on_idle_timer(struct worker *w)
{
	w->idle_armed = false;
	/* Who waits for what lies behind a device does wait for I/O. */
	for (const struct queue *q = w->queues; q; q = q->next)
		w->busy |= q->n_at_backend > 0;
	w->quiet = !w->busy && w->idle_fd >= 0;
}

static int worker_wait_quietly(struct worker *w)
{
	/* Who writes an eventfd from within the wake-up of another may not be heard twice (seen: 6.12.95),
	 * so those who want something of the thread wake it up themselves. */
	struct pollfd p[] = {
		{.fd = w->idle_fd, .events = POLLIN},
		{.fd = w->wake_fd, .events = POLLIN},
	};
	struct __kernel_timespec now = {0};
	uint64_t n;
	int r;

	if (!w->idle_fd_is_set) {
		r = io_uring_register_eventfd(&w->ring, w->idle_fd);
		if (r < 0)
			return r;
		w->idle_fd_is_set = true;
	}
	/* What came before that, or while it was looked at, is there now. */
	r = ring_enter(&w->ring, &w->enter, 1, &now);
	if (r != -ETIME)
		return r;
	if (poll(p, ARRAY_SIZE(p), -1) <= 0)
		return 0;
	(void)!read(w->idle_fd, &n, sizeof(n));
	return ring_enter(&w->ring, &w->enter, 1, &now);
}

static void worker_end_quiet(struct worker *w)
{
	w->quiet = false;
	if (w->idle_fd_is_set)
		(void)io_uring_unregister_eventfd(&w->ring);
	w->idle_fd_is_set = false;
}

static int worker_wait_for(struct worker *w, unsigned n, uint64_t wait_ns)
{
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)(wait_ns / 1000000000),
		.tv_nsec = (int64_t)(wait_ns % 1000000000),
	};

	return ring_enter(&w->ring, &w->enter, n, &ts);
}

int worker_wait(struct worker *w)
{
	uint64_t wait_ns = w->throttled ? worker_release(w) : UINT64_MAX;
	int r;

	if (w->quiet && w->busy)
		worker_end_quiet(w);
	worker_flush(w);
	w->throttled = wait_ns != UINT64_MAX;
	if (w->spin_ns > 0 && !w->throttled && !w->quiet)
		worker_spin(w);
	if (w->throttled) {
		r = worker_wait_for(w, 1 + w->n_inline, wait_ns);
	} else if (w->quiet) {
		r = worker_wait_quietly(w);
	} else {
		if (w->enter.counts_as_io && !w->idle_armed)
			worker_arm_idle_timer(w);
		r = ring_enter(&w->ring, &w->enter, 1 + w->n_inline, NULL);
	}
	if (r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY)
		return 0;
	return r;
}
