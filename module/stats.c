// SPDX-License-Identifier: GPL-2.0-only
/*
 * stats.c - what a region says of itself: STATS, EXTENTS, and the numbers that
 * come with ENOMEM. Changes nothing.
 */
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "buddy.h"

#define BATCH	16	/* extents looked up before they are copied out */

/**
 * buddy_stats_shortage() - why an allocation found no memory
 * @region: the region
 * @alloc: the reply, of which the last three members are filled
 */
void buddy_stats_shortage(struct buddy_region *region, struct buddy_alloc *alloc)
{
	spin_lock(&region->lock);
	alloc->out_free = buddy_bytes(region->core.free);
	alloc->out_largest = buddy_bytes(buddy_core_largest(&region->core));
	alloc->out_returning = buddy_bytes(region->returning) +
			       buddy_bytes(region->quarantined);
	spin_unlock(&region->lock);
}

/**
 * buddy_stats() - BUDDY_IOC_STATS
 * @call: the call
 *
 * Return: 0, -EINVAL, -EFAULT.
 */
int buddy_stats(struct buddy_call *call)
{
	struct buddy_region *region = call->file->region;
	const struct buddy_core *core = &region->core;
	struct buddy_stats *s = &call->u.stats;
	u32 used;

	if (s->flags)
		return -EINVAL;
	memset(s, 0, sizeof(*s));

	spin_lock(&region->lock);
	used = core->granules - core->free - core->reserved - region->returning -
	       region->quarantined;
	s->out_region = buddy_bytes(core->granules);
	s->out_free = buddy_bytes(core->free);
	s->out_used = buddy_bytes(used);
	s->out_returning = buddy_bytes(region->returning);
	s->out_quarantined = buddy_bytes(region->quarantined);
	s->out_reserved = buddy_bytes(core->reserved);
	s->out_largest = buddy_bytes(buddy_core_largest(core));
	s->out_low_water = buddy_bytes(core->low_water);
	s->out_blocks = region->nr_blocks;
	s->out_allocs = core->allocs;
	s->out_frees = core->frees;
	s->out_fails = region->fails;
	s->out_fragmentation = buddy_core_fragmentation(core);
	s->out_orders = fls(core->granules);
	for (u32 order = 0; order < s->out_orders; order++)
		s->out_free_blocks[order] = buddy_core_count(core, order);
	spin_unlock(&region->lock);
	return buddy_call_reply(call);
}

/* The extent that holds @page. */
static void extent_at(struct buddy_region *region, u32 page,
		      struct buddy_extent_entry *entry)
{
	struct buddy_block *block;
	struct buddy_extent e;

	spin_lock(&region->lock);
	buddy_core_find(&region->core, page, &e);
	block = e.used ? buddy_block_at(region, page) : NULL;
	*entry = (struct buddy_extent_entry){
		.offset = buddy_bytes(e.offset),
		.length = buddy_bytes(e.size),
		.state = block ? block->state :
			 e.used ? BUDDY_EXTENT_RESERVED : BUDDY_EXTENT_FREE,
		.pid = block && block->owner ? pid_vnr(block->owner->opener) : 0,
	};
	spin_unlock(&region->lock);
}

/**
 * buddy_extents() - BUDDY_IOC_EXTENTS
 * @call: the call
 *
 * Return: 0, -EINVAL, -EFAULT, -EINTR.
 */
int buddy_extents(struct buddy_call *call)
{
	struct buddy_region *region = call->file->region;
	struct buddy_extents *x = &call->u.extents;
	struct buddy_extent_entry __user *to = u64_to_user_ptr(x->entries);
	struct buddy_extent_entry batch[BATCH];
	u64 page = x->start >> PAGE_SHIFT;

	if (x->flags || !x->count)
		return -EINVAL;
	x->out_count = 0;
	while (page < region->pages && x->out_count < x->count) {
		u32 n = 0;

		while (n < BATCH && page < region->pages &&
		       n < x->count - x->out_count) {
			extent_at(region, page, &batch[n]);
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
	x->out_next = buddy_bytes(page);
	return buddy_call_reply(call);
}
