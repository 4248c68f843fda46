/* SPDX-License-Identifier: MIT */
/*
 * exhaustive.h - every sequence of allocations (all sizes) and frees on a tree of 16
 * granules, to depth 6, against naive.h: a case for core_model.c, and for KUnit.
 */
#ifndef EXHAUSTIVE_H
#define EXHAUSTIVE_H

#include "buddy_core.h"
#include "naive.h"
#include "tap.h"

struct held {
	u32 offset;
	u32 size;
};

struct world {
	struct buddy_core core;
	_Alignas(16) char mem[2048];
	struct naive naive;
	struct held held[6];
	int nr_held;
};

static unsigned long sequences;

static void world_copy(struct world *to, const struct world *from)
{
	*to = *from;
	/* the maps point into mem: move them along */
	for (int k = 0; k < BUDDY_CORE_ORDERS; k++) {
		struct buddy_map *map = &to->core.map[k];

		map->word = (void *)(to->mem + ((char *)map->word - from->mem));
		for (u32 l = 0; l < map->levels; l++)
			map->sum[l] = (void *)(to->mem +
					       ((char *)map->sum[l] - from->mem));
	}
}

static void explore(const struct world *from, int depth)
{
	static struct world worlds[7];
	struct world *w = &worlds[depth];
	const char *why;

	sequences++;
	if (depth == 3)
		tap_yield();
	if (depth == 6 || tap_failures)
		return;
	for (u32 size = 1; size <= 16; size++) {
		long want, got;

		world_copy(w, from);
		want = naive_alloc(&w->naive, size, 0);
		got = buddy_core_alloc(&w->core, size, 0);
		expect_eq(got, want < 0 ? -ENOMEM : want);
		if (want < 0)
			continue;	/* nothing changed: not a new world */
		why = buddy_core_check(&w->core);
		if (why)
			printf("# %s\n", why);
		expect(!why);
		w->held[w->nr_held++] = (struct held){ (u32)got, size };
		explore(w, depth + 1);
	}
	for (int i = 0; i < from->nr_held; i++) {
		struct held h = from->held[i];

		world_copy(w, from);
		naive_free(&w->naive, h.offset, h.size);
		expect_eq(buddy_core_free(&w->core, h.offset, h.size), 0);
		expect_eq(w->core.free, naive_free_granules(&w->naive));
		expect(!buddy_core_check(&w->core));
		w->held[i] = w->held[--w->nr_held];
		explore(w, depth + 1);
	}
}

static void exhaustive(void)
{
	static struct world w;

	expect(buddy_core_bytes(16) <= sizeof(w.mem));
	expect_eq(buddy_core_init(&w.core, 16, w.mem), 0);
	w.naive.granules = 16;
	explore(&w, 0);
	printf("# %lu sequences\n", sequences);
}

#endif /* EXHAUSTIVE_H */
