// SPDX-License-Identifier: GPL-2.0-only
/*
 * check.c - the check of one item: its pages are unreachable, zeroed and freed; or they are
 * pinned, or poisoned.
 *
 *   split unit   one check for all of its pages that were released (reach.c)
 *   run          a few units at a time, each for itself: one that is pinned holds back no
 *                other
 *
 * A page that the hardware reported as broken (PageHWPoison) is neither zeroed nor served
 * again: it, or the whole unit that has it, is retired until unload.
 *
 * Everything in the tree is zero, so no allocation ever has to zero.
 */
#include <linux/mm.h>
#include <linux/page-flags.h>

#include "buddy.h"

#define CHUNK_UNITS	4	/* of a run, checked and zeroed at a time */

/*
 * Split units
 */

/* Without folios references count for each page: each range is checked for itself. */
static void find_unreachable_ranges(struct buddy_unit *unit, unsigned long *done)
{
	struct buddy_region *region = unit->region;
	DECLARE_BITMAP(dead, BUDDY_BITS_PAGES);
	struct buddy_core_span span;
	u32 first = unit->number * BUDDY_UNIT_PAGES;

	spin_lock(&region->lock);
	bitmap_copy(dead, unit->dead, BUDDY_BITS_PAGES);
	spin_unlock(&region->lock);
	for (u32 at = find_first_bit(dead, BUDDY_BITS_PAGES); at < BUDDY_BITS_PAGES;
	     at = find_next_bit(dead, BUDDY_BITS_PAGES, span.offset + span.size)) {
		spin_lock(&region->lock);
		buddy_bits_find(buddy_unit_bits(unit), at, &span);
		spin_unlock(&region->lock);
		if (buddy_reach_pages(region, first + span.offset, span.size))
			bitmap_set(done, span.offset, span.size);
	}
}

/* Which of the dead pages are unreachable. */
static void find_unreachable(struct buddy_unit *unit, unsigned long *done)
{
	struct buddy_region *region = unit->region;

	bitmap_zero(done, BUDDY_BITS_PAGES);
	if (!region->folios) {
		find_unreachable_ranges(unit, done);
		return;
	}
	down_write(&unit->faults);
	if (buddy_reach_unit(unit)) {
		/* what was released meanwhile is unreachable as well */
		spin_lock(&region->lock);
		bitmap_copy(done, unit->dead, BUDDY_BITS_PAGES);
		spin_unlock(&region->lock);
	}
	up_write(&unit->faults);
}

/* Zeroes pages of the unit; those that are poisoned are only noted. */
static void zero_unit(struct buddy_unit *unit, const unsigned long *done,
		      unsigned long *poisoned)
{
	u32 first = unit->number * BUDDY_UNIT_PAGES, at;

	bitmap_zero(poisoned, BUDDY_BITS_PAGES);
	for_each_set_bit(at, done, BUDDY_BITS_PAGES) {
		if (PageHWPoison(buddy_region_page(unit->region, first + at)))
			__set_bit(at, poisoned);
		else
			buddy_zero_pages(unit->region, first + at, 1, false);
	}
}

static void retire_page(struct buddy_unit *unit, u32 at)
{
	__set_bit(at, unit->retired);
	unit->region->retired++;
}

/* A range of the unit is zero: it is free, except for poisoned pages. */
static void range_end(struct buddy_unit *unit, u32 at, u32 pages,
		      const unsigned long *poisoned)
{
	u32 end = at + pages;

	bitmap_clear(unit->dead, at, pages);
	buddy_item_done(unit, pages);
	while (at < end) {
		u32 bad = find_next_bit(poisoned, end, at);

		if (bad > at) {
			if (bad < end)
				buddy_unit_divide(unit, at, end - at, bad - at);
			buddy_unit_free(unit, at, bad - at);
		}
		if (bad + 1 < end)
			buddy_unit_divide(unit, bad, end - bad, 1);
		if (bad < end)
			retire_page(unit, bad);
		at = bad + 1;
	}
}

/* Ranges of the unit are unreachable and zero. */
static void ranges_end(struct buddy_unit *unit, const unsigned long *done,
		       const unsigned long *poisoned)
{
	struct buddy_core_span span;

	for (u32 at = find_first_bit(done, BUDDY_BITS_PAGES); at < BUDDY_BITS_PAGES;
	     at = find_next_bit(done, BUDDY_BITS_PAGES, span.offset + span.size)) {
		buddy_bits_find(buddy_unit_bits(unit), at, &span);
		range_end(unit, span.offset, span.size, poisoned);
	}
}

/* With region->lock, which is dropped meanwhile. */
static void check_split(struct buddy_unit *unit)
	__must_hold(&unit->region->lock)
{
	DECLARE_BITMAP(poisoned, BUDDY_BITS_PAGES);
	DECLARE_BITMAP(done, BUDDY_BITS_PAGES);
	struct buddy_region *region = unit->region;

	list_del_init(&unit->wait);
	unit->busy = true;
	unit->again = false;
	spin_unlock(&region->lock);
	find_unreachable(unit, done);
	zero_unit(unit, done, poisoned);
	spin_lock(&region->lock);
	ranges_end(unit, done, poisoned);
	if (bitmap_empty(unit->dead, BUDDY_BITS_PAGES))
		buddy_item_end(unit);
	else if (unit->again)
		buddy_item_again(unit);
	else
		buddy_item_hold(unit);
	if (!bitmap_empty(done, BUDDY_BITS_PAGES))
		buddy_space_return_empty(unit);
}

/*
 * Runs of units
 */

enum verdict { FREE, PINNED, POISONED };

