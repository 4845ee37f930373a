/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Type=memory: a sparse RAM disk in a memfd, mapped and shared by all queues without a lock.
 *
 * To read a hole through the mapping would allocate its page. So a bitmap knows the populated
 * pages, and the others are answered with zeros. Its bits and the pages change in this order, which
 * keeps the data right whatever another queue does to the same page meanwhile:
 *
 * - A write populates the pages, copies, and only then sets the bits: also those that it found set,
 *   since a discard may have cleared them during the copy.
 * - A discard clears the bits and only then punches the hole. A write that overlaps it in time may
 *   lose to it and leave a bit without a page, which costs an allocation at the next read. The
 *   other order could leave a page without a bit, whose stale bytes would come back when the next
 *   write to a part of the page sets it.
 *
 * Where the kernel lets us copy from and to a request's own pages (IO_DATA_KERNEL), that is the only
 * copy there is.
 *
 * Pages are allocated with MADV_POPULATE_WRITE and not by a fault of the copy: where the kernel
 * refuses memory (vm.overcommit_memory=2), the fault would be a SIGBUS and the end of the server,
 * and this is ENOSPC. Where it over-commits, a device beyond the memory of the machine meets the
 * OOM killer, as any process does.
 */
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/memory.h"
#include "backend/registry.h"
#include "util/log.h"

#define ZERO_STEP_BYTES (1U << 20) /* cleared by hand before other requests get their turn */
#define MAX_RETRIES     8

/* The whole pages of a range that is to become a hole. */
struct pages {
	uint64_t first;
	uint64_t end;
};

/* Bits of @word that stand for pages from @first to before @end; the word holds at least one. */
static uint64_t memory_mask(uint64_t word, uint64_t first, uint64_t end)
{
	uint64_t base = word * MEMORY_WORD_PAGES;
	uint64_t mask = UINT64_MAX;

	if (first > base)
		mask &= UINT64_MAX << (first - base);
	if (end - base < MEMORY_WORD_PAGES)
		mask &= UINT64_MAX >> (MEMORY_WORD_PAGES - (end - base));
	return mask;
}

/*
 * Loaded once in a request. A request behind the end of an older mapping comes from the kernel only
 * after it was told the new size, which is after the new mapping was stored.
 */
static uint8_t *memory_data(struct backend *b)
{
	return atomic_load_explicit(&b->data, memory_order_acquire);
}

static bool memory_is_populated(const struct backend *b, uint64_t first, uint64_t end)
{
	/* most requests are of one page */
	if (end - first == 1)
		return atomic_load_explicit(&b->populated[first / MEMORY_WORD_PAGES],
					    memory_order_relaxed) >>
			       first % MEMORY_WORD_PAGES &
		       1;
	for (uint64_t w = first / MEMORY_WORD_PAGES; w * MEMORY_WORD_PAGES < end; w++) {
		uint64_t mask = memory_mask(w, first, end);

		if ((atomic_load_explicit(&b->populated[w], memory_order_relaxed) & mask) != mask)
			return false;
	}
	return true;
}

void memory_set_populated(struct backend *b, uint64_t first, uint64_t end)
{
	/* The copied bytes before the look at the bits: see the discard in the comment above. */
	atomic_thread_fence(memory_order_seq_cst);
	for (uint64_t w = first / MEMORY_WORD_PAGES; w * MEMORY_WORD_PAGES < end; w++) {
		uint64_t mask = memory_mask(w, first, end);

		if ((atomic_load_explicit(&b->populated[w], memory_order_relaxed) & mask) != mask)
			atomic_fetch_or(&b->populated[w], mask);
	}
}

/* Whether there was one. Words without a bit are only read: they may not be in memory at all. */
static bool memory_clear_populated(struct backend *b, uint64_t first, uint64_t end)
{
	bool any = false;

	for (uint64_t w = first / MEMORY_WORD_PAGES; w * MEMORY_WORD_PAGES < end; w++) {
		uint64_t mask = memory_mask(w, first, end);

		if (atomic_load_explicit(&b->populated[w], memory_order_relaxed) & mask) {
			atomic_fetch_and(&b->populated[w], ~mask);
			any = true;
		}
	}
	return any;
}

