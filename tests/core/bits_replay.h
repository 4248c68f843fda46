/* SPDX-License-Identifier: MIT */
/*
 * bits_replay.h - buddy_bits.h against the tree whose contract it has: the same calls on
 * both give the same answers, and leave the same ranges and free nodes.
 *
 *   bits_every_state()  the states of 8 pages, and in each every call
 *   bits_random()       random calls on one unit, of 1 .. 512 pages
 */
#ifndef BITS_REPLAY_H
#define BITS_REPLAY_H

#include "buddy_bits.h"
#include "buddy_core.h"

/* A map and a tree in the same state, and what is allocated in both. */
struct twins {
	struct buddy_bits bits;
	struct buddy_core core;
	u32 nr;
	struct {
		u32 at;
		u32 pages;
	} range[BUDDY_BITS_PAGES];
	u64 mem[1024] __attribute__((aligned(16)));
	u64 dice;
};

static inline void twins_start(struct twins *t, u32 pages)
{
	t->nr = 0;
	expect(buddy_core_bytes(pages) <= sizeof(t->mem));
	memset(&t->bits, 0x5a, sizeof(t->bits));
	buddy_bits_init(&t->bits, pages);
	expect_eq(buddy_core_init(&t->core, pages, t->mem), 0);
}

static inline u32 twins_roll(struct twins *t, u32 below)
{
	t->dice = t->dice * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(((t->dice >> 33) * below) >> 31);
}

/* Everything that can be asked of the two without changing them. */
static inline void twins_compare(struct twins *t)
{
	u32 pages = t->bits.pages, at = 0, first;

	expect_eq(t->bits.free, t->core.free);
	expect_eq(buddy_bits_largest(&t->bits), buddy_core_largest(&t->core));
	for (u32 k = 0; k < BUDDY_BITS_ORDERS; k++)
		expect_eq(buddy_bits_count(&t->bits, k), buddy_core_count(&t->core, k));
	while (at < pages && !tap_failures) {
		struct buddy_core_span a, b;
		u32 inside = at + twins_roll(t, pages - at);

		buddy_bits_find(&t->bits, at, &a);
		expect_eq(buddy_core_find(&t->core, at, &b), 0);
		expect(a.offset == b.offset && a.size == b.size && a.used == b.used);
		buddy_bits_find(&t->bits, inside, &a);
		expect_eq(buddy_core_find(&t->core, inside, &b), 0);
		expect(a.offset == b.offset && a.size == b.size && a.used == b.used);
		buddy_bits_find(&t->bits, at, &a);
		expect_eq(buddy_core_is_free(&t->core, at, &first), !a.used);
		expect(a.used || first == a.offset);
		at = a.offset + a.size;
	}
}

static inline void twins_add(struct twins *t, u32 at, u32 pages)
{
	t->range[t->nr].at = at;
	t->range[t->nr++].pages = pages;
}

static inline void twins_alloc(struct twins *t, u32 pages, u32 align)
{
	long at = buddy_core_alloc(&t->core, pages, align);

	if (at < 0)
		return;
	expect_eq(buddy_bits_take(&t->bits, (u32)at, pages), 0);
	twins_add(t, (u32)at, pages);
}

/* The searches, against one look at each page. */
static inline void twins_search(struct twins *t, u32 pages, u32 align)
{
	u32 run = 0, longest = 0, longest_at = 0, first, end;
	long fit = -ENOMEM;

	for (u32 at = 0; at <= t->bits.pages; at++) {
		if (at < t->bits.pages && buddy_bits_is_free(&t->bits, at, 1)) {
			run++;
			continue;
		}
		first = (at - run + align - 1) & -align;
		if (fit < 0 && first + pages <= at)
			fit = first;
		if (run > longest) {
			longest = run;
			longest_at = at - run;
		}
		if (run) {
			expect_eq(buddy_bits_run(&t->bits, at - 1 - run / 2, &end), run);
			expect_eq(end, at - run);
		}
		if (run == at)
			expect_eq(buddy_bits_head(&t->bits), run);
		if (at == t->bits.pages)
			expect_eq(buddy_bits_tail(&t->bits), run);
		run = 0;
	}
	expect_eq(buddy_bits_fit(&t->bits, pages, align), fit);
	first = 0;
	expect_eq(buddy_bits_longest(&t->bits, &first), longest);
	expect_eq(first, longest_at);
}

static inline void twins_take(struct twins *t, u32 at, u32 pages)
{
	int err = buddy_bits_take(&t->bits, at, pages);

	expect_eq(err, buddy_core_take(&t->core, at, pages));
	if (!err)
		twins_add(t, at, pages);
}

/* Return: whether it was a range, of which the caller forgets its own note. */
static inline bool twins_free(struct twins *t, u32 at, u32 pages)
{
	int err = buddy_bits_free(&t->bits, at, pages);

	expect_eq(err, buddy_core_free(&t->core, at, pages));
	return !err;
}

