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
 * Each rule of the design has a mutant that leaves it out, in which the search must find
 * a violation. `unit_model` prints TAP; `unit_model NAME` prints the steps that lead to
 * the violation of one mutant.
 *
 * Idea: explicit-state model checking, as SPIN has it (G. J. Holzmann).
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES		3
#define ALL		((1 << PAGES) - 1)
#define EXTENTS		2
#define OPERATIONS	9
#define STAGES		4	/* two threads of stage 1, then two of stage 2 */
#define TABLE		(1u << 24)

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

static const struct {
	const char *name, *rule;
} mutants[MUTANTS] = {
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

static enum mutant mutant;
static const char *violation;

/* The visited states, and how each was reached. */
static struct node {
	struct state state;
	uint32_t from;
	char step[28];
} *nodes;
static uint32_t nr_nodes, *table;

static void check(bool good, const char *what)
{
	if (!good && !violation)
		violation = what;
}

static uint32_t hash(const struct state *s)
{
	const uint8_t *byte = (const uint8_t *)s;
	uint64_t h = 1469598103934665603ull;

	for (size_t i = 0; i < sizeof(*s); i++)
		h = (h ^ byte[i]) * 1099511628211ull;
	return (uint32_t)(h ^ h >> 32) % TABLE;
}

static void reach(const struct state *s, uint32_t from, const char *step)
{
	uint32_t at = hash(s);

	while (table[at] && memcmp(&nodes[table[at]].state, s, sizeof(*s)))
		at = (at + 1) % TABLE;
	if (table[at])
		return;
	if (nr_nodes + 1 == TABLE / 2) {
		puts("Bail out! more states than there is room for");
		exit(1);
	}
	table[at] = ++nr_nodes;
	nodes[nr_nodes] = (struct node){ .state = *s, .from = from };
	snprintf(nodes[nr_nodes].step, sizeof(nodes[nr_nodes].step), "%s", step);
}

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
		check(thread->file == s->file, "the bits of another file's unit are changed");
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
			check(!(s->extent[e].pages & thread->mask), "live pages are zeroed");
		check(!(s->mapped & thread->mask), "mapped pages are zeroed");
		check(!(s->pinned & thread->mask), "pinned pages are zeroed");
		check(!(s->retired & thread->mask), "a retired page is taken again");
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
	check(!(pages & s->dirty), "a new extent has old contents");
	check(!(pages & s->mapped), "a new extent is mapped already");
	check(!(pages & s->pinned), "a new extent is pinned already");
	check(!(pages & s->poisoned), "a poisoned page is allocated again");
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
				reach(&next, from, step);
		}
		for (size_t o = 0; o < NR_OPERATIONS; o++) {
			next = *s;
			next.operations++;
			snprintf(step, sizeof(step), "%s %d", operations[o].name, e);
			if (operations[o].run(&next, e))
				reach(&next, from, step);
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
		reach(&next, from, step);
	}
	if (s->pinned) {
		next = *s;
		next.pinned = 0;
		reach(&next, from, "the pins end");
		moved = true;
	}
	return moved;
}

static void check_end(const struct state *s)
{
	check(!(s->dead & ~s->clear), "dead pages that nothing will bring back");
	check(!(s->clear & ~s->dead), "unreachable pages that nothing will zero");
	check(!s->file || s->used, "an empty unit stays split");
}

static const char *search(void)
{
	static const struct state empty;
	uint32_t at = 0;

	memset(table, 0, TABLE * sizeof(*table));
	nr_nodes = 0;
	violation = NULL;
	reach(&empty, 0, "a free unit");
	while (at < nr_nodes && !violation) {
		struct state s = nodes[++at].state;

		if (s.operations < OPERATIONS)
			operate(&s, at);
		if (!work(&s, at))
			check_end(&s);
	}
	/* the step that broke it is the last of this one */
	nodes[0].from = at;
	return violation;
}

static void show(void)
{
	uint32_t steps[256], n = 0;

	for (uint32_t at = nodes[0].from; at && n < 256; at = nodes[at].from)
		steps[n++] = at;
	while (n--)
		printf("# %s\n", nodes[steps[n]].step);
	printf("# then: %s\n", violation);
}

int main(int argc, char **argv)
{
	int failed = 0;

	nodes = calloc(TABLE / 2, sizeof(*nodes));
	table = calloc(TABLE, sizeof(*table));
	if (!nodes || !table)
		return 1;
	if (argc == 1)
		printf("1..%d\n", MUTANTS);
	for (int m = 0; m < MUTANTS; m++) {
		bool good;

		if (argc > 1 && strcmp(argv[1], mutants[m].name))
			continue;
		mutant = m;
		good = !search() == (m == NONE);
		failed += !good;
		printf("%sok %d - %s: %s (%u states)%s%s\n", good ? "" : "not ", 1 + m,
		       mutants[m].name, mutants[m].rule, nr_nodes,
		       m && violation ? ": without it " : "", m && violation ? violation : "");
		if (violation && (!good || argc > 1))
			show();
	}
	free(nodes);
	free(table);
	return failed > 0;
}
