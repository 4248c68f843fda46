// SPDX-License-Identifier: GPL-2.0-only
/*
 * reclaim.c - the way back of a block, from its last reference to the tree.
 *
 *   last reference gone -> nobody can reach the pages? -> zeroed -> free
 *                            |             ^
 *                            no: quarantine, looked at again after 10 ms,
 *                            doubling to 1 s, and when an allocation would fail
 *
 * Owns region->dead, region->held and the work item. A block on its way is on
 * one of the two lists, or in the hands of the one who took it off ("look").
 *
 * Why "page reference count is 1" proves that nobody can reach a page: handle
 * and VMAs are gone, so no new mapping can appear; and each PTE, fault in
 * flight, TLB entry not yet flushed, and pin (O_DIRECT, RDMA, io_uring, a pipe)
 * holds a reference of its own, dropped only after its end. The reference that
 * is left is ours. page_ref_freeze() makes the test atomic against speculative
 * references. There is no callback when a pin ends, hence the polling.
 *
 * Small blocks come back in the caller's context, large ones in the work item.
 * Everything in the tree is zero, so no allocation ever has to zero.
 */
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "buddy.h"

#define INLINE_PAGES	16	/* zeroing 64 KiB costs about 5 us */
#define POLL_MS_MIN	10
#define POLL_MS_MAX	1000

static struct workqueue_struct *queue;

/**
 * buddy_zero_pages() - zero a range of the region
 * @region: the region
 * @first: first page
 * @pages: length
 *
 * May sleep.
 */
void buddy_zero_pages(const struct buddy_region *region, u32 first, u32 pages)
{
	while (pages) {
		u32 n = min_t(u32, pages, BUDDY_UNIT_PAGES);

		/* never highmem: ZONE_NORMAL and below */
		memset(page_address(buddy_region_page(region, first)), 0,
		       (size_t)n << PAGE_SHIFT);
		first += n;
		pages -= n;
		cond_resched();
	}
}

static bool page_is_unreachable(struct page *page)
{
	if (!page_ref_freeze(page, 1))
		return false;
	page_ref_unfreeze(page, 1);
	return true;
}

/* The reference test over the whole block. */
static bool block_is_unreachable(struct buddy_block *block)
{
	struct buddy_region *region = block->region;

	/* The page that was held before: if it still is, that was cheap. */
	if (!page_is_unreachable(buddy_region_page(region, block->first +
						   block->held_at)))
		return false;
	for (u32 i = 0; i < block->pages; i++) {
		if (!page_is_unreachable(buddy_region_page(region,
							   block->first + i))) {
			block->held_at = i;
			return false;
		}
		if (!(i % BUDDY_UNIT_PAGES))
			cond_resched();
	}
	return true;
}

static void finish_look(struct buddy_region *region)
{
	lockdep_assert_held(&region->lock);
	region->in_flight--;
	region->looks++;
}

/* Nobody can reach it and it is zero: free. */
static void block_return(struct buddy_block *block)
{
	struct buddy_region *region = block->region;

	spin_lock(&region->lock);
	if (block->state == BUDDY_EXTENT_RETURNING)
		region->returning -= block->pages;
	else
		region->quarantined -= block->pages;
	rb_erase(&block->node, &region->blocks);
	WARN_ON_ONCE(buddy_core_free(&region->core, block->first, block->pages));
	finish_look(region);
	spin_unlock(&region->lock);
	kfree(block);
	wake_up_all(&region->progress);
}

static void block_quarantine(struct buddy_block *block)
{
	struct buddy_region *region = block->region;
	bool sooner = false;

	spin_lock(&region->lock);
	if (block->state == BUDDY_EXTENT_RETURNING) {
		block->state = BUDDY_EXTENT_QUARANTINED;
		region->returning -= block->pages;
		region->quarantined += block->pages;
		sooner = region->poll_ms > POLL_MS_MIN;
		region->poll_ms = POLL_MS_MIN;
	}
	list_add_tail(&block->wait, &region->held);
	region->nr_waiting++;
	finish_look(region);
	spin_unlock(&region->lock);
	wake_up_all(&region->progress);
	/* Once only: moved by each new block, it would never come. */
	if (sooner)
		mod_delayed_work(queue, &region->work,
				 msecs_to_jiffies(POLL_MS_MIN));
	else
		queue_delayed_work(queue, &region->work,
				   msecs_to_jiffies(POLL_MS_MIN));
}

/* Looks at a block that the caller took off the lists. */
static void block_look(struct buddy_block *block)
{
	if (!block_is_unreachable(block)) {
		block_quarantine(block);
		return;
	}
	buddy_zero_pages(block->region, block->first, block->pages);
	block_return(block);
}

static struct buddy_block *take_dead(struct buddy_region *region)
{
	struct buddy_block *block;

