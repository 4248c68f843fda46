// SPDX-License-Identifier: GPL-2.0-only
/*
 * reclaim.c - who checks what was released, and when.
 *
 *   released -> unreachable? -> zeroed -> free
 *                 |     ^
 *                 no: quarantine; checked again after 10 ms, doubling to 1 s, and
 *                     when an allocation would fail
 *
 * Each file has a work that checks its items, some in a turn, so that owners take turns;
 * what is small, its owner checks in its own time. An allocation that finds no room
 * checks nothing of others: it asks for a pass over all items (item.c) and waits for it,
 * or for something to become free.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/sched/signal.h>

#include "buddy.h"

#define INLINE_PAGES	16	/* zeroing 64 KiB costs about 5 us */
#define TURN_ITEMS	64	/* then the work of another file has its turn */
#define KICKED_FILES	16	/* under one lock */
#define HELP_PASSES	64	/* that one allocation asks for */
#define HELP_TIMEOUT	(10 * HZ)

static struct workqueue_struct *queue;

/*
 * The work of a file
 */

/* Starts the work of a file in time; the work has a reference. With region->lock. */
static void queue_file(struct buddy_file *file, bool now)
{
	unsigned long delay = 0;

	if (file->region->stopping)
		return;
	if (!now && !file->check_held && list_empty(&file->dead)) {
		if (list_empty(&file->held))
			return;
		delay = time_after(file->due, jiffies) ? file->due - jiffies : 0;
	}
	buddy_file_get(file);
	/* It was queued: then it has one. The caller has one as well. */
	if (mod_delayed_work(file->region->queue, &file->work, delay))
		buddy_file_unref(file);
	else
		file->region->works++;
}

/* In the log, but not under the lock. */
static void report_retired(struct buddy_region *region)
{
	u32 pages;

	spin_lock(&region->lock);
	pages = region->retired - region->reported;
	region->reported = region->retired;
	spin_unlock(&region->lock);
	if (pages)
		pr_warn("/dev/%s: %u KiB are retired until the module is unloaded: a page is poisoned\n",
			region->name, pages << (PAGE_SHIFT - 10));
}

static void reclaim_work(struct work_struct *work)
{
	struct buddy_file *file = container_of(to_delayed_work(work), struct buddy_file,
					       work);
	struct buddy_region *region = file->region;
	struct buddy_unit *unit;

	spin_lock(&region->lock);
	for (int n = 0; n < TURN_ITEMS; n++) {
		unit = buddy_item_next(file);
		if (!unit)
			break;
		buddy_check_item(unit);
		cond_resched_lock(&region->lock);
	}
	queue_file(file, false);
	spin_unlock(&region->lock);
	report_retired(region);
	buddy_file_put(file);
	spin_lock(&region->lock);
	if (!--region->works)
		wake_up_all(&region->changed);
	spin_unlock(&region->lock);
}

/**
 * buddy_reclaim_go() - after pages of a file were released
 * @file: the file; the caller has a reference
 * @unit: a split unit of the file that is checked at once, if there is little to zero in
 *        it; or NULL. May be in any state
 *
 * May sleep; zeroes at most INLINE_PAGES in the caller's time.
 */
void buddy_reclaim_go(struct buddy_file *file, struct buddy_unit *unit)
{
	struct buddy_region *region = file->region;
	bool checked;

	/* Whoever released an item sees it; whoever did not need not care. */
	if (!READ_ONCE(file->nr_items))
		return;
	spin_lock(&region->lock);
	checked = unit && unit->file == file && unit->state == BUDDY_UNIT_SPLIT &&
		  !list_empty(&unit->wait) && buddy_item_pages(unit) <= INLINE_PAGES;
	if (checked)
		buddy_check_item(unit);
	if (file->nr_items)
		queue_file(file, false);
	spin_unlock(&region->lock);
	if (checked)
		report_retired(region);
}

/*
 * Direct reclaim
 */

/* Starts the works of all files with items, for a pass: one at a time. */
static void kick(struct work_struct *work)
{
	struct buddy_region *region = container_of(work, struct buddy_region, kicker);
	struct buddy_file *file;

	spin_lock(&region->lock);
	for (u32 n = 1;; n++) {
		file = list_first_entry_or_null(&region->reclaiming, struct buddy_file,
						reclaiming);
		if (!file || file->kicked == region->pass)
			break;
		list_move_tail(&file->reclaiming, &region->reclaiming);
		file->kicked = region->pass;
		file->check_held = true;
		queue_file(file, true);
		if (n % KICKED_FILES)
			continue;
		spin_unlock(&region->lock);
		cond_resched();
		spin_lock(&region->lock);
	}
	spin_unlock(&region->lock);
}

