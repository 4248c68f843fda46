// SPDX-License-Identifier: GPL-2.0-only
/*
 * fs.c - the inodes whose address spaces hold the mappings of blocks. They are in no
 * directory: a mount that nothing can see makes them.
 */
#include <linux/mount.h>
#include <linux/pseudo_fs.h>

#include "buddy.h"

#define BUDDY_FS_MAGIC	0x62756464	/* "budd" */

static int fill_context(struct fs_context *fc)
{
	return init_pseudo(fc, BUDDY_FS_MAGIC) ? 0 : -ENOMEM;
}

/* No .owner: the mount below would pin the module for ever. */
static struct file_system_type buddy_fs_type = {
	.name			= "buddy_mem",
	.init_fs_context	= fill_context,
	.kill_sb		= kill_anon_super,
};

static struct vfsmount *buddy_mount;

/**
 * buddy_fs_init() - at load, before any region
 *
 * Return: 0 or a negative errno.
 */
int buddy_fs_init(void)
{
	buddy_mount = kern_mount(&buddy_fs_type);
	return PTR_ERR_OR_ZERO(buddy_mount);
}

/**
 * buddy_fs_exit() - at unload, after all regions
 */
void buddy_fs_exit(void)
{
	kern_unmount(buddy_mount);
}

/**
 * buddy_fs_inode() - a new address space for mappings of a region
 *
 * Return: an inode, for iput(); or a negative errno.
 */
struct inode *buddy_fs_inode(void)
{
	struct inode *inode = alloc_anon_inode(buddy_mount->mnt_sb);

	/*
	 * Only inside this does the kernel map whole folios. Beyond the region are
	 * the places of scattered blocks.
	 */
	if (!IS_ERR(inode))
		i_size_write(inode, MAX_LFS_FILESIZE);
	return inode;
}
