/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * buddy_bits.h - which pages of one unit are free: a buddy tree in two bitmaps.
 *
 * For up to 512 pages a tree (buddy_core.h) has more metadata than it manages: 32
 * orders, with a bitmap and a slot each. Here the pages themselves have the bits, and
 * of the free nodes there is only their number by order; the place of a node is computed
 * from the bits of its pages. The contract is that of the tree: the same coalescing, and
 * the same refusals, which a test holds by replay against it. Where a range is to lie, the
 * placement decides (buddy_place.h), by runs of free pages, of which the map tells.
 *
 * Terms
 *   node     2^k pages at a multiple of 2^k, free as a whole, with a buddy that is not:
 *            what a tree would have in its free lists of order k
 *   range    what take() gave: an offset and a length in pages
 *
 * The work of a call is bounded by the number of orders (10) and of words (8).
 *
 * Locking: none here; the owner serializes all calls on one map.
 */
#ifndef BUDDY_BITS_H
#define BUDDY_BITS_H

#include "buddy_port.h"

#define BUDDY_BITS_PAGES	512
#define BUDDY_BITS_WORDS	(BUDDY_BITS_PAGES / 64)
#define BUDDY_BITS_ORDERS	10	/* 0 .. 9 */

struct buddy_core_span;

/**
 * struct buddy_bits - the pages of one unit
 * @used: bit set: the page is part of a range
 * @start: bit set: a range begins at the page; @used is set as well
 * @nodes: number of free nodes by order, packed; buddy_bits_count()
 * @pages: number of pages, a power of two
 * @free: free pages
 *
 * Read-only for the owner, under its lock.
 */
struct buddy_bits {
	u64 used[BUDDY_BITS_WORDS];
	u64 start[BUDDY_BITS_WORDS];
	u64 nodes;
	u16 pages;
	u16 free;
};

/**
 * buddy_bits_init() - make a map in which all pages are free
 * @bits: the map
 * @pages: 1 .. BUDDY_BITS_PAGES, a power of two
 */
void buddy_bits_init(struct buddy_bits *bits, u32 pages);

/**
 * buddy_bits_take() - allocate this very range
 * @bits: the map
 * @at: first page, at any alignment
 * @pages: length, 1 or more
 *
 * Return: 0; -EINVAL (not a range of the map); -EBUSY (a part is in use; nothing was
 * taken).
 */
int buddy_bits_take(struct buddy_bits *bits, u32 at, u32 pages);

/**
 * buddy_bits_free() - free a range
 * @bits: the map
 * @at: first page
 * @pages: length
 *
 * Return: 0; -EINVAL if no range starts at @at with exactly @pages; then nothing is
 * changed.
 */
int buddy_bits_free(struct buddy_bits *bits, u32 at, u32 pages);

/**
 * buddy_bits_divide() - make two ranges of one
 * @bits: the map
 * @at: first page
 * @pages: length
 * @first: length of the first of the two
 *
 * Return: 0; -EINVAL if there is no such range or no such division.
 */
int buddy_bits_divide(struct buddy_bits *bits, u32 at, u32 pages, u32 first);

/**
 * buddy_bits_join() - make one range of two neighbors
 * @bits: the map
 * @at: first page of the first
 * @first: its length
 * @second: length of the one that starts where the first ends
 *
 * Return: 0; -EINVAL if one of them is no range.
 */
int buddy_bits_join(struct buddy_bits *bits, u32 at, u32 first, u32 second);

/**
 * buddy_bits_find() - the node or range that a page lies in
 * @bits: the map
 * @at: a page of the map
 * @span: the answer
 */
void buddy_bits_find(const struct buddy_bits *bits, u32 at,
		     struct buddy_core_span *span);

/**
 * buddy_bits_largest() - the largest free node
 * @bits: the map
 *
 * Return: pages, 0 if none is free.
 */
u32 buddy_bits_largest(const struct buddy_bits *bits);

/**
 * buddy_bits_fit() - the first place for a range, at any node
 * @bits: the map
 * @pages: 1 or more
 * @align: a power of two up to BUDDY_BITS_PAGES: the offset is a multiple of it
 *
 * Return: the offset, for buddy_bits_take(); -ENOMEM if there is none.
 */
long buddy_bits_fit(const struct buddy_bits *bits, u32 pages, u32 align);

/**
 * buddy_bits_is_free() - are all pages of a range free?
 * @bits: the map
 * @at: first page
 * @pages: length; it ends in the map
 *
 * Return: true or false.
 */
bool buddy_bits_is_free(const struct buddy_bits *bits, u32 at, u32 pages);

/**
 * buddy_bits_run() - the run of free pages around a page
 * @bits: the map
 * @at: a free page
 * @first: the first page of the run
 *
 * Return: its length.
 */
u32 buddy_bits_run(const struct buddy_bits *bits, u32 at, u32 *first);

/**
 * buddy_bits_head() - the free pages at the start
 * @bits: the map
 *
 * Return: number of pages.
 */
u32 buddy_bits_head(const struct buddy_bits *bits);

/**
 * buddy_bits_tail() - the free pages at the end
 * @bits: the map
 *
 * Return: number of pages.
 */
u32 buddy_bits_tail(const struct buddy_bits *bits);

/**
 * buddy_bits_longest() - the longest run of free pages
 * @bits: the map
 * @first: its first page, if it is not 0; the lowest of several
 *
 * Return: its length.
 */
u32 buddy_bits_longest(const struct buddy_bits *bits, u32 *first);

/**
 * buddy_bits_count() - number of free nodes of an order
 * @bits: the map
 * @order: 0 .. BUDDY_BITS_ORDERS - 1
 *
 * Return: the number.
 */
u32 buddy_bits_count(const struct buddy_bits *bits, u32 order);

#endif /* BUDDY_BITS_H */
