// SPDX-License-Identifier: MIT
/*
 * core_test.c - one case for each promise of buddy_core.h, and the
 * grammar of sizes.
 *
 * Also the run from which 100 % line and branch coverage of module/core is
 * demanded (tests/core/coverage).
 */
#ifndef __KERNEL__
#include <stdlib.h>
#include <string.h>
#endif

#include "buddy_core.h"
#include "tap.h"
#include "size_cases.h"
#include "bits_replay.h"

static struct buddy_core core;
static _Alignas(16) char mem[1 << 20];

static void start(u32 granules)
{
	memset(mem, 0x5a, sizeof(mem));
	expect(buddy_core_bytes(granules) <= sizeof(mem));
	expect_eq(buddy_core_init(&core, granules, mem), 0);
}

static void expect_sound(void)
{
	const char *why = buddy_core_check(&core);

	if (why)
		printf("# check: %s\n", why);
	expect(!why);
}

static void expect_extent(u32 at, u32 offset, u32 size, bool used)
{
	struct buddy_core_span e = { 0 };

	expect_eq(buddy_core_find(&core, at, &e), 0);
	expect_eq(e.offset, offset);
	expect_eq(e.size, size);
	expect_eq(e.used, used);
}

static void sizing(void)
{
	expect_eq(buddy_core_bytes(0), 0);
	expect_eq(buddy_core_bytes(BUDDY_CORE_MAX_GRANULES + 1), 0);
	/* 4 bits a granule and little more: 64 GiB of 4 KiB pages */
	expect(buddy_core_bytes(1u << 24) < (1u << 23) / 100 * 103);
	expect(buddy_core_bytes(BUDDY_CORE_MAX_GRANULES) > 1u << 30);
	expect_eq(buddy_core_init(&core, 0, mem), -EINVAL);
	expect_eq(buddy_core_init(&core, BUDDY_CORE_MAX_GRANULES + 1, mem),
		  -EINVAL);
}

static void empty_tree(void)
{
	start(1024);
	expect_eq(core.free, 1024);
	expect_eq(buddy_core_largest(&core), 1024);
	expect_eq(buddy_core_fragmentation(&core), 0);
	expect_eq(buddy_core_count(&core, 10), 1);
	expect_eq(buddy_core_count(&core, 9), 0);
	expect_sound();
}

static void one_granule(void)
{
	start(1);
	expect_eq(buddy_core_alloc(&core, 1, 0), 0);
	expect_eq(buddy_core_alloc(&core, 1, 0), -ENOMEM);
	expect_eq(buddy_core_largest(&core), 0);
	expect_eq(buddy_core_fragmentation(&core), 0);
	expect_sound();
	expect_eq(buddy_core_free(&core, 0, 1), 0);
	expect_sound();
}

static void odd_sizes(void)
{
	for (u32 n = 1; n < 300; n++) {
		start(n);
		expect_sound();
		expect_eq(buddy_core_alloc(&core, n, 0), 0);
		expect_eq(core.free, 0);
		expect_sound();
		expect_eq(buddy_core_free(&core, 0, n), 0);
		for (u32 i = 0; i < n; i++)
			expect(buddy_core_alloc(&core, 1, 0) >= 0);
		expect_eq(core.free, 0);
		expect_sound();
		for (u32 i = 0; i < n; i++)
			expect_eq(buddy_core_free(&core, i, 1), 0);
		expect_eq(core.free, n);
		expect_sound();
	}
}

static void bad_requests(void)
{
	start(64);
	expect_eq(buddy_core_alloc(&core, 0, 0), -EINVAL);
	expect_eq(buddy_core_alloc(&core, 1, 3), -EINVAL);
	expect_eq(buddy_core_alloc(&core, 3, 3), -EINVAL);
	expect_eq(buddy_core_alloc(&core, 65, 0), -ENOMEM);
	expect_eq(buddy_core_alloc(&core, 128, 0), -ENOMEM);
	expect_eq(buddy_core_alloc(&core, 1u << 31, 0), -ENOMEM);
	expect_eq(buddy_core_alloc(&core, ~0u, 0), -ENOMEM);
	expect_eq(core.fails, 4);
	expect_eq(core.free, 64);
	expect_sound();
}

