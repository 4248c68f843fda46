// SPDX-License-Identifier: GPL-2.0-only
/*
 * region.c - a region: its memory (window.c), zeroed, and its tree, from load to unload.
 *
 * Nothing is written into a struct page or folio but folio->index.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "buddy.h"
#include "compat.h"

static int make_tree(struct buddy_region *region)
{
	u32 units = region->pages / BUDDY_UNIT_PAGES;

	BUILD_BUG_ON(BUDDY_UNIT_PAGES != BUDDY_PLACE_UNIT);
	region->core_mem = kvzalloc_node(buddy_core_bytes(units), GFP_KERNEL,
					 region->node);
	region->place_units = vzalloc_node(array_size(units, sizeof(*region->place_units)),
					   region->node);
	region->units = buddy_unit_table(region);
	if (!region->core_mem || !region->place_units || !region->units)
		return -ENOMEM;
	return buddy_place_init(&region->place, units, region->core_mem,
				region->place_units);
}

static void free_tree(struct buddy_region *region)
{
	vfree(region->units);
	vfree(region->place_units);
	kvfree(region->core_mem);
}

/* Where a folio lies in the address space: rmap looks there. */
static void index_folios(struct buddy_region *region)
{
	for (u32 page = 0; page < region->pages; page += BUDDY_UNIT_PAGES)
		page_folio(buddy_region_page(region, page))->index =
			BUDDY_MMAP_BASE_PAGES + page;
}

/**
 * buddy_region_create() - take memory and make a region of it
 * @bytes: length, a multiple of BUDDY_UNIT
 * @node: NUMA node, or NUMA_NO_NODE for any
 * @index: 0 for /dev/buddy, N for /dev/buddyN
 * @largest: filled if no contiguous range of this length is found; or NULL
 *
 * All of it is zeroed. May sleep for seconds; can be killed.
 *
 * Return: the region; -EINVAL (no such node), -ENOMEM, -EINTR.
 */
struct buddy_region *buddy_region_create(unsigned long bytes, int node,
					 int index, struct buddy_window *largest)
{
	struct buddy_region *region = kzalloc(sizeof(*region), GFP_KERNEL);
	u64 began = ktime_get_ns();
	int err = -ENOMEM;

	if (!region)
		return ERR_PTR(-ENOMEM);
	region->pages = bytes >> PAGE_SHIFT;
	region->folios = BUDDY_FOLIOS;
	snprintf(region->name, sizeof(region->name), index ? "buddy%d" : "buddy",
		 index);
	err = buddy_window_take(region, node, largest);
	if (err)
		goto free_region;
	err = make_tree(region);
	if (err)
		goto free_tree;
	if (region->folios)
		index_folios(region);
	err = -EINTR;
	if (!buddy_zero_pages(region, 0, region->pages, true))
		goto free_tree;
	spin_lock_init(&region->lock);
#ifdef CONFIG_LOCKDEP
	buddy_core_set_owner(&region->place.core, &region->lock.dep_map);
#endif
	ida_init(&region->places);
	buddy_reclaim_start(region);
	pr_info("/dev/%s: %lu MiB on node %d, aligned to %lu MiB, in %s, taken in %llu ms\n",
		region->name, bytes >> 20, region->node, region->base_align >> 20,
		region->folios ? "2 MiB folios" : "single pages",
		div_u64(ktime_get_ns() - began, NSEC_PER_MSEC));
	return region;

free_tree:
	free_tree(region);
	buddy_window_put(region);
free_region:
	kfree(region);
	return ERR_PTR(err);
}

/**
 * buddy_region_destroy() - give the memory back
 * @region: no file of it is open
 *
 * Pages that somebody still holds become free with that reference.
 */
void buddy_region_destroy(struct buddy_region *region)
{
	const struct buddy_core *core = &region->place.core;

	buddy_reclaim_stop(region);
	BUDDY_WARN_ON(core->free != core->granules || core->allocs != core->frees ||
		      region->allocs != region->frees || region->place.private ||
		      region->place.reserved ||
		      region->nr_items || !ida_is_empty(&region->places));
	ida_destroy(&region->places);
	buddy_window_put(region);
	free_tree(region);
	kfree(region);
}
