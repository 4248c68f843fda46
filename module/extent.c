// SPDX-License-Identifier: GPL-2.0-only
/*
 * extent.c - the extents of a block: found by a page, arranged, marked as touched.
 */
#include <linux/sched.h>

#include "buddy.h"

/**
 * buddy_extent_find() - the extent that has a page of a block
 * @block: the block
 * @page: one of 0 .. block->pages - 1
 *
 * The work is logarithmic in the number of extents.
 *
 * Return: the extent.
 */
struct buddy_extent *buddy_extent_find(const struct buddy_kblock *block, u32 page)
{
	u32 low = 0, high = block->nr;

	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (block->extents[middle].at <= page)
			low = middle;
		else
			high = middle;
	}
	return &block->extents[low];
}

static void touch_unit(struct buddy_unit *unit, bool split)
{
	if (!split) {
		WRITE_ONCE(unit->touched, true);
		return;
	}
	down_read(&unit->faults);
	WRITE_ONCE(unit->faulted, true);
	up_read(&unit->faults);
}

/**
 * buddy_extent_touch() - all pages of a block may be written from now on
 * @block: the block
 *
 * For devices, which write without a fault.
 */
void buddy_extent_touch(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);
	struct buddy_extent *e;

	buddy_for_each_extent(e, block) {
		WRITE_ONCE(e->touched, true);
		for (u32 at = 0; at < e->pages; at += BUDDY_UNIT_PAGES) {
			touch_unit(buddy_unit_of(region, e->first + at), e->split);
			cond_resched();
		}
	}
}

/**
 * buddy_extent_arrange() - where the extents lie in the block, and what may be huge pages
 * @block: its extents are known
 */
void buddy_extent_arrange(struct buddy_kblock *block)
{
	struct buddy_extent *e, *last = &block->extents[block->nr - 1];
	bool aligned = true, whole = false;
	u32 at = 0;

	buddy_for_each_extent(e, block) {
		e->at = at;
		at += e->pages;
		whole |= !e->split;
		aligned &= e == block->extents || !(e->first % BUDDY_UNIT_PAGES);
		aligned &= e == last || !((e->first + e->pages) % BUDDY_UNIT_PAGES);
	}
	block->huge = buddy_region_of(block)->folios && whole && aligned;
}

/**
 * buddy_extent_has_split() - does a block have a part of a split unit?
 * @block: the block; what it has of these comes first, or last
 *
 * Return: true or false.
 */
bool buddy_extent_has_split(const struct buddy_kblock *block)
{
	return block->extents[0].split || block->extents[block->nr - 1].split;
}

/**
 * buddy_extent_set_alias() - the reference check of a unit finds where an extent is mapped
 * @block: a scattered block
 * @i: number of the extent
 *
 * With region->lock.
 */
void buddy_extent_set_alias(struct buddy_kblock *block, u32 i)
{
	struct buddy_alias *alias = &block->aliases[i];
	struct buddy_extent *e = &block->extents[i];

	alias->pgoff = block->pgoff + e->at;
	alias->pages = e->pages;
	if (e->split && list_empty(&alias->list))
		list_add_tail(&alias->list,
			      &buddy_unit_of(buddy_region_of(block), e->first)->aliases);
}
