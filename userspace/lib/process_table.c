// SPDX-License-Identifier: MIT
/*
 * process_table.c - the blocks of the process backend, by handle.
 *
 * An array of slots, which only grows. A handle has the number of its slot, from 1, in its
 * lower half, and in its upper half how often the slot had a block before. So no handle is
 * issued twice: a slot that has used up its numbers has no more blocks.
 *
 * All is called with the lock of the process_dev.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

#define FIRST_ROOM	160	/* slots of the first array: less than a page */
#define NEXT_USE	(1ull << 32)

void buddy_process_table_reset(struct process_table *table)
{
	free(table->slots);
	*table = (struct process_table){ 0 };
}

/*
 * fork() may come from another thread at any moment, and the child frees what it finds in
 * table->slots: an array is freed when it is no longer there.
 */
static int enlarge(struct process_table *table)
{
	uint32_t room = table->room ? 2 * table->room : FIRST_ROOM;
	struct process_block *old = table->slots, *slots = NULL;
	size_t bytes;

	if (room > table->room && !check_mul_overflow((size_t)room, sizeof(*slots), &bytes))
		slots = malloc(bytes);
	if (!slots)
		return -ENOMEM;
	if (table->nr)
		memcpy(slots, old, table->nr * sizeof(*slots));
	table->slots = slots;
	table->room = room;
	free(old);
	return 0;
}

int buddy_process_table_reserve(struct process_table *table)
{
	return table->empty < table->nr || table->nr < table->room ? 0 : enlarge(table);
}

uint64_t buddy_process_table_insert(struct process_table *table,
				    const struct process_block *block)
{
	uint32_t number = table->empty;
	struct process_block *slot = &table->slots[number];
	uint64_t handle;

	/* The last empty slot names table->nr, which is the same until then. */
	if (number == table->nr) {
		table->empty = ++table->nr;
		handle = table->nr;
	} else {
		table->empty = slot->first;
		handle = slot->handle + NEXT_USE;
	}
	*slot = *block;
	slot->handle = handle;
	return handle;
}

struct process_block *buddy_process_table_find(const struct process_table *table,
					       uint64_t handle)
{
	uint32_t number = (uint32_t)handle - 1;
	struct process_block *block;

	if (number >= table->nr)
		return NULL;
	block = &table->slots[number];
	return block->granules && block->handle == handle ? block : NULL;
}

void buddy_process_table_remove(struct process_table *table, struct process_block *block)
{
	block->granules = 0;
	if (block->handle + NEXT_USE < NEXT_USE)
		return;
	block->first = table->empty;
	table->empty = (uint32_t)(block - table->slots);
}
