// SPDX-License-Identifier: MIT
/*
 * block_test.c - other lengths, descriptors and batches by libbuddymem, the same
 * cases on both backends.
 *
 * Usage: block_test process|device
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"

static bool is_device(void)
{
	return backend == BUDDY_BACKEND_DEVICE;
}

static struct buddy_block *block_of(uint64_t length)
{
	struct buddy_block *block;

	expect_eq(buddy_block_alloc(dev, length, 0, 0, &block), 0);
	return block;
}

static unsigned char *map(struct buddy_block *block)
{
	void *p = NULL;

	expect_eq(buddy_block_map(block, &p), 0);
	return p;
}

/* @block has @byte in its first @length bytes, and zeroes behind. */
static void expect_bytes(struct buddy_block *block, unsigned char byte,
			 uint64_t length)
{
	const unsigned char *p = map(block);
	uint64_t bad = 0;

	for (uint64_t i = 0; i < buddy_block_length(block); i++)
		bad += p[i] != (i < length ? byte : 0);
	expect_eq(bad, 0);
	buddy_block_unmap(block);
}

static void fill(struct buddy_block *block, int byte)
{
	memset(map(block), byte, buddy_block_length(block));
	buddy_block_unmap(block);
}

static void trim(void)
{
	uint64_t before = used(), offset;
	struct buddy_block *b = block_of(5 * MIB);

	fill(b, 7);
	offset = buddy_block_offset(b);
	expect_eq(buddy_block_trim(b, 3 * MIB + 1), 0);
	expect_eq(buddy_block_length(b), 3 * MIB + 4 * KIB);
	expect_eq(buddy_block_offset(b), offset);
	expect_eq(used(), before + 3 * MIB + 4 * KIB);
	expect_bytes(b, 7, 3 * MIB + 4 * KIB);
	expect_eq(buddy_block_trim(b, 12 * KIB), 0);
	expect_bytes(b, 7, 12 * KIB);
	expect_eq(buddy_block_trim(b, 12 * KIB), 0);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(used(), before);
}

static void grow(void)
{
	uint64_t before = used();
	struct buddy_block *b = block_of(6 * MIB);

	fill(b, 9);
	/* what is given back is zero when it comes again */
	expect_eq(buddy_block_trim(b, 2 * MIB), 0);
	expect_eq(buddy_block_grow(b, 6 * MIB), 0);
	expect_eq(buddy_block_length(b), 6 * MIB);
	expect_bytes(b, 9, 2 * MIB);
	expect_eq(buddy_block_grow(b, 8 * MIB - 1), 0);
	expect_eq(buddy_block_length(b), 8 * MIB);
	expect_eq(used(), before + 8 * MIB);
	expect_bytes(b, 9, 2 * MIB);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(used(), before);
}

static void grow_into_another(void)
{
	struct buddy_block *a = block_of(4 * MIB), *b;

	expect_eq(buddy_block_trim(a, 2 * MIB), 0);
	b = block_of(2 * MIB);
	expect_eq(buddy_block_offset(b), buddy_block_offset(a) + 2 * MIB);
	expect_eq(buddy_block_grow(a, 4 * MIB), -ENOMEM);
	expect_eq(buddy_block_length(a), 2 * MIB);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(buddy_block_grow(a, 4 * MIB), 0);
	expect_eq(buddy_block_free(a), 0);
}

static void wrong_lengths(void)
{
	struct buddy_block *b = block_of(4 * MIB);
	uint64_t before = used();

	expect_eq(buddy_block_trim(b, 0), -EINVAL);
	expect_eq(buddy_block_grow(b, 0), -EINVAL);
	expect_eq(buddy_block_trim(b, 4 * MIB + 1), -EINVAL);
	expect_eq(buddy_block_grow(b, 4 * MIB - 4 * KIB), -EINVAL);
	expect_eq(buddy_block_trim(b, UINT64_MAX), -EFBIG);
	expect_eq(buddy_block_grow(b, UINT64_MAX), -EFBIG);
	expect_eq(buddy_block_grow(b, stats().out_region + 1), -EFBIG);
	map(b);
	expect_eq(buddy_block_trim(b, 2 * MIB), -EBUSY);
	expect_eq(buddy_block_grow(b, 6 * MIB), -EBUSY);
	buddy_block_unmap(b);
	expect_eq(buddy_block_length(b), 4 * MIB);
	expect_eq(used(), before);
	expect_eq(buddy_block_free(b), 0);
}

