// SPDX-License-Identifier: MIT
/*
 * disk.c - rows of the I/O matrix: a raw disk by O_DIRECT, whose driver moves
 * the data between the disk and the block's pages.
 */
#define _GNU_SOURCE
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "io.h"

static int disk_open(void)
{
	return open(io_disk, O_RDWR | O_DIRECT | O_CLOEXEC);
}

int disk_write(const struct buffer *b)
{
	void *copy = plain_memory(b->length);
	int disk = disk_open();

	MUST(copy && disk >= 0);
	pattern_fill(b->p, b->length, 3);
	MUST(TRY(pwrite(disk, b->p, b->length, 0)) == (long long)b->length);
	MUST(pread(disk, copy, b->length, 0) == (ssize_t)b->length);
	MUST(pattern_is(copy, b->length, 3));
	return 0;
}

int disk_read(const struct buffer *b)
{
	void *copy = plain_memory(b->length);
	int disk = disk_open();

	MUST(copy && disk >= 0);
	pattern_fill(copy, b->length, 4);
	MUST(pwrite(disk, copy, b->length, 0) == (ssize_t)b->length);
	MUST(TRY(pread(disk, b->p, b->length, 0)) == (long long)b->length);
	MUST(pattern_is(b->p, b->length, 4));
	return 0;
}

/*
 * Segments of equal length that go backwards through the buffer: none is merged
 * with the next. Returns the bytes of all.
 */
static ssize_t cut(const struct buffer *b, struct iovec *io, int count, size_t each)
{
	for (int i = 0; i < count; i++)
		io[i] = (struct iovec){ b->p + (size_t)(count - 1 - i) * each, each };
	return (ssize_t)((size_t)count * each);
}

int disk_vectored(const struct buffer *b)
{
	static struct iovec io[1024];
	size_t each = b->length < 1024 * 512 ? 512 : b->length / 1024 / 512 * 512;
	int count = b->length / each < 1024 ? (int)(b->length / each) : 1024;
	unsigned char *copy = plain_memory(b->length);
	ssize_t all = cut(b, io, count, each);
	int disk = disk_open();

	MUST(copy && disk >= 0);
	pattern_fill(b->p, b->length, 5);
	MUST(TRY(pwritev2(disk, io, count, 0, RWF_DSYNC)) == all);
	MUST(pread(disk, copy, (size_t)all, 0) == all);
	for (int i = 0; i < count; i++)
		MUST(!memcmp(copy + (size_t)i * each, io[i].iov_base, each));

	memset(b->p, 0, b->length);
	MUST(TRY(preadv2(disk, io, count, 0, 0)) == all);
	MUST(pattern_is(b->p, (size_t)all, 5));
	return 0;
}

#define AIO_DEPTH 8

/* All of the buffer in AIO_DEPTH parts, from part @first of the disk. */
static int aio_move(aio_context_t context, int disk, const struct buffer *b,
		    int opcode, uint64_t first)
{
	uint64_t each = (b->length / AIO_DEPTH + 511) / 512 * 512;
	struct iocb control[AIO_DEPTH], *list[AIO_DEPTH];
	struct io_event events[AIO_DEPTH];

	for (uint64_t i = 0; i < AIO_DEPTH; i++) {
		uint64_t left = b->length - i * each;

		control[i] = (struct iocb){
			.aio_fildes = (uint32_t)disk,
			.aio_lio_opcode = (uint16_t)opcode,
			.aio_buf = (uintptr_t)b->p + i * each,
			.aio_nbytes = left < each ? left : each,
			.aio_offset = (int64_t)(first + i * each),
		};
		list[i] = &control[i];
	}
	MUST(TRY(syscall(SYS_io_submit, context, AIO_DEPTH, list)) == AIO_DEPTH);
	MUST(syscall(SYS_io_getevents, context, AIO_DEPTH, AIO_DEPTH, events,
		     NULL) == AIO_DEPTH);
	for (int i = 0; i < AIO_DEPTH; i++) {
		const struct iocb *done = (void *)(uintptr_t)events[i].obj;

		if (events[i].res < 0)
			return (int)events[i].res;
		MUST((uint64_t)events[i].res == done->aio_nbytes);
	}
	return 0;
}

int disk_aio(const struct buffer *b)
{
	void *copy = plain_memory(b->length);
	aio_context_t context = 0;
	int disk = disk_open();

	MUST(copy && disk >= 0);
	MUST(!syscall(SYS_io_setup, AIO_DEPTH, &context));
	pattern_fill(b->p, b->length, 6);
	PART(aio_move(context, disk, b, IOCB_CMD_PWRITE, 16 * MIB));
	MUST(pread(disk, copy, b->length, 16 * MIB) == (ssize_t)b->length);
	MUST(pattern_is(copy, b->length, 6));
	memset(b->p, 0, b->length);
	PART(aio_move(context, disk, b, IOCB_CMD_PREAD, 16 * MIB));
	MUST(pattern_is(b->p, b->length, 6));
	MUST(!syscall(SYS_io_destroy, context));
	return 0;
}
