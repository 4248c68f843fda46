// SPDX-License-Identifier: GPL-2.0-only
/*
 * alone_kunit.c - blocks that lie alone in their units: their extents, beside other blocks,
 * trimmed, scattered, pinned and freed.
 */
#include <linux/delay.h>
#include <linux/mm.h>

#include "tap.h"
#include "world.h"

#define ALONE	BUDDY_ALLOC_ALONE
#define DEPTH	4
#define HELD	3

static u32 taken(const struct buddy_kblock *block)
{
	return block->alone ? round_up(block->pages, BUDDY_UNIT_PAGES) : block->pages;
}

/* Its extents are all of what it takes, in order; of one that lies alone whole units. */
static void expect_extents(const struct buddy_kblock *block)
{
	struct buddy_extent *e;
	u32 at = 0;

	buddy_for_each_extent(e, block) {
		expect_eq(e->at, at);
		expect(e->at < block->pages);
		expect(!block->alone || !e->split);
		at += e->pages;
	}
	expect_eq(at, taken(block));
}

static bool has_unit(const struct buddy_kblock *block, u32 unit)
{
	struct buddy_extent *e;

	buddy_for_each_extent(e, block)
		if (e->first / BUDDY_UNIT_PAGES <= unit &&
		    unit <= (e->first + e->pages - 1) / BUDDY_UNIT_PAGES)
			return true;
	return false;
}

/* No unit of one that lies alone has a page of another. */
static void expect_alone(struct buddy_kblock *const *blocks, u32 nr)
{
	for (u32 unit = 0; unit < WORLD_UNITS; unit++) {
		u32 all = 0, alone = 0;

		for (u32 i = 0; i < nr; i++) {
			if (!has_unit(blocks[i], unit))
				continue;
			all++;
			alone += blocks[i]->alone;
		}
		expect(!alone || all == 1);
	}
}

/* As in block_kunit.c: allocate one of the kinds, or free one of those held. */
static void run_sequence(u32 number)
{
	static const struct { u32 pages, flags; } kinds[] = {
		{ 1, 0 }, { 1, ALONE }, { 512 + 7, 0 }, { 512 + 7, ALONE }, { 2 * 512, ALONE },
	};
	struct buddy_kblock *held[DEPTH];
	u32 nr = 0, used = 0;

	for (int step = 0; step < DEPTH; step++) {
		u32 digit = number % (ARRAY_SIZE(kinds) + HELD);

		number /= ARRAY_SIZE(kinds) + HELD;
		if (digit < ARRAY_SIZE(kinds)) {
			struct buddy_kblock *block =
				world_alloc_as(world_file, kinds[digit].pages,
					       kinds[digit].flags);

			if (IS_ERR(block)) {
				expect_eq(PTR_ERR(block), -ENOMEM);
				continue;
			}
			expect_eq(block->pages, kinds[digit].pages);
			expect_extents(block);
			held[nr++] = block;
			used += taken(block);
		} else if (digit - ARRAY_SIZE(kinds) < nr) {
			digit -= ARRAY_SIZE(kinds);
			used -= taken(held[digit]);
			buddy_kblock_put(held[digit], true);
			held[digit] = held[--nr];
		}
		expect_alone(held, nr);
		expect_no_fault(used);
	}
	while (nr)
		buddy_kblock_put(held[--nr], true);
	expect_eq(world_region->place.core.free, WORLD_UNITS);
}

static void every_short_sequence(void)
{
	for (u32 number = 0; number < 8 * 8 * 8 * 8 && !tap_failures; number++) {
		run_sequence(number);
		cond_resched();
	}
}

/* A named block, as ALLOC makes it. */
static u64 named_block(u32 pages, u32 flags)
{
	struct buddy_kblock *block;
	u64 handle = 0;

	expect_eq(buddy_handle_reserve(world_file, &handle), 0);
	block = world_alloc_as(world_file, pages, flags);
	KUNIT_ASSERT_FALSE(tap_test, IS_ERR(block));
	buddy_kblock_publish(world_file, handle, block);
	return handle;
}

static struct buddy_kblock *block_of(u64 handle)
{
	struct buddy_kblock *block;

	spin_lock(&world_file->handles.lock);
	block = buddy_handle_find(world_file, handle);
	spin_unlock(&world_file->handles.lock);
	return block;
}

/* Writes to all that it takes, more than a mapping could. */
static void dirty(struct buddy_kblock *block)
{
	struct buddy_extent *e;

	buddy_extent_touch(block);
	buddy_for_each_extent(e, block)
		for (u32 i = 0; i < e->pages; i++)
			memset(page_address(buddy_region_page(world_region, e->first + i)),
			       0xa5, PAGE_SIZE);
}

static bool is_region_zero(void)
{
	for (u32 i = 0; i < world_region->pages; i++)
		if (memchr_inv(page_address(buddy_region_page(world_region, i)), 0, PAGE_SIZE))
			return false;
	return true;
}

static const u32 lengths[] = { 1, 2, 511, 512, 513, 1023, 1024, 1025, 2047 };

