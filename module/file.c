// SPDX-License-Identifier: GPL-2.0-only
/*
 * file.c - open files, and references to blocks.
 *
 * Owns struct buddy_file, and block->refs: one of the handle, of each VMA, of each
 * block fd. The last one that is dropped starts the reclaim (reclaim.c). Each block has
 * a reference to its file, so what is left of a closed file ends with its last block.
 * The handles themselves are in handle.c.
 */
#include <linux/cred.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "buddy.h"

/**
 * buddy_file_create() - a file of a region, without handles
 * @region: the region; outlives the file
 *
 * Return: the file, for buddy_file_close(); or a negative errno.
 */
struct buddy_file *buddy_file_create(struct buddy_region *region)
{
	struct buddy_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	int err;

	if (!file)
		return ERR_PTR(-ENOMEM);
	file->inode = buddy_region_inode();
	if (IS_ERR(file->inode)) {
		err = PTR_ERR(file->inode);
		kfree(file);
		return ERR_PTR(err);
	}
	file->region = region;
	file->opener = get_pid(task_tgid(current));
	file->uid = current_euid();
	buddy_handle_init(file);
	kref_init(&file->refs);
	for (u32 k = 0; k < ARRAY_SIZE(file->free_units); k++)
		INIT_LIST_HEAD(&file->free_units[k]);
	return file;
}

static void file_release(struct kref *refs)
{
	struct buddy_file *file = container_of(refs, struct buddy_file, refs);

	put_pid(file->opener);
	iput(file->inode);
	kfree(file);
}

/**
 * buddy_file_put() - drop a reference
 * @file: the file
 *
 * May sleep.
 */
void buddy_file_put(struct buddy_file *file)
{
	kref_put(&file->refs, file_release);
}

/**
 * buddy_kblock_put() - one reference less; the last one starts the way back
 * @block: the block
 *
 * May sleep.
 */
void buddy_kblock_put(struct buddy_kblock *block)
{
	if (!refcount_dec_and_test(&block->refs))
		return;
	if (buddy_kblock_is_scattered(block))
		buddy_scatter_free(block);
	else
		buddy_reclaim_block(block);
}

/**
 * buddy_file_publish() - give a block its handle; cannot fail
 * @file: the file
 * @handle: from buddy_handle_reserve()
 * @block: a block of @file; its reference goes to the handle
 */
void buddy_file_publish(struct buddy_file *file, u64 handle, struct buddy_kblock *block)
{
	spin_lock(&file->region->lock);
	block->named = true;
	spin_unlock(&file->region->lock);
	/* Before this no call can free the handle, and reset what was set above. */
	buddy_handle_publish(file, handle, block);
}

static void handle_drop(struct buddy_kblock *block)
{
	spin_lock(&block->region->lock);
	block->named = false;
	spin_unlock(&block->region->lock);
	buddy_kblock_put(block);
}

/**
 * buddy_file_free() - take a handle away
 * @file: the file
 * @handle: any number
 *
 * Return: 0, or -ENOENT where @file has no such handle.
 */
int buddy_file_free(struct buddy_file *file, u64 handle)
{
	struct buddy_kblock *block = buddy_handle_free(file, handle);

	if (!block)
		return -ENOENT;
	handle_drop(block);
	return 0;
}

static void free_handles(struct buddy_file *file)
{
	struct buddy_kblock *block;
	u32 index = 0;

	while ((block = buddy_handle_next(file, &index))) {
		handle_drop(block);
		cond_resched();
	}
	buddy_handle_destroy(file);
}

/**
 * buddy_file_close() - the open file is gone: all its handles end
 * @file: the file; no one else uses it, and no mapping of it is left
 *
 * May sleep.
 */
void buddy_file_close(struct buddy_file *file)
{
	free_handles(file);
	spin_lock(&file->region->lock);
	file->closed = true;
	spin_unlock(&file->region->lock);
	buddy_file_put(file);
}
