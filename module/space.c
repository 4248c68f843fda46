// SPDX-License-Identifier: GPL-2.0-only
/*
 * space.c - taking and giving pages: the one place where extents of blocks, split units
 * and the placement (core/buddy_place.h) change together.
 *
 * Only this file and unit.c change the placement. Invariant, under region->lock: each run of whole
 * units that is not free is one run of it: of one extent, or being reclaimed. Each unit
 * that is retired is one for itself.
 *
 * What is released takes no memory and cannot fail: a range of a split unit keeps its
 * pages until it is free, a run of units is marked in its first unit.
 */
#include "buddy.h"

#define BATCH	16	/* extents released under one lock */

/* Something became free: who waits for memory tries again. */
static void note_progress(struct buddy_region *region)
{
	lockdep_assert_held(&region->lock);
	region->progress++;
	if (wq_has_sleeper(&region->changed))
		queue_work(region->queue, &region->waker);
}

/*
 * Runs of units
 */

/**
 * buddy_space_return() - a run of units is free
 * @unit: its first unit; all are unreachable and zero
 * @units: its length
 *
 * With region->lock. Its file's reference is the caller's.
 */
void buddy_space_return(struct buddy_unit *unit, u32 units)
{
	struct buddy_region *region = unit->region;
	int err = buddy_place_free_units(&region->place, unit->number, units);

	BUDDY_WARN_ON(err);
	unit->state = BUDDY_UNIT_WHOLE;
	unit->file = NULL;
	note_progress(region);
}

/**
 * buddy_space_return_empty() - a split unit is free if nothing is in it any more
 * @unit: a split unit in which a range was freed
 *
 * With region->lock, and a reference to its file.
 */
void buddy_space_return_empty(struct buddy_unit *unit)
{
	if (unit->region->place_units[unit->number].state != BUDDY_PLACE_SPLIT)
		buddy_unit_close(unit);
	note_progress(unit->region);
}

/**
 * buddy_space_divide() - make two runs of one
 * @unit: its first unit
 * @units: its length
 * @first: length of the first of the two
 *
 * With region->lock.
 */
void buddy_space_divide(struct buddy_unit *unit, u32 units, u32 first)
{
	int err = buddy_place_divide(&unit->region->place, unit->number, units, first);

	BUDDY_WARN_ON(err);
}

/* Two runs that are neighbors become one. */
static void join(struct buddy_unit *unit, u32 first, u32 second)
{
	int err = buddy_place_join(&unit->region->place, unit->number, first, second);

	BUDDY_WARN_ON(err);
}

/*
 * Extents
 */

static struct buddy_unit *unit_of(const struct buddy_kblock *block,
				  const struct buddy_extent *e)
{
	return buddy_unit_of(buddy_region_of(block), e->first);
}

/* A range of a split unit, which may have been free before. */
static void set_range(struct buddy_extent *e, const struct buddy_kblock *block, u32 first,
		      u32 pages)
{
	*e = (struct buddy_extent){ .first = first, .pages = pages, .split = true };
	if (unit_of(block, e)->state != BUDDY_UNIT_SPLIT)
		buddy_unit_open(unit_of(block, e), block->file);
}

static void set_run(struct buddy_extent *e, const struct buddy_kblock *block, u32 unit,
		    u32 units)
{
	*e = (struct buddy_extent){
		.first = unit * BUDDY_UNIT_PAGES,
		.pages = units * BUDDY_UNIT_PAGES,
	};
	unit_of(block, e)->file = block->file;
}

/* The extents at @e are those of a range that was taken. Return: the number of them. */
static u32 set_extents(struct buddy_extent *e, const struct buddy_kblock *block, u32 first,
		       u32 pages)
{
	struct buddy_place_parts parts = buddy_place_parts(first, pages);
	u32 n = 0;

	if (parts.head)
		set_range(&e[n++], block, first, parts.head);
	if (parts.units)
		set_run(&e[n++], block, parts.first, parts.units);
	if (parts.tail)
		set_range(&e[n++], block, first + pages - parts.tail, parts.tail);
	return n;
}

