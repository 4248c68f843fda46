// SPDX-License-Identifier: MIT
/*
 * process_model.c - the process backend by its commands, against one byte a page.
 *
 * Usage: process_model [CALLS [SEED]]. The seed is printed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "placement.h"
#include "process.h"
#include "rnd.h"
#include "tap.h"

#define MIB		(1ull << 20)
#define GIB		(1ull << 30)
#define PAGE		4096ull
#define UNIT		(512 * PAGE)
#define MOST_BLOCKS	160
#define MOST_PAGES	(48 * 512)

static uint64_t calls = 20000;
static struct buddy_dev *dev;

static struct process_dev *backend(void)
{
	return (struct process_dev *)dev;
}

static void open_region(uint64_t size)
{
	if (buddy_process_open(&dev, size)) {
		printf("Bail out! %s\n", buddy_error());
		exit(1);
	}
}

static void close_region(void)
{
	buddy_dev_close(dev);
}

static int call(unsigned long command, void *arg)
{
	return dev->ops->call(dev, command, arg);
}

/* Return: its offset in the region, or a negative errno. */
static int64_t alloc(uint64_t length, uint64_t align, uint64_t flags, struct buddy_alloc *a)
{
	int err;

	*a = (struct buddy_alloc){ .length = length, .align = align, .flags = (uint32_t)flags };
	err = call(BUDDY_IOC_ALLOC, a);
	return err ? err : (int64_t)(a->out_offset - BUDDY_PROCESS_BASE);
}

static int release(uint64_t handle)
{
	return call(BUDDY_IOC_FREE, &(struct buddy_free){ .handle = handle });
}

static int resize(unsigned long command, uint64_t handle, uint64_t length)
{
	return call(command, &(struct buddy_resize){ .handle = handle, .length = length });
}

static struct buddy_stats stats(void)
{
	struct buddy_stats s = { 0 };

	expect_eq(call(BUDDY_IOC_STATS, &s), 0);
	return s;
}

static void check_placement(void)
{
	struct buddy_place_owner *owner = &backend()->owner;
	const char *bad = buddy_place_check(&backend()->place, &owner, 1);

	expect(!bad);
	if (bad)
		printf("# %s\n", bad);
}

/*
 * Random calls
 */

static struct block {
	uint64_t handle;
	uint32_t first, pages;
	bool alone;
} blocks[MOST_BLOCKS];
static uint32_t nr_blocks;
static uint8_t in_use[MOST_PAGES];	/* of each page of the region: is it a block's? */
static char *memory;			/* the region */

static uint64_t *word_of(uint32_t page)
{
	return (uint64_t *)(void *)(memory + page * PAGE);
}

/* Pages of a block come: they were nobody's, and are zero. */
static void enter(uint32_t first, uint32_t pages, uint64_t handle)
{
	for (uint32_t i = first; i < first + pages; i++) {
		expect(!in_use[i]);
		expect_eq(*word_of(i), 0);
		in_use[i] = 1;
		*word_of(i) = handle;
	}
}

/* Pages of a block are to go: they have what was written to them. */
static void leave(uint32_t first, uint32_t pages, uint64_t handle)
{
	for (uint32_t i = first; i < first + pages; i++) {
		expect_eq(*word_of(i), handle);
		in_use[i] = 0;
	}
}

static uint32_t random_pages(void)
{
	return (uint32_t)(1 + rnd() % (1ull << rnd() % 13));
}

/* What is said to be the longest block can be had. */
static void check_largest(uint64_t largest)
{
	struct buddy_alloc a;

	if (!largest)
		return;
	expect(alloc(largest, 0, 0, &a) >= 0);
	expect_eq(release(a.out_handle), 0);
}

static uint32_t taken(uint32_t pages, bool alone)
{
	return alone ? (pages + 511) / 512 * 512 : pages;
}

/* What a block that lies alone has behind its length, which is zero; it comes or goes. */
static void mark_rest(const struct block *b, uint32_t pages, bool comes)
{
	for (uint32_t i = b->first + pages; i < b->first + taken(pages, b->alone); i++) {
		expect_eq(in_use[i], !comes);
		expect_eq(*word_of(i), 0);
		in_use[i] = comes;
	}
}

