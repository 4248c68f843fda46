// SPDX-License-Identifier: GPL-2.0-only
/*
 * resize.c - a block becomes shorter or longer where it lies.
 *
 * Only while its handle is the one reference to it: no mapping, block fd or
 * dma-buf knows its old end, and with both spinlocks held none can appear. So
 * nothing here runs beside a fault. Pages that the kernel or a device holds (an
 * I/O that is under way) do not matter: they stay the block's, or go the way back.
 *
 * All memory that may be needed is allocated before; under the locks nothing fails
 * half-way. Owns struct buddy_parts.
 */
#include <linux/slab.h>

#include "buddy.h"

/**
 * struct buddy_parts - what a change of length may need, and what it leaves
 * @unit: a unit to be cut up; NULL once it is
 * @emptied: a unit that is cut up no more
 * @rest: blocks for what is given back, in the unit where the block ends now, and
 *        beyond it
 * @nr_rest: of these, in use
 */
struct buddy_parts {
	struct buddy_unit *unit;
	struct buddy_unit *emptied;
	struct buddy_kblock *rest[2];
	int nr_rest;
};

static int parts_alloc(struct buddy_parts *parts, struct buddy_region *region)
{
	parts->unit = buddy_unit_create(region);
	for (int i = 0; i < ARRAY_SIZE(parts->rest); i++)
		parts->rest[i] = kzalloc(sizeof(*parts->rest[i]),
					 GFP_KERNEL_ACCOUNT);
	return parts->unit && parts->rest[0] && parts->rest[1] ? 0 : -ENOMEM;
}

/* Frees what was not needed; what was given back starts its way. */
static void parts_end(struct buddy_parts *parts)
{
	buddy_unit_destroy(parts->unit);
	buddy_unit_destroy(parts->emptied);
	for (int i = 0; i < ARRAY_SIZE(parts->rest); i++) {
		if (i < parts->nr_rest)
			buddy_reclaim_block(parts->rest[i]);
		else
			kfree(parts->rest[i]);
	}
}

/* first .. end of the block's pages are a block of their own, with no owner. */
static void add_rest(struct buddy_parts *parts, const struct buddy_kblock *block,
		     u32 first, u32 end, struct buddy_unit *tail)
{
	struct buddy_kblock *rest = parts->rest[parts->nr_rest++];

	rest->region = block->region;
	rest->first = block->first + first;
	rest->pages = end - first;
	rest->tail = tail;
	rest->touched = block->touched;
	rest->state = BUDDY_EXTENT_USED;
	buddy_kblock_insert(rest);
}

/* The unit in which the block now ends is cut up; the rest of it is given back. */
static void trim_into_unit(struct buddy_kblock *block, struct buddy_parts *parts)
{
	struct buddy_unit *unit = parts->unit;
	u32 units = buddy_kblock_units(block), tail = buddy_kblock_tail(block);

	parts->unit = NULL;
	unit->faulted = block->touched;
	buddy_arena_adopt(block->owner, unit, block->first / BUDDY_UNIT_PAGES + units,
			  block);
	WARN_ON_ONCE(buddy_arena_take(unit, tail, BUDDY_UNIT_PAGES - tail));
	add_rest(parts, block, block->pages, (units + 1) * BUDDY_UNIT_PAGES, unit);
}

/* To fewer whole units, and perhaps a part of the next. */
static void trim_units(struct buddy_kblock *block, u32 pages,
		       struct buddy_parts *parts)
{
	struct buddy_core *core = &block->region->core;
	u32 first = block->first / BUDDY_UNIT_PAGES;
	u32 old_units = buddy_kblock_units(block), old_pages = block->pages;
	struct buddy_unit *old_tail = block->tail;
	u32 units, all;

	block->pages = pages;
	block->tail = NULL;
	units = buddy_kblock_units(block);
	all = units + !!buddy_kblock_tail(block);
	if (all < old_units)
		WARN_ON_ONCE(buddy_core_divide(core, first, old_units, all));
	if (units && units < all)
		WARN_ON_ONCE(buddy_core_divide(core, first, all, units));
	if (units < all)
		trim_into_unit(block, parts);
	if (all * BUDDY_UNIT_PAGES < old_pages)
		add_rest(parts, block, all * BUDDY_UNIT_PAGES, old_pages, old_tail);
}

/* To a shorter tail, or none. */
static void trim_tail(struct buddy_kblock *block, u32 pages,
		      struct buddy_parts *parts)
{
	struct buddy_unit *unit = block->tail;
	u32 old_pages = block->pages, old_tail = buddy_kblock_tail(block);
	u32 at = buddy_kblock_tail_start(block);
	u32 tail = old_tail - (old_pages - pages);

