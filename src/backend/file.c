/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Type=file: a regular file or a block device, through the queue's own ring.
 *
 * A request has one SQE in flight at any time and runs through phases. io->phase says what the SQE
 * does, io->done_bytes how far the request has come; a result moves on or changes the phase, and
 * file_step() queues the next one:
 *
 *   READ, WRITE    as often as short transfers need; FUA is RWF_DSYNC on each write
 *   FLUSH          SYNC: fdatasync; then SIZE, for a regular file: is it all still there?
 *   DISCARD        PUNCH a hole, or TRIM a block device
 *   WRITE_ZEROES   PUNCH, with IO_NOUNMAP RANGE; what the file cannot do falls back from PUNCH to
 *                  RANGE (the kernel zeroes in place) to ZEROS (we write them)
 *
 * A file that was cut off under us fails reads behind its end. A write there makes it longer again
 * and gives what was lost the look of zeros, so the next FLUSH fails: better a file system that
 * stops than one that goes on without its data.
 *
 * All but the transfers run in the ring's worker threads, so none blocks the queue; they are cut
 * into steps so that none keeps a worker, or a stop, for minutes.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "backend/file.h"
#include "backend/registry.h"
#include "ring/queue.h"
#include "util/log.h"

#define MAX_RETRIES      8
#define HOLE_STEP_BYTES  (1ULL << 30)
#define RANGE_STEP_BYTES (128ULL << 20) /* may be written by the kernel */

enum file_phase {
	FILE_READ,
	FILE_WRITE,
	FILE_SYNC,
	FILE_SIZE,
	FILE_TRIM,
	FILE_PUNCH,
	FILE_RANGE,
	FILE_ZEROS,
};

/* A queue's view of the file; only its thread uses it. */
struct file_queue {
	struct backend *b;
	int fd; /* index if sqe_flags say so, else descriptor */
	uint8_t sqe_flags;
	bool no_punch; /* found out by the first WRITE_ZEROES that wanted it */
	bool no_range;
	/*
	 * Of whichever FLUSH came last: any of them tells the size as it is now. All that are under
	 * way were queued when the file had size_bytes already, also if it grows meanwhile.
	 */
	struct statx statx;
	unsigned n_statx;
	uint64_t size_bytes;
};

static uint64_t file_step_bytes(const struct io *io, uint64_t offset)
{
	uint64_t left = io->len_bytes - io->done_bytes;
	uint64_t max = left;

	/* A step ends where its size says, so that the next one begins at a block of the file. */
	if (io->phase == FILE_TRIM || io->phase == FILE_PUNCH)
		max = HOLE_STEP_BYTES - offset % HOLE_STEP_BYTES;
	else if (io->phase == FILE_RANGE)
		max = RANGE_STEP_BYTES - offset % RANGE_STEP_BYTES;
	else if (io->phase == FILE_ZEROS)
		max = FILE_ZEROS_BYTES;
	return MIN(left, max);
}

/* Of a registered buffer it is the offset in it. */
static void *file_data(const struct io *io)
{
	uintptr_t start = io->data == IO_DATA_FIXED ? 0 : (uintptr_t)io->buf;

	return (void *)(start + io->done_bytes);
}

/* Queue what the phase says for what is left of the request, or for as much as one step may do. */
static void file_step(struct file_queue *fq, struct io *io)
{
	uint64_t offset = io->offset_bytes + io->done_bytes;
	uint64_t n = file_step_bytes(io, offset);
	struct io_uring_sqe *sqe = io_sqe(io);

	switch ((enum file_phase)io->phase) {
	case FILE_READ:
		if (io->data == IO_DATA_FIXED)
			io_uring_prep_read_fixed(sqe, fq->fd, file_data(io), (unsigned)n, offset,
						 io->buf_index);
		else
			io_uring_prep_read(sqe, fq->fd, file_data(io), (unsigned)n, offset);
		break;
	case FILE_WRITE:
		if (io->data == IO_DATA_FIXED)
			io_uring_prep_write_fixed(sqe, fq->fd, file_data(io), (unsigned)n, offset,
						  io->buf_index);
		else
			io_uring_prep_write(sqe, fq->fd, file_data(io), (unsigned)n, offset);
		if (io->flags & IO_FUA)
			sqe->rw_flags = RWF_DSYNC;
		break;
	case FILE_SYNC:
		io_uring_prep_fsync(sqe, fq->fd, IORING_FSYNC_DATASYNC);
		break;
	case FILE_SIZE:
		if (fq->n_statx++ == 0)
			fq->size_bytes = __atomic_load_n(&fq->b->size_bytes, __ATOMIC_ACQUIRE);
		/* It takes no registered file. */
		io_uring_prep_statx(sqe, fq->b->fd, "", AT_EMPTY_PATH, STATX_SIZE, &fq->statx);
		break;
	case FILE_TRIM:
		file_prep_trim(sqe, fq->fd, offset, n);
		break;
	case FILE_PUNCH:
		io_uring_prep_fallocate(sqe, fq->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)offset, (off_t)n);
		break;
	case FILE_RANGE:
		io_uring_prep_fallocate(sqe, fq->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					(off_t)offset, (off_t)n);
		break;
	case FILE_ZEROS:
		io_uring_prep_write(sqe, fq->fd, fq->b->zeros, (unsigned)n, offset);
		break;
	}
	if (io->phase != FILE_SIZE)
		sqe->flags |= fq->sqe_flags;
	if (io->retries > 1)
		sqe->flags |= IOSQE_ASYNC; /* a worker thread waits instead of saying EAGAIN */
	io_sqe_done(io, sqe);
}

