// SPDX-License-Identifier: GPL-2.0-only
/*
 * share.c - block fds: a file for one block, to be passed to others.
 *
 * The file's private_data is the block, of which it holds a reference. Nothing else of
 * the region can be reached through it.
 *
 * If the block has a part of a split unit, its mappings are in the address space of the
 * file that allocated it, where the reference check of a neighbor unmaps them. Else they
 * are in one of their own: whatever a receiver does with its mappings, neither the owner
 * nor another receiver waits for a lock of that.
 */
#include <linux/anon_inodes.h>

#include "buddy.h"

/* Return: an inode, for iput(); or a negative errno. */
static struct inode *mapping_inode(struct buddy_kblock *block)
{
	if (!buddy_extent_has_split(block))
		return buddy_fs_inode();
	ihold(block->file->inode);
	return block->file->inode;
}

/**
 * buddy_share_file() - a new file for a block
 * @block: the block; on success the caller's reference is the file's
 * @writable: it may be mapped for writing
 *
 * Return: the file, not yet in any table; or a negative errno.
 */
struct file *buddy_share_file(struct buddy_kblock *block, bool writable)
{
	struct inode *inode = mapping_inode(block);
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	file = anon_inode_getfile("[buddy]", block->file->region->block_fops, block,
				  writable ? O_RDWR : O_RDONLY);
	if (IS_ERR(file))
		iput(inode);
	else
		file->f_mapping = inode->i_mapping;
	return file;
}

/**
 * buddy_share_end() - the last reference to a block file is gone
 * @inode: of the file itself
 * @file: the file
 *
 * Return: the block, whose reference becomes the caller's.
 */
struct buddy_kblock *buddy_share_end(struct inode *inode, struct file *file)
{
	struct inode *mapping = file->f_mapping->host;

	/* The VFS looks at the mapping of the file once more. */
	file->f_mapping = inode->i_mapping;
	iput(mapping);
	return file->private_data;
}
