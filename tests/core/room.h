/* SPDX-License-Identifier: MIT */
/*
 * room.h - an oracle for ALLOC: could a block of this length have been had?
 *
 * It is made of what ALLOC replied, and of nothing that the module or the library says
 * of itself. A page is free to an owner if no block has it, and if its 2 MiB unit has
 * no part of a block of another owner: such a unit is split for that owner. The oracle
 * is exact as long as all blocks are contiguous and none is being reclaimed. With one
 * owner it is exact for a region without units, too: all pages of no block are free.
 *
 * Lengths and places are in pages. A region is a multiple of 2 MiB.
 */
#ifndef ROOM_H
#define ROOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_UNIT	512u

struct room {
	uint32_t pages;
	uint64_t *used;		/* a bit for each page */
	uint16_t *parts;	/* of each unit: blocks that have some of it, and not all */
	uint8_t *owner;		/* of each unit that has parts: whose they are */
};

static inline bool room_init(struct room *room, uint32_t pages)
{
	room->pages = pages;
	room->used = calloc(pages / 64, sizeof(*room->used));
	room->parts = calloc(pages / ROOM_UNIT, sizeof(*room->parts));
	room->owner = calloc(pages / ROOM_UNIT, sizeof(*room->owner));
	return room->used && room->parts && room->owner && !(pages % ROOM_UNIT);
}

static inline void room_end(struct room *room)
{
	free(room->used);
	free(room->parts);
	free(room->owner);
}

/* The bits of word @word that lie in @first .. @end. */
static inline uint64_t room_mask(uint32_t word, uint32_t first, uint32_t end)
{
	uint64_t mask = ~0ull;

	if (first > word * 64)
		mask &= ~0ull << (first - word * 64);
	if (end < word * 64 + 64)
		mask &= ~0ull >> (word * 64 + 64 - end);
	return mask;
}

/* Counts a range as a part of the units of which it has some pages and not all. */
static inline bool room_count_parts(struct room *room, uint32_t first, uint32_t end,
				    uint8_t owner, int more)
{
	for (uint32_t u = first / ROOM_UNIT; u * ROOM_UNIT < end; u++) {
		if (first <= u * ROOM_UNIT && end >= (u + 1) * ROOM_UNIT)
			continue;
		if (room->parts[u] && room->owner[u] != owner)
			return false;
		room->owner[u] = owner;
		room->parts[u] = (uint16_t)(room->parts[u] + more);
	}
	return true;
}

/* Return: false if the range is not free to that owner, which ALLOC must never reply. */
static inline bool room_take(struct room *room, uint32_t first, uint32_t pages, uint8_t owner)
{
	uint32_t end = first + pages;
	bool was_free = end <= room->pages;

	for (uint32_t w = first / 64; was_free && w * 64 < end; w++) {
		uint64_t mask = room_mask(w, first, end);

		was_free = !(room->used[w] & mask);
		room->used[w] |= mask;
	}
	return was_free && room_count_parts(room, first, end, owner, 1);
}

static inline void room_free(struct room *room, uint32_t first, uint32_t pages, uint8_t owner)
{
	uint32_t end = first + pages;

	for (uint32_t w = first / 64; w * 64 < end; w++)
		room->used[w] &= ~room_mask(w, first, end);
	room_count_parts(room, first, end, owner, -1);
}

/* Are all pages of a range in blocks, or none of them? */
static inline bool room_is(const struct room *room, uint32_t first, uint32_t pages, bool used)
{
	uint32_t end = first + pages;

	for (uint32_t w = first / 64; w * 64 < end; w++) {
		uint64_t mask = room_mask(w, first, end);

		if ((room->used[w] & mask) != (used ? mask : 0))
			return false;
	}
	return true;
}

/* The pages of a word that are free to @owner. */
static inline uint64_t room_word(const struct room *room, uint32_t word, uint8_t owner)
{
	uint32_t u = word * 64 / ROOM_UNIT;

	return room->parts[u] && room->owner[u] != owner ? 0 : ~room->used[word];
}

/* How many pages from @first on are free to @owner, at most @most. */
static inline uint32_t room_behind(const struct room *room, uint8_t owner, uint32_t first,
				   uint32_t most)
{
	uint32_t n = 0;

	while (n < most && first + n < room->pages &&
	       room_word(room, (first + n) / 64, owner) >> (first + n) % 64 & 1)
		n++;
	return n;
}

/* A free range that goes as far as it can; @start and @end are 0 before the first one. */
struct room_range {
	uint32_t start, end;
};

/* The next free range of @owner behind *@range. Return: whether there is one. */
static inline bool room_next(const struct room *room, uint8_t owner, struct room_range *range)
{
	uint32_t at = range->end;

	range->start = range->end = room->pages;
	while (at < room->pages) {
		uint64_t bits = room_word(room, at / 64, owner);
		bool inside = range->start < room->pages;

		/* look for the first page that is free, then for one that is not */
		bits = (inside ? ~bits : bits) & ~0ull << at % 64;
		at -= at % 64;
		if (!bits) {
			at += 64;
			continue;
		}
		at += (uint32_t)__builtin_ctzll(bits);
		if (inside) {
			range->end = at;
			return true;
		}
		range->start = at;
	}
	return range->start < room->pages;
}

static inline bool room_holds(const struct room_range *range, uint32_t pages, uint32_t align)
{
	uint64_t at = ((uint64_t)range->start + align - 1) / align * align;

	return at + pages <= range->end;
}

/* Is a range of @pages, at a multiple of @align, free to @owner? */
static inline bool room_fits(const struct room *room, uint8_t owner, uint32_t pages, uint32_t align)
{
	struct room_range range = { 0 };

	while (room_next(room, owner, &range))
		if (room_holds(&range, pages, align))
			return true;
	return false;
}

/* Is such a range free within one of the split units of @owner? */
static inline bool room_fits_split(const struct room *room, uint8_t owner, uint32_t pages,
				   uint32_t align)
{
	struct room_range range = { 0 };

	while (room_next(room, owner, &range)) {
		uint32_t end = range.end;

		for (; range.start < end; range.start = range.end) {
			uint32_t u = range.start / ROOM_UNIT, border = (u + 1) * ROOM_UNIT;

			range.end = end < border ? end : border;
			if (room->parts[u] && room_holds(&range, pages, align))
				return true;
		}
		range.end = end;
	}
	return false;
}

/*
 * The longest block that @owner could have, at a multiple of the largest power of two
 * that divides its length, up to a unit. In a range one of the two longest lengths fits:
 * that which is odd.
 */
static inline uint32_t room_longest(const struct room *room, uint8_t owner)
{
	struct room_range range = { 0 };
	uint32_t longest = 0;

	while (room_next(room, owner, &range)) {
		uint32_t pages = range.end - range.start, align = pages & -pages;

		if (!room_holds(&range, pages, align < ROOM_UNIT ? align : ROOM_UNIT))
			pages--;
		if (pages > longest)
			longest = pages;
	}
	return longest;
}

#endif /* ROOM_H */
