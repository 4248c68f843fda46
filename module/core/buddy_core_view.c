// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_core_view.c - what the tree says of itself. Changes nothing.
 */
#include "buddy_nodes.h"

/* The number of granules from the used node (order, offset) to its block's end. */
static u32 block_rest(const struct buddy_core *core, u32 order, u32 offset)
{
	u32 end = offset + (1u << order);

	while (node_goes_on(core, order, end - (1u << order))) {
		order = buddy_ctz32(end);
		while (order && !node_is_used(core, order, end))
			order--;
		end += 1u << order;
	}
	return end - offset;
}

int buddy_core_find(const struct buddy_core *core, u32 offset,
		    struct buddy_core_span *span)
{
	u32 order, before, start;

	buddy_assert_owned(core);
	if (offset >= core->granules)
		return -EINVAL;
	order = free_node_at(core, offset);
	if (order != BUDDY_CORE_ORDERS) {
		*span = (struct buddy_core_span){
			.offset = offset >> order << order,
			.size = 1u << order,
		};
		return 0;
	}
	for (order = 0; order < BUDDY_CORE_ORDERS - 1; order++)
		if (node_is_used(core, order, offset >> order << order))
			break;
	start = offset >> order << order;
	while ((before = predecessor(core, start)) != BUDDY_CORE_ORDERS) {
		order = before;
		start -= 1u << order;
	}
	*span = (struct buddy_core_span){
		.offset = start,
		.size = block_rest(core, order, start),
		.used = true,
	};
	return 0;
}

bool buddy_core_is_free(const struct buddy_core *core, u32 offset, u32 *first)
{
	u32 order = free_node_at(core, offset);

	buddy_assert_owned(core);
	if (order == BUDDY_CORE_ORDERS)
		return false;
	*first = offset >> order << order;
	return true;
}

u32 buddy_core_largest(const struct buddy_core *core)
{
	u32 orders = core->slot_mask | core->map_mask;

	buddy_assert_owned(core);
	return orders ? 1u << buddy_log2(orders) : 0;
}

u32 buddy_core_count(const struct buddy_core *core, u32 order)
{
	buddy_assert_owned(core);
	return core->map[order].count + (core->slot_mask >> order & 1);
}

u32 buddy_core_fragmentation(const struct buddy_core *core)
{
	u64 largest = buddy_core_largest(core);

	/* 32-bit kernels have no 64-bit division: scale both below 2^22. */
	u32 shift = core->free >> 22 ? buddy_log2(core->free) - 21 : 0;

	if (!core->free)
		return 0;
	return 1000 - (u32)(largest >> shift) * 1000 / (core->free >> shift);
}