static struct buddy_block *alone_block_of(uint64_t length, uint32_t flags)
{
	struct buddy_block *block;

	expect_eq(buddy_block_alloc(dev, length, 0, BUDDY_ALLOC_ALONE | flags, &block), 0);
	expect_eq(buddy_block_offset(block) % (2 * MIB), 0);
	return block;
}

/* Whole units are its own: no other block lies there, and it gives back whole ones. */
static void alone(void)
{
	uint64_t before = used(), start;
	struct buddy_block *in_front = block_of(4 * KIB);
	struct buddy_block *b = alone_block_of(4 * MIB + 1, 0), *behind = block_of(4 * KIB);

	start = buddy_block_offset(b);
	expect_eq(buddy_block_length(b), 4 * MIB + 4 * KIB);
	expect_eq(used(), before + 6 * MIB + 8 * KIB);
	expect(buddy_block_offset(in_front) < start || buddy_block_offset(in_front) >= start + 6 * MIB);
	expect(buddy_block_offset(behind) < start || buddy_block_offset(behind) >= start + 6 * MIB);
	expect_bytes(b, 0, 0);
	fill(b, 7);
	expect_eq(buddy_block_trim(b, 4 * MIB + 8 * KIB), -EINVAL);
	expect_eq(buddy_block_trim(b, 4 * MIB), 0);
	expect_eq(used(), before + 4 * MIB + 8 * KIB);
	expect_eq(buddy_block_trim(b, 2 * MIB + 1), 0);
	expect_eq(buddy_block_length(b), 2 * MIB + 4 * KIB);
	expect_eq(used(), before + 4 * MIB + 8 * KIB);
	expect_eq(buddy_block_trim(b, 2 * MIB + 8 * KIB), -EINVAL);
	expect_eq(buddy_block_trim(b, 2 * MIB + 4 * KIB), 0);
	expect_bytes(b, 7, 2 * MIB + 4 * KIB);
	expect_eq(buddy_block_trim(b, 12 * KIB), 0);
	expect_eq(used(), before + 2 * MIB + 8 * KIB);
	expect_bytes(b, 7, 12 * KIB);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(used(), before + 8 * KIB);
	expect_eq(buddy_block_free(in_front), 0);
	expect_eq(buddy_block_free(behind), 0);
	/* what lies there then is zero, and a block like any other */
	b = block_of(8 * MIB);
	expect_bytes(b, 0, 0);
	expect_eq(buddy_block_trim(b, 12 * KIB), 0);
	expect_eq(used(), before + 12 * KIB);
	expect_eq(buddy_block_grow(b, 16 * KIB), 0);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(used(), before);
}

static void alone_does_not_grow(void)
{
	struct buddy_block *b = alone_block_of(12 * KIB, 0);

	expect_eq(buddy_block_grow(b, 16 * KIB), -EOPNOTSUPP);
	expect_eq(buddy_block_grow(b, 4 * MIB), -EOPNOTSUPP);
	expect_eq(buddy_block_grow(b, 12 * KIB), -EOPNOTSUPP);
	expect_eq(buddy_block_grow(b, stats().out_region + 1), -EFBIG);
	expect_eq(buddy_block_length(b), 12 * KIB);
	expect_eq(buddy_block_free(b), 0);
}

static void alone_with_other_flags(void)
{
	uint64_t before = used();
	struct buddy_block *a = alone_block_of(3 * MIB, BUDDY_ALLOC_POW2);
	struct buddy_block *b = alone_block_of(2 * MIB + 1, BUDDY_ALLOC_SCATTER), *c;

	expect_eq(buddy_block_length(a), 4 * MIB);
	expect_eq(buddy_block_length(b), 2 * MIB + 4 * KIB);
	expect_eq(used(), before + 8 * MIB);
	expect_eq(buddy_block_alloc(dev, 4 * KIB, 4 * KIB, BUDDY_ALLOC_ALONE, &c), 0);
	expect_eq(buddy_block_offset(c) % (2 * MIB), 0);
	expect_eq(buddy_block_free(c), 0);
	expect_eq(buddy_block_alloc(dev, 2 * MIB + 1, 8 * MIB, BUDDY_ALLOC_ALONE, &c), 0);
	expect_eq(buddy_block_offset(c) % (8 * MIB), 0);
	expect_eq(used(), before + 12 * MIB);
	expect_eq(buddy_block_free(a), 0);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(buddy_block_free(c), 0);
	expect_eq(used(), before);
}

