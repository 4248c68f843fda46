// SPDX-License-Identifier: MIT
/*
 * unit_model.c - the states of a split unit, over all interleavings: what the module is
 * to do with the pages of released extents, tried before it does.
 *
 * A unit of three pages is split for a file. Its owner allocates, touches, grows, frees
 * and lets a device pin; two threads run stage 1 (exclude faults, unmap, reference
 * check) and two run stage 2 (zero). Each step below is what happens under one hold of
 * a lock, or between two holds; the search visits every state that any order of steps
 * leads to, with OPERATIONS operations of the owner, and checks:
 *
 *   no page that is allocated has old contents, a mapping, or a pin
 *   no page of a live extent is zeroed
 *   a poisoned page is never allocated again
 *   when no step is left, nothing waits but for a pin, and no empty unit is split
 *
 * `unit_model` prints TAP; `unit_model NAME` the steps that lead to the violation of one
 * mutant (explore.h).
 */
#include <stdbool.h>
#include <stdint.h>

#define PAGES		3
#define ALL		((1 << PAGES) - 1)
#define EXTENTS		2
#define OPERATIONS	9
#define STAGES		4	/* two threads of stage 1, then two of stage 2 */

/* A thread of stage 1 or 2: where it is, and the pages that it has. */
struct thread {
	uint8_t at;
	uint8_t mask;
	uint8_t file;		/* whose unit it was when it was taken */
};

struct extent {
	uint8_t pages;		/* bits; 0: there is none */
	uint8_t touched;
};

/* Bits are pages. The ghosts are what hardware and programs have, not the module. */
struct state {
	uint8_t file;		/* that the unit is split for: 1, 2; 0: free in the tree */
	uint8_t used, dead, clear;
	uint8_t faulted, writer;	/* of unit->faults: 1 + the thread that has it */
	uint8_t to_unmap, to_zero;	/* the unit is on that list */
	uint8_t busy[2];		/* a thread of stage 1, of stage 2 has the unit */
	struct extent extent[EXTENTS];
	struct thread thread[STAGES];
	uint8_t operations;
	uint8_t dirty, mapped, pinned, poisoned, retired;	/* ghosts */
};

enum mutant {
	NONE,
	NO_BUSY,		/* two threads may have the unit in one stage */
	NO_PIN_OF_UNIT,		/* an emptied unit goes back while stage 1 has it */
	POISON_TAKEN_AGAIN,	/* stage 1 takes all that is dead */
	NO_REQUEUE,		/* stage 2 does not look for bits that came meanwhile */
	NO_REQUEUE_UNMAP,	/* nor stage 1 */
	FAULTS_BEFORE_SETTLE,	/* stage 1 lets faults in before it settles */
	TOUCH_LOST,		/* a grown extent forgets that it was touched */
	CHECK_WITHOUT_UNMAP,	/* the reference check leaves mappings out */
	MUTANTS,
};

#include "explore.h"

static const struct explore_mutant mutants[MUTANTS] = {
	{ "none", "all rules hold in every state" },
	{ "no-busy", "one thread has a unit in a stage" },
	{ "no-pin-of-unit", "a unit stays split while stage 1 has it" },
	{ "poison-taken-again", "stage 1 takes dead & ~clear" },
	{ "no-requeue", "stage 2 queues the unit again if bits are left" },
	{ "no-requeue-unmap", "stage 1 queues the unit again if it is refused" },
	{ "faults-before-settle", "stage 1 settles before faults are let in again" },
	{ "touch-lost", "GROW keeps what was touched" },
	{ "check-without-unmap", "the reference check counts mappings" },
};

static int mutant;	/* enum mutant */

/* --- the module ------------------------------------------------------------------ */

/* Under both locks: a unit without a used page goes back to the region's tree. */
static void return_if_empty(struct state *s)
{
	if (!s->file || s->used)
		return;
	if (s->busy[0] && mutant != NO_PIN_OF_UNIT)
		return;
	s->file = 0;
	s->to_unmap = 0;
	s->to_zero = 0;
}

/* Under the file's lock: the pages of an extent are released. */
static void release(struct state *s, uint8_t pages, bool touched)
{
	if (!touched) {
		s->used &= ~pages;
		return_if_empty(s);
	} else if (!s->faulted) {
		s->clear |= pages;
		s->to_zero = 1;
	} else {
		s->dead |= pages;
		s->to_unmap = 1;
	}
}

