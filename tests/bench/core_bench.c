// SPDX-License-Identifier: MIT
/*
 * core_bench.c - operation streams for the tree, to be counted by callgrind.
 *
 * Run by tests/bench/core (make bench-core), which counts the instructions
 * inside buddy_core_alloc() and buddy_core_free() alone; the streams are those
 * named in its table. Each stream warms up uncounted, is then counted from
 * zero, and ends with a dump named after it. Without valgrind it only runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "buddy_core.h"

#define GIB_PAGES	(1u << 18)	/* granules of 4 KiB in 1 GiB */

struct held {
	u32 offset;
	u32 size;
};

static struct buddy_core core;
static struct held *held;
static u32 nr_held;
static u64 ops;
static u64 seed = 0x9e3779b97f4a7c15ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull >> 16;
}

static void start(u32 granules)
{
	size_t bytes = buddy_core_bytes(granules);
	void *mem = aligned_alloc(64, (bytes + 63) / 64 * 64);

	held = calloc(granules, sizeof(*held));
	if (!mem || !held || buddy_core_init(&core, granules, mem))
		abort();
	nr_held = 0;
}

static void count_from_here(void)
{
	ops = 0;
	CALLGRIND_ZERO_STATS;
}

static void report(const char *name)
{
	CALLGRIND_DUMP_STATS_AT(name);
	printf("%s %llu\n", name, (unsigned long long)ops);
	fflush(stdout);
	/* too slow for the largest trees */
	if (core.granules <= GIB_PAGES && buddy_core_check(&core))
		abort();
	free(core.map[0].word);
	free(held);
}

static bool take(u32 size)
{
	long offset = buddy_core_alloc(&core, size, 0);

	ops++;
	if (offset < 0)
		return false;
	held[nr_held++] = (struct held){ (u32)offset, size };
	return true;
}

static void give(u32 i)
{
	struct held h = held[i];

	held[i] = held[--nr_held];
	if (buddy_core_free(&core, h.offset, h.size))
		abort();
	ops++;
}

/* Orders lo .. hi with the same chance. */
static u32 size_pow2(u32 lo, u32 hi)
{
	return 1u << (lo + rnd() % (hi - lo + 1));
}

/* 1 .. 1024 granules, log-uniform: an order, then a place within it. */
static u32 size_exact(void)
{
	u32 order = rnd() % 10;

	return (1u << order) + rnd() % (1u << order);
}

static void churn(const char *name, u32 granules, u32 lo, u32 hi, bool exact,
		  u32 count)
{
	start(granules);
	for (u32 phase = 0; phase < 2; phase++) {
		for (u32 i = 0; i < count; i++) {
			bool below = core.free > granules / 5;

			if (!below || !take(exact ? size_exact() :
						    size_pow2(lo, hi)))
				give(rnd() % nr_held);
		}
		if (!phase)
			count_from_here();
	}
	report(name);
}

static void lifo(const char *name, u32 granules, u32 depth, u32 rounds)
{
	start(granules);
	count_from_here();
	for (u32 r = 0; r < rounds; r++) {
		for (u32 i = 0; i < depth; i++)
			take(1);
		while (nr_held)
			give(nr_held - 1);
	}
	report(name);
}

static void fill_drain(const char *name)
{
	start(GIB_PAGES);
	count_from_here();
	while (core.free)
		take(1);
	while (nr_held)
		give(rnd() % nr_held);
	report(name);
}

int main(void)
{
	churn("churn-80", GIB_PAGES, 0, 10, false, 100000);
	churn("churn-80-64G", 64 * GIB_PAGES, 0, 10, false, 100000);
	churn("small-80", GIB_PAGES / 4, 0, 3, false, 100000);
	lifo("lifo-1", GIB_PAGES, 1, 10000);
	lifo("lifo-1000", GIB_PAGES, 1000, 100);
	fill_drain("fill-drain");
	churn("exact-80", GIB_PAGES, 0, 0, true, 100000);
	lifo("full-split-64G", 64 * GIB_PAGES, 1, 10000);
	return 0;
}
