/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * buddy.h - the private types of buddy_mem.ko: region, file, block.
 *
 *   region   one contiguous range of memory in units of 2 MiB, one tree over the
 *            units, one device node
 *   unit     where the kernel makes them: one folio of order 9, else 512 pages. Free;
 *            whole, a part of one block; split, for the small blocks and tails of one
 *            file; or released and being reclaimed. Its metadata is there from load
 *   file     an open file of the node; owns handles and split units, and is there as
 *            long as anything of it is
 *   block    (struct buddy_kblock: struct buddy_block is the library's) what ALLOC
 *            gives out, until its last reference (handle, mapping, block fd) is dropped
 *   extent   a part of a block that is contiguous: a run of whole units, or a range in
 *            one split unit. Exists only inside a block: what is being reclaimed has
 *            its state in its units
 *
 * Lengths and offsets are in pages unless a name says units or bytes.
 *
 * Lock order, outermost first:
 *
 *   mmap_lock of a process (fault, mmap, vm_close)
 *     unit->faults (rwsem): faults into a split unit read, the
 *       reference test of a block in it writes
 *       i_mmap_rwsem of the file's inode (unmap_mapping_range)
 *     file->handles.lock (spinlock)
 *       region->lock (spinlock)
 *
 * region->lock is held for a time bounded by the number of orders, the pages of a unit and
 * the depth of one red-black tree. Nothing is allocated, zeroed, or copied to or from a
 * user under either.
 */
#ifndef BUDDY_H
#define BUDDY_H

#include <kunit/test-bug.h>
#include <linux/bitmap.h>
#include <linux/bug.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/buddy.h>

#include "core/buddy_bits.h"
#include "core/buddy_core.h"
#include "core/buddy_place.h"

/*
 * BUDDY_WARN_ON() - Report a broken invariant.
 *
 * For what no request of a user can cause; a wrong request is an errno. The first time at
 * each place the kernel's log has a warning. The KUnit test that runs in this task fails
 * each time (on 6.1 if KUnit is built in: there modules cannot call it otherwise). The
 * condition has no side effects.
 *
 * Return: the condition.
 */
#define BUDDY_WARN_ON(condition) ({					\
	bool broken_ = WARN_ON_ONCE(condition);				\
									\
	if (broken_)							\
		kunit_fail_current_test("broken: %s", #condition);	\
	unlikely(broken_);						\
})

/* Regions are made of, and aligned to, this many bytes: a huge page. */
#define BUDDY_UNIT	((unsigned long)SZ_2M)
#define BUDDY_UNIT_PAGES ((u32)(BUDDY_UNIT >> PAGE_SHIFT))
#define BUDDY_UNIT_ORDER ilog2(BUDDY_UNIT_PAGES)

/* ALLOC's largest alignment, and the best alignment a region tries for. */
#define BUDDY_MAX_ALIGN	((unsigned long)SZ_1G)

/*
 * A block is mapped at this offset plus its place in the region, so that no
 * block has the offset 0 and alignment is kept.
 */
#define BUDDY_MMAP_BASE	((unsigned long)SZ_1G)
#define BUDDY_MMAP_BASE_PAGES (BUDDY_MMAP_BASE >> PAGE_SHIFT)