static enum file_phase file_zero_phase(const struct file_queue *fq, const struct io *io)
{
	if (!fq->no_punch && !fq->b->allocated && !(io->flags & IO_NOUNMAP))
		return FILE_PUNCH;
	return fq->no_range ? FILE_ZEROS : FILE_RANGE;
}

static void file_submit(void *ctx, struct io *io)
{
	struct file_queue *fq = ctx;

	switch (io->op) {
	case IO_READ:
		io->phase = FILE_READ;
		break;
	case IO_WRITE:
		io->phase = FILE_WRITE;
		break;
	case IO_FLUSH:
		io->phase = FILE_SYNC;
		break;
	case IO_DISCARD:
		io->phase = fq->b->is_block ? FILE_TRIM : FILE_PUNCH;
		break;
	case IO_WRITE_ZEROES:
		io->phase = file_zero_phase(fq, io);
		break;
	case IO_OTHER:
	case N_IO_OPS:
		io_complete(io, -EOPNOTSUPP);
		return;
	}
	file_step(fq, io);
}

/*
 * The next way to write zeros, after the kernel refused one: -EOPNOTSUPP is said of the file, and
 * -EINVAL of a range that is not aligned for it. False: there is none, or it is a real error.
 */
static bool file_fall_back(struct file_queue *fq, struct io *io, int res)
{
	if (io->op != IO_WRITE_ZEROES || (res != -EOPNOTSUPP && res != -EINVAL))
		return false;
	if (io->phase == FILE_PUNCH) {
		fq->no_punch |= res == -EOPNOTSUPP;
		io->phase = fq->no_range ? FILE_ZEROS : FILE_RANGE;
		return true;
	}
	if (io->phase == FILE_RANGE) {
		fq->no_range |= res == -EOPNOTSUPP;
		io->phase = FILE_ZEROS;
		return true;
	}
	return false;
}

/* A result that is not an error, in bytes of progress; 0 where there can be none any more. */
static uint64_t file_progress(const struct file_queue *fq, const struct io *io, int res)
{
	uint64_t done = io->done_bytes + (unsigned)res;

	if (io->phase == FILE_TRIM || io->phase == FILE_PUNCH || io->phase == FILE_RANGE)
		return file_step_bytes(io, io->offset_bytes + io->done_bytes);
	/* Direct I/O goes on at a block, also if the file now ends within one. */
	if (done < io->len_bytes)
		done -= done % fq->b->align_bytes;
	return done - io->done_bytes;
}

/* What comes after SYNC and SIZE. */
static void file_synced(struct file_queue *fq, struct io *io)
{
	if (io->phase == FILE_SYNC && io->op == IO_FLUSH && !fq->b->is_block) {
		io->phase = FILE_SIZE;
		file_step(fq, io);
		return;
	}
	if (io->phase == FILE_SIZE && fq->statx.stx_size < fq->size_bytes) {
		io_complete(io, -EIO);
		return;
	}
	io_complete(io, 0);
}

