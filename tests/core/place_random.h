/* SPDX-License-Identifier: MIT */
/*
 * place_random.h - placement against one byte a page: allocations of all kinds by four
 * owners, frees, TRIMs, GROWs, and promises that are gathered piece by piece among them.
 * Each range is where the contract says, each refusal is compared with a search of all
 * pages, and all invariants hold.
 */
#ifndef PLACE_RANDOM_H
#define PLACE_RANDOM_H

#include "buddy_place.h"
#include "placement.h"

#define U		BUDDY_PLACE_UNIT
#define UNITS		40
#define SHIFT		(21 - buddy_log2(U))	/* as if a unit were 2 MiB */
#define OWNERS		4
#define MAX_RANGES	4000

/* What was taken: a range, or a piece of a scattered block. */
struct place_range {
	u32 first;
	u32 pages;
	u32 owner;
};

static struct buddy_place place;
static struct buddy_place_unit units[UNITS];
static struct buddy_place_owner owners[OWNERS], *all_owners[OWNERS];
static u64 tree[1024] __attribute__((aligned(16)));
static u8 used[UNITS * U];	/* by page: 1 + owner, 0: free */
static u64 place_dice;
static struct place_range ranges[MAX_RANGES];
static u32 nr_ranges;
static u64 refused, avoidable, served, gathered;

static u32 below(u32 n)
{
	place_dice = place_dice * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(((place_dice >> 33) * n) >> 31);
}

/* Whose unit it is: an owner's, all free (-1), or others' or taken (-2). */
static int unit_owner(u32 unit)
{
	return units[unit].state == BUDDY_PLACE_SPLIT ?
	       (int)(units[unit].owner - owners) : -1;
}

/* May an owner have that page, if it lies in a range with others like it? */
static bool is_available(u32 page, u32 owner)
{
	u32 unit = page / U;

	if (used[page])
		return false;
	if (units[unit].state == BUDDY_PLACE_SPLIT)
		return unit_owner(unit) == (int)owner;
	/* of a unit that is not split all pages are used, or none is */
	return true;
}

/* Is there a range, by looking at all pages? */
static bool exists(u32 owner, u32 pages, u32 align)
{
	u32 run = 0;

	for (u32 page = 0; page < UNITS * U; page++) {
		u32 first;

		run = is_available(page, owner) ? run + 1 : 0;
		if (run < pages)
			continue;
		first = page + 1 - pages;
		if (!(first % align))
			return true;
	}
	return false;
}

/* Is there one that starts at a multiple of its length, rounded up to a power of two? */
static bool exists_naturally(u32 owner, u32 pages, u32 align)
{
	u32 node = 1;

	while (node < pages || node < align)
		node *= 2;
	if (node <= U)
		return exists(owner, node, node);
	return false;
}

static void mark(u32 first, u32 pages, u32 owner, bool take)
{
	for (u32 page = first; page < first + pages; page++) {
		expect(take ? !used[page] : used[page] == 1 + owner);
		used[page] = take ? 1 + owner : 0;
	}
}

static void hold(u32 first, u32 pages, u32 owner)
{
	mark(first, pages, owner, true);
	ranges[nr_ranges++] = (struct place_range){ first, pages, owner };
}

/* Pages that are free to an owner, and not promised. */
static u64 free_to(u32 owner)
{
	u64 pages = 0;

	for (u32 page = 0; page < UNITS * U; page++)
		pages += is_available(page, owner);
	return pages;
}

static bool is_promised(void)
{
	for (u32 i = 0; i < OWNERS; i++)
		if (owners[i].promised || owners[i].whole)
			return true;
	return false;
}

static u32 any_length(void)
{
	switch (below(4)) {
	case 0:
		return 1 + below(16);
	case 1:
		return 1 + below(U);
	case 2:
		return 1 + below(4 * U);
	default:
		return U * (1 + below(6));
	}
}

