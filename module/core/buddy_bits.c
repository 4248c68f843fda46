// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_bits.c - which pages of one unit are free. Its contract is in
 * buddy_bits.h.
 *
 * Invariants: @nodes has the number of nodes of each order that @used implies, @free the
 * number of free pages, and each maximal run of used pages begins with a start bit.
 *
 * The numbers are kept by what a call changes, as a tree does: to take from a node of
 * order K leaves one node for each binary digit of what remains; to free a node merges
 * it with its buddy as long as that is free as a whole, and then it has been counted as
 * a node. There can be 256 nodes of order 0, 128 of order 1, and so on: all numbers
 * together have 46 bits, so that one addition changes those of several orders, and the
 * lowest bit of those that are not 0 names the smallest node that is large enough.
 */
#include "buddy_bits.h"
#include "buddy_core.h"

/* Where the number of nodes of an order begins in @nodes. */
static const u8 field[] = { 0, 9, 17, 24, 30, 35, 39, 42, 44, 45, 46 };

/* Whose number a bit of @nodes belongs to. */
static const u8 order_of_bit[] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2,
	3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 7, 7, 8, 9,
};

/* One node of each order below k. */
#define ONE(k)	(1ull << (k))
static const u64 one_below[] = {
	0,
	ONE(0),
	ONE(0) | ONE(9),
	ONE(0) | ONE(9) | ONE(17),
	ONE(0) | ONE(9) | ONE(17) | ONE(24),
	ONE(0) | ONE(9) | ONE(17) | ONE(24) | ONE(30),
	ONE(0) | ONE(9) | ONE(17) | ONE(24) | ONE(30) | ONE(35),
	ONE(0) | ONE(9) | ONE(17) | ONE(24) | ONE(30) | ONE(35) | ONE(39),
	ONE(0) | ONE(9) | ONE(17) | ONE(24) | ONE(30) | ONE(35) | ONE(39) | ONE(42),
	ONE(0) | ONE(9) | ONE(17) | ONE(24) | ONE(30) | ONE(35) | ONE(39) | ONE(42) | ONE(44),
};

/* The lowest pages of all nodes of order k < 6 in a word. */
static const u64 first_of[] = {
	~0ull, 0x5555555555555555ull, 0x1111111111111111ull, 0x0101010101010101ull,
	0x0001000100010001ull, 0x0000000100000001ull,
};

/* The bits of @n pages from bit @bit on, which end within the word. */
static inline u64 mask_of(u32 bit, u32 n)
{
	return ~0ull >> (64 - n) << bit;
}

static inline bool test_page(const u64 *map, u32 at)
{
	return map[at / 64] >> (at % 64) & 1;
}

static inline void flip_page(u64 *map, u32 at)
{
	map[at / 64] ^= 1ull << (at % 64);
}

/* How many of the pages @at .. @end lie in the word of @at. */
static inline u32 in_word(u32 at, u32 end)
{
	u32 n = 64 - at % 64;

	return n < end - at ? n : end - at;
}

/* Whether a bit of at .. end is set. */
static bool test_any(const u64 *map, u32 at, u32 end)
{
	for (u32 n; at < end; at += n) {
		n = in_word(at, end);
		if (map[at / 64] & mask_of(at % 64, n))
			return true;
	}
	return false;
}

/* All of them are 0, or all are 1; then the other. */
static void flip_all(u64 *map, u32 at, u32 end)
{
	for (u32 n; at < end; at += n) {
		n = in_word(at, end);
		map[at / 64] ^= mask_of(at % 64, n);
	}
}

static inline u64 one_node(u32 order)
{
	return 1ull << field[order];
}

/* One node for each binary digit of @pages. */
static inline u64 nodes_of(u32 pages)
{
	u64 nodes = 0;

	for (; pages; pages &= pages - 1)
		nodes += one_node(buddy_ctz32(pages));
	return nodes;
}

/* The first page from @at on that is used. */
static u32 next_used(const struct buddy_bits *bits, u32 at)
{
	u32 i = at / 64;
	u64 word;

	word = bits->used[i] & (~0ull << (at % 64));
	while (!word) {
		if (64 * ++i >= bits->pages)
			return bits->pages;
		word = bits->used[i];
	}
	return 64 * i + buddy_ctz64(word);
}

/* One more than the last page before @at that is used; 0 if there is none. */
static u32 after_used(const struct buddy_bits *bits, u32 at)
{
	u32 i = at / 64;
	u64 word = 0;

	if (at % 64)
		word = bits->used[i] & mask_of(0, at % 64);
	while (!word) {
		if (!i)
			return 0;
		word = bits->used[--i];
	}
	return 64 * i + buddy_log2(word) + 1;
}

