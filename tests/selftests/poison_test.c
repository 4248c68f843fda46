// SPDX-License-Identifier: MIT
/*
 * poison_test.c - a page with a memory error (poisoned) is never served
 * again, and neither zeroed nor lost at unload. Needs root and the module; what
 * it poisons is withheld until the module is unloaded.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "ktest.h"


/* What is poisoned stays so: the region is not as it was. */
FIXTURE(poison)
{
};

FIXTURE_SETUP(poison)
{
	test_begin(_metadata);
}

FIXTURE_TEARDOWN(poison)
{
	struct buddy_stats s = settled_stats(fd, 0);

	expect_eq(s.out_used, 0);
	expect_eq(s.out_blocks, 0);
	close(fd);
}

/* As memory_failure() gets it from a machine check. */
static bool break_page(const void *p)
{
	FILE *offline = fopen("/sys/devices/system/memory/hard_offline_page", "w");

	if (!offline)
		return false;
	fprintf(offline, "%#llx", (unsigned long long)frame(p) * PAGE);
	fclose(offline);	/* EBUSY: in use, but marked */
	return true;
}

/* The number of extents of @length of retired blocks. */
static int retired(uint64_t length)
{
	struct buddy_extent_entry e[32];
	uint32_t extents = read_extents(fd, e, 32);
	int count = 0;

	expect(extents < 32);
	for (uint32_t i = 0; i < extents; i++)
		count += e[i].state == BUDDY_EXTENT_RESERVED &&
			 e[i].length == length;
	return count;
}

/* A page of a block breaks: @lost bytes are retired, and nothing else. */
static void poisoned(uint64_t length, uint64_t at, uint64_t lost)
{
	uint64_t reserved = get_stats(fd).out_reserved;
	int before = retired(lost);
	struct buddy_alloc a, b;
	char *p;

	expect_eq(alloc_block(fd, length, &a), 0);
	p = map_block(fd, &a);
	memset(p, 1, length);
	if (!break_page(p + at))
		skip("this kernel has no hard_offline_page");
	munmap(p, length);
	expect_eq(free_block(fd, a.out_handle), 0);
	for (int i = 0; get_stats(fd).out_reserved == reserved && i < 300; i++)
		usleep(10000);
	expect_eq(get_stats(fd).out_reserved, reserved + lost);
	expect_eq(retired(lost), before + 1);
	/* nobody gets it again, and the region without it still serves */
	expect_eq(alloc_block(fd, region, &b), -ENOMEM);
	expect_eq(alloc_block(fd, length, &b), 0);
	expect(b.out_offset != a.out_offset);
	expect_eq(free_block(fd, b.out_handle), 0);
}

TEST_F(poison, a_poisoned_page_in_a_large_block)
{
	poisoned(4 * MIB, 3 * MIB, 2 * MIB);
}

TEST_F(poison, a_poisoned_page_in_a_tail)
{
	poisoned(2 * MIB + 5 * PAGE, 2 * MIB + 4 * PAGE, PAGE);
	poisoned(4 * MIB + 5 * PAGE, MIB, 2 * MIB);
}

TEST_F(poison, a_poisoned_page_in_a_small_block)
{
	poisoned(3 * PAGE, PAGE, PAGE);
}

/*
 * Who touches the page gets SIGBUS, and its neighbours are there. Not so in a
 * large block that is mapped by a huge page: the processor tells, not the kernel.
 */
TEST_F(poison, a_poisoned_page_is_touched)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, 3 * PAGE, &a);
	int status;
	pid_t pid;

	if (!break_page(p + PAGE))
		skip("this kernel has no hard_offline_page");
	expect(!madvise(p, 3 * PAGE, MADV_DONTNEED));
	pid = fork();
	if (!pid)
		_exit(intact(p, PAGE) && intact(p + 2 * PAGE, PAGE) ? p[PAGE] : 1);
	waitpid(pid, &status, 0);
	expect_eq(status, SIGBUS);
	give_back(fd, p, &a);
}

TEST_HARNESS_MAIN
