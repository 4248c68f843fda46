// SPDX-License-Identifier: GPL-2.0-only
/*
 * block_kunit.c - blocks in units and in parts of them: placed, resized, scattered
 * and freed, in every order that is short enough to try, with all invariants after
 * each step.
 */
#include <linux/mm.h>

#include "placement.h"
#include "tap.h"
#include "world.h"

#define HELD	3
#define DEPTH	4

/*
 * One sequence of DEPTH steps, told by the digits of @number: allocate one of the
 * lengths, or free one of those held.
 */
static void run_sequence(u32 number, const u32 *lengths, u32 nr_lengths)
{
	struct buddy_kblock *held[DEPTH];
	u32 nr = 0, used = 0;

	for (int step = 0; step < DEPTH; step++) {
		u32 digit = number % (nr_lengths + HELD);

		number /= nr_lengths + HELD;
		if (digit < nr_lengths) {
			struct buddy_kblock *block =
				world_alloc(world_file, lengths[digit]);

			if (IS_ERR(block)) {
				expect_eq(PTR_ERR(block), -ENOMEM);
				continue;
			}
			expect_eq(block->pages, lengths[digit]);
			expect(is_well_placed(buddy_bytes(block->pgoff),
					      buddy_bytes(block->pages), 0, false));
			held[nr++] = block;
			used += block->pages;
		} else if (digit - nr_lengths < nr) {
			digit -= nr_lengths;
			used -= held[digit]->pages;
			buddy_kblock_put(held[digit], true);
			held[digit] = held[--nr];
		}
		expect_no_fault(used);
	}
	while (nr)
		buddy_kblock_put(held[--nr], true);
	expect_eq(world_region->place.core.free, WORLD_UNITS);
}

static void every_short_sequence(void)
{
	static const u32 lengths[] = { 1, 200, 512, 513, 1536 + 7, 4 * 512 };
	const u32 choices = ARRAY_SIZE(lengths) + HELD;
	u32 sequences = 1;

	for (int step = 0; step < DEPTH; step++)
		sequences *= choices;
	for (u32 number = 0; number < sequences && !tap_failures; number++) {
		run_sequence(number, lengths, ARRAY_SIZE(lengths));
		cond_resched();
	}
	printf("%u sequences\n", sequences);
}

/* A named block, as ALLOC makes it. */
static u64 named_block(u32 pages)
{
	struct buddy_kblock *block;
	u64 handle = 0;

	expect_eq(buddy_handle_reserve(world_file, &handle), 0);
	block = world_alloc(world_file, pages);
	if (IS_ERR(block)) {
		buddy_handle_cancel(world_file, handle);
		return 0;
	}
	buddy_kblock_publish(world_file, handle, block);
	return handle;
}

/* From every length to every other; half of them with a neighbour that is in the way. */
static void every_resize(void)
{
	static const u32 lengths[] = {
		1, 2, 3, 255, 511, 512, 513, 800, 1023, 1024, 1025, 2047, 2048, 2100,
	};
	u32 grown = 0;

	for (u32 i = 0; i < ARRAY_SIZE(lengths) && !tap_failures; i++) {
		for (u32 j = 0; j < ARRAY_SIZE(lengths); j++) {
			u32 from = lengths[i], to = lengths[j];
			u32 beside = (i + j) % 2 ? 1 + i : 0;
			u64 handle = named_block(from);
			u64 other = beside ? named_block(beside) : 0;
			int err;

			if (to <= from) {
				expect_eq(buddy_kblock_grow(world_file, handle, to),
					  to == from ? 0 : -EINVAL);
				err = buddy_kblock_trim(world_file, handle, to);
				expect_eq(err, 0);
			} else {
				expect_eq(buddy_kblock_trim(world_file, handle, to),
					  -EINVAL);
				err = buddy_kblock_grow(world_file, handle, to);
				expect(!err || err == -ENOMEM);
				grown += !err;
			}
			expect_no_fault((err ? from : to) + beside);
			expect_eq(buddy_kblock_free(world_file, handle), 0);
			if (beside)
				expect_eq(buddy_kblock_free(world_file, other), 0);
			expect_no_fault(0);
			cond_resched();
		}
	}
	expect(grown > 40);
	expect_eq(buddy_kblock_trim(world_file, 4711, 1), -ENOENT);
	expect_eq(buddy_kblock_grow(world_file, 4711, 1), -ENOENT);
}

