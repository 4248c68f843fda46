/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * buddy_place.h - where a block lies: placement over the units of a region.
 *
 * A region is a row of units of BUDDY_PLACE_UNIT pages, a power of two of BUDDY_BITS_PAGES
 * at most. A unit is free, taken (a part of
 * one run that an owner has), or split: then its pages serve the small blocks of one
 * owner, and the ends of that owner's large ones. The module has one owner for each open
 * file, the library one.
 *
 * Terms
 *   range    what alloc() gives: contiguous pages. Its *head* is what it has of the split
 *            unit that it begins in, its *tail* of the one that it ends in; between these
 *            are whole units. A small range is a head alone
 *   run      units that follow each other. A *free run* is as long as it can be
 *   extent   what an owner could have as one range: the free pages at the end of a split
 *            unit of its own, the free run that follows, and the free pages at the start
 *            of a split unit of its own behind that
 *
 * Placement
 *   below a unit    the first place that fits, in the owner's lowest split unit that has
 *                   one; else a free unit is split; else over the border of two split
 *                   units
 *   from a unit on  the shortest extent that fits, with as many whole units in the range as
 *                   its length allows, if there is one
 *   larger alignments, powers of two   the region's tree (buddy_core.h)
 * A range starts at a multiple of the largest power of two that divides its length, up to
 * a unit.
 *
 * Guarantees
 *   - The state is the caller's: struct buddy_place, a struct buddy_place_unit for each
 *     unit, a struct buddy_place_owner for each owner. Nothing is allocated.
 *   - alloc() fails only where there is no such range in free units and the owner's split
 *     units; but it looks at BUDDY_PLACE_TRIES units, or extents, that are long enough and
 *     may not fit by their alignment, and after these only at those that are sure to.
 *   - gather() serves whatever was promised, as long as pages are free at all.
 *   - The work of a call is bounded by the logarithm of the number of units.
 *
 * Ideas: best fit over runs by two trees, and first fit inside a unit, were chosen by
 * simulation over streams of requests; best fit inside a unit gave nothing more.
 *
 * Locking: none here; the owner of the region serializes all calls.
 */
#ifndef BUDDY_PLACE_H
#define BUDDY_PLACE_H

#include "buddy_bits.h"
#include "buddy_core.h"
#include "buddy_port.h"

#define BUDDY_PLACE_TRIES	8
#define BUDDY_PLACE_FIXES	16
#define BUDDY_PLACE_STALE	8

/* What a unit is. Of a run that is free or taken, its first and its last unit say so. */
enum buddy_place_state {
	BUDDY_PLACE_FREE,
	BUDDY_PLACE_TAKEN,
	BUDDY_PLACE_SPLIT,	/* each split unit says so */
};

/**
 * struct buddy_place_owner - what of a region an owner has; all 0 at first
 * @units: its split units, by number
 * @extents: extents that touch these, by length
 * @private: free pages in these
 * @promised: pages that are promised to it, and not yet taken
 * @whole: units that are promised to it as whole ones, likewise
 * @reserved: free units that these take beyond @private
 * @nr_stale: number of @stale
 * @stale: units of which @extents does not know the latest
 */
struct buddy_place_owner {
	struct rb_root units;
	struct rb_root extents;
	u32 private;
	u64 promised;
	u32 whole;
	u32 reserved;
	u32 nr_stale;
	u32 stale[BUDDY_PLACE_STALE];
};

/**
 * struct buddy_place_extent - an extent that touches a split unit
 * @node: in owner->extents, if @pages is not 0
 * @pages: length; 0: there is none
 * @id: twice the number of the unit where it is noted, and the side of that
 */
struct buddy_place_extent {
	struct rb_node node;
	u32 pages;
	u32 id;
};

/**
 * struct buddy_place_unit - a unit; all 0 at first
 * @bits: split: which pages are free
 * @owner: split: whose it is
 * @run: first and last unit of a free run: its length
 * @state: enum buddy_place_state
 * @stale: split: it is in owner->stale
 * @longest: split: no run of free pages is longer
 * @sub: split: the most that a unit of its subtree in owner->units has (enum buddy_lane)
 * @head: split: free pages at its start, as the extents have it
 * @tail: split: free pages at its end, likewise
 * @node: free: in place->runs, if it is the first of its run; split: in owner->units
 * @extent: split: the extent that begins in it (1), or ends in it and does not begin in a
 *          split unit of the owner (0)
 */
struct buddy_place_unit {
	struct buddy_bits bits;
	struct buddy_place_owner *owner;
	u64 sub;
	u32 run;
	u8 state;
	bool stale;
	u16 longest;
	u16 head;
	u16 tail;
	struct rb_node node;
	struct buddy_place_extent extent[2];
};