/* A process backend may end within a unit, which is none then. */
static void alone_in_three_mib(void)
{
	struct buddy_alloc request = { .length = 1, .flags = BUDDY_ALLOC_ALONE };
	struct buddy_block *a, *b;
	struct buddy_dev *own;

	if (is_device())
		skip("a device has whole units");
	expect_eq(buddy_dev_open(&own, BUDDY_BACKEND_PROCESS, NULL, 3 * MIB), 0);
	expect_eq(buddy_block_alloc(own, 2 * MIB + 1, 0, BUDDY_ALLOC_ALONE, &a), -EFBIG);
	expect_eq(buddy_block_alloc(own, 2 * MIB, 0, BUDDY_ALLOC_ALONE, &a), 0);
	expect_eq(buddy_block_request(own, &request, &b), -ENOMEM);
	expect_eq(request.out_free, 0);
	expect_eq(request.out_largest, 0);
	expect_eq(buddy_block_alloc(own, MIB, 0, 0, &b), 0);
	expect_eq(buddy_block_free(a), 0);
	expect_eq(buddy_block_free(b), 0);
	buddy_dev_close(own);
}

static void no_descriptors(void)
{
	struct buddy_block *b;

	if (is_device())
		skip("of the process backend");
	b = block_of(4 * KIB);
	expect_eq(buddy_block_share(b, 0), -EOPNOTSUPP);
	expect_eq(buddy_block_dmabuf(b, 0), -EOPNOTSUPP);
	expect_eq(buddy_block_free(b), 0);
}

static void from_fd(void)
{
	struct buddy_block *b, *c;
	int fd;

	if (!is_device())
		skip("the process backend has no block fds");
	b = block_of(3 * MIB);
	fd = buddy_block_share(b, 0);
	expect(fd >= 0);
	expect_eq(buddy_block_from_fd(fd, &c), 0);
	close(fd);
	expect_eq(buddy_block_length(c), 3 * MIB);
	expect_eq(buddy_block_offset(c), 0);
	expect_eq(buddy_block_writable(c), 1);
	map(c)[3 * MIB - 1] = 5;
	expect_eq(map(b)[3 * MIB - 1], 5);
	expect_eq(buddy_block_trim(c, MIB), -EOPNOTSUPP);
	expect_eq(buddy_block_grow(c, 4 * MIB), -EOPNOTSUPP);
	expect_eq(buddy_block_share(c, 0), -EOPNOTSUPP);
	expect_eq(buddy_block_dmabuf(c, 0), -EOPNOTSUPP);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(map(c)[3 * MIB - 1], 5);
	expect_eq(buddy_block_free(c), 0);
	/* a block fd of its own holds the length */
	b = block_of(3 * MIB);
	fd = buddy_block_share(b, 0);
	expect_eq(buddy_block_trim(b, MIB), -EBUSY);
	close(fd);
	expect_eq(buddy_block_trim(b, MIB), 0);
	expect_eq(buddy_block_free(b), 0);
}

