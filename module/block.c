// SPDX-License-Identifier: GPL-2.0-only
/*
 * block.c - who owns what, until when: blocks, handles and references.
 *
 * Owns region->blocks, file->handles and the life of struct buddy_block:
 *
 *   alloc -> (handle reserved, block built) -> published: a handle and mmap()
 *   find it -> handle freed and mappings gone: last reference -> reclaim.c,
 *   which ends with buddy_core_free()
 *
 * Invariants: a block is in region->blocks exactly while its pages are not free
 * in the tree; block->named says that its handle holds a reference.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "buddy.h"

static int by_place(struct rb_node *node, const struct rb_node *parent)
{
	u32 a = rb_entry(node, struct buddy_block, node)->first;
	u32 b = rb_entry(parent, struct buddy_block, node)->first;

	return a < b ? -1 : a > b;
}

static int page_in_block(const void *key, const struct rb_node *node)
{
	const struct buddy_block *block = rb_entry(node, struct buddy_block, node);
	u32 page = *(const u32 *)key;

	if (page < block->first)
		return -1;
	return page - block->first >= block->pages;
}

/**
 * buddy_block_at() - the block that a page lies in
 * @region: the region, locked
 * @page: from the start of the region
 *
 * Return: the block, in any state, or NULL.
 */
struct buddy_block *buddy_block_at(struct buddy_region *region, u32 page)
{
	struct rb_node *node;

	lockdep_assert_held(&region->lock);
	node = rb_find(&page, &region->blocks, page_in_block);
	return node ? rb_entry(node, struct buddy_block, node) : NULL;
}

/**
 * buddy_block_insert() - a block has a place from now on
 * @block: first and pages are set; no other block has one of these pages
 *
 * With region->lock.
 */
void buddy_block_insert(struct buddy_block *block)
{
	struct buddy_region *region = block->region;

	lockdep_assert_held(&region->lock);
	/* places of blocks that are not free never collide */
	rb_find_add(&block->node, &region->blocks, by_place);
	region->nr_blocks++;
	region->allocs++;
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
static long block_place(struct buddy_block *block, u32 align,
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

/* Tries with help, until it has a place or there is no more help. */
static long block_place_helped(struct buddy_block *block, u32 align)
{
	struct buddy_region *region = block->region;
	struct buddy_unit *unit = NULL;
	struct buddy_help help = { 0 };
	int helped = 1;
	long err;

	for (;;) {
		err = block_place(block, align, &unit, &help);
		if (err == -EAGAIN) {
			unit = buddy_unit_create(region);
			if (!unit)
				break;
		} else if (err == -ENOMEM) {
			helped = buddy_reclaim_help(region, &help);
			if (helped <= 0)
				break;
		} else {
			break;
		}
	}
	buddy_unit_destroy(unit);
	if (!err)
		return 0;
	if (helped < 0)
		return helped;
	spin_lock(&region->lock);
	region->fails++;
	spin_unlock(&region->lock);
	return -ENOMEM;
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
	struct buddy_block *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);
	long err;

	if (!block)
		return ERR_PTR(-ENOMEM);
	block->region = file->region;
	block->pages = pages;
	block->owner = file;
	block->state = BUDDY_EXTENT_USED;
	refcount_set(&block->refs, 1);
	err = block_place_helped(block, align);
	if (!err)
		return block;
	kfree(block);
	return ERR_PTR(err);
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
	if (refcount_dec_and_test(&block->refs))
		buddy_reclaim_block(block);
}

/**
 * buddy_block_find() - the named block of a file that holds a range
 * @file: the file
 * @first: first page of the range, from the start of the region
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

	if (first >= region->pages)
		return NULL;
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

/**
 * buddy_handle_reserve() - find a free handle; nobody can use it yet
 * @file: the file
 * @handle: the handle
 *
 * Return: 0; -ENOMEM, also where all 2^31 - 1 are in use.
 */
int buddy_handle_reserve(struct buddy_file *file, u32 *handle)
{
	int err = xa_alloc_cyclic(&file->handles, handle, NULL,
				  XA_LIMIT(1, INT_MAX), &file->next_handle,
				  GFP_KERNEL_ACCOUNT);

	/* 1 says that the numbers wrapped around */
	if (err < 0)
		return -ENOMEM;
	return 0;
}

/**
 * buddy_handle_cancel() - a reserved handle is not needed
 * @file: the file
 * @handle: from buddy_handle_reserve()
 */
void buddy_handle_cancel(struct buddy_file *file, u32 handle)
{
	xa_release(&file->handles, handle);
}

/**
 * buddy_handle_publish() - give a block its name; cannot fail
 * @file: the file
 * @handle: from buddy_handle_reserve()
 * @block: a block of @file; its reference goes to the handle
 */
void buddy_handle_publish(struct buddy_file *file, u32 handle,
			  struct buddy_block *block)
{
	spin_lock(&file->region->lock);
	block->named = true;
	spin_unlock(&file->region->lock);
	/* The place is reserved: this allocates nothing. */
	xa_store(&file->handles, handle, block, GFP_KERNEL_ACCOUNT);
}

/**
 * buddy_handle_get() - the block of a handle
 * @file: the file
 * @handle: any number
 *
 * Return: the block with one more reference, or NULL.
 */
struct buddy_block *buddy_handle_get(struct buddy_file *file, u32 handle)
{
	struct buddy_block *block;

	xa_lock(&file->handles);
	block = xa_load(&file->handles, handle);
	if (block)
		buddy_block_get(block);
	xa_unlock(&file->handles);
	return block;
}

static void handle_drop(struct buddy_block *block)
{
	spin_lock(&block->region->lock);
	block->named = false;
	/* The file may be gone before a block fd is. */
	block->owner = NULL;
	spin_unlock(&block->region->lock);
	buddy_block_put(block);
}

/**
 * buddy_handle_free() - take a handle away
 * @file: the file
 * @handle: any number
 *
 * Return: 0, or -ENOENT where @file has no such handle.
 */
int buddy_handle_free(struct buddy_file *file, u32 handle)
{
	struct buddy_block *block;

	/* Not xa_erase() alone: that would also undo a reservation. */
	xa_lock(&file->handles);
	block = xa_load(&file->handles, handle);
	if (block)
		__xa_erase(&file->handles, handle);
	xa_unlock(&file->handles);
	if (!block)
		return -ENOENT;
	handle_drop(block);
	return 0;
}

/**
 * buddy_handle_free_all() - take all handles away, at the file's end
 * @file: the file; nobody else uses it
 */
void buddy_handle_free_all(struct buddy_file *file)
{
	struct buddy_block *block;
	unsigned long handle;

	xa_for_each(&file->handles, handle, block) {
		handle_drop(block);
		cond_resched();
	}
	xa_destroy(&file->handles);
}