	if (tail)
		WARN_ON_ONCE(buddy_core_divide(&unit->core, at, old_tail, tail));
	else
		block->tail = NULL;
	block->pages = pages;
	add_rest(parts, block, pages, old_pages, unit);
}

static int trim_locked(struct buddy_kblock *block, u32 pages,
		       struct buddy_parts *parts)
{
	if (pages > block->pages)
		return -EINVAL;
	if (pages == block->pages)
		return 0;
	if (pages >= buddy_kblock_units(block) * BUDDY_UNIT_PAGES)
		trim_tail(block, pages, parts);
	else
		trim_units(block, pages, parts);
	return 0;
}

/* Within the unit that has the tail. */
static int grow_tail(struct buddy_kblock *block, u32 pages)
{
	struct buddy_unit *unit = block->tail;
	u32 tail = buddy_kblock_tail(block), more = pages - block->pages;
	u32 at = buddy_kblock_tail_start(block);

	if (buddy_arena_take(unit, at + tail, more))
		return -ENOMEM;
	WARN_ON_ONCE(buddy_core_join(&unit->core, at, tail, more));
	block->pages = pages;
	return 0;
}

/* To more whole units, and perhaps a part of the next; the first is whole now. */
static int grow_units(struct buddy_kblock *block, u32 pages,
		      struct buddy_parts *parts)
{
	struct buddy_core *core = &block->region->core;
	u32 first = block->first / BUDDY_UNIT_PAGES;
	u32 units = buddy_kblock_units(block), tail = buddy_kblock_tail(block);
	u32 old_all = units + !!tail, all = DIV_ROUND_UP(pages, BUDDY_UNIT_PAGES);

	/* Others are in the unit with the tail? */
	if (tail && block->tail->core.free < BUDDY_UNIT_PAGES - tail)
		return -ENOMEM;
	if (all > old_all &&
	    buddy_core_take(core, first + old_all, all - old_all))
		return -ENOMEM;
	if (tail)
		parts->emptied = buddy_arena_dissolve(block);
	if (tail && units)
		WARN_ON_ONCE(buddy_core_join(core, first, units, 1));
	if (all > old_all)
		WARN_ON_ONCE(buddy_core_join(core, first, old_all, all - old_all));
	block->pages = pages;
	units = buddy_kblock_units(block);
	if (units == all)
		return 0;
	WARN_ON_ONCE(buddy_core_divide(core, first, all, units));
	buddy_arena_adopt(block->owner, parts->unit, first + units, block);
	parts->unit = NULL;
	return 0;
}

static int grow_locked(struct buddy_kblock *block, u32 pages,
		       struct buddy_parts *parts)
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
	return at ? -EFBIG : grow_units(block, pages, parts);
}

/*
 * Runs @change on the block of @handle, with both locks, if nobody else refers to
 * it. Return: what @change does; -ENOENT; -EBUSY; -EOPNOTSUPP.
 */
static int change_block(struct buddy_file *file, u32 handle, u32 pages,
			int (*change)(struct buddy_kblock *block, u32 pages,
				      struct buddy_parts *parts),
			struct buddy_parts *parts, struct buddy_help *help)
{
	struct buddy_region *region = file->region;
	struct buddy_kblock *block;
	int err = -ENOENT;

	xa_lock(&file->handles);
	block = xa_load(&file->handles, handle);
	spin_lock(&region->lock);
	if (block && buddy_kblock_is_scattered(block))
		err = -EOPNOTSUPP;
	else if (block && refcount_read(&block->refs) > 1)
		err = -EBUSY;
	else if (block)
		err = change(block, pages, parts);
	help->looks = region->looks;
	spin_unlock(&region->lock);
	xa_unlock(&file->handles);
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
int buddy_kblock_trim(struct buddy_file *file, u32 handle, u32 pages)
{
	struct buddy_parts parts = { 0 };
	struct buddy_help help = { 0 };
	int err = parts_alloc(&parts, file->region);

	if (!err)
		err = change_block(file, handle, pages, trim_locked, &parts, &help);
	parts_end(&parts);
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
int buddy_kblock_grow(struct buddy_file *file, u32 handle, u32 pages)
{
	struct buddy_region *region = file->region;
	struct buddy_parts parts = { 0 };
	struct buddy_help help = { 0 };
	int helped, err = parts_alloc(&parts, region);

	if (err)
		goto end;
	for (;;) {
		err = change_block(file, handle, pages, grow_locked, &parts, &help);
		if (err != -ENOMEM)
			break;
		helped = buddy_reclaim_help(region, &help);
		if (helped < 0)
			err = helped;
		if (helped <= 0)
			break;
	}
end:
	parts_end(&parts);
	return err;
}