/**
 * struct buddy_region - memory, its tree, and all blocks in it
 * @misc: the device node
 * @block_fops: the operations of block fds
 * @name: of the node
 * @base_pfn: first page; contiguous from there
 * @pages: length
 * @node: NUMA node
 * @base_align: alignment of the first page, bytes
 * @folios: units are folios, and large blocks are mapped by huge pages
 * @core_mem: the tree's metadata
 * @place_units: the placement's
 * @units: by number, split or not
 * @places: numbers of the places of scattered blocks
 *
 * @lock: protects all members below, and the members of its blocks, units and
 *        files that say so
 * @place: what is free, and where a block is to lie
 * @nr_blocks: blocks with a reference
 * @allocs: blocks ever allocated
 * @frees: blocks ever released
 * @fails: allocations that found no memory, direct reclaim included
 * @returning: pages released, not yet checked
 * @quarantined: pages released, but pinned when last checked
 * @retired: pages withheld for a poisoned one
 * @reported: of these, that the log has
 *
 * Of item.c, which describes them there:
 * @reclaiming: files with released units
 * @nr_items: units and runs of units that are being reclaimed
 * @pass: number of the pass that runs, or ran last
 * @pass_done: number of the last pass that is complete
 * @pass_wanted: passes up to this one are asked for
 * @to_check: items that the pass has not checked yet
 * @progress: times that something became free
 * @works: works of files that are queued or run
 * @stopping: no more are queued
 *
 * @changed: woken by progress, and when a pass is complete
 * @queue: where the works run
 * @file_work: the work of a file
 * @kicker: starts the works of all files in @reclaiming, for a pass
 * @waker: wakes who waits for @changed
 */
struct buddy_region {
	struct miscdevice misc;
	const struct file_operations *block_fops;
	char name[16];
	unsigned long base_pfn;
	u32 pages;
	int node;
	unsigned long base_align;
	bool folios;
	void *core_mem;
	struct buddy_place_unit *place_units;
	struct buddy_unit *units;
	struct ida places;

	spinlock_t lock;	/* protects all from here to poll_ms */
	struct buddy_place place;
	u32 nr_blocks;
	u64 allocs;
	u64 frees;
	u64 fails;
	u32 returning;
	u32 quarantined;
	u32 retired;
	u32 reported;

	struct list_head reclaiming;
	u32 nr_items;
	u32 pass;
	u32 pass_done;
	u32 pass_wanted;
	u32 to_check;
	u64 progress;
	u32 works;
	bool stopping;

	wait_queue_head_t changed;
	struct workqueue_struct *queue;
	work_func_t file_work;
	struct work_struct kicker;
	struct work_struct waker;
};

/* What a unit is; of a run of units, what its first one says. */
enum buddy_unit_state {
	BUDDY_UNIT_WHOLE,	/* free in the tree, or of a block */
	BUDDY_UNIT_SPLIT,
	BUDDY_UNIT_DEAD,	/* a run that was released */
	BUDDY_UNIT_RETIRED,	/* has a poisoned page */
};

/**
 * struct buddy_unit - what the module knows of a unit of the region
 * @region: the region
 * @number: of the unit in the region
 * @touched: there was a fault while it was whole: it may not be zero. Set without a
 *           lock, cleared while nothing refers to the unit
 * @faults: faults into a split unit read; the reference check writes. Protects
 *          @faulted
 * @faulted: something may refer to a page of the split unit: there was a fault since
 *           the last reference check that succeeded
 * @maps: VMAs of blocks that have a part of the split unit; not fewer
 *
 * Under region->lock:
 * @state: as above
 * @file: of a split or dead unit: a reference to its file, in whose address space all
 *        mappings of its blocks are; of the first whole unit of an extent: its block's
 * @run: dead: units of the run that starts here
 * @aliases: split: struct buddy_alias of scattered blocks that have a part of it
 * @dead: split: pages that were released, and are in use in its map until they are free
 * @retired: split: likewise pages that are poisoned, and never become free
 *
 * Likewise, of item.c:
 * @wait: in file->dead or file->held
 * @busy: is being checked
 * @again: split: more was released since the check began
 * @held: was found pinned
 * @pass: the last pass that checked it
 * @tries: times that it was found pinned in this pass
 * @probe_page: page of this unit that was found pinned
 */
struct buddy_unit {
	struct buddy_region *region;
	u32 number;
	bool touched;
	struct rw_semaphore faults;
	bool faulted;
	atomic_t maps;

	u8 state;
	u32 run;
	struct buddy_file *file;
	struct list_head aliases;
	DECLARE_BITMAP(dead, BUDDY_BITS_PAGES);
	DECLARE_BITMAP(retired, BUDDY_BITS_PAGES);

