// SPDX-License-Identifier: GPL-2.0-only
/*
 * window.c - the pages of a region: a contiguous range is found and taken as a whole,
 * and put back.
 *
 * The pages are folios of 2 MiB, or order-0 pages, each with one reference of the
 * module. They come from alloc_contig_range(), in steps, within one zone:
 * ZONE_NORMAL, then ZONE_DMA32, then (not on x86) ZONE_DMA. Never from ZONE_MOVABLE or
 * CMA, where long-term pins fail.
 *
 * If no range is long enough, the largest one is measured, for the message that says
 * what would have worked.
 */
#include <linux/memory_hotplug.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>

#include "buddy.h"
#include "compat.h"

/*
 * Pages taken by one call. Each call drains per-CPU lists on every CPU, so
 * many small ones are slow; but between two calls a load can be killed, and
 * where a call fails, smaller ones tell which unit it was.
 */
#define STEP_PAGES	((64ul << 20) >> PAGE_SHIFT)

/* The zones that a region may come from, the first that serves it. */
static const enum zone_type zones[] = {
	ZONE_NORMAL,
#ifdef CONFIG_ZONE_DMA32
	ZONE_DMA32,
#endif
	/* On arm64 all that is below 4 GiB; on x86 16 MiB for ISA. */
#if defined(CONFIG_ZONE_DMA) && !defined(CONFIG_X86)
	ZONE_DMA,
#endif
};

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

/*
 * A folio with a poisoned page stays taken: not every kernel keeps that page
 * apart when it frees a folio. Order-0 pages it does.
 */
static bool unit_is_poisoned(unsigned long pfn)
{
	for (u32 i = 0; i < BUDDY_UNIT_PAGES; i++)
		if (PageHWPoison(pfn_to_page(pfn + i)))
			return true;
	return false;
}

static void put_pages(unsigned long start, unsigned long end, bool folios)
{
	for (unsigned long pfn = start; pfn < end;
	     pfn += folios ? BUDDY_UNIT_PAGES : 1) {
		if (!folios || !unit_is_poisoned(pfn))
			put_page(pfn_to_page(pfn));
		if (!(pfn % BUDDY_UNIT_PAGES))
			cond_resched();
	}
}

/* Return: 0, -EBUSY, -EINTR, or another errno of alloc_contig_range(). */
static int take_step(unsigned long start, unsigned long end, bool folios)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	if (!folios)
		return alloc_contig_range(start, end, ACR_FLAGS_NONE,
					  GFP_KERNEL | __GFP_NOWARN);
	return buddy_alloc_folio_range(start, end,
				       GFP_KERNEL | __GFP_COMP | __GFP_NOWARN);
}

/*
 * Takes start .. end from the top down; all or nothing.
 * Return: 0; -EINTR when killed; -EBUSY, with the start of the highest unit
 * that could not be had in @failed.
 */
static int take_window(unsigned long start, unsigned long end, bool folios,
		       unsigned long *failed)
{
	/* a folio is what one call made */
	const unsigned long most = folios ? BUDDY_UNIT_PAGES : STEP_PAGES;
	unsigned long got = end, step = most;
	int err = 0;

	while (got > start) {
		step = min(step, got - start);
		err = take_step(got - step, got, folios);
		if (err == -EINTR || (err && step <= BUDDY_UNIT_PAGES))
			break;
		if (err) {
			step = ALIGN(step / 2, BUDDY_UNIT_PAGES);
		} else {
			got -= step;
			step = most;
		}
		cond_resched();
	}
	if (!err)
		return 0;
	put_pages(got, end, folios);
	*failed = got - step;
	return err == -EINTR ? err : -EBUSY;
}

/**
 * take_from_zone() - take @pages contiguous pages of a zone, the highest first
 * @zone: the zone
 * @pages: length
 * @align: alignment of the first page, in pages, a power of two
 * @folios: as folios, one a unit
 * @pfn: the first page
 *
 * Return: 0, -EBUSY, -EINTR.
 */
