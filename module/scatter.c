// SPDX-License-Identifier: GPL-2.0-only
/*
 * scatter.c - scattered blocks: several extents behind one mapping.
 *
 * All pages are promised to the block before the first one is taken: it fails only where
 * fewer are free to its file, and what cannot be had takes nothing from others.
 *
 * A scattered block has a place of its own beyond the region, a range of offsets where
 * it is mapped and found. What ends its unit comes first, then its whole units, then what
 * starts one; the offset is such that a huge page of the mapping is a whole unit. If an
 * extent is none of these (block->huge is false) no huge page is mapped: some kernels
 * (7.3) map, for a page that a fault returns, all of its folio that lies in the VMA, and
 * beside that extent there would be room for pages of others.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "buddy.h"

#define BATCH	8	/* aliases added, or extents taken, under one lock */

/*
 * Places are 2^this pages apart; number 0 is the region itself. A block begins in the
 * first unit of its place.
 */
static unsigned int place_order(const struct buddy_region *region)
{
	return order_base_2(region->pages + BUDDY_UNIT_PAGES);
}

static unsigned int last_place(const struct buddy_region *region)
{
	u64 pages = (MAX_LFS_FILESIZE >> PAGE_SHIFT) - BUDDY_MMAP_BASE_PAGES;

	return min_t(u64, (pages >> place_order(region)) - 1, INT_MAX);
}

/* Room for so many extents as are taken at a time, and one that a TRIM may add. */
static int reserve_extents(struct buddy_kblock *block, u32 *room)
{
	struct buddy_extent *more;
	u32 wanted = 2 * *room + BATCH;

	if (block->nr + BATCH + 1 <= *room)
		return 0;
	more = kvmalloc_array(wanted, sizeof(*more), GFP_KERNEL_ACCOUNT);
	if (!more)
		return -ENOMEM;
	memcpy(more, block->extents, block->nr * sizeof(*more));
	if (block->extents != block->own)
		kvfree(block->extents);
	block->extents = more;
	*room = wanted;
	return 0;
}

/* What was promised to the block. Return: 0; -ENOMEM; -EINTR. */
static int take_all(struct buddy_kblock *block, struct buddy_place_gather *gather)
{
	struct buddy_region *region = buddy_region_of(block);
	u32 room = ARRAY_SIZE(block->own);
	int err = 0;

	block->extents = block->own;
	block->nr = 0;
	while (!err && gather->left) {
		err = fatal_signal_pending(current) ? -EINTR : reserve_extents(block, &room);
		if (err)
			break;
		spin_lock(&region->lock);
		for (u32 n = 0; n < BATCH && gather->left && !err; n++)
			err = buddy_space_gather(block, gather);
		spin_unlock(&region->lock);
		cond_resched();
	}
	if (gather->left)
		buddy_space_forgo(block, gather);
	return err;
}

/*
 * Units may have become free when there was nothing but crumbs before: they come first
 * all the same, but for what ends its unit.
 */
static void sort_extents(struct buddy_kblock *block, bool has_head)
{
	u32 to = has_head;

	for (u32 i = to; i < block->nr; i++) {
		if (block->extents[i].split)
			continue;
		swap(block->extents[i], block->extents[to]);
		to++;
	}
}

/* Where the reference check of their units finds the mappings of the block. */
static int make_aliases(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);

	block->aliases = kvcalloc(block->nr + 1, sizeof(*block->aliases),
				  GFP_KERNEL_ACCOUNT);
	if (!block->aliases)
		return -ENOMEM;
	for (u32 i = 0; i <= block->nr; i++)
		INIT_LIST_HEAD(&block->aliases[i].list);
	for (u32 i = 0; i < block->nr; cond_resched()) {
		spin_lock(&region->lock);
		for (u32 n = 0; n < BATCH && i < block->nr; n++, i++)
			buddy_extent_set_alias(block, i);
		spin_unlock(&region->lock);
	}
	return 0;
}

static int make_scattered(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);
	int place = ida_alloc_range(&region->places, 1, last_place(region), GFP_KERNEL);

	if (place < 0)
		return -ENOMEM;
	block->scattered = true;
	block->pgoff = (u64)place << place_order(region);
	/* As far into a unit as its first page, so that whole units are at their multiples. */
	block->pgoff += block->extents->first % BUDDY_UNIT_PAGES;
	buddy_extent_arrange(block);
	return make_aliases(block);
}

/**
 * buddy_scatter_end() - undo what a scattered block has of its own
 * @block: of no file any more, or not yet; its extents are released here
 *
 * May sleep.
 *
 * Return: as buddy_space_release().
 */
struct buddy_unit *buddy_scatter_end(struct buddy_kblock *block)
{
	struct buddy_unit *unit = buddy_space_release(block, 0, block->nr);

	if (block->scattered)
		ida_free(&buddy_region_of(block)->places,
			 block->pgoff >> place_order(buddy_region_of(block)));
	block->scattered = false;
	kvfree(block->aliases);
	block->aliases = NULL;
	if (block->extents != block->own)
		kvfree(block->extents);
	block->extents = block->own;
	block->nr = 0;
	return unit;
}

/**
 * buddy_scatter_gather() - find as few places as there can be for a block
 * @block: a new one; on success it is in file->blocks
 *
 * May sleep.
 *
 * Return: 0; -ENOSPC (fewer pages are free to its file); -ENOMEM; -EINTR when killed.
 */
int buddy_scatter_gather(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);
	struct buddy_place_gather gather = {
		.pages = buddy_kblock_taken(block, block->pages),
		.whole = block->alone,
	};
	int err = buddy_space_promise(block, &gather);

	if (err)
		return err;
	err = take_all(block, &gather);
	if (!err) {
		sort_extents(block, gather.has_head);
		err = make_scattered(block);
	}
	if (err) {
		buddy_scatter_end(block);
		return err;
	}
	spin_lock(&region->lock);
	buddy_space_insert(block);
	spin_unlock(&region->lock);
	return 0;
}
