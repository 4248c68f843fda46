/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * buddy.h - the private types of buddy_mem.ko: region, file, block.
 *
 *   region   one contiguous range of memory in units of 2 MiB, one tree over the
 *            units, one device node
 *   unit     where the kernel makes them: one folio of order 9, else 512 pages.
 *            Part of a large block; or split for one file's small blocks
 *   file     an open file of the node; owns handles and split units, and is there as
 *            long as one of its blocks is
 *   block    (struct buddy_kblock: struct buddy_block is the library's) what ALLOC
 *            gives out: whole units, then a tail in a split unit; until its last
 *            reference (handle, mapping) is dropped and its pages are reclaimed
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
 * region->lock is held for a
 * time bounded by the number of orders, the depth of one red-black tree, and the
 * number of threads that look at freed blocks. Nothing is allocated, zeroed, or copied to
 * or from a user under either.
 */
#ifndef BUDDY_H
#define BUDDY_H

#include <kunit/test-bug.h>
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
 * @name: of the node
 * @base_pfn: first page; contiguous from there
 * @pages: length
 * @node: NUMA node
 * @base_align: alignment of the first page, bytes
 * @folios: units are folios, and large blocks are mapped by huge pages
 * @core_mem: the tree's metadata
 * @units: by number, split or not
 * @inode: address space of mappings of block fds whose block has no tail
 * @places: numbers of the places of scattered blocks
 *
 * @lock: protects all members below, and the members of its blocks, units and
 *        files that say so
 * @core: the tree; its granules are units
 * @private: free pages in split units
 * @blocks: all blocks that are not free, by offset
 * @nr_blocks: those in state BUDDY_EXTENT_USED
 * @allocs: blocks ever allocated
 * @frees: blocks ever released
 * @fails: allocations that found no memory, help included
 * @dead: freed blocks to be looked at now, the first freed first
 * @held: freed blocks that somebody held when last looked at (quarantine)
 * @nr_held: number of these
 * @looking: freed blocks that somebody is looking at
 * @broken: freed blocks with a poisoned page, for ever
 * @births: blocks ever freed
 * @looks: times that somebody finished looking at a block
 * @retired: pages of the blocks in @broken
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
	bool folios;
	void *core_mem;
	struct buddy_unit *units;
	struct inode *inode;
	struct ida places;

	spinlock_t lock;	/* protects all from here to poll_ms */
	struct buddy_core core;
	u32 private;
	struct rb_root blocks;
	u32 nr_blocks;
	u64 allocs;
	u64 frees;
	u64 fails;
	struct list_head dead;
	struct list_head held;
	u32 nr_held;
	struct list_head looking;
	struct list_head broken;
	u64 births;
	u64 looks;
	u32 retired;
	u32 returning;
	u32 quarantined;
	unsigned int poll_ms;

	wait_queue_head_t progress;
	struct delayed_work work;
};

/**
 * struct buddy_unit - a unit of the region, and how it is split
 * @number: of the unit in the region
 * @faults: faults into the unit read; the reference test writes. Protects
 *          @faulted
 * @faulted: something may refer to a page of the unit: there was a fault since
 *           the last reference test that succeeded
 * @maps: VMAs that have a part of it, or of a block that has; not fewer
 *
 * Under region->lock:
 * @file: that it is split for; all mappings of its blocks are in its address space. NULL
 *        if the unit is not split
 * @aliased: there was a piece of a scattered block in it, mapped elsewhere
 * @listed: pages of the largest free node when it was put into that list; 0: in none
 * @free: in file->free_units[], while it has a free page
 * @bits: which of its pages are free
 */
struct buddy_unit {
	u32 number;
	u32 listed;
	bool faulted;
	bool aliased;
	struct rw_semaphore faults;
	atomic_t maps;

	struct buddy_file *file;
	struct list_head free;
	struct buddy_bits bits;
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
 * @refs: one of the open file, and one of each block that it allocated
 * @region: the region; outlives the file
 * @opener: the process that opened it
 * @uid: its effective user at that time
 * @inode: address space of its mappings, and of block fds of its small blocks;
 *         its size is what makes the kernel map whole folios. One for each file,
 *         so that no file waits for another's
 * @handles: each holds a reference to its block
 *
 * Under region->lock:
 * @closed: the open file is gone
 * @free_units: split units with free pages, by the order of the largest free node
 * @private: free pages in its units
 */
struct buddy_file {
	struct kref refs;
	struct buddy_region *region;
	struct pid *opener;
	kuid_t uid;
	struct inode *inode;
	struct buddy_handles handles;

