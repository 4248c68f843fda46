// SPDX-License-Identifier: MIT
/*
 * room_test.c - the oracle of the tests of capacity (room.h) against one that looks at
 * each page.
 *
 * Usage: room_test [STEPS [SEED]]
 *
 * Blocks of four owners at random places of a small region: a place is taken if the naive
 * oracle allows it, and room.h must allow the same ones.
 */
#include <stdio.h>

#include "rnd.h"
#include "room.h"
#include "tap.h"

#define UNITS	5
#define PAGES	(UNITS * ROOM_UNIT)
#define OWNERS	4
#define BLOCKS	24

struct naive_block { uint32_t first, pages; int owner; };

static struct naive_block blocks[BLOCKS];
static int count;
static struct room room;
static long steps = 5000;
static uint64_t first_seed = 20261128;

static bool holds(const struct naive_block *b, uint32_t page)
{
	return page >= b->first && page < b->first + b->pages;
}

/* Free to @owner: in no block, and the unit has no part of a block of another. */
static bool is_free(uint32_t page, int owner)
{
	uint32_t unit = page / ROOM_UNIT * ROOM_UNIT;

	for (int i = 0; i < count; i++) {
		const struct naive_block *b = &blocks[i];
		bool all = holds(b, unit) && holds(b, unit + ROOM_UNIT - 1);
		bool some = b->first < unit + ROOM_UNIT && b->first + b->pages > unit;

		if (holds(b, page) || (some && !all && b->owner != owner))
			return false;
	}
	return true;
}

/* Of each page: how many from there on are free to an owner. */
static uint32_t run[PAGES + 1];

static void look(int owner)
{
	for (uint32_t page = PAGES; page-- > 0;)
		run[page] = is_free(page, owner) ? run[page + 1] + 1 : 0;
}

static bool fits(uint32_t pages, uint32_t align)
{
	for (uint32_t at = 0; at < PAGES; at += align)
		if (run[at] >= pages)
			return true;
	return false;
}

/* As fits(), of a range in one unit of which some pages are in blocks. */
static bool fits_split(uint32_t pages, uint32_t align)
{
	for (uint32_t at = 0; at < PAGES; at += align) {
		uint32_t unit = at / ROOM_UNIT * ROOM_UNIT;

		if (run[unit] < ROOM_UNIT && run[at] >= pages && at + pages <= unit + ROOM_UNIT)
			return true;
	}
	return false;
}

static uint32_t longest(void)
{
	uint32_t most = 0;

	for (uint32_t at = 0; at < PAGES; at++)
		for (uint32_t n = run[at]; n > most; n--)
			if (!(at % (n % ROOM_UNIT ? n & -n : ROOM_UNIT)))
				most = n;
	return most;
}

static void compare(int owner)
{
	uint32_t pages = 1 + (uint32_t)(rnd() % (2u << rnd() % 11)), align = 1u << rnd() % 12;
	uint32_t at = (uint32_t)(rnd() % PAGES), most = 1 + (uint32_t)(rnd() % ROOM_UNIT);

	look(owner);
	expect_eq(room_fits(&room, (uint8_t)owner, pages, align), fits(pages, align));
	expect_eq(room_fits_split(&room, (uint8_t)owner, pages, align), fits_split(pages, align));
	expect_eq(room_longest(&room, (uint8_t)owner), longest());
	expect_eq(room_behind(&room, (uint8_t)owner, at, most), run[at] < most ? run[at] : most);
}

static void take(int owner)
{
	uint32_t first = (uint32_t)(rnd() % PAGES), pages = 1 + (uint32_t)(rnd() % (2u << rnd() % 10));

	/* half of them start or end a unit */
	if (rnd() % 4 == 0)
		first -= first % ROOM_UNIT;
	if (rnd() % 4 == 0)
		pages = ROOM_UNIT - first % ROOM_UNIT;
	look(owner);
	if (count == BLOCKS || first + pages > PAGES || run[first] < pages)
		return;
	expect(room_take(&room, first, pages, (uint8_t)owner));
	blocks[count++] = (struct naive_block){ first, pages, owner };
	expect(room_is(&room, first, pages, true));
}

static void give(int which)
{
	struct naive_block b = blocks[which];

	room_free(&room, b.first, b.pages, (uint8_t)b.owner);
	expect(room_is(&room, b.first, b.pages, false));
	blocks[which] = blocks[--count];
}

static void against_naive(void)
{
	seed = first_seed;
	printf("# seed %llu\n", (unsigned long long)seed);
	expect(room_init(&room, PAGES));
	for (long i = 0; i < steps; i++) {
		int owner = (int)(rnd() % OWNERS);

		if (count && rnd() % 3 == 0)
			give((int)(rnd() % (uint64_t)count));
		else
			take(owner);
		compare(owner);
	}
	while (count)
		give(0);
	expect(room_fits(&room, 0, PAGES, 1));
	room_end(&room);
}

/* A page of another block, and a unit that is split for another owner. */
static void refusals(void)
{
	expect(room_init(&room, PAGES));
	expect(room_take(&room, 10, 20, 1));
	expect(!room_take(&room, 29, 2, 1));
	room_end(&room);
	expect(room_init(&room, PAGES));
	expect(room_take(&room, 10, 20, 1));
	expect(!room_take(&room, 500, 700, 2));
	room_end(&room);
	expect(room_init(&room, PAGES));
	expect(!room_take(&room, PAGES - 1, 2, 0));
	room_end(&room);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "against one that looks at each page", against_naive },
		{ "what is not free is not taken", refusals },
	};

	if (argc > 1)
		steps = strtol(argv[1], NULL, 0);
	if (argc > 2)
		first_seed = strtoull(argv[2], NULL, 0);
	return tap_run(cases, TAP_COUNT(cases));
}
