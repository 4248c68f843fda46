// SPDX-License-Identifier: GPL-2.0-only
/*
 * resize.c - a block becomes shorter or longer where it lies.
 *
 * Only while its handle is the one reference to it: no mapping, block fd or
 * dma-buf knows its old end, and with both spinlocks held none can appear. So
 * nothing here runs beside a fault. Pages that the kernel or a device holds (an
 * I/O that is under way) do not matter: they stay the block's, or go the way back.
 *
 * All memory that a TRIM needs is allocated before; under the locks nothing fails
 * half-way. Owns struct buddy_rests.
 */
#include <linux/slab.h>

#include "buddy.h"

/**
 * struct buddy_rests - what a TRIM frees, as blocks without references
 * @block: in the unit where the block ends now, and beyond it
 * @nr: of these, in use
 */
struct buddy_rests {
	struct buddy_kblock *block[2];
	int nr;
};

static int rests_alloc(struct buddy_rests *rests, struct buddy_file *file)
{
	int err = 0;

	for (int i = 0; i < ARRAY_SIZE(rests->block); i++) {
		rests->block[i] = buddy_kblock_new(file, 0);
		if (!rests->block[i])
			err = -ENOMEM;
	}
	return err;
}

/* Starts the reclaim of what was freed, and drops what was not needed. */
static void rests_end(struct buddy_rests *rests)
{
	for (int i = 0; i < ARRAY_SIZE(rests->block); i++) {
		if (i < rests->nr)
			buddy_reclaim_block(rests->block[i]);
		else if (rests->block[i])
			buddy_kblock_destroy(rests->block[i]);
	}
}

/* first .. end of the block's pages are a block of their own. */
static void add_rest(struct buddy_rests *rests, const struct buddy_kblock *block,
		     u32 first, u32 end, struct buddy_unit *tail)
{
	struct buddy_kblock *rest = rests->block[rests->nr++];

	rest->first = block->first + first;
	rest->pages = end - first;
	rest->tail = tail;
	rest->touched = block->touched;
	buddy_kblock_insert(rest);
}

/* Splits the unit in which the block now ends; the rest of it is freed. */
static void trim_into_unit(struct buddy_kblock *block, struct buddy_rests *rests)
{
	u32 units = buddy_kblock_units(block), tail = buddy_kblock_tail(block);
	int err;

	buddy_unit_split(block, block->first / BUDDY_UNIT_PAGES + units);
	block->tail->faulted = block->touched;
	err = buddy_unit_take(block->tail, tail, BUDDY_UNIT_PAGES - tail);
	WARN_ON_ONCE(err);
	add_rest(rests, block, block->pages, (units + 1) * BUDDY_UNIT_PAGES, block->tail);
}

/* A block of the region's tree becomes two. */
static void divide_units(struct buddy_kblock *block, u32 units, u32 first)
{
	int err = buddy_core_divide(&block->region->core,
				    block->first / BUDDY_UNIT_PAGES, units, first);

	WARN_ON_ONCE(err);
}

/* And two become one. */
static void join_units(struct buddy_kblock *block, u32 first, u32 second)
{
	int err = buddy_core_join(&block->region->core,
				  block->first / BUDDY_UNIT_PAGES, first, second);

	WARN_ON_ONCE(err);
}

/* To fewer whole units, and perhaps a part of the next. */
static void trim_units(struct buddy_kblock *block, u32 pages,
		       struct buddy_rests *rests)
{
	u32 old_units = buddy_kblock_units(block), old_pages = block->pages;
	struct buddy_unit *old_tail = block->tail;
	u32 units, all;

	block->pages = pages;
	block->tail = NULL;
	units = buddy_kblock_units(block);
	all = units + !!buddy_kblock_tail(block);
	if (all < old_units)
		divide_units(block, old_units, all);
	if (units && units < all)
		divide_units(block, all, units);
	if (units < all)
		trim_into_unit(block, rests);
	if (all * BUDDY_UNIT_PAGES < old_pages)
		add_rest(rests, block, all * BUDDY_UNIT_PAGES, old_pages, old_tail);
}

/* To a shorter tail, or none. */
static void trim_tail(struct buddy_kblock *block, u32 pages,
		      struct buddy_rests *rests)
{
	struct buddy_unit *unit = block->tail;
	u32 old_pages = block->pages, old_tail = buddy_kblock_tail(block);
	u32 at = buddy_kblock_tail_start(block);
	u32 tail = old_tail - (old_pages - pages);
	int err = 0;

	if (tail)
		err = buddy_bits_divide(&unit->bits, at, old_tail, tail);
	else
		block->tail = NULL;
	WARN_ON_ONCE(err);
	block->pages = pages;
	add_rest(rests, block, pages, old_pages, unit);
}

static int trim_locked(struct buddy_kblock *block, u32 pages,
		       struct buddy_rests *rests)
{
	if (pages > block->pages)
		return -EINVAL;
	if (pages == block->pages)
		return 0;
	if (pages >= buddy_kblock_units(block) * BUDDY_UNIT_PAGES)
		trim_tail(block, pages, rests);
	else
		trim_units(block, pages, rests);
	return 0;
}

