// SPDX-License-Identifier: MIT
/*
 * poison_test.c - a page that the hardware reports as broken is never served
 * again, and neither zeroed nor lost at unload. Needs root and the module; what
 * it breaks stays out of service until the module is unloaded.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "harness.h"

static int fd;

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

static void broken(uint64_t length, uint64_t at)
{
	uint64_t region, reserved = get_stats(fd).out_reserved;
	struct buddy_extent_entry e[16];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = 16,
	};
	struct buddy_alloc a, b;
	int retired = 0;
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
	expect_eq(get_stats(fd).out_reserved, reserved + length);
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	for (uint32_t i = 0; i < x.out_count; i++)
		retired += e[i].state == BUDDY_EXTENT_RESERVED &&
			   e[i].length == length;
	expect_eq(retired, 1);
	/* nobody gets it again, and the region without it still serves */
	region = get_stats(fd).out_region;
	expect_eq(alloc_block(fd, region, &b), -ENOMEM);
	expect_eq(alloc_block(fd, length, &b), 0);
	expect(b.out_offset != a.out_offset);
	expect_eq(free_block(fd, b.out_handle), 0);
}

/*
 * Who touches the page gets SIGBUS, and its neighbours are there. Not so in a
 * large block that is mapped by a huge page: the processor tells, not the kernel.
 */
static void touched(void)
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

static void large(void)
{
	broken(4 * MIB, 3 * MIB);
}

static void small(void)
{
	broken(3 * PAGE, PAGE);
}

int main(void)
{
	static const struct tap_case cases[] = {
		{ "a broken page in a large block", large },
		{ "a broken page in a small block", small },
		{ "a broken page is touched", touched },
	};
	int failed;

	fd = device_open();
	failed = tap_run(cases, TAP_COUNT(cases));
	close(fd);
	return failed;
}
