// SPDX-License-Identifier: GPL-2.0-only
/*
 * block.c - blocks: from ALLOC to the last reference, and their lengths.
 *
 * Owns struct buddy_kblock and file->blocks. A block has one reference of its handle, of
 * each VMA, and of each block fd. The one that is dropped last releases the extents
 * (space.c), and what was touched is reclaimed (reclaim.c); the block itself is gone then.
 *
 * Whatever finds no room reclaims and tries again, in one loop: retry().
 */
#include <linux/slab.h>

#include "buddy.h"

static int page_in_block(const void *key, const struct rb_node *node)
{
	const struct buddy_kblock *block = rb_entry(node, struct buddy_kblock, node);
	u64 page = *(const u64 *)key;

	if (page < block->pgoff)
		return -1;
	return page - block->pgoff >= block->pages;
}

/**
 * buddy_kblock_find() - the named block of a file that holds a range
 * @file: the file
 * @pgoff: first page of the range, as in block->pgoff
 * @pages: its length, 1 or more
 *
 * Return: the block with one more reference, or NULL if the range does not lie in one
 * block of this file.
 */
struct buddy_kblock *buddy_kblock_find(struct buddy_file *file, u64 pgoff, u64 pages)
{
	struct buddy_kblock *block;
	struct rb_node *node;

	spin_lock(&file->region->lock);
	node = rb_find(&pgoff, &file->blocks, page_in_block);
	block = rb_entry_safe(node, struct buddy_kblock, node);
	/* Its last reference may be gone; then it is about to leave the tree. */
	if (!block || !READ_ONCE(block->named) ||
	    pages > block->pages - (pgoff - block->pgoff) ||
	    !refcount_inc_not_zero(&block->refs))
		block = NULL;
	spin_unlock(&file->region->lock);
	return block;
}

/*
 * Allocation
 */

static struct buddy_kblock *block_create(struct buddy_file *file, u32 pages, bool alone)
{
	struct buddy_kblock *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);

	if (!block)
		return NULL;
	block->file = file;
	buddy_file_get(file);
	block->pages = pages;
	block->alone = alone;
	block->extents = block->own;
	RB_CLEAR_NODE(&block->node);
	refcount_set(&block->refs, 1);
	return block;
}

static void block_destroy(struct buddy_kblock *block)
{
	buddy_file_put(block->file);
	kfree(block);
}

/**
 * struct buddy_try - a block that is to be had, or to be longer
 * @block: of ALLOC: the new block
 * @want: of ALLOC: what is asked for
 * @handle: of GROW: the block
 * @pages: of GROW: the length that it is to have
 */
struct buddy_try {
	struct buddy_kblock *block;
	const struct buddy_want *want;
	u64 handle;
	u32 pages;
};

/*
 * Runs @step until it does not fail for lack of room in the region, or reclaim has
 * nothing more to give.
 * Return: what @step returns, but -ENOMEM for -ENOSPC; -EINTR when killed.
 */
static int retry(struct buddy_file *file,
		 int (*step)(struct buddy_file *file, const struct buddy_try *try,
			     u64 *progress),
		 const struct buddy_try *try)
{
	struct buddy_help help = { 0 };
	int helped = 1, err = -ENOSPC;

	while (err == -ENOSPC && helped > 0) {
		err = step(file, try, &help.progress);
		if (err == -ENOSPC)
			helped = buddy_reclaim_help(file->region, &help);
	}
	if (helped < 0)
		return helped;
	return err == -ENOSPC ? -ENOMEM : err;
}

static int take_range(struct buddy_kblock *block, const struct buddy_want *want)
{
	struct buddy_place_want place = {
		.pages = buddy_kblock_taken(block, block->pages),
		.align = want->align,
		.pow2 = want->flags & BUDDY_ALLOC_POW2,
		.scatter = want->flags & BUDDY_ALLOC_SCATTER,
	};
	int err;

	if (want->huge && block->pages >= BUDDY_UNIT_PAGES &&
	    place.align < BUDDY_UNIT_PAGES) {
		place.align = BUDDY_UNIT_PAGES;
		err = buddy_space_take(block, &place);
		if (err != -ENOSPC)
			return err;
		place.align = want->align;
	}
	return buddy_space_take(block, &place);
}

