// SPDX-License-Identifier: MIT
/*
 * chunk.c - objects out of trees, and out of blocks of their own.
 *
 * A chunk is in the bucket of the order of its largest free node; the full ones are
 * in the last bucket, which nobody asks. A request takes the chunk of the lowest
 * bucket that holds it, so the fuller ones fill up and others become empty. One empty
 * chunk stays; the next that becomes empty goes back to the device.
 *
 * Everything is called with the pool's lock.
 *
 * Invariants
 *   - map has the class of an object at its first granule, from its allocation in
 *     the tree to its end there; 0 elsewhere;
 *   - used and objects say what the trees and the huge spans hold.
 */
#include <errno.h>

#include "pool.h"

#define BUCKET_FULL	BUDDY_CORE_ORDERS

size_t buddy_chunk_books(const struct buddy_pool *pool)
{
	uint32_t granules = 1u << (pool->chunk_shift - GRANULE_SHIFT);
	size_t head = (sizeof(struct chunk) + 15) & ~(size_t)15;

	return head + buddy_core_bytes(granules);
}

static void bucket_remove(struct buddy_pool *pool, struct chunk *chunk)
{
	*chunk->link = chunk->next;
	if (chunk->next)
		chunk->next->link = chunk->link;
	if (!pool->bucket[chunk->bucket])
		pool->bucket_mask &= ~(1ull << chunk->bucket);
}

static void bucket_insert(struct buddy_pool *pool, struct chunk *chunk,
			  uint32_t bucket)
{
	struct chunk **head = &pool->bucket[bucket];

	chunk->bucket = bucket;
	chunk->next = *head;
	chunk->link = head;
	if (*head)
		(*head)->link = &chunk->next;
	*head = chunk;
	pool->bucket_mask |= 1ull << bucket;
}

/* A copied chunk counts as full: what is new is to come from the device. */
static uint32_t bucket_of(const struct chunk *chunk)
{
	uint32_t orders = chunk->core.slot_mask | chunk->core.map_mask;

	return orders && chunk->span.block ? buddy_log2(orders) : BUCKET_FULL;
}

/* The tree of @chunk has changed. */
static inline void bucket_update(struct buddy_pool *pool, struct chunk *chunk)
{
	uint32_t bucket = bucket_of(chunk);

	if (bucket != chunk->bucket) {
		bucket_remove(pool, chunk);
		bucket_insert(pool, chunk, bucket);
	}
}

static bool is_empty(const struct chunk *chunk)
{
	return chunk->core.free == chunk->core.granules;
}

static struct chunk *chunk_create(struct buddy_pool *pool)
{
	uint32_t granules = 1u << (pool->chunk_shift - GRANULE_SHIFT);
	size_t bytes = buddy_chunk_books(pool);
	struct chunk *chunk;

	if (buddy_span_allowed(pool, chunk_bytes(pool)))
		return NULL;
	chunk = buddy_books_alloc(bytes);
	if (!chunk) {
		buddy_fail_memory(OP_POOL_ALLOC, pool->dev, chunk_bytes(pool));
		return NULL;
	}
	chunk->span.is_chunk = true;
	if (buddy_span_take(pool, &chunk->span, chunk_bytes(pool), 0, &chunk->slot)) {
		buddy_books_free(chunk, bytes);
		return NULL;
	}
	buddy_core_init(&chunk->core, granules, (uint8_t *)chunk + bytes -
			buddy_core_bytes(granules));
	bucket_insert(pool, chunk, bucket_of(chunk));
	pool->nr_empty++;
	return chunk;
}

static void chunk_destroy(struct buddy_pool *pool, struct chunk *chunk)
{
	bucket_remove(pool, chunk);
	buddy_span_return(pool, &chunk->span, chunk->slot);
	pool->nr_empty--;
	buddy_books_free(chunk, buddy_chunk_books(pool));
}

static struct chunk *chunk_with(struct buddy_pool *pool, uint32_t order)
{
	uint64_t fits = (pool->bucket_mask & ((1ull << BUCKET_FULL) - 1)) >> order;

	if (likely(fits))
		return pool->bucket[order + buddy_ctz64(fits)];
	return chunk_create(pool);
}

/* @granules of a chunk, aligned to @align granules (0: as it comes). */
static void *tree_alloc(struct buddy_pool *pool, uint32_t class, uint32_t granules,
			uint32_t align)
{
	uint32_t most = granules > align ? granules : align;
	struct chunk *chunk = chunk_with(pool, buddy_log2(2 * (u64)most - 1));
	uint64_t granule;
	long at;

	if (!chunk)
		return NULL;
	pool->nr_empty -= is_empty(chunk);
	at = buddy_core_alloc(&chunk->core, granules, align);
	bucket_update(pool, chunk);
	pool->used += (uint64_t)granules << GRANULE_SHIFT;
	pool->objects++;
	granule = ((uint64_t)chunk->slot << (pool->chunk_shift - GRANULE_SHIFT)) +
		  (uint64_t)at;
	pool->map[granule] = (uint8_t)class;
	return (void *)(pool->base + (uintptr_t)(granule << GRANULE_SHIFT));
}

static void *huge_alloc(struct buddy_pool *pool, uint64_t size, uint64_t align)
{
	struct span *span;
	uint32_t slot;
	void *object;

	if (buddy_span_allowed(pool, size))
		return NULL;
	span = buddy_books_alloc(sizeof(*span));
	if (!span) {
		buddy_fail_memory(OP_POOL_ALLOC, pool->dev, size);
		return NULL;
	}
	if (buddy_span_take(pool, span, size, align, &slot)) {
		buddy_books_free(span, sizeof(*span));
		return NULL;
	}
	object = slot_address(pool, slot);
	pool->map[granule_of(pool, object)] = CLASS_HUGE;
	pool->used += span->length;
	pool->objects++;
	pool->huge++;
	return object;
}

