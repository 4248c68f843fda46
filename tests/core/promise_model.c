// SPDX-License-Identifier: MIT
/*
 * promise_model.c - the promise of a scattered allocation, over all interleavings.
 *
 * A scattered block is made of pages that are gathered under many holds of the locks.
 * So that gathering cannot run dry, its pages are promised first, under one hold: units
 * in region->promised, pages of the file's split units in file->promised; and each
 * taker leaves what is promised to others. Two threads of one file gather, while the
 * file allocates and frees small blocks and another file takes and returns units. A
 * unit here has two pages.
 *
 *   gathering always finds a page
 *   what is promised is there: promised <= free units, and <= free pages of the file
 *
 * `promise_model` prints TAP; `promise_model NAME` the steps that lead to the violation
 * of one mutant (explore.h).
 */
#include <stdbool.h>
#include <stdint.h>

#define UNITS		3
#define UNIT_PAGES	2
#define GATHERERS	2
#define OPERATIONS	9

/* A thread that gathers: what is still promised to it. */
struct gatherer {
	uint8_t units, pages;	/* of region->promised, of file->promised */
	uint8_t odd;		/* it needs one page less than these have */
};

struct state {
	uint8_t free;		/* units in the region's tree */
	uint8_t others;		/* units of the other file */
	uint8_t split[UNITS];	/* 1 + used pages of a unit that the file has split; or 0 */
	uint8_t small;		/* pages of small blocks */
	uint8_t promised_units, promised_pages;
	struct gatherer gatherer[GATHERERS];
	uint8_t operations;
};

enum mutant {
	NONE,
	RETURN_PROMISED,	/* an emptied unit goes back with promised pages */
	OTHERS_TAKE,		/* another file takes promised units */
	OPEN_TAKES,		/* a small allocation splits a promised unit */
	SMALL_TAKES,		/* and takes promised pages */
	COUNT_WITHOUT,		/* a promise does not look at those before it */
	MUTANTS,
};

#include "explore.h"

static const struct explore_mutant mutants[MUTANTS] = {
	{ "none", "all rules hold in every state" },
	{ "return-promised", "an emptied unit whose pages are promised stays split" },
	{ "others-take", "another file leaves promised units" },
	{ "open-takes", "so does a small allocation that splits a unit" },
	{ "small-takes", "a small allocation leaves promised pages" },
	{ "count-without", "a promise counts what is promised already" },
};

static int mutant;	/* enum mutant */

/* Free pages in the file's split units. */
static int private_pages(const struct state *s)
{
	int pages = 0;

	for (int u = 0; u < UNITS; u++)
		if (s->split[u])
			pages += UNIT_PAGES - (s->split[u] - 1);
	return pages;
}

static void check_state(const struct state *s)
{
	explore_check(s->promised_units <= s->free, "promised units are gone");
	explore_check(s->promised_pages <= private_pages(s), "promised pages are gone");
}

/* Takes a page of a split unit; the unit with the most used pages first. */
static bool take_page(struct state *s)
{
	int best = -1;

	for (int u = 0; u < UNITS; u++)
		if (s->split[u] && s->split[u] - 1 < UNIT_PAGES &&
		    (best < 0 || s->split[u] > s->split[best]))
			best = u;
	if (best < 0)
		return false;
	s->split[best]++;
	return true;
}

static bool split_unit(struct state *s)
{
	if (!s->free)
		return false;
	for (int u = 0; u < UNITS; u++) {
		if (s->split[u])
			continue;
		s->free--;
		s->split[u] = 1;
		return true;
	}
	return false;
}

static void give_page(struct state *s, int u)
{
	s->split[u]--;
	if (s->split[u] > 1)
		return;
	if (private_pages(s) - UNIT_PAGES < s->promised_pages && mutant != RETURN_PROMISED)
		return;
	s->split[u] = 0;
	s->free++;
}