static int take(struct buddy_file *file, const struct buddy_try *try, u64 *progress)
{
	int err;

	do {
		spin_lock(&file->region->lock);
		*progress = file->region->progress;
		err = take_range(try->block, try->want);
		spin_unlock(&file->region->lock);
		cond_resched();
	} while (err == -EAGAIN);
	if (err == -ENOSPC && try->want->flags & BUDDY_ALLOC_SCATTER)
		err = buddy_scatter_gather(try->block);
	return err;
}

/**
 * buddy_kblock_alloc() - allocate a block, with one reference, not named
 * @file: its owner
 * @want: what is asked for
 *
 * If there is no room, reclaims what was released before it gives up.
 *
 * Return: the block; -ENOMEM (if it may be scattered: all that can be free to the file is
 * not enough); -EINTR when killed.
 */
struct buddy_kblock *buddy_kblock_alloc(struct buddy_file *file,
					const struct buddy_want *want)
{
	struct buddy_try try = {
		.block = block_create(file, want->pages, want->flags & BUDDY_ALLOC_ALONE),
		.want = want,
	};
	int err;

	if (!try.block)
		return ERR_PTR(-ENOMEM);
	err = retry(file, take, &try);
	if (!err)
		return try.block;
	block_destroy(try.block);
	if (err == -ENOMEM) {
		spin_lock(&file->region->lock);
		file->region->fails++;
		spin_unlock(&file->region->lock);
	}
	return ERR_PTR(err);
}

/**
 * buddy_kblock_put() - drop a reference; the last one releases the block
 * @block: the block
 * @own: the caller runs in the time of the block's owner, who may then check and zero
 *       what is small
 *
 * May sleep.
 */
void buddy_kblock_put(struct buddy_kblock *block, bool own)
{
	struct buddy_file *file = block->file;
	struct buddy_unit *unit;

	if (!refcount_dec_and_test(&block->refs))
		return;
	unit = buddy_scatter_end(block);
	buddy_reclaim_go(file, own ? unit : NULL);
	block_destroy(block);
}

/*
 * Names
 */

/**
 * buddy_kblock_publish() - give a block its handle; cannot fail
 * @file: the file
 * @handle: from buddy_handle_reserve()
 * @block: a block of @file; its reference goes to the handle
 */
void buddy_kblock_publish(struct buddy_file *file, u64 handle, struct buddy_kblock *block)
{
	WRITE_ONCE(block->named, true);
	/* Before this no call can free the handle, and reset what was set above. */
	buddy_handle_publish(file, handle, block);
}

static void unname(struct buddy_kblock *block)
{
	WRITE_ONCE(block->named, false);
	buddy_kblock_put(block, true);
}

/**
 * buddy_kblock_free() - take a handle away
 * @file: the file
 * @handle: any number
 *
 * May sleep.
 *
 * Return: 0, or -ENOENT if @file has no such handle.
 */
int buddy_kblock_free(struct buddy_file *file, u64 handle)
{
	struct buddy_kblock *block = buddy_handle_free(file, handle);

	if (!block)
		return -ENOENT;
	unname(block);
	return 0;
}

/**
 * buddy_kblock_close() - the open file is gone: all its handles end
 * @file: the file; no one else uses it, and no mapping of it is left
 *
 * May sleep.
 */
void buddy_kblock_close(struct buddy_file *file)
{
	struct buddy_kblock *block;
	u32 index = 0;

	while ((block = buddy_handle_next(file, &index))) {
		unname(block);
		cond_resched();
	}
	buddy_handle_destroy(file);
	spin_lock(&file->region->lock);
	file->closed = true;
	spin_unlock(&file->region->lock);
	buddy_file_put(file);
}

