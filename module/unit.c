// SPDX-License-Identifier: GPL-2.0-only
/*
 * unit.c - split units: small blocks, and the ends of large ones.
 *
 * A split unit belongs to one open file at a time, so that two owners never share a
 * huge page, and a pinned page delays only the owner of its neighbors. Which of its pages
 * are free, and where a block is to lie, is the placement's (core/buddy_place.h); here is
 * what else the module knows of it. There is a struct buddy_unit for each unit of the
 * region, from load to unload, so that splitting a unit allocates nothing and no pointer
 * to one dangles.
 *
 * Invariant, under region->lock: a split unit has a reference to its file.
 */
#include <linux/vmalloc.h>

#include "buddy.h"

/**
 * buddy_unit_open() - a unit is split from now on
 * @unit: the unit; the placement has split it for the file
 * @file: the file
 *
 * With region->lock.
 */
void buddy_unit_open(struct buddy_unit *unit, struct buddy_file *file)
{
	lockdep_assert_held(&file->region->lock);
	unit->state = BUDDY_UNIT_SPLIT;
	unit->file = file;
	buddy_file_get(file);
	unit->faulted = false;
}

/**
 * buddy_unit_close() - a unit is split no longer
 * @unit: the unit; for the placement it is free by now, or taken
 *
 * With region->lock. The caller has a reference to the file of its own.
 */
void buddy_unit_close(struct buddy_unit *unit)
{
	lockdep_assert_held(&unit->region->lock);
	unit->state = BUDDY_UNIT_WHOLE;
	buddy_file_unref(unit->file);
	unit->file = NULL;
}

/**
 * buddy_unit_divide() - make two ranges of one
 * @unit: a split unit
 * @at: first page of the range in the unit
 * @pages: its length
 * @first: length of the first of the two
 *
 * With region->lock.
 */
void buddy_unit_divide(struct buddy_unit *unit, u32 at, u32 pages, u32 first)
{
	int err = buddy_bits_divide(buddy_unit_bits(unit), at, pages, first);

	lockdep_assert_held(&unit->region->lock);
	BUDDY_WARN_ON(err);
}

/**
 * buddy_unit_join() - make one range of two that are neighbors
 * @unit: a split unit
 * @at: first page of the first range in the unit
 * @pages: its length
 * @more: length of the second
 *
 * With region->lock.
 */
void buddy_unit_join(struct buddy_unit *unit, u32 at, u32 pages, u32 more)
{
	int err = buddy_bits_join(buddy_unit_bits(unit), at, pages, more);

	lockdep_assert_held(&unit->region->lock);
	BUDDY_WARN_ON(err);
}

/**
 * buddy_unit_free() - free a range of a unit
 * @unit: a split unit
 * @at: first page of the range in the unit
 * @pages: its length; they are unreachable and zero
 *
 * With region->lock. buddy_space_return_empty() follows.
 */
void buddy_unit_free(struct buddy_unit *unit, u32 at, u32 pages)
{
	int err = buddy_place_free(&unit->region->place,
				   unit->number * BUDDY_UNIT_PAGES + at, pages);

	lockdep_assert_held(&unit->region->lock);
	BUDDY_WARN_ON(err < 0);
}

/**
 * buddy_unit_table() - the units of a region, none of them split
 * @region: its length and node are set
 *
 * Return: the table, for vfree(); or NULL.
 */
struct buddy_unit *buddy_unit_table(struct buddy_region *region)
{
	u32 units = region->pages / BUDDY_UNIT_PAGES;
	struct buddy_unit *table = vzalloc_node(array_size(units, sizeof(*table)),
						region->node);

	for (u32 i = 0; table && i < units; i++) {
		table[i].region = region;
		table[i].number = i;
		init_rwsem(&table[i].faults);
		INIT_LIST_HEAD(&table[i].aliases);
		INIT_LIST_HEAD(&table[i].wait);
	}
	return table;
}