/* Who waits for memory tries again. Not under region->lock: there may be many. */
static void wake(struct work_struct *work)
{
	struct buddy_region *region = container_of(work, struct buddy_region, waker);

	wake_up_all(&region->changed);
}

static bool has_changed(struct buddy_region *region, const struct buddy_help *help)
{
	return READ_ONCE(region->progress) != help->progress ||
	       (s32)(READ_ONCE(region->pass_done) - help->pass) >= 0;
}

/**
 * buddy_reclaim_help() - wait for something to become free, for what found no room
 * @region: the region
 * @help: zero before the first try of an allocation; @help->progress is set at each
 *
 * Whatever was released before the first call is free, or was found pinned, before this
 * gives up. If something became free after the allocation last failed, others may have
 * taken it, and released more: then it begins again, HELP_PASSES times at most.
 *
 * Return: 1 if it is worth trying again; 0 if nothing more can be done; -EINTR when
 * killed.
 */
int buddy_reclaim_help(struct buddy_region *region, struct buddy_help *help)
{
	bool over;
	long left;

	spin_lock(&region->lock);
	over = help->rounds && (s32)(region->pass_done - help->pass) >= 0;
	if (over && (region->progress == help->progress || help->rounds == HELP_PASSES)) {
		spin_unlock(&region->lock);
		return 0;
	}
	if (over || !help->rounds) {
		help->rounds++;
		help->pass = buddy_pass_request(region);
	}
	spin_unlock(&region->lock);
	left = wait_event_killable_timeout(region->changed, has_changed(region, help),
					   HELP_TIMEOUT);
	return left < 0 ? -EINTR : left > 0;
}

/*
 * Load and unload
 */

/**
 * buddy_reclaim_start() - get a region ready for pages to be released
 * @region: the region
 */
void buddy_reclaim_start(struct buddy_region *region)
{
	INIT_LIST_HEAD(&region->reclaiming);
	init_waitqueue_head(&region->changed);
	INIT_WORK(&region->kicker, kick);
	INIT_WORK(&region->waker, wake);
	region->queue = queue;
	region->file_work = reclaim_work;
}

static void file_abandon(struct buddy_file *file)
{
	struct buddy_region *region = file->region;
	struct buddy_unit *unit;

	spin_lock(&region->lock);
	list_splice_tail_init(&file->held, &file->dead);
	while ((unit = list_first_entry_or_null(&file->dead, struct buddy_unit, wait))) {
		buddy_check_abandon(unit);
		cond_resched_lock(&region->lock);
	}
	spin_unlock(&region->lock);
}

static void unretire(struct buddy_unit *unit)
{
	struct buddy_file *file = unit->file;

	if (file)
		buddy_file_get(file);
	buddy_check_unretire(unit);
	if (file)
		buddy_file_put(file);
}

/**
 * buddy_reclaim_stop() - everything is free, at unload
 * @region: no file of it is open
 *
 * The pages go to the kernel, not to an owner: neither check nor zeroing.
 */
void buddy_reclaim_stop(struct buddy_region *region)
{
	struct buddy_file *file;

	spin_lock(&region->lock);
	region->stopping = true;
	spin_unlock(&region->lock);
	/* None is cancelled, which some kernels (6.12) make final: the last poll is near. */
	wait_event(region->changed, !READ_ONCE(region->works));
	/* The one that was the last has left the lock. */
	spin_lock(&region->lock);
	spin_unlock(&region->lock);
	for (;;) {
		spin_lock(&region->lock);
		file = list_first_entry_or_null(&region->reclaiming, struct buddy_file,
						reclaiming);
		if (file)
			buddy_file_get(file);
		spin_unlock(&region->lock);
		if (!file)
			break;
		file_abandon(file);
		buddy_file_put(file);
	}
	for (u32 i = 0; region->retired && i < region->pages / BUDDY_UNIT_PAGES; i++) {
		unretire(&region->units[i]);
		cond_resched();
	}
	/* The end of a pass may have queued them once more. */
	cancel_work_sync(&region->kicker);
	cancel_work_sync(&region->waker);
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
