// SPDX-License-Identifier: GPL-2.0-only
/*
 * unit.c - split units: small blocks, and the tails of large ones.
 *
 * A split unit belongs to one open file at a time, so that two owners never share a
 * huge page, and a pinned page delays only the owner of its neighbors. Owns struct
 * buddy_unit and file->free_units; there is one for each unit of the region, from load
 * to unload, so that splitting a unit allocates nothing and no pointer to one dangles.
 *
 * Invariants, under region->lock: unit->file is set exactly while the unit is split; the
 * unit is in the list of its file that names its largest free node, and in none if it
 * has no free page. A unit without blocks goes back to the
 * region's tree at once. Each block in a unit has a reference to the file, so the unit
 * needs none.
 */
#include <linux/vmalloc.h>

#include "buddy.h"

/* The list of the file that names the largest free node of the unit. */
static void unit_relist(struct buddy_unit *unit)
{
	u32 largest = buddy_bits_largest(&unit->bits);

	if (largest == unit->listed)
		return;
	unit->listed = largest;
	list_del_init(&unit->free);
	if (largest)
		list_add(&unit->free, &unit->file->free_units[ilog2(largest)]);
}

/* @pages less are free in the unit (more if it is negative). */
static void unit_account(struct buddy_unit *unit, s32 pages)
{
	unit->file->region->private -= pages;
	unit->file->private -= pages;
	unit_relist(unit);
}

/* The unit has the tail of the block. The reference test reads @aliased unlocked. */
static void unit_set_tail(struct buddy_unit *unit, struct buddy_kblock *block)
{
	block->tail = unit;
	if (block->alias)
		WRITE_ONCE(unit->aliased, true);
}

/**
 * buddy_unit_alloc() - find room for a small block in a split unit of its file
 * @block: of less than a unit; its first and tail are filled
 * @align: as for buddy_bits_alloc(); less than a unit
 *
 * Return: 0, or -ENOMEM if no unit has room. With region->lock.
 */
int buddy_unit_alloc(struct buddy_kblock *block, u32 align)
{
	struct buddy_file *file = block->file;
	struct buddy_unit *unit;
	long at;

	lockdep_assert_held(&block->region->lock);
	/* the smallest node that holds it, whatever its unit */
	for (u32 k = order_base_2(max(block->pages, align));
	     k < ARRAY_SIZE(file->free_units); k++) {
		unit = list_first_entry_or_null(&file->free_units[k],
						struct buddy_unit, free);
		if (!unit)
			continue;
		at = buddy_bits_alloc(&unit->bits, block->pages, align);
		if (WARN_ON_ONCE(at < 0))
			return at;
		unit_set_tail(unit, block);
		block->first = unit->number * BUDDY_UNIT_PAGES + at;
		unit_account(unit, block->pages);
		return 0;
	}
	return -ENOMEM;
}

/**
 * buddy_unit_split() - split a unit for the tail of a block
 * @block: gets its tail from the start of the unit
 * @number: of the unit, which the caller took from the region's tree
 *
 * With region->lock.
 */
void buddy_unit_split(struct buddy_kblock *block, u32 number)
{
	struct buddy_unit *unit = &block->region->units[number];
	u32 pages = buddy_kblock_tail(block);

	lockdep_assert_held(&block->region->lock);
	unit->file = block->file;
	unit->faulted = false;
	unit->aliased = false;
	buddy_bits_init(&unit->bits, BUDDY_UNIT_PAGES);
	buddy_bits_alloc(&unit->bits, pages, 0);
	unit_set_tail(unit, block);
	unit_account(unit, (s32)pages - (s32)BUDDY_UNIT_PAGES);
}

/* The unit is not split any more; its place in the region's tree is the caller's. */
static void unit_leave(struct buddy_unit *unit)
{
	unit_account(unit, unit->bits.free);
	list_del_init(&unit->free);
	unit->listed = 0;
	unit->file = NULL;
}

/**
 * buddy_unit_take() - take one more range of a unit for a block
 * @unit: the unit
 * @at: first page in the unit
 * @pages: length
 *
 * With region->lock.
 *
 * Return: 0, or -EBUSY if a part is in use, or beyond the unit.
 */
int buddy_unit_take(struct buddy_unit *unit, u32 at, u32 pages)
{
	lockdep_assert_held(&unit->file->region->lock);
	if (buddy_bits_take(&unit->bits, at, pages))
		return -EBUSY;
	unit_account(unit, pages);
	return 0;
}

/**
 * buddy_unit_dissolve() - make a split unit a whole unit of the block that is alone in it
 * @block: has a tail, which starts the unit; nothing else is in that
 *
 * With region->lock. The unit stays taken in the region's tree.
 */
void buddy_unit_dissolve(struct buddy_kblock *block)
{
	lockdep_assert_held(&block->region->lock);
	unit_leave(block->tail);
	block->tail = NULL;
}

/**
 * buddy_unit_free() - free the tail of a block
 * @block: its pages are unreachable and zero
 *
 * With region->lock. A unit that has no block any more goes back to the region's tree.
 */
void buddy_unit_free(struct buddy_kblock *block)
{
	struct buddy_unit *unit = block->tail;
	u32 pages = buddy_kblock_tail(block);
	int err = buddy_bits_free(&unit->bits, buddy_kblock_tail_start(block), pages);

	lockdep_assert_held(&block->region->lock);
	WARN_ON_ONCE(err);
	unit_account(unit, -(s32)pages);
	if (unit->bits.free < BUDDY_UNIT_PAGES)
		return;
	unit_leave(unit);
	err = buddy_core_free(&block->region->core, unit->number, 1);
	WARN_ON_ONCE(err);
}

/**
 * buddy_unit_largest() - the largest free node in a file's units
 * @file: the file
 *
 * Return: pages, 0 if there is none. With region->lock.
 */
u32 buddy_unit_largest(struct buddy_file *file)
{
	lockdep_assert_held(&file->region->lock);
	for (u32 k = ARRAY_SIZE(file->free_units); k-- > 0;)
		if (!list_empty(&file->free_units[k]))
			return 1u << k;
	return 0;
}

/**
 * buddy_unit_table() - the units of a region, none of them split
 * @units: number of units
 * @node: NUMA node of the table
 *
 * Return: the table, for vfree(); or NULL.
 */
struct buddy_unit *buddy_unit_table(u32 units, int node)
{
	struct buddy_unit *table = vzalloc_node(array_size(units, sizeof(*table)), node);

	for (u32 i = 0; table && i < units; i++) {
		table[i].number = i;
		init_rwsem(&table[i].faults);
		INIT_LIST_HEAD(&table[i].free);
	}
	return table;
}
