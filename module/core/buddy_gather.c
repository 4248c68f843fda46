// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_gather.c - pages that are promised, and taken piece by piece.
 *
 * A small block lies in free pages of its owner's split units, and splits no other one
 * while these suffice: so that free units stay whole. A large one takes free units first.
 * What is less than a unit then goes to the start of a split unit of the owner, or to the
 * end of one, or to both, or to a free unit; only then into crumbs.
 *
 * Whoever takes pages leaves as many free units as all promises together need beyond the
 * free pages of their owners (buddy_promise_allows()). So a piece is always there.
 */
#include "buddy_index.h"

#define U	BUDDY_PLACE_UNIT

int buddy_place_promise(struct buddy_place *place, struct buddy_place_owner *owner,
			struct buddy_place_gather *gather)
{
	struct buddy_promise promise = {
		.pages = owner->promised + (gather->whole ? 0 : gather->pages),
		.whole = owner->whole + (gather->whole ? gather->pages / U : 0),
	};

	if (!buddy_promise_allows(place, owner, 0, owner->private, &promise))
		return -ENOSPC;
	buddy_promise_set(place, owner, &promise);
	gather->left = gather->pages;
	return 0;
}

void buddy_place_forgo(struct buddy_place *place, struct buddy_place_owner *owner,
		       struct buddy_place_gather *gather)
{
	struct buddy_promise promise = buddy_promise_after(owner, gather, gather->left);

	buddy_promise_set(place, owner, &promise);
	gather->left = 0;
}

/* May one more unit be split for what is left? */
static bool may_open(const struct buddy_place *place, const struct buddy_place_owner *owner,
		     const struct buddy_place_gather *gather)
{
	struct buddy_promise promise = buddy_promise_after(owner, gather, gather->left);

	return buddy_promise_allows(place, owner, 1, owner->private + U - gather->left,
				    &promise);
}

/* Whole units, as many in one run as there are, and as are not promised otherwise. */
static bool find_units(struct buddy_place *place, const struct buddy_place_owner *owner,
		       const struct buddy_place_gather *gather,
		       struct buddy_place_piece *piece)
{
	u32 others = place->reserved - owner->reserved + (gather->whole ? 0 : owner->whole);
	u32 most = place->core.free - others, units = gather->left / U;
	long unit = buddy_runs_longest(place);

	if (units > most)
		units = most;
	if (!units || unit < 0)
		return false;
	if (units > place->units[unit].run)
		units = place->units[unit].run;
	/* the shortest run that has them, so that longer ones stay */
	unit = buddy_runs_find(place, units);
	piece->first = unit * U;
	piece->pages = units * U;
	return true;
}

/* The lowest unit of the owner with so many free pages at an end, or in a run; or NULL. */
static struct buddy_place_unit *find_end(struct buddy_place_owner *owner,
					 enum buddy_lane lane, u32 pages)
{
	struct buddy_sought end = { lane, pages };

	return buddy_split_first(owner, &end);
}

/* At the end of a split unit, as the first piece of the block. */
static bool set_head(struct buddy_place *place, const struct buddy_place_unit *unit,
		     u32 pages, struct buddy_place_piece *piece)
{
	piece->first = (buddy_place_number(place, unit) + 1) * U - pages;
	piece->pages = pages;
	piece->is_head = true;
	return true;
}

/*
 * At an end of a split unit: at the lowest; or a part at the end of one, so that what
 * remains has a place at the start of one.
 */
static bool find_edge(struct buddy_place *place, struct buddy_place_owner *owner,
		      const struct buddy_place_gather *gather, struct buddy_place_piece *piece)
{
	struct buddy_place_unit *start, *end = NULL;
	u32 left = gather->left, most;

	buddy_runs_flush(place, owner);
	if (!owner->units.rb_node)
		return false;
	start = find_end(owner, BUDDY_LANE_HEAD, left);
	if (!gather->has_head)
		end = find_end(owner, BUDDY_LANE_TAIL, left);
	if (end && (!start || end < start))
		return set_head(place, end, left, piece);
	if (start) {
		piece->first = buddy_place_number(place, start) * U;
		piece->pages = left;
		return true;
	}
	most = buddy_split_lane(rb_entry(owner->units.rb_node, struct buddy_place_unit,
					 node)->sub, BUDDY_LANE_TAIL);
	if (gather->has_head || !most ||
	    !find_end(owner, BUDDY_LANE_HEAD, left - most))
		return false;
	return set_head(place, find_end(owner, BUDDY_LANE_TAIL, most), most, piece);
}

