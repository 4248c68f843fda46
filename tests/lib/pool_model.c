// SPDX-License-Identifier: MIT
/*
 * pool_model.c - random calls of buddy_pool_* against a model.
 *
 * Usage: pool_model process|device [OPERATIONS [THREADS [SEED]]]
 *
 * The model knows of each object its size, its alignment and the byte it is filled
 * with, and of each granule of the pool's addresses the object that it belongs to.
 * Checked: no two objects overlap; contents from allocation to free, through realloc;
 * zeroes of zalloc; alignment; usable size; that the statistics balance at any time,
 * and that all is given back at the end.
 *
 * With threads, each has a model of its own, and they pass objects on to one another,
 * to be freed there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend.h"

#define OBJECTS		1500	/* of a thread, at most */
#define EDGE		96	/* bytes checked at each end of larger objects */
#define MAX_THREADS	8
#define ARENA_ALIGN	(1ull << 30)

struct object {
	unsigned char *p;
	size_t size;
	size_t usable;
	unsigned char byte;
	bool full;		/* filled whole, not just at its ends */
};

struct worker {
	struct object object[OBJECTS];
	int objects;
	uint64_t seed;
	uint64_t operations;
	uint64_t refused;
	uint64_t passed;
	uint64_t live_bytes;
	uint16_t id;
	pthread_t thread;
};

static struct buddy_pool *pool;
static struct worker workers[MAX_THREADS];
static int threads;
static uint64_t operations, first_seed;
static uintptr_t base;
static uint16_t *owner;		/* by granule: of a worker, or 0 */
static struct object *mailbox[64];	/* changed by exchange alone */
static _Atomic int failures;

#define check(w, cond)							\
	do {								\
		if (!(cond) && failures++ < 10)				\
			printf("# line %d, operation %llu of %d: %s\n",	\
			       __LINE__, (unsigned long long)(w)->operations, \
			       (w)->id, #cond);				\
	} while (0)

static uint64_t rnd(struct worker *w)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return w->seed * 0x2545f4914f6cdd1dull >> 20;
}

/* Log-uniform, so that every class has its share; rarely large, more rarely huge. */
static size_t random_size(struct worker *w)
{
	uint64_t r = rnd(w) % 4096, order;

	if (r < 3)
		return MIB + rnd(w) % (3 * MIB);
	if (r < 40)
		return 64 * KIB + rnd(w) % (600 * KIB);
	order = rnd(w) % 17;
	return (1ull << order) - 1 + rnd(w) % ((1ull << order) + 1);
}

/* The granules of an object change hands; each must be in the hand it was in. */
static void claim(struct worker *w, const struct object *o, uint16_t from,
		  uint16_t to)
{
	size_t first = ((uintptr_t)o->p - base) / 64, n = (o->usable + 63) / 64, bad = 0;

	for (size_t i = first; i < first + n; i++)
		bad += __atomic_exchange_n(&owner[i], to, __ATOMIC_RELAXED) != from;
	check(w, !bad);
}

static size_t edge(const struct object *o, size_t size)
{
	return o->full || size < 2 * EDGE ? size : EDGE;
}

static void fill(struct worker *w, struct object *o)
{
	o->byte = (unsigned char)rnd(w);
	o->full = o->size <= 1024 || rnd(w) % 64 == 0;
	memset(o->p, o->byte, edge(o, o->size));
	memset(o->p + o->size - edge(o, o->size), o->byte, edge(o, o->size));
}

static bool all(const unsigned char *p, unsigned char byte, size_t size)
{
	return !size || (p[0] == byte && !memcmp(p, p + 1, size - 1));
}

static void verify(struct worker *w, const struct object *o)
{
	size_t n = edge(o, o->size);

	check(w, all(o->p, o->byte, n));
	check(w, all(o->p + o->size - n, o->byte, n));
}

static bool adopt(struct worker *w, struct object *o, size_t align)
{
	if (!o->p) {
		w->refused++;
		return false;
	}
	o->usable = buddy_pool_usable_size(pool, o->p);
	check(w, o->usable >= o->size);
	check(w, (uintptr_t)o->p % align == 0 && (uintptr_t)o->p % 64 == 0);
	check(w, buddy_pool_owns(pool, o->p));
	claim(w, o, 0, w->id);
	w->live_bytes += o->usable;
	return true;
}

static void do_alloc(struct worker *w)
{
	struct object o = { .size = random_size(w) };
	size_t align = 64, kind = rnd(w) % 16;

	if (w->objects == OBJECTS)
		return;
	if (kind == 0) {
		align = 1ull << rnd(w) % 22;
		o.p = buddy_pool_alloc_aligned(pool, align, o.size);
	} else if (kind == 1) {
		o.p = buddy_pool_zalloc(pool, 1, o.size);
		check(w, !o.p || all(o.p, 0, o.size));
	} else {
		o.p = buddy_pool_alloc(pool, o.size);
	}
	if (!adopt(w, &o, align))
		return;
	fill(w, &o);
	w->object[w->objects++] = o;
}

static void do_free(struct worker *w)
{
	uint64_t i = w->objects ? rnd(w) % (uint64_t)w->objects : 0;
	struct object o = w->object[i];

	if (!w->objects)
		return;
	verify(w, &o);
	claim(w, &o, w->id, 0);
	w->live_bytes -= o.usable;
	check(w, !buddy_pool_free(pool, o.p));
	w->object[i] = w->object[--w->objects];
}