/* Within the unit that has the tail. */
static int grow_tail(struct buddy_kblock *block, u32 pages)
{
	struct buddy_unit *unit = block->tail;
	u32 tail = buddy_kblock_tail(block), more = pages - block->pages;
	u32 at = buddy_kblock_tail_start(block);
	int err;

	if (buddy_unit_take(unit, at + tail, more))
		return -ENOMEM;
	err = buddy_bits_join(&unit->bits, at, tail, more);
	WARN_ON_ONCE(err);
	block->pages = pages;
	return 0;
}

/* To more whole units, and perhaps a part of the next; the first is whole now. */
static int grow_units(struct buddy_kblock *block, u32 pages)
{
	u32 first = block->first / BUDDY_UNIT_PAGES;
	u32 units = buddy_kblock_units(block), tail = buddy_kblock_tail(block);
	u32 old_all = units + !!tail, all = DIV_ROUND_UP(pages, BUDDY_UNIT_PAGES);

	/* Others are in the unit with the tail? */
	if (tail && block->tail->bits.free < BUDDY_UNIT_PAGES - tail)
		return -ENOMEM;
	if (all > old_all &&
	    buddy_core_take(&block->region->core, first + old_all, all - old_all))
		return -ENOMEM;
	if (tail)
		buddy_unit_dissolve(block);
	if (tail && units)
		join_units(block, units, 1);
	if (all > old_all)
		join_units(block, old_all, all - old_all);
	block->pages = pages;
	units = buddy_kblock_units(block);
	if (units == all)
		return 0;
	divide_units(block, all, units);
	buddy_unit_split(block, first + units);
	return 0;
}

static int grow_locked(struct buddy_kblock *block, u32 pages,
		       struct buddy_rests *unused)
{
	u32 at = block->first % BUDDY_UNIT_PAGES;

	if (pages < block->pages)
		return -EINVAL;
	if (pages == block->pages)
		return 0;
	if (pages > block->region->pages - block->first)
		return -EFBIG;
	if (block->tail && pages / BUDDY_UNIT_PAGES == buddy_kblock_units(block) &&
	    at + pages % BUDDY_UNIT_PAGES <= BUDDY_UNIT_PAGES)
		return grow_tail(block, pages);
	/* A small block inside a unit cannot leave it. */
	return at ? -EFBIG : grow_units(block, pages);
}

/*
 * Runs @change on the block of @handle, with both locks, if nobody else refers to
 * it. Return: what @change does; -ENOENT; -EBUSY; -EOPNOTSUPP.
 */
static int change_block(struct buddy_file *file, u64 handle, u32 pages,
			int (*change)(struct buddy_kblock *block, u32 pages,
				      struct buddy_rests *rests),
			struct buddy_rests *rests, struct buddy_help *help)
{
	struct buddy_region *region = file->region;
	struct buddy_kblock *block;
	int err = -ENOENT;

	spin_lock(&file->handles.lock);
	block = buddy_handle_find(file, handle);
	spin_lock(&region->lock);
	if (block && buddy_kblock_is_scattered(block))
		err = -EOPNOTSUPP;
	else if (block && refcount_read(&block->refs) > 1)
		err = -EBUSY;
	else if (block)
		err = change(block, pages, rests);
	help->looks = region->looks;
	spin_unlock(&region->lock);
	spin_unlock(&file->handles.lock);
	return err;
}

/**
 * buddy_kblock_trim() - give the end of a block back
 * @file: the file
 * @handle: any number
 * @pages: the new length, 1 or more
 *
 * Return: 0; -ENOENT (no such handle); -EBUSY (somebody else refers to the block);
 * -EINVAL (it is shorter than @pages); -EOPNOTSUPP (it is scattered); -ENOMEM.
 */
int buddy_kblock_trim(struct buddy_file *file, u64 handle, u32 pages)
{
	struct buddy_rests rests = { 0 };
	struct buddy_help unused = { 0 };
	int err = rests_alloc(&rests, file);

	if (!err)
		err = change_block(file, handle, pages, trim_locked, &rests, &unused);
	rests_end(&rests);
	return err;
}

/**
 * buddy_kblock_grow() - make a block longer, where it lies
 * @file: the file
 * @handle: any number
 * @pages: the new length
 *
 * Where what follows is not free, helps to bring back what was freed before it
 * gives up. What is added is zero.
 *
 * Return: 0; -ENOENT (no such handle); -EBUSY (somebody else refers to the block);
 * -EINVAL (it is longer than @pages); -EOPNOTSUPP (it is scattered); -ENOMEM (what
 * follows is not free); -EFBIG (the region ends before; or a small block would leave
 * its unit, which it does not start); -EINTR.
 */
int buddy_kblock_grow(struct buddy_file *file, u64 handle, u32 pages)
{
	struct buddy_help help = { 0 };
	int helped = 1, err = -ENOMEM;

	while (err == -ENOMEM && helped > 0) {
		err = change_block(file, handle, pages, grow_locked, NULL, &help);
		if (err == -ENOMEM)
			helped = buddy_reclaim_help(file->region, &help);
	}
	return helped < 0 ? helped : err;
}
