// SPDX-License-Identifier: GPL-2.0-only
/*
 * block.c - blocks: where they lie, and who refers to them.
 *
 * Owns region->blocks and the life of struct buddy_block:
 *
 *   alloc -> built, one reference -> published by file.c: a handle and mmap() find
 *   it -> handle freed and mappings gone: last reference -> reclaim.c, which ends
 *   with buddy_core_free()
 *
 * Invariants: a block is in region->blocks exactly while its pages are not free
 * in the tree; block->named says that its handle holds a reference.
 */
#include <linux/slab.h>

#include "buddy.h"

static int by_place(struct rb_node *node, const struct rb_node *parent)
{
	u64 a = rb_entry(node, struct buddy_block, node)->first;
	u64 b = rb_entry(parent, struct buddy_block, node)->first;

	return a < b ? -1 : a > b;
}

static int page_in_block(const void *key, const struct rb_node *node)
{
	const struct buddy_block *block = rb_entry(node, struct buddy_block, node);
	u64 page = *(const u64 *)key;

	if (page < block->first)
		return -1;
	return page - block->first >= block->pages;
}

/**
 * buddy_block_at() - the block that a page lies in
 * @region: the region, locked
 * @page: from the start of the region, or in the place of a scattered block
 *
 * Return: the block, in any state, or NULL.
 */
struct buddy_block *buddy_block_at(struct buddy_region *region, u64 page)
{
	struct rb_node *node;

	lockdep_assert_held(&region->lock);
	node = rb_find(&page, &region->blocks, page_in_block);
	return node ? rb_entry(node, struct buddy_block, node) : NULL;
}

/**
 * buddy_block_index() - a block can be found by its pages from now on
 * @block: first and pages are set; no other block has one of these pages
 *
 * With region->lock.
 */
void buddy_block_index(struct buddy_block *block)
{
	lockdep_assert_held(&block->region->lock);
	/* places of blocks that are not free never collide */
	rb_find_add(&block->node, &block->region->blocks, by_place);
}

/**
 * buddy_block_insert() - the pages of a block are used from now on
 * @block: as for buddy_block_index()
 *
 * With region->lock.
 */
void buddy_block_insert(struct buddy_block *block)
{
	buddy_block_index(block);
	block->region->nr_blocks++;
	block->region->allocs++;
}

/*
 * Takes whole units from the region's tree, and where the block has a tail one
 * more, which @unit then is.
 */
static long place_in_units(struct buddy_block *block, u32 align,
			   struct buddy_unit *unit)
{
	struct buddy_region *region = block->region;
	u32 whole = buddy_block_units(block);
	u32 units = whole + !!buddy_block_tail(block);
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
static long place_try(struct buddy_block *block, u32 align,
		      struct buddy_unit **unit, struct buddy_help *help)
{
	struct buddy_region *region = block->region;
	bool small = !buddy_block_units(block) && align < BUDDY_UNIT_PAGES;
	long err = -ENOMEM;

	spin_lock(&region->lock);
	if (small)
		err = buddy_arena_alloc(block->owner, block, align);
	if (err && buddy_block_tail(block) && !*unit)
		err = -EAGAIN;
	else if (err)
		err = place_in_units(block, align, *unit);
	if (!err) {
		if (block->tail == *unit)
			*unit = NULL;
		buddy_block_insert(block);
	}
	help->looks = region->looks;
	spin_unlock(&region->lock);
	return err;
}

/**
 * buddy_block_place() - find a place for a block, without help
 * @block: a new one
 * @align: 0 or a power of two, in pages
 * @help: its @looks is set where there is no place
 *
 * Return: 0; -ENOMEM; -EAGAIN where the kernel has no memory for it.
 */
long buddy_block_place(struct buddy_block *block, u32 align,
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
 * buddy_block_new() - a block without a place, with one reference
 * @file: its owner
 * @pages: its length
 *
 * Return: the block, for kfree() or buddy_block_place(); or NULL.
 */
struct buddy_block *buddy_block_new(struct buddy_file *file, u32 pages)
{
	struct buddy_block *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);

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
 * buddy_block_alloc() - allocate a block, with one reference, not named
 * @file: its owner
 * @pages: exact length, 1 .. region->pages
 * @align: 0 or a power of two, in pages
 *
 * Where no range fits, helps to bring back what was freed before it gives up.
 *
 * Return: the block; -ENOMEM; -EINTR when killed.
 */
struct buddy_block *buddy_block_alloc(struct buddy_file *file, u32 pages,
				      u32 align)
{
	struct buddy_region *region = file->region;
	struct buddy_block *block = buddy_block_new(file, pages);
	struct buddy_help help = { 0 };
	int helped = 1;
	long err = -ENOMEM;

	if (!block)
		return ERR_PTR(-ENOMEM);
	while (helped > 0) {
		err = buddy_block_place(block, align, &help);
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

/**
 * buddy_block_get() - one more reference
 * @block: one that the caller has a reference to
 */
void buddy_block_get(struct buddy_block *block)
{
	refcount_inc(&block->refs);
}

/**
 * buddy_block_put() - one reference less; the last one starts the way back
 * @block: the block
 *
 * May sleep.
 */
void buddy_block_put(struct buddy_block *block)
{
	if (!refcount_dec_and_test(&block->refs))
		return;
	if (buddy_block_is_scattered(block))
		buddy_scatter_free(block);
	else
		buddy_reclaim_block(block);
}

/**
 * buddy_block_find() - the named block of a file that holds a range
 * @file: the file
 * @first: first page of the range, as for buddy_block_at()
 * @pages: its length, 1 or more
 *
 * Return: the block with one more reference, or NULL where the range does not
 * lie in one block of this file.
 */
struct buddy_block *buddy_block_find(struct buddy_file *file, u64 first,
				     u64 pages)
{
	struct buddy_region *region = file->region;
	struct buddy_block *block;

	spin_lock(&region->lock);
	block = buddy_block_at(region, first);
	if (block && block->owner == file && block->named &&
	    pages <= block->pages - (first - block->first))
		buddy_block_get(block);
	else
		block = NULL;
	spin_unlock(&region->lock);
	return block;
}
