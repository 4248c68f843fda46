// SPDX-License-Identifier: MIT
/*
 * pipe.c - rows of the I/O matrix: files, and pipes that hold the block's own
 * pages.
 */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "io.h"

#define PIPE_BYTES (16 * PAGE)	/* what a pipe holds by default */

int pipe_file(const struct buffer *b)
{
	int file = memfd_create("io_test", MFD_CLOEXEC);

	MUST(file >= 0);
	pattern_fill(b->p, b->length, 8);
	MUST(TRY(write(file, b->p, b->length)) == (long long)b->length);
	memset(b->p, 0, b->length);
	MUST(TRY(pread(file, b->p, b->length, 0)) == (long long)b->length);
	MUST(pattern_is(b->p, b->length, 8));
	return 0;
}

static size_t part_of(const struct buffer *b, uint64_t at)
{
	return b->length - at < PIPE_BYTES ? b->length - at : PIPE_BYTES;
}

int pipe_vmsplice(const struct buffer *b)
{
	unsigned char copy[PIPE_BYTES];
	int pipes[2];

	MUST(!pipe(pipes));
	for (uint64_t at = 0; at < b->length; at += PIPE_BYTES) {
		size_t n = part_of(b, at);
		struct iovec io = { b->p + at, n };

		pattern_fill(b->p + at, n, 9);
		MUST(TRY(vmsplice(pipes[1], &io, 1, 0)) == (long long)n);
		pattern_fill(b->p + at, n, at + 10);
		MUST(read(pipes[0], copy, n) == (ssize_t)n);
		MUST(pattern_is(copy, n, at + 10));
	}
	return 0;
}

static int read_all(int from, unsigned char *to, size_t length)
{
	while (length) {
		ssize_t n = read(from, to, length);

		MUST(n > 0);
		to += n;
		length -= (size_t)n;
	}
	return 0;
}

static int splice_all(int from, int to, size_t length)
{
	while (length) {
		long long n = TRY(splice(from, NULL, to, NULL, length, 0));

		MUST(n > 0);
		length -= (size_t)n;
	}
	return 0;
}

int pipe_onward(const struct buffer *b)
{
	unsigned char *copy = plain_memory(b->length);
	int one[2], two[2], pair[2], file = memfd_create("io_test", MFD_CLOEXEC);

	MUST(copy && file >= 0 && !pipe(one) && !pipe(two));
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pattern_fill(b->p, b->length, 11);
	for (uint64_t at = 0; at < b->length; at += PIPE_BYTES) {
		size_t n = part_of(b, at);
		struct iovec io = { b->p + at, n };

		MUST(TRY(vmsplice(one[1], &io, 1, 0)) == (long long)n);
		MUST(TRY(tee(one[0], two[1], n, 0)) == (long long)n);
		PART(splice_all(one[0], file, n));
		PART(splice_all(two[0], pair[0], n));
		PART(read_all(pair[1], copy + at, n));
	}
	MUST(pattern_is(copy, b->length, 11));
	memset(copy, 0, b->length);
	MUST(pread(file, copy, b->length, 0) == (ssize_t)b->length);
	MUST(pattern_is(copy, b->length, 11));
	return 0;
}