static int take_from_zone(const struct zone *zone, unsigned long pages,
			  unsigned long align, bool folios, unsigned long *pfn)
{
	unsigned long end = zone_end_pfn(zone);
	unsigned long checked = end;	/* from here to @end all are candidates */

	while (end >= pages) {
		unsigned long start = round_down(end - pages, align);
		unsigned long lowest, failed;
		int err;

		if (start < zone->zone_start_pfn)
			break;
		end = start + pages;
		lowest = lowest_candidate(start, min(end, checked), zone);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (lowest > start) {
			/* the page below @lowest cannot be had */
			end = lowest - 1;
			checked = end;
			continue;
		}
		checked = start;
		err = take_window(start, end, folios, &failed);
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

/* The window from @start to @end: how much of its upper end can be had, in pages. */
static unsigned long window_measure(unsigned long start, unsigned long end, bool folios,
				    unsigned long *failed)
{
	if (take_window(start, end, folios, failed))
		return end - *failed - BUDDY_UNIT_PAGES;
	put_pages(start, end, folios);
	*failed = start;
	return end - start;
}

/*
 * The largest window that the zone has, from the top down, if it is longer than @best
 * and up to @most pages. Nothing stays taken.
 */
static unsigned long zone_largest(const struct zone *zone, unsigned long most,
				  unsigned long best, bool folios)
{
	unsigned long first = ALIGN(zone->zone_start_pfn, BUDDY_UNIT_PAGES);
	unsigned long end = round_down(zone_end_pfn(zone), BUDDY_UNIT_PAGES);
	unsigned long checked = end;

	while (best < most && end > first && end - first > best &&
	       !fatal_signal_pending(current)) {
		unsigned long bottom = end - min(most, end - first);
		unsigned long lowest = lowest_candidate(bottom, min(end, checked), zone);
		unsigned long start = ALIGN(lowest, BUDDY_UNIT_PAGES), pages;

		checked = lowest;
		if (start < end && end - start > best) {
			pages = window_measure(start, end, folios, &end);
			best = max(best, pages);
			if (end > start)
				continue;
		}
		/* the page below @lowest cannot be had */
		if (lowest > bottom)
			end = round_down(lowest - 1, BUDDY_UNIT_PAGES);
		else
			end = bottom;
	}
	return best;
}

/* Naturally aligned if that can be had, so that blocks are too. */
static int take_from_node(int nid, struct buddy_region *region)
{
	unsigned long best = min(rounddown_pow_of_two(region->pages) << PAGE_SHIFT,
				 BUDDY_MAX_ALIGN);
	unsigned long aligns[] = { best, BUDDY_UNIT };

	for (int a = 0; a < ARRAY_SIZE(aligns); a++) {
		for (int z = 0; z < ARRAY_SIZE(zones); z++) {
			const struct zone *zone =
				&NODE_DATA(nid)->node_zones[zones[z]];
			int err = take_from_zone(zone, region->pages,
						 aligns[a] >> PAGE_SHIFT,
						 region->folios,
						 &region->base_pfn);

			if (!err)
				region->base_align = aligns[a];
			if (err != -EBUSY)
				return err;
		}
	}
	return -EBUSY;
}

/**
 * buddy_window_has_node() - Check that a node has memory.
 * @nid: any number
 *
 * Return: true if it is a node with memory.
 */
bool buddy_window_has_node(int nid)
{
	return nid >= 0 && nid < MAX_NUMNODES && node_state(nid, N_MEMORY);
}

/**
 * buddy_window_available() - Estimate what regions could take of a node.
 * @nid: a node with memory
 *
 * As MemAvailable: what is free above the watermarks, and caches of files, but half of
 * them or so many as the watermark; only of zones that regions come from.
 *
 * Return: bytes.
 */
unsigned long buddy_window_available(int nid)
{
	unsigned long pages = 0;

	for (int z = 0; z < ARRAY_SIZE(zones); z++) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[zones[z]];
		unsigned long free = zone_page_state(zone, NR_FREE_PAGES);
		unsigned long cache = zone_page_state(zone, NR_ZONE_ACTIVE_FILE) +
				      zone_page_state(zone, NR_ZONE_INACTIVE_FILE);

		if (!managed_zone(zone))
			continue;
		pages += free - min(free, high_wmark_pages(zone));
		pages += cache - min(cache / 2, low_wmark_pages(zone));
	}
	return pages << PAGE_SHIFT;
}

/**
 * buddy_window_measure() - Find the largest contiguous range.
 * @wanted: NUMA node with memory, or NUMA_NO_NODE for any
 * @most: pages that are enough, whole units
 * @largest: what was found, at most @most; 0 pages if there is none
 *
 * Each range is taken, to see whether it can be, and put back. May sleep for seconds;
 * a fatal signal ends it early.
 */
void buddy_window_measure(int wanted, unsigned long most, struct buddy_window *largest)
{
	int nid;

	*largest = (struct buddy_window){ .node = wanted };
	for_each_node_state(nid, N_MEMORY) {
		if (wanted != NUMA_NO_NODE && wanted != nid)
			continue;
		for (int z = 0; z < ARRAY_SIZE(zones); z++) {
			unsigned long pages =
				zone_largest(&NODE_DATA(nid)->node_zones[zones[z]],
					     most, largest->pages, BUDDY_FOLIOS);

			if (pages > largest->pages)
				*largest = (struct buddy_window){ nid, pages };
		}
	}
}

/**
 * buddy_window_take() - Take the pages of a region.
 * @region: has its length, and whether it is made of folios; the node and the place
 *          of its pages are filled
 * @wanted: NUMA node, or NUMA_NO_NODE for any
 * @largest: filled with the largest range that was found, if none is long enough;
 *           or NULL
 *
 * May sleep for seconds; can be killed.
 *
 * Return: 0; -EINVAL (no such node), -ENOMEM, -EINTR.
 */
int buddy_window_take(struct buddy_region *region, int wanted,
		      struct buddy_window *largest)
{
	int nid, err = -EBUSY;

	if (wanted != NUMA_NO_NODE && !buddy_window_has_node(wanted))
		return -EINVAL;
	for_each_node_state(nid, N_MEMORY) {
		if (wanted != NUMA_NO_NODE && wanted != nid)
			continue;
		region->node = nid;
		err = take_from_node(nid, region);
		if (err != -EBUSY)
			break;
	}
	if (err == -EBUSY && largest)
		buddy_window_measure(wanted, region->pages - BUDDY_UNIT_PAGES, largest);
	return err == -EBUSY ? -ENOMEM : err;
}

/**
 * buddy_window_put() - Put the pages of a region back.
 * @region: buddy_window_take() took them
 *
 * Pages that are pinned become free with that reference.
 */
void buddy_window_put(struct buddy_region *region)
{
	put_pages(region->base_pfn, region->base_pfn + region->pages, region->folios);
}

/**
 * buddy_zero_pages() - zero a range of the region
 * @region: the region
 * @first: first page
 * @pages: length
 * @killable: stop at a fatal signal
 *
 * May sleep.
 *
 * Return: true, or false if it was stopped.
 */
bool buddy_zero_pages(const struct buddy_region *region, u32 first, u32 pages,
		      bool killable)
{
	while (pages) {
		u32 n = min_t(u32, pages, BUDDY_UNIT_PAGES);

		if (killable && fatal_signal_pending(current))
			return false;
		/* never highmem: ZONE_NORMAL and below */
		memset(page_address(buddy_region_page(region, first)), 0,
		       (size_t)n << PAGE_SHIFT);
		first += n;
		pages -= n;
		cond_resched();
	}
	return true;
}