/**
 * struct buddy_place - the units of a region
 * @core: the tree over units: each run that is taken is one block of it, and each unit
 *        that is split
 * @units: by number
 * @runs: free runs, by length
 * @private: free pages in split units, of all owners
 * @reserved: free units that are reserved for promises, of all owners
 */
struct buddy_place {
	struct buddy_core core;
	struct buddy_place_unit *units;
	struct rb_root runs;
	u32 private;
	u32 reserved;
};

/**
 * struct buddy_place_want - a range that is to be had
 * @pages: its length, 1 or more
 * @align: 0, or a power of two in pages; beyond a unit, and with @pow2, from the tree
 * @pow2: it is to be aligned to its length, which is a power of two
 * @scatter: it need not be one range, so split no unit while @owner has as many free pages
 */
struct buddy_place_want {
	u32 pages;
	u32 align;
	bool pow2;
	bool scatter;
};

/**
 * struct buddy_place_parts - the parts of a range
 * @head: pages in the split unit that it begins in, 0 if it begins with whole units
 * @first: the first of its whole units
 * @units: number of these
 * @tail: pages in the split unit behind these, or behind the head
 */
struct buddy_place_parts {
	u32 head;
	u32 first;
	u32 units;
	u32 tail;
};

static inline struct buddy_place_parts buddy_place_parts(u32 first, u32 pages)
{
	u32 before = -first % BUDDY_PLACE_UNIT, rest = pages;
	struct buddy_place_parts parts = { .first = first / BUDDY_PLACE_UNIT };

	/* what is less than a unit, and begins one, is a head as well */
	if (before || pages < BUDDY_PLACE_UNIT) {
		parts.head = before && before < pages ? before : pages;
		parts.first++;
		rest -= parts.head;
	}
	parts.units = rest / BUDDY_PLACE_UNIT;
	parts.tail = rest % BUDDY_PLACE_UNIT;
	return parts;
}

/**
 * buddy_place_init() - all units are free
 * @place: the region
 * @units: 1 .. BUDDY_CORE_MAX_GRANULES / BUDDY_PLACE_UNIT
 * @mem: buddy_core_bytes(units) bytes for the tree, aligned to 16
 * @table: that many units, all 0
 *
 * Return: 0, or -EINVAL.
 */
int buddy_place_init(struct buddy_place *place, u32 units, void *mem,
		     struct buddy_place_unit *table);

/**
 * buddy_place_alloc() - find a range, and take it
 * @place: the region
 * @owner: whose it is to be
 * @want: what is asked for
 *
 * Return: the first page; -ENOSPC; -EAGAIN: of BUDDY_PLACE_FIXES split units less was free
 * in one run than was known. It is known now: the call is to be repeated, and the lock may
 * be dropped before that.
 */
long buddy_place_alloc(struct buddy_place *place, struct buddy_place_owner *owner,
		       const struct buddy_place_want *want);

/**
 * buddy_place_take() - take this very range
 * @place: the region
 * @owner: whose it is to be
 * @first: first page
 * @pages: length, 1 or more; it ends in the region
 *
 * What it has of a unit is a range of a split unit if that was split before, or if it is
 * not the whole unit; the whole units in between are one block of the tree.
 *
 * Return: 0; -ENOSPC if a part of it is in use, or another owner's, or promised.
 */
int buddy_place_take(struct buddy_place *place, struct buddy_place_owner *owner, u32 first,
		     u32 pages);

/**
 * buddy_place_free() - give back a range of a split unit
 * @place: the region
 * @first: first page
 * @pages: length
 *
 * Return: 1 if the unit is free now, 0 if it is still split; -EINVAL if there is no such
 * range.
 */
int buddy_place_free(struct buddy_place *place, u32 first, u32 pages);

/**
 * buddy_place_free_units() - give back a run
 * @place: the region
 * @unit: the first unit
 * @units: length
 *
 * Return: 0, or -EINVAL if there is no such run.
 */
int buddy_place_free_units(struct buddy_place *place, u32 unit, u32 units);

/**
 * buddy_place_divide() - make two runs of one that is taken
 * @place: the region
 * @unit: the first unit
 * @units: length
 * @first: length of the first of the two
 *
 * Return: 0, or -EINVAL.
 */
int buddy_place_divide(struct buddy_place *place, u32 unit, u32 units, u32 first);