static bool is_before(struct rb_node *node, const struct rb_node *other)
{
	return rb_entry(node, struct buddy_kblock, node)->pgoff <
	       rb_entry(other, struct buddy_kblock, node)->pgoff;
}

/**
 * buddy_space_insert() - from now on it is a block of its file
 * @block: its extents and its place are known
 *
 * With region->lock.
 */
void buddy_space_insert(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);

	lockdep_assert_held(&region->lock);
	rb_add(&block->node, &block->file->blocks, is_before);
	region->nr_blocks++;
	region->allocs++;
}

/* The last reference to a block is gone. */
static void remove_block(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);

	if (RB_EMPTY_NODE(&block->node))
		return;
	rb_erase(&block->node, &block->file->blocks);
	RB_CLEAR_NODE(&block->node);
	region->nr_blocks--;
	region->frees++;
}

/**
 * buddy_space_take() - find a place for a block
 * @block: a new one; on success it is in file->blocks
 * @want: what is asked for
 *
 * With region->lock.
 *
 * Return: 0; -ENOSPC; -EAGAIN, as buddy_place_alloc().
 */
int buddy_space_take(struct buddy_kblock *block, const struct buddy_place_want *want)
{
	long first = buddy_place_alloc(&buddy_region_of(block)->place, &block->file->place,
				       want);

	lockdep_assert_held(&buddy_region_of(block)->lock);
	if (first < 0)
		return first;
	block->extents = block->own;
	block->nr = set_extents(block->own, block, first, want->pages);
	block->pgoff = first;
	buddy_extent_arrange(block);
	buddy_space_insert(block);
	return 0;
}

/**
 * buddy_space_gather() - one more extent of a scattered block
 * @block: the block; block->extents has room for one more
 * @gather: how far it is
 *
 * With region->lock.
 *
 * Return: 0; -ENOSPC, which is a defect.
 */
int buddy_space_gather(struct buddy_kblock *block, struct buddy_place_gather *gather)
{
	struct buddy_extent *e = &block->extents[block->nr];
	struct buddy_place_piece piece;
	int err = buddy_place_gather(&buddy_region_of(block)->place, &block->file->place,
				     gather, &piece);

	if (BUDDY_WARN_ON(err))
		return err;
	set_extents(e, block, piece.first, piece.pages);
	block->nr++;
	/* What ends its unit is first in the block. */
	if (piece.is_head)
		swap(*e, block->extents[0]);
	return 0;
}

/**
 * buddy_space_promise() - all pages of a block can be gathered from now on
 * @block: a new one
 * @gather: what is to be gathered
 *
 * Return: 0, or -ENOSPC if fewer are free to its file.
 */
int buddy_space_promise(struct buddy_kblock *block, struct buddy_place_gather *gather)
{
	struct buddy_region *region = buddy_region_of(block);
	int err;

	spin_lock(&region->lock);
	err = buddy_place_promise(&region->place, &block->file->place, gather);
	spin_unlock(&region->lock);
	return err;
}

/**
 * buddy_space_forgo() - what was promised to a block, and was not gathered, is free
 * @block: the block
 * @gather: how far it is
 */
void buddy_space_forgo(struct buddy_kblock *block, struct buddy_place_gather *gather)
{
	struct buddy_region *region = buddy_region_of(block);

	spin_lock(&region->lock);
	buddy_place_forgo(&region->place, &block->file->place, gather);
	note_progress(region);
	spin_unlock(&region->lock);
}

/*
 * Release
 */

/* Pages of a split unit. Those that were never touched are free at once. */
static void release_range(struct buddy_unit *unit, u32 at, u32 pages, bool touched)
{
	if (touched) {
		buddy_item_range(unit, at, pages);
	} else {
		buddy_unit_free(unit, at, pages);
		buddy_space_return_empty(unit);
	}
}

