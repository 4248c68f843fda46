// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_place_check.c - the invariants of the placement, for tests and debugging. Not a
 * part of the module.
 */
#include "buddy_index.h"

#define U	BUDDY_PLACE_UNIT

/* Is a unit free in the tree? */
static bool is_free(const struct buddy_place *place, u32 number)
{
	u32 first;

	return buddy_core_is_free(&place->core, number, &first);
}

/* Free runs of the tree are those that are indexed; their ends say so. */
static const char *check_runs(const struct buddy_place *place)
{
	const struct buddy_place_unit *units = place->units, *before = NULL;
	u32 free = 0, n;

	for (u32 i = 0; i < place->core.granules; i += n) {
		for (n = 0; i + n < place->core.granules && is_free(place, i + n);)
			n++;
		if (!n) {
			n = 1;
			continue;
		}
		if (units[i].state != BUDDY_PLACE_FREE || units[i].run != n ||
		    units[i + n - 1].state != BUDDY_PLACE_FREE || units[i + n - 1].run != n)
			return "the ends of a free run do not say so";
		free += n;
	}
	for (struct rb_node *node = rb_first(&place->runs); node; node = rb_next(node)) {
		const struct buddy_place_unit *unit = rb_entry(node, struct buddy_place_unit,
							       node);

		if (before && (before->run > unit->run ||
			       (before->run == unit->run && before >= unit)))
			return "the runs are not in order";
		if (!is_free(place, buddy_place_number(place, unit)))
			return "a run that is indexed is not free";
		free -= unit->run;
		before = unit;
	}
	return free ? "a free run is not indexed" : NULL;
}

static const char *check_subtree(const struct rb_node *node, u32 *most)
{
	const struct buddy_place_unit *unit;
	u32 left[BUDDY_LANES], right[BUDDY_LANES], first;
	const char *bad;

	memset(most, 0, BUDDY_LANES * sizeof(*most));
	if (!node)
		return NULL;
	unit = rb_entry(node, struct buddy_place_unit, node);
	bad = check_subtree(node->rb_left, left);
	if (!bad)
		bad = check_subtree(node->rb_right, right);
	if (bad)
		return bad;
	if (buddy_bits_longest(&unit->bits, &first) > unit->longest)
		return "a run of a split unit is longer than known";
	most[BUDDY_LANE_RUN] = unit->longest;
	most[BUDDY_LANE_NODE] = buddy_bits_largest(&unit->bits);
	most[BUDDY_LANE_HEAD] = buddy_bits_head(&unit->bits);
	most[BUDDY_LANE_TAIL] = buddy_bits_tail(&unit->bits);
	for (enum buddy_lane lane = 0; lane < BUDDY_LANES; lane++) {
		if (left[lane] > most[lane])
			most[lane] = left[lane];
		if (right[lane] > most[lane])
			most[lane] = right[lane];
		if (buddy_split_lane(unit->sub, lane) != most[lane])
			return "a subtree has another largest";
	}
	return NULL;
}

/* The extents of an owner, by their boundaries. */
static const char *check_extents(struct buddy_place *place, struct buddy_place_owner *owner)
{
	u32 nr = 0, n = place->core.granules, r;

	for (long l = -1; l < (long)n; l = r) {
		struct buddy_place_unit *left = NULL, *right = NULL;
		u32 wanted = 0, got = 0;

		for (r = l + 1; r < n && is_free(place, r);)
			r++;
		if (l >= 0 && buddy_place_is_split(place, l) && place->units[l].owner == owner)
			left = &place->units[l];
		if (r < n && buddy_place_is_split(place, r) && place->units[r].owner == owner)
			right = &place->units[r];
		if (left)
			got = left->extent[1].pages;
		else if (right)
			got = right->extent[0].pages;
		if (left && right && right->extent[0].pages)
			return "an extent is noted twice";
		if ((left || right) && (r - l > 1 || (left && right)))
			wanted = (r - l - 1) * U +
				 (left ? buddy_bits_tail(&left->bits) : 0) +
				 (right ? buddy_bits_head(&right->bits) : 0);
		if (got != wanted)
			return "an extent has another length";
		nr += !!got;
	}
	for (struct rb_node *node = rb_first(&owner->extents); node; node = rb_next(node))
		nr--;
	return nr ? "an extent is not indexed" : NULL;
}

const char *buddy_place_check(struct buddy_place *place, struct buddy_place_owner **owners,
			      u32 nr)
{
	struct buddy_promise promise;
	u32 reserved = 0, all_private = 0, split = 0, most[BUDDY_LANES];
	const char *bad = buddy_core_check(&place->core);

	if (!bad)
		bad = check_runs(place);
	for (u32 i = 0; !bad && i < nr; i++) {
		struct buddy_place_owner *owner = owners[i];
		u32 private = 0;

		buddy_runs_flush(place, owner);
		bad = check_subtree(owner->units.rb_node, most);
		if (!bad)
			bad = check_extents(place, owner);
		for (struct rb_node *node = rb_first(&owner->units); node;
		     node = rb_next(node), split++)
			private += rb_entry(node, struct buddy_place_unit, node)->bits.free;
		if (!bad && private != owner->private)
			bad = "an owner has another number of free pages";
		promise = buddy_promise_after(owner, NULL, 0);
		if (!bad && owner->reserved != buddy_promise_units(&promise, private))
			bad = "a promise has another reserve";
		reserved += owner->reserved;
		all_private += private;
	}
	if (!bad && (reserved != place->reserved || reserved > place->core.free))
		bad = "the reserve is not there";
	if (!bad && all_private != place->private)
		bad = "there is another number of private pages";
	for (u32 i = 0; !bad && i < place->core.granules; i++)
		split -= buddy_place_is_split(place, i);
	return bad || !split ? bad : "a split unit has no owner";
}