static void random_alloc(void)
{
	struct buddy_alloc a;
	struct block *b = &blocks[nr_blocks];
	bool pow2 = rnd() % 8 == 0, scatter = !pow2 && rnd() % 8 == 0, alone = rnd() % 16 == 0;
	uint64_t align = !scatter && rnd() % 4 == 0 ? PAGE << rnd() % 11 : 0;
	uint64_t length = random_pages() * PAGE - rnd() % PAGE;
	int64_t offset;

	if (nr_blocks == MOST_BLOCKS)
		return;
	offset = alloc(length, align, (pow2 ? BUDDY_ALLOC_POW2 : 0) |
		       (scatter ? BUDDY_ALLOC_SCATTER : 0) | (alone ? BUDDY_ALLOC_ALONE : 0), &a);
	if (offset < 0) {
		expect_eq(offset, -ENOMEM);
		expect(alone ? a.out_free % UNIT == 0 && a.out_largest % UNIT == 0 :
			       a.out_free == stats().out_free);
		check_largest(a.out_largest);
		return;
	}
	expect(a.out_length >= length && a.out_length % PAGE == 0);
	expect(is_well_placed((uint64_t)offset, a.out_length, alone ? UNIT : align, pow2));
	*b = (struct block){ .handle = a.out_handle, .first = (uint32_t)(offset / PAGE),
			     .pages = (uint32_t)(a.out_length / PAGE), .alone = alone };
	enter(b->first, b->pages, b->handle);
	mark_rest(b, b->pages, true);
	nr_blocks++;
}

static void random_free(struct block *b)
{
	leave(b->first, b->pages, b->handle);
	mark_rest(b, b->pages, false);
	expect_eq(release(b->handle), 0);
	expect_eq(release(b->handle), -ENOENT);
	*b = blocks[--nr_blocks];
}

static void random_trim(struct block *b)
{
	uint32_t keep = 1 + (uint32_t)rnd() % b->pages;

	mark_rest(b, b->pages, false);
	leave(b->first + keep, b->pages - keep, b->handle);
	expect_eq(resize(BUDDY_IOC_TRIM, b->handle, keep * PAGE), 0);
	mark_rest(b, keep, true);
	b->pages = keep;
}

/* It succeeds where what follows is free, and nowhere else. */
static void random_grow(struct block *b)
{
	uint32_t pages = b->pages + random_pages(), all = backend()->granules;
	int err = resize(BUDDY_IOC_GROW, b->handle, pages * PAGE), expected = 0;

	if (b->alone)
		expected = -EOPNOTSUPP;
	else if (pages > all - b->first)
		expected = -EFBIG;
	for (uint32_t i = b->first + b->pages; !expected && i < b->first + pages; i++)
		expected = in_use[i] ? -ENOMEM : 0;
	expect_eq(err, expected);
	if (err)
		return;
	enter(b->first + b->pages, pages - b->pages, b->handle);
	b->pages = pages;
}

/* STATS and EXTENTS say what there is. */
static void check_reports(void)
{
	struct buddy_extent_entry e[7];
	struct buddy_extents x = { .entries = (uintptr_t)e, .count = 7 };
	struct buddy_stats s = stats();
	uint64_t used = 0, at = 0, counted = 0;

	for (uint32_t i = 0; i < backend()->granules; i++)
		used += in_use[i] * PAGE;
	expect_eq(s.out_used, used);
	expect_eq(s.out_free, s.out_region - used);
	expect_eq(s.out_blocks, nr_blocks);
	expect(s.out_low_water <= s.out_free);
	for (uint32_t order = 0; order < s.out_orders; order++)
		counted += s.out_free_blocks[order] * (PAGE << order);
	expect_eq(counted, s.out_free);
	while (at < s.out_region) {
		expect_eq(call(BUDDY_IOC_EXTENTS, &x), 0);
		for (uint32_t n = 0; n < x.out_count; at += e[n++].length) {
			bool is_used = e[n].state == BUDDY_EXTENT_USED;

			expect_eq(e[n].offset, at);
			expect(is_used || e[n].state == BUDDY_EXTENT_FREE);
			expect_eq(e[n].pid, is_used ? getpid() : 0);
			for (uint64_t p = at; p < at + e[n].length; p += PAGE)
				expect_eq(in_use[p / PAGE], is_used);
		}
		expect_eq(x.out_next, at);
		x.start = at;
		if (tap_failures)
			return;
	}
	check_placement();
}

