// SPDX-License-Identifier: GPL-2.0-only
/*
 * file.c - open files.
 *
 * Owns struct buddy_file. Each block has a reference to its file, and each unit that is
 * split for it or that it has released: what is left of a closed file ends with these.
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
 * Return: the file, for buddy_kblock_close(); or a negative errno.
 */
struct buddy_file *buddy_file_create(struct buddy_region *region)
{
	struct buddy_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	int err;

	if (!file)
		return ERR_PTR(-ENOMEM);
	file->inode = buddy_fs_inode();
	if (IS_ERR(file->inode)) {
		err = PTR_ERR(file->inode);
		kfree(file);
		return ERR_PTR(err);
	}
	file->region = region;
	file->opener = get_pid(task_tgid(current));
	file->uid = current_euid();
	buddy_handle_init(file);
	file->blocks = RB_ROOT;
	INIT_LIST_HEAD(&file->dead);
	INIT_LIST_HEAD(&file->held);
	INIT_LIST_HEAD(&file->reclaiming);
	INIT_DELAYED_WORK(&file->work, region->file_work);
	refcount_set(&file->refs, 1);
	return file;
}

/**
 * buddy_file_put() - drop a reference
 * @file: the file
 *
 * May sleep.
 */
void buddy_file_put(struct buddy_file *file)
{
	if (!refcount_dec_and_test(&file->refs))
		return;
	put_pid(file->opener);
	iput(file->inode);
	kfree(file);
}
