// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_runs.c - the indexes of the placement: free runs by length, and for each owner the
 * extents that touch its split units. buddy_index.h says what is noted where.
 */
#include "buddy_index.h"

#define U	BUDDY_PLACE_UNIT

/*
 * Free runs
 */

static bool run_before(const struct rb_node *node, u32 n, const struct buddy_place_unit *unit)
{
	const struct buddy_place_unit *other = rb_entry(node, struct buddy_place_unit, node);

	return other->run < n || (other->run == n && other < unit);
}

static void run_insert(struct buddy_place *place, u32 first, u32 n)
{
	struct buddy_place_unit *unit = &place->units[first];
	struct rb_node **link = &place->runs.rb_node, *parent = NULL;

	if (!n)
		return;
	while (*link) {
		parent = *link;
		link = run_before(parent, n, unit) ? &parent->rb_right : &parent->rb_left;
	}
	unit->run = n;
	unit->state = BUDDY_PLACE_FREE;
	unit[n - 1].run = n;
	unit[n - 1].state = BUDDY_PLACE_FREE;
	rb_link_node(&unit->node, parent, link);
	rb_insert_color(&unit->node, &place->runs);
}

static void run_erase(struct buddy_place *place, u32 first)
{
	rb_erase(&place->units[first].node, &place->runs);
}

long buddy_runs_find(struct buddy_place *place, u32 n)
{
	struct rb_node *node = place->runs.rb_node, *found = NULL;

	while (node) {
		if (run_before(node, n, NULL)) {
			node = node->rb_right;
		} else {
			found = node;
			node = node->rb_left;
		}
	}
	return found ? (long)buddy_place_number(place, rb_entry(found, struct buddy_place_unit,
								node)) : -1;
}

long buddy_runs_longest(struct buddy_place *place)
{
	struct rb_node *last = rb_last(&place->runs);
	u32 n;

	if (!last)
		return -1;
	/* the lowest of those that are as long */
	n = rb_entry(last, struct buddy_place_unit, node)->run;
	return buddy_runs_find(place, n);
}

/* The units beside a unit that are not free: -1 and the number of units at the ends. */
static long left_of(const struct buddy_place *place, u32 number)
{
	const struct buddy_place_unit *unit = &place->units[number];

	if (!number || unit[-1].state != BUDDY_PLACE_FREE)
		return (long)number - 1;
	return (long)number - 1 - unit[-1].run;
}

static u32 right_of(const struct buddy_place *place, u32 number)
{
	const struct buddy_place_unit *unit = &place->units[number];

	if (number + 1 == place->core.granules || unit[1].state != BUDDY_PLACE_FREE)
		return number + 1;
	return number + 1 + unit[1].run;
}

/*
 * Extents
 */

static bool extent_before(const struct rb_node *node, u32 pages, u32 id)
{
	const struct buddy_place_extent *other =
		rb_entry(node, struct buddy_place_extent, node);

	return other->pages < pages || (other->pages == pages && other->id < id);
}

/* The extent of a split unit at a side has a new length; 0: there is none. */
static void set_extent(struct buddy_place *place, struct buddy_place_unit *unit, u32 side,
		       u32 pages)
{
	struct buddy_place_extent *extent = &unit->extent[side];
	struct rb_root *root = &unit->owner->extents;
	struct rb_node **link = &root->rb_node, *parent = NULL;

	if (extent->pages == pages)
		return;
	if (extent->pages)
		rb_erase(&extent->node, root);
	extent->pages = pages;
	if (!pages)
		return;
	extent->id = 2 * buddy_place_number(place, unit) + side;
	while (*link) {
		parent = *link;
		link = extent_before(parent, pages, extent->id) ? &parent->rb_right :
								  &parent->rb_left;
	}
	rb_link_node(&extent->node, parent, link);
	rb_insert_color(&extent->node, root);
}

/* Two boundaries with nothing but free units between them: what their extents are now. */
void buddy_runs_bound(struct buddy_place *place, long l, u32 r)
{
	u32 run = (r - l - 1) * U;
	struct buddy_place_unit *left = NULL, *right = NULL;
	bool same;

	if (l >= 0 && buddy_place_is_split(place, l))
		left = &place->units[l];
	if (r < place->core.granules && buddy_place_is_split(place, r))
		right = &place->units[r];
	same = left && right && left->owner == right->owner;
	if (left)
		set_extent(place, left, 1,
			   run || same ? left->tail + run + (same ? right->head : 0) : 0);
	if (right)
		set_extent(place, right, 0, run && !same ? run + right->head : 0);
}

