/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * buddy.h - the private types of buddy_mem.ko: region, file, block.
 *
 *   region   one contiguous range of memory in units of 2 MiB, one tree over the
 *            units, one device node
 *   unit     where the kernel makes them: one folio of order 9, else 512 pages.
 *            Part of a large block; or cut up for one file's small blocks
 *   file     an open file of the node; owns handles, and units that are cut up
 *   block    (struct buddy_kblock: struct buddy_block is the library's) what ALLOC
 *            gives out: whole units, then a tail in a unit that is
 *            cut up; until its last reference (handle, mapping) is gone and it
 *            has come back
 *
 * Lengths and offsets are in pages unless a name says units or bytes.
 *
 * Lock order, outermost first:
 *
 *   mmap_lock of a process (fault, mmap, vm_close)
 *     unit->faults (rwsem): faults into a unit that is cut up read, the
 *       reference test of a block in it writes
 *       i_mmap_rwsem of the file's inode (unmap_mapping_range)
 *     xa_lock of file->handles
 *       region->lock (spinlock)
 *
 * region->lock is held for a
 * time bounded by the number of orders, the depth of one red-black tree, and the
 * number of threads that look at freed blocks. Nothing is allocated, zeroed, or copied to
 * or from a user under either.
 */
#ifndef BUDDY_H
#define BUDDY_H

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

#include "core/buddy_core.h"

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
 * @inode: address space of mappings of block fds whose block has no tail
 * @places: numbers of the places of scattered blocks
 *
 * @lock: protects all members below, and the members of its blocks, units and
 *        files that say so
 * @core: the tree; its granules are units
 * @units: by number: the unit where it is cut up, else NULL
 * @private: free pages in units that are cut up
 * @blocks: all blocks that are not free, by offset
 * @nr_blocks: those in state BUDDY_EXTENT_USED
 * @allocs: blocks ever allocated
 * @frees: blocks ever come back
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
	struct inode *inode;
	struct ida places;

	spinlock_t lock;	/* protects all from here to poll_ms */
	struct buddy_core core;
	struct buddy_unit **units;
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

/* Units by their largest free node: an order below BUDDY_UNIT_ORDER, or all. */
#define BUDDY_ARENA_LISTS (21 - PAGE_SHIFT + 1)

/**
 * struct buddy_unit - a unit that is cut up
 * @region: the region
 * @number: of the unit in the region
 * @faults: faults into the unit read; the reference test writes. Protects
 *          @faulted
 * @faulted: something may refer to a page of the unit: there was a fault since
 *           the last reference test that succeeded
 *
 * @inode: of the file that cut it up: all mappings of its blocks are there
 * @maps: VMAs that have a part of it, or of a block that has; not fewer
 *
 * Under region->lock:
 * @aliased: there was a piece of a scattered block in it, mapped elsewhere
 * @owner: the one file that gets blocks from it; NULL when that is closed
 * @arena: in owner->arena, while it has a free page
 * @owned: in owner->units
 * @core: what of it is free; its granules are pages
 * @core_mem: the metadata of @core
 */
struct buddy_unit {
	struct buddy_region *region;
	u32 number;
	struct rw_semaphore faults;
	bool faulted;
	struct inode *inode;
	atomic_t maps;

	bool aliased;
	struct buddy_file *owner;
	struct list_head arena;
	struct list_head owned;
	struct buddy_core core;
	u64 core_mem[];
};

/**
 * struct buddy_file - an open file of a region's node
 * @region: the region; outlives the file, which pins the module
 * @opener: the process that opened it
 * @uid: its effective user at that time
 * @inode: address space of its mappings, and of block fds of its small blocks;
 *         its size is what makes the kernel map whole folios. One for each file,
 *         so that no file waits for another's
 * @handles: handle to block; its own lock protects it. An entry holds a
 *           reference to its block
 * @next_handle: where the search for a free handle starts
 * @arena: units with free pages, by the order of the largest free node; under
 *         region->lock
 * @units: all its units; under region->lock
 * @private: free pages in these; under region->lock
 */
struct buddy_file {
	struct buddy_region *region;
	struct pid *opener;
	kuid_t uid;
	struct inode *inode;
	struct xarray handles;
	u32 next_handle;
	struct list_head arena[BUDDY_ARENA_LISTS];
	struct list_head units;
	u32 private;
};

/**
 * struct buddy_kblock - a range of the region that is not free, or a scattered block
 * @region: the region
 * @first: first page, from the start of the region; of a scattered block, of its
 *         place beyond the region, where it is mapped
 * @pages: length, exact: whole units, then the tail
 * @tail: the unit that is cut up and has what is more than whole units, or NULL; of
 *        a scattered block, that of its last piece
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
 * @owner: the file that allocated it, while that has a handle of it (or maps it
 *         without one), and so is there
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
	u64 first;
	u32 pages;
	struct buddy_unit *tail;
	refcount_t refs;
	bool touched;

	struct rb_root pieces;
	bool askew;
	struct rb_node sibling;
	u64 alias;

	struct buddy_file *owner;
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

/* All units that are cut up and have pages of a block. */
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

/* arena.c */
struct buddy_unit *buddy_unit_create(struct buddy_region *region);
void buddy_unit_destroy(struct buddy_unit *unit);
long buddy_arena_alloc(struct buddy_file *file, struct buddy_kblock *block,
		       u32 align);
void buddy_arena_adopt(struct buddy_file *file, struct buddy_unit *unit,
		       u32 number, struct buddy_kblock *block);
struct buddy_unit *buddy_arena_free(struct buddy_kblock *block);
int buddy_arena_take(struct buddy_unit *unit, u32 at, u32 pages);
struct buddy_unit *buddy_arena_dissolve(struct buddy_kblock *block);
u32 buddy_arena_largest(struct buddy_file *file);
void buddy_arena_init(struct buddy_file *file);
void buddy_arena_abandon(struct buddy_file *file);

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
long buddy_kblock_place(struct buddy_kblock *block, u32 align,
			struct buddy_help *help);
struct buddy_kblock *buddy_kblock_alloc(struct buddy_file *file, u32 pages,
					u32 align);

/* file.c */
struct buddy_file *buddy_file_create(struct buddy_region *region);
void buddy_file_destroy(struct buddy_file *file);
void buddy_kblock_put(struct buddy_kblock *block);
int buddy_handle_reserve(struct buddy_file *file, u32 *handle);
void buddy_handle_cancel(struct buddy_file *file, u32 handle);
void buddy_handle_publish(struct buddy_file *file, u32 handle,
			  struct buddy_kblock *block);
struct buddy_kblock *buddy_handle_get(struct buddy_file *file, u32 handle);
int buddy_handle_free(struct buddy_file *file, u32 handle);

/* scatter.c */
struct buddy_kblock *buddy_scatter_alloc(struct buddy_file *file, u32 pages);
struct buddy_kblock *buddy_scatter_piece(struct buddy_kblock *block, u64 page);
void buddy_scatter_free(struct buddy_kblock *block);
void buddy_scatter_disown(struct buddy_kblock *block);

/* resize.c */
int buddy_kblock_trim(struct buddy_file *file, u32 handle, u32 pages);
int buddy_kblock_grow(struct buddy_file *file, u32 handle, u32 pages);

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