	lockdep_assert_held(&region->lock);
	block = list_first_entry_or_null(&region->dead, struct buddy_block, wait);
	if (block) {
		list_del(&block->wait);
		region->nr_waiting--;
		region->in_flight++;
	}
	return block;
}

/**
 * buddy_reclaim_block() - start the way back
 * @block: one without references; it is gone for the caller
 *
 * May sleep; zeroes at most INLINE_PAGES in the caller's time.
 */
void buddy_reclaim_block(struct buddy_block *block)
{
	struct buddy_region *region = block->region;
	bool small = block->pages <= INLINE_PAGES;

	spin_lock(&region->lock);
	block->owner = NULL;
	block->state = BUDDY_EXTENT_RETURNING;
	region->nr_blocks--;
	region->returning += block->pages;
	if (small) {
		region->in_flight++;
	} else {
		list_add_tail(&block->wait, &region->dead);
		region->nr_waiting++;
	}
	spin_unlock(&region->lock);
	if (small)
		block_look(block);
	else
		mod_delayed_work(queue, &region->work, 0);
}

/**
 * buddy_reclaim_help() - bring something back, for an allocation that failed
 * @region: the region
 * @budget: -1 at the first call for an allocation, then left alone
 *
 * One block a call, or waiting for one that another is looking at. The budget
 * bounds the calls by what was on its way at the first.
 *
 * Return: 1 where it is worth trying again; 0 where nothing more can be done;
 * -EINTR when killed.
 */
int buddy_reclaim_help(struct buddy_region *region, int *budget)
{
	struct buddy_block *block;
	bool busy;
	u64 looks;

	spin_lock(&region->lock);
	if (*budget < 0) {
		/* quarantined blocks get one look, too */
		list_splice_tail_init(&region->held, &region->dead);
		*budget = min_t(u32, region->nr_waiting + region->in_flight,
				INT_MAX);
	}
	block = *budget ? take_dead(region) : NULL;
	busy = region->in_flight;
	looks = region->looks;
	spin_unlock(&region->lock);

	if (!*budget)
		return 0;
	--*budget;
	if (block)
		block_look(block);
	else if (!busy)
		return 0;
	else if (wait_event_killable(region->progress,
				     READ_ONCE(region->looks) != looks))
		return -EINTR;
	return fatal_signal_pending(current) ? -EINTR : 1;
}

static void reclaim_work(struct work_struct *work)
{
	struct buddy_region *region = container_of(to_delayed_work(work),
						   struct buddy_region, work);
	struct buddy_block *block;
	unsigned int again = 0;
	u32 todo;

	spin_lock(&region->lock);
	list_splice_tail_init(&region->held, &region->dead);
	/* what comes to be quarantined meanwhile is for the next time */
	todo = region->nr_waiting;
	spin_unlock(&region->lock);
	while (todo--) {
		spin_lock(&region->lock);
		block = take_dead(region);
		spin_unlock(&region->lock);
		if (!block)
			break;
		block_look(block);
	}

	spin_lock(&region->lock);
	if (!list_empty(&region->held)) {
		again = region->poll_ms;
		region->poll_ms = min(2 * again, POLL_MS_MAX + 0u);
	}
	spin_unlock(&region->lock);
	/* an earlier one that was queued meanwhile stays */
	if (again)
		queue_delayed_work(queue, &region->work, msecs_to_jiffies(again));
}

/**
 * buddy_reclaim_start() - get a region ready for blocks to come back
 * @region: the region
 */
void buddy_reclaim_start(struct buddy_region *region)
{
	INIT_LIST_HEAD(&region->dead);
	INIT_LIST_HEAD(&region->held);
	init_waitqueue_head(&region->progress);
	INIT_DELAYED_WORK(&region->work, reclaim_work);
	region->poll_ms = POLL_MS_MIN;
}

/**
 * buddy_reclaim_stop() - end the way back of all blocks, at unload
 * @region: no file of it is open
 *
 * The pages go to the kernel, not to an owner: neither test nor zeroing.
 */
void buddy_reclaim_stop(struct buddy_region *region)
{
	struct buddy_block *block;

	cancel_delayed_work_sync(&region->work);
	spin_lock(&region->lock);
	list_splice_tail_init(&region->held, &region->dead);
	spin_unlock(&region->lock);
	for (;;) {
		spin_lock(&region->lock);
		block = take_dead(region);
		spin_unlock(&region->lock);
		if (!block)
			break;
		block_return(block);
	}
}

/**
 * buddy_reclaim_init() - at load, before any region
 *
 * Return: 0 or -ENOMEM.
 */
int buddy_reclaim_init(void)
{
	queue = alloc_workqueue("buddy_mem", WQ_UNBOUND, 0);
	return queue ? 0 : -ENOMEM;
}

/**
 * buddy_reclaim_exit() - at unload, after all regions
 */
void buddy_reclaim_exit(void)
{
	destroy_workqueue(queue);
}
