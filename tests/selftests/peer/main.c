// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - /dev/buddy_peer, the driver of a device that is not there: it holds
 * memory of others as RDMA, VFIO and accelerators do, and reads and writes it by
 * the kernel's addresses, past all page tables of the process. For tests only.
 *
 * All state is of the open file (device.h). Release undoes it, SIGKILL included.
 * The interface, with the meaning of each errno, is peer.h.
 */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "device.h"

/* What dma-bufs are mapped for. No driver is bound to it. */
static struct platform_device *platform;

/**
 * peer_device() - the device that all files stand for
 *
 * Return: it reaches all memory and takes ranges of any length.
 */
struct device *peer_device(void)
{
	return &platform->dev;
}

static void chunk_check(struct peer_walk *walk, const u64 *words, size_t count)
{
	struct peer_range *range = walk->range;

	for (size_t i = 0; i < count; i++) {
		if (READ_ONCE(words[i]) == range->word)
			continue;
		if (!range->out_bad++)
			range->out_first = range->offset + walk->done + i * 8;
	}
}

/**
 * peer_walk_chunk() - fill or check the next piece of a range
 * @walk: how far it is; moved on
 * @memory: where the piece is for the kernel
 * @bytes: its length, a multiple of 8
 *
 * Return: 0 or -EINTR when killed.
 */
int peer_walk_chunk(struct peer_walk *walk, void *memory, size_t bytes)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	if (walk->write)
		memset64(memory, walk->range->word, bytes / 8);
	else
		chunk_check(walk, memory, bytes / 8);
	walk->done += bytes;
	cond_resched();
	return 0;
}

static int do_pin(struct peer_file *peer, void __user *user)
{
	struct peer_pin pin;

	if (copy_from_user(&pin, user, sizeof(pin)))
		return -EFAULT;
	return peer_pin(peer, &pin);
}

static int do_unpin(struct peer_file *peer, void __user *user)
{
	return peer_unpin(peer);
}

static int do_range(struct peer_file *peer, void __user *user, bool write)
{
	struct peer_range range;
	struct peer_walk walk = { .range = &range, .write = write };
	int err;

	if (copy_from_user(&range, user, sizeof(range)))
		return -EFAULT;
	if (range.reserved || range.offset % 8 || range.length % 8)
		return -EINVAL;
	range.out_bad = 0;
	range.out_first = 0;
	switch (range.through) {
	case PEER_THROUGH_PIN:
		err = peer_pin_walk(peer, &walk);
		break;
	case PEER_THROUGH_DMA:
	case PEER_THROUGH_VMAP:
		err = peer_import_walk(peer, &walk);
		break;
	default:
		return -EINVAL;
	}
	if (!err && copy_to_user(user, &range, sizeof(range)))
		return -EFAULT;
	return err;
}

static int do_fill(struct peer_file *peer, void __user *user)
{
	return do_range(peer, user, true);
}

static int do_check(struct peer_file *peer, void __user *user)
{
	return do_range(peer, user, false);
}

static int do_import(struct peer_file *peer, void __user *user)
{
	struct peer_import import;
	int err;

	if (copy_from_user(&import, user, sizeof(import)))
		return -EFAULT;
	err = peer_import(peer, &import);
	if (!err && copy_to_user(user, &import, sizeof(import))) {
		peer_detach(peer);
		return -EFAULT;
	}
	return err;
}

static int do_detach(struct peer_file *peer, void __user *user)
{
	return peer_detach(peer);
}

static int do_sync(struct peer_file *peer, void __user *user)
{
	struct peer_sync sync;

	if (copy_from_user(&sync, user, sizeof(sync)))
		return -EFAULT;
	return sync.reserved ? -EINVAL : peer_sync(peer, sync.flags);
}

static const struct peer_op {
	unsigned int cmd;
	int (*run)(struct peer_file *peer, void __user *user);
} ops[] = {
	{ PEER_PIN, do_pin },
	{ PEER_UNPIN, do_unpin },
	{ PEER_FILL, do_fill },
	{ PEER_CHECK, do_check },
	{ PEER_IMPORT, do_import },
	{ PEER_DETACH, do_detach },
	{ PEER_SYNC, do_sync },
};

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct peer_file *peer = file->private_data;
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (ops[i].cmd != cmd)
			continue;
		if (mutex_lock_killable(&peer->lock))
			return -EINTR;
		err = ops[i].run(peer, (void __user *)arg);
		mutex_unlock(&peer->lock);
		return err;
	}
	return -ENOTTY;
}

static int device_open(struct inode *inode, struct file *file)
{
	struct peer_file *peer = kzalloc(sizeof(*peer), GFP_KERNEL_ACCOUNT);

	if (!peer)
		return -ENOMEM;
	mutex_init(&peer->lock);
	file->private_data = peer;
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	struct peer_file *peer = file->private_data;

	mutex_lock(&peer->lock);
	peer_unpin(peer);
	peer_detach(peer);
	mutex_unlock(&peer->lock);
	kfree(peer);
	return 0;
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.open		= device_open,
	.release	= device_release,
	.unlocked_ioctl	= device_ioctl,
};

static struct miscdevice device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "buddy_peer",
	.fops	= &device_fops,
	.mode	= 0600,
};

static int __init peer_init(void)
{
	const struct platform_device_info info = {
		.name = "buddy_peer",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	int err;

	platform = platform_device_register_full(&info);
	if (IS_ERR(platform))
		return PTR_ERR(platform);
	dma_set_max_seg_size(&platform->dev, UINT_MAX);
	err = misc_register(&device);
	if (err)
		platform_device_unregister(platform);
	return err;
}

static void __exit peer_exit(void)
{
	misc_deregister(&device);
	platform_device_unregister(platform);
}

module_init(peer_init);
module_exit(peer_exit);

MODULE_DESCRIPTION("A device that holds memory, for the tests of buddy_mem");
MODULE_LICENSE("GPL");
