// SPDX-License-Identifier: MIT
/*
 * arena.c - allocation of blocks, their handles and pins. Contract in arena.h.
 */
#include <stdlib.h>
#include <time.h>

#include "table.h"

/* Counts forks on the child's side, so that a child knows what is its parent's. */
static unsigned int forks;

static void count_fork(void)
{
	forks++;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Of a call that @before like it preceded: when it started, or 0: it is not timed. */
static uint64_t sample_start(uint64_t before)
{
	return before % ARENA_SAMPLE ? 0 : now_ns();
}

static void sample_end(uint64_t start, uint64_t *ns, uint64_t *timed)
{
	if (!start)
		return;
	*ns += now_ns() - start;
	++*timed;
}

/* Takes the lock where the arena can be used, else returns why not. */
static int arena_enter(struct arena *arena)
{
	if (arena->epoch != forks)
		return arena->open ? -EPERM : -ESHUTDOWN;
	pthread_mutex_lock(&arena->lock);
	if (arena->open)
		return 0;
	pthread_mutex_unlock(&arena->lock);
	return -ESHUTDOWN;
}

static void arena_leave(struct arena *arena)
{
	pthread_mutex_unlock(&arena->lock);
}

void arena_init(struct arena *arena)
{
	pthread_mutex_init(&arena->lock, NULL);
}

int arena_fill(struct arena *arena, uint64_t granules, uint32_t shift)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int err;

	if (!granules || granules > BUDDY_CORE_MAX_GRANULES)
		return -EINVAL;
	pthread_once(&once, watch_forks);
	arena->core_mem = aligned_alloc(16, buddy_core_bytes((uint32_t)granules));
	if (!arena->core_mem)
		return -ENOMEM;
	err = table_init(arena);
	if (err) {
		free(arena->core_mem);
		arena->core_mem = NULL;
		return err;
	}
	buddy_core_init(&arena->core, (uint32_t)granules, arena->core_mem);
	arena->shift = shift;
	return 0;
}

void arena_open(struct arena *arena)
{
	arena->epoch = forks;
	arena->next = 1;
	arena_reset(arena);
	arena->open = true;
}

int arena_check(struct arena *arena)
{
	int err = arena_enter(arena);

	if (!err)
		arena_leave(arena);
	return err;
}

int arena_close(struct arena *arena)
{
	int err = arena_enter(arena);

	if (err)
		return err;
	if (arena->pins || arena->holds)
		err = -EBUSY;
	else
		arena->open = false;
	arena_leave(arena);
	return err;
}

int arena_hold(struct arena *arena)
{
	int err = arena_enter(arena);

	if (err)
		return err;
	arena->holds++;
	arena_leave(arena);
	return 0;
}

void arena_unhold(struct arena *arena)
{
	pthread_mutex_lock(&arena->lock);
	arena->holds--;
	pthread_mutex_unlock(&arena->lock);
}

void arena_fini(struct arena *arena)
{
	arena->open = false;
	free(arena->table);
	free(arena->core_mem);
	arena->table = NULL;
	arena->core_mem = NULL;
}

/*
 * Allocation
 */

static void note_fragmentation(struct arena *arena)
{
	struct arena_counters *c = &arena->counters;
	uint64_t largest = buddy_core_largest(&arena->core);
	uint64_t all = arena->core.free;

	/* 1 - largest / all is above 1 - worst_largest / worst_free */
	if (largest * c->worst_free < c->worst_largest * all) {
		c->worst_free = all;
		c->worst_largest = largest;
	}
}

/* The bytes of @bytes in granules, all of them or as a power of two; 0: too many. */
static uint32_t granules_of(const struct arena *arena, uint64_t bytes)
{
	uint64_t granules = ((bytes - 1) >> arena->shift) + 1;

	return granules > BUDDY_CORE_MAX_GRANULES ? 0 : (uint32_t)granules;
}

static uint32_t pow2_of(uint32_t granules)
{
	return 1u << buddy_log2(2 * (uint64_t)granules - 1);
}

