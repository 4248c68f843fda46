// SPDX-License-Identifier: GPL-2.0-only
/*
 * reclaim.c - the way back of a block, from its last reference to the tree.
 *
 *   last reference gone -> nobody can reach the pages? -> zeroed -> free
 *                            |             ^
 *                            no: quarantine, looked at again after 10 ms,
 *                            doubling to 1 s, and when an allocation would fail
 *
 * Owns region->dead, held, looking and broken, and the work item. A block on its
 * way is on one of these lists; on "looking" while somebody looks at it, who may
 * then put it elsewhere. While "dead" or "held" has a block, the work is pending
 * or about to be.
 *
 * A block with a page that the hardware reported as broken (PageHWPoison) never
 * comes back: it is neither zeroed nor served again.
 *
 * Small blocks, and untouched ones, come back in the caller's context, large ones in
 * the work item. Everything in the tree is zero, so no allocation ever has to zero.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "buddy.h"

#define INLINE_PAGES	16	/* zeroing 64 KiB costs about 5 us */
/*
 * What an allocation that helps zeroes itself. Not more: it may be of another
 * owner, slow (a throttled cgroup) or killed, and others wait for the block.
 */
#define HELP_PAGES	BUDDY_UNIT_PAGES
#define HELP_ROUNDS	64	/* each waits for what is freed by then */
#define HELP_HELD	1024	/* held blocks, of whomever, looked at in each */
#define POLL_MS_MIN	10
#define POLL_MS_MAX	1000

static struct workqueue_struct *queue;

/**
 * buddy_zero_pages() - zero a range of the region
 * @region: the region
 * @first: first page
 * @pages: length
 * @killable: stop at a fatal signal
 *
 * May sleep.
 *
 * Return: true, or false where it was stopped.
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

static bool block_is_broken(const struct buddy_kblock *block)
{
	for (u32 i = 0; i < block->pages; i++) {
		if (PageHWPoison(buddy_region_page(block->region,
						   block->first + i)))
			return true;
		if (!(i % BUDDY_UNIT_PAGES))
			cond_resched();
	}
	return false;
}

/*
 * Lists. The block that is looked at is on region->looking.
 */

static void finish_look(struct buddy_kblock *block)
{
	lockdep_assert_held(&block->region->lock);
	list_del(&block->wait);
	/* who waits for it reads it without the lock */
	WRITE_ONCE(block->region->looks, block->region->looks + 1);
}

/* The pages of the block are in another state from now on. */
static void block_set_state(struct buddy_kblock *block, u32 state)
{
	struct buddy_region *region = block->region;
	u32 *pages[] = {
		[BUDDY_EXTENT_RETURNING] = &region->returning,
		[BUDDY_EXTENT_QUARANTINED] = &region->quarantined,
		[BUDDY_EXTENT_RESERVED] = &region->retired,
	};

	lockdep_assert_held(&region->lock);
	if (block->state != BUDDY_EXTENT_USED)
		*pages[block->state] -= block->pages;
	if (state != BUDDY_EXTENT_FREE)
		*pages[state] += block->pages;
	block->state = state;
}

/* Nobody can reach it and it is zero: free. */
static void block_return(struct buddy_kblock *block)
{
	struct buddy_region *region = block->region;
	u32 units = buddy_kblock_units(block);
	int err = 0;

	spin_lock(&region->lock);
	block_set_state(block, BUDDY_EXTENT_FREE);
	rb_erase(&block->node, &region->blocks);
	if (units)
		err = buddy_core_free(&region->core, block->first / BUDDY_UNIT_PAGES,
				      units);
	WARN_ON_ONCE(err);
	if (block->tail)
		buddy_unit_free(block);
	finish_look(block);
	spin_unlock(&region->lock);
	buddy_kblock_destroy(block);
	wake_up_all(&region->progress);
}

static void block_quarantine(struct buddy_kblock *block)
{
	struct buddy_region *region = block->region;
	bool sooner = false;
	unsigned int ms;

	spin_lock(&region->lock);
	finish_look(block);
	list_add_tail(&block->wait, &region->held);
	region->nr_held++;
	if (block->state == BUDDY_EXTENT_RETURNING) {
		block_set_state(block, BUDDY_EXTENT_QUARANTINED);
		sooner = region->poll_ms > POLL_MS_MIN;
		region->poll_ms = POLL_MS_MIN;
	}
	ms = region->poll_ms;
	spin_unlock(&region->lock);
	wake_up_all(&region->progress);
	/* Once only: moved by each new block, it would never come. */
	if (sooner)
		mod_delayed_work(queue, &region->work, msecs_to_jiffies(ms));
	else
		queue_delayed_work(queue, &region->work, msecs_to_jiffies(ms));
}

static void block_retire(struct buddy_kblock *block)
{
	struct buddy_region *region = block->region;

	spin_lock(&region->lock);
	finish_look(block);
	list_add(&block->wait, &region->broken);
	block_set_state(block, BUDDY_EXTENT_RESERVED);
	spin_unlock(&region->lock);
	wake_up_all(&region->progress);
	pr_warn("/dev/%s: %u KiB out of service: a page is broken\n", region->name,
		block->pages << (PAGE_SHIFT - 10));
}

/* For the work item. The list stays in order of birth; older ones are few. */
static void block_leave_to_work(struct buddy_kblock *block)
{
	struct buddy_region *region = block->region;
	struct list_head *after = &region->dead;
	struct buddy_kblock *other;

	spin_lock(&region->lock);
	finish_look(block);
	list_for_each_entry(other, &region->dead, wait) {
		if (other->born > block->born)
			break;
		after = &other->wait;
	}
	list_add(&block->wait, after);
	spin_unlock(&region->lock);
	wake_up_all(&region->progress);
	mod_delayed_work(queue, &region->work, 0);
}

