// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_place.c - ranges: where they lie, taken and given back. The contract is in
 * buddy_place.h.
 *
 * Invariants: each run that is taken is one block of the tree, and so is each unit that is
 * split. No split unit is all free. unit->sub has the largest of its subtree. As many units
 * are free as are reserved, and owner->reserved has what owner->promised needs beyond
 * owner->private.
 */
#include "buddy_index.h"

#define U	BUDDY_PLACE_UNIT

/*
 * Ranges
 */

/* A range, by what becomes of the units that it lies in. */
struct span {
	u32 first;	/* the first unit that is to be free before */
	u32 units;	/* number of these */
	bool head;	/* the first of them becomes split */
	bool tail;	/* the last of them does */
	u32 small;	/* pages in split units */
};

static struct span span_of(const struct buddy_place *place, u32 first, u32 pages)
{
	struct buddy_place_parts parts = buddy_place_parts(first, pages);
	struct span span = {
		.first = parts.first,
		.units = parts.units,
		.small = parts.head + parts.tail,
	};

	span.head = parts.head && !buddy_place_is_split(place, first / U);
	span.tail = parts.tail && !buddy_place_is_split(place, parts.first + parts.units);
	span.first -= span.head;
	span.units += span.head + span.tail;
	return span;
}

/* Is it not promised to anybody? With @gather it was promised to the owner. */
static bool may_have(const struct buddy_place *place, const struct buddy_place_owner *owner,
		     const struct span *span, u32 pages,
		     const struct buddy_place_gather *gather)
{
	struct buddy_promise promise = buddy_promise_after(owner, gather, pages);
	u32 opened = (u32)span->head + span->tail;

	return buddy_promise_allows(place, owner, span->units,
				    owner->private + opened * U - span->small, &promise);
}

/* A part of a range in a split unit, or in one that becomes so. */
static void take_part(struct buddy_place *place, struct buddy_place_owner *owner, bool opens,
		      u32 first, u32 pages)
{
	if (opens)
		buddy_split_open(place, owner, first / U, first % U, pages);
	else if (pages)
		buddy_split_take(place, first / U, first % U, pages);
}

/* The units of the span are one block of the tree: takes the range. */
static void take_span(struct buddy_place *place, struct buddy_place_owner *owner,
		      const struct span *span, u32 first, u32 pages,
		      const struct buddy_place_gather *gather)
{
	struct buddy_promise promise = buddy_promise_after(owner, gather, pages);
	struct buddy_place_parts parts = buddy_place_parts(first, pages);
	u32 units = span->units, right;
	long left;

	if (units)
		buddy_runs_take(place, span->first, units, &left, &right);
	/* A unit that a range begins in becomes split only if all of the range lies there. */
	if (span->tail && units > 1)
		buddy_place_divide(place, span->first, units, units - 1);
	take_part(place, owner, span->head, first, parts.head);
	take_part(place, owner, span->tail, first + pages - parts.tail, parts.tail);
	if (units) {
		buddy_runs_bound(place, left, span->first);
		buddy_runs_bound(place, span->first + units - 1, right);
	}
	if (owner->promised | owner->whole)
		buddy_promise_set(place, owner, &promise);
}

int buddy_place_take_range(struct buddy_place *place, struct buddy_place_owner *owner,
			   u32 first, u32 pages, const struct buddy_place_gather *gather)
{
	struct buddy_place_parts parts = buddy_place_parts(first, pages);
	struct span span = span_of(place, first, pages);

	if (!may_have(place, owner, &span, pages, gather))
		return -ENOSPC;
	if (parts.head && !span.head &&
	    !buddy_split_is_free(place, owner, first / U, first % U, parts.head))
		return -ENOSPC;
	if (parts.tail && !span.tail &&
	    !buddy_split_is_free(place, owner, parts.first + parts.units, 0, parts.tail))
		return -ENOSPC;
	if (span.units && buddy_core_take(&place->core, span.first, span.units))
		return -ENOSPC;
	take_span(place, owner, &span, first, pages, gather);
	return 0;
}

int buddy_place_take(struct buddy_place *place, struct buddy_place_owner *owner, u32 first,
		     u32 pages)
{
	return buddy_place_take_range(place, owner, first, pages, NULL);
}

/*
 * Where?
 */

