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

/* One try. Return: the first page, or an errno of buddy_core_alloc(). */
static long block_place(struct buddy_block *block, u32 align)
{
	struct buddy_region *region = block->region;
	long first;

	spin_lock(&region->lock);
	first = buddy_core_alloc(&region->core, block->pages, align);
	if (first >= 0) {
		block->first = first;
		/* offsets of blocks that are not free never collide */
		rb_find_add(&block->node, &region->blocks, by_place);
		region->nr_blocks++;
	}
	spin_unlock(&region->lock);
	return first;
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
	struct buddy_block *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);
	int budget = -1, helped = 1;
	long first;

	if (!block)
		return ERR_PTR(-ENOMEM);
	block->region = region;
	block->pages = pages;
	block->owner = file;
	block->state = BUDDY_EXTENT_USED;
	refcount_set(&block->refs, 1);
	while ((first = block_place(block, align)) == -ENOMEM && helped > 0)
		helped = buddy_reclaim_help(region, &budget);
	if (first >= 0)
		return block;
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

static void handle_drop(struct buddy_block *block)
{
	spin_lock(&block->region->lock);
	block->named = false;
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