static void huge_free(struct buddy_pool *pool, void *object)
{
	uint32_t slot = slot_of(pool, object);
	struct span *span = pool->span[slot];

	pool->map[granule_of(pool, object)] = 0;
	pool->used -= span->length;
	pool->objects--;
	pool->huge--;
	buddy_span_return(pool, span, slot);
	buddy_books_free(span, sizeof(*span));
}

static void *large_alloc(struct buddy_pool *pool, uint64_t size, uint64_t align)
{
	uint64_t bytes = (size + LARGE_UNIT - 1) & ~(uint64_t)(LARGE_UNIT - 1);
	void *object;

	object = tree_alloc(pool, CLASS_LARGE, (uint32_t)(bytes >> GRANULE_SHIFT),
			    (uint32_t)(align >> GRANULE_SHIFT));
	/* the device may have less than a chunk in one piece */
	return object ? object : huge_alloc(pool, bytes, align);
}

/*
 * A new object: of a small class, or with @class 0 of @size bytes at @align, a power
 * of two. Return: NULL where there is no memory.
 */
void *buddy_object_alloc(struct buddy_pool *pool, uint32_t class, uint64_t size,
			 uint64_t align)
{
	if (class)
		return tree_alloc(pool, class, pool->class_granules[class], 0);
	if (size > chunk_bytes(pool) / 2 || align > chunk_bytes(pool) / 2)
		return huge_alloc(pool, size, align);
	return large_alloc(pool, size, align);
}

static struct chunk *chunk_of(struct buddy_pool *pool, const void *object)
{
	struct span *span = pool->span[slot_of(pool, object)];

	return span && span->is_chunk ? (struct chunk *)span : NULL;
}

static uint32_t granule_in_chunk(const struct buddy_pool *pool, const void *object)
{
	return (uint32_t)(granule_of(pool, object) &
			  ((1ull << (pool->chunk_shift - GRANULE_SHIFT)) - 1));
}

/* Granules of an object in a chunk. */
static uint32_t granules_of(struct buddy_pool *pool, const void *object,
			    uint32_t class)
{
	struct buddy_core_span e;

	if (class != CLASS_LARGE)
		return pool->class_granules[class];
	buddy_core_find(&chunk_of(pool, object)->core,
			granule_in_chunk(pool, object), &e);
	return e.size;
}

/* Return: 0; -EINVAL where no object starts there. */
int buddy_object_free(struct buddy_pool *pool, void *object)
{
	uint8_t *map = &pool->map[granule_of(pool, object)];
	uint32_t class = *map, granules;
	struct chunk *chunk;

	if (!class) {
		pool->bad_frees++;
		return -EINVAL;
	}
	if (class == CLASS_HUGE) {
		huge_free(pool, object);
		return 0;
	}
	chunk = chunk_of(pool, object);
	granules = granules_of(pool, object, class);
	*map = 0;
	buddy_core_free(&chunk->core, granule_in_chunk(pool, object), granules);
	pool->used -= (uint64_t)granules << GRANULE_SHIFT;
	pool->objects--;
	bucket_update(pool, chunk);
	if (unlikely(is_empty(chunk)) &&
	    (++pool->nr_empty > 1 || !chunk->span.block))
		chunk_destroy(pool, chunk);
	return 0;
}

/* Bytes of an object, rounding included; 0 where none starts there. */
uint64_t buddy_object_size(struct buddy_pool *pool, const void *object)
{
	uint32_t class = pool->map[granule_of(pool, object)];

	if (!class)
		return 0;
	if (class == CLASS_HUGE)
		return pool->span[slot_of(pool, object)]->length;
	return (uint64_t)granules_of(pool, object, class) << GRANULE_SHIFT;
}

/* Makes a large object longer where it lies, if what follows is free. */
bool buddy_object_extend(struct buddy_pool *pool, void *object, uint64_t size)
{
	uint32_t old, more, at;
	struct chunk *chunk;

	if (pool->map[granule_of(pool, object)] != CLASS_LARGE ||
	    size > chunk_bytes(pool) / 2)
		return false;
	chunk = chunk_of(pool, object);
	old = granules_of(pool, object, CLASS_LARGE);
	at = granule_in_chunk(pool, object);
	size = (size + LARGE_UNIT - 1) & ~(uint64_t)(LARGE_UNIT - 1);
	more = (uint32_t)(size >> GRANULE_SHIFT) - old;
	if (buddy_core_take(&chunk->core, at + old, more))
		return false;
	buddy_core_join(&chunk->core, at, old, more);
	bucket_update(pool, chunk);
	pool->used += (uint64_t)more << GRANULE_SHIFT;
	return true;
}

/* A span has lost its block: it is the copy that a forked child has made. */
void buddy_span_copied(struct buddy_pool *pool, struct span *span)
{
	struct chunk *chunk = (struct chunk *)span;

	if (!span->is_chunk)
		return;
	bucket_update(pool, chunk);
	if (is_empty(chunk))
		chunk_destroy(pool, chunk);
}

/* Gives the empty chunks back. */
void buddy_chunks_trim(struct buddy_pool *pool)
{
	struct chunk *chunk = pool->bucket[pool->chunk_shift - GRANULE_SHIFT];

	while (chunk) {
		struct chunk *next = chunk->next;

		chunk_destroy(pool, chunk);
		chunk = next;
	}
}