/* A range that could be taken: the best of those that were looked at. */
struct choice {
	struct buddy_place *place;
	const struct buddy_place_owner *owner;
	u32 pages;	/* of the range */
	u32 align;
	long first;	/* -1: none yet */
	u32 length;	/* of its extent */
	bool lossy;	/* it has fewer whole units than its length allows */
};

static u32 align_page(u32 page, u32 align)
{
	return (page + align - 1) & -align;
}

static bool is_promised(const struct choice *choice, u32 first)
{
	struct span span = span_of(choice->place, first, choice->pages);

	return !may_have(choice->place, choice->owner, &span, choice->pages, NULL);
}

/* Does it fit there? Then it is chosen, unless one before was as good. */
static bool choose(struct choice *choice, u32 start, u32 length, u32 first)
{
	u32 pages = choice->pages;
	bool lossy;

	first = align_page(first, choice->align);
	if (first < start || first - start > length || pages > length - (first - start))
		return false;
	lossy = pages >= U && buddy_place_parts(first, pages).units < pages / U;
	if (choice->first >= 0 && lossy)
		return false;
	if (choice->place->reserved && is_promised(choice, first))
		return false;
	choice->first = first;
	choice->length = length;
	choice->lossy = lossy;
	return !lossy;
}

/* An extent: a range from its first boundary on, or up to its last, has most whole units. */
static bool consider(struct choice *choice, u32 start, u32 length)
{
	u32 pages = choice->pages, last = (start + length) / U * U;

	if (pages >= U && choose(choice, start, length, align_page(start, U)))
		return true;
	if (pages >= U && last >= start + pages && choose(choice, start, length, last - pages))
		return true;
	return choose(choice, start, length, start);
}

/* The shortest extent of the owner that fits, without a loss if there is one. */
static void find_extent(struct buddy_place *place, struct buddy_place_owner *owner,
			struct choice *choice)
{
	struct buddy_place_extent *extent;

	buddy_runs_flush(place, owner);
	extent = buddy_runs_extent(owner, choice->pages);
	for (u32 n = 0; extent && n < BUDDY_PLACE_TRIES; n++) {
		if (consider(choice, buddy_runs_start(place, extent), extent->pages))
			return;
		extent = buddy_runs_next(extent);
	}
	/* One that is so long fits, whatever its start is. */
	if (extent)
		extent = buddy_runs_extent(owner, choice->pages + 2 * U - 2);
	if (extent)
		consider(choice, buddy_runs_start(place, extent), extent->pages);
}

/* The shortest free run that fits, if it is shorter than the extent, or without its loss. */
static void find_run(struct buddy_place *place, struct choice *choice)
{
	long unit = buddy_runs_find(place, (choice->pages + U - 1) / U);
	u32 length = unit < 0 ? 0 : place->units[unit].run * U;

	if (unit < 0 || (choice->first >= 0 && !choice->lossy && choice->length <= length))
		return;
	if (place->reserved && is_promised(choice, unit * U))
		return;
	choice->first = unit * U;
	choice->length = length;
	choice->lossy = false;
}

static long alloc_extent(struct buddy_place *place, struct buddy_place_owner *owner,
			 u32 pages, u32 align)
{
	struct choice choice = {
		.place = place, .owner = owner, .pages = pages, .align = align, .first = -1,
	};

	/* Whole units alone have nothing to gain from split ones. */
	if (align < U || pages % U)
		find_extent(place, owner, &choice);
	if (pages >= U)
		find_run(place, &choice);
	if (choice.first < 0 || buddy_place_take_range(place, owner, choice.first, pages, NULL))
		return -ENOSPC;
	return choice.first;
}

/* From the tree: whole units at an alignment, and what is more in the one behind. */
static long alloc_units(struct buddy_place *place, struct buddy_place_owner *owner, u32 pages,
			u32 align)
{
	struct span span = {
		.units = (pages + U - 1) / U,
		.head = pages < U,
		.tail = pages > U && pages % U,
		.small = pages % U,
	};
	long unit;

	if (!may_have(place, owner, &span, pages, NULL))
		return -ENOSPC;
	unit = buddy_core_alloc(&place->core, span.units, align / U);
	if (unit < 0)
		return -ENOSPC;
	span.first = unit;
	take_span(place, owner, &span, span.first * U, pages, NULL);
	return span.first * U;
}

