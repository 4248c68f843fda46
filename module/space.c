// SPDX-License-Identifier: GPL-2.0-only
/*
 * space.c - taking and giving pages: the one place where extents of blocks, split units
 * and the region's tree change together.
 *
 * Only this file calls buddy_core_*. Invariant, under region->lock: each run of whole
 * units that is not free is one block of the tree: of one extent, or being reclaimed.
 * Each unit that is split, or retired, is one for itself.
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
	int err = buddy_core_free(&region->core, unit->number, units);

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
	if (unit->bits.free == BUDDY_UNIT_PAGES) {
		buddy_unit_unsplit(unit);
		buddy_space_return(unit, 1);
	} else {
		note_progress(unit->region);
	}
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
	int err = buddy_core_divide(&unit->region->core, unit->number, units, first);

	BUDDY_WARN_ON(err);
}

/* Two runs that are neighbors become one. */
static void join(struct buddy_unit *unit, u32 first, u32 second)
{
	int err = buddy_core_join(&unit->region->core, unit->number, first, second);

	BUDDY_WARN_ON(err);
}

/*
 * Extents
 */

static void set_range(struct buddy_extent *e, u32 first, u32 pages, bool split)
{
	e->first = first;
	e->pages = pages;
	e->split = split;
	e->touched = false;
}

static void set_run(struct buddy_extent *e, const struct buddy_kblock *block,
		    u32 unit, u32 units)
{
	set_range(e, unit * BUDDY_UNIT_PAGES, units * BUDDY_UNIT_PAGES, false);
	buddy_region_of(block)->units[unit].file = block->file;
}

/*
 * Takes @pages in whole units, and what is more in one that is then split: one extent
 * or two at @e.
 * Return: the number; -ENOSPC.
 */
static int take_units(struct buddy_kblock *block, struct buddy_extent *e, u32 pages,
		      u32 align)
{
	struct buddy_region *region = buddy_region_of(block);
	u32 whole = pages / BUDDY_UNIT_PAGES, tail = pages % BUDDY_UNIT_PAGES;
	long unit = buddy_core_alloc(&region->core, whole + !!tail, align / BUDDY_UNIT_PAGES);
	int n = 0;

	if (unit < 0)
		return -ENOSPC;
	if (whole && tail)
		buddy_space_divide(&region->units[unit], whole + 1, whole);
	if (whole)
		set_run(&e[n++], block, unit, whole);
	if (tail) {
		buddy_unit_split(&region->units[unit + whole], block->file, tail);
		set_range(&e[n++], (unit + whole) * BUDDY_UNIT_PAGES, tail, true);
	}
	return n;
}

/**
 * buddy_space_take_extents() - take one range for a block
 * @block: the block
 * @e: one extent is filled, or two: whole units and a tail
 * @pages: its length; what is less than a unit lies wherever the file has room
 * @align: 0 or a power of two, in pages
 *
 * With region->lock.
 *
 * Return: the number of extents; -ENOSPC.
 */
