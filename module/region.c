// SPDX-License-Identifier: GPL-2.0-only
/*
 * region.c - the memory itself: found, taken, zeroed, and given back.
 *
 * Owns the pages of a region from load to unload: each is an order-0 page with
 * one reference of ours. They come from alloc_contig_range(), in steps, within
 * one zone: ZONE_NORMAL, then ZONE_DMA32. Never from ZONE_MOVABLE or CMA, where
 * long-term pins fail.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/memory_hotplug.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "buddy.h"
#include "compat.h"

/*
 * Pages taken by one call. Each call drains per-CPU lists on every CPU, so
 * many small ones are slow; but between two calls a load can be killed, and
 * where a call fails, smaller ones tell which unit it was.
 */
#define STEP_PAGES	((64ul << 20) >> PAGE_SHIFT)

/* A page that alloc_contig_range() may be asked for: it oopses on holes. */
static bool page_is_candidate(unsigned long pfn, const struct zone *zone)
{
	struct page *page = pfn_to_online_page(pfn);

	return page && page_zone(page) == zone && !PageReserved(page) &&
	       !PageHuge(page);
}

/* The lowest start from which all pages up to @end are candidates. */
static unsigned long lowest_candidate(unsigned long start, unsigned long end,
				      const struct zone *zone)
{
	while (end > start && page_is_candidate(end - 1, zone)) {
		end--;
		if (!(end % (1ul << 16)))
			cond_resched();
	}
	return end;
}

static void put_pages(unsigned long start, unsigned long end)
{
	for (unsigned long pfn = start; pfn < end; pfn++) {
		put_page(pfn_to_page(pfn));
		if (!(pfn % 1024))
			cond_resched();
	}
}

/*
 * Takes start .. end from the top down; all or nothing.
 * Return: 0; -EINTR when killed; -EBUSY, with the start of the highest unit
 * that could not be had in @failed.
 */
static int take_window(unsigned long start, unsigned long end,
		       unsigned long *failed)
{
	unsigned long got = end, step = STEP_PAGES;
	int err = 0;

	while (got > start) {
		step = min(step, got - start);
		if (fatal_signal_pending(current))
			err = -EINTR;
		else
			err = alloc_contig_range(got - step, got, ACR_FLAGS_NONE,
						 GFP_KERNEL | __GFP_NOWARN);
		if (!err) {
			got -= step;
			step = STEP_PAGES;
		} else if (err == -EINTR || step <= BUDDY_UNIT_PAGES) {
			break;
		} else {
			step = ALIGN(step / 2, BUDDY_UNIT_PAGES);
		}
		cond_resched();
	}
	if (!err)
		return 0;
	put_pages(got, end);
	*failed = got - step;
	return err == -EINTR ? err : -EBUSY;
}

/**
 * take_from_zone() - take @pages contiguous pages of a zone, the highest first
 * @zone: the zone
 * @pages: length
 * @align: alignment of the first page, in pages, a power of two
 * @pfn: the first page
 *
 * Return: 0, -EBUSY, -EINTR.
 */
static int take_from_zone(const struct zone *zone, unsigned long pages,
			  unsigned long align, unsigned long *pfn)
{
	unsigned long end = zone_end_pfn(zone);

	while (end >= pages) {
		unsigned long start = round_down(end - pages, align);
		unsigned long lowest, failed;
		int err;

		if (start < zone->zone_start_pfn)
			break;
		end = start + pages;
		lowest = lowest_candidate(start, end, zone);
		if (lowest > start) {
			/* the page below @lowest cannot be had */
			end = lowest - 1;
			cond_resched();
			continue;
		}
		err = take_window(start, end, &failed);
		if (!err) {
			*pfn = start;
			return 0;
		}
		if (err == -EINTR)
			return err;
		end = failed;
	}
	return -EBUSY;
}

