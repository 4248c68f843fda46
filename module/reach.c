// SPDX-License-Identifier: GPL-2.0-only
/*
 * reach.c - can anybody reach the pages of what was released? The reference check.
 *
 * Why "reference count is 1" proves that nobody can reach a page: handle and VMAs
 * are gone, so no new mapping can appear; and each PTE or PMD, fault in flight,
 * TLB entry not yet flushed, and pin (O_DIRECT, RDMA, io_uring, a pipe) holds a
 * reference of its own, dropped only after its end. The reference that is left is
 * ours. page_ref_freeze() makes the check atomic against speculative references.
 * There is no callback when a pin ends, hence the polling.
 *
 * References count per folio. A range of a split unit shares its folio with other
 * blocks of the same file: the mappings of the whole unit are dropped, and faults into
 * it excluded, for the check. Once it has succeeded nothing can reach a page of the
 * unit until the next fault, so what is released meanwhile needs none.
 */
#include <linux/mm.h>
#include <linux/page_ref.h>

#include "buddy.h"
#include "compat.h"

/*
 * VMAs of one unit that a check may drop the mappings of, some milliseconds. What is
 * released in a unit with more waits until there are fewer.
 */
#define MAX_MAPS	8192

#define BATCH	16	/* aliases looked up before they are unmapped */

/* @page: an order-0 page, or a folio by its first page. */
static bool page_is_unreachable(struct page *page)
{
	if (!page_ref_freeze(page, 1))
		return false;
	page_ref_unfreeze(page, 1);
	return true;
}

/**
 * buddy_reach_pages() - are pages that are no folio unreachable?
 * @region: a region of single pages
 * @first: first page
 * @pages: length
 *
 * Return: true: nothing can reach any of them, nor will.
 */
bool buddy_reach_pages(const struct buddy_region *region, u32 first, u32 pages)
{
	for (u32 i = 0; i < pages; i++)
		if (!page_is_unreachable(buddy_region_page(region, first + i)))
			return false;
	return true;
}

/**
 * buddy_reach_whole() - is a whole unit unreachable?
 * @unit: a unit of a run that was released
 *
 * Notes the page that is pinned, if there is one.
 *
 * Return: true: nothing can reach it, nor will.
 */
bool buddy_reach_whole(struct buddy_unit *unit)
{
	struct buddy_region *region = unit->region;
	u32 first = unit->number * BUDDY_UNIT_PAGES;
	u32 pages = region->folios ? 1 : BUDDY_UNIT_PAGES;

	/* The one that was pinned before: if it still is, that was cheap. */
	if (!buddy_reach_pages(region, first + unit->probe_page, 1))
		return false;
	for (u32 i = 0; i < pages; i++) {
		if (buddy_reach_pages(region, first + i, 1))
			continue;
		unit->probe_page = i;
		return false;
	}
	unit->probe_page = 0;
	return true;
}

/*
 * Drops the mappings of scattered blocks, which are elsewhere. @cursor keeps the place
 * in the list: what is added behind it meanwhile has no mapping, as faults are excluded.
 */
static void unmap_aliases(struct buddy_unit *unit)
{
	struct buddy_region *region = unit->region;
	struct buddy_alias cursor = { 0 }, found[BATCH], *alias;
	u32 n, left = BUDDY_UNIT_PAGES;

	spin_lock(&region->lock);
	list_add(&cursor.list, &unit->aliases);
	do {
		n = 0;
		/* At the beginning there were no more than pages; what is added is not mapped. */
		while (n < BATCH && left-- && !list_is_last(&cursor.list, &unit->aliases)) {
			alias = list_next_entry(&cursor, list);
			list_move(&cursor.list, &alias->list);
			found[n++] = *alias;
		}
		spin_unlock(&region->lock);
		for (u32 i = 0; i < n; i++)
			unmap_mapping_range(unit->file->inode->i_mapping,
					    BUDDY_MMAP_BASE + buddy_bytes(found[i].pgoff),
					    buddy_bytes(found[i].pages), 1);
		spin_lock(&region->lock);
	} while (n == BATCH);
	list_del(&cursor.list);
	spin_unlock(&region->lock);
}

/**
 * buddy_reach_unit() - are all pages of a split unit unreachable, for now?
 * @unit: a unit that is a folio; the caller has excluded faults
 *
 * Nobody may hold any page of it, so its mappings, those of neighbors too, are dropped
 * first. These fault again without noticing. May sleep.
 *
 * Return: true: nothing can reach a page of it until the next fault.
 */
bool buddy_reach_unit(struct buddy_unit *unit)
{
	struct buddy_region *region = unit->region;
	u32 page = unit->number * BUDDY_UNIT_PAGES;
	struct folio *folio = page_folio(buddy_region_page(region, page));

	lockdep_assert_held_write(&unit->faults);
	if (!unit->faulted)
		return true;
	/*
	 * More references than mappings: somebody holds it. As a proof of the
	 * contrary this would be unsound; as a hint it spares the neighbors.
	 */
	if (folio_ref_count(folio) > folio_mapcount(folio) + 1)
		return false;
	/* Others wait while mappings are dropped: not for that many. */
	if (atomic_read(&unit->maps) > MAX_MAPS)
		return false;
	unmap_mapping_range(unit->file->inode->i_mapping,
			    BUDDY_MMAP_BASE + buddy_bytes(page), BUDDY_UNIT, 1);
	if (!list_empty(&unit->aliases))
		unmap_aliases(unit);
	if (!page_is_unreachable(&folio->page))
		return false;
	unit->faulted = false;
	return true;
}