int buddy_space_take_extents(struct buddy_kblock *block, struct buddy_extent *e, u32 pages,
			     u32 align)
{
	if (pages < BUDDY_UNIT_PAGES && align < BUDDY_UNIT_PAGES) {
		long first = buddy_unit_alloc(block->file, pages, align);

		if (first >= 0) {
			set_range(e, first, pages, true);
			return 1;
		}
	}
	return take_units(block, e, pages, align);
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
 * @align: 0 or a power of two, in pages
 *
 * With region->lock.
 *
 * Return: 0 or -ENOSPC.
 */
int buddy_space_take(struct buddy_kblock *block, u32 align)
{
	u32 pages = buddy_kblock_taken(block, block->pages);
	int n = buddy_space_take_extents(block, block->own, pages, align);

	lockdep_assert_held(&buddy_region_of(block)->lock);
	if (n < 0)
		return n;
	block->nr = n;
	block->extents = block->own;
	block->pgoff = block->own[0].first;
	buddy_extent_arrange(block);
	buddy_space_insert(block);
	return 0;
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
	struct buddy_unit *unit = buddy_unit_of(buddy_region_of(block), e->first);

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
	int err;

	buddy_unit_split(unit, block->file, keep);
	unit->faulted = touched;
	unit->touched = false;
	err = buddy_unit_take(unit, keep, BUDDY_UNIT_PAGES - keep);
	BUDDY_WARN_ON(err);
	release_range(unit, keep, BUDDY_UNIT_PAGES - keep, touched);
}

/* An extent of whole units keeps @keep pages, of which the last ones may be @tail. */
static void shorten_run(struct buddy_kblock *block, struct buddy_extent *e, u32 keep,
			struct buddy_extent *tail)
{
	struct buddy_unit *unit = buddy_unit_of(buddy_region_of(block), e->first);
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
	set_range(tail, e->first + e->pages, rest, true);
	tail->touched = touched;
	split_whole(block, unit + whole, rest);
}

static void shorten_range(struct buddy_kblock *block, struct buddy_extent *e, u32 keep)
{
	struct buddy_unit *unit = buddy_unit_of(buddy_region_of(block), e->first);
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

/* The tail fills its unit, or is the only thing in it: the unit is whole now. */
static void unsplit_tail(struct buddy_kblock *block, struct buddy_extent *tail)
{
	struct buddy_unit *unit = buddy_unit_of(buddy_region_of(block), tail->first);

	unit->touched = tail->touched || unit->faulted;
	buddy_unit_unsplit(unit);
}

/* To more whole units, and perhaps a part of the next; the first is whole then. */
static int extend_units(struct buddy_kblock *block, u32 pages)
{
	struct buddy_region *region = buddy_region_of(block);
	struct buddy_extent *own = block->own, *last = &own[block->nr - 1];
	struct buddy_unit *unit = buddy_unit_of(region, own->first);
	u32 units = block->pages / BUDDY_UNIT_PAGES;
	u32 old = units + last->split, all = DIV_ROUND_UP(pages, BUDDY_UNIT_PAGES);
	u32 whole = pages / BUDDY_UNIT_PAGES;
	bool touched = own->touched || last->touched;

	/* Is anything else in the unit with the tail? */
	if (last->split && unit[units].bits.free < BUDDY_UNIT_PAGES - last->pages)
		return -ENOSPC;
	if (all > old && buddy_core_take(&region->core, unit->number + old, all - old))
		return -ENOSPC;
	if (last->split)
		unsplit_tail(block, last);
	if (last->split && units)
		join(unit, units, 1);
	if (all > old)
		join(unit, old, all - old);
	set_run(own, block, unit->number, whole);
	own->touched = touched;
	block->nr = 1;
	if (whole == all)
		return 0;
	buddy_space_divide(unit, all, whole);
	buddy_unit_split(unit + whole, block->file, pages % BUDDY_UNIT_PAGES);
	set_range(&own[1], own->first + own->pages, pages % BUDDY_UNIT_PAGES, true);
	block->nr = 2;
	return 0;
}

/**
 * buddy_space_extend() - add what follows to a block
 * @block: its handle is the only reference; neither scattered nor alone
 * @pages: the new length, more than it has
 *
 * With region->lock.
 *
 * Return: 0; -ENOSPC (what follows is not free); -EFBIG (the region ends before; or a
 * small block would leave its unit, which it does not start).
 */
int buddy_space_extend(struct buddy_kblock *block, u32 pages)
{
	struct buddy_region *region = buddy_region_of(block);
	struct buddy_extent *last = &block->extents[block->nr - 1];
	u32 at = last->first % BUDDY_UNIT_PAGES, want = pages - last->at;
	int err;

	lockdep_assert_held(&region->lock);
	if (pages > region->pages - block->pgoff)
		return -EFBIG;
	if (last->split && want < BUDDY_UNIT_PAGES && at + want <= BUDDY_UNIT_PAGES) {
		err = buddy_unit_extend(buddy_unit_of(region, last->first), at,
					last->pages, want - last->pages);
		if (!err)
			last->pages = want;
	} else {
		/* A small block inside a unit cannot leave it. */
		err = at ? -EFBIG : extend_units(block, pages);
	}
	if (err)
		return err;
	block->pages = pages;
	buddy_extent_arrange(block);
	return 0;
}