static void placement(void)
{
	start(64);
	expect_eq(buddy_core_alloc(&core, 4, 0), 0);
	expect_eq(buddy_core_alloc(&core, 4, 0), 4);
	expect_eq(buddy_core_alloc(&core, 4, 0), 8);
	expect_eq(buddy_core_alloc(&core, 1, 0), 12);
	expect_eq(buddy_core_free(&core, 4, 4), 0);
	/* best fit by order: 13, then 14, before the 4 of offset 4 */
	expect_eq(buddy_core_alloc(&core, 1, 0), 13);
	expect_eq(buddy_core_alloc(&core, 2, 0), 14);
	expect_eq(buddy_core_alloc(&core, 1, 0), 4);
	expect_sound();
}

static void lowest_first(void)
{
	start(64);
	for (u32 i = 0; i < 64; i++)
		expect_eq(buddy_core_alloc(&core, 1, 0), i);
	/* in every order of freeing: above, below and between */
	for (u32 i = 0; i < 64; i += 2)
		expect_eq(buddy_core_free(&core, (i * 11 + 30) % 64, 1), 0);
	expect_eq(buddy_core_count(&core, 0), 32);
	expect_eq(buddy_core_fragmentation(&core), 969);
	expect_sound();
	for (u32 i = 0; i < 64; i += 2)
		expect_eq(buddy_core_alloc(&core, 1, 0), i);
	expect_sound();
}

static void exact_sizes(void)
{
	start(64);
	expect_eq(buddy_core_alloc(&core, 11, 0), 0);
	expect_eq(core.free, 53);
	expect_extent(0, 0, 11, true);
	expect_extent(9, 0, 11, true);
	expect_extent(10, 0, 11, true);
	expect_extent(11, 11, 1, false);
	expect_extent(12, 12, 4, false);
	/* the tail serves others */
	expect_eq(buddy_core_alloc(&core, 4, 0), 12);
	expect_eq(buddy_core_alloc(&core, 1, 0), 11);
	expect_sound();
	expect_eq(buddy_core_free(&core, 0, 11), 0);
	expect_sound();
	expect_eq(buddy_core_free(&core, 12, 4), 0);
	expect_eq(buddy_core_free(&core, 11, 1), 0);
	expect_eq(buddy_core_largest(&core), 64);
	expect_sound();
}

static void alignment(void)
{
	start(64);
	expect_eq(buddy_core_alloc(&core, 1, 0), 0);
	expect_eq(buddy_core_alloc(&core, 1, 32), 32);
	expect_eq(buddy_core_alloc(&core, 3, 16), 16);
	expect_eq(buddy_core_alloc(&core, 8, 4), 8);
	expect_eq(buddy_core_alloc(&core, 1, 32), -ENOMEM);
	expect_extent(16, 16, 3, true);
	expect_sound();
	expect_eq(buddy_core_free(&core, 32, 1), 0);
	/* above the tree: only offset 0 is a multiple */
	expect_eq(buddy_core_alloc(&core, 1, 128), -ENOMEM);
	expect_eq(buddy_core_free(&core, 0, 1), 0);
	expect_eq(buddy_core_alloc(&core, 1, 1u << 31), 0);
	expect_sound();
}

static void above_the_largest_node(void)
{
	start(96);
	expect_eq(buddy_core_largest(&core), 64);
	expect_eq(buddy_core_alloc(&core, 70, 0), 0);
	expect_extent(69, 0, 70, true);
	expect_sound();
	expect_eq(buddy_core_free(&core, 0, 64), -EINVAL);
	expect_eq(buddy_core_free(&core, 0, 70), 0);
	expect_eq(buddy_core_take(&core, 66, 1), 0);
	expect_eq(buddy_core_alloc(&core, 70, 0), -ENOMEM);
	expect_eq(buddy_core_alloc(&core, 66, 0), 0);
	expect_sound();
}

