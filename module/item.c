// SPDX-License-Identifier: GPL-2.0-only
/*
 * item.c - what is being reclaimed, and passes over it.
 *
 * What is released has no struct of its own: its state lies in its unit. An item is a
 * split unit with pages in unit->dead, or a run of whole units whose first one is
 * BUDDY_UNIT_DEAD. It is in file->dead, in file->held, or busy: then one task checks it
 * without the lock (check.c), and no other does.
 *
 * A pass is over when every item that there was at its beginning has been checked. Who
 * needs memory asks for one that begins later (buddy_pass_request()); passes follow each
 * other, so two of them are the longest wait.
 *
 * Owns the members of struct buddy_region, buddy_file and buddy_unit that are said to be
 * of item.c; all with region->lock.
 */
#include "buddy.h"

#define POLL_MS_MIN	10u
#define POLL_MS_MAX	1000u
#define TRIES		3	/* of a split unit in a pass: a fault may be under way */

static void pass_begin(struct buddy_region *region)
{
	region->pass++;
	region->to_check = region->nr_items;
	if (region->to_check)
		queue_work(region->queue, &region->kicker);
	else
		region->pass_done = region->pass;
}

static void pass_end(struct buddy_region *region)
{
	region->pass_done = region->pass;
	if (region->pass_wanted != region->pass)
		pass_begin(region);
	queue_work(region->queue, &region->waker);
}

/**
 * buddy_pass_hold() - the pass does not end before buddy_pass_release()
 * @region: the region, locked until then
 */
void buddy_pass_hold(struct buddy_region *region)
{
	lockdep_assert_held(&region->lock);
	region->to_check++;
}

/**
 * buddy_pass_release() - undo buddy_pass_hold()
 * @region: the region
 */
void buddy_pass_release(struct buddy_region *region)
{
	if (!--region->to_check)
		pass_end(region);
}

/**
 * buddy_pass_request() - ask for a pass that begins after this moment
 * @region: the region
 *
 * Return: its number, for region->pass_done.
 */
u32 buddy_pass_request(struct buddy_region *region)
{
	lockdep_assert_held(&region->lock);
	region->pass_wanted = region->pass + 1;
	if (region->pass_done != region->pass)
		return region->pass_wanted;
	pass_begin(region);
	return region->pass;
}

/* What is an item from now on, a pass that runs need not check. */
static void item_begin(struct buddy_unit *unit)
{
	struct buddy_region *region = unit->region;

	lockdep_assert_held(&region->lock);
	unit->pass = region->pass;
	unit->tries = 0;
	region->nr_items++;
	WRITE_ONCE(unit->file->nr_items, unit->file->nr_items + 1);
	if (unit->file->nr_items == 1)
		list_add_tail(&unit->file->reclaiming, &region->reclaiming);
}

static void item_checked(struct buddy_unit *unit)
{
	struct buddy_region *region = unit->region;

	unit->tries = 0;
	if (unit->pass == region->pass)
		return;
	unit->pass = region->pass;
	if (!--region->to_check)
		pass_end(region);
}

/**
 * buddy_item_end() - nothing of an item waits any more
 * @unit: the item
 */
void buddy_item_end(struct buddy_unit *unit)
{
	lockdep_assert_held(&unit->region->lock);
	unit->busy = false;
	unit->held = false;
	unit->region->nr_items--;
	WRITE_ONCE(unit->file->nr_items, unit->file->nr_items - 1);
	if (!unit->file->nr_items)
		list_del_init(&unit->file->reclaiming);
	item_checked(unit);
}

/**
 * buddy_item_pages() - how many pages of an item wait
 * @unit: the item
 *
 * Return: of a split unit the pages that are dead, else those of the run.
 */
u32 buddy_item_pages(const struct buddy_unit *unit)
{
	if (unit->state == BUDDY_UNIT_DEAD)
		return unit->run * BUDDY_UNIT_PAGES;
	return bitmap_weight(unit->dead, BUDDY_BITS_PAGES);
}

/* Where the pages of an item are counted. */
static u32 *counter(const struct buddy_unit *unit)
{
	return unit->held ? &unit->region->quarantined : &unit->region->returning;
}

/**
 * buddy_item_done() - pages of an item do not wait any more
 * @unit: the item
 * @pages: number of these
 */
void buddy_item_done(struct buddy_unit *unit, u32 pages)
{
	lockdep_assert_held(&unit->region->lock);
	*counter(unit) -= pages;
}

static void set_held(struct buddy_unit *unit, bool held)
{
	u32 pages = buddy_item_pages(unit);

	*counter(unit) -= pages;
	unit->held = held;
	*counter(unit) += pages;
}

/* Before the work of the file runs next, the poll comes. */
static void poll_at(struct buddy_file *file, unsigned int ms)
{
	unsigned long due = jiffies + msecs_to_jiffies(ms);

	if (list_empty(&file->held) || time_before(due, file->due))
		file->due = due;
}

