/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * buddy.h - the private types of buddy_mem.ko: region, file, block.
 *
 *   region   one contiguous range of pages, one tree over it, one device node
 *   file     an open file of the node; owns handles
 *   block    what ALLOC gives out: a range of the region, until its last
 *            reference (handle, mapping) is gone and it has come back to the tree
 *
 * Lengths and offsets are in pages (granules) unless a name says bytes.
 *
 * Lock order, outermost first:
 *
 *   mmap_lock of a process (fault, mmap, vm_close)
 *     xa_lock of file->handles
 *     region->lock
 *
 * Neither spinlock is held while the other is taken; both are held for a time
 * bounded by the number of orders. Nothing is allocated, zeroed, or copied to
 * or from a user under either.
 */
#ifndef BUDDY_H
#define BUDDY_H

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/buddy.h>

#include "core/buddy_core.h"

/* Regions are made of, and aligned to, this many bytes: a huge page. */
#define BUDDY_UNIT	(2ul << 20)
#define BUDDY_UNIT_PAGES (BUDDY_UNIT >> PAGE_SHIFT)

/* ALLOC's largest alignment, and the best alignment a region tries for. */
#define BUDDY_MAX_ALIGN	(1ul << 30)

/*
 * A block is mapped at this offset plus its place in the region, so that no
 * block has the offset 0 and alignment is kept.
 */
#define BUDDY_MMAP_BASE	(1ul << 30)
#define BUDDY_MMAP_BASE_PAGES (BUDDY_MMAP_BASE >> PAGE_SHIFT)

/**
 * struct buddy_region - memory, its tree, and all blocks in it
 * @misc: the device node
 * @name: of the node
 * @base_pfn: first page; contiguous from there
 * @pages: length
 * @node: NUMA node
 * @base_align: alignment of the first page, bytes
 * @core_mem: the tree's metadata
 *
 * @lock: protects all members below, and the members of its blocks that say so
 * @core: the tree
 * @blocks: all blocks that are not free, by offset
 * @nr_blocks: those in state BUDDY_EXTENT_USED
 * @fails: allocations that found no memory, help included
 * @dead: freed blocks to be looked at now
 * @held: freed blocks that somebody held when last looked at (quarantine)
 * @nr_waiting: blocks on @dead and @held
 * @in_flight: blocks that somebody is looking at: on neither list
 * @looks: times that somebody finished looking at a block
 * @returning: pages in state BUDDY_EXTENT_RETURNING
 * @quarantined: pages in state BUDDY_EXTENT_QUARANTINED
 * @poll_ms: time to the next look at @held
 *
 * @progress: woken whenever @looks changes
 * @work: looks at @dead and @held
 */
struct buddy_region {
	struct miscdevice misc;
	char name[16];
	unsigned long base_pfn;
	u32 pages;
	int node;
	unsigned long base_align;
	void *core_mem;

	spinlock_t lock;	/* protects all from here to poll_ms */
	struct buddy_core core;
	struct rb_root blocks;
	u32 nr_blocks;
	u64 fails;
	struct list_head dead;
	struct list_head held;
	u32 nr_waiting;
	u32 in_flight;
	u64 looks;
	u32 returning;
	u32 quarantined;
	unsigned int poll_ms;

	wait_queue_head_t progress;
	struct delayed_work work;
};

/**
 * struct buddy_file - an open file of a region's node
 * @region: the region; outlives the file, which pins the module
 * @opener: the process that opened it
 * @handles: handle to block; its own lock protects it. An entry holds a
 *           reference to its block
 * @next_handle: where the search for a free handle starts
 */
struct buddy_file {
	struct buddy_region *region;
	struct pid *opener;
	struct xarray handles;
	u32 next_handle;
};

/**
 * struct buddy_block - a range of the region that is not free
 * @region: the region
 * @first: first page, from the start of the region
 * @pages: length, exact
 * @refs: one of the handle, one of each VMA; at 0 the way back starts
 *
 * Under region->lock:
 * @owner: the file that allocated it; NULL on the way back
 * @named: there is a handle, so that mmap() may find the block. The handle's
 *         reference is there as long as this is set
 * @state: BUDDY_EXTENT_USED, _RETURNING or _QUARANTINED
 * @node: in region->blocks
 * @wait: in region->dead or region->held
 *
 * Of whoever took the block off these lists:
 * @held_at: the page that was found held when last looked at
 */
struct buddy_block {
	struct buddy_region *region;
	u32 first;
	u32 pages;
	refcount_t refs;

	struct buddy_file *owner;
	bool named;
	u32 state;
	struct rb_node node;
	struct list_head wait;

	u32 held_at;
};

static inline struct page *buddy_region_page(const struct buddy_region *region,
					     u32 page)
{
	return pfn_to_page(region->base_pfn + page);
}

static inline u64 buddy_bytes(u64 pages)
{
	return pages << PAGE_SHIFT;
}

/* region.c */
struct buddy_region *buddy_region_create(unsigned long bytes, int node,
					 int index);
void buddy_region_destroy(struct buddy_region *region);

/* block.c */
struct buddy_block *buddy_block_alloc(struct buddy_file *file, u32 pages,
				      u32 align);
void buddy_block_get(struct buddy_block *block);
void buddy_block_put(struct buddy_block *block);
struct buddy_block *buddy_block_find(struct buddy_file *file, u64 first,
				     u64 pages);
struct buddy_block *buddy_block_at(struct buddy_region *region, u32 page);
int buddy_handle_reserve(struct buddy_file *file, u32 *handle);
void buddy_handle_cancel(struct buddy_file *file, u32 handle);
void buddy_handle_publish(struct buddy_file *file, u32 handle,
			  struct buddy_block *block);
int buddy_handle_free(struct buddy_file *file, u32 handle);
void buddy_handle_free_all(struct buddy_file *file);

/* reclaim.c */
int buddy_reclaim_init(void);
void buddy_reclaim_exit(void);
void buddy_reclaim_start(struct buddy_region *region);
void buddy_reclaim_stop(struct buddy_region *region);
void buddy_reclaim_block(struct buddy_block *block);
int buddy_reclaim_help(struct buddy_region *region, int *budget);
void buddy_zero_pages(const struct buddy_region *region, u32 first, u32 pages);

/* ioctl.c, mmap.c */
long buddy_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int buddy_mmap(struct file *file, struct vm_area_struct *vma);

/**
 * struct buddy_call - one ioctl on its way through a handler
 * @file: whose call it is
 * @user: the caller's struct
 * @user_size: what the caller says it is long
 * @size: what the kernel's is long
 * @u: the kernel's copy
 */
struct buddy_call {
	struct buddy_file *file;
	void __user *user;
	u32 user_size;
	u32 size;
	union {
		struct buddy_info info;
		struct buddy_alloc alloc;
		struct buddy_free free;
		struct buddy_stats stats;
		struct buddy_extents extents;
	} u;
};

int buddy_call_reply(struct buddy_call *call);

/* stats.c */
int buddy_stats(struct buddy_call *call);
int buddy_extents(struct buddy_call *call);
void buddy_stats_shortage(struct buddy_region *region, struct buddy_alloc *alloc);

#endif /* BUDDY_H */
