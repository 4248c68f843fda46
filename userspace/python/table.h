/* SPDX-License-Identifier: MIT */
/*
 * table.h - from a handle to its block, for arena.c alone, under its lock.
 */
#ifndef BUDDY_PYTHON_TABLE_H
#define BUDDY_PYTHON_TABLE_H

#include "arena.h"

/** table_init() - an empty table; 0 or -ENOMEM */
int table_init(struct arena *arena);

/** table_find() - the place of a handle, or NULL. Valid until the next add or remove. */
struct arena_block *table_find(struct arena *arena, uint64_t handle);

/** table_reserve() - room for one more; 0 or -ENOMEM */
int table_reserve(struct arena *arena);

/** table_add() - add it; table_reserve() has succeeded */
void table_add(struct arena *arena, const struct arena_block *block);

/** table_remove() - the place is free again */
void table_remove(struct arena *arena, struct arena_block *block);

#endif /* BUDDY_PYTHON_TABLE_H */
