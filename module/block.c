// SPDX-License-Identifier: GPL-2.0-only
/*
 * block.c - blocks: where they lie. From a block without a place to one with pages, in
 * units of the region's tree, or in a unit that its file has cut up.
 *
 * What the pages of a block are known by, index.c has; who refers to it, file.c and
 * mappings; its end, reclaim.c.
 */
#include <linux/slab.h>

#include "buddy.h"

/*
 * Takes whole units from the region's tree, and where the block has a tail one
 * more, which @unit then is.
 */
static long place_in_units(struct buddy_kblock *block, u32 align,
			   struct buddy_unit *unit)
{
	struct buddy_region *region = block->region;
	u32 whole = buddy_kblock_units(block);
	u32 units = whole + !!buddy_kblock_tail(block);
	long first = buddy_core_alloc(&region->core, units,
				      align / BUDDY_UNIT_PAGES);

	if (first < 0)
		return first;
	block->first = first * BUDDY_UNIT_PAGES;
	if (units == whole)
		return 0;
	/* The whole units come back as one, the other when it is empty. */
	if (whole)
		WARN_ON_ONCE(buddy_core_divide(&region->core, first, units, whole));
	buddy_arena_adopt(block->owner, unit, first + whole, block);
	return 0;
}

/*
 * One try. Return: 0; -ENOMEM; -EAGAIN where a unit has to be cut up: try again
 * with a @unit for that.
 */
static long place_try(struct buddy_kblock *block, u32 align,
		      struct buddy_unit **unit, struct buddy_help *help)
{
	struct buddy_region *region = block->region;
	bool small = !buddy_kblock_units(block) && align < BUDDY_UNIT_PAGES;
	long err = -ENOMEM;

	spin_lock(&region->lock);
	if (small)
		err = buddy_arena_alloc(block->owner, block, align);
	if (err && buddy_kblock_tail(block) && !*unit)
		err = -EAGAIN;
	else if (err)
		err = place_in_units(block, align, *unit);
	if (!err) {
		if (block->tail == *unit)
			*unit = NULL;
		buddy_kblock_insert(block);
	}
	help->looks = region->looks;
	spin_unlock(&region->lock);
	return err;
}

/**
 * buddy_kblock_place() - find a place for a block, without help
 * @block: a new one
 * @align: 0 or a power of two, in pages
 * @help: its @looks is set where there is no place
 *
 * Return: 0; -ENOMEM; -EAGAIN where the kernel has no memory for it.
 */
long buddy_kblock_place(struct buddy_kblock *block, u32 align,
			struct buddy_help *help)
{
	struct buddy_unit *unit = NULL;
	long err = place_try(block, align, &unit, help);

	if (err == -EAGAIN) {
		unit = buddy_unit_create(block->region);
		if (unit)
			err = place_try(block, align, &unit, help);
	}
	buddy_unit_destroy(unit);
	return err;
}

/**
 * buddy_kblock_new() - a block without a place, with one reference
 * @file: its owner
 * @pages: its length
 *
 * Return: the block, for kfree() or buddy_kblock_place(); or NULL.
 */
struct buddy_kblock *buddy_kblock_new(struct buddy_file *file, u32 pages)
{
	struct buddy_kblock *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);

	if (!block)
		return NULL;
	block->region = file->region;
	block->pages = pages;
	block->owner = file;
	block->state = BUDDY_EXTENT_USED;
	refcount_set(&block->refs, 1);
	return block;
}

/**
 * buddy_kblock_alloc() - allocate a block, with one reference, not named
 * @file: its owner
 * @pages: exact length, 1 .. region->pages
 * @align: 0 or a power of two, in pages
 *
 * Where no range fits, helps to bring back what was freed before it gives up.
 *
 * Return: the block; -ENOMEM; -EINTR when killed.
 */
struct buddy_kblock *buddy_kblock_alloc(struct buddy_file *file, u32 pages,
					u32 align)
{
	struct buddy_region *region = file->region;
	struct buddy_kblock *block = buddy_kblock_new(file, pages);
	struct buddy_help help = { 0 };
	int helped = 1;
	long err = -ENOMEM;

	if (!block)
		return ERR_PTR(-ENOMEM);
	while (helped > 0) {
		err = buddy_kblock_place(block, align, &help);
		if (!err)
			return block;
		helped = err == -ENOMEM ? buddy_reclaim_help(region, &help) : 0;
	}
	kfree(block);
	if (helped < 0)
		return ERR_PTR(helped);
	spin_lock(&region->lock);
	region->fails++;
	spin_unlock(&region->lock);
	return ERR_PTR(-ENOMEM);
}