	struct list_head wait;
	bool busy;
	bool again;
	bool held;
	u8 tries;
	u16 probe_page;
	u32 pass;
};

#define BUDDY_HANDLE_SLOTS	256	/* in a chunk, which is a page of 4 KiB */

/**
 * struct buddy_handle_slot - place of a handle
 * @generation: high half of the handle, from 1 up
 * @next: number of the next free slot, if the slot is free
 * @block: the block; NULL while the slot is free or reserved
 */
struct buddy_handle_slot {
	u32 generation;
	u32 next;
	struct buddy_kblock *block;
};

struct buddy_handle_chunk {
	struct buddy_handle_slot slots[BUDDY_HANDLE_SLOTS];
};

/**
 * struct buddy_handles - the handles of an open file, see handle.c
 * @lock: protects the slots and @free
 * @chunks: struct buddy_handle_chunk by number, without a gap
 * @free: number of the first free slot
 */
struct buddy_handles {
	spinlock_t lock;	/* protects the slots and the list of free ones */
	struct xarray chunks;
	u32 free;
};

/**
 * struct buddy_file - an open file of a region's node
 * @refs: of the open file, each of its blocks, each unit that is split or dead, and its
 *        work while that is queued
 * @region: the region; outlives the file
 * @opener: the process that opened it
 * @uid: its effective user at that time
 * @inode: address space of its mappings, and of block fds of blocks with a part of a
 *         split unit; its size is what makes the kernel map whole folios. One for each file,
 *         so that no file waits for another's
 * @handles: each holds a reference to its block
 *
 * Under region->lock:
 * @closed: the open file is gone
 * @blocks: those that have a reference, by pgoff
 * @place: what the placement knows of it: its split units
 *
 * Likewise, of item.c:
 * @dead: units and runs that were released, to be checked
 * @held: units and runs that were pinned when last checked
 * @nr_items: of both, and those that are being checked
 * @reclaiming: in region->reclaiming, while it has such items
 * @kicked: the last pass for which its work was started
 * @check_held: when its work runs next, it checks what is held, too
 * @retry: the next check of @held is one of several in a pass
 * @poll_ms: time between two checks of @held
 * @due: when the next one is to be, in jiffies
 *
 * @work: checks @dead and @held
 */
struct buddy_file {
	refcount_t refs;
	struct buddy_region *region;
	struct pid *opener;
	kuid_t uid;
	struct inode *inode;
	struct buddy_handles handles;

	bool closed;
	struct rb_root blocks;
	struct buddy_place_owner place;

	struct list_head dead;
	struct list_head held;
	u32 nr_items;
	struct list_head reclaiming;
	u32 kicked;
	bool check_held;
	bool retry;
	unsigned int poll_ms;
	unsigned long due;

	struct delayed_work work;
};

/**
 * struct buddy_extent - a contiguous part of a block
 * @first: first page, from the start of the region
 * @pages: length
 * @at: its first page in the block
 * @split: it lies in a split unit; else it is a run of whole units
 * @touched: there was a fault, or a device has it: pages may be in use and not zero
 *
 * Constant while anything but a handle refers to the block, but for @touched.
 */
struct buddy_extent {
	u32 first;
	u32 pages;
	u32 at;
	bool split;
	bool touched;
};

/**
 * struct buddy_alias - where pages of a split unit are mapped otherwise
 * @list: in unit->aliases
 * @pgoff: of the first page in file->inode, less BUDDY_MMAP_BASE_PAGES
 * @pages: length
 */
struct buddy_alias {
	struct list_head list;
	u64 pgoff;
	u32 pages;
};

/**
 * struct buddy_kblock - what ALLOC gives out
 * @file: the file that allocated it; a reference
 * @refs: one of the handle, of each VMA, of each block fd; the last one that is
 *        dropped releases the extents and ends the block
 * @pgoff: where it is mapped: its first page, or a place beyond the region
 * @pages: length, exact; the extents may be longer, if @alone
 * @nr: number of extents
 * @extents: by place in the block: @own, or an array of its own
 * @aliases: of a scattered block: one for each extent in a split unit, or NULL
 * @scattered: it is not contiguous, and has a place
 * @alone: it takes whole units (buddy_kblock_taken()), so that no other block lies there
 * @huge: the kernel may map all of its whole units by huge pages
 * @own: if it is contiguous: its head, whole units and tail, as many as it has of these
 *
 * @named: there is a handle, so that mmap() may find the block
 *
 * Under region->lock:
 * @node: in file->blocks
 */