void buddy_runs_bound_unit(struct buddy_place *place, u32 number)
{
	buddy_runs_bound(place, left_of(place, number), number);
	buddy_runs_bound(place, number, right_of(place, number));
}

u32 buddy_runs_start(const struct buddy_place *place,
		     const struct buddy_place_extent *extent)
{
	u32 number = extent->id / 2;

	if (extent->id % 2)
		return (number + 1) * U - place->units[number].tail;
	return number * U - (extent->pages - place->units[number].head);
}

struct buddy_place_extent *buddy_runs_extent(struct buddy_place_owner *owner, u32 pages)
{
	struct rb_node *node = owner->extents.rb_node, *found = NULL;

	while (node) {
		if (extent_before(node, pages, 0)) {
			node = node->rb_right;
		} else {
			found = node;
			node = node->rb_left;
		}
	}
	return found ? rb_entry(found, struct buddy_place_extent, node) : NULL;
}

struct buddy_place_extent *buddy_runs_next(struct buddy_place_extent *extent)
{
	struct rb_node *node = rb_next(&extent->node);

	return node ? rb_entry(node, struct buddy_place_extent, node) : NULL;
}

/*
 * Changes
 */

/* The first unit of the free run that a unit, taken in the tree by now, was a part of. */
static u32 run_of(const struct buddy_place *place, u32 number)
{
	/* A run has few nodes: their orders rise, then fall. */
	while (number && buddy_core_is_free(&place->core, number - 1, &number))
		;
	return number;
}

void buddy_runs_take(struct buddy_place *place, u32 first, u32 n, long *left, u32 *right)
{
	u32 start = run_of(place, first), end = start + place->units[start].run;

	run_erase(place, start);
	place->units[first].state = BUDDY_PLACE_TAKEN;
	place->units[first + n - 1].state = BUDDY_PLACE_TAKEN;
	run_insert(place, start, first - start);
	run_insert(place, first + n, end - first - n);
	*left = (long)start - 1;
	*right = end;
}

void buddy_runs_return(struct buddy_place *place, u32 first, u32 n)
{
	long left = left_of(place, first);
	u32 right = right_of(place, first + n - 1);

	if ((u32)(left + 1) < first)
		run_erase(place, left + 1);
	if (first + n < right)
		run_erase(place, first + n);
	run_insert(place, left + 1, right - (left + 1));
	buddy_runs_bound(place, left, right);
}

void buddy_runs_forget(struct buddy_place *place, u32 number)
{
	struct buddy_place_unit *unit = &place->units[number];
	struct buddy_place_owner *owner = unit->owner;

	for (u32 i = 0; unit->stale && i < owner->nr_stale; i++) {
		if (owner->stale[i] != number)
			continue;
		owner->stale[i] = owner->stale[--owner->nr_stale];
		break;
	}
	set_extent(place, unit, 0, 0);
	set_extent(place, unit, 1, 0);
	unit->owner = NULL;
	unit->state = BUDDY_PLACE_TAKEN;
}

void buddy_runs_flush(struct buddy_place *place, struct buddy_place_owner *owner)
{
	while (owner->nr_stale) {
		u32 number = owner->stale[--owner->nr_stale];
		struct buddy_place_unit *unit = &place->units[number];

		unit->stale = false;
		unit->head = buddy_bits_head(&unit->bits);
		unit->tail = buddy_bits_tail(&unit->bits);
		buddy_split_update(unit);
		buddy_runs_bound_unit(place, number);
	}
}

void buddy_runs_note(struct buddy_place *place, struct buddy_place_unit *unit, u32 at,
		     u32 pages)
{
	struct buddy_place_owner *owner = unit->owner;

	/* What lies between its ends, and does not touch them, changes none. */
	if (unit->stale || (at > unit->head && at + pages + unit->tail < U))
		return;
	if (owner->nr_stale == BUDDY_PLACE_STALE)
		buddy_runs_flush(place, owner);
	unit->stale = true;
	owner->stale[owner->nr_stale++] = buddy_place_number(place, unit);
}