static void random_calls(void)
{
	open_region(37 * MIB + 3 * PAGE);
	memory = mmap(NULL, stats().out_region, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd,
		      BUDDY_PROCESS_BASE);
	for (uint64_t i = 0; i < calls && !tap_failures; i++) {
		struct block *b = nr_blocks ? &blocks[rnd() % nr_blocks] : NULL;
		uint64_t what = b ? rnd() % 8 : 0;

		if (what < 3)
			random_alloc();
		else if (what == 3)
			random_trim(b);
		else if (what == 4)
			random_grow(b);
		else
			random_free(b);
		if (i % 16 == 0)
			check_reports();
	}
	while (nr_blocks && !tap_failures)
		random_free(&blocks[0]);
	check_reports();
	expect_eq(stats().out_largest, stats().out_region);
	expect_eq(stats().out_fragmentation, 0);
	munmap(memory, stats().out_region);
	close_region();
}

/*
 * One promise each
 */

/* A block from each place to each length, and back. */
static void lengths(void)
{
	static const uint32_t starts[] = { 0, 1, 300, 511 };
	static const uint32_t pages[] = { 1, 2, 211, 212, 213, 511, 512, 513, 1023, 1024, 1025, 2000 };
	struct buddy_alloc before, a;

	open_region(16 * MIB);
	for (uint32_t i = 0; i < 4 * 12 * 12 * 12; i++) {
		uint32_t start = starts[i % 4], steps[] = {
			pages[i / 4 % 12], pages[i / 48 % 12], pages[i / 576] };

		if (start)
			expect_eq(alloc(start * PAGE, 0, 0, &before), 0);
		expect_eq(alloc(PAGE, 0, 0, &a), (int64_t)(start * PAGE));
		for (uint32_t n = 0, is = 1; n < 3; is = steps[n++])
			expect_eq(resize(steps[n] < is ? BUDDY_IOC_TRIM : BUDDY_IOC_GROW,
					 a.out_handle, steps[n] * PAGE), 0);
		expect_eq(stats().out_used, (start + steps[2]) * PAGE);
		check_placement();
		expect_eq(release(a.out_handle), 0);
		if (start)
			expect_eq(release(before.out_handle), 0);
		expect_eq(stats().out_largest, 16 * MIB);
		if (tap_failures) {
			printf("# start %u, lengths %u %u %u\n", start, steps[0], steps[1], steps[2]);
			break;
		}
	}
	close_region();
}

/* Whatever the length of a region, all of it can be used, and not more. */
static void regions(void)
{
	static const uint32_t sizes[] = { 1, 2, 3, 511, 512, 513, 1000, 1024, 1025, 1536 };
	struct buddy_alloc a;

	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t size = sizes[i] * PAGE;

		open_region(size - 1);
		expect_eq(stats().out_region, size);
		expect_eq(stats().out_free, size);
		expect_eq(stats().out_low_water, size);
		expect_eq(stats().out_largest, size);
		expect_eq(alloc(size + 1, 0, 0, &a), -EFBIG);
		expect_eq(alloc(size, 0, 0, &a), 0);
		expect_eq(resize(BUDDY_IOC_GROW, a.out_handle, size + PAGE), -EFBIG);
		expect_eq(release(a.out_handle), 0);
		for (uint32_t n = 0; n < sizes[i]; n++)
			expect(alloc(1, 0, 0, &a) >= 0);
		expect_eq(alloc(1, 0, 0, &a), -ENOMEM);
		expect_eq(a.out_free, 0);
		expect_eq(a.out_largest, 0);
		expect_eq(stats().out_used, size);
		expect_eq(stats().out_low_water, 0);
		check_placement();
		close_region();
	}
}

