// SPDX-License-Identifier: GPL-2.0-only
/*
 * arena.c - units that are cut up: small blocks, and the tails of large ones.
 *
 * A unit that is cut up belongs to one open file at a time, so that two owners
 * never share a huge page, and a page that somebody pins delays only the owner
 * of its neighbours. Owns struct buddy_unit, region->units and file->arena.
 *
 * Invariants, under region->lock: region->units[n] is set exactly while unit n
 * is cut up; it is in the list of its owner that names its largest free node,
 * and in none while it has no free page or no owner. A unit without blocks goes
 * back to the region's tree at once.
 */
#include <linux/slab.h>

#include "buddy.h"

/* Puts a unit into the list that names its largest free node. */
static void unit_relist(struct buddy_unit *unit)
{
	u32 largest = buddy_core_largest(&unit->core);

	list_del_init(&unit->arena);
	if (unit->owner && largest)
		list_add(&unit->arena, &unit->owner->arena[ilog2(largest)]);
}

/* @pages less are free in the unit (more, where it is negative). */
static void unit_account(struct buddy_unit *unit, s32 pages)
{
	unit->region->private -= pages;
	if (unit->owner)
		unit->owner->private -= pages;
	unit_relist(unit);
}

/* The unit has the tail of the block. The reference test reads @aliased unlocked. */
static void unit_take_tail(struct buddy_unit *unit, struct buddy_kblock *block)
{
	block->tail = unit;
	if (block->alias)
		WRITE_ONCE(unit->aliased, true);
}

/**
 * buddy_unit_create() - memory for what is to be known of a unit
 * @region: the region
 *
 * May sleep. For buddy_arena_adopt(), or buddy_unit_destroy().
 *
 * Return: the unit, or NULL.
 */
struct buddy_unit *buddy_unit_create(struct buddy_region *region)
{
	struct buddy_unit *unit;

	unit = kzalloc(struct_size(unit, core_mem,
				   buddy_core_bytes(BUDDY_UNIT_PAGES) /
				   sizeof(*unit->core_mem)), GFP_KERNEL_ACCOUNT);
	if (!unit)
		return NULL;
	unit->region = region;
	init_rwsem(&unit->faults);
	INIT_LIST_HEAD(&unit->arena);
	INIT_LIST_HEAD(&unit->owned);
	buddy_core_init(&unit->core, BUDDY_UNIT_PAGES, unit->core_mem);
#ifdef CONFIG_LOCKDEP
	buddy_core_set_owner(&unit->core, &region->lock.dep_map);
#endif
	return unit;
}

/**
 * buddy_unit_destroy() - undo buddy_unit_create()
 * @unit: the unit, in no use; or NULL
 *
 * May sleep.
 */
void buddy_unit_destroy(struct buddy_unit *unit)
{
	if (unit)
		iput(unit->inode);
	kfree(unit);
}

/**
 * buddy_arena_alloc() - a small block from a unit that the file has
 * @file: the file
 * @block: of less than a unit; its first and tail are filled
 * @align: as for buddy_core_alloc(); less than a unit
 *
 * Return: 0, or -ENOMEM where no unit has room. With region->lock.
 */
long buddy_arena_alloc(struct buddy_file *file, struct buddy_kblock *block,
		       u32 align)
{
	struct buddy_unit *unit;
	long at;

	lockdep_assert_held(&file->region->lock);
	/* the smallest node that holds it, whatever its unit */
	for (u32 k = order_base_2(max(block->pages, align));
	     k < BUDDY_ARENA_LISTS; k++) {
		unit = list_first_entry_or_null(&file->arena[k],
						struct buddy_unit, arena);
		if (!unit)
			continue;
		at = buddy_core_alloc(&unit->core, block->pages, align);
		if (WARN_ON_ONCE(at < 0))
			return at;
		unit_take_tail(unit, block);
		block->first = unit->number * BUDDY_UNIT_PAGES + at;
		unit_account(unit, block->pages);
		return 0;
	}
	return -ENOMEM;
}

/**
 * buddy_arena_adopt() - a unit is cut up from now on, for a file
 * @file: the file
 * @unit: from buddy_unit_create()
 * @number: of the unit, which the caller took from the region's tree
 * @block: gets its tail from the start of the unit
 *
 * With region->lock.
 */