static void random_alloc(u32 owner)
{
	struct buddy_place_want want = { .pages = any_length() };
	u32 align = want.pages & -want.pages;
	long first;

	if (!below(4))
		want.align = 1u << below(12);
	if (!below(4)) {
		want.pow2 = true;
		want.pages = 1u << below(12);
		align = want.pages;
	}
	align = align < U || want.pow2 ? align : U;
	align = align < want.align ? want.align : align;
	do
		first = buddy_place_alloc(&place, &owners[owner], &want);
	while (first == -EAGAIN);
	if (first < 0) {
		expect_eq(first, -ENOSPC);
		refused++;
		if (is_promised())
			return;
		avoidable += align <= U && exists(owner, want.pages, align);
		expect(!exists_naturally(owner, want.pages, align));
		return;
	}
	served++;
	expect(!(first % align));
	expect(is_well_placed((u64)first << SHIFT, (u64)want.pages << SHIFT,
			      (u64)want.align << SHIFT,
			      want.pow2 && want.pages <= U));
	hold(first, want.pages, owner);
}

/* The parts of a range go back one by one. */
static void give_back(u32 first, u32 pages)
{
	struct buddy_place_parts parts = buddy_place_parts(first, pages);

	if (parts.head)
		expect(buddy_place_free(&place, first, parts.head) >= 0);
	if (parts.units)
		expect_eq(buddy_place_free_units(&place, parts.first, parts.units), 0);
	if (parts.tail)
		expect(buddy_place_free(&place, (parts.first + parts.units) * U,
					parts.tail) >= 0);
}

static void random_free(void)
{
	u32 i = below(nr_ranges);
	struct place_range r = ranges[i];

	mark(r.first, r.pages, r.owner, false);
	give_back(r.first, r.pages);
	ranges[i] = ranges[--nr_ranges];
}

/* What is refused is what no range is, and changes nothing. */
static void random_bad_free(void)
{
	struct place_range r = ranges[below(nr_ranges)];

	if (r.first % U + r.pages > U || r.pages == U)
		return;
	expect_eq(buddy_place_free(&place, r.first, r.pages + 1), -EINVAL);
	if (r.pages > 1)
		expect_eq(buddy_place_free(&place, r.first + 1, r.pages - 1), -EINVAL);
}

static void random_grow(void)
{
	struct place_range *r = &ranges[below(nr_ranges)];
	u32 end = r->first + r->pages, more = 1 + below(below(2) ? 32 : 3 * U);
	u32 first = end;
	bool free = true;
	int err;

	if (more > UNITS * U - end)
		return;
	for (u32 page = end; page < end + more; page++)
		free &= is_available(page, r->owner);
	err = buddy_place_take(&place, &owners[r->owner], first, more);
	if (err) {
		expect_eq(err, -ENOSPC);
		expect(!free || is_promised());
		return;
	}
	expect(free);
	/* here as a range of its own */
	if (nr_ranges < MAX_RANGES)
		hold(first, more, r->owner);
	else
		give_back(first, more);
}

/* A TRIM: whole units are divided, and the one with the new end is split. */
static void random_trim(void)
{
	struct place_range *r = &ranges[below(nr_ranges)];
	struct buddy_place_parts parts = buddy_place_parts(r->first, r->pages);
	u32 keep, unit, rest;

	if (parts.head || parts.tail || !parts.units)
		return;
	keep = below(parts.units);
	rest = 1 + below(U - 1);
	unit = parts.first + keep;
	if (keep + 1 < parts.units) {
		expect_eq(buddy_place_divide(&place, parts.first, parts.units, keep + 1), 0);
		expect_eq(buddy_place_free_units(&place, unit + 1, parts.units - keep - 1), 0);
	}
	if (keep)
		expect_eq(buddy_place_divide(&place, parts.first, keep + 1, keep), 0);
	buddy_place_split(&place, &owners[r->owner], unit, rest);
	expect_eq(buddy_place_free(&place, unit * U + rest, U - rest), 0);
	mark(r->first + keep * U + rest, r->pages - keep * U - rest, r->owner, false);
	r->pages = keep * U + rest;
}