static void from_read_only_fd(void)
{
	struct buddy_block *b, *c;
	int fd, status;
	pid_t pid;

	if (!is_device())
		skip("the process backend has no block fds");
	b = block_of(4 * KIB);
	map(b)[1] = 1;
	fd = buddy_block_share(b, BUDDY_SHARE_READ_ONLY);
	expect_eq(buddy_block_from_fd(fd, &c), 0);
	expect_eq(buddy_block_writable(c), 0);
	expect_eq(buddy_block_writable(b), 1);
	expect_eq(map(c)[1], 1);
	pid = fork();
	if (!pid) {
		map(c)[1] = 2;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	expect_eq(buddy_block_free(c), 0);
	expect_eq(buddy_block_free(b), 0);
	close(fd);
}

static void from_wrong_fd(void)
{
	struct buddy_block *b = (void *)&b;
	int fd = open("/dev/null", O_RDWR);

	expect_eq(buddy_block_from_fd(fd, &b), -ENOTTY);
	expect(!b);
	close(fd);
	expect_eq(buddy_block_from_fd(fd, &b), -EBADF);
	expect_eq(buddy_block_from_fd(-1, &b), -EBADF);
}

static void dmabuf(void)
{
	struct buddy_block *b;
	unsigned char *p;
	int fd;

	if (!is_device())
		skip("the process backend has no dma-bufs");
	b = block_of(2 * MIB);
	map(b)[77] = 7;
	fd = buddy_block_dmabuf(b, 0);
	expect(fd >= 0);
	expect_eq(buddy_block_dmabuf(b, 8), -EINVAL);
	expect_eq(lseek(fd, 0, SEEK_END), 2 * MIB);
	p = mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	expect(p != MAP_FAILED && p[77] == 7);
	munmap(p, 2 * MIB);
	close(fd);
	expect_eq(buddy_block_free(b), 0);
}

#define MANY	300

static void batches(void)
{
	static struct buddy_block *blocks[MANY];
	static struct buddy_alloc requests[MANY];
	uint64_t before = used();
	uint32_t done;

	for (int i = 0; i < MANY; i++)
		requests[i] = (struct buddy_alloc){ .length = 4 * KIB * (1 + i % 3) };
	expect_eq(buddy_batch_alloc(dev, requests, MANY, blocks, &done), 0);
	expect_eq(done, MANY);
	expect_eq(used(), before + MANY * 8 * KIB);
	for (int i = 0; i < MANY; i++) {
		expect_eq(buddy_block_length(blocks[i]), requests[i].length);
		expect_eq(buddy_block_offset(blocks[i]), requests[i].out_offset);
		map(blocks[i])[0] = (unsigned char)i;
	}
	for (int i = 0; i < MANY; i++)
		expect_eq(map(blocks[i])[0], (unsigned char)i);
	/* each is a block like any other */
	expect_eq(buddy_block_free(blocks[0]), 0);
	expect_eq(buddy_batch_free(blocks + 1, MANY - 1, &done), 0);
	expect_eq(done, MANY - 1);
	expect(!blocks[1] && !blocks[MANY - 1]);
	expect_eq(used(), before);
	expect_eq(buddy_batch_alloc(dev, requests, 0, blocks, &done), 0);
	expect_eq(buddy_batch_free(blocks, 0, &done), 0);
}

static void batch_stops(void)
{
	struct buddy_alloc requests[4] = {
		{ .length = 4 * KIB }, { .length = 8 * KIB },
		{ .length = stats().out_region }, { .length = 4 * KIB },
	};
	struct buddy_block *blocks[4];
	uint64_t before = used();
	uint32_t done;

	expect_eq(buddy_batch_alloc(dev, requests, 4, blocks, &done), -ENOMEM);
	expect_eq(done, 2);
	expect(blocks[0] && blocks[1] && !blocks[2] && !blocks[3]);
	expect(requests[2].out_largest > 0);
	expect(requests[2].out_free < requests[2].length);
	requests[1].flags = 1u << 31;
	expect_eq(buddy_batch_free(blocks, 2, &done), 0);
	expect_eq(used(), before);
	expect_eq(buddy_batch_alloc(dev, requests, 4, blocks, &done), -EINVAL);
	expect_eq(done, 1);
	expect_eq(buddy_batch_free(blocks, 1, &done), 0);
	requests[0].length = 0;
	expect_eq(buddy_batch_alloc(dev, requests, 4, blocks, &done), -EINVAL);
	expect_eq(done, 0);
	expect(!blocks[0]);
	expect_eq(used(), before);
}

static void batch_of_two_devices(void)
{
	struct buddy_block *blocks[2];
	struct buddy_dev *other;
	uint32_t done = 7;

	expect_eq(buddy_dev_open(&other, BUDDY_BACKEND_PROCESS, NULL, MIB), 0);
	blocks[0] = block_of(4 * KIB);
	expect_eq(buddy_block_alloc(other, 4 * KIB, 0, 0, &blocks[1]), 0);
	expect_eq(buddy_batch_free(blocks, 2, &done), -EINVAL);
	expect_eq(done, 0);
	expect_eq(buddy_block_free(blocks[0]), 0);
	expect_eq(buddy_block_free(blocks[1]), 0);
	buddy_dev_close(other);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "trim", trim },
		{ "grow", grow },
		{ "grow into another block", grow_into_another },
		{ "wrong lengths, mapped", wrong_lengths },
		{ "alone in its units", alone },
		{ "alone: no grow", alone_does_not_grow },
		{ "alone: with other flags", alone_with_other_flags },
		{ "alone, in 3 MiB", alone_in_three_mib },
		{ "no descriptors, process backend", no_descriptors },
		{ "a block of a block fd", from_fd },
		{ "a block of a read-only block fd", from_read_only_fd },
		{ "no block of another descriptor", from_wrong_fd },
		{ "a dma-buf", dmabuf },
		{ "batches", batches },
		{ "a batch stops at what fails", batch_stops },
		{ "a batch of two devices", batch_of_two_devices },
	};

	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