/* Stage 1: 0 take the unit; 1 exclude faults, unmap, check; 2 settle. */
static bool stage1_step(struct state *s, int t)
{
	struct thread *thread = &s->thread[t];
	bool reachable;

	switch (thread->at) {
	case 0:
		if (!s->file || !s->to_unmap || (s->busy[0] && mutant != NO_BUSY))
			return false;
		s->to_unmap = 0;
		s->busy[0] = 1;
		thread->file = s->file;
		thread->at = 1;
		return true;
	case 1:
		if (s->writer)		/* by trylock: later */
			return false;
		/* the address space of one file */
		if (mutant != CHECK_WITHOUT_UNMAP && thread->file == s->file)
			s->mapped = 0;
		reachable = s->pinned;
		if (!reachable)
			s->faulted = 0;
		s->writer = mutant == FAULTS_BEFORE_SETTLE ? 0 : 1 + t;
		thread->at = reachable ? 3 : 2;
		return true;
	case 2:
		explore_check(thread->file == s->file, "the bits of another file's unit are changed");
		thread->mask = s->dead & (mutant == POISON_TAKEN_AGAIN ? ALL : ~s->clear);
		s->dead &= ~thread->mask;
		s->clear |= thread->mask;
		s->to_zero |= !!thread->mask;
		break;
	case 3:		/* refused: again, when its time has come */
		if (mutant != NO_REQUEUE_UNMAP && s->dead & ~s->clear)
			s->to_unmap = 1;
		break;
	}
	if (s->writer == 1 + t)
		s->writer = 0;
	s->busy[0] = 0;
	*thread = (struct thread){ 0 };
	return_if_empty(s);
	return true;
}

/* Stage 2: 0 take the unit; 1 zero; 2 settle. */
static bool stage2_step(struct state *s, int t)
{
	struct thread *thread = &s->thread[t];
	uint8_t poisoned;

	switch (thread->at) {
	case 0:
		if (!s->file || !s->to_zero || (s->busy[1] && mutant != NO_BUSY))
			return false;
		if (mutant != NO_BUSY)
			s->to_zero = 0;
		s->busy[1] = 1;
		thread->mask = s->clear & ~s->dead;
		thread->at = 1;
		return true;
	case 1:
		for (int e = 0; e < EXTENTS; e++)
			explore_check(!(s->extent[e].pages & thread->mask), "live pages are zeroed");
		explore_check(!(s->mapped & thread->mask), "mapped pages are zeroed");
		explore_check(!(s->pinned & thread->mask), "pinned pages are zeroed");
		explore_check(!(s->retired & thread->mask), "a retired page is taken again");
		s->dirty &= ~(thread->mask & ~s->poisoned);
		thread->at = 2;
		return true;
	}
	poisoned = thread->mask & s->poisoned;
	s->dead |= poisoned;		/* with clear: retired */
	s->retired |= poisoned;
	s->used &= ~(thread->mask & ~poisoned);
	s->clear &= ~(thread->mask & ~poisoned);
	s->to_zero = mutant != NO_REQUEUE && (s->clear & ~s->dead);
	s->busy[1] = 0;
	*thread = (struct thread){ 0 };
	return_if_empty(s);
	return true;
}

/* --- the owner, and others ------------------------------------------------------- */

static void allocate(struct state *s, uint8_t pages, struct extent *extent)
{
	explore_check(!(pages & s->dirty), "a new extent has old contents");
	explore_check(!(pages & s->mapped), "a new extent is mapped already");
	explore_check(!(pages & s->pinned), "a new extent is pinned already");
	explore_check(!(pages & s->poisoned), "a poisoned page is allocated again");
	s->used |= pages;
	extent->pages |= pages;
}

static bool op_alloc(struct state *s, int e, int file)
{
	uint8_t pages = 0;

	if (s->extent[e].pages || (s->file && s->file != file))
		return false;
	for (int i = 0; i < PAGES && !pages; i++)
		pages = ~s->used & 1 << i;
	if (!pages)
		return false;
	if (!s->file) {		/* opened: it was a whole unit, proved unreachable */
		s->file = file;
		s->faulted = 0;
		s->used = s->dead = s->clear = 0;
	}
	allocate(s, pages, &s->extent[e]);
	return true;
}