struct buddy_kblock {
	struct buddy_file *file;
	u64 pgoff;
	u32 pages;
	u32 nr;
	refcount_t refs;
	bool scattered;
	bool alone;
	bool huge;
	bool named;
	struct rb_node node;
	struct buddy_extent *extents;
	struct buddy_alias *aliases;
	struct buddy_extent own[3];
};

#define buddy_for_each_extent(e, block)					\
	for (e = (block)->extents; e < (block)->extents + (block)->nr; e++)

static inline struct buddy_region *buddy_region_of(const struct buddy_kblock *block)
{
	return block->file->region;
}

/* The unit that a page lies in. */
static inline struct buddy_unit *buddy_unit_of(const struct buddy_region *region,
					       u32 page)
{
	return &region->units[page / BUDDY_UNIT_PAGES];
}

/* Which pages of a split unit are free. */
static inline struct buddy_bits *buddy_unit_bits(const struct buddy_unit *unit)
{
	return &unit->region->place_units[unit->number].bits;
}

static inline struct page *buddy_region_page(const struct buddy_region *region,
					     u32 page)
{
	return pfn_to_page(region->base_pfn + page);
}

static inline void buddy_file_get(struct buddy_file *file)
{
	refcount_inc(&file->refs);
}

/* Drops a reference that is not the last one: the caller has another. */
static inline void buddy_file_unref(struct buddy_file *file)
{
	refcount_dec(&file->refs);
}

/* One more reference; for who has one, or sees under a lock that there is one. */
static inline void buddy_kblock_get(struct buddy_kblock *block)
{
	refcount_inc(&block->refs);
}

/*
 * The pages that a length takes. What a block that lies alone has beyond its length, in its
 * last unit, belongs to its last extent, and nothing maps it.
 */
static inline u32 buddy_kblock_taken(const struct buddy_kblock *block, u32 pages)
{
	return block->alone ? round_up(pages, BUDDY_UNIT_PAGES) : pages;
}

static inline u64 buddy_bytes(u64 pages)
{
	return pages << PAGE_SHIFT;
}

/**
 * struct buddy_help - how far an allocation has reclaimed; zero at its start
 * @progress: region->progress when the allocation last failed
 * @began: region->progress when @pass was asked for
 * @pass: what was released before it is checked when this pass is complete; 0: not
 *        yet asked for
 * @rounds: passes that it has asked for
 */
struct buddy_help {
	u64 progress;
	u64 began;
	u32 pass;
	u32 rounds;
};

/**
 * struct buddy_want - a block that is asked for
 * @pages: exact length, 1 .. region->pages
 * @align: 0 or a power of two, in pages
 * @flags: BUDDY_ALLOC_*: POW2 (@pages is a power of two), SCATTER, ALONE
 * @huge: it is to start a unit, if there is such a place
 */
struct buddy_want {
	u32 pages;
	u32 align;
	u32 flags;
	bool huge;
};

/* unit.c */
struct buddy_unit *buddy_unit_table(struct buddy_region *region);
void buddy_unit_open(struct buddy_unit *unit, struct buddy_file *file);
void buddy_unit_close(struct buddy_unit *unit);
void buddy_unit_divide(struct buddy_unit *unit, u32 at, u32 pages, u32 first);
void buddy_unit_join(struct buddy_unit *unit, u32 at, u32 pages, u32 more);
void buddy_unit_free(struct buddy_unit *unit, u32 at, u32 pages);

/**
 * struct buddy_window - the largest contiguous range that was found
 * @node: NUMA node where it lies
 * @pages: length, whole units
 */