/*
 * The longest run of free pages of the owner, or what of it is needed. The unit is the one
 * that was known to have it: if a second one has less than known as well, that will do.
 */
static bool find_crumb(struct buddy_place *place, struct buddy_place_owner *owner, u32 left,
		       struct buddy_place_piece *piece)
{
	struct buddy_place_unit *unit;
	u32 first, known, longest;

	if (!owner->private)
		return false;
	for (u32 n = 0; n < 2; n++) {
		unit = rb_entry(owner->units.rb_node, struct buddy_place_unit, node);
		known = buddy_split_lane(unit->sub, BUDDY_LANE_RUN);
		unit = find_end(owner, BUDDY_LANE_RUN, known);
		longest = buddy_bits_longest(&unit->bits, &first);
		if (longest == known)
			break;
		buddy_split_set_longest(unit, longest);
	}
	piece->first = buddy_place_number(place, unit) * U + first;
	piece->pages = longest < left ? longest : left;
	return true;
}

static bool find_free_unit(struct buddy_place *place, u32 pages,
			   struct buddy_place_piece *piece)
{
	long unit = buddy_runs_find(place, 1);

	piece->first = unit * U;
	piece->pages = pages;
	return unit >= 0;
}

/* The last less than a unit, in one piece if there is one. */
static bool find_rest(struct buddy_place *place, struct buddy_place_owner *owner,
		      const struct buddy_place_gather *gather, struct buddy_place_piece *piece)
{
	bool small = gather->pages < U;
	u32 left = gather->left;
	long first;

	if (!small && find_edge(place, owner, gather, piece))
		return true;
	first = small ? buddy_split_find(place, owner, left, 1) : -1;
	piece->first = first;
	piece->pages = left;
	if (first >= 0)
		return true;
	if (small && owner->private >= owner->promised)
		return false;
	return may_open(place, owner, gather) && find_free_unit(place, left, piece);
}

int buddy_place_gather(struct buddy_place *place, struct buddy_place_owner *owner,
		       struct buddy_place_gather *gather, struct buddy_place_piece *piece)
{
	bool found;
	int err;

	*piece = (struct buddy_place_piece){ 0 };
	if (gather->left < U)
		found = find_rest(place, owner, gather, piece);
	else
		found = find_units(place, owner, gather, piece);
	if (!found && !gather->whole)
		found = find_crumb(place, owner, gather->left, piece);
	if (!found)
		return -ENOSPC;
	err = buddy_place_take_range(place, owner, piece->first, piece->pages, gather);
	if (err)
		return err;
	gather->left -= piece->pages;
	gather->has_head |= piece->is_head;
	return 0;
}

u32 buddy_place_longest_run(struct buddy_place *place)
{
	long unit = buddy_runs_longest(place);

	return unit < 0 ? 0 : place->units[unit].run;
}

/* Of the extents of an owner. */
static u32 longest_extent(struct buddy_place *place, struct buddy_place_owner *owner)
{
	const struct buddy_place_extent *extent;
	struct rb_node *last;
	u32 align;

	buddy_runs_flush(place, owner);
	last = rb_last(&owner->extents);
	if (!last)
		return 0;
	/* Each odd length fits, and an even one where its alignment does. */
	extent = rb_entry(last, struct buddy_place_extent, node);
	align = (extent->pages & -extent->pages) < U ? extent->pages & -extent->pages : U;
	return extent->pages - !!(buddy_runs_start(place, extent) & (align - 1));
}

bool buddy_place_longest(struct buddy_place *place, struct buddy_place_owner *owner,
			 u32 *pages)
{
	u32 longest = buddy_place_longest_run(place) * U;
	u32 extent = longest_extent(place, owner);

	if (longest < extent)
		longest = extent;
	/* In a unit: no run is longer than what is known of it. */
	for (u32 n = 0; longest < U && owner->units.rb_node; n++) {
		const struct buddy_place_unit *root =
			rb_entry(owner->units.rb_node, struct buddy_place_unit, node);
		u32 known = buddy_split_lane(root->sub, BUDDY_LANE_RUN), first, run;
		struct buddy_place_unit *unit;

		if (known <= longest)
			break;
		unit = find_end(owner, BUDDY_LANE_RUN, known);
		run = buddy_bits_longest(&unit->bits, &first);
		if (run == known) {
			longest = run;
			if (buddy_split_find(place, owner, run, run & -run) < 0)
				longest--;
			break;
		}
		buddy_split_set_longest(unit, run);
		if (n == BUDDY_PLACE_FIXES)
			return false;
	}
	*pages = longest;
	return true;
}
