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

#define NAIVE_WORDS (NAIVE_MAX / 64)

struct naive {
	unsigned int granules;
	uint64_t used[NAIVE_WORDS];
};

/* What of a range lies in a word, as bits of that word. */
static inline uint64_t naive_bits(unsigned int word, unsigned int offset,
				  unsigned int size)
{
	unsigned int start = 64 * word, end = start + 64;
	unsigned int from = offset > start ? offset : start;
	unsigned int to = offset + size < end ? offset + size : end;

	if (from >= to)
		return 0;
	return ~0ull >> (64 - (to - from)) << (from - start);
}

static inline bool naive_is_free(const struct naive *n, unsigned int offset,
				 unsigned int size)
{
	for (unsigned int i = 0; i < NAIVE_WORDS; i++)
		if (n->used[i] & naive_bits(i, offset, size))
			return false;
	return true;
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

	for (unsigned int i = 0; i < NAIVE_WORDS; i++)
		for (uint64_t bits = n->used[i]; bits; bits &= bits - 1)
			used++;
	return n->granules - used;
}

/* Does the node of this order at this offset lie in the tree, and is it free? */
static inline bool naive_has_node(const struct naive *n, unsigned int order,
				  unsigned int at)
{
	unsigned int unit = 1u << order;

	return at + unit <= n->granules && naive_is_free(n, at, unit);
}

/* Takes this very range; false where a part is in use. */
static inline bool naive_take(struct naive *n, unsigned int offset,
			      unsigned int size)
{
	if (!naive_is_free(n, offset, size))
		return false;
	for (unsigned int i = 0; i < NAIVE_WORDS; i++)
		n->used[i] |= naive_bits(i, offset, size);
	return true;
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
		/* The smallest free node that fits is not half of a free one. */
		for (unsigned int at = 0; at < n->granules; at += 1u << k) {
			unsigned int parent = at >> (k + 1) << (k + 1);

			if (naive_has_node(n, k, at) &&
			    !(k < top && naive_has_node(n, k + 1, parent))) {
				found = at;
				break;
			}
		}
	}
	if (order > top && naive_is_free(n, 0, size))
		found = 0;
	if (found >= 0)
		naive_take(n, (unsigned int)found, size);
	return found;
}

static inline void naive_free(struct naive *n, unsigned int offset,
			      unsigned int size)
{
	for (unsigned int i = 0; i < NAIVE_WORDS; i++)
		n->used[i] &= ~naive_bits(i, offset, size);
}

#endif /* NAIVE_H */
