// SPDX-License-Identifier: GPL-2.0-only
/*
 * scatter.c - scattered blocks: several ranges behind one mapping.
 *
 * A scattered block has a place of its own beyond the region, a range of offsets
 * where it is mapped and found, but no pages: its pieces have these. A piece is a
 * block like others, with no handle and no reference: it is found by the scattered
 * block's mappings alone, and goes the way back with the last reference to that.
 *
 * Whole units come first, what is less than a unit last. So a huge page of the
 * mapping is a whole unit, never a part of one. Where the last part does not start
 * its unit (block->askew) there are none: some kernels (7.3) map, for a page that a
 * fault returns, all of its folio that lies in the VMA, and before that part there
 * would be room for pages of others. Beyond the block's end there is none.
 *
 * Owns region->places and block->pieces, which is constant from its end of building
 * to its end.
 */
#include <linux/idr.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "buddy.h"

/* Places are 2^this pages apart; number 0 is the region itself. */
static unsigned int place_order(const struct buddy_region *region)
{
	return order_base_2(region->pages);
}

static unsigned int last_place(const struct buddy_region *region)
{
	u64 pages = (MAX_LFS_FILESIZE >> PAGE_SHIFT) - BUDDY_MMAP_BASE_PAGES;

	return min_t(u64, (pages >> place_order(region)) - 1, INT_MAX);
}

static bool is_before(struct rb_node *node, const struct rb_node *other)
{
	return rb_entry(node, struct buddy_kblock, sibling)->alias <
	       rb_entry(other, struct buddy_kblock, sibling)->alias;
}

static int page_in_piece(const void *key, const struct rb_node *node)
{
	const struct buddy_kblock *piece = rb_entry(node, struct buddy_kblock, sibling);
	u64 page = *(const u64 *)key;

	if (page < piece->alias)
		return -1;
	return page - piece->alias >= piece->pages;
}

/**
 * buddy_scatter_piece() - the piece that has a page
 * @block: a scattered block
 * @page: one of block->first .. block->first + block->pages - 1
 *
 * Return: the piece.
 */
struct buddy_kblock *buddy_scatter_piece(struct buddy_kblock *block, u64 page)
{
	return rb_entry(rb_find(&page, &block->pieces, page_in_piece),
			struct buddy_kblock, sibling);
}

/*
 * Is there room for all of it, at this moment? A block that can never be had so
 * takes nothing from others, not even for a moment.
 */
static bool has_room(const struct buddy_kblock *block, struct buddy_help *help)
{
	struct buddy_region *region = block->region;
	u32 units = buddy_kblock_units(block), rest = buddy_kblock_tail(block);
	bool room;

	spin_lock(&region->lock);
	room = region->core.free >= units + !!rest ||
	       (region->core.free == units && block->file->private >= rest);
	help->looks = region->looks;
	spin_unlock(&region->lock);
	return room;
}

/*
 * How long the next piece can be, for @rest pages that are left, and how it is to be
 * aligned; 0 where there is no room.
 */
static u32 next_pages(const struct buddy_kblock *block, u32 rest, u32 *align)
{
	struct buddy_region *region = block->region;
	u32 units, pages;

	*align = 0;
	spin_lock(&region->lock);
	units = buddy_core_largest(&region->core);
	if (rest >= BUDDY_UNIT_PAGES) {
		pages = min(units, rest / BUDDY_UNIT_PAGES) * BUDDY_UNIT_PAGES;
	} else if (units) {
		pages = rest;
		/* at the start of its unit: see block->askew */
		if (buddy_kblock_units(block))
			*align = BUDDY_UNIT_PAGES;
	} else {
		pages = min(buddy_unit_largest(block->file), rest);
	}
	spin_unlock(&region->lock);
	return pages;
}

/*
 * Return: a piece with a place, in block->pieces; -EAGAIN where others took what
 * there was; -ENOMEM of the kernel; -EINTR.
 */
static struct buddy_kblock *piece_alloc(struct buddy_kblock *block, u32 done)
{
	struct buddy_kblock *piece = buddy_kblock_new(block->file, 0);
	struct buddy_help unused = { 0 };
	int err = -ENOMEM;
	u32 align;