static inline bool is_free(const struct buddy_bits *bits, u32 order, u32 at)
{
	const u64 *word = &bits->used[at / 64];

	for (u32 i = 0; i < 1u << (order - 6); i++)
		if (word[i])
			return false;
	return true;
}

/* The order of the node that holds @at, of which 2^@order pages are known to be free. */
static u32 node_order(const struct buddy_bits *bits, u32 at, u32 order)
{
	u64 word = bits->used[at / 64];

	for (; order < 6 && 2u << order <= bits->pages; order++)
		if (word >> (at & -(2u << order)) % 64 << (64 - (2u << order)))
			return order;
	for (; 2u << order <= bits->pages; order++)
		if (!is_free(bits, order, (at >> order ^ 1) << order))
			return order;
	return order;
}

static inline void take_pages(struct buddy_bits *bits, u32 at, u32 pages)
{
	flip_all(bits->used, at, at + pages);
	flip_page(bits->start, at);
	bits->free -= pages;
}

void buddy_bits_init(struct buddy_bits *bits, u32 pages)
{
	*bits = (struct buddy_bits){ .pages = pages, .free = pages };
	/* so that what lies beyond the map is no free page */
	if (pages < 64)
		bits->used[0] = ~0ull << pages;
	for (u32 i = (pages + 63) / 64; i < BUDDY_BITS_WORDS; i++)
		bits->used[i] = ~0ull;
	bits->nodes = one_node(buddy_log2(pages));
}

/* The largest node that starts at @at and ends by @end. */
static u32 largest_order(u32 at, u32 end)
{
	u32 order = buddy_log2(end - at);

	return at && buddy_ctz32(at) < order ? buddy_ctz32(at) : order;
}

int buddy_bits_take(struct buddy_bits *bits, u32 at, u32 pages)
{
	u32 end = at + pages, next = at;

	if (!pages || at >= bits->pages || pages > bits->pages - at)
		return -EINVAL;
	if (test_any(bits->used, at, end))
		return -EBUSY;
	while (next < end) {
		u32 order = node_order(bits, next, largest_order(next, end));
		u32 first = next >> order << order;

		/* what it has before the range stays free */
		bits->nodes += nodes_of(next - first) - one_node(order);
		next = first + (1u << order);
	}
	/* and what the last one has beyond it */
	bits->nodes += nodes_of(next - end);
	take_pages(bits, at, pages);
	return 0;
}

/* Whether a range starts at @at with exactly @pages. */
static bool is_range(const struct buddy_bits *bits, u32 at, u32 pages)
{
	u32 end = at + pages;

	if (!pages || at >= bits->pages || pages > bits->pages - at)
		return false;
	if (!test_page(bits->start, at) || test_any(bits->start, at + 1, end))
		return false;
	/* a range goes on until a page that is free or starts another */
	if (!test_page(bits->used, end - 1))
		return false;
	return end == bits->pages || !test_page(bits->used, end) ||
	       test_page(bits->start, end);
}

int buddy_bits_free(struct buddy_bits *bits, u32 at, u32 pages)
{
	u32 end = at + pages;

	if (!is_range(bits, at, pages))
		return -EINVAL;
	flip_page(bits->start, at);
	bits->free += pages;
	/* one after the other: a buddy that is free has then been counted */
	for (u32 order; at < end; at += 1u << order) {
		u32 merged;

		order = largest_order(at, end);
		flip_all(bits->used, at, at + (1u << order));
		merged = node_order(bits, at, order);
		bits->nodes += one_node(merged) -
			       (one_below[merged] - one_below[order]);
	}
	return 0;
}

int buddy_bits_divide(struct buddy_bits *bits, u32 at, u32 pages, u32 first)
{
	if (!is_range(bits, at, pages) || !first || first >= pages)
		return -EINVAL;
	flip_page(bits->start, at + first);
	return 0;
}

int buddy_bits_join(struct buddy_bits *bits, u32 at, u32 first, u32 second)
{
	if (!is_range(bits, at, first) || !is_range(bits, at + first, second))
		return -EINVAL;
	flip_page(bits->start, at + first);
	return 0;
}

void buddy_bits_find(const struct buddy_bits *bits, u32 at,
		     struct buddy_core_span *span)
{
	u32 end = at + 1;

	span->used = test_page(bits->used, at);
	if (!span->used) {
		u32 order = node_order(bits, at, 0);

		span->offset = at >> order << order;
		span->size = 1u << order;
		return;
	}
	while (!test_page(bits->start, at))
		at--;
	while (end < bits->pages && test_page(bits->used, end) &&
	       !test_page(bits->start, end))
		end++;
	span->offset = at;
	span->size = end - at;
}

u32 buddy_bits_largest(const struct buddy_bits *bits)
{
	return bits->nodes ? 1u << order_of_bit[buddy_log2(bits->nodes)] : 0;
}