/* In a split unit of the owner, if that breaks no promise. Return: as above. */
static long alloc_in_unit(struct buddy_place *place, struct buddy_place_owner *owner,
			  u32 pages, u32 align)
{
	long first = buddy_split_find(place, owner, pages, align);
	struct span span = { .small = pages };

	if (first < 0)
		return first;
	if (!may_have(place, owner, &span, pages, NULL))
		return -ENOSPC;
	buddy_split_take(place, first / U, first % U, pages);
	buddy_promise_update(place, owner);
	return first;
}

static long alloc_small(struct buddy_place *place, struct buddy_place_owner *owner, u32 pages,
			u32 align, bool scatter)
{
	long first = alloc_in_unit(place, owner, pages, align);

	if (first != -ENOSPC)
		return first;
	if (scatter && owner->promised + pages <= owner->private)
		return -ENOSPC;
	first = alloc_units(place, owner, pages, 0);
	return first >= 0 ? first : alloc_extent(place, owner, pages, align);
}

long buddy_place_alloc(struct buddy_place *place, struct buddy_place_owner *owner,
		       const struct buddy_place_want *want)
{
	u32 pages = want->pages, align = pages & -pages;

	if (align < want->align)
		align = want->align;
	if (pages < U && align <= U)
		return alloc_small(place, owner, pages, align, want->scatter);
	if (want->pow2 || want->align > U)
		return alloc_units(place, owner, pages,
				   want->pow2 && want->align < pages ? pages : want->align);
	/* A node of the tree is found at once, and where there is one it is as good. */
	if (!(pages & (pages - 1))) {
		long first = alloc_units(place, owner, pages, 0);

		if (first >= 0)
			return first;
	}
	return alloc_extent(place, owner, pages, align < U ? align : U);
}

/*
 * Back
 */

int buddy_place_free_units(struct buddy_place *place, u32 unit, u32 units)
{
	int err = buddy_core_free(&place->core, unit, units);

	if (!err)
		buddy_runs_return(place, unit, units);
	return err;
}

int buddy_place_free(struct buddy_place *place, u32 first, u32 pages)
{
	u32 number = first / U, at = first % U, start;
	struct buddy_place_unit *unit = &place->units[number];
	int err = -EINVAL;

	if (buddy_place_is_split(place, number))
		err = buddy_bits_free(&unit->bits, at, pages);
	if (err)
		return err;
	unit->owner->private += pages;
	place->private += pages;
	if (unit->bits.free == U) {
		buddy_split_close(place, number);
		buddy_place_free_units(place, number, 1);
		return 1;
	}
	buddy_promise_update(place, unit->owner);
	buddy_runs_note(place, unit, at, pages);
	pages = buddy_bits_run(&unit->bits, at, &start);
	buddy_split_set_longest(unit, pages > unit->longest ? pages : unit->longest);
	return 0;
}

int buddy_place_divide(struct buddy_place *place, u32 unit, u32 units, u32 first)
{
	int err = buddy_core_divide(&place->core, unit, units, first);

	if (err)
		return err;
	place->units[unit + first - 1].state = BUDDY_PLACE_TAKEN;
	place->units[unit + first].state = BUDDY_PLACE_TAKEN;
	return 0;
}

int buddy_place_join(struct buddy_place *place, u32 unit, u32 first, u32 second)
{
	return buddy_core_join(&place->core, unit, first, second);
}

void buddy_place_split(struct buddy_place *place, struct buddy_place_owner *owner, u32 unit,
		       u32 first)
{
	buddy_split_open(place, owner, unit, 0, first);
	buddy_split_take(place, unit, first, U - first);
	buddy_runs_bound_unit(place, unit);
}

void buddy_place_unsplit(struct buddy_place *place, u32 unit)
{
	buddy_split_close(place, unit);
	buddy_runs_bound_unit(place, unit);
}

void buddy_place_find(const struct buddy_place *place, u32 page,
		      struct buddy_core_span *span)
{
	u32 number = page / U;

	if (buddy_place_is_split(place, number)) {
		buddy_bits_find(&place->units[number].bits, page % U, span);
		span->offset += number * U;
		return;
	}
	buddy_core_find(&place->core, number, span);
	span->offset *= U;
	span->size *= U;
}

int buddy_place_init(struct buddy_place *place, u32 units, void *mem,
		     struct buddy_place_unit *table)
{
	int err = buddy_core_init(&place->core, units, mem);

	if (err)
		return err;
	place->units = table;
	place->runs = RB_ROOT;
	place->private = 0;
	place->reserved = 0;
	table[0].run = units;
	buddy_runs_return(place, 0, units);
	return 0;
}