/* How many pages from @first on, up to @end, are populated, or are not, as the first is. */
static uint64_t memory_run(const struct backend *b, uint64_t first, uint64_t end, bool *ret_is)
{
	uint64_t page = first + 1;

	*ret_is = memory_is_populated(b, first, page);
	while (page < end && memory_is_populated(b, page, page + 1) == *ret_is)
		page++;
	return page - first;
}

static int memory_read(struct backend *b, const struct io *io)
{
	uint64_t from = io->offset_bytes, end = from + io->len_bytes;
	uint64_t end_page = (end - 1) / b->page_bytes + 1;
	const uint8_t *data = memory_data(b);
	int r = 0;

	if (memory_is_populated(b, from >> b->page_shift, end_page))
		return io_put_data(io, 0, data + from, io->len_bytes);
	while (from < end && r == 0) {
		uint64_t page = from >> b->page_shift, at = from - io->offset_bytes;
		bool is_populated;
		uint64_t n_pages = memory_run(b, page, end_page, &is_populated);
		size_t n = MIN(end, (page + n_pages) << b->page_shift) - from;

		r = is_populated ? io_put_data(io, at, data + from, n) : io_put_zeros(io, at, n);
		from += n;
	}
	return r;
}

/* Before a write to the pages from @first to before @end. */
static int memory_populate(struct backend *b, uint64_t first, uint64_t end)
{
	uint8_t *data = memory_data(b);

	if (!memory_is_populated(b, first, end) &&
	    madvise(data + (first << b->page_shift), (end - first) << b->page_shift,
		    MADV_POPULATE_WRITE) < 0)
		return errno == ENOMEM || errno == EFAULT ? -ENOSPC : -errno;
	return 0;
}

static int memory_write_io(struct backend *b, const struct io *io)
{
	uint64_t first = io->offset_bytes >> b->page_shift;
	uint64_t end = (io->offset_bytes + io->len_bytes - 1) / b->page_bytes + 1;
	int r;

	r = memory_populate(b, first, end);
	if (r < 0)
		return r;
	r = io_get_data(io, 0, memory_data(b) + io->offset_bytes, io->len_bytes);
	/* Also after a copy that failed midway: what there is of it shall be read, not lost. */
	memory_set_populated(b, first, end);
	return r;
}

/*
 * Clear what is populated from @from to @end, at most @max bytes of it. Returns where it stopped.
 */
static uint64_t memory_zero(struct backend *b, uint64_t from, uint64_t end, uint64_t max)
{
	uint8_t *data = memory_data(b);

	while (from < end && max > 0) {
		uint64_t page = from >> b->page_shift;
		uint64_t word = atomic_load_explicit(&b->populated[page / MEMORY_WORD_PAGES],
						     memory_order_relaxed);
		uint64_t n;

		if (word == 0) {
			from = (page / MEMORY_WORD_PAGES + 1) * MEMORY_WORD_PAGES << b->page_shift;
			continue;
		}
		n = MIN(end, (page + 1) << b->page_shift) - from;
		if (word >> page % MEMORY_WORD_PAGES & 1) {
			n = MIN(n, max);
			memset(data + from, 0, n);
			max -= n;
		}
		from += n;
	}
	return MIN(from, end);
}

/* WRITE_ZEROES with IO_NOUNMAP: what is populated stays so. Nothing is allocated for holes. */
static void memory_zero_step(struct backend *b, struct io *io)
{
	uint64_t end = io->offset_bytes + io->len_bytes;
	uint64_t at = memory_zero(b, io->offset_bytes + io->done_bytes, end, ZERO_STEP_BYTES);
	struct io_uring_sqe *sqe;

	io->done_bytes = at - io->offset_bytes;
	if (at == end) {
		io_complete(io, 0);
		return;
	}
	sqe = io_sqe(io); /* only to come back after the requests that wait */
	io_uring_prep_nop(sqe);
	io_sqe_done(io, sqe);
}