/* What the run has beyond a chunk waits for its turn. */
static void cut_chunk(struct buddy_unit *unit)
{
	if (unit->run <= CHUNK_UNITS)
		return;
	buddy_space_divide(unit, unit->run, CHUNK_UNITS);
	buddy_item_cut(unit, CHUNK_UNITS);
}

static bool is_poisoned(struct buddy_unit *unit)
{
	u32 first = unit->number * BUDDY_UNIT_PAGES;

	for (u32 i = 0; i < BUDDY_UNIT_PAGES; i++)
		if (PageHWPoison(buddy_region_page(unit->region, first + i)))
			return true;
	return false;
}

/* A unit that was never touched has no page that anybody ever got. */
static enum verdict check_unit(struct buddy_unit *unit)
{
	if (!unit->touched)
		return FREE;
	if (!buddy_reach_whole(unit))
		return PINNED;
	if (is_poisoned(unit))
		return POISONED;
	buddy_zero_pages(unit->region, unit->number * BUDDY_UNIT_PAGES, BUDDY_UNIT_PAGES,
			 false);
	unit->touched = false;
	return FREE;
}

/* Some units of a run are pinned. */
static void units_hold(struct buddy_unit *unit, struct buddy_file *file, u32 units,
		       bool again, u32 began)
{
	buddy_item_run(unit, file, units);
	buddy_item_hold_run(unit, again, began);
}

static void units_retire(struct buddy_unit *unit, u32 units)
{
	for (u32 i = 0; i < units; i++) {
		if (i + 1 < units)
			buddy_space_divide(&unit[i], units - i, 1);
		unit[i].state = BUDDY_UNIT_RETIRED;
		unit[i].file = NULL;
		unit->region->retired += BUDDY_UNIT_PAGES;
	}
}

/* The run has been checked, unit for unit, in the pass @began or none. */
static void run_end(struct buddy_unit *unit, const enum verdict *verdict, u32 began)
{
	struct buddy_file *file = unit->file;
	u32 units = unit->run;
	bool held = unit->held;

	buddy_pass_hold(unit->region);
	buddy_item_done(unit, units * BUDDY_UNIT_PAGES);
	buddy_item_end(unit);
	for (u32 i = 0, n; i < units; i += n) {
		for (n = 1; i + n < units && verdict[i + n] == verdict[i];)
			n++;
		if (i + n < units)
			buddy_space_divide(&unit[i], units - i, n);
		if (verdict[i] == FREE)
			buddy_space_return(&unit[i], n);
		else if (verdict[i] == PINNED)
			units_hold(&unit[i], file, n, held, began);
		else
			units_retire(&unit[i], n);
	}
	buddy_pass_release(unit->region);
	buddy_file_unref(file);
}

/* With region->lock, which is dropped meanwhile. */
static void check_run(struct buddy_unit *unit)
	__must_hold(&unit->region->lock)
{
	enum verdict verdict[CHUNK_UNITS];
	struct buddy_region *region = unit->region;
	u32 began = region->pass;

	list_del_init(&unit->wait);
	unit->busy = true;
	cut_chunk(unit);
	spin_unlock(&region->lock);
	for (u32 i = 0; i < unit->run; i++) {
		verdict[i] = check_unit(&unit[i]);
		cond_resched();
	}
	spin_lock(&region->lock);
	run_end(unit, verdict, began);
}

/**
 * buddy_check_item() - check an item, and free what of it is unreachable
 * @unit: the item
 *
 * With region->lock, which is dropped meanwhile; the caller has a reference to its file.
 * May sleep.
 */
void buddy_check_item(struct buddy_unit *unit)
{
	if (unit->state == BUDDY_UNIT_SPLIT)
		check_split(unit);
	else
		check_run(unit);
}

/**
 * buddy_check_abandon() - the pages of an item are free, whatever holds them
 * @unit: the item
 *
 * At unload. With region->lock, and a reference to its file.
 */
void buddy_check_abandon(struct buddy_unit *unit)
{
	static const enum verdict all_free[CHUNK_UNITS];
	DECLARE_BITMAP(none, BUDDY_BITS_PAGES) = { 0 };
	DECLARE_BITMAP(done, BUDDY_BITS_PAGES);

	list_del_init(&unit->wait);
	if (unit->state == BUDDY_UNIT_SPLIT) {
		bitmap_copy(done, unit->dead, BUDDY_BITS_PAGES);
		ranges_end(unit, done, none);
		buddy_item_end(unit);
		buddy_space_return_empty(unit);
		return;
	}
	cut_chunk(unit);
	run_end(unit, all_free, unit->region->pass);
}

/**
 * buddy_check_unretire() - what of a unit was retired goes to the kernel, which knows of it
 * @unit: any unit; if it is split, the caller has a reference to its file
 *
 * At unload.
 */
void buddy_check_unretire(struct buddy_unit *unit)
{
	DECLARE_BITMAP(none, BUDDY_BITS_PAGES) = { 0 };
	DECLARE_BITMAP(retired, BUDDY_BITS_PAGES);
	struct buddy_region *region = unit->region;
	u32 pages = bitmap_weight(unit->retired, BUDDY_BITS_PAGES);

	spin_lock(&region->lock);
	if (unit->state == BUDDY_UNIT_RETIRED) {
		region->retired -= BUDDY_UNIT_PAGES;
		buddy_space_return(unit, 1);
	} else if (pages) {
		bitmap_copy(retired, unit->retired, BUDDY_BITS_PAGES);
		region->retired -= pages;
		region->returning += pages;
		ranges_end(unit, retired, none);
		buddy_space_return_empty(unit);
	}
	spin_unlock(&region->lock);
}
