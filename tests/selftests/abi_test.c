// SPDX-License-Identifier: MIT
/*
 * abi_test.c - every wrong ioctl of /dev/buddy, one fault at a time, with its
 * exact errno; and the good ones beside them. Those of mmap() are in units_test.c.
 * Needs root and the module.
 */
#define _GNU_SOURCE
#include <grp.h>
#include <stddef.h>

#include "ktest.h"

static struct buddy_alloc good_alloc(void)
{
	return (struct buddy_alloc){
		.size = sizeof(struct buddy_alloc),
		.length = 3 * PAGE,
	};
}

static int try_alloc(struct buddy_alloc a)
{
	int err = call(fd, BUDDY_IOC_ALLOC, &a);

	if (!err)
		expect_eq(free_block(fd, a.out_handle), 0);
	return err;
}

TEST_F(device, info)
{
	struct buddy_info i = { .size = sizeof(i) };

	expect_eq(call(fd, BUDDY_IOC_INFO, &i), 0);
	expect_eq(i.size, sizeof(i));
	expect_eq(i.out_abi_version, BUDDY_ABI_VERSION);
	expect_eq(i.out_granule, PAGE);
	expect(i.out_region >= 2 * MIB && i.out_region % (2 * MIB) == 0);
	expect(i.out_base_align >= 2 * MIB);
	expect_eq(i.out_max_align, 1 << 30);
	expect(i.out_features & BUDDY_FEATURE_CONTIGUOUS);
	i.flags = 1;
	expect_eq(call(fd, BUDDY_IOC_INFO, &i), -EINVAL);
	i.flags = 0;
	i.reserved = 1;
	expect_eq(call(fd, BUDDY_IOC_INFO, &i), -EINVAL);
}

TEST_F(device, alloc_good)
{
	struct buddy_alloc a = good_alloc();

	expect_eq(call(fd, BUDDY_IOC_ALLOC, &a), 0);
	expect_eq(a.size, sizeof(a));
	expect_eq(a.out_length, 3 * PAGE);
	expect(a.out_handle != 0);
	expect(a.out_offset != 0 && a.out_offset % (4 * PAGE) == 0);
	expect_eq(a.out_free, 0);
	expect_eq(free_block(fd, a.out_handle), 0);

	a = good_alloc();
	a.flags = BUDDY_ALLOC_POW2;
	expect_eq(call(fd, BUDDY_IOC_ALLOC, &a), 0);
	expect_eq(a.out_length, 4 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);

	a = good_alloc();
	a.length = 1;
	a.align = MIB;
	expect_eq(call(fd, BUDDY_IOC_ALLOC, &a), 0);
	expect_eq(a.out_length, PAGE);
	expect_eq(a.out_offset % MIB, 0);
	expect_eq(free_block(fd, a.out_handle), 0);
}

TEST_F(device, alloc_lengths)
{
	static const uint64_t huge[] = {
		1ull << 62, 1ull << 63, UINT64_MAX - PAGE, UINT64_MAX - PAGE + 1,
		UINT64_MAX - 1, UINT64_MAX,
	};
	struct buddy_alloc a = good_alloc();

	a.length = 0;
	expect_eq(try_alloc(a), -EINVAL);
	a.length = region + 1;
	expect_eq(try_alloc(a), -EFBIG);
	a.length = region;
	expect_eq(try_alloc(a), 0);
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		a.length = huge[i];
		a.flags = 0;
		expect_eq(try_alloc(a), -EFBIG);
		a.flags = BUDDY_ALLOC_POW2;
		expect_eq(try_alloc(a), -EFBIG);
	}
}

TEST_F(device, alloc_alignments)
{
	struct buddy_alloc a = good_alloc();

	a.align = 3;
	expect_eq(try_alloc(a), -EINVAL);
	a.align = PAGE + 1;
	expect_eq(try_alloc(a), -EINVAL);
	a.align = 2ull << 30;
	expect_eq(try_alloc(a), -EINVAL);
	a.align = 1ull << 63;
	expect_eq(try_alloc(a), -EINVAL);
	a.align = UINT64_MAX;
	expect_eq(try_alloc(a), -EINVAL);
	a.align = 1;
	expect_eq(try_alloc(a), 0);
	a.align = PAGE;
	expect_eq(try_alloc(a), 0);
	a.align = 1 << 30;
	expect_eq(try_alloc(a), 0);
}

TEST_F(device, alloc_flags)
{
	struct buddy_alloc a = good_alloc();

	for (int bit = 0; bit < 32; bit++) {
		a.flags = 1u << bit;
		expect_eq(try_alloc(a),
			  bit < 2 ? 0 : -EINVAL);
	}
	a.flags = BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER;
	expect_eq(try_alloc(a), -EINVAL);
	a.flags = BUDDY_ALLOC_SCATTER;
	a.align = PAGE;
	expect_eq(try_alloc(a), -EINVAL);
	a.align = 0;
	a.flags = 0;
	a.reserved = 1;
	expect_eq(try_alloc(a), -EINVAL);
}