/**
 * buddy_item_hold() - an item is pinned, or may be: it is checked again later
 * @unit: the item, in no list
 */
void buddy_item_hold(struct buddy_unit *unit)
{
	struct buddy_file *file = unit->file;

	lockdep_assert_held(&unit->region->lock);
	unit->busy = false;
	if (!unit->held) {
		set_held(unit, true);
		file->poll_ms = POLL_MS_MIN;
	}
	if (unit->pass != unit->region->pass && ++unit->tries < TRIES) {
		file->retry = true;
		poll_at(file, 1);
	} else {
		item_checked(unit);
		poll_at(file, file->poll_ms);
	}
	list_add_tail(&unit->wait, &file->held);
}

/**
 * buddy_item_range() - a range of a split unit is released
 * @unit: the unit
 * @at: first page in the unit
 * @pages: length; nothing refers to it but who still holds its pages
 *
 * With region->lock. buddy_reclaim_go() follows.
 */
void buddy_item_range(struct buddy_unit *unit, u32 at, u32 pages)
{
	bool held = unit->held;

	lockdep_assert_held(&unit->region->lock);
	if (held)
		set_held(unit, false);
	bitmap_set(unit->dead, at, pages);
	unit->region->returning += pages;
	unit->again = true;
	if (unit->busy)
		return;
	/* It keeps its place in file->dead: else a file could put it off for ever. */
	if (list_empty(&unit->wait)) {
		item_begin(unit);
		list_add_tail(&unit->wait, &unit->file->dead);
	} else if (held) {
		list_move_tail(&unit->wait, &unit->file->dead);
	}
}

/**
 * buddy_item_again() - a split unit has pages that were released during its check
 * @unit: the item, in no list
 */
void buddy_item_again(struct buddy_unit *unit)
{
	unit->busy = false;
	if (unit->pass != unit->region->pass && ++unit->tries >= TRIES)
		item_checked(unit);
	list_add_tail(&unit->wait, &unit->file->dead);
}

/**
 * buddy_item_run() - a run of whole units is released
 * @unit: its first unit
 * @file: its owner
 * @units: its length; nothing refers to it but who still holds its pages
 *
 * With region->lock. buddy_reclaim_go() follows.
 */
void buddy_item_run(struct buddy_unit *unit, struct buddy_file *file, u32 units)
{
	lockdep_assert_held(&unit->region->lock);
	unit->state = BUDDY_UNIT_DEAD;
	unit->run = units;
	unit->file = file;
	buddy_file_get(file);
	unit->held = false;
	*counter(unit) += units * BUDDY_UNIT_PAGES;
	item_begin(unit);
	list_add_tail(&unit->wait, &file->dead);
}

/**
 * buddy_item_hold_run() - a run that has just become an item is pinned
 * @unit: its first unit
 * @again: it was so before
 * @began: region->pass when the check began that found it so
 */
void buddy_item_hold_run(struct buddy_unit *unit, bool again, u32 began)
{
	/* A pass that began during the check has not checked it. */
	if (began != unit->region->pass) {
		unit->pass = began;
		unit->region->to_check++;
	}
	list_del_init(&unit->wait);
	if (again)
		set_held(unit, true);
	buddy_item_hold(unit);
}

/**
 * buddy_item_cut() - what a run has beyond a length is an item of its own
 * @unit: a run, in no list, that was not held; longer than @units
 * @units: its new length; the caller has divided it in the tree
 *
 * The rest is checked when its turn comes; as little of it has been as of the run.
 */
void buddy_item_cut(struct buddy_unit *unit, u32 units)
{
	struct buddy_unit *rest = unit + units;

	rest->state = BUDDY_UNIT_DEAD;
	rest->run = unit->run - units;
	rest->file = unit->file;
	buddy_file_get(rest->file);
	rest->held = false;
	unit->run = units;
	item_begin(rest);
	swap(unit->pass, rest->pass);
	/* A run is ended before the next item: the length of the list bounds a pass. */
	list_add(&rest->wait, &rest->file->dead);
}

/**
 * buddy_item_next() - the first item of a file that is to be checked
 * @file: the file
 *
 * What is quarantined, too, when its time has come, or a pass asks for it.
 *
 * Return: the item, or NULL.
 */
struct buddy_unit *buddy_item_next(struct buddy_file *file)
{
	lockdep_assert_held(&file->region->lock);
	if (!list_empty(&file->held) &&
	    (file->check_held || time_after_eq(jiffies, file->due))) {
		list_splice_tail_init(&file->held, &file->dead);
		/* what is still pinned is then checked later and later */
		if (!file->check_held && !file->retry)
			file->poll_ms = clamp(2 * file->poll_ms, POLL_MS_MIN, POLL_MS_MAX);
		file->retry = false;
	}
	file->check_held = false;
	return list_first_entry_or_null(&file->dead, struct buddy_unit, wait);
}
