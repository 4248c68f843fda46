// SPDX-License-Identifier: MIT
/*
 * pool.c - buddy_pool_*: what callers see. The terms, and the locks, are in pool.h.
 *
 * Allocation and free of small objects are a stack of the calling thread: a look
 * whether its last heap is of this pool, the class of the size, or of the pointer,
 * and a pop or a push. Everything else leaves the fast path, which so has no case for
 * it: class 0 and the classes that are not small have magazines without room.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "pool.h"

#define CHUNK_DEFAULT	(2ull << 20)
#define CACHE_DEFAULT	(256ull << 10)
#define ALIGN_MAX	(1ull << 30)
/* No structure of a caller's will ever be as long. */
#define SIZE_LIMIT	4096u

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* A longer one, of a later header, asks for nothing new where it is zero. */
static int check_size(const struct buddy_pool_config *config)
{
	const char *bytes = (const char *)config;

	if (config->size < sizeof(*config))
		return buddy_fail_at(OP_POOL_CONFIG, NULL, -EINVAL);
	if (config->size > SIZE_LIMIT)
		return buddy_fail_at(OP_POOL_CONFIG, NULL, -E2BIG);
	for (uint32_t i = sizeof(*config); i < config->size; i++)
		if (bytes[i])
			return buddy_fail_at(OP_POOL_CONFIG, NULL, -E2BIG);
	return 0;
}

/* Bytes of a chunk. Return: 0; -EINVAL. */
static int choose_chunk(struct buddy_pool *pool, uint64_t chunk)
{
	if (!chunk)
		for (chunk = CHUNK_DEFAULT; chunk > pool->limit;)
			chunk /= 2;
	if (pool->flags & ~BUDDY_POOL_FORK_COPY || !is_power_of_two(chunk) ||
	    chunk < CHUNK_MIN || chunk > CHUNK_MAX || chunk > pool->limit)
		return buddy_fail(&(struct buddy_failure){
			.operation = OP_POOL_CREATE, .error = -EINVAL,
			.length = pool->limit, .chunk = chunk, .flags = pool->flags },
			pool->dev, NULL);
	pool->chunk_shift = buddy_log2(chunk);
	return 0;
}

static int configure(struct buddy_pool *pool, const struct buddy_pool_config *config)
{
	uint64_t cache = config->cache;
	struct buddy_info info;
	int err = check_size(config);

	if (!err)
		err = buddy_dev_info(pool->dev, &info);
	if (err)
		return err;
	pool->flags = config->flags;
	pool->page = info.out_granule;
	pool->region = info.out_region;
	pool->limit = pool->region;
	if (config->limit && config->limit < pool->limit)
		pool->limit = config->limit;
	err = choose_chunk(pool, config->chunk);
	if (err)
		return err;
	buddy_classes_init(pool, cache ? cache : CACHE_DEFAULT);
	return buddy_arena_create(pool, pool->limit);
}

int buddy_pool_create(struct buddy_dev *dev, const struct buddy_pool_config *config,
		      struct buddy_pool **result)
{
	static const struct buddy_pool_config defaults = { .size = sizeof(defaults) };
	struct buddy_pool *pool = buddy_books_alloc(sizeof(*pool));
	int err;

	*result = NULL;
	if (!pool)
		return buddy_fail_memory(OP_POOL_CREATE, dev, sizeof(*pool));
	pool->dev = dev;
	pthread_mutex_init(&pool->lock, NULL);
	err = configure(pool, config ? config : &defaults);
	if (!err) {
		err = buddy_registry_add(pool);
		if (err)
			buddy_arena_destroy(pool);
	}
	if (err)
		buddy_books_free(pool, sizeof(*pool));
	else
		*result = pool;
	return err;
}

void buddy_pool_destroy(struct buddy_pool *pool)
{
	struct buddy_core_span e;

	if (!pool)
		return;
	buddy_registry_remove(pool);
	for (uint32_t at = 0; at < pool->nr_slots; at = e.offset + e.size) {
		struct span *span;
		size_t bytes;

		buddy_core_find(&pool->slots, at, &e);
		span = pool->span[e.offset];
		if (!e.used || !span)
			continue;
		bytes = span->is_chunk ? buddy_chunk_books(pool) : sizeof(*span);
		buddy_span_return(pool, span, e.offset);
		buddy_books_free(span, bytes);
	}
	buddy_depot_destroy(pool);
	buddy_arena_destroy(pool);
	pthread_mutex_destroy(&pool->lock);
	buddy_books_free(pool, sizeof(*pool));
}