/**
 * buddy_place_join() - make one run of two that are taken, and follow each other
 * @place: the region
 * @unit: the first unit
 * @first: length of the first
 * @second: length of the second
 *
 * Return: 0, or -EINVAL.
 */
int buddy_place_join(struct buddy_place *place, u32 unit, u32 first, u32 second);

/**
 * buddy_place_split() - split a unit that is taken, a run of its own
 * @place: the region
 * @owner: whose it is to be
 * @unit: the unit
 * @first: pages of the first of the two ranges in it, that fill it
 */
void buddy_place_split(struct buddy_place *place, struct buddy_place_owner *owner, u32 unit,
		       u32 first);

/**
 * buddy_place_unsplit() - a split unit with one range is a run that is taken
 * @place: the region
 * @unit: the unit; its other pages are free
 */
void buddy_place_unsplit(struct buddy_place *place, u32 unit);

/**
 * struct buddy_place_piece - a piece of what is gathered
 * @first: first page
 * @pages: length; it is a range of one split unit, or whole units
 * @is_head: it ends its unit, and is to be the first piece of the block
 */
struct buddy_place_piece {
	u32 first;
	u32 pages;
	bool is_head;
};

/**
 * struct buddy_place_gather - what is promised, and how far it is gathered
 * @pages: of all pieces together
 * @whole: in whole units alone; @pages is a multiple of a unit
 * @left: of these, what is still to be had
 * @has_head: one of the pieces is a head
 */
struct buddy_place_gather {
	u32 pages;
	bool whole;
	u32 left;
	bool has_head;
};

/**
 * buddy_place_promise() - from now on gather() can get so many pages
 * @place: the region
 * @owner: to whom they are promised
 * @gather: how many; @left is set
 *
 * Return: 0, or -ENOSPC if fewer are free to @owner.
 */
int buddy_place_promise(struct buddy_place *place, struct buddy_place_owner *owner,
			struct buddy_place_gather *gather);

/**
 * buddy_place_forgo() - what is still to be had is not needed any more
 * @place: the region
 * @owner: to whom it was promised
 * @gather: how far it is; nothing is left afterwards
 */
void buddy_place_forgo(struct buddy_place *place, struct buddy_place_owner *owner,
		       struct buddy_place_gather *gather);

/**
 * buddy_place_gather() - take one more piece of what was promised
 * @place: the region
 * @owner: to whom it was promised
 * @gather: how far it is; less is left afterwards
 * @piece: the piece
 *
 * Whole units first. What is less than a unit then lies at the end of a split unit, and is
 * to be the first piece of the block; or at the start of one, and is to be the last: so
 * the rest can be mapped by huge pages. Where there is no such place it is in crumbs.
 *
 * Return: 0; -ENOSPC, which is a defect, if nothing is there of what was promised.
 */
int buddy_place_gather(struct buddy_place *place, struct buddy_place_owner *owner,
		       struct buddy_place_gather *gather, struct buddy_place_piece *piece);

/**
 * buddy_place_find() - the free node or the range that a page lies in
 * @place: the region
 * @page: a page of the region
 * @span: the answer, in pages; of a run that is taken, all of it
 */
void buddy_place_find(const struct buddy_place *place, u32 page,
		      struct buddy_core_span *span);

/**
 * buddy_place_fragmentation() - how much of what is free is not in one range
 * @free: free pages
 * @largest: of these, the longest range
 *
 * Return: 0, where it is one range or nothing is free, to nearly 1000, where it is in crumbs.
 */
static inline u32 buddy_place_fragmentation(u32 free, u32 largest)
{
	return free ? 1000 - (u32)buddy_div(1000ull * largest, free) : 0;
}

/**
 * buddy_place_longest() - the longest range that alloc() would give
 * @place: the region
 * @owner: to whom
 * @pages: the answer, 0 if nothing is free
 *
 * Return: true; false if the call is to be repeated, as buddy_place_alloc().
 */
bool buddy_place_longest(struct buddy_place *place, struct buddy_place_owner *owner,
			 u32 *pages);

/**
 * buddy_place_longest_run() - the longest run of free units
 * @place: the region
 *
 * Return: units, 0 if none is free.
 */
u32 buddy_place_longest_run(struct buddy_place *place);

/**
 * buddy_place_check() - verify every invariant
 * @place: the region
 * @owners: all that have split units
 * @nr: number of these
 *
 * For tests and debugging: the work is proportional to the number of pages.
 *
 * Return: NULL, or a sentence naming the broken invariant.
 */
const char *buddy_place_check(struct buddy_place *place, struct buddy_place_owner **owners,
			      u32 nr);

#endif /* BUDDY_PLACE_H */
