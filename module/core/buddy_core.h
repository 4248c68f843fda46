/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * buddy_core.h - a binary buddy tree over offsets.
 *
 * The tree manages the granules 0 .. granules-1 of some memory that it never
 * touches. A granule is whatever the owner says: a page in the kernel module,
 * 64 bytes in a userspace pool. All sizes and offsets here are in granules.
 *
 * Terms
 *   order    a node of order k covers 2^k granules, at a multiple of 2^k
 *   node     a position of the implicit complete binary tree: (order, index)
 *   block    what alloc() or take() gave: an offset and a size, exact to the
 *            granule. A block is a sequence of nodes, each the largest that fits;
 *            for alloc() these are the binary digits of the size, the largest
 *            first, and a size of 2^k is one node
 *   slot     per order, one free node kept in the header and not in the bitmap
 *   map      per order, the other free nodes: a bitmap with 64-ary summaries
 *
 * Guarantees
 *   - The whole state is the caller's: struct buddy_core and one array, sized
 *     by buddy_core_bytes(). Nothing is allocated, nothing sleeps, nothing
 *     recurses, and the managed memory holds no metadata.
 *   - Placement is best fit by order, then lowest offset. Free buddies are
 *     always coalesced, so the set of free nodes is a function of the set of
 *     free granules alone.
 *   - alloc() and free() do at most a constant amount of work per order (there
 *     are at most 32), times the number of nodes of the block (at most 62) where
 *     the size is not a power of two.
 *   - free() accepts exactly the (offset, size) pairs that are allocated. Every
 *     other pair is refused and changes nothing.
 *
 * Locking: none here. The owner serialises all calls on one tree by one lock
 * and may register it (buddy_core_set_owner), so that lockdep checks this.
 */
#ifndef BUDDY_CORE_H
#define BUDDY_CORE_H

#include "buddy_port.h"

#define BUDDY_CORE_MAX_GRANULES	(1u << 31)
#define BUDDY_CORE_ORDERS	32
#define BUDDY_CORE_SUMS		6	/* 5 are enough for 2^31; 6 fill 64 bytes */

/**
 * struct buddy_word - the state of 64 neighbouring nodes of one order
 * @free: bit set and @used clear: the node is free and in the map
 * @used: bit set: the node is (part of) a block; with the @free bit set too,
 *        the block goes on in the node that follows
 *
 * Both bits of a node and of its buddy lie in the same 16 bytes.
 */
struct buddy_word {
	u64 free;
	u64 used;
};

/**
 * struct buddy_map - the nodes of one order
 * @word: node i is bit i % 64 of word i / 64
 * @sum: sum[0] has a bit for each word that has a free node, sum[l + 1] a bit
 *       for each non-zero word of sum[l]; sum[levels - 1] is a single word
 * @levels: number of summaries in use, 0 where one word holds all nodes
 * @count: free nodes in the map, without the slot
 */
struct buddy_map {
	struct buddy_word *word;
	u64 *sum[BUDDY_CORE_SUMS];
	u32 levels;
	u32 count;
};

/**
 * struct buddy_core - one tree
 * @slot_mask: bit k set: slot[k] holds a free node
 * @map_mask: bit k set: map[k] holds at least one free node
 * @granules: size of the tree
 * @cut: blocks of more than one node that exist
 * @free: free granules
 * @low_water: the least that @free ever was
 * @slot: lowest free node (see @slot_mask), else a bound: below all of map[k]
 * @map: the bitmaps, one an order
 * @allocs: successful calls of alloc(), take() and divide(); allocs - frees blocks
 *          exist
 * @frees: successful calls of free() and join()
 * @fails: calls of alloc() that found no memory
 * @bad_frees: calls of free() that were refused
 * @owner: lockdep map of the lock that serialises all calls, or NULL
 *
 * Read-only for the owner, under its lock.
 */
struct buddy_core {
	u32 slot_mask;
	u32 map_mask;
	u32 granules;
	u32 cut;
	u32 free;
	u32 low_water;
	u32 slot[BUDDY_CORE_ORDERS];
	u64 allocs;
	u64 frees;
	u64 fails;
	u64 bad_frees;
	struct lockdep_map *owner;
	struct buddy_map map[BUDDY_CORE_ORDERS];
};

/**
 * struct buddy_core_span - a free node or a whole block
 * @offset: first granule
 * @size: granules
 * @used: a block, not a free node
 */
struct buddy_core_span {
	u32 offset;
	u32 size;
	bool used;
};

/**
 * buddy_core_bytes() - size of the metadata array of a tree
 * @granules: 1 .. BUDDY_CORE_MAX_GRANULES
 *
 * A pure function: 4 bits a granule, plus 1/64 of that for the summaries and
 * a few hundred bytes (516 KiB for 4 GiB of 4 KiB pages).
 *
 * Return: bytes, or 0 where @granules is out of range.
 */
