/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * buddy_index.h - what the files of the placement share: the indexes of free runs and of
 * the extents that touch split units (buddy_runs.c), and of an owner's split units
 * (buddy_split.c); and what promises allow.
 *
 * An extent lies between two units that are not free, its boundaries, of which at least
 * one is a split unit of the owner. It is noted at the left one if that is the owner's,
 * else at the right one. So a free run has at most two extents, of at most two owners,
 * and a change of a run, or of the ends of a unit, looks at two neighbors.
 *
 * A small call changes the ends of a unit often, and a search needs them seldom: the
 * extents have copies (unit->head, unit->tail), and owner->stale says which are old.
 */
#ifndef BUDDY_INDEX_H
#define BUDDY_INDEX_H

#include "buddy_place.h"

static inline u32 buddy_place_number(const struct buddy_place *place,
				     const struct buddy_place_unit *unit)
{
	return unit - place->units;
}

static inline bool buddy_place_is_split(const struct buddy_place *place, u32 number)
{
	return place->units[number].state == BUDDY_PLACE_SPLIT;
}

/*
 * Units first .. first + n, which were free, are taken. The extents up to the units beside
 * that are not free, @left and @right, are not known any more until buddy_runs_bound().
 */
void buddy_runs_take(struct buddy_place *place, u32 first, u32 n, long *left, u32 *right);

/* They are free; no split unit is among them. */
void buddy_runs_return(struct buddy_place *place, u32 first, u32 n);

/* A split unit is a taken one, and has no extents. */
void buddy_runs_forget(struct buddy_place *place, u32 number);

/* Between two units that are not free there are free ones alone: what extents they have. */
void buddy_runs_bound(struct buddy_place *place, long l, u32 r);

/* The same on both sides of a unit that is not free. */
void buddy_runs_bound_unit(struct buddy_place *place, u32 number);

/* Pages at .. at + pages of a split unit were taken, or became free. */
void buddy_runs_note(struct buddy_place *place, struct buddy_place_unit *unit, u32 at,
		     u32 pages);

/* From now on the extents of an owner are true, until its next small call. */
void buddy_runs_flush(struct buddy_place *place, struct buddy_place_owner *owner);

/* The first page of an extent. */
u32 buddy_runs_start(const struct buddy_place *place,
		     const struct buddy_place_extent *extent);

/* The shortest free run of at least n units, or the longest of all: its first unit; or -1. */
long buddy_runs_find(struct buddy_place *place, u32 n);
long buddy_runs_longest(struct buddy_place *place);

/* The first extent of an owner, by length, of at least that many pages; or NULL. */
struct buddy_place_extent *buddy_runs_extent(struct buddy_place_owner *owner, u32 pages);

/* The one that follows, or NULL. */
struct buddy_place_extent *buddy_runs_next(struct buddy_place_extent *extent);

/*
 * Split units
 */

/* What the tree of split units knows of them: 16 bits of unit->sub each. */
enum buddy_lane {
	BUDDY_LANE_TAIL,	/* unit->tail */
	BUDDY_LANE_HEAD,	/* unit->head */
	BUDDY_LANE_NODE,	/* the largest node */
	BUDDY_LANE_RUN,		/* unit->longest */
	BUDDY_LANES
};

/* What is looked for: a unit that has at least that many pages there. */
struct buddy_sought {
	enum buddy_lane lane;
	u32 pages;
};

static inline u32 buddy_split_lane(u64 sub, enum buddy_lane lane)
{
	return (u16)(sub >> 16 * lane);
}

/* The lowest split unit of an owner that has it, and the one after; or NULL. */
struct buddy_place_unit *buddy_split_first(struct buddy_place_owner *owner,
					   const struct buddy_sought *sought);
struct buddy_place_unit *buddy_split_next(struct buddy_place_unit *unit,
					  const struct buddy_sought *sought);

/*
 * Where a range could lie in a split unit of the owner. Return: the first page; -ENOSPC;
 * -EAGAIN, as buddy_place_alloc().
 */
long buddy_split_find(struct buddy_place *place, struct buddy_place_owner *owner, u32 pages,
		      u32 align);

/* The tree learns what has changed in a unit. */
void buddy_split_update(struct buddy_place_unit *unit);

/* No run of free pages of the unit is longer than that. */
void buddy_split_set_longest(struct buddy_place_unit *unit, u32 longest);

/*
 * A taken unit becomes a split one with one range; and the reverse, whatever is free in it.
 * The extents on its sides are the caller's to set.
 */
void buddy_split_open(struct buddy_place *place, struct buddy_place_owner *owner, u32 number,
		      u32 at, u32 pages);
void buddy_split_close(struct buddy_place *place, u32 number);

/* A range of a split unit, which is free; is it, and the owner's? */
void buddy_split_take(struct buddy_place *place, u32 number, u32 at, u32 pages);
bool buddy_split_is_free(const struct buddy_place *place,
			 const struct buddy_place_owner *owner, u32 number, u32 at,
			 u32 pages);

/*
 * Promises
 */

/* What remains to an owner of what was promised to it. */
struct buddy_promise {
	u64 pages;
	u32 whole;	/* units */
};

/* After @pages of @gather were taken; NULL: what is taken was not promised. */
static inline struct buddy_promise
buddy_promise_after(const struct buddy_place_owner *owner,
		    const struct buddy_place_gather *gather, u32 pages)
{
	struct buddy_promise promise = { owner->promised, owner->whole };

	if (gather && gather->whole)
		promise.whole -= pages / BUDDY_PLACE_UNIT;
	else if (gather)
		promise.pages -= pages;
	return promise;
}

/* The free units that are needed for it, beside @private free pages of the owner. */
static inline u64 buddy_promise_units(const struct buddy_promise *promise, u32 private)
{
	u64 more = promise->pages > private ? promise->pages - private : 0;

	return promise->whole + (more + BUDDY_PLACE_UNIT - 1) / BUDDY_PLACE_UNIT;
}

/*
 * May an owner have @units free units, if @private free pages are its own then, and
 * @promise remains to it?
 */
static inline bool buddy_promise_allows(const struct buddy_place *place,
					const struct buddy_place_owner *owner, u32 units,
					u32 private, const struct buddy_promise *promise)
{
	u64 needed = (u64)place->reserved - owner->reserved + units;

	if (promise->pages | promise->whole)
		needed += buddy_promise_units(promise, private);
	return needed <= place->core.free;
}

/* This remains; or the owner has another number of free pages. */
static inline void buddy_promise_set(struct buddy_place *place,
				     struct buddy_place_owner *owner,
				     const struct buddy_promise *promise)
{
	u32 units = (u32)buddy_promise_units(promise, owner->private);

	owner->promised = promise->pages;
	owner->whole = promise->whole;
	place->reserved += units - owner->reserved;
	owner->reserved = units;
}

static inline void buddy_promise_update(struct buddy_place *place,
					struct buddy_place_owner *owner)
{
	struct buddy_promise promise = { owner->promised, owner->whole };

	if (promise.pages | promise.whole)
		buddy_promise_set(place, owner, &promise);
}

/* As buddy_place_take(), of what was promised to @gather; or NULL. */
int buddy_place_take_range(struct buddy_place *place, struct buddy_place_owner *owner,
			   u32 first, u32 pages, const struct buddy_place_gather *gather);

#endif /* BUDDY_INDEX_H */