/* A block of no round length takes the units that it needs, and no more. */
static void no_round_length(void)
{
	static const uint64_t sizes[] = { 17 * MIB, 20 * MIB, 33 * MIB, 65 * MIB,
					  17 * MIB + PAGE, 5 * MIB - 3 * PAGE };

	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buddy_alloc a;
		uint64_t n = 0;

		open_region(8 * GIB);
		while (alloc(sizes[i], 0, 0, &a) >= 0)
			n++;
		printf("# %llu of %llu bytes\n", (unsigned long long)n,
		       (unsigned long long)sizes[i]);
		expect(n >= 8 * GIB / ((sizes[i] + UNIT - 1) / UNIT * UNIT));
		close_region();
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* No handle is issued twice, however often a block goes and another comes. */
static void handles(void)
{
	enum { ALL = 3000 };
	static uint64_t all[ALL], now[4];
	struct process_table *table;
	struct buddy_alloc a;

	open_region(4 * MIB);
	for (uint32_t i = 0; i < ALL; i++) {
		uint64_t *one = &now[rnd() % 4];

		if (*one) {
			expect_eq(release(*one), 0);
			expect_eq(release(*one), -ENOENT);
		}
		expect(alloc(PAGE, 0, 0, &a) >= 0);
		all[i] = *one = a.out_handle;
	}
	qsort(all, ALL, sizeof(all[0]), by_value);
	for (uint32_t i = 1; i < ALL; i++)
		expect(all[i] != all[i - 1]);
	expect_eq(release(0), -ENOENT);
	expect_eq(release(UINT64_MAX), -ENOENT);
	expect_eq(release(1ull << 32), -ENOENT);
	/* A slot that has used up its numbers is out of use. */
	table = &backend()->blocks;
	table->slots[0].handle |= 0xffffffffull << 32;
	now[0] = table->slots[0].handle;
	expect_eq(release(now[0]), 0);
	for (uint32_t i = 0; i < 10; i++) {
		expect(alloc(PAGE, 0, 0, &a) >= 0);
		expect((uint32_t)a.out_handle != 1);
	}
	expect_eq(release(now[0]), -ENOENT);
	close_region();
}

/* More blocks than the first table has room for; and none is lost. */
static void many(void)
{
	enum { ALL = 5000 };
	static uint64_t all[ALL];
	struct buddy_alloc a;

	open_region(ALL * PAGE);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < ALL; i++) {
			expect(alloc(PAGE, 0, 0, &a) >= 0);
			all[i] = a.out_handle;
		}
		expect_eq(stats().out_free, 0);
		for (uint32_t i = 0; i < ALL; i++)
			expect_eq(release(all[(i * 7) % ALL]), 0);
		expect_eq(stats().out_largest, ALL * PAGE);
	}
	expect_eq(backend()->blocks.nr, ALL);
	close_region();
}

static uint64_t resident(void)
{
	unsigned long all = 0, pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	expect(file && fscanf(file, "%lu %lu", &all, &pages) == 2);
	if (file)
		fclose(file);
	return pages * PAGE;
}

/* What describes a large region is in memory where the region is in use. */
static void sparse(void)
{
	uint64_t before = resident(), size = 1024 * GIB;
	struct buddy_alloc a;

	if (sizeof(long) == 4)
		skip("a file of 1 TiB");
	open_region(size);
	for (uint32_t i = 0; i < 100; i++)
		expect(alloc(3 * MIB + PAGE, 0, 0, &a) >= 0);
	expect(alloc(size / 2, 0, 0, &a) >= 0);
	expect(resident() - before < 24 * MIB);
	close_region();
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "a region of any length", regions },
		{ "any length at any place", lengths },
		{ "no handle is issued twice", handles },
		{ "many blocks", many },
		{ "blocks of no round length", no_round_length },
		{ "1 TiB needs little memory", sparse },
		{ "random calls against all pages", random_calls },
	};

	if (argc > 1)
		calls = strtoull(argv[1], NULL, 0);
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	printf("# %llu calls, seed %llu\n", (unsigned long long)calls, (unsigned long long)seed);
	return tap_run(cases, TAP_COUNT(cases));
}
