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
	struct buddy_kblock *block = world_alloc(world_file, pages);

	KUNIT_ASSERT_FALSE(tap_test, IS_ERR(block));
	return block;
}

static struct page *page_of(const struct buddy_kblock *block, u32 i)
{
	return buddy_region_page(block->file->region, block->pgoff + i);
}

/* Writes to all of it, as a mapping that faulted might have. */
static void dirty(struct buddy_kblock *block)
{
	struct buddy_extent *e;

	buddy_extent_touch(block);
	buddy_for_each_extent(e, block)
		if (e->split)
			buddy_unit_of(block->file->region, e->first)->faulted = true;
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
		buddy_kblock_put(block, true);
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
			/* of a long block the unit that has it, or the tail */
			u32 unit = at[k] / 512 * 512, held = min(lengths[i] - unit, 512u);

			dirty(block);
			get_page(page);
			buddy_kblock_put(block, true);
			expect(becomes(&world_region->quarantined, held));
			expect(becomes(&world_region->returning, 0));
			expect_eq(*(u8 *)page_address(page), 0xa5);
			msleep(30);
			expect_eq(state_pages(&world_region->quarantined), held);
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
	buddy_kblock_put(block, true);
	expect_eq(world_region->place.core.free, WORLD_UNITS);
	put_page(page);
}

static void allocation_helps(void)
{
	struct buddy_kblock *block = block_of(world_region->pages);
	struct page *page = page_of(block, 1000);

	dirty(block);
	get_page(page);
	buddy_kblock_put(block, true);
	/* a unit is held: the allocation finds that out and does not wait for ever */
	block = world_alloc(world_file, world_region->pages);
	expect_eq(PTR_ERR(block), -ENOMEM);
	expect_eq(state_pages(&world_region->quarantined), 512);
	expect_eq(state_pages(&world_region->returning), 0);
	msleep(300);
	put_page(page);
	/* the next poll may be far away: the allocation asks for a check */
	block = world_alloc(world_file, world_region->pages);
	expect(!IS_ERR(block));
	if (!IS_ERR(block))
		buddy_kblock_put(block, true);
	expect(world_is_free());
	expect(region_is_zero());
}

/* Its next poll is in an hour. Return: false while the item is being checked. */
static bool postpone_poll(struct buddy_file *file)
{
	bool is_held;

	spin_lock(&file->region->lock);
	is_held = !list_empty(&file->held);
	if (is_held)
		file->due = jiffies + 3600 * HZ;
	spin_unlock(&file->region->lock);
	return is_held;
}

/* What is in quarantine, an allocation has checked: it does not wait for the poll. */
static void allocation_waits_for_no_poll(void)
{
	struct buddy_kblock *block = block_of(10);
	struct page *page = page_of(block, 5);

	dirty(block);
	get_page(page);
	buddy_kblock_put(block, true);
	while (!postpone_poll(world_file))
		usleep_range(1000, 1100);
	put_page(page);
	block = world_alloc(world_file, world_region->pages);
	expect(!IS_ERR(block));
	if (!IS_ERR(block))
		buddy_kblock_put(block, true);
}

/* Something is free at once, for it was never touched. */
static void make_progress(void)
{
	buddy_kblock_put(block_of(1), true);
}

/*
 * An allocation that found no room, though something became free since it last tried,
 * begins again, for others may have taken that; but not for ever.
 */