struct buddy_window {
	int node;
	unsigned long pages;
};

/* window.c */
bool buddy_window_has_node(int nid);
unsigned long buddy_window_available(int nid);
void buddy_window_measure(int wanted, unsigned long most, struct buddy_window *largest);
int buddy_window_take(struct buddy_region *region, int wanted,
		      struct buddy_window *largest);
void buddy_window_put(struct buddy_region *region);
bool buddy_zero_pages(const struct buddy_region *region, u32 first, u32 pages,
		      bool killable);

#define BUDDY_MAX_REGIONS	8

/**
 * struct buddy_plan - what the parameters of the module ask for
 * @sizes: texts of size=
 * @nr_sizes: number of these, and of the regions; at least 1
 * @nodes: values of node=
 * @nr_nodes: number of these; 0 if node= was not given
 * @force: take more than 90 % of the available memory, too
 * @bytes: of each region; filled by buddy_plan_check()
 * @rounded: they are more than was asked for; likewise
 */
struct buddy_plan {
	char **sizes;
	int nr_sizes;
	const int *nodes;
	int nr_nodes;
	bool force;
	u64 bytes[BUDDY_MAX_REGIONS];
	bool rounded[BUDDY_MAX_REGIONS];
};

/* plan.c */
int buddy_plan_node(const struct buddy_plan *plan, int index);
void buddy_plan_share(u64 units, const u64 *has, int count, u64 *share);
int buddy_plan_check(struct buddy_plan *plan);
void buddy_plan_failed(const struct buddy_plan *plan, int index,
		       const struct buddy_window *largest);

/* region.c */
struct buddy_region *buddy_region_create(unsigned long bytes, int node,
					 int index, struct buddy_window *largest);
void buddy_region_destroy(struct buddy_region *region);

/* item.c */
void buddy_item_range(struct buddy_unit *unit, u32 at, u32 pages);
void buddy_item_run(struct buddy_unit *unit, struct buddy_file *file, u32 units);
void buddy_item_cut(struct buddy_unit *unit, u32 units);
void buddy_item_hold(struct buddy_unit *unit);
void buddy_item_hold_run(struct buddy_unit *unit, bool again, u32 began);
void buddy_item_again(struct buddy_unit *unit);
void buddy_item_done(struct buddy_unit *unit, u32 pages);
void buddy_item_end(struct buddy_unit *unit);
u32 buddy_item_pages(const struct buddy_unit *unit);
struct buddy_unit *buddy_item_next(struct buddy_file *file);
void buddy_pass_hold(struct buddy_region *region);
void buddy_pass_release(struct buddy_region *region);
u32 buddy_pass_request(struct buddy_region *region);

/* extent.c */
struct buddy_extent *buddy_extent_find(const struct buddy_kblock *block, u32 page);
void buddy_extent_arrange(struct buddy_kblock *block);
bool buddy_extent_has_split(const struct buddy_kblock *block);
void buddy_extent_set_alias(struct buddy_kblock *block, u32 i);
void buddy_extent_touch(struct buddy_kblock *block);

/* space.c */
int buddy_space_take(struct buddy_kblock *block, const struct buddy_place_want *want);
int buddy_space_gather(struct buddy_kblock *block, struct buddy_place_gather *gather);
void buddy_space_insert(struct buddy_kblock *block);
void buddy_space_shorten(struct buddy_kblock *block, u32 pages);
int buddy_space_extend(struct buddy_kblock *block, u32 pages);
struct buddy_unit *buddy_space_release(struct buddy_kblock *block, u32 from, u32 to);
void buddy_space_return(struct buddy_unit *unit, u32 units);
void buddy_space_return_empty(struct buddy_unit *unit);
void buddy_space_divide(struct buddy_unit *unit, u32 units, u32 first);
int buddy_space_promise(struct buddy_kblock *block, struct buddy_place_gather *gather);
void buddy_space_forgo(struct buddy_kblock *block, struct buddy_place_gather *gather);