size_t buddy_core_bytes(u32 granules);

/**
 * buddy_core_init() - make a tree in which every granule is free
 * @core: the tree
 * @granules: 1 .. BUDDY_CORE_MAX_GRANULES; need not be a power of two
 * @mem: buddy_core_bytes(granules) bytes, aligned to 16, content ignored
 *
 * Return: 0, or -EINVAL where @granules is out of range.
 */
int buddy_core_init(struct buddy_core *core, u32 granules, void *mem);

/**
 * buddy_core_set_owner() - name the lock that serialises all calls
 * @core: the tree
 * @map: &lock.dep_map, or NULL
 */
static inline void buddy_core_set_owner(struct buddy_core *core,
					struct lockdep_map *map)
{
	core->owner = map;
}

/**
 * buddy_core_alloc() - allocate a block
 * @core: the tree
 * @size: granules, 1 or more
 * @align: 0, or a power of two: the offset is a multiple of it
 *
 * The offset is always a multiple of @size rounded up to a power of two. What
 * that power of two has beyond @size stays free. A block with an @align above
 * that is cut from a free node of @align granules. In a tree whose size is not
 * a power of two, a @size above the largest node is served from offset 0 while
 * that range is free.
 *
 * Return: the offset; -EINVAL (@size is 0, @align is no power of two);
 * -ENOMEM (no fitting node is free now, or @size is above the tree's).
 */
long buddy_core_alloc(struct buddy_core *core, u32 size, u32 align);

/**
 * buddy_core_free() - give a block back
 * @core: the tree
 * @offset: what alloc() returned
 * @size: what alloc() was asked for
 *
 * Return: 0; -EINVAL where no block starts at @offset with exactly @size.
 */
int buddy_core_free(struct buddy_core *core, u32 offset, u32 size);

/**
 * buddy_core_divide() - make two blocks of one
 * @core: the tree
 * @offset: of the block
 * @size: of the block
 * @first: size of the first of the two; the rest is the second
 *
 * Nothing becomes free.
 *
 * Return: 0; -EINVAL where there is no such block or no such division.
 */
int buddy_core_divide(struct buddy_core *core, u32 offset, u32 size, u32 first);

/**
 * buddy_core_join() - make one block of two that are neighbours
 * @core: the tree
 * @offset: of the first
 * @first: its size
 * @second: size of the one that starts where the first ends
 *
 * Return: 0; -EINVAL where one of them is no block.
 */
int buddy_core_join(struct buddy_core *core, u32 offset, u32 first, u32 second);

/**
 * buddy_core_take() - allocate this very range
 * @core: the tree
 * @offset: first granule, at any alignment
 * @size: granules, 1 or more
 *
 * For blocks that grow where they are, and memory that must never be handed out.
 *
 * Return: 0; -EINVAL (not a range of the tree); -EBUSY (a part is in use;
 * nothing was taken).
 */
int buddy_core_take(struct buddy_core *core, u32 offset, u32 size);

/**
 * buddy_core_find() - the free node or block that a granule lies in
 * @core: the tree
 * @offset: a granule
 * @span: the answer
 *
 * To walk the tree in order of offset, start at 0 and go on at
 * span.offset + span.size; the lock may be dropped between two calls.
 *
 * Return: 0, or -EINVAL where @offset is beyond the tree.
 */
int buddy_core_find(const struct buddy_core *core, u32 offset,
		    struct buddy_core_span *span);

/**
 * buddy_core_is_free() - is a granule free?
 * @core: the tree
 * @offset: a granule of the tree
 * @first: if so: the first granule of its node
 *
 * Return: true or false.
 */
bool buddy_core_is_free(const struct buddy_core *core, u32 offset, u32 *first);

/**
 * buddy_core_largest() - the largest free node
 * @core: the tree
 *
 * Return: granules, 0 where the tree is full.
 */
u32 buddy_core_largest(const struct buddy_core *core);

/**
 * buddy_core_count() - number of free nodes of an order
 * @core: the tree
 * @order: 0 .. BUDDY_CORE_ORDERS - 1
 *
 * Return: the number.
 */
u32 buddy_core_count(const struct buddy_core *core, u32 order);

/**
 * buddy_core_fragmentation() - external fragmentation index
 * @core: the tree
 *
 * 1 - largest free node / free granules, in 1/1000: 0 where all that is free
 * is one node (or nothing is free), near 1000 where it is all in crumbs.
 *
 * Return: 0 .. 1000.
 */
u32 buddy_core_fragmentation(const struct buddy_core *core);

/**
 * buddy_core_check() - verify every invariant of the tree
 * @core: the tree
 *
 * For tests and debugging: the work is proportional to the tree.
 *
 * Return: NULL, or a sentence naming the broken invariant.
 */
const char *buddy_core_check(const struct buddy_core *core);

#endif /* BUDDY_CORE_H */