u32 buddy_bits_count(const struct buddy_bits *bits, u32 order)
{
	u64 above = bits->nodes >> field[order];

	return above & ((1ull << (field[order + 1] - field[order])) - 1);
}

/*
 * Of the pages that are set, only those stay from which the one @n further is set as well;
 * n is 1 to 511. Return: there is one.
 */
static bool keep_from(u64 *free, u32 n)
{
	const u64 *from = free + n / 64;
	u32 words = BUDDY_BITS_WORDS - n / 64, bits = n % 64, i;
	u64 any = 0;

	/* upwards: what is read has not been written yet */
	for (i = 0; i + 1 < words; i++) {
		/* by two shifts, as one of 64 is not defined */
		free[i] &= from[i] >> bits | from[i + 1] << 1 << (63 - bits);
		any |= free[i];
	}
	free[i] &= from[i] >> bits;
	any |= free[i];
	while (++i < BUDDY_BITS_WORDS)
		free[i] = 0;
	return any != 0;
}

/* The pages at which @pages are free; false if there are none. */
static bool find_starts(const struct buddy_bits *bits, u32 pages, u64 *free)
{
	u64 any = 0;

	for (u32 i = 0; i < BUDDY_BITS_WORDS; i++) {
		free[i] = ~bits->used[i];
		any |= free[i];
	}
	for (u32 have = 1, step; any && have < pages; have += step) {
		step = have < pages - have ? have : pages - have;
		any = keep_from(free, step);
	}
	return any != 0;
}

/* The lowest bit that is set, of a map that is not empty. */
static u32 lowest_page(const u64 *map)
{
	u32 i = 0;

	while (!map[i])
		i++;
	return 64 * i + buddy_ctz64(map[i]);
}

/* The first page from @at on that is free; the end if there is none. */
static u32 next_free(const struct buddy_bits *bits, u32 at)
{
	u32 i = at / 64;
	u64 word;

	if (at >= BUDDY_BITS_PAGES)
		return BUDDY_BITS_PAGES;
	word = ~bits->used[i] & (~0ull << (at % 64));
	while (!word) {
		if (++i == BUDDY_BITS_WORDS)
			return BUDDY_BITS_PAGES;
		word = ~bits->used[i];
	}
	return 64 * i + buddy_ctz64(word);
}

long buddy_bits_fit(const struct buddy_bits *bits, u32 pages, u32 align)
{
	u64 free[BUDDY_BITS_WORDS];
	u32 order = buddy_log2(align), at = 0;

	if (pages > bits->free)
		return -ENOMEM;
	/* Often it is one of the first runs; where these are many, all starts at once. */
	for (u32 n = 0, first, end; n < 4; n++, at = end) {
		at = next_free(bits, at);
		if (at == BUDDY_BITS_PAGES)
			return -ENOMEM;
		if (pages == 1 && align == 1)
			return at;
		end = next_used(bits, at);
		first = (at + align - 1) & -align;
		if (first + pages <= end)
			return first;
	}
	if (!find_starts(bits, pages, free))
		return -ENOMEM;
	for (u32 i = 0; i < BUDDY_BITS_WORDS; i++) {
		u64 fit = free[i] & (order < 6 ? first_of[order] : 1);

		if (order > 6 && i % (align / 64))
			continue;
		if (fit)
			return 64 * i + buddy_ctz64(fit);
	}
	return -ENOMEM;
}

bool buddy_bits_is_free(const struct buddy_bits *bits, u32 at, u32 pages)
{
	return !test_any(bits->used, at, at + pages);
}

u32 buddy_bits_run(const struct buddy_bits *bits, u32 at, u32 *first)
{
	*first = after_used(bits, at);
	return next_used(bits, at) - *first;
}

u32 buddy_bits_head(const struct buddy_bits *bits)
{
	return next_used(bits, 0);
}

u32 buddy_bits_tail(const struct buddy_bits *bits)
{
	return bits->pages - after_used(bits, bits->pages);
}

u32 buddy_bits_longest(const struct buddy_bits *bits, u32 *first)
{
	u64 free[BUDDY_BITS_WORDS], last[BUDDY_BITS_WORDS];
	u32 have = 1, step;

	if (!find_starts(bits, 1, free))
		return 0;
	/* Doubles as long as a run is so long, then adds smaller and smaller steps. */
	for (step = 1; have < BUDDY_BITS_PAGES; step *= 2) {
		memcpy(last, free, sizeof(last));
		if (!keep_from(free, step)) {
			memcpy(free, last, sizeof(free));
			break;
		}
		have += step;
	}
	while (step /= 2) {
		if (have + step > BUDDY_BITS_PAGES)
			continue;
		memcpy(last, free, sizeof(last));
		if (keep_from(free, step))
			have += step;
		else
			memcpy(free, last, sizeof(free));
	}
	*first = lowest_page(free);
	return have;
}