static bool op_small(struct state *s)
{
	int own = private_pages(s) - (mutant == SMALL_TAKES ? 0 : s->promised_pages);
	int units = s->free - (mutant == OPEN_TAKES ? 0 : s->promised_units);

	if (own <= 0 && (units <= 0 || !split_unit(s)))
		return false;
	s->small++;
	return take_page(s);
}

/* Frees a page of a unit that has one in use; gathered ones count as small then. */
static bool op_free(struct state *s, int u)
{
	if (!s->small || s->split[u] < 2)
		return false;
	s->small--;
	give_page(s, u);
	return true;
}

static bool op_others_take(struct state *s)
{
	if (s->free - (mutant == OTHERS_TAKE ? 0 : s->promised_units) <= 0)
		return false;
	s->free--;
	s->others++;
	return true;
}

static bool op_others_return(struct state *s)
{
	if (!s->others)
		return false;
	s->others--;
	s->free++;
	return true;
}

static bool op_promise(struct state *s, int g, int pages)
{
	struct gatherer *gatherer = &s->gatherer[g];
	bool counts = mutant != COUNT_WITHOUT;
	int own = private_pages(s) - (counts ? s->promised_pages : 0);
	int units = s->free - (counts ? s->promised_units : 0);

	if (gatherer->units || gatherer->pages || own + units * UNIT_PAGES < pages)
		return false;
	if (own > pages)
		own = pages;
	gatherer->pages = own;
	gatherer->units = (pages - own + UNIT_PAGES - 1) / UNIT_PAGES;
	gatherer->odd = (pages - own) % UNIT_PAGES;
	s->promised_pages += gatherer->pages;
	s->promised_units += gatherer->units;
	return true;
}

/* One hold: a unit, or a page. */
static bool gather_step(struct state *s, int g)
{
	struct gatherer *gatherer = &s->gatherer[g];

	if (gatherer->units) {
		bool whole = gatherer->units > 1 || !gatherer->odd;

		gatherer->units--;
		s->promised_units--;
		explore_check(s->free, "gathering finds no unit");
		if (!explore_violation && whole) {
			s->free--;
			s->others++;	/* it is used: whose, does not matter */
		} else if (!explore_violation) {
			explore_check(split_unit(s) && take_page(s), "gathering finds no unit");
			s->small++;
			gatherer->odd = 0;
		}
		return true;
	}
	if (!gatherer->pages)
		return false;
	gatherer->pages--;
	s->promised_pages--;
	explore_check(take_page(s), "gathering finds no page");
	s->small++;
	return true;
}

static void try_step(const struct state *s, uint32_t at, int what, int i)
{
	static const char *const names[] = {
		"small allocation", "another file takes a unit", "another file returns one",
		"free in unit %d", "thread %d promises 2 pages", "thread %d promises 3 pages",
	};
	struct state next = *s;
	char step[32];
	bool done;

	next.operations++;
	switch (what) {
	case 0: done = !i && op_small(&next); break;
	case 1: done = !i && op_others_take(&next); break;
	case 2: done = !i && op_others_return(&next); break;
	case 3: done = op_free(&next, i); break;
	default: done = i < GATHERERS && op_promise(&next, i, what - 2); break;
	}
	if (!done)
		return;
	check_state(&next);
	snprintf(step, sizeof(step), names[what], i);
	explore_reach(&next, at, step);
}

static void expand(const struct state *s, uint32_t at)
{
	for (int what = 0; what < 6 && s->operations < OPERATIONS; what++)
		for (int i = 0; i < UNITS; i++)
			try_step(s, at, what, i);
	for (int g = 0; g < GATHERERS; g++) {
		struct state next = *s;

		if (!gather_step(&next, g))
			continue;
		check_state(&next);
		explore_reach(&next, at, g ? "thread 1 gathers" : "thread 0 gathers");
	}
}

int main(int argc, char **argv)
{
	static const struct state first = { .free = UNITS };

	return explore_mutants(mutants, MUTANTS, &mutant, &first, argc > 1 ? argv[1] : NULL);
}
