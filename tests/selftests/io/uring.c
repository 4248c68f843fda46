// SPDX-License-Identifier: MIT
/*
 * uring.c - rows of the I/O matrix: io_uring on a raw disk, with buffers by
 * address and with registered ones, which the kernel pins by FOLL_LONGTERM.
 */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "uring.h"

static int write_and_read(const struct ring *r, const struct buffer *b,
			  uint8_t write_op, uint8_t read_op)
{
	int disk = open(io_disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	void *copy = plain_memory(b->length);

	MUST(copy && disk >= 0);
	pattern_fill(b->p, b->length, 7);
	PART(ring_move(r, write_op, disk, b));
	MUST(pread(disk, copy, b->length, 0) == (ssize_t)b->length);
	MUST(pattern_is(copy, b->length, 7));
	memset(b->p, 0, b->length);
	PART(ring_move(r, read_op, disk, b));
	MUST(pattern_is(b->p, b->length, 7));
	return 0;
}

int uring_plain(const struct buffer *b)
{
	struct ring r;

	PART(ring_open(&r));
	return write_and_read(&r, b, IORING_OP_WRITE, IORING_OP_READ);
}

int uring_registered(const struct buffer *b)
{
	struct iovec io = { b->p, b->length };
	struct ring r;

	PART(ring_open(&r));
	TRY(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &io, 1));
	return write_and_read(&r, b, IORING_OP_WRITE_FIXED, IORING_OP_READ_FIXED);
}