TEST_F(device, handles)
{
	struct buddy_alloc a, b;
	int other = device_open();

	expect_eq(free_block(fd, 0), -ENOENT);
	expect_eq(free_block(fd, 12345678), -ENOENT);
	expect_eq(free_block(fd, UINT32_MAX), -ENOENT);
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	expect_eq(free_block(other, a.out_handle), -ENOENT);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, a.out_handle), -ENOENT);
	/* not issued again at once */
	expect_eq(alloc_block(fd, PAGE, &b), 0);
	expect(b.out_handle != a.out_handle);
	expect_eq(free_block(fd, a.out_handle), -ENOENT);
	expect_eq(free_block(fd, b.out_handle), 0);
	close(other);
}

/*
 * Struct sizes: short, exact, long with a zero tail, long with a tail that is
 * not, far too long. @names_handle: one that there is not.
 */
static void lengths_of(unsigned long command, size_t exact, void *fill,
		       bool names_handle)
{
	/* at the end of a page, the next one not mapped: no byte too far */
	char *page = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at;

	munmap(page + 2 * PAGE, PAGE);
	for (uint32_t size = 0; size < exact; size++) {
		at = page + 2 * PAGE - (size < 4 ? 4 : size);
		memcpy(at, fill, size < 4 ? 4 : size);
		memcpy(at, &size, sizeof(size));
		expect_eq(call(fd, command, at), -EINVAL);
	}
	for (uint32_t more = 0; more <= 64; more += 4) {
		uint32_t size = (uint32_t)exact + more;

		at = page + 2 * PAGE - size;
		memset(at, 0, size);
		memcpy(at, fill, exact);
		memcpy(at, &size, sizeof(size));
		int err = call(fd, command, at);

		expect_eq(err, names_handle ? -ENOENT : 0);
		memcpy(&size, at, sizeof(size));
		expect_eq(size, exact + more);
		if (command == BUDDY_IOC_ALLOC) {
			struct buddy_alloc a;

			memcpy(&a, at, sizeof(a));
			expect_eq(free_block(fd, a.out_handle), 0);
		}
		if (!more)
			continue;
		memcpy(at, fill, exact);
		memcpy(at, &size, sizeof(size));
		at[size - 1] = 1;
		expect_eq(call(fd, command, at), -E2BIG);
	}
	for (int i = 0; i < 2; i++) {
		uint32_t size = i ? UINT32_MAX : PAGE + 1;

		memset(page, 0, 2 * PAGE);
		memcpy(page, fill, exact);
		memcpy(page, &size, sizeof(size));
		expect_eq(call(fd, command, page), -E2BIG);
	}
	expect_eq(call(fd, command, NULL), -EFAULT);
	expect_eq(call(fd, command, page + 2 * PAGE), -EFAULT);
	expect_eq(call(fd, command, page + 2 * PAGE - 2), -EFAULT);
	munmap(page, 2 * PAGE);
}

TEST_F(device, struct_lengths)
{
	struct buddy_extent_entry entries[4];
	struct buddy_info i = { 0 };
	struct buddy_alloc a = good_alloc();
	struct buddy_free f = { .handle = 99999 };
	struct buddy_stats s = { 0 };
	struct buddy_extents x = {
		.entries = (uintptr_t)entries,
		.count = 4,
	};
	struct buddy_share share = { .handle = 99999 };
	struct buddy_batch_entry entry = { .op = BUDDY_BATCH_FREE, .handle = 99999 };
	struct buddy_batch batch = {
		.entries = (uintptr_t)&entry,
		.count = 1,
		.entry_size = sizeof(entry),
	};
	struct buddy_resize resize = { .handle = 99999, .length = PAGE };

	lengths_of(BUDDY_IOC_INFO, sizeof(i), &i, false);
	lengths_of(BUDDY_IOC_ALLOC, sizeof(a), &a, false);
	lengths_of(BUDDY_IOC_FREE, sizeof(f), &f, true);
	lengths_of(BUDDY_IOC_STATS, sizeof(s), &s, false);
	lengths_of(BUDDY_IOC_EXTENTS, sizeof(x), &x, false);
	lengths_of(BUDDY_IOC_SHARE, sizeof(share), &share, true);
	lengths_of(BUDDY_IOC_DMABUF, sizeof(share), &share, true);
	lengths_of(BUDDY_IOC_BATCH, sizeof(batch), &batch, true);
	lengths_of(BUDDY_IOC_TRIM, sizeof(resize), &resize, true);
	lengths_of(BUDDY_IOC_GROW, sizeof(resize), &resize, true);
}