/* A fault: between down_read() and up_read() of unit->faults. */
static bool op_touch(struct state *s, int e)
{
	uint8_t pages = s->extent[e].pages;

	if (!pages || s->writer || (s->mapped & pages) == pages)
		return false;
	s->faulted = 1;
	s->extent[e].touched = 1;
	s->mapped |= pages;
	s->dirty |= pages;
	return true;
}

static bool op_pin(struct state *s, int e)
{
	uint8_t pages = s->extent[e].pages & s->mapped & ~s->pinned;

	if (!pages)
		return false;
	s->pinned |= pages;
	return true;
}

static bool op_grow(struct state *s, int e)
{
	uint8_t more = s->extent[e].pages << 1 & ~s->extent[e].pages & ALL;

	if (!s->extent[e].pages || !more || s->used & more)
		return false;
	/* its own pages stay mapped: TRIM and GROW are for the handle alone */
	if (s->mapped & s->extent[e].pages)
		return false;
	allocate(s, more, &s->extent[e]);
	if (mutant == TOUCH_LOST)
		s->extent[e].touched = 0;
	return true;
}

/* munmap(), then the last reference. Its mappings are gone before it is released. */
static bool op_free(struct state *s, int e)
{
	struct extent extent = s->extent[e];

	if (!extent.pages)
		return false;
	s->mapped &= ~extent.pages;
	s->extent[e] = (struct extent){ 0 };
	release(s, extent.pages, extent.touched);
	return true;
}

static bool op_munmap(struct state *s, int e)
{
	if (!(s->mapped & s->extent[e].pages))
		return false;
	s->mapped &= ~s->extent[e].pages;
	return true;
}

/* The hardware breaks a page of an extent. */
static bool op_poison(struct state *s, int e)
{
	if (!s->extent[e].touched || s->poisoned)
		return false;
	s->poisoned = s->extent[e].pages & -s->extent[e].pages;
	return true;
}

static const struct {
	const char *name;
	bool (*run)(struct state *s, int e);
} operations[] = {
	{ "touch", op_touch }, { "pin", op_pin }, { "grow", op_grow },
	{ "munmap", op_munmap }, { "free", op_free }, { "poison", op_poison },
};

#define NR_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* --- the search ------------------------------------------------------------------ */

static void operate(const struct state *s, uint32_t from)
{
	struct state next;
	char step[28];

	for (int e = 0; e < EXTENTS; e++) {
		for (int file = 1; file <= 2; file++) {
			next = *s;
			next.operations++;
			snprintf(step, sizeof(step), "file %d allocates %d", file, e);
			if (op_alloc(&next, e, file))
				explore_reach(&next, from, step);
		}
		for (size_t o = 0; o < NR_OPERATIONS; o++) {
			next = *s;
			next.operations++;
			snprintf(step, sizeof(step), "%s %d", operations[o].name, e);
			if (operations[o].run(&next, e))
				explore_reach(&next, from, step);
		}
	}
}

/* Return: whether a thread has a step, or a pin can end. */
static bool work(const struct state *s, uint32_t from)
{
	struct state next;
	bool moved = false;
	char step[28];

	for (int t = 0; t < STAGES; t++) {
		int stage = 1 + t / 2, at = s->thread[t].at;

		next = *s;
		if (!(stage == 1 ? stage1_step : stage2_step)(&next, t))
			continue;
		/* being refused by a pin, again and again, is no progress */
		moved |= !(stage == 1 && s->pinned);
		snprintf(step, sizeof(step), "stage %d, thread %d: %d", stage, t, at);
		explore_reach(&next, from, step);
	}
	if (s->pinned) {
		next = *s;
		next.pinned = 0;
		explore_reach(&next, from, "the pins end");
		moved = true;
	}
	return moved;
}

static void check_end(const struct state *s)
{
	explore_check(!(s->dead & ~s->clear), "dead pages that nothing will bring back");
	explore_check(!(s->clear & ~s->dead), "unreachable pages that nothing will zero");
	explore_check(!s->file || s->used, "an empty unit stays split");
}

static void expand(const struct state *s, uint32_t at)
{
	if (s->operations < OPERATIONS)
		operate(s, at);
	if (!work(s, at))
		check_end(s);
}

int main(int argc, char **argv)
{
	static const struct state empty;

	return explore_mutants(mutants, MUTANTS, &mutant, &empty, argc > 1 ? argv[1] : NULL);
}