	if (!piece)
		return ERR_PTR(-ENOMEM);
	piece->alias = block->first + done;
	/* A try fails where somebody was faster; then there is less, or nothing. */
	while (err == -ENOMEM) {
		piece->pages = next_pages(block, block->pages - done, &align);
		if (fatal_signal_pending(current))
			err = -EINTR;
		else if (!piece->pages)
			err = -EAGAIN;
		else
			err = buddy_kblock_place(piece, align, &unused);
		cond_resched();
	}
	if (!err) {
		rb_add(&piece->sibling, &block->pieces, is_before);
		return piece;
	}
	buddy_kblock_destroy(piece);
	return ERR_PTR(err);
}

/* The pieces go their way back. */
static void release(struct buddy_kblock *block)
{
	struct buddy_kblock *piece, *next;

	rbtree_postorder_for_each_entry_safe(piece, next, &block->pieces, sibling) {
		buddy_reclaim_block(piece);
		cond_resched();
	}
	block->pieces = RB_ROOT;
}

static int gather(struct buddy_kblock *block)
{
	struct buddy_kblock *piece;

	block->askew = false;
	for (u32 done = 0; done < block->pages; done += piece->pages) {
		piece = piece_alloc(block, done);
		if (IS_ERR(piece)) {
			release(block);
			return PTR_ERR(piece);
		}
		block->tail = piece->tail;
		block->askew |= piece->first % BUDDY_UNIT_PAGES;
	}
	return 0;
}

/* Gathers when there is room, and helps, with nothing in hand, while there is not. */
static int gather_helped(struct buddy_kblock *block)
{
	struct buddy_help help = { 0 };
	int err, helped;

	for (;;) {
		if (has_room(block, &help)) {
			err = gather(block);
			if (err != -EAGAIN)
				return err;
			continue;
		}
		helped = buddy_reclaim_help(block->region, &help);
		if (helped <= 0)
			return helped ?: -ENOMEM;
	}
}

static u64 place_of(const struct buddy_region *region, int number)
{
	return (u64)number << place_order(region);
}

static int number_of(const struct buddy_kblock *block)
{
	return block->first >> place_order(block->region);
}

static void end_scattered(struct buddy_kblock *block)
{
	release(block);
	ida_free(&block->region->places, number_of(block));
	buddy_kblock_destroy(block);
}

/* @block, for which there is no one range, in pieces. */
static struct buddy_kblock *alloc_scattered(struct buddy_kblock *block)
{
	struct buddy_region *region = block->region;
	int err, number = ida_alloc_range(&region->places, 1, last_place(region),
					  GFP_KERNEL);

	if (number < 0) {
		buddy_kblock_destroy(block);
		return ERR_PTR(-ENOMEM);
	}
	block->first = place_of(region, number);
	err = gather_helped(block);
	spin_lock(&region->lock);
	if (!err)
		buddy_kblock_index(block);
	else if (err == -ENOMEM)
		region->fails++;
	spin_unlock(&region->lock);
	if (!err)
		return block;
	end_scattered(block);
	return ERR_PTR(err);
}

/**
 * buddy_scatter_alloc() - allocate a block that need not be contiguous
 * @file: its owner
 * @pages: exact length, 1 .. region->pages
 *
 * In one piece where that can be had; it is then a block like any other. Else in as
 * few as there can be, at whatever places.
 *
 * Return: the block, with one reference, not named; -ENOMEM (all that can be free
 * to the file is not enough); -EINTR when killed.
 */
struct buddy_kblock *buddy_scatter_alloc(struct buddy_file *file, u32 pages)
{
	struct buddy_kblock *block = buddy_kblock_new(file, pages);
	struct buddy_help unused = { 0 };
	int err;

	if (!block)
		return ERR_PTR(-ENOMEM);
	err = buddy_kblock_place(block, 0, &unused);
	return err ? alloc_scattered(block) : block;
}

/**
 * buddy_scatter_free() - the last reference to a scattered block is gone
 * @block: the block; it is gone for the caller
 */
void buddy_scatter_free(struct buddy_kblock *block)
{
	struct buddy_region *region = block->region;

	spin_lock(&region->lock);
	rb_erase(&block->node, &region->blocks);
	spin_unlock(&region->lock);
	end_scattered(block);
}
