// SPDX-License-Identifier: MIT
/*
 * map_bench.c - the life of a buffer of 256 MiB, in instructions of the whole machine:
 * a block of /dev/buddy beside what Linux has without it.
 *
 *   make bench-map [KERNEL=7.3]
 *
 * A life: allocate and map; store to each 4 KiB page; unmap, free, and make the memory
 * zero again. hugetlb and anonymous memory are zeroed when they are touched; a block,
 * after it is freed, by a worker of the kernel, which is waited for here. The second
 * of two lives counts.
 */
#define _GNU_SOURCE
#include <linux/memfd.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "harness.h"
#include "insns.h"

#define LENGTH	(256 * MIB)

/* The parts of a life, in instructions, and the faults of touching. */
struct life {
	uint64_t map, touch, unmap, worker;
	long faults;
};

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* @p was mapped, beginning when the counter was @began. Return: whether it was. */
static bool touch(char *p, uint64_t began, struct life *life)
{
	uint64_t t = insns();
	long before;

	life->map = t - began;
	if (p == MAP_FAILED)
		return false;
	before = faults();
	t = insns();
	for (uint64_t at = 0; at < LENGTH; at += PAGE)
		*(volatile char *)(p + at) = 1;
	life->touch = insns() - t;
	life->faults = faults() - before;
	return true;
}

static bool is_returning(int fd)
{
	struct buddy_stats s = { .size = sizeof(s) };

	call(fd, BUDDY_IOC_STATS, &s);
	return s.out_returning;
}

static bool live_block(struct life *life, int unused)
{
	int fd = device_open();
	struct buddy_alloc a;
	uint64_t t = insns();
	char *p;

	(void)unused;
	if (alloc_block(fd, LENGTH, &a))
		return false;
	p = map_block(fd, &a);
	if (!touch(p, t, life))
		return false;
	t = insns();
	munmap(p, LENGTH);
	free_block(fd, a.out_handle);
	life->unmap = insns() - t;
	t = insns();
	while (is_returning(fd))
		sched_yield();
	life->worker = insns() - t;
	close(fd);
	return true;
}

static bool live_memfd(struct life *life, int flags)
{
	uint64_t t = insns();
	int fd = memfd_create("map_bench", (unsigned int)flags);
	char *p;

	if (fd < 0 || ftruncate(fd, LENGTH))
		return false;
	p = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!touch(p, t, life))
		return false;
	t = insns();
	munmap(p, LENGTH);
	close(fd);
	life->unmap = insns() - t;
	life->worker = 0;
	return true;
}

static bool live_anonymous(struct life *life, int advice)
{
	uint64_t t = insns();
	char *p = mmap(NULL, LENGTH + 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));

	if (p == MAP_FAILED || madvise(at, LENGTH, advice))
		return false;
	touch(at, t, life);
	t = insns();
	munmap(p, LENGTH + 2 * MIB);
	life->unmap = insns() - t;
	life->worker = 0;
	return true;
}

static const struct {
	const char *name;
	bool (*live)(struct life *life, int option);
	int option;
} kinds[] = {
	{ "/dev/buddy", live_block, 0 },
	{ "memfd, hugetlb", live_memfd, MFD_HUGETLB | MFD_HUGE_2MB },
	{ "anonymous, THP", live_anonymous, MADV_HUGEPAGE },
	{ "anonymous, 4 KiB", live_anonymous, MADV_NOHUGEPAGE },
	{ "memfd, 4 KiB", live_memfd, 0 },
};

static double millions(uint64_t count) { return (double)count / 1e6; }

int main(void)
{
	printf("%-18s %8s %8s %12s %8s %8s %8s\n", "million instructions", "map", "touch",
	       "unmap, free", "worker", "life", "faults");
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		struct life life = { 0 };
		bool lived = kinds[k].live(&life, kinds[k].option) &&
			     kinds[k].live(&life, kinds[k].option);

		if (!lived) {
			printf("%-20s not to be had: %s\n", kinds[k].name, strerror(errno));
			continue;
		}
		printf("%-20s %8.2f %8.2f %12.2f %8.2f %8.2f %8ld\n", kinds[k].name,
		       millions(life.map), millions(life.touch), millions(life.unmap),
		       millions(life.worker),
		       millions(life.map + life.touch + life.unmap + life.worker), life.faults);
	}
	return 0;
}
