// SPDX-License-Identifier: MIT
/*
 * table.c - the handles of an arena: a hash table with open addressing.
 *
 * Handles are given in sequence, so a multiplicative hash spreads what a program
 * keeps of them whatever its stride. Removal closes the gap (no tombstones): a
 * search ends at the first empty place.
 */
#include <stdlib.h>

#include "table.h"

#define FIRST_BITS	6

static uint32_t home_of(const struct arena *arena, uint64_t handle)
{
	return (uint32_t)(handle * 0x9e3779b97f4a7c15u >> (64 - arena->table_bits));
}

static uint32_t mask_of(const struct arena *arena)
{
	return (1u << arena->table_bits) - 1;
}

int table_init(struct arena *arena)
{
	arena->table_bits = FIRST_BITS;
	arena->table = calloc(1u << FIRST_BITS, sizeof(*arena->table));
	return arena->table ? 0 : -ENOMEM;
}

struct arena_block *table_find(struct arena *arena, uint64_t handle)
{
	uint32_t mask = mask_of(arena);

	if (!handle)
		return NULL;
	for (uint32_t i = home_of(arena, handle);; i = (i + 1) & mask) {
		if (arena->table[i].handle == handle)
			return &arena->table[i];
		if (!arena->table[i].handle)
			return NULL;
	}
}

void table_add(struct arena *arena, const struct arena_block *block)
{
	uint32_t mask = mask_of(arena);
	uint32_t i = home_of(arena, block->handle);

	while (arena->table[i].handle)
		i = (i + 1) & mask;
	arena->table[i] = *block;
	arena->count++;
}

int table_reserve(struct arena *arena)
{
	struct arena_block *old = arena->table;
	uint32_t places = 1u << arena->table_bits;

	if (arena->count < places / 2)
		return 0;
	arena->table = calloc((size_t)places * 2, sizeof(*old));
	if (!arena->table) {
		arena->table = old;
		return -ENOMEM;
	}
	arena->table_bits++;
	arena->count = 0;
	for (uint32_t i = 0; i < places; i++)
		if (old[i].handle)
			table_add(arena, &old[i]);
	free(old);
	return 0;
}

void table_remove(struct arena *arena, struct arena_block *block)
{
	struct arena_block *table = arena->table;
	uint32_t mask = mask_of(arena);
	uint32_t hole = (uint32_t)(block - table);

	for (uint32_t i = (hole + 1) & mask; table[i].handle; i = (i + 1) & mask) {
		uint32_t home = home_of(arena, table[i].handle);

		/* it may move to the hole if its home is not between the two */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			table[hole] = table[i];
			hole = i;
		}
	}
	table[hole].handle = 0;
	arena->count--;
}
