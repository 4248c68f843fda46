/* SPDX-License-Identifier: MIT */
/*
 * arena.h - one region cut into blocks: the tree, and a table of handles.
 *
 * Knows nothing of Python and of where the memory is: it gives out offsets.
 *
 * A handle is a number that is never given again, from 1 up. It is
 *
 *   live      allocated; arena_free() gives its bytes back, unless it is pinned
 *   gone      arena_release() took it from the user while it was pinned; the last
 *             unpin gives the bytes back. To the user it no longer exists
 *
 * A pin stands for one view of the bytes: while there is one they are not given to
 * anybody else.
 *
 * Locking: one mutex protects all of struct arena but for what is marked constant.
 * No call here calls out while it holds it, so it nests inside anything.
 *
 * After fork() the child has a copy of tree and table, but the memory is still its
 * parent's: every call is -EPERM there, on what was not closed before.
 */
#ifndef BUDDY_PYTHON_ARENA_H
#define BUDDY_PYTHON_ARENA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/buddy_core.h"

#define ARENA_RULES	6
#define ARENA_SAMPLE	64	/* one call in so many is timed */

/**
 * struct arena_rule - how lengths from @from on are rounded
 * @from: bytes
 * @quantum: bytes, a power of two: what lengths are rounded up to
 * @align: bytes, a power of two: where blocks start
 */
struct arena_rule {
	uint64_t from;
	uint64_t quantum;
	uint64_t align;
};

/**
 * struct arena_counters - what happened so far
 * @allocs: blocks given out
 * @frees: handles taken back
 * @fails: calls that found no room
 * @bad_frees: calls with a handle that is not live
 * @requested: bytes asked for
 * @granted: bytes given out for them
 * @alloc_ns: time of the calls that were timed
 * @alloc_timed: number of these
 * @free_ns: likewise
 * @free_timed: likewise
 * @worst_free: free granules when fragmentation was at its worst
 * @worst_largest: the largest free node then
 */
struct arena_counters {
	uint64_t allocs;
	uint64_t frees;
	uint64_t fails;
	uint64_t bad_frees;
	uint64_t requested;
	uint64_t granted;
	uint64_t alloc_ns;
	uint64_t alloc_timed;
	uint64_t free_ns;
	uint64_t free_timed;
	uint64_t worst_free;
	uint64_t worst_largest;
};

/**
 * struct arena_block - what a handle stands for
 * @handle: the number; 0: an empty place of the table
 * @requested: bytes asked for
 * @offset: in granules
 * @size: in granules
 * @pins: views that exist
 * @gone: see above
 */
struct arena_block {
	uint64_t handle;
	uint64_t requested;
	uint32_t offset;
	uint32_t size;
	uint32_t pins;
	bool gone;
};

struct arena {
	pthread_mutex_t lock;
	uint32_t shift;			/* a granule is 2^shift bytes; constant */
	unsigned int epoch;		/* of forks, when it was made; constant */
	bool open;
	struct buddy_core core;
	void *core_mem;
	struct arena_block *table;	/* open addressing, at most half full */
	uint32_t table_bits;
	uint64_t count;			/* live and gone */
	uint64_t gone;
	uint64_t pins;			/* of all */
	uint64_t holds;			/* calls that work on all of it */
	uint64_t next;			/* the next handle */
	uint64_t held;			/* bytes requested of all in the table */
	struct arena_rule rules[ARENA_RULES];
	uint32_t rule_count;		/* 0: powers of two */
	struct arena_counters counters;
};

/** struct arena_view - a moment of an arena, for reports */
struct arena_view {
	struct arena_counters counters;
	uint64_t count, gone, pins, held;
	uint64_t granules, free, largest;
};

/** arena_init() - a closed arena, out of a zeroed one: calls may be made */
void arena_init(struct arena *arena);

/**
 * arena_fill() - all that it needs, for an arena in which all is free
 * @arena: closed, and never filled; stays closed
 * @granules: its length
 * @shift: log2 of the bytes of a granule
 *
 * Slow: it clears what the tree needs. Calls of others meanwhile find it closed.
 *
 * Return: 0; -EINVAL (too many granules); -ENOMEM.
 */
int arena_fill(struct arena *arena, uint64_t granules, uint32_t shift);

/** arena_open() - from now on calls succeed; not while others make some */
void arena_open(struct arena *arena);

/**
 * arena_close() - no call succeeds any more
 * @arena: may never have been opened
 *
 * Return: 0; -EBUSY while there are pins or holds; -ESHUTDOWN where it was not open.
 */
int arena_close(struct arena *arena);

/** arena_hold() - arena_check(), and it cannot be closed until arena_unhold() */
int arena_hold(struct arena *arena);
void arena_unhold(struct arena *arena);

/** arena_fini() - free what a closed arena has */
void arena_fini(struct arena *arena);

/** arena_check() - 0, -EPERM in a child of fork(), -ESHUTDOWN */
int arena_check(struct arena *arena);

/**
 * arena_alloc() - allocate by the rules of the arena, or as a power of two
 * @arena: the arena
 * @bytes: 1 or more
 * @block: what was allocated
 *
 * Return: 0; -ENOMEM; -EPERM; -ESHUTDOWN.
 */
int arena_alloc(struct arena *arena, uint64_t bytes, struct arena_block *block);

/**
 * arena_alloc_exact() - allocate whole granules, no more
 * @arena: the arena
 * @bytes: 1 or more
 * @align: bytes, 0 or a power of two
 * @block: what was allocated
 *
 * Return: as arena_alloc().
 */
int arena_alloc_exact(struct arena *arena, uint64_t bytes, uint64_t align,
		      struct arena_block *block);

/**
 * arena_free() - give a block back
 * Return: 0; -ENOENT (no such handle); -EBUSY (pinned); -EPERM; -ESHUTDOWN.
 */
int arena_free(struct arena *arena, uint64_t handle);

/**
 * arena_release() - take the handle away; the bytes go back with the last pin
 * Return: as arena_free(), never -EBUSY.
 */
int arena_release(struct arena *arena, uint64_t handle);

/**
 * arena_drop() - arena_free() or arena_release() at the end of what owns the handle
 * @arena: the arena
 * @handle: may have been freed before, and counts as no bad free then
 * @even_pinned: as arena_release()
 *
 * Return: as arena_free() or arena_release().
 */
int arena_drop(struct arena *arena, uint64_t handle, bool even_pinned);

/**
 * arena_find() - what a live handle stands for
 * Return: 0; -ENOENT; -EPERM; -ESHUTDOWN.
 */
int arena_find(struct arena *arena, uint64_t handle, struct arena_block *block);

/** arena_pin() - arena_find(), and one pin more */
int arena_pin(struct arena *arena, uint64_t handle, struct arena_block *block);

/** arena_unpin() - undo one arena_pin(), on a live handle or one that is gone */
void arena_unpin(struct arena *arena, uint64_t handle);

/** arena_set_rules() - what arena_alloc() goes by from now on, 1 to ARENA_RULES */
void arena_set_rules(struct arena *arena, const struct arena_rule *rules,
		     uint32_t count);

/** arena_look() - the state now; of a closed arena its end */
void arena_look(struct arena *arena, struct arena_view *view);

/** arena_reset() - all counters are 0, and fragmentation was never worse than now */
void arena_reset(struct arena *arena);

/** arena_verify() - NULL, or a sentence on what is broken; slow */
const char *arena_verify(struct arena *arena);

#endif /* BUDDY_PYTHON_ARENA_H */
