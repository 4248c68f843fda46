/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * buddy_nodes.h - single nodes of the tree: which are free, which are used,
 * and the bitmaps and slots that say so. Private to the core.
 *
 * Every function here is bounded by the number of summary levels (at most 5) or
 * of orders (32). @offset of a node is a multiple of 2^order.
 */
#ifndef BUDDY_NODES_H
#define BUDDY_NODES_H

#include "buddy_core.h"

static inline struct buddy_word *word_of(const struct buddy_core *core,
					 u32 order, u32 offset)
{
	return &core->map[order].word[(offset >> order) / 64];
}

/* The node's bit in its word. */
static inline u64 bit_of(u32 order, u32 offset)
{
	return 1ull << (offset >> order) % 64;
}

/* Compilers make one instruction of this, and three of an AND with bit_of(). */
static inline bool bit_test(u64 bits, u32 order, u32 offset)
{
	return bits >> (offset >> order) % 64 & 1;
}

/*
 * The map of one order
 */

static inline u64 free_bits(const struct buddy_word *word)
{
	return word->free & ~word->used;
}

static inline bool map_has(const struct buddy_core *core, u32 order, u32 offset)
{
	return bit_test(free_bits(word_of(core, order, offset)), order, offset);
}

static inline void map_set(struct buddy_core *core, u32 order, u32 offset)
{
	struct buddy_map *map = &core->map[order];
	u32 index = offset >> order;
	struct buddy_word *word = &map->word[index / 64];
	bool was_empty = !free_bits(word);

	word->free |= 1ull << (index % 64);
	map->count++;
	core->map_mask |= 1u << order;
	for (u32 l = 0; was_empty && l < map->levels; l++) {
		u64 *sum;

		index /= 64;
		sum = &map->sum[l][index / 64];
		was_empty = !*sum;
		*sum |= 1ull << (index % 64);
	}
}

/* @word: the word of the node, which is in the map. */
static inline void map_clear(struct buddy_core *core, u32 order, u32 offset,
			     struct buddy_word *word)
{
	struct buddy_map *map = &core->map[order];
	u32 index = offset >> order;
	bool is_empty;

	word->free &= ~bit_of(order, offset);
	if (!--map->count)
		core->map_mask ^= 1u << order;
	is_empty = !free_bits(word);
	for (u32 l = 0; unlikely(is_empty) && l < map->levels; l++) {
		u64 *sum;

		index /= 64;
		sum = &map->sum[l][index / 64];
		*sum ^= 1ull << (index % 64);
		is_empty = !*sum;
	}
}

/* Takes the lowest node of a map that is not empty. */
static inline u32 map_take(struct buddy_core *core, u32 order)
{
	struct buddy_map *map = &core->map[order];
	struct buddy_word *word;
	u32 index = 0;

	for (u32 l = map->levels; l-- > 0;)
		index = 64 * index + buddy_ctz64(map->sum[l][index]);
	word = &map->word[index];
	index = 64 * index + buddy_ctz64(free_bits(word));
	map_clear(core, order, index << order, word);
	return index << order;
}

/*
 * The free nodes of one order: slot and map together
 */

static inline void node_insert(struct buddy_core *core, u32 order, u32 offset)
{
	u32 unit = 1u << order, lowest = core->slot[order];

	if (offset <= lowest || !((core->slot_mask | core->map_mask) & unit)) {
		core->slot[order] = offset;
		if (!(core->slot_mask & unit)) {
			core->slot_mask |= unit;
			return;
		}
		offset = lowest;
	}
	map_set(core, order, offset);
}

/* Takes this node if it is free. @unit: 2^order, which the caller has. */
static inline bool node_claim(struct buddy_core *core, u32 order, u32 unit,
			      u32 offset)
{
	struct buddy_word *word;

	if (core->slot[order] == offset && core->slot_mask & unit) {
		core->slot_mask ^= unit;
		return true;
	}
	if (!(core->map_mask & unit))
		return false;
	word = word_of(core, order, offset);
	if (!bit_test(free_bits(word), order, offset))
		return false;
	map_clear(core, order, offset, word);
	return true;
}

/*
 * Used nodes
 */

static inline bool node_is_used(const struct buddy_core *core, u32 order,
				u32 offset)
{
	return bit_test(word_of(core, order, offset)->used, order, offset);
}

/* The block of this node goes on in the node that follows. */
static inline bool node_goes_on(const struct buddy_core *core, u32 order,
				u32 offset)
{
	const struct buddy_word *word = word_of(core, order, offset);

	return bit_test(word->used & word->free, order, offset);
}

/*
 * The order of the node that ends at @offset and goes on there, or
 * BUDDY_CORE_ORDERS.
 */
static inline u32 predecessor(const struct buddy_core *core, u32 offset)
{
	u32 above = offset & -offset;

	for (u32 p = 0; above; p++, above >>= 1)
		if (node_goes_on(core, p, offset - (1u << p)))
			return p;
	return BUDDY_CORE_ORDERS;
}

/* The order of the free node that holds @offset, or BUDDY_CORE_ORDERS. */
static inline u32 free_node_at(const struct buddy_core *core, u32 offset)
{
	u32 orders = core->slot_mask | core->map_mask;

	for (; orders; orders &= orders - 1) {
		u32 order = buddy_ctz32(orders), unit = 1u << order;
		u32 start = offset & -unit;

		if ((core->slot[order] == start && core->slot_mask & unit) ||
		    (core->map_mask & unit && map_has(core, order, start)))
			return order;
	}
	return BUDDY_CORE_ORDERS;
}

#endif /* BUDDY_NODES_H */
