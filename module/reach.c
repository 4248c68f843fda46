// SPDX-License-Identifier: GPL-2.0-only
/*
 * reach.c - can anybody reach the pages of a freed block? The reference test.
 *
 * Why "reference count is 1" proves that nobody can reach a page: handle and VMAs
 * are gone, so no new mapping can appear; and each PTE or PMD, fault in flight,
 * TLB entry not yet flushed, and pin (O_DIRECT, RDMA, io_uring, a pipe) holds a
 * reference of its own, dropped only after its end. The reference that is left is
 * ours. page_ref_freeze() makes the test atomic against speculative references.
 * There is no callback when a pin ends, hence the polling.
 *
 * References count per folio. A small block, or a tail, shares its folio with
 * other blocks of the same file: the mappings of the whole unit are dropped, and
 * faults into it excluded, for the test. Once it has succeeded nobody can reach
 * anything in the unit until the next fault, so blocks freed meanwhile need none.
 */
#include <linux/mm.h>
#include <linux/page_ref.h>

#include "buddy.h"
#include "compat.h"

/*
 * VMAs of one unit that a test may drop the mappings of, some milliseconds. What is
 * freed in a unit with more waits until there are fewer.
 */
#define MAX_MAPS	8192

/* @page: an order-0 page, or a folio by its first page. */
static bool page_is_unreachable(struct page *page)
{
	if (!page_ref_freeze(page, 1))
		return false;
	page_ref_unfreeze(page, 1);
	return true;
}

/* @i-th page of the block; notes a page that is held. */
static bool block_page_is_unreachable(struct buddy_kblock *block, u32 i)
{
	if (page_is_unreachable(buddy_region_page(block->region,
						  block->first + i)))
		return true;
	block->held_at = i;
	return false;
}

/*
 * Drops the mappings of pieces of scattered blocks, which are mapped elsewhere. At
 * most one turn a page of the unit.
 */
static void unmap_aliases(struct buddy_unit *unit)
{
	struct buddy_region *region = unit->file->region;
	u32 start = unit->number * BUDDY_UNIT_PAGES;

	for (u32 at = 0, n; at < BUDDY_UNIT_PAGES; at += n) {
		struct buddy_kblock *block;
		struct buddy_core_span e;
		u64 alias = 0;

		spin_lock(&region->lock);
		block = buddy_kblock_at(region, start + at);
		if (block) {
			n = block->first + block->pages - (start + at);
			if (block->alias)
				alias = block->alias + (start + at - block->first);
		} else {
			buddy_bits_find(&unit->bits, at, &e);
			n = e.offset + e.size - at;
		}
		spin_unlock(&region->lock);
		if (alias)
			unmap_mapping_range(unit->file->inode->i_mapping,
					    BUDDY_MMAP_BASE + buddy_bytes(alias),
					    buddy_bytes(n), 1);
	}
}

/*
 * The test for the unit that has the tail, where it is a folio: nobody may hold
 * any page of it, so its mappings, those of neighbours too, are dropped first.
 * These fault again without noticing.
 */
static bool tail_folio_is_unreachable(struct buddy_unit *unit)
{
	struct buddy_region *region = unit->file->region;
	u32 page = unit->number * BUDDY_UNIT_PAGES;
	struct folio *folio = page_folio(buddy_region_page(region, page));

	lockdep_assert_held_write(&unit->faults);
	if (!unit->faulted)
		return true;
	/*
	 * More references than mappings: somebody holds it. As a proof of the
	 * contrary this would be unsound; as a hint it spares the neighbours.
	 */
	if (folio_ref_count(folio) > folio_mapcount(folio) + 1)
		return false;
	/* Others wait while mappings are dropped: not for that many. */
	if (atomic_read(&unit->maps) > MAX_MAPS)
		return false;
	unmap_mapping_range(unit->file->inode->i_mapping,
			    BUDDY_MMAP_BASE + buddy_bytes(page), BUDDY_UNIT, 1);
	if (READ_ONCE(unit->aliased))
		unmap_aliases(unit);
	if (!page_is_unreachable(&folio->page))
		return false;
	unit->faulted = false;
	return true;
}

/* The reference test over the whole block, but not for a folio of the tail. */
static bool pages_are_unreachable(struct buddy_kblock *block)
{
	bool folios = block->region->folios;
	u32 step = folios ? BUDDY_UNIT_PAGES : 1;
	u32 end = folios ? buddy_kblock_units(block) * BUDDY_UNIT_PAGES :
			   block->pages;

	/* The one that was held before: if it still is, that was cheap. */
	if (end && !block_page_is_unreachable(block, block->held_at))
		return false;
	for (u32 i = 0; i < end; i += step) {
		if (!block_page_is_unreachable(block, i))
			return false;
		if (!(i % BUDDY_UNIT_PAGES))
			cond_resched();
	}
	return true;
}

/**
 * buddy_kblock_is_unreachable() - can nobody reach the pages of a block?
 * @block: one without references
 *
 * A block that was never touched has no page that anybody ever got. May sleep; the
 * neighbours in the unit of its tail may fault again.
 *
 * Return: true: nobody can, nor will. false: somebody does, @block->held_at is one
 * of those pages if it is not in the tail.
 */
bool buddy_kblock_is_unreachable(struct buddy_kblock *block)
{
	bool unreachable;

	if (!block->touched)
		return true;
	if (!pages_are_unreachable(block))
		return false;
	if (!block->region->folios || !block->tail)
		return true;
	down_write(&block->tail->faults);
	unreachable = tail_folio_is_unreachable(block->tail);
	up_write(&block->tail->faults);
	return unreachable;
}
