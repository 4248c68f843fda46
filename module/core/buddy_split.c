// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_split.c - the split units of an owner: a tree by number, in which each node knows
 * the longest run of free pages and the largest node in its subtree.
 *
 * unit->longest is not exact: what is taken may shorten it, and that is found only when a
 * search has failed there. So a call that takes or frees pages computes no run but its own.
 */
#include "buddy_index.h"

#define U	BUDDY_PLACE_UNIT

static u64 larger(u64 a, u64 b)
{
	u64 most = 0;

	for (enum buddy_lane lane = 0; lane < BUDDY_LANES; lane++) {
		u64 mask = 0xffffull << 16 * lane;

		most |= (a & mask) > (b & mask) ? a & mask : b & mask;
	}
	return most;
}

static struct buddy_place_unit *unit_of(struct rb_node *node)
{
	return rb_entry(node, struct buddy_place_unit, node);
}

static u64 own_sub(const struct buddy_place_unit *unit)
{
	return (u64)unit->tail << 16 * BUDDY_LANE_TAIL |
	       (u64)unit->head << 16 * BUDDY_LANE_HEAD |
	       (u64)buddy_bits_largest(&unit->bits) << 16 * BUDDY_LANE_NODE |
	       (u64)unit->longest << 16 * BUDDY_LANE_RUN;
}

static inline bool compute_sub(struct buddy_place_unit *unit, bool exit)
{
	u64 sub = own_sub(unit);

	if (unit->node.rb_left)
		sub = larger(sub, unit_of(unit->node.rb_left)->sub);
	if (unit->node.rb_right)
		sub = larger(sub, unit_of(unit->node.rb_right)->sub);
	if (exit && sub == unit->sub)
		return true;
	unit->sub = sub;
	return false;
}

RB_DECLARE_CALLBACKS(static, by_number, struct buddy_place_unit, node, sub, compute_sub);

static void unit_insert(struct buddy_place_owner *owner, struct buddy_place_unit *unit)
{
	struct rb_node **link = &owner->units.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = unit_of(parent) < unit ? &parent->rb_right : &parent->rb_left;
	}
	rb_link_node(&unit->node, parent, link);
	unit->sub = own_sub(unit);
	by_number.propagate(parent, NULL);
	rb_insert_augmented(&unit->node, &owner->units, &by_number);
}

static bool has(u64 sub, const struct buddy_sought *sought)
{
	return buddy_split_lane(sub, sought->lane) >= sought->pages;
}

static bool below_has(const struct rb_node *node, const struct buddy_sought *sought)
{
	return node && has(rb_entry(node, struct buddy_place_unit, node)->sub, sought);
}

/* The lowest unit of a subtree that has it; there is one. */
static struct buddy_place_unit *lowest(struct rb_node *node,
				       const struct buddy_sought *sought)
{
	for (;;) {
		if (below_has(node->rb_left, sought)) {
			node = node->rb_left;
			continue;
		}
		if (has(own_sub(unit_of(node)), sought))
			return unit_of(node);
		node = node->rb_right;
	}
}

struct buddy_place_unit *buddy_split_first(struct buddy_place_owner *owner,
					   const struct buddy_sought *sought)
{
	struct rb_node *root = owner->units.rb_node;

	return below_has(root, sought) ? lowest(root, sought) : NULL;
}

struct buddy_place_unit *buddy_split_next(struct buddy_place_unit *unit,
					  const struct buddy_sought *sought)
{
	struct rb_node *node = &unit->node, *parent;

	if (below_has(node->rb_right, sought))
		return lowest(node->rb_right, sought);
	for (; (parent = rb_parent(node)); node = parent) {
		if (node == parent->rb_right)
			continue;
		if (has(own_sub(unit_of(parent)), sought))
			return unit_of(parent);
		if (below_has(parent->rb_right, sought))
			return lowest(parent->rb_right, sought);
	}
	return NULL;
}

void buddy_split_update(struct buddy_place_unit *unit)
{
	by_number.propagate(&unit->node, NULL);
}

void buddy_split_set_longest(struct buddy_place_unit *unit, u32 longest)
{
	unit->longest = longest;
	buddy_split_update(unit);
}

/*
 * Units that become split, or are no longer
 */

void buddy_split_open(struct buddy_place *place, struct buddy_place_owner *owner, u32 number,
		      u32 at, u32 pages)
{
	struct buddy_place_unit *unit = &place->units[number];

	buddy_bits_init(&unit->bits, U);
	buddy_bits_take(&unit->bits, at, pages);
	unit->state = BUDDY_PLACE_SPLIT;
	unit->owner = owner;
	unit->stale = false;
	unit->head = at;
	unit->tail = U - at - pages;
	unit->longest = unit->head > unit->tail ? unit->head : unit->tail;
	unit_insert(owner, unit);
	owner->private += U - pages;
	place->private += U - pages;
}

void buddy_split_close(struct buddy_place *place, u32 number)
{
	struct buddy_place_unit *unit = &place->units[number];
	struct buddy_place_owner *owner = unit->owner;

	rb_erase_augmented(&unit->node, &owner->units, &by_number);
	owner->private -= unit->bits.free;
	place->private -= unit->bits.free;
	buddy_promise_update(place, owner);
	buddy_runs_forget(place, number);
}

void buddy_split_take(struct buddy_place *place, u32 number, u32 at, u32 pages)
{
	struct buddy_place_unit *unit = &place->units[number];

	buddy_bits_take(&unit->bits, at, pages);
	unit->owner->private -= pages;
	place->private -= pages;
	buddy_runs_note(place, unit, at, pages);
	if (unit->longest > unit->bits.free)
		unit->longest = unit->bits.free;
	buddy_split_update(unit);
}

bool buddy_split_is_free(const struct buddy_place *place,
			 const struct buddy_place_owner *owner, u32 number, u32 at,
			 u32 pages)
{
	const struct buddy_place_unit *unit = &place->units[number];

	return unit->owner == owner && buddy_bits_is_free(&unit->bits, at, pages);
}

long buddy_split_find(struct buddy_place *place, struct buddy_place_owner *owner, u32 pages,
		      u32 align)
{
	struct buddy_sought run = { BUDDY_LANE_RUN, pages };
	struct buddy_sought node = { BUDDY_LANE_NODE, pages > align ? pages : align };
	struct buddy_place_unit *unit = buddy_split_first(owner, &run);
	u32 misfits = 0, fixes = 0, first;
	long at;

	while (unit && misfits < BUDDY_PLACE_TRIES) {
		at = buddy_bits_fit(&unit->bits, pages, align);
		if (at >= 0)
			return buddy_place_number(place, unit) * U + at;
		buddy_split_set_longest(unit, buddy_bits_longest(&unit->bits, &first));
		if (unit->longest >= pages)
			misfits++;
		else if (++fixes == BUDDY_PLACE_FIXES)
			return -EAGAIN;
		unit = buddy_split_next(unit, &run);
	}
	/* A node of that size has its alignment as well. */
	unit = unit ? buddy_split_first(owner, &node) : NULL;
	if (!unit)
		return -ENOSPC;
	return buddy_place_number(place, unit) * U +
	       buddy_bits_fit(&unit->bits, pages, align);
}