static int locked_alloc(struct arena *arena, uint64_t bytes, uint32_t size,
			uint32_t align, struct arena_block *block)
{
	long offset = size ? table_reserve(arena) : -ENOMEM;

	if (!offset)
		offset = buddy_core_alloc(&arena->core, size, align);
	if (offset < 0) {
		arena->counters.fails++;
		return -ENOMEM;
	}
	*block = (struct arena_block){
		.handle = arena->next++,
		.requested = bytes,
		.offset = (uint32_t)offset,
		.size = size,
	};
	table_add(arena, block);
	arena->held += bytes;
	arena->counters.allocs++;
	arena->counters.requested += bytes;
	arena->counters.granted += (uint64_t)size << arena->shift;
	note_fragmentation(arena);
	return 0;
}

static int alloc_by_rules(struct arena *arena, uint64_t bytes,
			  struct arena_block *block)
{
	const struct arena_rule *rule = &arena->rules[arena->rule_count - 1];
	uint64_t length;

	while (rule > arena->rules && bytes < rule->from)
		rule--;
	length = (bytes + rule->quantum - 1) & ~(rule->quantum - 1);
	return locked_alloc(arena, bytes, granules_of(arena, length),
			    (uint32_t)(rule->align >> arena->shift), block);
}

static int alloc_pow2(struct arena *arena, uint64_t bytes,
		      struct arena_block *block)
{
	uint32_t size = granules_of(arena, bytes);

	return locked_alloc(arena, bytes, size ? pow2_of(size) : 0, 0, block);
}

int arena_alloc(struct arena *arena, uint64_t bytes, struct arena_block *block)
{
	struct arena_counters *c = &arena->counters;
	int err = arena_enter(arena);
	uint64_t start;

	if (err)
		return err;
	start = sample_start(c->allocs);
	if (arena->rule_count)
		err = alloc_by_rules(arena, bytes, block);
	else
		err = alloc_pow2(arena, bytes, block);
	if (!err)
		sample_end(start, &c->alloc_ns, &c->alloc_timed);
	arena_leave(arena);
	return err;
}

void arena_set_rules(struct arena *arena, const struct arena_rule *rules,
		     uint32_t count)
{
	if (arena_enter(arena))
		return;
	memcpy(arena->rules, rules, count * sizeof(*rules));
	arena->rule_count = count;
	arena_leave(arena);
}

int arena_alloc_exact(struct arena *arena, uint64_t bytes, uint64_t align,
		      struct arena_block *block)
{
	struct arena_counters *c = &arena->counters;
	int err = arena_enter(arena);
	uint64_t start;

	if (err)
		return err;
	start = sample_start(c->allocs);
	align >>= arena->shift;
	if (align > BUDDY_CORE_MAX_GRANULES)
		err = -ENOMEM;
	else
		err = locked_alloc(arena, bytes, granules_of(arena, bytes),
				   (uint32_t)align, block);
	if (!err)
		sample_end(start, &c->alloc_ns, &c->alloc_timed);
	arena_leave(arena);
	return err;
}

/*
 * The way back
 */

static void give_back(struct arena *arena, struct arena_block *block)
{
	buddy_core_free(&arena->core, block->offset, block->size);
	arena->held -= block->requested;
	arena->gone -= block->gone;
	table_remove(arena, block);
	note_fragmentation(arena);
}

static struct arena_block *live(struct arena *arena, uint64_t handle)
{
	struct arena_block *block = table_find(arena, handle);

	return block && !block->gone ? block : NULL;
}

static int locked_free(struct arena *arena, uint64_t handle, bool even_pinned)
{
	struct arena_block *block = live(arena, handle);

	if (!block)
		return -ENOENT;
	if (block->pins && !even_pinned)
		return -EBUSY;
	arena->counters.frees++;
	if (block->pins) {
		block->gone = true;
		arena->gone++;
	} else {
		give_back(arena, block);
	}
	return 0;
}

