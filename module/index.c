// SPDX-License-Identifier: GPL-2.0-only
/*
 * index.c - blocks by their pages: region->blocks.
 *
 * Invariant: a block is in it exactly while its pages are not free in the tree; a
 * scattered block, which has none, while it has its place beyond the region.
 */
#include "buddy.h"

static int by_place(struct rb_node *node, const struct rb_node *parent)
{
	u64 a = rb_entry(node, struct buddy_kblock, node)->first;
	u64 b = rb_entry(parent, struct buddy_kblock, node)->first;

	return a < b ? -1 : a > b;
}

static int page_in_block(const void *key, const struct rb_node *node)
{
	const struct buddy_kblock *block = rb_entry(node, struct buddy_kblock, node);
	u64 page = *(const u64 *)key;

	if (page < block->first)
		return -1;
	return page - block->first >= block->pages;
}

/**
 * buddy_kblock_at() - the block that a page lies in
 * @region: the region, locked
 * @page: from the start of the region, or in the place of a scattered block
 *
 * Return: the block, in any state, or NULL.
 */
struct buddy_kblock *buddy_kblock_at(struct buddy_region *region, u64 page)
{
	struct rb_node *node;

	lockdep_assert_held(&region->lock);
	node = rb_find(&page, &region->blocks, page_in_block);
	return node ? rb_entry(node, struct buddy_kblock, node) : NULL;
}

/**
 * buddy_kblock_index() - a block can be found by its pages from now on
 * @block: first and pages are set; no other block has one of these pages
 *
 * With region->lock.
 */
void buddy_kblock_index(struct buddy_kblock *block)
{
	lockdep_assert_held(&block->region->lock);
	/* places of blocks that are not free never collide */
	rb_find_add(&block->node, &block->region->blocks, by_place);
}

/**
 * buddy_kblock_insert() - the pages of a block are used from now on
 * @block: as for buddy_kblock_index()
 *
 * With region->lock.
 */
void buddy_kblock_insert(struct buddy_kblock *block)
{
	buddy_kblock_index(block);
	block->region->nr_blocks++;
	block->region->allocs++;
}

/**
 * buddy_kblock_find() - the named block of a file that holds a range
 * @file: the file
 * @first: first page of the range, as for buddy_kblock_at()
 * @pages: its length, 1 or more
 *
 * Return: the block with one more reference, or NULL where the range does not
 * lie in one block of this file.
 */
struct buddy_kblock *buddy_kblock_find(struct buddy_file *file, u64 first,
				       u64 pages)
{
	struct buddy_region *region = file->region;
	struct buddy_kblock *block;

	spin_lock(&region->lock);
	block = buddy_kblock_at(region, first);
	if (block && block->file == file && block->named &&
	    pages <= block->pages - (first - block->first))
		buddy_kblock_get(block);
	else
		block = NULL;
	spin_unlock(&region->lock);
	return block;
}
