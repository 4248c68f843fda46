// SPDX-License-Identifier: GPL-2.0-only
/*
 * block.c - blocks: where they lie. From a block without a place to one with pages, in
 * units of the region's tree, or in a unit that is split for its file.
 *
 * What the pages of a block are known by, index.c has; who refers to it, file.c and
 * mappings; its end, reclaim.c.
 */
#include <linux/slab.h>

#include "buddy.h"

/*
 * Takes whole units from the region's tree, and if the block has a tail one more, which
 * is then split.
 */
static int place_in_units(struct buddy_kblock *block, u32 align)
{
	struct buddy_region *region = block->region;
	u32 whole = buddy_kblock_units(block);
	u32 units = whole + !!buddy_kblock_tail(block);
	long first = buddy_core_alloc(&region->core, units,
				      align / BUDDY_UNIT_PAGES);
	int err = 0;

	if (first < 0)
		return first;
	block->first = first * BUDDY_UNIT_PAGES;
	if (units == whole)
		return 0;
	/* The whole units come back as one, the other when it is empty. */
	if (whole)
		err = buddy_core_divide(&region->core, first, units, whole);
	WARN_ON_ONCE(err);
	buddy_unit_split(block, first + whole);
	return 0;
}

/**
 * buddy_kblock_place() - find a place for a block, without help
 * @block: a new one
 * @align: 0 or a power of two, in pages
 * @help: its @looks is set if there is no place
 *
 * Return: 0 or -ENOMEM.
 */
int buddy_kblock_place(struct buddy_kblock *block, u32 align,
		       struct buddy_help *help)
{
	struct buddy_region *region = block->region;
	bool small = !buddy_kblock_units(block) && align < BUDDY_UNIT_PAGES;
	int err = -ENOMEM;

	spin_lock(&region->lock);
	if (small)
		err = buddy_unit_alloc(block, align);
	if (err)
		err = place_in_units(block, align);
	if (!err)
		buddy_kblock_insert(block);
	help->looks = region->looks;
	spin_unlock(&region->lock);
	return err;
}

/**
 * buddy_kblock_new() - a block without a place, with one reference
 * @file: its owner
 * @pages: its length
 *
 * Return: the block, for buddy_kblock_destroy() or buddy_kblock_place(); or NULL.
 */
struct buddy_kblock *buddy_kblock_new(struct buddy_file *file, u32 pages)
{
	struct buddy_kblock *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);

	if (!block)
		return NULL;
	block->region = file->region;
	block->pages = pages;
	block->file = file;
	buddy_file_get(file);
	block->state = BUDDY_EXTENT_USED;
	refcount_set(&block->refs, 1);
	return block;
}

/**
 * buddy_kblock_destroy() - undo buddy_kblock_new()
 * @block: one without a place
 *
 * May sleep.
 */
void buddy_kblock_destroy(struct buddy_kblock *block)
{
	buddy_file_put(block->file);
	kfree(block);
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

	if (!block)
		return ERR_PTR(-ENOMEM);
	while (helped > 0) {
		if (!buddy_kblock_place(block, align, &help))
			return block;
		helped = buddy_reclaim_help(region, &help);
	}
	buddy_kblock_destroy(block);
	if (helped < 0)
		return ERR_PTR(helped);
	spin_lock(&region->lock);
	region->fails++;
	spin_unlock(&region->lock);
	return ERR_PTR(-ENOMEM);
}