/* Scattered blocks under way: promised, and gathered piece by piece. */
static struct place_gathering {
	u32 owner;
	struct buddy_place_gather at;
} gathers[6];

static void random_promise(struct place_gathering *g)
{
	u32 owner = below(OWNERS), pages = any_length();
	bool other = is_promised();
	u64 free = free_to(owner);
	int err;

	/* often all that there is */
	if (!below(3) && free)
		pages = free;
	g->owner = owner;
	g->at = (struct buddy_place_gather){ .pages = pages };
	if (!below(3)) {
		g->at.whole = true;
		g->at.pages = pages = (pages + U - 1) / U * U;
		free = (u64)place.core.free * U;
	}
	err = buddy_place_promise(&place, &owners[owner], &g->at);
	expect_eq(g->at.left, err ? 0 : pages);
	if (err) {
		expect_eq(err, -ENOSPC);
		expect(free < pages || other);
		return;
	}
	expect(free >= pages);
}

static void random_gather(void)
{
	struct place_gathering *g = &gathers[below(6)];
	struct buddy_place_piece piece = { 0 };
	u32 left = g->at.left;
	int err;

	if (!left) {
		random_promise(g);
		return;
	}
	if (!below(16)) {
		buddy_place_forgo(&place, &owners[g->owner], &g->at);
		return;
	}
	err = buddy_place_gather(&place, &owners[g->owner], &g->at, &piece);
	expect_eq(err, 0);
	expect(piece.pages && piece.pages + g->at.left == left);
	expect(!g->at.whole || !(piece.first % U || piece.pages % U));
	expect(!piece.is_head || !((piece.first + piece.pages) % U));
	if (err)
		return;
	gathered++;
	hold(piece.first, piece.pages, g->owner);
}

/* What is said to be the longest can be had, and nothing that is longer. */
static void random_longest(u32 owner)
{
	struct buddy_place_want want = { 0 };
	long first;

	while (!buddy_place_longest(&place, &owners[owner], &want.pages))
		;
	if (is_promised())
		return;
	/* every odd length fits wherever there is room */
	expect(!exists(owner, want.pages + 1 + want.pages % 2, 1));
	if (!want.pages || below(4))
		return;
	do
		first = buddy_place_alloc(&place, &owners[owner], &want);
	while (first == -EAGAIN);
	expect(first >= 0);
	if (first >= 0)
		hold(first, want.pages, owner);
}

/* A page is where it is said to be, and as free as it is. */
static void random_find(void)
{
	struct buddy_core_span span;
	u32 page = below(UNITS * U);

	buddy_place_find(&place, page, &span);
	expect(span.offset <= page && page < span.offset + span.size);
	expect_eq(span.used, !!used[page]);
}

static void check(void)
{
	const char *bad = buddy_place_check(&place, all_owners, OWNERS);

	if (bad)
		printf("# %s\n", bad);
	expect(!bad);
}

static void setup(void)
{
	expect(buddy_core_bytes(UNITS) <= sizeof(tree));
	memset(units, 0, sizeof(units));
	memset(owners, 0, sizeof(owners));
	memset(gathers, 0, sizeof(gathers));
	memset(used, 0, sizeof(used));
	served = refused = avoidable = gathered = 0;
	nr_ranges = 0;
	for (u32 i = 0; i < OWNERS; i++)
		all_owners[i] = &owners[i];
	expect_eq(buddy_place_init(&place, UNITS, tree, units), 0);
}

static void free_all(void)
{
	u32 longest;

	for (struct place_gathering *g = gathers; g < gathers + 6; g++)
		buddy_place_forgo(&place, &owners[g->owner], &g->at);
	while (nr_ranges)
		random_free();
	check();
	expect_eq(place.core.free, UNITS);
	expect(buddy_place_longest(&place, &owners[0], &longest));
	expect_eq(longest, UNITS * U);
}

