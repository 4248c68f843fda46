// SPDX-License-Identifier: GPL-2.0-only
/*
 * world.c - see world.h. Also what makes a module of the suites.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/module.h>

#include "world.h"

struct buddy_region *world_region;
struct buddy_file *world_file;

int world_suite_init(struct kunit_suite *suite)
{
	int err = buddy_fs_init();

	if (err)
		return err;
	err = buddy_reclaim_init();
	if (err)
		buddy_fs_exit();
	return err;
}

void world_suite_exit(struct kunit_suite *suite)
{
	buddy_reclaim_exit();
	buddy_fs_exit();
}

int world_init(struct kunit *test)
{
	world_region = buddy_region_create(WORLD_UNITS * BUDDY_UNIT, NUMA_NO_NODE, 7, NULL);
	if (IS_ERR(world_region))
		return PTR_ERR(world_region);
	world_file = buddy_file_create(world_region);
	if (!IS_ERR(world_file))
		return 0;
	buddy_region_destroy(world_region);
	return PTR_ERR(world_file);
}

void world_exit(struct kunit *test)
{
	buddy_kblock_close(world_file);
	KUNIT_EXPECT_TRUE(test, world_is_free());
	buddy_region_destroy(world_region);
}

/* A map with the same ranges, taken one by one, is the same map. */
static bool bits_are_sound(const struct buddy_bits *bits)
{
	struct buddy_core_span span;
	struct buddy_bits again;

	buddy_bits_init(&again, BUDDY_UNIT_PAGES);
	for (u32 at = 0; at < BUDDY_UNIT_PAGES; at = span.offset + span.size) {
		buddy_bits_find(bits, at, &span);
		if (span.offset != at)
			return false;
		if (span.used && buddy_bits_take(&again, at, span.size))
			return false;
	}
	return !memcmp(&again, bits, sizeof(again));
}

static const char *fault_of_units(struct buddy_region *region)
{
	u32 private = 0;

	for (u32 i = 0; i < region->pages / BUDDY_UNIT_PAGES; i++) {
		struct buddy_unit *unit = &region->units[i];

		if (unit->number != i)
			return "a unit has another number";
		if (unit->state != BUDDY_UNIT_SPLIT) {
			if (!list_empty(&unit->aliases))
				return "a unit that is not split is in a list";
			continue;
		}
		if (!unit->file)
			return "a split unit has no file";
		if (!bits_are_sound(buddy_unit_bits(unit)))
			return "the map of a unit is not that of its ranges";
		if (!bitmap_subset(unit->dead, (unsigned long *)buddy_unit_bits(unit)->used,
				   BUDDY_BITS_PAGES))
			return "a page that waits is free";
		if (buddy_unit_bits(unit)->free == BUDDY_UNIT_PAGES)
			return "a unit without blocks is split";
		private += buddy_unit_bits(unit)->free;
	}
	return private == region->place.private ? NULL : "private is wrong";
}

/* The placement, and what it knows of each file that has a split unit. */
static const char *fault_of_place(struct buddy_region *region)
{
	struct buddy_place_owner *owners[8];
	u32 nr = 0, k;

	for (u32 i = 0; i < region->pages / BUDDY_UNIT_PAGES; i++) {
		struct buddy_file *file = region->units[i].file;

		if (region->units[i].state != BUDDY_UNIT_SPLIT)
			continue;
		for (k = 0; k < nr && owners[k] != &file->place;)
			k++;
		if (k == ARRAY_SIZE(owners))
			return "the tests have more files than they check";
		owners[k] = &file->place;
		nr = max(nr, k + 1);
	}
	return buddy_place_check(&region->place, owners, nr);
}

const char *world_fault(u32 used)
{
	struct buddy_region *region = world_region;
	const char *why;
	u32 sum;

	spin_lock(&region->lock);
	why = fault_of_place(region);
	if (!why)
		why = fault_of_units(region);
	sum = region->place.core.free * BUDDY_UNIT_PAGES + region->place.private +
	      region->returning + region->quarantined + region->retired;
	if (!why && sum + used != region->pages)
		why = "the states do not add up to the region";
	spin_unlock(&region->lock);
	return why;
}

bool world_is_free(void)
{
	struct buddy_region *region = world_region;
	bool is_free = false;

	for (int i = 0; i < 5000 && !is_free; i++) {
		spin_lock(&region->lock);
		is_free = region->place.core.free == region->place.core.granules;
		spin_unlock(&region->lock);
		if (!is_free)
			usleep_range(1000, 2000);
	}
	return is_free && !world_fault(0) && region->allocs == region->frees &&
	       !region->nr_blocks && !region->nr_items;
}

MODULE_DESCRIPTION("Tests of buddy_mem that run in the kernel");
MODULE_LICENSE("GPL");