/* The reply cannot be written: nothing may stay allocated. */
TEST_F(device, reply_fault)
{
	struct buddy_alloc *a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct buddy_stats before = get_stats(fd);

	*a = good_alloc();
	mprotect(a, PAGE, PROT_READ);
	for (int i = 0; i < 100; i++)
		expect_eq(call(fd, BUDDY_IOC_ALLOC, a), -EFAULT);
	munmap(a, PAGE);
	expect(wait_free(fd, before.out_free, 5));
	expect_eq(get_stats(fd).out_blocks, before.out_blocks);
}

TEST_F(device, unknown_commands)
{
	char arg[4096] = { 0 };

	for (unsigned int nr = 0; nr < 256; nr++) {
		if (nr >= _IOC_NR(BUDDY_IOC_INFO) &&
		    nr <= _IOC_NR(BUDDY_IOC_SHARE))
			continue;
		if (nr >= _IOC_NR(BUDDY_IOC_BATCH) &&
		    nr <= _IOC_NR(BUDDY_IOC_DMABUF))
			continue;
		expect_eq(call(fd, _IOC(3, BUDDY_IOC_TYPE, nr, 64), arg), -ENOTTY);
	}
	expect_eq(call(fd, _IOC(3, BUDDY_IOC_TYPE + 1, _IOC_NR(BUDDY_IOC_INFO),
				sizeof(struct buddy_info)), arg), -ENOTTY);
}

/* The size bits of a command may be those of another header's struct. */
TEST_F(device, command_size_bits)
{
	struct buddy_info i = { .size = sizeof(i) };

	expect_eq(call(fd, _IOC(3, BUDDY_IOC_TYPE, _IOC_NR(BUDDY_IOC_INFO), 8),
		       &i), 0);
}

TEST_F(device, read_only_file)
{
	struct buddy_alloc a = good_alloc();
	struct buddy_info i = { .size = sizeof(i) };
	int ro = open("/dev/buddy", O_RDONLY);

	expect_eq(call(ro, BUDDY_IOC_ALLOC, &a), -EBADF);
	expect_eq(free_block(ro, 1), -EBADF);
	expect_eq(call(ro, BUDDY_IOC_INFO, &i), 0);
	get_stats(ro);
	close(ro);
}

TEST_F(device, stats_bad)
{
	struct buddy_stats s = { .size = sizeof(s), .flags = 1 };

	expect_eq(call(fd, BUDDY_IOC_STATS, &s), -EINVAL);
}

TEST_F(device, extents)
{
	struct buddy_extent_entry e[64];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = 64,
	};
	uint64_t at = 0;
	struct buddy_alloc a;
	int mine = 0;

	expect_eq(alloc_block(fd, 5 * PAGE, &a), 0);
	for (;;) {
		x.start = at;
		expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
		if (!x.out_count)
			break;
		for (uint32_t i = 0; i < x.out_count; i++) {
			expect_eq(e[i].offset, at);
			at += e[i].length;
			if (e[i].state == BUDDY_EXTENT_USED &&
			    e[i].pid == getpid() && e[i].length == 5 * PAGE)
				mine++;
		}
		expect_eq(x.out_next, at);
	}
	expect_eq(at, get_stats(fd).out_region);
	expect_eq(mine, 1);
	expect_eq(free_block(fd, a.out_handle), 0);

	x.start = UINT64_MAX;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	expect_eq(x.out_count, 0);
	expect_eq(x.out_next, at);
	x.start = 0;
	x.count = 0;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), -EINVAL);
	x.count = 1;
	x.flags = 1;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), -EINVAL);
	x.flags = 0;
	x.entries = 8;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), -EFAULT);
	x.entries = UINT64_MAX - 8;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), -EFAULT);
}

TEST_F(device, no_permission)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			_exit(2);
		_exit(open("/dev/buddy", O_RDWR) < 0 && errno == EACCES ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

TEST_F(device, random_bytes)
{
	unsigned char arg[512];
	unsigned int seed = 12345;

	for (int i = 0; i < 200000; i++) {
		for (size_t k = 0; k < sizeof(arg); k++)
			arg[k] = (unsigned char)(rand_r(&seed) >> 8);
		unsigned int size = (unsigned int)rand_r(&seed) % 512;
		unsigned int nr = _IOC_NR(BUDDY_IOC_INFO) +
				  (unsigned int)rand_r(&seed) % 7;

		memcpy(arg, &size, sizeof(size));
		ioctl(fd, _IOC(3, BUDDY_IOC_TYPE, nr, 64), arg);
	}
	close(fd);
	fd = device_open();
	expect(wait_free(fd, get_stats(fd).out_region, 20));
}

TEST_HARNESS_MAIN
