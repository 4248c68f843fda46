// SPDX-License-Identifier: GPL-2.0-only
/*
 * scatter.c - scattered blocks: several extents behind one mapping.
 *
 * A scattered block has a place of its own beyond the region, a range of offsets where
 * it is mapped and found. Its whole units come first, what is less than a unit last. So
 * a huge page of the mapping is a whole unit, never a part of one. If the last part does
 * not start its unit (block->huge is false) there are none: some kernels (7.3) map, for
 * a page that a fault returns, all of its folio that lies in the VMA, and before that
 * part there would be room for pages of others. Beyond the block's end there is none.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "buddy.h"

#define BATCH	16	/* aliases added under one lock */
#define TRIES	64

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

/*
 * Is there room for all of it, at this moment? A block that can never be had so takes
 * nothing from others, not even for a moment.
 */
static bool has_room(const struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);
	u32 pages = buddy_kblock_taken(block, block->pages);
	u32 units = pages / BUDDY_UNIT_PAGES, rest = pages % BUDDY_UNIT_PAGES;
	bool room;

	spin_lock(&region->lock);
	room = region->core.free >= units + !!rest ||
	       (region->core.free == units && block->file->private >= rest);
	spin_unlock(&region->lock);
	return room;
}

/*
 * The next extent, as long as it can be, of the @rest pages that are left.
 * Return: 0 or -ENOSPC.
 */
static int take_next(struct buddy_kblock *block, struct buddy_extent *e, u32 rest)
{
	struct buddy_region *region = buddy_region_of(block);
	u32 units = buddy_core_largest(&region->core), pages = rest, align = 0;
	int n;

	lockdep_assert_held(&region->lock);
	if (rest >= BUDDY_UNIT_PAGES)
		pages = min(units, rest / BUDDY_UNIT_PAGES) * BUDDY_UNIT_PAGES;
	else if (!units)
		pages = min(buddy_unit_largest(block->file), rest);
	else if (block->pages >= BUDDY_UNIT_PAGES)
		align = BUDDY_UNIT_PAGES;	/* it starts its unit: block->huge */
	if (!pages)
		return -ENOSPC;
	n = buddy_space_take_extents(block, e, pages, align);
	return n < 0 ? n : 0;
}

/* Room for one more extent, and one that a TRIM may add. */
static int reserve_extent(struct buddy_kblock *block, u32 *room)
{
	struct buddy_extent *more;
	u32 wanted = 2 * *room;

	if (block->nr + 2 <= *room)
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

/* Return: 0; -ENOSPC (others were faster); -ENOMEM; -EINTR. */
static int gather(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);
	u32 pages = buddy_kblock_taken(block, block->pages), room = ARRAY_SIZE(block->own);
	int err = 0;

	block->extents = block->own;
	block->nr = 0;
	for (u32 done = 0; !err && done < pages; cond_resched()) {
		err = fatal_signal_pending(current) ? -EINTR : reserve_extent(block, &room);
		if (err)
			break;
		spin_lock(&region->lock);
		err = take_next(block, &block->extents[block->nr], pages - done);
		if (!err)
			done += block->extents[block->nr++].pages;
		spin_unlock(&region->lock);
	}
	return err;
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
 * Return: 0; -ENOSPC (too few units are free); -ENOMEM; -EINTR when killed.
 */
int buddy_scatter_gather(struct buddy_kblock *block)
{
	struct buddy_region *region = buddy_region_of(block);
	int err = -ENOSPC;

	/* Others may be faster, but not for ever. */
	for (int n = 0; n < TRIES && err == -ENOSPC && has_room(block); n++) {
		err = gather(block);
		if (!err)
			err = make_scattered(block);
		if (err)
			buddy_scatter_end(block);
	}
	if (err)
		return err;
	spin_lock(&region->lock);
	buddy_space_insert(block);
	spin_unlock(&region->lock);
	return 0;
}
