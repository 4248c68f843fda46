// SPDX-License-Identifier: GPL-2.0-only
/*
 * reclaim_kunit.c - the way back: what is held waits, what is not is zero, and an
 * allocation brings back what it can.
 *
 * "Held" is a reference of the test's own to a page, as a pin has one.
 */
#include <linux/delay.h>
#include <linux/mm.h>

#include "tap.h"
#include "world.h"

static struct buddy_kblock *block_of(u32 pages)
{
	struct buddy_kblock *block = buddy_kblock_alloc(world_file, pages, 0);

	KUNIT_ASSERT_FALSE(tap_test, IS_ERR(block));
	return block;
}

static struct page *page_of(const struct buddy_kblock *block, u32 i)
{
	return buddy_region_page(block->region, block->first + i);
}

/* Writes to all of it, as a mapping that faulted might have. */
static void dirty(struct buddy_kblock *block)
{
	block->touched = true;
	if (block->tail)
		block->tail->faulted = true;
	for (u32 i = 0; i < block->pages; i++)
		memset(page_address(page_of(block, i)), 0xa5, PAGE_SIZE);
}

static bool region_is_zero(void)
{
	for (u32 i = 0; i < world_region->pages; i++)
		if (memchr_inv(page_address(buddy_region_page(world_region, i)), 0,
			       PAGE_SIZE))
			return false;
	return true;
}

static u32 state_pages(const u32 *state)
{
	u32 pages;

	spin_lock(&world_region->lock);
	pages = *state;
	spin_unlock(&world_region->lock);
	return pages;
}

/* Within 3 s; the longest interval of the quarantine is 1 s. */
static bool becomes(const u32 *state, u32 pages)
{
	for (int i = 0; i < 3000; i++) {
		if (state_pages(state) == pages)
			return true;
		usleep_range(1000, 1100);
	}
	return false;
}

static const u32 lengths[] = { 1, 16, 17, 511, 512, 700, 1024, 1537 };

static void comes_back_zero(void)
{
	for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct buddy_kblock *block = block_of(lengths[i]);

		dirty(block);
		buddy_kblock_put(block);
		expect(world_is_free());
		expect(region_is_zero());
	}
}

/* Each page of the first, the last and one between, held in turn. */
static void held_pages(void)
{
	for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
		u32 at[] = { 0, lengths[i] / 2, lengths[i] - 1 };

		for (int k = 0; k < ARRAY_SIZE(at); k++) {
			struct buddy_kblock *block = block_of(lengths[i]);
			struct page *page = page_of(block, at[k]);

			dirty(block);
			get_page(page);
			buddy_kblock_put(block);
			expect(becomes(&world_region->quarantined, lengths[i]));
			expect_eq(*(u8 *)page_address(page), 0xa5);
			msleep(30);
			expect_eq(state_pages(&world_region->quarantined), lengths[i]);
			put_page(page);
			expect(becomes(&world_region->quarantined, 0));
			expect(world_is_free());
		}
	}
	expect(region_is_zero());
}

/* Nobody ever got a page: no test, so a reference does not matter. */
static void untouched(void)
{
	struct buddy_kblock *block = block_of(600);
	struct page *page = page_of(block, 5);

	get_page(page);
	buddy_kblock_put(block);
	expect_eq(world_region->core.free, WORLD_UNITS);
	put_page(page);
}

static void allocation_helps(void)
{
	struct buddy_kblock *block = block_of(world_region->pages);
	struct page *page = page_of(block, 1000);

	dirty(block);
	get_page(page);
	buddy_kblock_put(block);
	/* it is held: the allocation finds that out and does not wait for ever */
	block = buddy_kblock_alloc(world_file, 512, 0);
	expect_eq(PTR_ERR(block), -ENOMEM);
	expect_eq(state_pages(&world_region->quarantined), world_region->pages);
	msleep(300);
	put_page(page);
	/* the next poll may be far away: the allocation looks itself */
	block = buddy_kblock_alloc(world_file, 512, 0);
	expect(!IS_ERR(block));
	if (!IS_ERR(block))
		buddy_kblock_put(block);
	expect(world_is_free());
	expect(region_is_zero());
}

/* A pin of one small block keeps its unit, and no other. */
static void a_unit_at_a_time(void)
{
	struct buddy_kblock *a = block_of(10), *b = block_of(10), *c = block_of(512);
	struct page *page = page_of(a, 3);

	dirty(a);
	dirty(b);
	dirty(c);
	get_page(page);
	buddy_kblock_put(c);
	buddy_kblock_put(a);
	buddy_kblock_put(b);
	expect(becomes(&world_region->returning, 0));
	expect_eq(state_pages(&world_region->quarantined),
		  world_region->folios ? 20 : 10);
	put_page(page);
	expect(becomes(&world_region->quarantined, 0));
	expect(world_is_free());
}

/* Its owner's file may go while a block waits. */
static void outlives_its_file(void)
{
	struct buddy_file *file = buddy_file_create(world_region);
	struct buddy_kblock *block = buddy_kblock_alloc(file, 10, 0);
	struct page *page = page_of(block, 0);

	dirty(block);
	get_page(page);
	buddy_kblock_put(block);
	buddy_file_close(file);
	expect_eq(state_pages(&world_region->quarantined), 10);
	put_page(page);
	expect(becomes(&world_region->quarantined, 0));
	expect(world_is_free());
}

/* What TRIM gives back goes the same way. */
static void trimmed(void)
{
	struct buddy_kblock *block;
	struct page *page;
	u64 handle;

	expect_eq(buddy_handle_reserve(world_file, &handle), 0);
	block = block_of(3 * 512);
	buddy_file_publish(world_file, handle, block);
	dirty(block);
	page = page_of(block, 2 * 512 + 7);
	get_page(page);
	expect_eq(buddy_kblock_trim(world_file, handle, 700), 0);
	expect(becomes(&world_region->quarantined, 3 * 512 - 1024));
	expect(becomes(&world_region->returning, 0));
	expect_eq(*(u8 *)page_address(page_of(block, 699)), 0xa5);
	put_page(page);
	expect(becomes(&world_region->quarantined, 0));
	expect_eq(buddy_file_free(world_file, handle), 0);
	expect(world_is_free());
	expect(region_is_zero());
}

static const struct tap_case reclaim_cases[] = {
	{ "what comes back is zero", comes_back_zero },
	{ "what is held waits", held_pages },
	{ "what was never touched needs no test", untouched },
	{ "an allocation helps", allocation_helps },
	{ "a pin keeps its unit, and no other", a_unit_at_a_time },
	{ "a block outlives its file", outlives_its_file },
	{ "what TRIM gives back", trimmed },
};

TAP_KUNIT(reclaim_cases);

static struct kunit_suite reclaim_suite = {
	.name = "buddy_reclaim",
	.suite_init = world_suite_init,
	.suite_exit = world_suite_exit,
	.init = world_init,
	.exit = world_exit,
	.test_cases = reclaim_cases_kunit,
};

kunit_test_suite(reclaim_suite);