static void bad_frees(void)
{
	start(64);
	expect_eq(buddy_core_alloc(&core, 4, 0), 0);
	expect_eq(buddy_core_free(&core, 0, 0), -EINVAL);
	expect_eq(buddy_core_free(&core, 0, 1), -EINVAL);
	expect_eq(buddy_core_free(&core, 0, 2), -EINVAL);
	expect_eq(buddy_core_free(&core, 0, 3), -EINVAL);
	expect_eq(buddy_core_free(&core, 0, 8), -EINVAL);
	expect_eq(buddy_core_free(&core, 1, 4), -EINVAL);
	expect_eq(buddy_core_free(&core, 4, 4), -EINVAL);
	expect_eq(buddy_core_free(&core, 64, 1), -EINVAL);
	expect_eq(buddy_core_free(&core, ~0u, 1), -EINVAL);
	expect_eq(buddy_core_free(&core, 0, ~0u), -EINVAL);
	expect_eq(buddy_core_free(&core, 0, 1u << 31), -EINVAL);
	expect_eq(core.bad_frees, 11);
	expect_eq(core.free, 60);
	expect_eq(buddy_core_free(&core, 0, 4), 0);
	expect_eq(buddy_core_free(&core, 0, 4), -EINVAL);
	expect_sound();
}

static void bad_frees_of_cut_blocks(void)
{
	start(64);
	expect_eq(buddy_core_alloc(&core, 11, 0), 0);	/* 8 + 2 + 1 */
	expect_eq(buddy_core_alloc(&core, 1, 0), 11);
	expect_eq(buddy_core_alloc(&core, 3, 0), 12);	/* 2 + 1 */
	for (u32 size = 0; size < 64; size++)
		if (size != 11)
			expect_eq(buddy_core_free(&core, 0, size), -EINVAL);
	/* a part of a block from its middle on is no block */
	expect_eq(buddy_core_free(&core, 8, 3), -EINVAL);
	expect_eq(buddy_core_free(&core, 10, 1), -EINVAL);
	expect_eq(buddy_core_free(&core, 14, 1), -EINVAL);
	/* nor are two neighbours together */
	expect_eq(buddy_core_free(&core, 8, 4), -EINVAL);
	expect_eq(buddy_core_free(&core, 2, 3), -EINVAL);
	expect_eq(buddy_core_free(&core, 1, 3), -EINVAL);
	expect_eq(buddy_core_free(&core, 64, 3), -EINVAL);
	expect_eq(buddy_core_free(&core, 62, 3), -EINVAL);
	expect_sound();
	expect_eq(buddy_core_free(&core, 11, 1), 0);
	expect_eq(buddy_core_free(&core, 0, 11), 0);
	expect_eq(buddy_core_free(&core, 12, 3), 0);
	expect_eq(core.cut, 0);
	expect_eq(buddy_core_largest(&core), 64);
}

static void division(void)
{
	for (u32 size = 2; size <= 64; size++) {
		start(64);
		expect_eq(buddy_core_alloc(&core, size, 0), 0);
		expect_eq(buddy_core_divide(&core, 0, size, 0), -EINVAL);
		expect_eq(buddy_core_divide(&core, 0, size, size), -EINVAL);
		expect_eq(buddy_core_divide(&core, 0, size + 1, size), -EINVAL);
		expect_eq(buddy_core_divide(&core, 0, size, size - 1), 0);
		expect_sound();
		expect_eq(core.free, 64 - size);
		expect_eq(buddy_core_free(&core, 0, size), -EINVAL);
		expect_extent(size - 1, size - 1, 1, true);
		expect_eq(buddy_core_free(&core, 0, size - 1), 0);
		expect_eq(buddy_core_free(&core, size - 1, 1), 0);
		expect_eq(core.free, 64);
		expect_eq(core.cut, 0);
		expect_eq(core.allocs, core.frees);
		expect_sound();
	}
	/* at any place, and the two parts again */
	for (u32 first = 1; first < 37; first++) {
		start(64);
		expect_eq(buddy_core_alloc(&core, 37, 0), 0);
		expect_eq(buddy_core_divide(&core, 0, 37, first), 0);
		expect_extent(36, first, 37 - first, true);
		expect_sound();
		if (first < 36) {
			expect_eq(buddy_core_divide(&core, first, 37 - first, 1), 0);
			expect_eq(buddy_core_free(&core, first, 1), 0);
			expect_eq(buddy_core_free(&core, first + 1, 36 - first), 0);
		} else {
			expect_eq(buddy_core_free(&core, first, 1), 0);
		}
		expect_sound();
		expect_eq(buddy_core_free(&core, 0, first), 0);
		expect_eq(core.cut, 0);
		expect_eq(buddy_core_largest(&core), 64);
		expect_sound();
	}
}