static noinline void *alloc_big(struct buddy_pool *pool, size_t size, uint64_t align)
{
	struct heap *heap;
	void *object;

	if (size > PTRDIFF_MAX) {
		buddy_object_refused(pool, size, align, -EFBIG);
		return NULL;
	}
	heap = buddy_heap_find(pool, false);
	buddy_lock(&pool->lock);
	object = buddy_object_get(pool, heap, 0, size, align);
	buddy_unlock(&pool->lock);
	return object;
}

/*
 * The calling thread's magazine of a class. Hidden from the compiler, that would
 * compute the address once for each use.
 */
static inline struct magazine *magazine_of(uint32_t class)
{
	struct magazine *m = &buddy_heap_cache.heap->magazine[class];

	__asm__("" : "+r"(m));
	return m;
}

static noinline void *alloc_slow(struct buddy_pool *pool, size_t size)
{
	void *object;

	if (size > SMALL_MAX)
		object = alloc_big(pool, size, 1);
	else
		object = buddy_magazine_refill(pool,
			buddy_class_table[(size + GRANULE - 1) / GRANULE]);
	if (!object)
		buddy_fail_in_pool(size);
	return object;
}

void *buddy_pool_alloc(struct buddy_pool *pool, size_t size)
{
	if (likely(size <= SMALL_MAX && buddy_heap_cache.id == pool->id)) {
		uint32_t class = buddy_class_table[(size + GRANULE - 1) / GRANULE];
		struct magazine *m = magazine_of(class);
		uint32_t end = m->end;

		if (likely(end > MAGAZINE_EMPTY)) {
			magazine_set_end(m, end - MAGAZINE_STEP);
			return *magazine_at(m, end - MAGAZINE_STEP);
		}
	}
	return alloc_slow(pool, size);
}

static noinline int free_slow(struct buddy_pool *pool, void *object)
{
	uint32_t class;
	int err;

	if (!object)
		return 0;
	if (pool->foreign)
		return buddy_pool_is_foreign(pool, OP_POOL_FREE);
	if (granule_or_beyond(pool, object) >= pool->granules)
		return buddy_fail_at(OP_POOL_FREE, pool->dev, -EINVAL);
	class = pool->map[granule_of(pool, object)];
	if (class && class <= CLASSES)
		return buddy_magazine_flush(pool, class, object);
	buddy_lock(&pool->lock);
	err = buddy_object_free(pool, object);
	buddy_unlock(&pool->lock);
	return err ? buddy_fail_at(OP_POOL_FREE, pool->dev, err) : 0;
}

int buddy_pool_free(struct buddy_pool *pool, void *object)
{
	uint64_t granule = granule_or_beyond(pool, object);

	if (likely(granule < pool->granules && buddy_heap_cache.id == pool->id)) {
		uint32_t class = pool->map[granule];
		struct magazine *m = magazine_of(class);
		uint32_t end = m->end;

		if (likely(end < m->limit)) {
			*magazine_at(m, end) = object;
			magazine_set_end(m, end + MAGAZINE_STEP);
			return 0;
		}
	}
	return free_slow(pool, object);
}

void *buddy_pool_alloc_aligned(struct buddy_pool *pool, size_t align, size_t size)
{
	void *object;

	if (!is_power_of_two(align) || align > ALIGN_MAX || size > PTRDIFF_MAX) {
		buddy_object_refused(pool, size, align, size > PTRDIFF_MAX ? -EFBIG : -EINVAL);
		return NULL;
	}
	/* a new object is aligned to the power of two that holds it */
	if (align > SMALL_MAX)
		object = alloc_big(pool, size ? size : 1, align);
	else
		object = buddy_pool_alloc(pool, size > align / 2 ? size : align / 2 + 1);
	if (unlikely(!object))
		buddy_fail_in_pool(size);
	return object;
}

static bool is_fresh(struct buddy_pool *pool, const void *object)
{
	/* a block of its own, which nobody else has seen */
	return pool->map[granule_of(pool, object)] == CLASS_HUGE;
}