static inline bool twins_divide(struct twins *t, u32 at, u32 pages, u32 first)
{
	int err = buddy_bits_divide(&t->bits, at, pages, first);

	expect_eq(err, buddy_core_divide(&t->core, at, pages, first));
	return !err;
}

static inline bool twins_join(struct twins *t, u32 at, u32 first, u32 second)
{
	int err = buddy_bits_join(&t->bits, at, first, second);

	expect_eq(err, buddy_core_join(&t->core, at, first, second));
	return !err;
}

static inline void twins_random_search(struct twins *t)
{
	twins_search(t, 1 + twins_roll(t, twins_roll(t, 2) ? 8 : BUDDY_BITS_PAGES),
		     1u << twins_roll(t, BUDDY_BITS_ORDERS));
}

static inline void twins_random_call(struct twins *t)
{
	u32 pages = t->bits.pages, i = t->nr ? twins_roll(t, t->nr) : 0;
	u32 at = t->nr ? t->range[i].at : 0, n = t->nr ? t->range[i].pages : 1;
	u32 first = twins_roll(t, n + 1);

	switch (twins_roll(t, 10)) {
	case 0: case 1: case 2:
		twins_alloc(t, 1 + twins_roll(t, twins_roll(t, 2) ? 8 : pages + 2),
			    twins_roll(t, 4) ? 0 : pages >> twins_roll(t, buddy_log2(pages) + 1));
		break;
	case 3:
		twins_take(t, twins_roll(t, pages + 1),
			   twins_roll(t, twins_roll(t, 2) ? 8 : pages));
		break;
	case 4: case 5: case 6:
		if (t->nr && twins_free(t, at, n))
			t->range[i] = t->range[--t->nr];
		break;
	case 7:
		/* near misses, which are no range but may be another one */
		at += twins_roll(t, 3);
		n += twins_roll(t, 3) - 1;
		for (u32 j = 0; j < t->nr; j++)
			if (t->range[j].at == at && t->range[j].pages == n)
				return;
		expect(!twins_free(t, at, n));
		break;
	case 8:
		if (t->nr && twins_divide(t, at, n, first)) {
			t->range[i].pages = first;
			twins_add(t, at + first, n - first);
		}
		break;
	case 9:
		for (u32 j = 0; j < t->nr; j++) {
			if (!t->nr || t->range[j].at != at + n)
				continue;
			expect(twins_join(t, at, n, t->range[j].pages));
			t->range[i].pages += t->range[j].pages;
			t->range[j] = t->range[--t->nr];
			return;
		}
		expect(!twins_join(t, at, n, 1));
	}
}

static inline void bits_random(struct twins *t, u32 pages, u32 calls)
{
	twins_start(t, pages);
	for (u32 i = 0; i < calls && !tap_failures; i++) {
		twins_random_call(t);
		if (twins_roll(t, 4) == 0)
			twins_random_search(t);
		if (!(i % 64))
			twins_compare(t);
	}
	while (t->nr && !tap_failures) {
		u32 i = twins_roll(t, t->nr);

		expect(twins_free(t, t->range[i].at, t->range[i].pages));
		t->range[i] = t->range[--t->nr];
		twins_compare(t);
	}
	expect_eq(t->bits.free, pages);
}

#define STATE_PAGES	8

/* State @number: a digit of base 3 a page: free, the start of a range, goes on. */
static inline bool twins_set(struct twins *t, u32 number)
{
	u32 at = 0, digit[STATE_PAGES + 1] = { 0 };

	for (u32 i = 0; i < STATE_PAGES; i++, number /= 3)
		digit[i] = number % 3;
	twins_start(t, STATE_PAGES);
	while (at < STATE_PAGES) {
		u32 end = at + 1;

		if (digit[at] == 2)
			return false;
		while (digit[at] && digit[end] == 2)
			end++;
		if (digit[at])
			twins_take(t, at, end - at);
		at = end;
	}
	return true;
}

static inline void bits_every_call(struct twins *t, u32 number)
{
	for (u32 a = 0; a <= STATE_PAGES; a++) {
		for (u32 b = 0; b <= STATE_PAGES; b++) {
			tap_yield();
			if (b && a < 5) {
				twins_set(t, number);
				twins_alloc(t, b, a ? 1u << (a - 1) : 0);
				twins_compare(t);
			}
			twins_set(t, number);
			twins_take(t, a, b);
			twins_compare(t);
			twins_set(t, number);
			twins_free(t, a, b);
			twins_compare(t);
			for (u32 c = 0; c <= STATE_PAGES; c++) {
				twins_set(t, number);
				twins_divide(t, a, b, c);
				twins_join(t, a, b, c);
				twins_compare(t);
			}
		}
	}
}

/* One state of @step. Return: how many these are. */
static inline u32 bits_every_state(struct twins *t, u32 step)
{
	u32 states = 0;

	for (u32 number = 0; number < 6561 && !tap_failures; number += step) {
		if (!twins_set(t, number))
			continue;
		bits_every_call(t, number);
		states++;
	}
	return states;
}

#endif /* BITS_REPLAY_H */