static void joining(void)
{
	start(64);
	expect_eq(buddy_core_take(&core, 3, 10), 0);
	expect_eq(buddy_core_take(&core, 13, 7), 0);
	expect_eq(buddy_core_join(&core, 3, 0, 10), -EINVAL);
	expect_eq(buddy_core_join(&core, 3, 10, 0), -EINVAL);
	expect_eq(buddy_core_join(&core, 3, 9, 7), -EINVAL);
	expect_eq(buddy_core_join(&core, 3, 10, 6), -EINVAL);
	expect_eq(buddy_core_join(&core, 13, 7, 1), -EINVAL);
	expect_sound();
	expect_eq(buddy_core_join(&core, 3, 10, 7), 0);
	expect_extent(13, 3, 17, true);
	expect_sound();
	expect_eq(buddy_core_free(&core, 3, 10), -EINVAL);
	expect_eq(buddy_core_free(&core, 3, 17), 0);
	expect_eq(core.allocs, core.frees);
	expect_eq(core.cut, 0);
	expect_eq(buddy_core_largest(&core), 64);
	expect_sound();
}

/* Every range of a small tree: taken, found, refused in every other shape, freed. */
static void every_range(void)
{
	for (u32 offset = 0; offset < 20; offset++) {
		for (u32 size = 1; size <= 20 - offset; size++) {
			start(20);
			expect_eq(buddy_core_take(&core, offset, size), 0);
			expect_eq(core.free, 20 - size);
			expect_extent(offset, offset, size, true);
			expect_extent(offset + size - 1, offset, size, true);
			expect_sound();
			for (u32 at = 0; at < 20; at++)
				for (u32 n = 1; n <= 20; n++)
					if (at != offset || n != size)
						expect_eq(buddy_core_free(&core, at, n),
							  -EINVAL);
			expect_eq(buddy_core_free(&core, offset, size), 0);
			expect_eq(core.cut, 0);
			expect_eq(core.free, 20);
			expect_eq(buddy_core_largest(&core), 16);
			expect_sound();
		}
	}
}

static void taking(void)
{
	static const u32 order[] = { 12, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7 };

	start(100);
	expect_eq(buddy_core_take(&core, 0, 0), -EINVAL);
	expect_eq(buddy_core_take(&core, 100, 1), -EINVAL);
	expect_eq(buddy_core_take(&core, 99, 2), -EINVAL);
	expect_eq(buddy_core_take(&core, 13, 30), 0);
	expect_eq(core.free, 70);
	expect_sound();
	expect_eq(buddy_core_take(&core, 42, 2), -EBUSY);
	expect_eq(buddy_core_take(&core, 8, 6), -EBUSY);
	expect_eq(buddy_core_take(&core, 0, 16), -EBUSY);
	expect_eq(core.allocs, 1);
	expect_sound();
	expect_eq(buddy_core_take(&core, 43, 57), 0);
	for (u32 i = 0; i < 13; i++)
		expect_eq(buddy_core_alloc(&core, 1, 0), order[i]);
	expect_eq(buddy_core_alloc(&core, 1, 0), -ENOMEM);
	expect_sound();
	/* the neighbours are two blocks, not one */
	expect_eq(buddy_core_free(&core, 13, 87), -EINVAL);
	expect_eq(buddy_core_free(&core, 13, 30), 0);
	expect_eq(buddy_core_free(&core, 43, 57), 0);
	expect_eq(core.free, 87);
	expect_sound();
}