static void do_realloc(struct worker *w)
{
	uint64_t i = w->objects ? rnd(w) % (uint64_t)w->objects : 0;
	struct object *o = &w->object[i], new = { .size = random_size(w) };
	size_t kept;

	if (!w->objects)
		return;
	verify(w, o);
	/* the old place may be somebody's as soon as the call has begun */
	claim(w, o, w->id, 0);
	new.p = buddy_pool_realloc(pool, o->p, new.size);
	if (!new.p) {
		w->refused++;
		claim(w, o, 0, w->id);
		return;
	}
	w->live_bytes -= o->usable;
	kept = o->size < new.size ? o->size : new.size;
	check(w, all(new.p, o->byte, kept < EDGE ? kept : edge(o, kept)) ||
	      (!o->full && kept > EDGE && all(new.p, o->byte, EDGE)));
	if (adopt(w, &new, 64)) {
		fill(w, &new);
		*o = new;
	}
}

/* Hands an object to whoever looks into the box, and takes what was there. */
static void do_pass(struct worker *w)
{
	struct object *mine = NULL, *got;

	if (threads == 1)
		return;
	if (w->objects) {
		mine = malloc(sizeof(*mine));
		*mine = w->object[--w->objects];
		claim(w, mine, w->id, MAX_THREADS + 1);
		w->live_bytes -= mine->usable;
		w->passed++;
	}
	got = __atomic_exchange_n(&mailbox[rnd(w) % 64], mine, __ATOMIC_ACQ_REL);
	if (!got)
		return;
	verify(w, got);
	claim(w, got, MAX_THREADS + 1, 0);
	check(w, !buddy_pool_free(pool, got->p));
	free(got);
}

static void balance(struct worker *w)
{
	struct buddy_pool_stats s = { .size = sizeof(s) };

	buddy_pool_stats(pool, &s);
	check(w, s.used + s.cached <= s.bytes && s.bytes <= s.limit);
	if (threads == 1) {
		check(w, s.objects == (uint64_t)w->objects);
		check(w, s.used == w->live_bytes);
	}
	if (rnd(w) % 8 == 0)
		check(w, !buddy_pool_trim(pool));
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t bias = 50;

	for (w->operations = 0; w->operations < operations / (uint64_t)threads;
	     w->operations++) {
		uint64_t r = rnd(w) % 100;

		/* phases: fuller, then emptier */
		if (w->operations % 4096 == 0)
			bias = 30 + rnd(w) % 40;
		if (r < bias)
			do_alloc(w);
		else if (r < 92)
			do_free(w);
		else if (r < 97)
			do_realloc(w);
		else
			do_pass(w);
		if (w->operations % 10000 == 0)
			balance(w);
	}
	while (w->objects)
		do_free(w);
	return NULL;
}

static void start_model(void)
{
	struct buddy_pool_config c = { .size = sizeof(c), .chunk = MIB };
	void *p;

	expect_eq(buddy_pool_create(dev, &c, &pool), 0);
	/* the arena starts at a multiple of 1 GiB, with the first chunk */
	p = buddy_pool_alloc(pool, 1);
	base = (uintptr_t)p & ~(ARENA_ALIGN - 1);
	expect(buddy_pool_owns(pool, (void *)base));
	expect(!buddy_pool_owns(pool, (void *)(base - 1)));
	expect_eq(buddy_pool_free(pool, p), 0);
	owner = calloc(4 * stats().out_region / 64, sizeof(*owner));
	expect(owner != NULL);
}

static void random_calls(void)
{
	uint64_t before = used(), refused = 0, passed = 0;
	struct worker *w = &workers[0];
	struct buddy_pool_stats s = { .size = sizeof(s) };

	printf("# %llu operations, %d threads, seed %llu\n",
	       (unsigned long long)operations, threads, (unsigned long long)first_seed);
	start_model();
	for (int i = 0; i < threads; i++) {
		workers[i].id = (uint16_t)(i + 1);
		workers[i].seed = first_seed * 0x9e3779b97f4a7c15ull + (uint64_t)i + 1;
		expect(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		refused += workers[i].refused;
		passed += workers[i].passed;
	}
	for (int i = 0; i < 64; i++) {
		if (!mailbox[i])
			continue;
		verify(w, mailbox[i]);
		expect_eq(buddy_pool_free(pool, mailbox[i]->p), 0);
		free(mailbox[i]);
	}
	buddy_pool_stats(pool, &s);
	printf("# refused %llu, passed on %llu, blocks taken %llu, refills %llu, flushes %llu\n",
	       (unsigned long long)refused, (unsigned long long)passed,
	       (unsigned long long)s.blocks_taken, (unsigned long long)s.refills,
	       (unsigned long long)s.flushes);
	expect_eq(s.objects, 0);
	expect_eq(s.used, 0);
	expect_eq(s.bad_frees, 0);
	expect_eq(buddy_pool_trim(pool), 0);
	buddy_pool_stats(pool, &s);
	expect_eq(s.bytes, 0);
	expect_eq(s.blocks_taken, s.blocks_returned);
	expect_eq(used(), before);
	expect_eq(failures, 0);
	buddy_pool_destroy(pool);
	free(owner);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "random calls against a model", random_calls },
	};

	operations = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000000;
	threads = argc > 3 ? atoi(argv[3]) : 1;
	first_seed = argc > 4 ? strtoull(argv[4], NULL, 0) : (uint64_t)getpid();
	if (threads < 1 || threads > MAX_THREADS)
		return 2;
	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
