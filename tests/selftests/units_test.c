// SPDX-License-Identifier: MIT
/*
 * units_test.c - where blocks lie and how they are mapped: units of 2 MiB, what
 * shares one, tails, huge pages, faults, mmap at offset 0. Needs root and the
 * module.
 */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "harness.h"

static int fd;
static uint64_t region;

/* Small blocks of two files never share a unit of 2 MiB. */
static void units_are_private(void)
{
	struct buddy_alloc a, b, c;
	int other = device_open();

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	expect_eq(alloc_block(other, PAGE, &b), 0);
	expect_eq(alloc_block(fd, PAGE, &c), 0);
	expect(a.out_offset / (2 * MIB) != b.out_offset / (2 * MIB));
	expect_eq(a.out_offset / (2 * MIB), c.out_offset / (2 * MIB));
	expect_eq(get_stats(fd).out_private, 4 * MIB - 3 * PAGE);
	expect_eq(get_stats(fd).out_used, 3 * PAGE);
	close(other);
	expect_eq(get_stats(fd).out_private, 2 * MIB - 2 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, c.out_handle), 0);
	expect_eq(get_stats(fd).out_private, 0);
}

/* The tail of a large block lies in a unit that then serves small ones. */
static void tail_serves(void)
{
	struct buddy_alloc big, small;
	char *p, *q;

	expect_eq(alloc_block(fd, 4 * MIB + 3 * PAGE, &big), 0);
	expect_eq(get_stats(fd).out_used, 4 * MIB + 3 * PAGE);
	expect_eq(alloc_block(fd, PAGE, &small), 0);
	expect_eq(small.out_offset, big.out_offset + 4 * MIB + 3 * PAGE);
	p = map_block(fd, &big);
	q = map_block(fd, &small);
	fill(p, 1, big.out_length);
	fill(q, 2, PAGE);
	munmap(p, big.out_length);
	expect_eq(free_block(fd, big.out_handle), 0);
	/* the neighbour in the unit stays, and stays as it is */
	expect(wait_free(fd, region - 2 * MIB, 5));
	expect_eq(get_stats(fd).out_used, PAGE);
	expect_eq(q[PAGE - 1], 2);
	munmap(q, PAGE);
	expect_eq(free_block(fd, small.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* A pin of one small block delays its neighbours in the unit, never itself. */
static void neighbours(void)
{
	struct buddy_alloc a[4];
	unsigned char *p[4];
	struct iovec io;
	int pipes[2];

	expect(!pipe(pipes));
	for (int i = 0; i < 4; i++) {
		expect_eq(alloc_block(fd, 32 * PAGE, &a[i]), 0);
		p[i] = map_block(fd, &a[i]);
		fill(p[i], i + 1, 32 * PAGE);
	}
	io = (struct iovec){ p[0], PAGE };
	expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
	for (int i = 0; i < 3; i++) {
		munmap(p[i], 32 * PAGE);
		expect_eq(free_block(fd, a[i].out_handle), 0);
	}
	usleep(100000);
	/* the pinned one at least; the last is mapped and untouched by it all */
	expect(get_stats(fd).out_quarantined >= 32 * PAGE);
	for (size_t i = 0; i < 32 * PAGE; i += 512)
		expect_eq(p[3][i], 4);
	fill(p[3], 9, 32 * PAGE);
	close(pipes[0]);
	close(pipes[1]);
	expect(wait_free(fd, region - 2 * MIB, 5));
	for (int tries = 0; get_stats(fd).out_quarantined && tries < 300; tries++)
		usleep(10000);
	expect_eq(get_stats(fd).out_quarantined, 0);
	expect_eq(p[3][7], 9);
	munmap(p[3], 32 * PAGE);
	expect_eq(free_block(fd, a[3].out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* No ioctl at all: mmap at offset 0, in several lengths at once. */
static void plain_mmap(void)
{
	static const uint64_t lengths[] = { PAGE, 3 * PAGE, 2 * MIB, 5 * MIB + PAGE };
	char *p[4];
	int own = device_open(), status;
	pid_t pid;

	for (int i = 0; i < 4; i++) {
		p[i] = mmap(NULL, lengths[i], PROT_READ | PROT_WRITE, MAP_SHARED,
			    own, 0);
		expect(p[i] != MAP_FAILED);
		expect(is_zero(p[i], lengths[i]));
		fill(p[i], i + 1, lengths[i]);
	}
	expect_eq(get_stats(fd).out_used, 7 * MIB + 5 * PAGE);
	expect_eq(get_stats(fd).out_blocks, 4);
	close(own);
	pid = fork();
	if (!pid) {
		p[3][5 * MIB] = 77;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	expect_eq(p[3][5 * MIB], 77);
	for (int i = 0; i < 4; i++) {
		expect_eq(p[i][lengths[i] - 1], i == 3 ? 4 : i + 1);
		expect_eq(p[i][0], i + 1);
	}
	/* in part, and then the rest */
	munmap(p[3] + MIB, MIB);
	expect_eq(get_stats(fd).out_blocks, 4);
	munmap(p[3], MIB);
	munmap(p[3] + 2 * MIB, lengths[3] - 2 * MIB);
	for (int i = 0; i < 3; i++)
		munmap(p[i], lengths[i]);
	expect(wait_free(fd, region, 5));
}

static void huge_mappings(void)
{
	struct buddy_info info = { .size = sizeof(info) };
	struct buddy_alloc a;
	char *p;

	expect_eq(call(fd, BUDDY_IOC_INFO, &info), 0);
	expect_eq(alloc_block(fd, 8 * MIB, &a), 0);
	p = map_block(fd, &a);
	fill(p, 1, 8 * MIB);
	expect_eq(smaps(p, "Rss"), 8192);
	expect_eq(smaps(p, "FilePmdMapped"),
		  info.out_features & BUDDY_FEATURE_HUGE ? 8192 : 0);
	munmap(p, 8 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
	if (!(info.out_features & BUDDY_FEATURE_HUGE))
		skip("this kernel gives no folios; checked that it says so");
}

static void one_fault_maps_all(void)
{
	struct buddy_alloc a;
	unsigned char present[512];
	char *p;
	int count = 0;

	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	p = mmap(NULL, 4 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
	p = mmap(p, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 (off_t)a.out_offset);
	expect(p != MAP_FAILED);
	p[MIB] = 1;
	expect(!mincore(p, 2 * MIB, present));
	for (int i = 0; i < 512; i++)
		count += present[i] & 1;
	expect_eq(count, 512);
	munmap(p, 2 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
}

int main(void)
{
	static const struct tap_case cases[] = {
		{ "small blocks of two files share no unit", units_are_private },
		{ "the tail of a large block serves small ones", tail_serves },
		{ "a pin delays neighbours, and harms none", neighbours },
		{ "mmap at offset 0", plain_mmap },
		{ "large blocks are mapped by huge pages", huge_mappings },
		{ "one fault maps 2 MiB", one_fault_maps_all },
	};

	return run_cases(cases, TAP_COUNT(cases), &fd, &region);
}
