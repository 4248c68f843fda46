// SPDX-License-Identifier: GPL-2.0-only
/*
 * share.c - block fds: a file for one block, to be passed to others.
 *
 * The file's private_data is the block, of which it holds a reference. Where the
 * block has a tail, its mappings are in the address space of the file that allocated it,
 * where the reclaim of a neighbor unmaps them; else in the region's.
 * Nothing else of the region can be reached through it.
 */
#include <linux/anon_inodes.h>

#include "buddy.h"

static int block_release(struct inode *inode, struct file *file)
{
	/* The file that has the inode may end with the block. */
	file->f_mapping = inode->i_mapping;
	buddy_kblock_put(file->private_data);
	return 0;
}

static const struct file_operations block_fops = {
	.owner		= THIS_MODULE,
	.release	= block_release,
	.unlocked_ioctl	= buddy_kblock_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= buddy_kblock_mmap,
	.fsync		= noop_fsync,
	.get_unmapped_area = thp_get_unmapped_area,
};

/**
 * buddy_share_file() - a new file for a block
 * @block: the block; on success the caller's reference is the file's
 * @writable: it may be mapped for writing
 *
 * Return: the file, not yet in any table; or a negative errno.
 */
struct file *buddy_share_file(struct buddy_kblock *block, bool writable)
{
	struct file *file = anon_inode_getfile("[buddy]", &block_fops, block,
					       writable ? O_RDWR : O_RDONLY);

	struct inode *inode = block->tail ? block->file->inode :
					    block->region->inode;

	if (!IS_ERR(file))
		file->f_mapping = inode->i_mapping;
	return file;
}