/* From every length to every other; none grows, not even within its unit. */
static void every_resize(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(lengths) && !tap_failures; i++) {
		for (u32 j = 0; j < ARRAY_SIZE(lengths); j++) {
			u32 from = lengths[i], to = lengths[j];
			u64 handle = named_block(from, ALONE), beside = named_block(1, 0);
			struct buddy_kblock *blocks[] = { block_of(handle), block_of(beside) };

			expect_eq(buddy_kblock_grow(world_file, handle, to), -EOPNOTSUPP);
			expect_eq(buddy_kblock_trim(world_file, handle, to),
				  to > from ? -EINVAL : 0);
			expect_eq(blocks[0]->pages, min(from, to));
			expect_extents(blocks[0]);
			expect_alone(blocks, 2);
			expect_no_fault(taken(blocks[0]) + 1);
			expect_eq(buddy_kblock_free(world_file, handle), 0);
			expect_eq(buddy_kblock_free(world_file, beside), 0);
			expect_no_fault(0);
			cond_resched();
		}
	}
}

/* What was in the rest of the last unit is zeroed with the block, trimmed or not. */
static void comes_back_zero(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(lengths); i++) {
		u64 handle = named_block(lengths[i], ALONE);

		dirty(block_of(handle));
		if (i % 2)
			expect_eq(buddy_kblock_trim(world_file, handle, (lengths[i] + 1) / 2), 0);
		expect_eq(buddy_kblock_free(world_file, handle), 0);
		expect(world_is_free());
		expect(is_region_zero());
	}
}

/* Within 3 s; the longest interval of the quarantine is 1 s. */
static bool becomes_quarantined(u32 pages)
{
	bool is = false;

	for (int i = 0; i < 3000 && !is; i++) {
		spin_lock(&world_region->lock);
		is = world_region->quarantined == pages;
		spin_unlock(&world_region->lock);
		usleep_range(1000, 1100);
	}
	return is;
}

/* A page that a TRIM left in the last unit is pinned: the unit waits for it. */
static void pinned_beyond_its_length(void)
{
	u64 handle = named_block(600, ALONE);
	struct buddy_kblock *block = block_of(handle);
	struct page *page = buddy_region_page(world_region, block->pgoff + 500);

	dirty(block);
	get_page(page);
	expect_eq(buddy_kblock_trim(world_file, handle, 1), 0);
	expect(becomes_quarantined(0));
	expect_eq(*(u8 *)page_address(page), 0xa5);
	expect_eq(buddy_kblock_free(world_file, handle), 0);
	expect(becomes_quarantined(BUDDY_UNIT_PAGES));
	expect_eq(*(u8 *)page_address(page), 0xa5);
	put_page(page);
	expect(world_is_free());
	expect(is_region_zero());
}

/* Every pattern of free and used units, and a split one: of that no page is taken. */
static void every_scatter(void)
{
	struct buddy_kblock *fence[WORLD_UNITS];
	u32 scattered = 0;

	for (u32 pattern = 0; pattern < 1u << WORLD_UNITS; pattern++) {
		u32 room = WORLD_UNITS - hweight32(pattern), used = 0;

		for (int i = 0; i < WORLD_UNITS; i++)
			fence[i] = world_alloc(world_file, i ? BUDDY_UNIT_PAGES : 1);
		for (int i = 0; i < WORLD_UNITS; i++) {
			if (!(pattern >> i & 1))
				buddy_kblock_put(fence[i], true);
			else
				used += fence[i]->pages;
		}
		for (u32 units = 1; units <= WORLD_UNITS; units++) {
			u32 pages = units * BUDDY_UNIT_PAGES - 5 * (units % 3);
			struct buddy_kblock *block =
				world_alloc_as(world_file, pages, ALONE | BUDDY_ALLOC_SCATTER);

			expect_eq(IS_ERR(block), units > room);
			if (IS_ERR(block))
				continue;
			scattered += block->scattered;
			expect_eq(block->pages, pages);
			expect_extents(block);
			expect_no_fault(used + units * BUDDY_UNIT_PAGES);
			buddy_kblock_put(block, true);
		}
		for (int i = 0; i < WORLD_UNITS; i++)
			if (pattern >> i & 1)
				buddy_kblock_put(fence[i], true);
		expect_no_fault(0);
		cond_resched();
	}
	printf("%u scattered\n", scattered);
	expect(scattered > 200);
}

static const struct tap_case alone_cases[] = {
	{ "every short sequence, beside other blocks", every_short_sequence },
	{ "from every length to every other", every_resize },
	{ "freed and zero", comes_back_zero },
	{ "a pin of what a TRIM left", pinned_beyond_its_length },
	{ "scattered over every pattern of units", every_scatter },
};

TAP_KUNIT(alone_cases);

static struct kunit_suite alone_suite = {
	.name = "buddy_alone",
	.suite_init = world_suite_init,
	.suite_exit = world_suite_exit,
	.init = world_init,
	.exit = world_exit,
	.test_cases = alone_cases_kunit,
};

kunit_test_suite(alone_suite);
