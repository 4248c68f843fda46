/* SPDX-License-Identifier: MIT */
/*
 * churn.h - how much of a region is used when blocks come and go at random: streams of
 * requests, with an oracle for each refusal (room.h), on the device or in the library.
 *
 * A stream asks for blocks until its owners have asked for a share of the region, its
 * load. From then on it frees a random block when that share is asked for, and asks for
 * a new one when it is not. A request that was refused counts as asked for until its
 * turn to be freed. So a region that serves all requests is used up to the load, and
 * the used share says what the placement of blocks loses.
 *
 * Lengths are spread evenly by powers of two: the power that holds a length is the same
 * for one request in eleven, and lengths with the same power are equally likely. All
 * lengths are in pages. A seed repeats the requests.
 */
#ifndef CHURN_H
#define CHURN_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "placement.h"
#include "rnd.h"
#include "room.h"

#include <linux/buddy.h>

#define CHURN_POWERS	11	/* the longest request is 1024 times the shortest */
#define CHURN_OWNERS	8
#define CHURN_NOWHERE	UINT32_MAX
#define CHURN_PAGE	4096u
#define CHURN_HUGE_EVERY 4	/* of so many blocks, one is asked how it is mapped */

struct churn_block {
	uint64_t handle;	/* the backend's; 0: refused */
	uint64_t offset;	/* the backend's */
	uint32_t pages;
	uint32_t first;		/* page of the region, or CHURN_NOWHERE if scattered */
};

/* What serves the requests. */
struct churn_backend {
	uint32_t pages;		/* of the region */
	/* 0 or a negative errno; sets handle, offset and first */
	int (*alloc)(int owner, struct churn_block *block, uint32_t flags);
	void (*free)(int owner, struct churn_block *block);
	/* Whole units of a scattered block that are mapped by huge pages; or NULL. */
	uint32_t (*huge_units)(int owner, const struct churn_block *block);
	/* At a refusal: bytes that are being reclaimed or in quarantine; or NULL. */
	uint64_t (*reclaiming)(void);
	/* out_largest of the last refusal, in pages. */
	uint32_t (*largest)(void);
	/* If it has units: those that are free, and the pages that are in split ones; or NULL. */
	uint32_t (*free_units)(uint32_t *private_pages);
	/* Does the backend list the same pages as used? Of contiguous blocks; or NULL. */
	bool (*agrees)(const struct room *room);
	/* Does a block grow by @more pages? It is trimmed again. Of contiguous blocks; or NULL. */
	bool (*grows)(int owner, const struct churn_block *block, uint32_t more);
};

struct churn {
	const char *name;
	double load;		/* of the region */
	uint32_t shortest;	/* of the lengths, in pages */
	uint32_t flags;		/* of ALLOC */
	int owners;
	bool exact_before;	/* fill, and a whole run, by requests without the flags */
};

struct churn_result {
	double average;		/* used share of the region, after it was filled */
	double first;		/* at the first refusal; 0: there was none */
	long requests, refused;	/* of the run that is measured, filling included */
	long avoidable;		/* of the refused: a place was free to the owner */
	long reclaiming;	/* of the refused: memory was being reclaimed */
	long largest;		/* of the refused, without flags: out_largest was right */
	long split;		/* small blocks for which a unit was split without need */
	long misplaced;		/* blocks that no promise allows where they are */
	bool differs;		/* the backend lists other pages as used than it replied */
	uint64_t units, huge;	/* whole units asked for; of these, mapped huge */
	long behind, grown;	/* blocks with free pages behind them; of these, grown by GROW */
};

struct churn_owner {
	struct churn_block *blocks;
	uint32_t count, slots;
	uint64_t asked;		/* pages, those of refused requests included */
};

struct churn_run {
	const struct churn *stream;
	const struct churn_backend *backend;
	struct churn_result *result;
	struct room room;
	struct churn_owner owner[CHURN_OWNERS];
	uint64_t live;		/* pages of all blocks */
	uint32_t flags;		/* of ALLOC, at this time */
	uint32_t lowest, powers;	/* of two, that hold the lengths: the first, how many */
	bool filled;
	double sum;		/* of the used share, at each operation */
	long operations;
	uint64_t long_ones;	/* requests of at least a unit, since it was filled */
};

/* The length of a request: see above. */
static inline uint32_t churn_pages(const struct churn_run *run)
{
	uint32_t power = run->lowest + (uint32_t)(rnd() % run->powers), half;

	if (run->flags & BUDDY_ALLOC_POW2)
		return run->stream->shortest << power;
	if (!power)
		return run->stream->shortest;
	half = run->stream->shortest << (power - 1);
	return half + 1 + (uint32_t)(rnd() % half);
}