static void place_random(u64 operations, u64 dice)
{
	place_dice = dice;
	setup();
	for (u64 n = 0; n < operations && !tap_failures; n++) {
		u32 what = below(18);

		/* full, then nearly empty, again and again */
		if (nr_ranges && (nr_ranges > MAX_RANGES - 8 ||
				  what < (n / 2000 % 2 ? 4u : 9u)))
			random_free();
		else if (what < 13)
			random_alloc(below(OWNERS));
		else if (what == 13 && nr_ranges)
			below(2) ? random_grow() : random_bad_free();
		else if (what == 14 && nr_ranges)
			random_trim();
		else if (below(4))
			random_gather();
		else
			random_longest(below(OWNERS));
		if (n % 16 == 0) {
			check();
			random_find();
			tap_yield();
		}
	}
	printf("# %llu served, %llu pieces, %llu refused, of these %llu avoidable\n",
	       (unsigned long long)served, (unsigned long long)gathered, (unsigned long long)refused,
	       (unsigned long long)avoidable);
	/* more units, or extents, that did not fit than are looked at */
	expect(avoidable * 2000 <= served + refused);
	free_all();
}

/*
 * Many units are known to have a longer run than they have: the last one, which really has
 * room, is found all the same, and no call looks at more than some.
 */
static void place_stale(void)
{
	struct buddy_place_want want = { .pages = 75 * U / 256 };
	u32 last = (UNITS - 1) * U, calls = 0, longest = 0;
	long first;

	setup();
	for (u32 unit = 0; unit < UNITS; unit++) {
		u32 end = unit * U + U;

		/* 3/8 of each unit, and a little less of the last one */
		expect_eq(buddy_place_take(&place, &owners[0], unit * U, U / 4), 0);
		expect_eq(buddy_place_take(&place, &owners[0], end - 3 * U / 8, 3 * U / 8), 0);
		if (unit * U == last)
			expect_eq(buddy_place_take(&place, &owners[0], last + U / 4,
						   3 * U / 8 - want.pages), 0);
		else
			expect_eq(buddy_place_take(&place, &owners[0],
						   unit * U + U / 4 + 3 * U / 16, 1), 0);
	}
	do
		first = buddy_place_alloc(&place, &owners[0], &want);
	while (first == -EAGAIN && ++calls);
	expect(calls > 1);
	expect_eq(first, last + U - 3 * U / 8 - want.pages);
	expect_eq(buddy_place_free(&place, last + U - 3 * U / 8 - want.pages, want.pages), 0);
	/* the same page once more: what was learned is old */
	for (u32 unit = 0; unit < UNITS - 1; unit++) {
		u32 page = unit * U + U / 4 + 3 * U / 16;

		expect_eq(buddy_place_free(&place, page, 1), 0);
		expect_eq(buddy_place_take(&place, &owners[0], page, 1), 0);
	}
	for (calls = 0; !buddy_place_longest(&place, &owners[0], &longest);)
		calls++;
	expect(calls > 1);
	expect_eq(longest, want.pages);
	check();
}

/* A tail that fills its unit becomes a whole unit of the block. */
static void place_whole(void)
{
	struct buddy_place_want want = { .pages = U + U / 2 };

	setup();
	expect_eq(buddy_place_alloc(&place, &owners[0], &want), 0);
	expect_eq(buddy_place_take(&place, &owners[1], U + U / 2, U / 2), -ENOSPC);
	expect_eq(buddy_place_take(&place, &owners[0], U + U / 2, U / 2), 0);
	check();
	buddy_place_unsplit(&place, 1);
	expect_eq(buddy_place_join(&place, 0, 1, 1), 0);
	check();
	expect_eq(buddy_place_divide(&place, 0, 3, 1), -EINVAL);
	expect_eq(buddy_place_free_units(&place, 0, 1), -EINVAL);
	expect_eq(buddy_place_free(&place, U, 1), -EINVAL);
	expect_eq(buddy_place_free_units(&place, 0, 2), 0);
	check();
}

#endif /* PLACE_RANDOM_H */