static void others_take_what_is_free(void)
{
	struct buddy_help help = { 0 };
	int n = 0;

	/* nothing is being reclaimed: a pass is over at once, and it tries once more */
	help.progress = world_region->progress;
	expect_eq(buddy_reclaim_help(world_region, &help), 1);
	expect_eq(buddy_reclaim_help(world_region, &help), 0);

	help = (struct buddy_help){ .progress = world_region->progress };
	expect_eq(buddy_reclaim_help(world_region, &help), 1);
	do {
		help.progress = world_region->progress;
		make_progress();
		n++;
	} while (buddy_reclaim_help(world_region, &help) == 1 && n < 1000);
	expect_eq(n, 64);	/* HELP_PASSES */
	/* and when nothing does, it gives up */
	help = (struct buddy_help){ .progress = world_region->progress };
	expect_eq(buddy_reclaim_help(world_region, &help), 1);
	make_progress();
	expect_eq(buddy_reclaim_help(world_region, &help), 1);
	help.progress = world_region->progress;
	expect_eq(buddy_reclaim_help(world_region, &help), 0);
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
	buddy_kblock_put(c, true);
	buddy_kblock_put(a, true);
	buddy_kblock_put(b, true);
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
	struct buddy_kblock *block = world_alloc(file, 10);
	struct page *page = page_of(block, 0);

	dirty(block);
	get_page(page);
	buddy_kblock_put(block, true);
	buddy_kblock_close(file);
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
	buddy_kblock_publish(world_file, handle, block);
	dirty(block);
	page = page_of(block, 2 * 512 + 7);
	get_page(page);
	expect_eq(buddy_kblock_trim(world_file, handle, 700), 0);
	expect(becomes(&world_region->quarantined, 512));
	expect(becomes(&world_region->returning, 0));
	expect_eq(*(u8 *)page_address(page_of(block, 699)), 0xa5);
	put_page(page);
	expect(becomes(&world_region->quarantined, 0));
	expect_eq(buddy_kblock_free(world_file, handle), 0);
	expect(world_is_free());
	expect(region_is_zero());
}

/*
 * The last reference may be dropped by a receiver, in whose time nothing of the owner's
 * is checked: not even while a fault of the owner is under way.
 */
static void last_put_of_a_receiver(void)
{
	struct buddy_kblock *block = block_of(10);
	struct buddy_unit *unit = buddy_unit_of(world_region, block->extents[0].first);

	dirty(block);
	down_read(&unit->faults);
	buddy_kblock_put(block, false);
	up_read(&unit->faults);
	expect(world_is_free());
	expect(region_is_zero());
}

/* Unload: what is pinned goes to the kernel, and is free when its last reference is. */
static void unload_while_pinned(void)
{
	static const u32 lengths[] = { 3, 10 * 512, 700 };
	struct buddy_region *region =
		buddy_region_create(20 * BUDDY_UNIT, NUMA_NO_NODE, 6, NULL);
	struct page *pages[2 * ARRAY_SIZE(lengths)];
	struct buddy_file *file;

	KUNIT_ASSERT_FALSE(tap_test, IS_ERR(region));
	file = buddy_file_create(region);
	for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct buddy_kblock *block = world_alloc(file, lengths[i]);

		KUNIT_ASSERT_FALSE(tap_test, IS_ERR(block));
		dirty(block);
		pages[2 * i] = page_of(block, 1);
		pages[2 * i + 1] = page_of(block, lengths[i] - 1);
		get_page(pages[2 * i]);
		get_page(pages[2 * i + 1]);
		buddy_kblock_put(block, true);
	}
	buddy_kblock_close(file);
	/* with all that is checked meanwhile: its own balances say whether it is right */
	buddy_region_destroy(region);
	for (int i = 0; i < ARRAY_SIZE(pages); i++) {
		expect_eq(*(u8 *)page_address(pages[i]), 0xa5);
		put_page(pages[i]);
	}
}

static const struct tap_case reclaim_cases[] = {
	{ "what comes back is zero", comes_back_zero },
	{ "what is held waits", held_pages },
	{ "what was never touched needs no test", untouched },
	{ "an allocation helps", allocation_helps },
	{ "an allocation waits for no poll", allocation_waits_for_no_poll },
	{ "others take what is free", others_take_what_is_free },
	{ "a pin keeps its unit, and no other", a_unit_at_a_time },
	{ "a block outlives its file", outlives_its_file },
	{ "what TRIM gives back", trimmed },
	{ "the last reference of a receiver", last_put_of_a_receiver },
	{ "unload while pages are pinned", unload_while_pinned },
};

WORLD_SUITE(reclaim);