static inline double churn_share(const struct churn_run *run)
{
	return (double)run->live / run->backend->pages;
}

static inline uint32_t churn_align(const struct churn_run *run, uint32_t pages)
{
	bool pow2 = run->flags & BUDDY_ALLOC_POW2;

	return (uint32_t)(placement_align((uint64_t)pages * CHURN_PAGE, 0, pow2) / CHURN_PAGE);
}

/* Had the block a place? Of scattered blocks there is one owner, so all is its own. */
static inline bool churn_fits(const struct churn_run *run, int owner, uint32_t pages)
{
	if (run->flags & BUDDY_ALLOC_SCATTER)
		return run->backend->pages - run->live >= pages;
	return room_fits(&run->room, (uint8_t)owner, pages, churn_align(run, pages));
}

static inline void churn_refused(struct churn_run *run, int owner, uint32_t pages)
{
	struct churn_result *r = run->result;

	r->refused++;
	r->avoidable += churn_fits(run, owner, pages);
	r->reclaiming += run->backend->reclaiming && run->backend->reclaiming();
	if (!run->flags)
		r->largest += run->backend->largest() == room_longest(&run->room, (uint8_t)owner);
	if (!r->first)
		r->first = churn_share(run);
}

/*
 * Was a unit split for a small block without need? For a contiguous one, if a split unit
 * of its owner had a place; for a scattered one, if these had as many free pages.
 */
static inline bool churn_split_early(const struct churn_run *run, int owner,
				     const struct churn_block *block, uint32_t free_before,
				     uint32_t private_before)
{
	uint32_t now, unused;

	if (!run->backend->free_units || block->pages >= ROOM_UNIT)
		return false;
	now = run->backend->free_units(&unused);
	if (now >= free_before)
		return false;
	if (run->flags & BUDDY_ALLOC_SCATTER)
		return private_before >= block->pages;
	return room_fits_split(&run->room, (uint8_t)owner, block->pages,
			       churn_align(run, block->pages));
}

static inline void churn_placed(struct churn_run *run, int owner, const struct churn_block *block)
{
	uint64_t offset = (uint64_t)block->first * CHURN_PAGE;
	bool pow2 = run->flags & BUDDY_ALLOC_POW2;

	run->live += block->pages;
	if (run->flags & BUDDY_ALLOC_SCATTER)
		return;
	if (!room_take(&run->room, block->first, block->pages, (uint8_t)owner) ||
	    !is_well_placed(offset, (uint64_t)block->pages * CHURN_PAGE, 0, pow2))
		run->result->misplaced++;
}

static inline void churn_count_huge(struct churn_run *run, int owner,
				    const struct churn_block *block)
{
	if (!run->filled || !run->backend->huge_units || block->pages < ROOM_UNIT ||
	    run->long_ones++ % CHURN_HUGE_EVERY)
		return;
	run->result->units += block->pages / ROOM_UNIT;
	if (block->handle)
		run->result->huge += run->backend->huge_units(owner, block);
}

static inline void churn_serve(struct churn_run *run, int owner, struct churn_block *block)
{
	const struct churn_backend *b = run->backend;
	uint32_t private_before = 0, free_before;

	free_before = b->free_units && block->pages < ROOM_UNIT ? b->free_units(&private_before) : 0;
	if (b->alloc(owner, block, run->flags)) {
		block->handle = 0;
		churn_refused(run, owner, block->pages);
		return;
	}
	run->result->split += churn_split_early(run, owner, block, free_before, private_before);
	churn_placed(run, owner, block);
}

/* Return: false if there is no memory for the books of the stream. */
static inline bool churn_ask(struct churn_run *run, int owner)
{
	struct churn_owner *o = &run->owner[owner];
	struct churn_block *block;

	if (o->count == o->slots) {
		o->slots = 2 * o->slots + 1024;
		block = realloc(o->blocks, o->slots * sizeof(*block));
		if (!block)
			return false;
		o->blocks = block;
	}
	block = &o->blocks[o->count++];
	*block = (struct churn_block){ .pages = churn_pages(run), .first = CHURN_NOWHERE };
	o->asked += block->pages;
	run->result->requests++;
	churn_serve(run, owner, block);
	churn_count_huge(run, owner, block);
	return true;
}

static inline void churn_free(struct churn_run *run, int owner, uint32_t which)
{
	struct churn_owner *o = &run->owner[owner];
	struct churn_block block = o->blocks[which];

	o->blocks[which] = o->blocks[--o->count];
	o->asked -= block.pages;
	if (!block.handle)
		return;
	if (block.first != CHURN_NOWHERE)
		room_free(&run->room, block.first, block.pages, (uint8_t)owner);
	run->backend->free(owner, &block);
	run->live -= block.pages;
}