static void walk(void)
{
	struct buddy_core_span e;
	u32 at = 0, used = 0;

	start(1000);
	for (u32 i = 0; i < 40; i++)
		expect(buddy_core_alloc(&core, 1 + i * 7 % 23, 0) >= 0);
	while (!buddy_core_find(&core, at, &e)) {
		expect_eq(e.offset, at);
		at += e.size;
		used += e.used;
	}
	expect_eq(at, 1000);
	expect_eq(used, 40);
	expect_eq(buddy_core_find(&core, 1000, &e), -EINVAL);
}

static void counters(void)
{
	start(64);
	buddy_core_alloc(&core, 48, 0);
	buddy_core_free(&core, 0, 48);
	buddy_core_alloc(&core, 8, 0);
	buddy_core_free(&core, 0, 8);
	buddy_core_alloc(&core, 8, 0);
	expect_eq(core.allocs, 3);
	expect_eq(core.frees, 2);
	expect_eq(core.low_water, 16);
	expect_eq(core.free, 56);
}

static void fragmentation_of_large_trees(void)
{
	static struct buddy_core large;
	u32 granules = (1u << 24) + (1u << 22);
	void *array = aligned_alloc(16, buddy_core_bytes(granules));

	expect_eq(buddy_core_init(&large, granules, array), 0);
	expect_eq(buddy_core_fragmentation(&large), 200);
	free(array);
}

/* Three levels of summaries, each emptied and filled again. */
static void summaries(void)
{
	start(270000);
	for (u32 i = 0; i < 270000; i++)
		buddy_core_alloc(&core, 1, 0);
	for (u32 i = 0; i < 270000; i += 4099)
		buddy_core_free(&core, i, 1);
	expect_sound();
	for (u32 i = 0; i < 270000; i += 4099)
		expect_eq(buddy_core_alloc(&core, 1, 0), i);
	expect_sound();
	for (u32 i = 0; i < 270000; i++)
		buddy_core_free(&core, i, 1);
	expect_eq(core.free, 270000);
	expect_sound();
}

/*
 * check() must see every kind of damage.
 */

static void expect_damage(const char *what)
{
	const char *why = buddy_core_check(&core);

	expect(why && !strcmp(why, what));
	if (!why || strcmp(why, what))
		printf("# check says: %s\n", why ? why : "all is well");
}

/* A tree with something in every structure; order 0 has a slot and a map. */
static void start_mixed(void)
{
	start(8192);
	for (u32 i = 0; i < 8192; i++)
		buddy_core_alloc(&core, 1, 0);
	for (u32 i = 100; i < 8000; i += 100)
		buddy_core_free(&core, i, 1);
	expect_sound();
	expect(core.slot_mask & 1 && core.map_mask & 1);
}

static void damage_of_slots(void)
{
	start_mixed();
	core.map_mask ^= 1;
	expect_damage("map_mask differs from the map's count");

	start_mixed();
	core.slot[0] = 8192 * 2;
	expect_damage("the slot holds no node of its order");

	start_mixed();
	core.slot_mask |= 2;
	core.slot[1] = 3;
	expect_damage("the slot holds no node of its order");

	start_mixed();
	core.slot[0] = 250;
	expect_damage("the slot is not below the map");

}