/*
 * A page that the device has only the first part of is none of them: the device may grow over the
 * rest, and be written to there, before the hole is punched.
 */
static struct pages memory_whole_pages(const struct backend *b, const struct io *io)
{
	struct pages p = {
		.first = (io->offset_bytes + b->page_bytes - 1) >> b->page_shift,
		.end = (io->offset_bytes + io->len_bytes) >> b->page_shift,
	};

	if (p.end < p.first)
		p.end = p.first;
	return p;
}

static void memory_punch_queue(struct backend *b, struct io *io, struct pages p)
{
	struct io_uring_sqe *sqe = io_sqe(io);

	io_uring_prep_fallocate(sqe, b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)(p.first << b->page_shift),
				(off_t)((p.end - p.first) << b->page_shift));
	io_sqe_done(io, sqe);
}

/* DISCARD, and WRITE_ZEROES that may unmap: whole pages go back to the system. */
static void memory_punch(struct backend *b, struct io *io)
{
	uint64_t end = io->offset_bytes + io->len_bytes;
	struct pages p = memory_whole_pages(b, io);

	if (p.first == p.end) {
		memory_zero(b, io->offset_bytes, end, io->len_bytes);
		io_complete(io, 0);
		return;
	}
	memory_zero(b, io->offset_bytes, p.first << b->page_shift, io->len_bytes);
	memory_zero(b, p.end << b->page_shift, end, io->len_bytes);
	if (memory_clear_populated(b, p.first, p.end))
		memory_punch_queue(b, io, p);
	else
		io_complete(io, 0);
}

static void memory_submit(void *ctx, struct io *io)
{
	struct backend *b = ctx;

	switch (io->op) {
	case IO_READ:
		io_complete(io, memory_read(b, io));
		break;
	case IO_WRITE:
		io_complete(io, memory_write_io(b, io));
		break;
	case IO_FLUSH:
		io_complete(io, 0);
		break;
	case IO_WRITE_ZEROES:
		if (io->flags & IO_NOUNMAP)
			memory_zero_step(b, io);
		else
			memory_punch(b, io);
		break;
	case IO_DISCARD:
		memory_punch(b, io);
		break;
	case IO_OTHER:
	case N_IO_OPS:
		io_complete(io, -EOPNOTSUPP);
		break;
	}
}

static void memory_on_cqe(void *ctx, struct io *io, int res)
{
	struct backend *b = ctx;
	struct pages p;

	if (io->op == IO_WRITE_ZEROES && io->flags & IO_NOUNMAP) {
		memory_zero_step(b, io);
		return;
	}
	if (res >= 0) {
		io_complete(io, 0);
		return;
	}
	p = memory_whole_pages(b, io);
	if ((res == -EAGAIN || res == -EINTR) && io->retries < MAX_RETRIES) {
		io->retries++;
		memory_punch_queue(b, io, p);
		return;
	}
	memory_set_populated(b, p.first, p.end); /* the old bytes are still there */
	io_complete(io, res);
}

static int memory_write(struct backend *b, uint64_t offset_bytes, const void *buf, size_t len_bytes)
{
	uint64_t first = offset_bytes >> b->page_shift;
	uint64_t end = (offset_bytes + len_bytes - 1) / b->page_bytes + 1;
	int r;

	r = memory_populate(b, first, end);
	if (r < 0)
		return log_error_errno(r, "cannot write %zu bytes to the memory: %m", len_bytes);
	memcpy(memory_data(b) + offset_bytes, buf, len_bytes);
	memory_set_populated(b, first, end);
	return 0;
}

const struct backend_ops memory_backend = {
	.conf = &memory_conf_type,
	.open = memory_open,
	.write = memory_write,
	.get_kept_fd = memory_get_kept_fd,
	.resize = memory_resize,
	.close = memory_close,
	.io =
		&(const struct io_ops){
			.data = IO_CAN(IO_DATA_KERNEL),
			.at_once = true,
			.submit = memory_submit,
			.on_cqe = memory_on_cqe,
		},
};
