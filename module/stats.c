// SPDX-License-Identifier: GPL-2.0-only
/*
 * stats.c - what a region says of itself: STATS, EXTENTS, and the numbers that
 * come with ENOMEM. Changes nothing.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include "buddy.h"
#include "compat.h"

#define BATCH	16	/* extents looked up before they are copied out */

/* The longest block that a file could have; region->lock is not held all the time. */
static u32 longest_block(struct buddy_file *file)
{
	struct buddy_region *region = file->region;
	bool known = false;
	u32 pages = 0;

	while (!known) {
		spin_lock(&region->lock);
		known = buddy_place_longest(&region->place, &file->place, &pages);
		spin_unlock(&region->lock);
		cond_resched();
	}
	return pages;
}

/**
 * buddy_stats_shortage() - why an allocation found no memory
 * @file: who asked
 * @alloc: its flags, and the reply, of which the members on the region are filled
 *
 * For a block that lies alone only whole units count.
 */
void buddy_stats_shortage(struct buddy_file *file, struct buddy_alloc *alloc)
{
	struct buddy_region *region = file->region;
	struct buddy_place *place = &region->place;
	bool alone = alloc->flags & BUDDY_ALLOC_ALONE;
	u32 largest = alone ? 0 : longest_block(file);

	guard(spinlock)(&region->lock);
	if (alone)
		largest = buddy_place_longest_run(place) * BUDDY_UNIT_PAGES;
	alloc->out_free = buddy_bytes((u64)place->core.free * BUDDY_UNIT_PAGES +
				      (alone ? 0 : file->place.private));
	alloc->out_largest = buddy_bytes(largest);
	alloc->out_returning = buddy_bytes(region->returning) +
			       buddy_bytes(region->quarantined);
}

static u64 unit_bytes(u64 units)
{
	return units * BUDDY_UNIT;
}

/**
 * buddy_stats() - the answer to BUDDY_IOC_STATS
 * @file: who asks
 * @s: the request, replaced by the reply
 *
 * Return: 0 or -EINVAL.
 */
int buddy_stats(struct buddy_file *file, struct buddy_stats *s)
{
	struct buddy_region *region = file->region;
	struct buddy_place *place = &region->place;
	const struct buddy_core *core = &place->core;
	u32 free, used, largest;

	if (s->flags)
		return -EINVAL;
	memset(s, 0, sizeof(*s));
	largest = longest_block(file);

	guard(spinlock)(&region->lock);
	used = (core->granules - core->free) * BUDDY_UNIT_PAGES - place->private -
	       region->returning - region->quarantined - region->retired;
	free = core->free * BUDDY_UNIT_PAGES + place->private;
	s->out_region = buddy_bytes(region->pages);
	s->out_free = unit_bytes(core->free);
	s->out_used = buddy_bytes(used);
	s->out_private = buddy_bytes(place->private);
	s->out_returning = buddy_bytes(region->returning);
	s->out_quarantined = buddy_bytes(region->quarantined);
	s->out_reserved = buddy_bytes(region->retired);
	s->out_largest = buddy_bytes(largest);
	s->out_low_water = unit_bytes(core->low_water);
	s->out_blocks = region->nr_blocks;
	s->out_allocs = region->allocs;
	s->out_frees = region->frees;
	s->out_fails = region->fails;
	s->out_fragmentation = buddy_place_fragmentation(free, largest);
	s->out_orders = fls(region->pages);
	for (u32 order = BUDDY_UNIT_ORDER; order < s->out_orders; order++)
		s->out_free_blocks[order] =
			buddy_core_count(core, order - BUDDY_UNIT_ORDER);
	return 0;
}

/*
 * The process that opened the file, by its number in the PID namespace of the caller;
 * 0 if it is gone, is in no such namespace, or is none of the caller's business: pids
 * of other users take @all.
 */
static pid_t file_pid(const struct buddy_file *file, bool all)
{
	if (!file || file->closed || !(all || uid_eq(file->uid, current_euid())))
		return 0;
	guard(rcu)();
	return pid_task(file->opener, PIDTYPE_TGID) ? pid_vnr(file->opener) : 0;
}

/* The state of a run, or of a range of a split unit, that is not free. */
static u32 state_of(const struct buddy_unit *unit, bool retired, bool dead)
{
	if (retired)
		return BUDDY_EXTENT_RESERVED;
	if (dead)
		return unit->held ? BUDDY_EXTENT_QUARANTINED : BUDDY_EXTENT_RETURNING;
	return BUDDY_EXTENT_USED;
}

/* The extent that holds @page; with pids of all users, if @all. */
static void extent_at(struct buddy_region *region, u32 page, bool all,
		      struct buddy_extent_entry *entry)
{
	u32 state = BUDDY_EXTENT_FREE;
	struct buddy_unit *unit;
	struct buddy_core_span e;
	u32 at;

	guard(spinlock)(&region->lock);
	buddy_place_find(&region->place, page, &e);
	unit = buddy_unit_of(region, e.offset);
	at = e.offset % BUDDY_UNIT_PAGES;
	if (unit->state == BUDDY_UNIT_SPLIT)
		state = e.used ? state_of(unit, test_bit(at, unit->retired),
					  test_bit(at, unit->dead)) : BUDDY_EXTENT_PRIVATE;
	else if (e.used)
		state = state_of(unit, unit->state == BUDDY_UNIT_RETIRED,
				 unit->state == BUDDY_UNIT_DEAD);
	*entry = (struct buddy_extent_entry){
		.offset = buddy_bytes(e.offset),
		.length = buddy_bytes(e.size),
		.state = state,
	};
	if (state == BUDDY_EXTENT_USED || state == BUDDY_EXTENT_PRIVATE)
		entry->pid = file_pid(unit->file, all);
}

/* What has merged with an extent before it meanwhile begins where that one ended. */
static void extent_cut(struct buddy_extent_entry *entry, u32 page)
{
	u64 cut = buddy_bytes(page) - entry->offset;

	entry->offset += cut;
	entry->length -= cut;
}

/**
 * buddy_extents() - the answer to BUDDY_IOC_EXTENTS
 * @region: the region
 * @x: the request, replaced by the reply; the entries are copied out here
 *
 * Return: 0, -EINVAL, -EFAULT, -EINTR.
 */
int buddy_extents(struct buddy_region *region, struct buddy_extents *x)
{
	struct buddy_extent_entry __user *to = u64_to_user_ptr(x->entries);
	struct buddy_extent_entry batch[BATCH];
	u64 page = x->start >> PAGE_SHIFT;
	/* root of a container is not root of those outside it */
	bool all = ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);

	if (x->flags || !x->count)
		return -EINVAL;
	x->out_count = 0;
	while (page < region->pages && x->out_count < x->count) {
		u32 n = 0;

		while (n < BATCH && page < region->pages &&
		       n < x->count - x->out_count) {
			extent_at(region, page, all, &batch[n]);
			if (x->out_count + n)
				extent_cut(&batch[n], page);
			page = (batch[n].offset + batch[n].length) >> PAGE_SHIFT;
			n++;
		}
		if (copy_to_user(to + x->out_count, batch, n * sizeof(*batch)))
			return -EFAULT;
		x->out_count += n;
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	x->out_next = buddy_bytes(min_t(u64, page, region->pages));
	return 0;
}