/* @maybe: that it was freed before is nobody's mistake. */
static int take_back(struct arena *arena, uint64_t handle, bool even_pinned, bool maybe)
{
	struct arena_counters *c = &arena->counters;
	int err = arena_enter(arena);
	uint64_t start;

	if (err)
		return err;
	start = sample_start(c->frees);
	err = locked_free(arena, handle, even_pinned);
	if (!err)
		sample_end(start, &c->free_ns, &c->free_timed);
	else if (err == -ENOENT && !maybe)
		c->bad_frees++;
	arena_leave(arena);
	return err;
}

int arena_free(struct arena *arena, uint64_t handle)
{
	return take_back(arena, handle, false, false);
}

int arena_release(struct arena *arena, uint64_t handle)
{
	return take_back(arena, handle, true, false);
}

int arena_drop(struct arena *arena, uint64_t handle, bool even_pinned)
{
	return take_back(arena, handle, even_pinned, true);
}

/*
 * Pins
 */

static int look_up(struct arena *arena, uint64_t handle, bool pin,
		   struct arena_block *out)
{
	struct arena_block *block;
	int err = arena_enter(arena);

	if (err)
		return err;
	block = live(arena, handle);
	if (block) {
		block->pins += pin;
		arena->pins += pin;
		*out = *block;
	}
	arena_leave(arena);
	return block ? 0 : -ENOENT;
}

int arena_find(struct arena *arena, uint64_t handle, struct arena_block *block)
{
	return look_up(arena, handle, false, block);
}

int arena_pin(struct arena *arena, uint64_t handle, struct arena_block *block)
{
	return look_up(arena, handle, true, block);
}

void arena_unpin(struct arena *arena, uint64_t handle)
{
	struct arena_block *block;

	if (arena_enter(arena))
		return;
	block = table_find(arena, handle);
	if (block && block->pins) {
		block->pins--;
		arena->pins--;
		if (block->gone && !block->pins)
			give_back(arena, block);
	}
	arena_leave(arena);
}

/*
 * Reports
 */

void arena_look(struct arena *arena, struct arena_view *view)
{
	bool mine = arena->epoch == forks;

	/* nobody in a child would ever unlock what its parent had locked */
	if (mine)
		pthread_mutex_lock(&arena->lock);
	*view = (struct arena_view){
		.counters = arena->counters,
		.count = arena->count,
		.gone = arena->gone,
		.pins = arena->pins,
		.held = arena->held,
		.granules = arena->core.granules,
		.free = arena->core.free,
		.largest = arena->open ? buddy_core_largest(&arena->core) : 0,
	};
	if (mine)
		pthread_mutex_unlock(&arena->lock);
}

void arena_reset(struct arena *arena)
{
	pthread_mutex_lock(&arena->lock);
	arena->counters = (struct arena_counters){
		.worst_free = 1,
		.worst_largest = 1,
	};
	note_fragmentation(arena);
	pthread_mutex_unlock(&arena->lock);
}

static const char *locked_verify(struct arena *arena)
{
	uint64_t granules = 0, count = 0, gone = 0, pins = 0, held = 0;

	for (uint32_t i = 0; i < 1u << arena->table_bits; i++) {
		const struct arena_block *b = &arena->table[i];
		struct buddy_core_span e;

		if (!b->handle)
			continue;
		if (table_find(arena, b->handle) != b)
			return "a handle that a search does not find";
		if (buddy_core_find(&arena->core, b->offset, &e) || !e.used ||
		    e.offset != b->offset || e.size != b->size)
			return "a handle without a block of the tree";
		if (b->gone && !b->pins)
			return "a block that is gone without a pin";
		granules += b->size;
		held += b->requested;
		pins += b->pins;
		gone += b->gone;
		count++;
	}
	if (granules != arena->core.granules - arena->core.free)
		return "a block of the tree without a handle";
	if (count != arena->count || gone != arena->gone ||
	    pins != arena->pins || held != arena->held)
		return "counts that do not balance";
	return buddy_core_check(&arena->core);
}

const char *arena_verify(struct arena *arena)
{
	const char *broken;

	if (arena_enter(arena))
		return NULL;
	broken = locked_verify(arena);
	arena_leave(arena);
	return broken;
}