static void release_run(struct buddy_unit *unit, struct buddy_file *file, u32 units,
			bool touched)
{
	if (touched)
		buddy_item_run(unit, file, units);
	else
		buddy_space_return(unit, units);
}

static void release_extent(struct buddy_kblock *block, const struct buddy_extent *e)
{
	struct buddy_unit *unit = unit_of(block, e);

	if (!e->split)
		release_run(unit, block->file, e->pages / BUDDY_UNIT_PAGES, e->touched);
	else
		release_range(unit, e->first % BUDDY_UNIT_PAGES, e->pages, e->touched);
}

/**
 * buddy_space_release() - extents of a block end: what was touched is reclaimed
 * @block: nothing refers to these extents
 * @from: number of the first one
 * @to: of the one after the last
 *
 * With the first extent the block ends: if it is in file->blocks, it is no longer.
 *
 * Return: the split unit if it is one, in which a range is now to be reclaimed; or NULL.
 */
struct buddy_unit *buddy_space_release(struct buddy_kblock *block, u32 from, u32 to)
{
	struct buddy_region *region = buddy_region_of(block);
	struct buddy_extent *one = &block->extents[from];
	bool small = to - from == 1 && one->split && one->touched;

	while (from < to) {
		spin_lock(&region->lock);
		if (!from)
			remove_block(block);
		for (u32 n = 0; n < BATCH && from < to; n++, from++) {
			if (block->aliases)
				list_del_init(&block->aliases[from].list);
			release_extent(block, &block->extents[from]);
		}
		spin_unlock(&region->lock);
		cond_resched();
	}
	return small ? buddy_unit_of(region, one->first) : NULL;
}

/*
 * Another length
 */

/* A unit of a block is split: the block keeps @keep pages, the others are released. */
static void split_whole(struct buddy_kblock *block, struct buddy_unit *unit, u32 keep)
{
	bool touched = unit->touched;

	buddy_place_split(&unit->region->place, &block->file->place, unit->number, keep);
	buddy_unit_open(unit, block->file);
	unit->faulted = touched;
	unit->touched = false;
	release_range(unit, keep, BUDDY_UNIT_PAGES - keep, touched);
}

/* An extent of whole units keeps @keep pages, of which the last ones may be @tail. */
static void shorten_run(struct buddy_kblock *block, struct buddy_extent *e, u32 keep,
			struct buddy_extent *tail)
{
	struct buddy_unit *unit = unit_of(block, e);
	u32 units = e->pages / BUDDY_UNIT_PAGES, whole = keep / BUDDY_UNIT_PAGES;
	u32 rest = keep % BUDDY_UNIT_PAGES, all = whole + !!rest;
	bool touched = e->touched;

	if (all < units) {
		buddy_space_divide(unit, units, all);
		release_run(unit + all, block->file, units - all, touched);
	}
	e->pages = whole * BUDDY_UNIT_PAGES;
	if (!rest)
		return;
	if (whole)
		buddy_space_divide(unit, all, whole);
	split_whole(block, unit + whole, rest);
	set_range(tail, block, e->first + e->pages, rest);
	tail->touched = touched;
}

static void shorten_range(struct buddy_kblock *block, struct buddy_extent *e, u32 keep)
{
	struct buddy_unit *unit = unit_of(block, e);
	u32 at = e->first % BUDDY_UNIT_PAGES;

	buddy_unit_divide(unit, at, e->pages, keep);
	release_range(unit, at + keep, e->pages - keep, e->touched);
	e->pages = keep;
}

/**
 * buddy_space_shorten() - release what a block has beyond a length
 * @block: its handle is the only reference
 * @pages: 1 .. block->pages - 1
 *
 * With region->lock. What lies in the extents that end is the caller's to release: those
 * from block->nr on, for buddy_space_release(), without the lock. A block that lies alone
 * keeps all of its last unit.
 */