void buddy_arena_adopt(struct buddy_file *file, struct buddy_unit *unit,
		       u32 number, struct buddy_kblock *block)
{
	struct buddy_region *region = file->region;
	u32 pages = buddy_kblock_tail(block);

	lockdep_assert_held(&region->lock);
	unit->number = number;
	unit->owner = file;
	/* What is freed may outlive the file. */
	unit->inode = file->inode;
	ihold(unit->inode);
	list_add(&unit->owned, &file->units);
	region->units[number] = unit;
	WARN_ON_ONCE(buddy_core_alloc(&unit->core, pages, 0));
	unit_take_tail(unit, block);
	unit_account(unit, (s32)pages - (s32)BUDDY_UNIT_PAGES);
}

/* The unit is cut up no more; its place in the region's tree is the caller's. */
static void unit_leave(struct buddy_unit *unit)
{
	unit_account(unit, unit->core.free);
	list_del_init(&unit->arena);
	list_del_init(&unit->owned);
	unit->region->units[unit->number] = NULL;
}

/**
 * buddy_arena_take() - one more range of a unit is a block's
 * @unit: the unit
 * @at: first page in the unit
 * @pages: length
 *
 * With region->lock.
 *
 * Return: 0, or -EBUSY where a part is in use, or beyond the unit.
 */
int buddy_arena_take(struct buddy_unit *unit, u32 at, u32 pages)
{
	lockdep_assert_held(&unit->region->lock);
	if (buddy_core_take(&unit->core, at, pages))
		return -EBUSY;
	unit_account(unit, pages);
	return 0;
}

/**
 * buddy_arena_dissolve() - a unit becomes a whole unit of the block that is alone
 * in it
 * @block: has a tail, which starts the unit; nothing else is in that
 *
 * With region->lock. The unit stays taken in the region's tree.
 *
 * Return: the unit, for buddy_unit_destroy() without the lock.
 */
struct buddy_unit *buddy_arena_dissolve(struct buddy_kblock *block)
{
	struct buddy_unit *unit = block->tail;

	lockdep_assert_held(&block->region->lock);
	unit_leave(unit);
	block->tail = NULL;
	return unit;
}

/**
 * buddy_arena_free() - the tail of a block is free
 * @block: nobody can reach it, and it is zero
 *
 * With region->lock.
 *
 * Return: the unit where it has no block any more and went back to the region's
 * tree, for buddy_unit_destroy() without the lock; or NULL.
 */
struct buddy_unit *buddy_arena_free(struct buddy_kblock *block)
{
	struct buddy_unit *unit = block->tail;
	struct buddy_region *region = block->region;
	u32 pages = buddy_kblock_tail(block);

	lockdep_assert_held(&region->lock);
	WARN_ON_ONCE(buddy_core_free(&unit->core, buddy_kblock_tail_start(block),
				     pages));
	unit_account(unit, -(s32)pages);
	if (unit->core.free < BUDDY_UNIT_PAGES)
		return NULL;
	unit_leave(unit);
	WARN_ON_ONCE(buddy_core_free(&region->core, unit->number, 1));
	return unit;
}

/**
 * buddy_arena_largest() - the largest free node in a file's units
 * @file: the file
 *
 * Return: pages, 0 where there is none. With region->lock.
 */
u32 buddy_arena_largest(struct buddy_file *file)
{
	lockdep_assert_held(&file->region->lock);
	for (u32 k = BUDDY_ARENA_LISTS; k-- > 0;)
		if (!list_empty(&file->arena[k]))
			return 1u << k;
	return 0;
}

/**
 * buddy_arena_init() - a file without units
 * @file: the file
 */
void buddy_arena_init(struct buddy_file *file)
{
	INIT_LIST_HEAD(&file->units);
	for (u32 k = 0; k < BUDDY_ARENA_LISTS; k++)
		INIT_LIST_HEAD(&file->arena[k]);
}

/**
 * buddy_arena_abandon() - the file is closed; its units serve nobody any more
 * @file: the file; all its handles are gone
 *
 * They stay cut up until the last of their blocks has come back.
 */
void buddy_arena_abandon(struct buddy_file *file)
{
	struct buddy_region *region = file->region;
	struct buddy_unit *unit;

	do {
		spin_lock(&region->lock);
		unit = list_first_entry_or_null(&file->units, struct buddy_unit,
						owned);
		if (unit) {
			unit->owner = NULL;
			list_del_init(&unit->owned);
			list_del_init(&unit->arena);
		}
		spin_unlock(&region->lock);
	} while (unit);
}