/* Naturally aligned if that can be had, so that blocks are too. */
static int take_from_node(int nid, struct buddy_region *region)
{
	static const enum zone_type zones[] = {
		ZONE_NORMAL,
#ifdef CONFIG_ZONE_DMA32
		ZONE_DMA32,
#endif
	};
	unsigned long best = min(rounddown_pow_of_two(region->pages) << PAGE_SHIFT,
				 BUDDY_MAX_ALIGN);
	unsigned long aligns[] = { best, BUDDY_UNIT };

	for (int a = 0; a < ARRAY_SIZE(aligns); a++) {
		for (int z = 0; z < ARRAY_SIZE(zones); z++) {
			const struct zone *zone =
				&NODE_DATA(nid)->node_zones[zones[z]];
			int err = take_from_zone(zone, region->pages,
						 aligns[a] >> PAGE_SHIFT,
						 &region->base_pfn);

			if (!err)
				region->base_align = aligns[a];
			if (err != -EBUSY)
				return err;
		}
	}
	return -EBUSY;
}

static int take_pages(struct buddy_region *region, int wanted)
{
	int nid, err = -EBUSY;

	if (wanted != NUMA_NO_NODE &&
	    (wanted < 0 || wanted >= MAX_NUMNODES || !node_online(wanted)))
		return -EINVAL;
	for_each_online_node(nid) {
		if (wanted != NUMA_NO_NODE && wanted != nid)
			continue;
		region->node = nid;
		err = take_from_node(nid, region);
		if (err != -EBUSY)
			break;
	}
	return err == -EBUSY ? -ENOMEM : err;
}

static int make_tree(struct buddy_region *region)
{
	region->core_mem = vzalloc_node(buddy_core_bytes(region->pages),
					region->node);
	if (!region->core_mem)
		return -ENOMEM;
	return buddy_core_init(&region->core, region->pages, region->core_mem);
}

/**
 * buddy_region_create() - take memory and make a region of it
 * @bytes: length, a multiple of BUDDY_UNIT
 * @node: NUMA node, or NUMA_NO_NODE for any
 * @index: 0 for /dev/buddy, N for /dev/buddyN
 *
 * All of it is zeroed. May sleep for seconds; can be killed.
 *
 * Return: the region; -EINVAL (no such node), -ENOMEM, -EINTR.
 */
struct buddy_region *buddy_region_create(unsigned long bytes, int node,
					 int index)
{
	struct buddy_region *region = kzalloc(sizeof(*region), GFP_KERNEL);
	u64 began = ktime_get_ns();
	int err = -ENOMEM;

	if (!region)
		return ERR_PTR(-ENOMEM);
	region->pages = bytes >> PAGE_SHIFT;
	snprintf(region->name, sizeof(region->name), index ? "buddy%d" : "buddy",
		 index);
	err = take_pages(region, node);
	if (err)
		goto free_region;
	err = make_tree(region);
	if (err)
		goto put_memory;
	buddy_zero_pages(region, 0, region->pages);
	spin_lock_init(&region->lock);
#ifdef CONFIG_LOCKDEP
	buddy_core_set_owner(&region->core, &region->lock.dep_map);
#endif
	region->blocks = RB_ROOT;
	buddy_reclaim_start(region);
	pr_info("/dev/%s: %lu MiB on node %d, aligned to %lu MiB, taken in %llu ms\n",
		region->name, bytes >> 20, region->node, region->base_align >> 20,
		div_u64(ktime_get_ns() - began, NSEC_PER_MSEC));
	return region;

put_memory:
	put_pages(region->base_pfn, region->base_pfn + region->pages);
free_region:
	if (err == -ENOMEM)
		pr_notice("no %lu MiB of contiguous memory; free some, take a smaller size= or load the module earlier\n",
			  bytes >> 20);
	if (err == -EINVAL)
		pr_notice("node=%d: no such node\n", node);
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
	buddy_reclaim_stop(region);
	WARN_ON_ONCE(region->core.free != region->pages ||
		     region->core.allocs != region->core.frees);
	put_pages(region->base_pfn, region->base_pfn + region->pages);
	vfree(region->core_mem);
	kfree(region);
}