/* In turns. Return: false if there is no memory for the books. */
static inline bool churn_fill(struct churn_run *run, uint64_t target)
{
	for (bool more = true; more;) {
		more = false;
		for (int owner = 0; owner < run->stream->owners; owner++) {
			if (run->owner[owner].asked >= target)
				continue;
			more = true;
			if (!churn_ask(run, owner))
				return false;
		}
	}
	run->filled = true;
	return true;
}

static inline bool churn_step(struct churn_run *run, long step, uint64_t target)
{
	int owner = (int)(step % run->stream->owners);
	struct churn_owner *o = &run->owner[owner];

	if (o->asked >= target)
		churn_free(run, owner, (uint32_t)(rnd() % o->count));
	else if (!churn_ask(run, owner))
		return false;
	run->sum += churn_share(run);
	run->operations++;
	return true;
}

static inline bool churn_operations(struct churn_run *run, long operations)
{
	uint64_t target = (uint64_t)(run->backend->pages * run->stream->load / run->stream->owners);

	if (!run->filled && !churn_fill(run, target))
		return false;
	for (long i = 0; i < operations; i++)
		if (!churn_step(run, i, target))
			return false;
	return true;
}

/* Each block that could be longer by a quarter, as the oracle has it, is made so. */
static inline void churn_grow_all(struct churn_run *run)
{
	for (int owner = 0; owner < run->stream->owners; owner++) {
		struct churn_owner *o = &run->owner[owner];

		for (uint32_t i = 0; i < o->count; i++) {
			const struct churn_block *b = &o->blocks[i];
			uint32_t more = (b->pages + 3) / 4;

			if (!b->handle || room_behind(&run->room, (uint8_t)owner,
						      b->first + b->pages, more) < more)
				continue;
			run->result->behind++;
			run->result->grown += run->backend->grows(owner, b, more);
		}
	}
}

/* What can be asked at the end of a stream, while its blocks are there. */
static inline void churn_look(struct churn_run *run)
{
	if (run->flags & BUDDY_ALLOC_SCATTER)
		return;
	if (run->backend->grows && !run->flags)
		churn_grow_all(run);
	if (run->backend->agrees)
		run->result->differs = !run->backend->agrees(&run->room);
}

/* An entry of EXTENTS, beside what ALLOC replied. */
static inline bool churn_agrees(const struct room *room, const struct buddy_extent_entry *e)
{
	bool used = e->state == BUDDY_EXTENT_USED;

	if (!used && e->state != BUDDY_EXTENT_FREE && e->state != BUDDY_EXTENT_PRIVATE)
		return false;
	return room_is(room, (uint32_t)(e->offset / CHURN_PAGE),
		       (uint32_t)(e->length / CHURN_PAGE), used);
}

/* From here on everything is counted. */
static inline void churn_count_from_here(struct churn_run *run)
{
	long misplaced = run->result->misplaced;

	*run->result = (struct churn_result){ .misplaced = misplaced };
	run->sum = 0;
	run->operations = 0;
}

static inline void churn_end(struct churn_run *run)
{
	for (int owner = 0; owner < run->stream->owners; owner++) {
		while (run->owner[owner].count)
			churn_free(run, owner, run->owner[owner].count - 1);
		free(run->owner[owner].blocks);
	}
	room_end(&run->room);
}

/**
 * churn() - run one stream, from an empty region to an empty region
 * @stream: which
 * @operations: requests and frees after the region was filled; with exact_before as many
 *              for each of the two kinds of requests
 * @from: the seed
 *
 * Return: false if there is no memory for the books; else @result is filled.
 */
static inline bool churn(const struct churn *stream, const struct churn_backend *backend,
			 long operations, uint64_t from, struct churn_result *result)
{
	struct churn_run run = { .stream = stream, .backend = backend, .result = result,
				 .flags = stream->exact_before ? 0 : stream->flags,
				 .powers = CHURN_POWERS };
	bool done = room_init(&run.room, backend->pages);

	seed = from;
	*result = (struct churn_result){ 0 };
	done = done && churn_operations(&run, operations);
	if (done && stream->exact_before) {
		churn_count_from_here(&run);
		run.flags = stream->flags;
		done = churn_operations(&run, operations);
	}
	if (done) {
		result->average = run.sum / (double)run.operations;
		churn_look(&run);
	}
	churn_end(&run);
	return done;
}

#endif /* CHURN_H */
