// SPDX-License-Identifier: GPL-2.0-only
/*
 * unit.c - split units: small blocks, and the tails of large ones.
 *
 * A split unit belongs to one open file at a time, so that two owners never share a
 * huge page, and a pinned page delays only the owner of its neighbors. Owns unit->bits
 * and file->free_units; there is a struct buddy_unit for each unit of the region, from
 * load to unload, so that splitting a unit allocates nothing and no pointer to one
 * dangles.
 *
 * Invariants, under region->lock: a split unit has a reference to its file; it is in the
 * list of the file that names its largest free node, and in none if it has no free page.
 * A unit of which all pages are free is split no longer (space.c).
 */
#include <linux/vmalloc.h>

#include "buddy.h"

/* Moves the unit to the list of the file that names its largest free node. */
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
	unit->region->private -= pages;
	unit->file->private -= pages;
	unit_relist(unit);
}

/**
 * buddy_unit_alloc() - find room for a small block in the split units of a file
 * @file: the file
 * @pages: less than a unit
 * @align: as for buddy_bits_alloc(); less than a unit
 *
 * Return: the first page, from the start of the region; -ENOSPC if no unit has room.
 * With region->lock.
 */
long buddy_unit_alloc(struct buddy_file *file, u32 pages, u32 align)
{
	lockdep_assert_held(&file->region->lock);
	/* the smallest node that holds it, whatever its unit */
	for (u32 k = order_base_2(max(pages, align)); k < ARRAY_SIZE(file->free_units); k++) {
		struct buddy_unit *unit =
			list_first_entry_or_null(&file->free_units[k],
						 struct buddy_unit, free);
		long at;

		if (!unit)
			continue;
		at = buddy_bits_alloc(&unit->bits, pages, align);
		if (BUDDY_WARN_ON(at < 0))
			return -ENOSPC;
		unit_account(unit, pages);
		return unit->number * BUDDY_UNIT_PAGES + at;
	}
	return -ENOSPC;
}

/**
 * buddy_unit_split() - split a unit for a file
 * @unit: the caller has taken it from the region's tree
 * @file: the file
 * @pages: length of the first range in it
 *
 * With region->lock.
 */
void buddy_unit_split(struct buddy_unit *unit, struct buddy_file *file, u32 pages)
{
	lockdep_assert_held(&file->region->lock);
	unit->state = BUDDY_UNIT_SPLIT;
	unit->file = file;
	buddy_file_get(file);
	unit->faulted = false;
	buddy_bits_init(&unit->bits, BUDDY_UNIT_PAGES);
	buddy_bits_alloc(&unit->bits, pages, 0);
	unit_account(unit, (s32)pages - (s32)BUDDY_UNIT_PAGES);
}

/**
 * buddy_unit_unsplit() - a unit is whole again
 * @unit: a split unit; its place in the region's tree becomes the caller's
 *
 * With region->lock. The caller has a reference to the file of its own.
 */
void buddy_unit_unsplit(struct buddy_unit *unit)
{
	lockdep_assert_held(&unit->region->lock);
	unit_account(unit, unit->bits.free);
	list_del_init(&unit->free);
	unit->listed = 0;
	unit->state = BUDDY_UNIT_WHOLE;
	buddy_file_unref(unit->file);
	unit->file = NULL;
}

/**
 * buddy_unit_take() - take this very range of a unit
 * @unit: a split unit
 * @at: first page in the unit
 * @pages: length
 *
 * With region->lock.
 *
 * Return: 0, or -ENOSPC if a part is in use, or beyond the unit.
 */
int buddy_unit_take(struct buddy_unit *unit, u32 at, u32 pages)
{
	lockdep_assert_held(&unit->region->lock);
	if (buddy_bits_take(&unit->bits, at, pages))
		return -ENOSPC;
	unit_account(unit, pages);
	return 0;
}

/**
 * buddy_unit_extend() - make a range of a unit longer
 * @unit: a split unit
 * @at: first page of the range in the unit
 * @pages: its length
 * @more: pages that are to be added
 *
 * With region->lock.
 *
 * Return: 0, or -ENOSPC if a part of what follows is in use, or beyond the unit.
 */
int buddy_unit_extend(struct buddy_unit *unit, u32 at, u32 pages, u32 more)
{
	int err = buddy_unit_take(unit, at + pages, more);

	if (err)
		return err;
	err = buddy_bits_join(&unit->bits, at, pages, more);
	BUDDY_WARN_ON(err);
	return 0;
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
	int err = buddy_bits_divide(&unit->bits, at, pages, first);

	lockdep_assert_held(&unit->region->lock);
	BUDDY_WARN_ON(err);
}

/**
 * buddy_unit_free() - free a range of a unit
 * @unit: a split unit
 * @at: first page of the range in the unit
 * @pages: its length; they are unreachable and zero
 *
 * With region->lock.
 */
void buddy_unit_free(struct buddy_unit *unit, u32 at, u32 pages)
{
	int err = buddy_bits_free(&unit->bits, at, pages);

	lockdep_assert_held(&unit->region->lock);
	if (BUDDY_WARN_ON(err))
		return;
	unit_account(unit, -(s32)pages);
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
		INIT_LIST_HEAD(&table[i].free);
		INIT_LIST_HEAD(&table[i].wait);
	}
	return table;
}