/* scatter.c */
int buddy_scatter_gather(struct buddy_kblock *block);
struct buddy_unit *buddy_scatter_end(struct buddy_kblock *block);

/* block.c */
struct buddy_kblock *buddy_kblock_alloc(struct buddy_file *file,
					const struct buddy_want *want);
void buddy_kblock_put(struct buddy_kblock *block, bool own);
struct buddy_kblock *buddy_kblock_find(struct buddy_file *file, u64 pgoff, u64 pages);
void buddy_kblock_publish(struct buddy_file *file, u64 handle, struct buddy_kblock *block);
int buddy_kblock_free(struct buddy_file *file, u64 handle);
void buddy_kblock_close(struct buddy_file *file);
int buddy_kblock_trim(struct buddy_file *file, u64 handle, u32 pages);
int buddy_kblock_grow(struct buddy_file *file, u64 handle, u32 pages);

/* fs.c */
int buddy_fs_init(void);
void buddy_fs_exit(void);
struct inode *buddy_fs_inode(void);

/* file.c */
struct buddy_file *buddy_file_create(struct buddy_region *region);
void buddy_file_put(struct buddy_file *file);

/* handle.c */
void buddy_handle_init(struct buddy_file *file);
void buddy_handle_destroy(struct buddy_file *file);
int buddy_handle_reserve(struct buddy_file *file, u64 *handle);
void buddy_handle_cancel(struct buddy_file *file, u64 handle);
void buddy_handle_publish(struct buddy_file *file, u64 handle, struct buddy_kblock *block);
struct buddy_kblock *buddy_handle_find(struct buddy_file *file, u64 handle);
struct buddy_kblock *buddy_handle_get(struct buddy_file *file, u64 handle);
struct buddy_kblock *buddy_handle_free(struct buddy_file *file, u64 handle);
struct buddy_kblock *buddy_handle_next(struct buddy_file *file, u32 *index);

/* reach.c */
bool buddy_reach_unit(struct buddy_unit *unit);
bool buddy_reach_pages(const struct buddy_region *region, u32 first, u32 pages);
bool buddy_reach_whole(struct buddy_unit *unit);

/* check.c */
void buddy_check_item(struct buddy_unit *unit);
void buddy_check_abandon(struct buddy_unit *unit);
void buddy_check_unretire(struct buddy_unit *unit);

/* reclaim.c */
int buddy_reclaim_init(void);
void buddy_reclaim_exit(void);
void buddy_reclaim_start(struct buddy_region *region);
void buddy_reclaim_stop(struct buddy_region *region);
void buddy_reclaim_go(struct buddy_file *file, struct buddy_unit *unit);
int buddy_reclaim_help(struct buddy_region *region, struct buddy_help *help);

/* ioctl.c, mmap.c: of a node, and of a block fd */
long buddy_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long buddy_kblock_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int buddy_mmap(struct file *file, struct vm_area_struct *vma);
int buddy_kblock_mmap(struct file *file, struct vm_area_struct *vma);
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
unsigned long buddy_kblock_unmapped_area(struct file *file, unsigned long address,
					 unsigned long length, unsigned long pgoff,
					 unsigned long flags);
#else
#define buddy_kblock_unmapped_area NULL
#endif

/* share.c */
struct file *buddy_share_file(struct buddy_kblock *block, bool writable);
struct buddy_kblock *buddy_share_end(struct inode *inode, struct file *file);

/* dmabuf.c */
#if IS_ENABLED(CONFIG_DMA_SHARED_BUFFER)
struct file *buddy_dmabuf_file(struct file *share, bool writable);
#else
static inline struct file *buddy_dmabuf_file(struct file *share, bool writable)
{
	return ERR_PTR(-EOPNOTSUPP);
}
#endif

/* stats.c */
int buddy_stats(struct buddy_file *file, struct buddy_stats *stats);
int buddy_extents(struct buddy_region *region, struct buddy_extents *extents);
void buddy_stats_shortage(struct buddy_file *file, struct buddy_alloc *alloc);

#endif /* BUDDY_H */