/*
 * Another length
 */

/*
 * The block of a handle that is the only reference to it, with all locks.
 * Return: the block; -ENOENT; -EBUSY; -EOPNOTSUPP.
 */
static struct buddy_kblock *only_named(struct buddy_file *file, u64 handle)
{
	struct buddy_kblock *block = buddy_handle_find(file, handle);

	if (!block)
		return ERR_PTR(-ENOENT);
	/* pairs with the release in refcount_dec_and_test() and refcount_dec() */
	if (refcount_read(&block->refs) > 1)
		return ERR_PTR(-EBUSY);
	smp_acquire__after_ctrl_dep();
	return block;
}

/**
 * buddy_kblock_trim() - give the end of a block back
 * @file: the file
 * @handle: any number
 * @pages: the new length, 1 or more
 *
 * Only while the handle is the one reference to the block: no mapping, block fd or
 * dma-buf knows its old end, and with the locks held none can appear.
 *
 * Return: 0; -ENOENT (no such handle); -EBUSY (something else refers to the block, or
 * another TRIM of it has not ended); -EINVAL (it is shorter than @pages).
 */
int buddy_kblock_trim(struct buddy_file *file, u64 handle, u32 pages)
{
	struct buddy_region *region = file->region;
	struct buddy_unit *unit = NULL;
	struct buddy_kblock *block;
	u32 from = 0, to = 0;
	int err = 0;

	spin_lock(&file->handles.lock);
	spin_lock(&region->lock);
	block = only_named(file, handle);
	if (IS_ERR(block)) {
		err = PTR_ERR(block);
	} else if (pages > block->pages) {
		err = -EINVAL;
	} else if (pages < block->pages) {
		to = block->nr;
		buddy_space_shorten(block, pages);
		from = block->nr;
		unit = buddy_unit_of(region, block->extents[from - 1].first);
		/* until its other extents are released */
		buddy_kblock_get(block);
	}
	spin_unlock(&region->lock);
	spin_unlock(&file->handles.lock);
	if (err || !to)
		return err;
	buddy_space_release(block, from, max(from, to));
	buddy_kblock_put(block, true);
	buddy_reclaim_go(file, unit);
	return 0;
}

static int grow(struct buddy_file *file, const struct buddy_try *try, u64 *progress)
{
	struct buddy_kblock *block;
	int err = 0;

	spin_lock(&file->handles.lock);
	spin_lock(&file->region->lock);
	*progress = file->region->progress;
	block = only_named(file, try->handle);
	if (IS_ERR(block))
		err = PTR_ERR(block);
	else if (block->scattered || block->alone)
		err = -EOPNOTSUPP;
	else if (try->pages < block->pages)
		err = -EINVAL;
	else if (try->pages > block->pages)
		err = buddy_space_extend(block, try->pages);
	spin_unlock(&file->region->lock);
	spin_unlock(&file->handles.lock);
	return err;
}

/**
 * buddy_kblock_grow() - make a block longer, where it lies
 * @file: the file
 * @handle: any number
 * @pages: the new length
 *
 * As for a TRIM, only while the handle is the one reference. If what follows is not
 * free, reclaims what was released before it gives up. What is added is zero.
 *
 * Return: 0; -ENOENT (no such handle); -EBUSY (something else refers to the block);
 * -EINVAL (it is longer than @pages); -EOPNOTSUPP (it is scattered, or lies alone: the
 * rest of its last unit may be what a TRIM left there, not zero); -ENOMEM (what follows
 * is not free); -EFBIG (the region ends before); -EINTR.
 */
int buddy_kblock_grow(struct buddy_file *file, u64 handle, u32 pages)
{
	struct buddy_try try = { .handle = handle, .pages = pages };

	return retry(file, grow, &try);
}