/* Looks at a block on region->looking. */
static void block_look(struct buddy_kblock *block, bool helping)
{
	if (!buddy_kblock_is_unreachable(block)) {
		block_quarantine(block);
	} else if (!block->touched) {
		block_return(block);
	} else if (helping && block->pages > HELP_PAGES) {
		block_leave_to_work(block);
	} else if (block_is_broken(block)) {
		block_retire(block);
	} else {
		buddy_zero_pages(block->region, block->first, block->pages, false);
		block_return(block);
	}
}

static struct buddy_kblock *take_first(struct buddy_region *region,
				       struct list_head *list)
{
	struct buddy_kblock *block;

	lockdep_assert_held(&region->lock);
	block = list_first_entry_or_null(list, struct buddy_kblock, wait);
	if (block) {
		list_move(&block->wait, &region->looking);
		region->nr_held -= list == &region->held;
	}
	return block;
}

/**
 * buddy_reclaim_block() - start the way back
 * @block: one without references; it is gone for the caller
 *
 * May sleep; zeroes at most INLINE_PAGES in the caller's time.
 */
void buddy_reclaim_block(struct buddy_kblock *block)
{
	struct buddy_region *region = block->region;
	bool small = block->pages <= INLINE_PAGES || !block->touched;

	spin_lock(&region->lock);
	block->born = ++region->births;
	block_set_state(block, BUDDY_EXTENT_RETURNING);
	region->nr_blocks--;
	region->frees++;
	list_add_tail(&block->wait, small ? &region->looking : &region->dead);
	spin_unlock(&region->lock);
	if (small)
		block_look(block, false);
	else
		mod_delayed_work(queue, &region->work, 0);
}

static bool older_in_flight(struct buddy_region *region, u64 born)
{
	struct buddy_kblock *block;

	lockdep_assert_held(&region->lock);
	list_for_each_entry(block, &region->looking, wait)
		if (block->born <= born)
			return true;
	return false;
}

/* What is freed by now is what is waited for. */
static void help_start(struct buddy_region *region, struct buddy_help *help)
{
	lockdep_assert_held(&region->lock);
	help->started = true;
	help->born = region->births;
	help->held = min_t(u32, region->nr_held, HELP_HELD);
}

/**
 * buddy_reclaim_help() - bring something back, for an allocation that failed
 * @region: the region
 * @help: zero before the first call of an allocation, which sets @help->looks at
 *        each failure
 *
 * One block a call, or waiting for one that another is looking at (large ones are
 * left to the work item): each block that was freed before the first call comes
 * back, or is found held, before this gives up. Where something came back after the
 * allocation last failed, others may have taken it, and freed more: then it begins
 * again, HELP_ROUNDS times at most.
 *
 * Return: 1 where it is worth trying again; 0 where nothing more can be done;
 * -EINTR when killed.
 */
int buddy_reclaim_help(struct buddy_region *region, struct buddy_help *help)
{
	struct buddy_kblock *block;
	bool busy = false, again = false;

	spin_lock(&region->lock);
	if (!help->started)
		help_start(region, help);
	block = list_first_entry_or_null(&region->dead, struct buddy_kblock, wait);
	if (block && block->born <= help->born && block->pages > HELP_PAGES) {
		block = NULL;
		busy = true;
	} else if (block && block->born <= help->born) {
		take_first(region, &region->dead);
	} else if (help->held && region->nr_held) {
		help->held--;
		block = take_first(region, &region->held);
	} else {
		block = NULL;
		busy = older_in_flight(region, help->born);
		/* What came back, others took, who freed more? */
		again = !busy && region->looks != help->looks &&
			help->rounds++ < HELP_ROUNDS;
		if (again)
			help_start(region, help);
	}
	spin_unlock(&region->lock);

	if (block) {
		block_look(block, true);
	} else if (busy) {
		if (wait_event_killable(region->progress,
					READ_ONCE(region->looks) != help->looks))
			return -EINTR;
	} else if (!again) {
		return 0;
	}
	return fatal_signal_pending(current) ? -EINTR : 1;
}

static struct buddy_kblock *take_for_work(struct buddy_region *region, u32 *held)
{
	struct buddy_kblock *block;

	spin_lock(&region->lock);
	block = take_first(region, &region->dead);
	if (!block && *held) {
		--*held;
		block = take_first(region, &region->held);
	}
	spin_unlock(&region->lock);
	return block;
}

static void reclaim_work(struct work_struct *work)
{
	struct buddy_region *region = container_of(to_delayed_work(work),
						   struct buddy_region, work);
	struct buddy_kblock *block;
	u32 held;

	spin_lock(&region->lock);
	held = region->nr_held;
	/* what is still held is then looked at later and later */
	region->poll_ms = min(2 * region->poll_ms, POLL_MS_MAX + 0u);
	spin_unlock(&region->lock);
	while ((block = take_for_work(region, &held))) {
		block_look(block, false);
		cond_resched();
	}
}

/**
 * buddy_reclaim_start() - get a region ready for blocks to come back
 * @region: the region
 */
void buddy_reclaim_start(struct buddy_region *region)
{
	INIT_LIST_HEAD(&region->dead);
	INIT_LIST_HEAD(&region->held);
	INIT_LIST_HEAD(&region->looking);
	INIT_LIST_HEAD(&region->broken);
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
	struct buddy_kblock *block;

	cancel_delayed_work_sync(&region->work);
	spin_lock(&region->lock);
	list_splice_init(&region->held, &region->dead);
	list_splice_init(&region->broken, &region->dead);
	spin_unlock(&region->lock);
	for (;;) {
		spin_lock(&region->lock);
		block = take_first(region, &region->dead);
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