void buddy_space_shorten(struct buddy_kblock *block, u32 pages)
{
	struct buddy_extent *e = buddy_extent_find(block, pages - 1);
	u32 i = e - block->extents, keep = buddy_kblock_taken(block, pages) - e->at;
	struct buddy_extent tail = { 0 };

	lockdep_assert_held(&buddy_region_of(block)->lock);
	block->pages = pages;
	if (keep < e->pages && e->split)
		shorten_range(block, e, keep);
	else if (keep < e->pages)
		shorten_run(block, e, keep, &tail);
	/* The tail takes the place of an extent that ends; of the run, if nothing is left. */
	tail.at = e->at + e->pages;
	if (tail.pages && e->pages)
		i++;
	if (tail.pages && i < block->nr && block->extents[i].pages) {
		if (block->aliases)
			list_del_init(&block->aliases[i].list);
		release_extent(block, &block->extents[i]);
	}
	if (tail.pages)
		block->extents[i] = tail;
	block->nr = i + 1;
	if (block->aliases)
		buddy_extent_set_alias(block, i);
}

/* The last extent fills its unit, which is whole now, and behind @units whole ones. */
static void unsplit_last(struct buddy_kblock *block, const struct buddy_extent *last,
			 u32 units)
{
	struct buddy_unit *unit = unit_of(block, last);

	unit->touched = last->touched || unit->faulted;
	buddy_place_unsplit(&unit->region->place, unit->number);
	buddy_unit_close(unit);
	if (units)
		join(unit - units, units, 1);
}

/*
 * The pages behind a block are taken: its extents are now those of the whole range. Its
 * last one may go on in its unit; if it fills that, it becomes whole units.
 */
static void append(struct buddy_kblock *block, u32 pages)
{
	struct buddy_place_parts old = buddy_place_parts(block->pgoff, block->pages);
	struct buddy_place_parts parts = buddy_place_parts(block->pgoff, pages);
	struct buddy_extent last = block->own[block->nr - 1], *e;
	u32 at = last.first % BUDDY_UNIT_PAGES, units = old.units;
	bool touched = false;

	buddy_for_each_extent(e, block)
		touched |= e->touched;
	if (last.split && at + last.pages < BUDDY_UNIT_PAGES) {
		u32 more = min(pages - block->pages, BUDDY_UNIT_PAGES - at - last.pages);

		buddy_unit_join(unit_of(block, &last), at, last.pages, more);
		last.pages += more;
	}
	if (last.split && !at && last.pages == BUDDY_UNIT_PAGES)
		unsplit_last(block, &last, units++);
	if (units && parts.units > units)
		join(&buddy_region_of(block)->units[parts.first], units, parts.units - units);
	block->nr = set_extents(block->own, block, block->pgoff, pages);
	block->pages = pages;
	/* What was added and lies in a split unit of its own is not touched yet. */
	buddy_for_each_extent(e, block)
		e->touched = touched && (!e->split || e->first <= last.first);
	buddy_extent_arrange(block);
}

/**
 * buddy_space_extend() - add what follows to a block
 * @block: its handle is the only reference; neither scattered nor alone
 * @pages: the new length, more than it has
 *
 * With region->lock.
 *
 * Return: 0; -ENOSPC (what follows is not free); -EFBIG (the region ends before).
 */
int buddy_space_extend(struct buddy_kblock *block, u32 pages)
{
	struct buddy_region *region = buddy_region_of(block);
	int err;

	lockdep_assert_held(&region->lock);
	if (pages > region->pages - block->pgoff)
		return -EFBIG;
	err = buddy_place_take(&region->place, &block->file->place,
			       block->pgoff + block->pages, pages - block->pages);
	if (!err)
		append(block, pages);
	return err;
}
