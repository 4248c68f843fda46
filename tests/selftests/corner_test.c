// SPDX-License-Identifier: MIT
/*
 * corner_test.c - places that no other program comes by: found where gcov counted
 * nothing, or where a seeded defect (tests/mutants) stayed unnoticed. Needs root and
 * the module.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/uio.h>

#include "ktest.h"

#define MMAP_BASE	(1ull << 30)	/* offset 0 of the region, as blocks are mapped */

static int map_at(uint64_t offset)
{
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, PAGE);
	return 0;
}

/* The blocks that EXTENTS says are this process's; in @used, all that are in use. */
static int mine(int *used)
{
	struct buddy_extent_entry e[256];
	uint32_t count = read_extents(fd, e, 256);
	int n = 0;

	*used = 0;
	for (uint32_t i = 0; i < count; i++) {
		*used += e[i].state == BUDDY_EXTENT_USED;
		n += e[i].state == BUDDY_EXTENT_USED && e[i].pid == getpid();
	}
	return n;
}

/* A shared block, whole or in pieces, is nobody's when the file is closed. */
TEST_F(device, nobodys)
{
	enum { MOST = 128 };
	int own = device_open(), n = (int)(region / (2 * MIB)), shared[2], used;
	struct buddy_alloc fence[MOST], a;

	if (n < 8 || n > MOST)
		skip("wants a region of 16 to 256 MiB");
	/* all but three units, no two of which are neighbours */
	for (int i = 0; i < n; i++)
		expect_eq(alloc_block(fd, 2 * MIB, &fence[i]), 0);
	for (int i = 0; i < 6; i += 2)
		expect_eq(free_block(fd, fence[i].out_handle), 0);
	expect_eq(alloc_block(own, 2 * MIB, &a), 0);
	shared[0] = share_block(own, BUDDY_IOC_SHARE, a.out_handle, 0);
	expect_eq(scatter_block(own, 4 * MIB, &a), 0);
	shared[1] = share_block(own, BUDDY_IOC_SHARE, a.out_handle, 0);
	expect(shared[0] >= 0 && shared[1] >= 0);
	expect_eq(mine(&used), n);
	expect_eq(used, n);
	close(own);
	expect_eq(mine(&used), n - 3);
	expect_eq(used, n);
	close(shared[0]);
	close(shared[1]);
	for (int i = 0; i < n; i++)
		if (i >= 6 || i % 2)
			expect_eq(free_block(fd, fence[i].out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* Where the one block that is in use lies. */
static uint64_t used_offset(void)
{
	struct buddy_extent_entry e[64];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = 64,
	};

	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	for (uint32_t i = 0; i < x.out_count; i++)
		if (e[i].state == BUDDY_EXTENT_USED)
			return e[i].offset;
	expect(!"no block is in use");
	return 0;
}

/* A block of a mapping alone, or one whose handle is gone, has no offset for mmap(). */
TEST_F(device, nameless)
{
	struct buddy_alloc a;
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	expect(p != MAP_FAILED);
	fill(p, FILLED, 2 * PAGE);
	expect_eq(map_at(MMAP_BASE + used_offset()), -ENXIO);
	munmap(p, 2 * PAGE);
	expect(wait_free(fd, region, 5));

	p = take_filled(fd, 3 * PAGE, &a);
	expect_eq(a.out_offset, MMAP_BASE + used_offset());
	expect_eq(map_at(a.out_offset), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(map_at(a.out_offset), -ENXIO);
	expect(intact(p, 3 * PAGE));
	munmap(p, 3 * PAGE);
	expect(wait_free(fd, region, 5));
}

static int alloc_aligned(uint64_t length, uint64_t align, struct buddy_alloc *a)
{
	*a = (struct buddy_alloc){
		.size = sizeof(*a),
		.length = length,
		.align = align,
	};
	return call(fd, BUDDY_IOC_ALLOC, a);
}

/* A reply says nothing that the caller said. */
TEST_F(device, outputs_are_set)
{
	struct buddy_alloc a, b;

	fill(&a, FILLED, sizeof(a));
	a.size = sizeof(a);
	a.flags = 0;
	a.length = PAGE;
	a.align = 0;
	b = a;
	expect_eq(call(fd, BUDDY_IOC_ALLOC, &a), 0);
	expect_eq(a.out_length, PAGE);
	expect_eq(a.out_free, 0);
	expect_eq(a.out_largest, 0);
	expect_eq(a.out_returning, 0);
	expect_eq(a.out_account_limit, 0);
	expect_eq(a.out_account_used, 0);
	b.length = region;
	expect_eq(call(fd, BUDDY_IOC_ALLOC, &b), -ENOMEM);
	expect_eq(b.out_handle, 0);
	expect_eq(b.out_length, 0);
	expect_eq(b.out_offset, 0);
	expect_eq(b.out_free, region - PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* Alignments that a block would not have by itself, with something in the way. */
TEST_F(device, alignments)
{
	static const uint64_t lengths[] = { PAGE, MIB, 2 * MIB, 4 * MIB + PAGE, 6 * MIB };
	struct buddy_alloc first, a;

	expect_eq(alloc_block(fd, 2 * MIB, &first), 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (uint64_t align = PAGE; align <= region / 2; align *= 2) {
			expect_eq(alloc_aligned(lengths[i], align, &a), 0);
			expect_eq(a.out_offset % align, 0);
			expect(is_placed(&a));
			expect_eq(a.out_length, lengths[i]);
			expect_eq(free_block(fd, a.out_handle), 0);
		}
	}
	/* only offset 0 of the region is so aligned, and that is taken */
	expect_eq(alloc_aligned(PAGE, region, &a), -ENOMEM);
	expect_eq(alloc_aligned(2 * MIB, region, &a), -ENOMEM);
	expect_eq(free_block(fd, first.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* No unit is free: nothing that would need one is given, in whatever way. */
TEST_F(device, no_unit)
{
	uint64_t fails = get_stats(fd).out_fails;
	struct buddy_alloc all, a;
	int other = device_open();

	expect_eq(alloc_block(fd, region - 2 * PAGE, &all), 0);
	/* the two pages are in a unit of this file's */
	expect_eq(alloc_block(other, PAGE, &a), -ENOMEM);
	expect_eq(a.out_free, 0);
	expect_eq(a.out_largest, 0);
	expect_eq(scatter_block(other, PAGE, &a), -ENOMEM);
	expect_eq(scatter_block(fd, 3 * PAGE, &a), -ENOMEM);
	expect_eq(alloc_block(fd, 2 * MIB + PAGE, &a), -ENOMEM);
	expect_eq(alloc_aligned(PAGE, 2 * MIB, &a), -ENOMEM);
	expect_eq(resize(fd, BUDDY_IOC_GROW, all.out_handle, region + 1), -EFBIG);
	expect_eq(get_stats(fd).out_fails, fails + 5);
	expect_eq(alloc_block(fd, 2 * PAGE, &a), 0);
	expect_eq(resize(fd, BUDDY_IOC_GROW, all.out_handle, region), -ENOMEM);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(resize(fd, BUDDY_IOC_GROW, all.out_handle, region), 0);
	expect_eq(free_block(fd, all.out_handle), 0);
	expect(wait_free(fd, region, 5));
	close(other);
}

/* More extents than are looked up at once; in pages of any length the same list. */
TEST_F(device, many_extents)
{
	enum { BLOCKS = 100, MOST = 2 * BLOCKS + 8 };
	struct buddy_extent_entry all[MOST + 1], part[7];
	struct buddy_extents x = { .size = sizeof(x) };
	struct buddy_alloc a[BLOCKS];
	uint32_t n, at;
	char *two;

	for (int i = 0; i < BLOCKS; i++)
		expect_eq(alloc_block(fd, PAGE, &a[i]), 0);
	for (int i = 0; i < BLOCKS; i += 2)
		expect_eq(free_block(fd, a[i].out_handle), 0);
	/* one that is not to be written to */
	fill(all, FILLED, sizeof(all));
	x.entries = (uintptr_t)all;
	x.count = 50;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	expect_eq(x.out_count, 50);
	expect(intact((char *)&all[50], sizeof(all[50])));
	x.count = MOST;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	n = x.out_count;
	expect(n >= BLOCKS && n < MOST);
	expect_eq(x.out_next, region);
	x.entries = (uintptr_t)part;
	x.count = 7;
	x.start = 0;
	for (at = 0; at < n; at += x.out_count) {
		expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
		if (!x.out_count)
			break;
		expect(!memcmp(part, all + at, x.out_count * sizeof(*part)));
		x.start = x.out_next;
	}
	expect_eq(at, n);
	/* room for 20 of them, then nothing is mapped */
	x.start = 0;
	x.count = 40;
	two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	munmap(two + PAGE, PAGE);
	x.entries = (uintptr_t)(two + PAGE - 20 * sizeof(*all));
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), -EFAULT);
	munmap(two, PAGE);
	for (int i = 1; i < BLOCKS; i += 2)
		expect_eq(free_block(fd, a[i].out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* How many extents of @length EXTENTS says are quarantined. */
static int quarantined_extents(uint64_t length)
{
	struct buddy_extent_entry e[64];
	uint32_t n = read_extents(fd, e, 64);
	int count = 0;

	expect(n < 64);
	for (uint32_t i = 0; i < n && i < 64; i++)
		count += e[i].state == BUDDY_EXTENT_QUARANTINED && e[i].length == length &&
			 !e[i].pid;
	return count;
}

/* Whichever page of a freed block is held, by a pipe, its unit does not come back. */
TEST_F(device, any_page_holds)
{
	static const uint64_t lengths[] = { 5 * PAGE, 2 * MIB, 2 * MIB + 3 * PAGE };

	for (int i = 0; i < 3; i++) {
		const uint64_t last = lengths[i] - PAGE, step = lengths[i] < MIB ? PAGE : last;

		for (uint64_t at = 0; at <= last; at += step) {
			struct buddy_alloc a;
			char *p = take_filled(fd, lengths[i], &a), c;
			struct iovec io = { p + at, PAGE };
			uint64_t held = part_with(&a, at).out_length;
			int pipes[2];

			expect(!pipe(pipes));
			expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
			give_back(fd, p, &a);
			settled_stats(fd, held);
			expect_eq(quarantined_extents(held), 1);
			/* ENOMEM says so */
			expect_eq(alloc_block(fd, region, &a), -ENOMEM);
			expect_eq(a.out_returning, held);
			expect_eq(read(pipes[0], &c, 1), 1);
			expect_eq(c, FILLED);
			close(pipes[0]);
			close(pipes[1]);
			expect(wait_free(fd, region, 5));
		}
	}
}

/* A block comes back though its neighbour in the unit is mapped, by a block fd. */
TEST_F(device, neighbour_of_shared)
{
	struct buddy_alloc a, b;
	int shared;
	char *p, *q;

	expect_eq(alloc_block(fd, 3 * PAGE, &a), 0);
	shared = share_block(fd, BUDDY_IOC_SHARE, a.out_handle, 0);
	expect(shared >= 0);
	p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
	expect(p != MAP_FAILED);
	fill(p, FILLED, 3 * PAGE);
	q = take_filled(fd, 5 * PAGE, &b);
	expect_eq(a.out_offset / (2 * MIB), b.out_offset / (2 * MIB));
	give_back(fd, q, &b);
	expect_eq(settled_stats(fd, 0).out_private, 2 * MIB - 3 * PAGE);
	expect(intact(p, 3 * PAGE));
	munmap(p, 3 * PAGE);
	close(shared);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* What follows a block is on its way back: GROW waits for it. */
TEST_F(device, grow_waits)
{
	const uint64_t most = region / 2;
	struct buddy_alloc a, b;
	char *p;

	for (int i = 0; i < 10; i++) {
		expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
		expect_eq(alloc_aligned(most, most, &b), 0);
		expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, most), 0);
		p = map_block(fd, &b);
		expect(p != MAP_FAILED);
		if (p == MAP_FAILED)
			return;
		fill(p, FILLED, most);
		munmap(p, most);
		expect_eq(free_block(fd, b.out_handle), 0);
		expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, region - PAGE), 0);
		a.out_length = region - PAGE;
		p = map_block(fd, &a);
		expect(p != MAP_FAILED && is_zero(p + most, most - PAGE));
		munmap(p, region - PAGE);
		expect_eq(free_block(fd, a.out_handle), 0);
		expect(wait_free(fd, region, 20));
	}
}

/*
 * What is killed, each for ever. All but the first work on half of the region, which
 * is always dirty and on its way back when they ask for it.
 */
static void list_extents(int own)
{
	struct buddy_extent_entry e[512];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = 512,
	};

	while (!call(own, BUDDY_IOC_EXTENTS, &x))
		;
}

static void drop_dirty(int own, const struct buddy_alloc *a)
{
	char *p = map_block(own, a);

	for (uint64_t at = 0; at < a->out_length; at += 2 * MIB)
		p[at] = 1;
	munmap(p, a->out_length);
	free_block(own, a->out_handle);
}

static void wait_to_alloc(int own)
{
	struct buddy_alloc a;

	while (!alloc_block(own, region / 2, &a))
		drop_dirty(own, &a);
}

static void wait_to_scatter(int own)
{
	struct buddy_alloc a;

	while (!scatter_block(own, region / 2, &a))
		drop_dirty(own, &a);
}

static void wait_to_grow(int own)
{
	struct buddy_alloc a, b;

	while (!alloc_block(own, 2 * MIB, &a) &&
	       !alloc_block(own, region / 4, &b)) {
		drop_dirty(own, &b);
		if (resize(own, BUDDY_IOC_GROW, a.out_handle, region / 2))
			break;
		free_block(own, a.out_handle);
	}
}

static void wait_to_batch(int own)
{
	struct buddy_batch_entry entry[64];
	struct buddy_batch b = {
		.size = sizeof(b),
		.entries = (uintptr_t)entry,
		.count = 64,
		.entry_size = sizeof(*entry),
	};

	for (;;) {
		for (int i = 0; i < 64; i++)
			entry[i] = (struct buddy_batch_entry){
				.op = BUDDY_BATCH_ALLOC,
				.length = PAGE,
			};
		if (call(own, BUDDY_IOC_BATCH, &b))
			break;
		for (int i = 0; i < 64; i++) {
			uint64_t handle = entry[i].handle;

			entry[i] = (struct buddy_batch_entry){
				.op = BUDDY_BATCH_FREE,
				.handle = handle,
			};
		}
		if (call(own, BUDDY_IOC_BATCH, &b))
			break;
	}
}

/* SIGKILL at any moment leaves nothing behind, and the process goes at once. */
TEST_F(device, killed_while_waiting)
{
	static void (*const calls[])(int own) = {
		list_extents, wait_to_alloc, wait_to_scatter, wait_to_grow, wait_to_batch,
	};
	const unsigned int nr = sizeof(calls) / sizeof(calls[0]);
	struct buddy_alloc rest;

	expect_eq(alloc_aligned(region / 2, region / 2, &rest), 0);
	for (unsigned int round = 0; round < 12 * nr; round++) {
		double sent;
		int status;
		pid_t pid = fork();

		if (!pid) {
			calls[round % nr](device_open());
			_exit(1);
		}
		usleep(3000 + 1777 * (round % 13));
		sent = now();
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		expect(WIFSIGNALED(status));
		expect(now() - sent < 5);
		expect(wait_free(fd, region / 2, 20));
		expect_eq(get_stats(fd).out_blocks, 1);
	}
	expect_eq(free_block(fd, rest.out_handle), 0);
	expect(wait_free(fd, region, 20));
}

TEST_HARNESS_MAIN