static void damage_of_nodes(void)
{
	start_mixed();
	core.map[0].word[201 / 64].free |= 1ull << 201 % 64;
	core.map[0].word[201 / 64].used ^= 1ull << 201 % 64;
	expect_damage("two buddies are free");

	start_mixed();
	core.map[0].word[101 / 64].free |= 1ull << 101 % 64;
	core.map[0].word[101 / 64].used ^= 1ull << 101 % 64;
	expect_damage("two buddies are free");

	start(64);
	core.slot_mask |= 1 << 5;
	core.slot[5] = 0;
	core.map_mask |= 1 << 5;
	core.map[5].word[0].free |= 2;
	expect_eq(core.slot_mask, 96);
	core.map[5].count = 1;
	expect_damage("two buddies are free");

}

static void damage_of_counts(void)
{
	start_mixed();
	core.map[0].count++;
	expect_damage("the map's count is wrong");

	start_mixed();
	core.map[0].sum[0][1] ^= 1;
	expect_damage("the first summary differs from the words");

	start_mixed();
	core.map[0].sum[1][0] ^= 1;
	expect_damage("a summary differs from the one below it");

	start_mixed();
	core.free++;
	expect_damage("the count of free granules is wrong");

	start_mixed();
	core.map[0].word[0].used ^= 2;
	expect_damage("free and used nodes do not add up to the tree");

	start_mixed();
	core.low_water = core.free + 1;
	expect_damage("the low water mark is above the free granules");
}

static void damage_of_the_tiling(void)
{
	/* a hole, and elsewhere a node twice: the sums still fit */
	start_mixed();
	core.map[0].word[0].used ^= 2;
	core.map[0].word[0].used ^= 16 | 32;
	core.map[1].word[0].used ^= 4;
	core.map[0].word[0].used ^= 8 | 4;
	core.map[1].word[0].used ^= 2;
	core.map[0].word[0].used ^= 16;
	expect_damage("blocks and free nodes do not tile the tree");

	/* the same at offset 0 */
	start(4);
	expect_eq(buddy_core_alloc(&core, 1, 0), 0);
	expect_eq(buddy_core_alloc(&core, 1, 0), 1);
	core.map[0].word[0].used ^= 1;
	core.map[0].word[0].used ^= 4;
	expect_damage("blocks and free nodes do not tile the tree");
}

/*
 * The map of a unit: all states of few pages, and words and orders of many
 */

static struct twins twins;

static void bits_small(void)
{
	bits_every_state(&twins, 41);
}

static void bits_large(void)
{
	twins.dice = 1;
	for (u32 order = 0; order < BUDDY_BITS_ORDERS; order++)
		bits_random(&twins, 1u << order, 1000);
	bits_random(&twins, BUDDY_BITS_PAGES, 20000);
}

static const struct tap_case core_cases[] = {
	{ "metadata size is a pure function with bounds", sizing },
	{ "a new tree is all free", empty_tree },
	{ "a tree of one granule", one_granule },
	{ "trees of any size serve every granule", odd_sizes },
	{ "bad requests", bad_requests },
	{ "best fit by order", placement },
	{ "lowest offset first", lowest_first },
	{ "exact sizes: the tail stays free", exact_sizes },
	{ "alignment", alignment },
	{ "sizes above the largest node", above_the_largest_node },
	{ "bad frees are refused", bad_frees },
	{ "bad frees of exact sizes are refused", bad_frees_of_cut_blocks },
	{ "divide", division },
	{ "join", joining },
	{ "take", taking },
	{ "every range", every_range },
	{ "walk", walk },
	{ "counters", counters },
	{ "fragmentation index of large trees", fragmentation_of_large_trees },
	{ "summaries", summaries },
	{ "sizes as text", sizes_as_text },
	{ "map of a unit: every call in states of 8 pages", bits_small },
	{ "map of a unit: random calls on 1 to 512 pages", bits_large },
	{ "check() sees damaged slots", damage_of_slots },
	{ "check() sees damaged nodes", damage_of_nodes },
	{ "check() sees damaged counts and summaries", damage_of_counts },
	{ "check() sees damaged tiling", damage_of_the_tiling },
};

#ifndef __KERNEL__
int main(void)
{
	return tap_run(core_cases, TAP_COUNT(core_cases));
}
#endif