	bool closed;
	struct list_head free_units[BUDDY_BITS_ORDERS];
	u32 private;
};

/**
 * struct buddy_kblock - a range of the region that is not free, or a scattered block
 * @region: the region
 * @file: the file that allocated it; a reference
 * @first: first page, from the start of the region; of a scattered block, of its
 *         place beyond the region, where it is mapped
 * @pages: length, exact: whole units, then the tail
 * @tail: the split unit that has what is more than whole units, or NULL; of a
 *        scattered block, that of its last piece
 * @refs: one of the handle, of each VMA, of each block fd; at 0 the way back
 *        starts. Pieces have none: they go with the scattered block
 * @touched: there was a fault: pages may be in use and not zero
 *
 * @pieces: of a scattered block: blocks, by @alias; else empty. Constant once the
 *          block is published
 * @askew: of a scattered block: its last part does not start its unit
 * @sibling: of a piece: in @pieces of the scattered block
 * @alias: of a piece: where it is mapped instead of @first, else 0
 *
 * Under region->lock:
 * @named: there is a handle, so that mmap() may find the block. The handle's
 *         reference is there as long as this is set
 * @state: BUDDY_EXTENT_USED, _RETURNING or _QUARANTINED
 * @node: in region->blocks
 * @wait: in region->dead, held, looking or broken
 * @born: when it was freed: the value of region->births
 *
 * Of whoever took the block off these lists:
 * @held_at: the page that was found held when last looked at
 */
struct buddy_kblock {
	struct buddy_region *region;
	struct buddy_file *file;
	u64 first;
	u32 pages;
	struct buddy_unit *tail;
	refcount_t refs;
	bool touched;

	struct rb_root pieces;
	bool askew;
	struct rb_node sibling;
	u64 alias;

	bool named;
	u32 state;
	struct rb_node node;
	struct list_head wait;
	u64 born;

