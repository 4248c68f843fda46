// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - module parameters, the operations of nodes and block fds, loading and unloading.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "buddy.h"

static char *size[BUDDY_MAX_REGIONS] = { "256M" };
static int nr_sizes = 1;
module_param_array(size, charp, &nr_sizes, 0444);
MODULE_PARM_DESC(size, "Size of each region: 64M, 1.5G, 25% of the memory (default 256M); one device node each: /dev/buddy, /dev/buddy1, ...");

static int node[BUDDY_MAX_REGIONS];
static int nr_nodes;
module_param_array(node, int, &nr_nodes, 0444);
MODULE_PARM_DESC(node, "NUMA node of each region, -1 for any; as many as sizes (default: any)");

static bool force;
module_param(force, bool, 0444);
MODULE_PARM_DESC(force, "Take more than 90 % of the available memory, too (default N)");

static struct buddy_region *regions[BUDDY_MAX_REGIONS];

static int buddy_open(struct inode *inode, struct file *file)
{
	struct miscdevice *misc = file->private_data;
	struct buddy_file *bf;

	bf = buddy_file_create(container_of(misc, struct buddy_region, misc));
	if (IS_ERR(bf))
		return PTR_ERR(bf);
	file->f_mapping = bf->inode->i_mapping;
	file->private_data = bf;
	return 0;
}

static int buddy_release(struct inode *inode, struct file *file)
{
	/* The VFS looks at the mapping of the file once more. */
	file->f_mapping = inode->i_mapping;
	/* Mappings hold the file open: only handles are left. */
	buddy_kblock_close(file->private_data);
	return 0;
}

static int block_release(struct inode *inode, struct file *file)
{
	/* In the time of who received it: the owner's pages are not checked in that. */
	buddy_kblock_put(buddy_share_end(inode, file), false);
	return 0;
}

static const struct file_operations block_fops = {
	.owner		= THIS_MODULE,
	.release	= block_release,
	.unlocked_ioctl	= buddy_kblock_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= buddy_kblock_mmap,
	.fsync		= noop_fsync,
	.get_unmapped_area = buddy_kblock_unmapped_area,
};

static const struct file_operations buddy_fops = {
	.owner		= THIS_MODULE,
	.open		= buddy_open,
	.release	= buddy_release,
	.unlocked_ioctl	= buddy_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= buddy_mmap,
	/* Nothing to write back: msync() and Python's flush() succeed. */
	.fsync		= noop_fsync,
	.get_unmapped_area = thp_get_unmapped_area,
};

static int create_region(const struct buddy_plan *plan, int index)
{
	struct buddy_window largest = { .pages = ULONG_MAX };
	struct buddy_region *region;

	region = buddy_region_create(plan->bytes[index], buddy_plan_node(plan, index),
				     index, &largest);
	if (PTR_ERR(region) == -ENOMEM)
		buddy_plan_failed(plan, index, &largest);
	if (IS_ERR(region))
		return PTR_ERR(region);
	region->block_fops = &block_fops;
	regions[index] = region;
	return 0;
}

static int show_region(struct buddy_region *region)
{
	region->misc.minor = MISC_DYNAMIC_MINOR;
	region->misc.name = region->name;
	region->misc.fops = &buddy_fops;
	region->misc.mode = 0600;
	return misc_register(&region->misc);
}

/*
 * A node that is visible may be open at once, and a load that fails waits for
 * nobody: after the first node is there, it cannot fail any more.
 */
static int show_regions(void)
{
	int err = show_region(regions[0]);

	if (err)
		return err;
	for (int i = 1; i < nr_sizes; i++) {
		err = show_region(regions[i]);
		if (!err)
			continue;
		pr_warn("no node for /dev/%s (%d)\n", regions[i]->name, err);
		buddy_region_destroy(regions[i]);
		regions[i] = NULL;
	}
	return 0;
}

static void destroy_regions(void)
{
	for (int i = BUDDY_MAX_REGIONS; i-- > 0;)
		if (regions[i])
			buddy_region_destroy(regions[i]);
}

static int __init buddy_mem_init(void)
{
	struct buddy_plan plan = {
		.sizes = size, .nr_sizes = nr_sizes, .nodes = node, .nr_nodes = nr_nodes,
		.force = force,
	};
	int err = buddy_plan_check(&plan);

	if (err)
		return err;
	err = buddy_fs_init();
	if (err)
		return err;
	err = buddy_reclaim_init();
	if (err)
		goto exit_region;
	for (int i = 0; i < nr_sizes; i++) {
		err = create_region(&plan, i);
		if (err)
			goto destroy;
	}
	err = show_regions();
	if (!err)
		return 0;

destroy:
	destroy_regions();
	buddy_reclaim_exit();
exit_region:
	buddy_fs_exit();
	return err;
}

static void __exit buddy_mem_exit(void)
{
	for (int i = 0; i < BUDDY_MAX_REGIONS; i++)
		if (regions[i])
			misc_deregister(&regions[i]->misc);
	destroy_regions();
	buddy_reclaim_exit();
	buddy_fs_exit();
}

module_init(buddy_mem_init);
module_exit(buddy_mem_exit);
MODULE_DESCRIPTION("Contiguous memory by a binary buddy allocator, at /dev/buddy");
MODULE_LICENSE("GPL");
MODULE_VERSION(BUDDY_VERSION);