static void file_on_cqe(void *ctx, struct io *io, int res)
{
	struct file_queue *fq = ctx;
	uint64_t n;

	if (io->phase == FILE_SIZE)
		fq->n_statx--;
	if (res == -EAGAIN || res == -EINTR) {
		if (io->retries == MAX_RETRIES) {
			io_complete(io, -EIO);
			return;
		}
		io->retries++;
		file_step(fq, io);
		return;
	}
	if (res < 0) {
		if (file_fall_back(fq, io, res))
			file_step(fq, io);
		else
			io_complete(io, res);
		return;
	}
	if (io->phase == FILE_SYNC || io->phase == FILE_SIZE) {
		file_synced(fq, io);
		return;
	}
	n = file_progress(fq, io, res);
	if (n == 0) { /* the file has become shorter than the device */
		io_complete(io, -EIO);
		return;
	}
	io->done_bytes += n;
	if (io->done_bytes < io->len_bytes) {
		file_step(fq, io);
	} else if (io->flags & IO_FUA && io->phase > FILE_SIZE) {
		io->phase = FILE_SYNC; /* zeroed or discarded, and to be so after a power cut */
		file_step(fq, io);
	} else {
		io_complete(io, 0);
	}
}

static int file_queue_init(struct backend *b, struct queue *q, void **ret_ctx)
{
	struct file_queue *fq = calloc(1, sizeof(*fq));
	int r;

	if (!fq)
		return -ENOMEM;
	fq->b = b;
	fq->fd = b->fd;
	r = queue_register_fd(q, b->fd);
	if (r >= 0) {
		fq->fd = r;
		fq->sqe_flags = IOSQE_FIXED_FILE;
	}
	*ret_ctx = fq;
	return 0;
}

static void file_queue_deinit(void *ctx)
{
	free(ctx);
}

static const char *file_get_target(const struct backend *b)
{
	return b->path;
}

static int file_flush(struct backend *b)
{
	struct stat st;

	if (b->read_only)
		return 0;
	if (fdatasync(b->fd) < 0)
		return log_error_errno(
			-errno,
			"cannot write %s to stable storage: %m: its last writes may be lost",
			b->path);
	if (!b->is_block && fstat(b->fd, &st) == 0 && (uint64_t)st.st_size < b->size_bytes)
		return log_error_errno(-EIO,
				       "%s is shorter than its device: what was in the rest "
				       "is lost",
				       b->path);
	return 0;
}

static int file_write(struct backend *b, uint64_t offset_bytes, const void *buf, size_t len_bytes)
{
	const uint8_t *from = buf;

	while (len_bytes > 0) {
		ssize_t n = pwrite(b->fd, from, len_bytes, (off_t)offset_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return log_error_errno(n < 0 ? -errno : -EIO, "cannot write to %s: %m",
					       b->path);
		from += n;
		offset_bytes += (uint64_t)n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

static void file_abandon(struct backend *b)
{
	if (b->created)
		log_info("removing %s again", b->path);
	file_remove_created(b);
}

static struct backend *file_close(struct backend *b)
{
	if (!b)
		return NULL;
	if (b->zeros)
		munmap(b->zeros, FILE_ZEROS_BYTES);
	file_unlock(b);
	if (b->fd >= 0)
		close(b->fd);
	free(b->path);
	free(b);
	return NULL;
}
DEFINE_AUTO(struct backend *, file_close);

static int file_open(const struct backend_request *req, struct backend **ret,
		     struct limits *ret_limits)
{
	const struct file_conf *conf = req->conf;
	AUTO(file_close) struct backend *b = calloc(1, sizeof(*b));
	struct limits limits = {0};
	int r;

	if (!b)
		return log_error_errno(-ENOMEM, "no memory to open %s", conf->path);
	b->fd = -1;
	b->path = strdup(conf->path);
	/* Never written to: all of it stays the kernel's one page of zeros. */
	b->zeros = mmap(NULL, FILE_ZEROS_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->zeros == MAP_FAILED)
		b->zeros = NULL;
	if (!b->path || !b->zeros)
		return log_error_errno(-ENOMEM, "no memory to open %s", conf->path);

	r = file_open_backing(req, b);
	if (r >= 0)
		r = file_probe(req, b, &limits);
	if (r < 0) {
		file_remove_created(b);
		return r;
	}
	*ret_limits = limits;
	*ret = TAKE_PTR(b);
	return 0;
}

const struct backend_ops file_backend = {
	.conf = &file_conf_type,
	.open = file_open,
	.get_target = file_get_target,
	.flush = file_flush,
	.write = file_write,
	.resize = file_resize,
	.abandon = file_abandon,
	.close = file_close,
	.io =
		&(const struct io_ops){
			.data = IO_CAN(IO_DATA_FIXED),
			.queue_init = file_queue_init,
			.queue_deinit = file_queue_deinit,
			.submit = file_submit,
			.on_cqe = file_on_cqe,
		},
};