	u32 held_at;
};

static inline bool buddy_kblock_is_scattered(const struct buddy_kblock *block)
{
	return !RB_EMPTY_ROOT(&block->pieces);
}

/* All blocks that a block has pages in: its pieces, or itself. */
#define buddy_for_each_piece(piece, block)				\
	for (piece = buddy_piece_first(block); piece;			\
	     piece = buddy_piece_next(piece))

static inline struct buddy_kblock *buddy_piece_first(struct buddy_kblock *block)
{
	struct rb_node *node = rb_first(&block->pieces);

	return node ? rb_entry(node, struct buddy_kblock, sibling) : block;
}

static inline struct buddy_kblock *buddy_piece_next(struct buddy_kblock *piece)
{
	struct rb_node *node = piece->alias ? rb_next(&piece->sibling) : NULL;

	return node ? rb_entry(node, struct buddy_kblock, sibling) : NULL;
}

/* All split units that have pages of a block. */
#define buddy_for_each_tail(piece, block)				\
	for (piece = buddy_piece_last(block); piece && piece->tail;	\
	     piece = buddy_piece_prev(piece))

static inline struct buddy_kblock *buddy_piece_last(struct buddy_kblock *block)
{
	struct rb_node *node = rb_last(&block->pieces);

	return node ? rb_entry(node, struct buddy_kblock, sibling) : block;
}

static inline struct buddy_kblock *buddy_piece_prev(struct buddy_kblock *piece)
{
	struct rb_node *node = piece->alias ? rb_prev(&piece->sibling) : NULL;

	return node ? rb_entry(node, struct buddy_kblock, sibling) : NULL;
}

static inline struct page *buddy_region_page(const struct buddy_region *region,
					     u32 page)
{
	return pfn_to_page(region->base_pfn + page);
}

static inline void buddy_file_get(struct buddy_file *file)
{
	kref_get(&file->refs);
}

/* One more reference; for who has one, or sees under a lock that there is one. */
static inline void buddy_kblock_get(struct buddy_kblock *block)
{
	refcount_inc(&block->refs);
}

static inline u64 buddy_bytes(u64 pages)
{
	return pages << PAGE_SHIFT;
}

/* The whole units of a block; what is more is its tail. */
static inline u32 buddy_kblock_units(const struct buddy_kblock *block)
{
	return block->pages / BUDDY_UNIT_PAGES;
}

static inline u32 buddy_kblock_tail(const struct buddy_kblock *block)
{
	return block->pages % BUDDY_UNIT_PAGES;
}

/* Where the tail starts in its unit, pages. */
static inline u32 buddy_kblock_tail_start(const struct buddy_kblock *block)
{
	return (block->first + block->pages - buddy_kblock_tail(block)) %
	       BUDDY_UNIT_PAGES;
}

/**
 * struct buddy_help - how far an allocation has helped; zero at its start
 * @started: the next two are set
 * @born: look at blocks freed up to here
 * @held: quarantined blocks to look at, one look each
 * @looks: region->looks when the allocation last failed
 * @rounds: times that it began again
 */
struct buddy_help {
	bool started;
	u64 born;
	u32 held;
	u64 looks;
	u32 rounds;
};

/* unit.c */
struct buddy_unit *buddy_unit_table(u32 units, int node);
int buddy_unit_alloc(struct buddy_kblock *block, u32 align);
void buddy_unit_split(struct buddy_kblock *block, u32 number);
int buddy_unit_take(struct buddy_unit *unit, u32 at, u32 pages);
void buddy_unit_free(struct buddy_kblock *block);
void buddy_unit_dissolve(struct buddy_kblock *block);
u32 buddy_unit_largest(struct buddy_file *file);

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
int buddy_region_init(void);
void buddy_region_exit(void);
struct buddy_region *buddy_region_create(unsigned long bytes, int node,
					 int index, struct buddy_window *largest);
void buddy_region_destroy(struct buddy_region *region);
struct inode *buddy_region_inode(void);

/* index.c */
struct buddy_kblock *buddy_kblock_at(struct buddy_region *region, u64 page);
void buddy_kblock_index(struct buddy_kblock *block);
void buddy_kblock_insert(struct buddy_kblock *block);
struct buddy_kblock *buddy_kblock_find(struct buddy_file *file, u64 first,
				       u64 pages);

/* block.c */
struct buddy_kblock *buddy_kblock_new(struct buddy_file *file, u32 pages);
void buddy_kblock_destroy(struct buddy_kblock *block);
int buddy_kblock_place(struct buddy_kblock *block, u32 align,
		       struct buddy_help *help);
struct buddy_kblock *buddy_kblock_alloc(struct buddy_file *file, u32 pages,
					u32 align);

/* file.c */
struct buddy_file *buddy_file_create(struct buddy_region *region);
void buddy_file_close(struct buddy_file *file);
void buddy_file_put(struct buddy_file *file);
void buddy_kblock_put(struct buddy_kblock *block);
void buddy_file_publish(struct buddy_file *file, u64 handle, struct buddy_kblock *block);
int buddy_file_free(struct buddy_file *file, u64 handle);

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

/* scatter.c */
struct buddy_kblock *buddy_scatter_alloc(struct buddy_file *file, u32 pages);
struct buddy_kblock *buddy_scatter_piece(struct buddy_kblock *block, u64 page);
void buddy_scatter_free(struct buddy_kblock *block);

/* resize.c */
int buddy_kblock_trim(struct buddy_file *file, u64 handle, u32 pages);
int buddy_kblock_grow(struct buddy_file *file, u64 handle, u32 pages);

/* reach.c */
bool buddy_kblock_is_unreachable(struct buddy_kblock *block);

/* reclaim.c */
int buddy_reclaim_init(void);
void buddy_reclaim_exit(void);
void buddy_reclaim_start(struct buddy_region *region);
void buddy_reclaim_stop(struct buddy_region *region);
void buddy_reclaim_block(struct buddy_kblock *block);
int buddy_reclaim_help(struct buddy_region *region, struct buddy_help *help);
bool buddy_zero_pages(const struct buddy_region *region, u32 first, u32 pages,
		      bool killable);

/* ioctl.c, mmap.c: of a node, and of a block fd */
long buddy_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long buddy_kblock_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int buddy_mmap(struct file *file, struct vm_area_struct *vma);
int buddy_kblock_mmap(struct file *file, struct vm_area_struct *vma);

/* share.c */
struct file *buddy_share_file(struct buddy_kblock *block, bool writable);

/* dmabuf.c */
#if IS_ENABLED(CONFIG_DMA_SHARED_BUFFER)
struct file *buddy_dmabuf_file(struct buddy_kblock *block, bool writable);
#else
static inline struct file *buddy_dmabuf_file(struct buddy_kblock *block,
					     bool writable)
{
	return ERR_PTR(-EOPNOTSUPP);
}
#endif

/* stats.c */
int buddy_stats(struct buddy_region *region, struct buddy_stats *stats);
int buddy_extents(struct buddy_region *region, struct buddy_extents *extents);
void buddy_stats_shortage(struct buddy_file *file, struct buddy_alloc *alloc);

#endif /* BUDDY_H */