void *buddy_pool_zalloc(struct buddy_pool *pool, size_t count, size_t size)
{
	size_t bytes;
	void *object;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		buddy_object_refused(pool, UINT64_MAX, 0, -EFBIG);
		return NULL;
	}
	object = buddy_pool_alloc(pool, bytes);
	if (object && !is_fresh(pool, object))
		memset(object, 0, bytes);
	return object;
}

int buddy_pool_owns(const struct buddy_pool *pool, const void *address)
{
	return ((uintptr_t)address - pool->base) >> GRANULE_SHIFT < pool->granules;
}

size_t buddy_pool_usable_size(struct buddy_pool *pool, const void *object)
{
	uint32_t class;
	size_t size;

	if (granule_or_beyond(pool, object) >= pool->granules)
		return 0;
	class = pool->map[granule_of(pool, object)];
	if (class <= CLASSES)
		return (size_t)pool->class_granules[class] << GRANULE_SHIFT;
	buddy_lock(&pool->lock);
	size = buddy_object_size(pool, object);
	buddy_unlock(&pool->lock);
	return size;
}

void *buddy_pool_realloc(struct buddy_pool *pool, void *object, size_t size)
{
	size_t old = buddy_pool_usable_size(pool, object);
	bool extended = false;
	void *other;

	if (!object)
		return buddy_pool_alloc(pool, size);
	if (!old || pool->foreign) {
		if (old)
			buddy_pool_is_foreign(pool, OP_POOL_REALLOC);
		else
			buddy_fail_at(OP_POOL_REALLOC, pool->dev, -EINVAL);
		return NULL;
	}
	/* not below half, so that a list that shrinks gives memory back */
	if (size <= old && (size > old / 2 || old == GRANULE))
		return object;
	if (size > old && old > SMALL_MAX) {
		buddy_lock(&pool->lock);
		extended = buddy_object_extend(pool, object, size);
		buddy_unlock(&pool->lock);
	}
	if (extended)
		return object;
	other = buddy_pool_alloc(pool, size);
	if (!other)
		return size <= old ? object : NULL;
	memcpy(other, object, size < old ? size : old);
	buddy_pool_free(pool, object);
	return other;
}

int buddy_pool_trim(struct buddy_pool *pool)
{
	struct heap *heap = buddy_heap_find(pool, false);
	int err = 0;

	buddy_lock(&pool->lock);
	if (pool->foreign) {
		err = buddy_pool_is_foreign(pool, OP_POOL_TRIM);
	} else {
		if (heap)
			buddy_heap_empty(pool, heap);
		buddy_depot_empty(pool);
		buddy_chunks_trim(pool);
	}
	buddy_unlock(&pool->lock);
	return err;
}

/* What threads keep, and the depot. Threads change theirs meanwhile: no count wraps. */
static void count_cached(struct buddy_pool *pool, struct buddy_pool_stats *stats)
{
	for (uint32_t class = 1; class <= CLASSES; class++) {
		uint64_t n = (uint64_t)pool->depot[class].packs * PACK;

		for (struct heap *heap = pool->heaps; heap; heap = heap->next)
			n += magazine_count(&heap->magazine[class]);
		stats->objects -= n < stats->objects ? n : stats->objects;
		stats->cached += n * pool->class_granules[class] * GRANULE;
	}
	if (stats->cached > stats->used)
		stats->cached = stats->used;
	stats->used -= stats->cached;
}

int buddy_pool_stats(struct buddy_pool *pool, struct buddy_pool_stats *stats)
{
	const uint32_t size = stats->size;
	struct buddy_pool_stats now;

	if (size < offsetof(struct buddy_pool_stats, limit) || size > SIZE_LIMIT)
		return buddy_fail_at(OP_POOL_STATS, pool->dev, -EINVAL);
	buddy_lock(&pool->lock);
	now = (struct buddy_pool_stats){
		.size = size,
		.limit = pool->limit,
		.chunk = chunk_bytes(pool),
		.bytes = pool->bytes,
		.used = pool->used,
		.objects = pool->objects,
		.blocks = pool->spans,
		.huge = pool->huge,
		.blocks_taken = pool->takes,
		.blocks_returned = pool->returns,
		.refills = pool->refills,
		.flushes = pool->flushes,
		.fails = pool->fails,
		.bad_frees = pool->bad_frees,
	};
	count_cached(pool, &now);
	buddy_unlock(&pool->lock);
	memset(stats, 0, size);
	memcpy(stats, &now, size < sizeof(now) ? size : sizeof(now));
	return 0;
}
