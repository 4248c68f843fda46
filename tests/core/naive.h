/* SPDX-License-Identifier: MIT */
/*
 * naive.h - a second implementation of the tree, slow in spirit: one bit a
 * granule and nothing else, for trees of up to 128 granules.
 *
 * The set of used granules determines every answer of the tree (free buddies
 * are always merged), so this predicts the exact offset of each allocation.
 * It shares no code with module/core.
 */
#ifndef NAIVE_H
#define NAIVE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
#endif

#define NAIVE_MAX 128

typedef unsigned __int128 naive_bits;

struct naive {
	unsigned int granules;
	naive_bits used;
};

static inline naive_bits naive_range(unsigned int offset, unsigned int size)
{
	naive_bits ones = size == NAIVE_MAX ? ~(naive_bits)0 :
					      ((naive_bits)1 << size) - 1;

	return ones << offset;
}

static inline unsigned int naive_order(unsigned int size)
{
	unsigned int order = 0;

	while (1ull << order < size)
		order++;
	return order;
}

static inline unsigned int naive_free_granules(const struct naive *n)
{
	unsigned int used = 0;

	for (naive_bits bits = n->used; bits; bits &= bits - 1)
		used++;
	return n->granules - used;
}

/* Bit i set: the node of this order at offset i lies in the tree and is free. */
static inline naive_bits naive_free_nodes(const struct naive *n,
					  unsigned int order)
{
	naive_bits nodes = 0;
	unsigned int unit = 1u << order;

	for (unsigned int at = 0; at + unit <= n->granules; at += unit)
		if (!(n->used & naive_range(at, unit)))
			nodes |= (naive_bits)1 << at;
	return nodes;
}

/* The offset that the tree must choose, or -1 where it must fail. */
static inline long naive_alloc(struct naive *n, unsigned int size,
			       unsigned int align)
{
	unsigned int order = naive_order(size > align ? size : align);
	unsigned int top = naive_order(n->granules + 1) - 1;
	long found = -1;

	if (size > n->granules)
		return -1;
	for (unsigned int k = order; k <= top && found < 0; k++) {
		naive_bits nodes = naive_free_nodes(n, k), above = 0;

		if (k < top)
			above = naive_free_nodes(n, k + 1);
		/* The smallest free node that fits is not half of a free one. */
		for (unsigned int at = 0; at < n->granules; at += 1u << k) {
			unsigned int parent = at >> (k + 1) << (k + 1);

			if ((nodes >> at & 1) && !(above >> parent & 1)) {
				found = at;
				break;
			}
		}
	}
	if (order > top && !(n->used & naive_range(0, size)))
		found = 0;
	if (found >= 0)
		n->used |= naive_range((unsigned int)found, size);
	return found;
}

/* Takes this very range; false where a part is in use. */
static inline bool naive_take(struct naive *n, unsigned int offset,
			      unsigned int size)
{
	if (n->used & naive_range(offset, size))
		return false;
	n->used |= naive_range(offset, size);
	return true;
}

static inline void naive_free(struct naive *n, unsigned int offset,
			      unsigned int size)
{
	n->used &= ~naive_range(offset, size);
}

#endif /* NAIVE_H */
