// SPDX-License-Identifier: MIT
/*
 * core_model.c - the tree against other implementations of its contract.
 *
 *   exhaustive   every sequence of allocations (all sizes) and frees on a
 *                tree of 16 granules, to depth 6, against naive.h
 *   random       random operations on trees of 1 .. 128 granules against
 *                naive.h: each offset, each failure, each refused free
 *   large        random operations on a tree with three levels of summaries,
 *                against one byte a granule
 *
 * Usage: core_model [OPERATIONS [SEED]]. The seed is printed.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buddy_core.h"
#include "exhaustive.h"
#include "naive.h"
#include "rnd.h"
#include "tap.h"

#define MAX_HELD 4096

static u64 operations = 10000000;

static u32 below(u32 n)
{
	return (u32)(rnd() % n);
}

/*
 * Random against naive.h
 */

static void *new_tree(struct buddy_core *core, u32 granules)
{
	size_t bytes = buddy_core_bytes(granules);
	void *mem = aligned_alloc(16, bytes);

	memset(mem, 0xa5, bytes);
	expect_eq(buddy_core_init(core, granules, mem), 0);
	return mem;
}

static void random_alloc(struct buddy_core *core, struct naive *naive,
			 struct held *held, u32 *nr_held)
{
	u32 size = 1 + below(below(4) ? 8 : naive->granules + 2);
	u32 align = below(4) ? 0 : 1u << below(8);
	long want = naive_alloc(naive, size, align);
	long got = buddy_core_alloc(core, size, align);

	expect_eq(got, want < 0 ? -ENOMEM : want);
	if (got >= 0)
		held[(*nr_held)++] = (struct held){ (u32)got, size };
}

static void random_free(struct buddy_core *core, struct naive *naive,
			struct held *held, u32 *nr_held)
{
	u32 i = below(*nr_held);
	struct held h = held[i];

	expect_eq(buddy_core_free(core, h.offset, h.size), 0);
	naive_free(naive, h.offset, h.size);
	held[i] = held[--*nr_held];
}

static void random_take(struct buddy_core *core, struct naive *naive,
			struct held *held, u32 *nr_held)
{
	u32 offset = below(naive->granules);
	u32 size = 1 + below(naive->granules - offset);
	bool want = naive_take(naive, offset, size);

	expect_eq(buddy_core_take(core, offset, size), want ? 0 : -EBUSY);
	if (want)
		held[(*nr_held)++] = (struct held){ offset, size };
}

static void random_divide(struct buddy_core *core, struct held *held, u32 *nr_held)
{
	struct held *h = &held[below(*nr_held)];
	u32 first = below(h->size + 1);
	bool good = first && first < h->size;

	expect_eq(buddy_core_divide(core, h->offset, h->size, first),
		  good ? 0 : -EINVAL);
	if (!good)
		return;
	held[(*nr_held)++] = (struct held){ h->offset + first, h->size - first };
	h->size = first;
}

/* One of those held with the one that follows, if there is one. */
static void random_join(struct buddy_core *core, struct held *held, u32 *nr_held)
{
	struct held *h = &held[below(*nr_held)];

	for (u32 i = 0; i < *nr_held; i++) {
		if (held[i].offset != h->offset + h->size)
			continue;
		expect_eq(buddy_core_join(core, h->offset, h->size,
					  held[i].size), 0);
		h->size += held[i].size;
		held[i] = held[--*nr_held];
		return;
	}
	expect_eq(buddy_core_join(core, h->offset, h->size, 1), -EINVAL);
}

/* Any pair that is not held must be refused. */
static void random_bad_free(struct buddy_core *core, const struct held *held,
			    u32 nr_held)
{
	u32 offset = below(core->granules + 2), size = below(20);

	/* mostly near misses: a held block with a wrong size or start */
	if (nr_held && below(4)) {
		struct held h = held[below(nr_held)];

		offset = h.offset + below(3);
		size = h.size + below(3) - 1;
	}
	for (u32 i = 0; i < nr_held; i++)
		if (held[i].offset == offset && held[i].size == size)
			return;
	expect_eq(buddy_core_free(core, offset, size), -EINVAL);
}

static void random_tree(u64 ops)
{
	struct naive naive = { .granules = 1 + below(NAIVE_MAX) };
	struct held held[NAIVE_MAX];
	struct buddy_core core;
	void *mem = new_tree(&core, naive.granules);
	u32 nr_held = 0, keep = 1 + below(naive.granules);

	for (u64 i = 0; i < ops && !tap_failures; i++) {
		u32 dice = below(11);

		if (!dice)
			random_bad_free(&core, held, nr_held);
		else if (dice == 8)
			random_take(&core, &naive, held, &nr_held);
		else if (dice == 9 && nr_held)
			random_divide(&core, held, &nr_held);
		else if (dice == 10 && nr_held)
			random_join(&core, held, &nr_held);
		else if (naive_free_granules(&naive) >= keep / (1 + dice % 2))
			random_alloc(&core, &naive, held, &nr_held);
		else if (nr_held)
			random_free(&core, &naive, held, &nr_held);
		expect_eq(core.free, naive_free_granules(&naive));
	}
	expect(!buddy_core_check(&core));
	while (nr_held)
		random_free(&core, &naive, held, &nr_held);
	expect_eq(core.free, core.granules);
	expect_eq(core.allocs, core.frees);
	expect(!buddy_core_check(&core));
	free(mem);
}

static void random_small(void)
{
	const u64 each = 10000;

	printf("# %llu operations, seed %llu\n", (unsigned long long)operations,
	       (unsigned long long)seed);
	for (u64 done = 0; done < operations && !tap_failures; done += each)
		random_tree(each);
}

/*
 * A large tree against a byte map
 */

static void random_large(void)
{
	const u32 granules = 300000;
	struct held *held = calloc(MAX_HELD, sizeof(*held));
	char *used = calloc(granules, 1);
	struct buddy_core core;
	void *mem = new_tree(&core, granules);
	u32 nr_held = 0;

	for (u32 i = 0; i < 400000 && !tap_failures; i++) {
		if (nr_held < MAX_HELD && below(100) < 55) {
			u32 size = 1 + below(1u << below(9));
			long at = buddy_core_alloc(&core, size, 0);

			if (at < 0)
				continue;
			expect(!memchr(used + at, 1, size));
			memset(used + at, 1, size);
			held[nr_held++] = (struct held){ (u32)at, size };
		} else if (nr_held) {
			u32 k = below(nr_held);
			struct held h = held[k];

			expect_eq(buddy_core_free(&core, h.offset, h.size), 0);
			memset(used + h.offset, 0, h.size);
			held[k] = held[--nr_held];
		}
		if (i % 100000 == 0)
			expect(!buddy_core_check(&core));
	}
	expect(!buddy_core_check(&core));
	while (nr_held--)
		expect_eq(buddy_core_free(&core, held[nr_held].offset,
					  held[nr_held].size), 0);
	expect_eq(core.free, granules);
	expect(!buddy_core_check(&core));
	free(mem);
	free(used);
	free(held);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "every sequence on 16 granules to depth 6", exhaustive },
		{ "random operations against the naive bitmap", random_small },
		{ "300000 granules against a byte map", random_large },
	};

	seed = (u64)time(NULL) * 2654435761u | 1;
	if (argc > 1)
		operations = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	return tap_run(cases, TAP_COUNT(cases));
}