static void no_resize_of_what_is_referred_to(void)
{
	u64 handle = named_block(600);
	struct buddy_kblock *block = buddy_handle_get(world_file, handle);

	expect_eq(buddy_kblock_trim(world_file, handle, 1), -EBUSY);
	expect_eq(buddy_kblock_grow(world_file, handle, 700), -EBUSY);
	buddy_kblock_put(block, true);
	expect_eq(buddy_kblock_trim(world_file, handle, 1), 0);
	expect_eq(buddy_kblock_free(world_file, handle), 0);
}

/* Every pattern of free and used units, and every length that could fit. */
static void every_scatter(void)
{
	struct buddy_kblock *fence[WORLD_UNITS];
	u32 scattered = 0;

	for (u32 pattern = 0; pattern < 1u << WORLD_UNITS; pattern++) {
		u32 room = WORLD_UNITS - hweight32(pattern);

		for (int i = 0; i < WORLD_UNITS; i++)
			fence[i] = world_alloc(world_file, BUDDY_UNIT_PAGES);
		for (int i = 0; i < WORLD_UNITS; i++)
			if (!(pattern >> i & 1))
				buddy_kblock_put(fence[i], true);
		for (u32 units = 1; units <= WORLD_UNITS; units++) {
			u32 pages = units * BUDDY_UNIT_PAGES - units % 3;
			struct buddy_kblock *block =
				world_alloc_as(world_file, pages, BUDDY_ALLOC_SCATTER);
			struct buddy_extent *e;
			u32 at = 0;

			expect_eq(IS_ERR(block), units > room);
			if (IS_ERR(block))
				continue;
			scattered += block->scattered;
			buddy_for_each_extent(e, block) {
				expect_eq(e->at, at);
				at += e->pages;
			}
			expect_eq(at, pages);
			for (at = 0; at < pages; at++) {
				e = buddy_extent_find(block, at);
				if (at - e->at >= e->pages)
					expect(!"a page is in another extent");
			}
			expect_no_fault(pages + (WORLD_UNITS - room) * BUDDY_UNIT_PAGES);
			buddy_kblock_put(block, true);
		}
		for (int i = 0; i < WORLD_UNITS; i++)
			if (pattern >> i & 1)
				buddy_kblock_put(fence[i], true);
		expect_no_fault(0);
		cond_resched();
	}
	printf("%u scattered\n", scattered);
	expect(scattered > 300);
}

/* Only a named block of this file is found, and only within it. */
static void finding(void)
{
	struct buddy_file *other = buddy_file_create(world_region);
	u64 handle = named_block(700);
	struct buddy_kblock *block = buddy_handle_get(world_file, handle);
	u64 first = block->pgoff;

	for (u32 at = 0; at < 700; at += 100) {
		expect(buddy_kblock_find(world_file, first + at, 700 - at) == block);
		buddy_kblock_put(block, true);
		expect(!buddy_kblock_find(world_file, first + at, 701 - at));
		expect(!buddy_kblock_find(other, first + at, 1));
	}
	expect(!buddy_kblock_find(world_file, first + 700, 1));
	expect(!buddy_kblock_find(world_file, world_region->pages, 1));
	expect(!buddy_kblock_find(world_file, U64_MAX, 1));
	expect(!buddy_kblock_find(world_file, first, U64_MAX));
	expect_eq(buddy_kblock_free(world_file, handle), 0);
	expect(!buddy_kblock_find(world_file, first, 1));
	buddy_kblock_put(block, true);
	buddy_kblock_close(other);
}

static const struct tap_case block_cases[] = {
	{ "every short sequence of allocations and frees", every_short_sequence },
	{ "from every length to every other", every_resize },
	{ "no change of a block that somebody refers to", no_resize_of_what_is_referred_to },
	{ "scattered over every pattern of units", every_scatter },
	{ "finding a block by its pages", finding },
};

WORLD_SUITE(block);
