// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_core_check.c - the invariants of buddy_core.c, verified.
 *
 * Reads the structures directly and shares no helper with the code it checks.
 * Owns nothing, changes nothing.
 */
#include "buddy_core.h"

static bool test_bit64(const u64 *words, u64 bit)
{
	return words[bit / 64] >> (bit % 64) & 1;
}

static bool in_map(const struct buddy_map *map, u64 index)
{
	const struct buddy_word *word = &map->word[index / 64];

	return (word->free & ~word->used) >> (index % 64) & 1;
}

static const char *check_summaries(const struct buddy_map *map, u64 words)
{
	for (u64 w = 0; map->levels && w < words; w++)
		if (test_bit64(map->sum[0], w) !=
		    !!(map->word[w].free & ~map->word[w].used))
			return "the first summary differs from the words";
	for (u32 l = 1; l < map->levels; l++) {
		words = (words + 63) / 64;
		for (u64 w = 0; w < words; w++)
			if (test_bit64(map->sum[l], w) != !!map->sum[l - 1][w])
				return "a summary differs from the one below it";
	}
	return NULL;
}

/* One order; adds what its free and used nodes cover to @covered. */
static const char *check_order(const struct buddy_core *core, u32 order,
			       u64 *free, u64 *used)
{
	const struct buddy_map *map = &core->map[order];
	u64 nodes = ((core->granules - 1) >> order) + 1, in_maps = 0;
	u64 slot = core->slot[order] >> order;
	bool filled = core->slot_mask >> order & 1;

	if (!!map->count != (core->map_mask >> order & 1))
		return "map_mask differs from the map's count";
	if (filled && (slot >= nodes || slot << order != core->slot[order]))
		return "the slot holds no node of its order";
	for (u64 i = 0; i < nodes; i++) {
		bool is_free = in_map(map, i) || (filled && slot == i);

		/* Were the buddy in the slot, the slot would not be below. */
		if (is_free && in_map(map, i ^ 1))
			return "two buddies are free";
		if (in_map(map, i) && i <= slot)
			return "the slot is not below the map";
		in_maps += in_map(map, i);
		*free += (u64)is_free << order;
		*used += (map->word[i / 64].used >> (i % 64) & 1) << order;
	}
	if (in_maps != map->count)
		return "the map's count is wrong";
	return check_summaries(map, (nodes + 63) / 64);
}

const char *buddy_core_check(const struct buddy_core *core)
{
	struct buddy_core_span e;
	u64 free = 0, used = 0;

	buddy_assert_owned(core);
	for (u32 order = 0; order < BUDDY_CORE_ORDERS; order++) {
		const char *why = check_order(core, order, &free, &used);

		if (why)
			return why;
	}
	if (free != core->free)
		return "the count of free granules is wrong";
	if (free + used != core->granules)
		return "free and used nodes do not add up to the tree";
	for (u32 at = 0; at < core->granules; at += e.size) {
		buddy_core_find(core, at, &e);
		if (e.offset != at || e.size > core->granules - at)
			return "blocks and free nodes do not tile the tree";
	}
	if (core->low_water > core->free)
		return "the low water mark is above the free granules";
	return NULL;
}
