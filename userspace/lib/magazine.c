// SPDX-License-Identifier: MIT
/*
 * magazine.c - the free objects that each thread has at hand.
 *
 * A thread pops from and pushes to its own magazines without a lock; an empty one is
 * filled to half from the depot or the trees, of a full one the older half goes there. An object
 * may be freed by another thread than the one that allocated it: it goes into the
 * magazine of the one that frees. A thread that ends empties its magazines; where nobody would
 * tell (no key left, or its last destructors) it has none, and works on the trees.
 *
 * Magazines hold up to 63 objects, and less of the larger classes: the cache of the
 * configuration is the bytes that each may hold.
 *
 * A push writes the object before the end, a pop the end alone: so at any moment
 * what lies before the end is free. A forked child relies on that, which sees the
 * magazines of threads that were running.
 */
#include <errno.h>
#include <string.h>

#include "pool.h"

_Thread_local struct heap_cache buddy_heap_cache;
uint8_t buddy_class_table[SMALL_MAX / GRANULE + 1];

static _Thread_local struct heap *my_heaps
	__attribute__((tls_model("initial-exec")));	/* registry */
/* The thread's heaps have ended. What its destructors still do has none. */
static _Thread_local bool exiting __attribute__((tls_model("initial-exec")));
static pthread_key_t exit_key;
static bool have_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/*
 * Granules of a class: 1 to 8, then four to each power of two, so that at most a
 * fifth of an object is rounding.
 */
static uint32_t class_size(uint32_t class)
{
	uint32_t step = class - 9;

	return class <= 8 ? class : (5 + step % 4) << (1 + step / 4);
}

static void heap_unlink(struct heap *heap)
{
	*heap->link = heap->next;
	if (heap->next)
		heap->next->link = heap->link;
}

/* Empties and ends the calling thread's heaps. */
static void thread_exit(void *unused)
{
	struct heap *heap, *next;

	(void)unused;
	buddy_lock(&buddy_registry);
	heap = my_heaps;
	my_heaps = NULL;
	exiting = true;
	buddy_heap_cache.id = 0;
	for (; heap; heap = next) {
		struct buddy_pool *pool = heap->pool;

		next = heap->thread_next;
		buddy_lock(&pool->lock);
		buddy_heap_empty(pool, heap);
		heap_unlink(heap);
		buddy_unlock(&pool->lock);
		buddy_books_free(heap, sizeof(*heap));
	}
	buddy_unlock(&buddy_registry);
}

static void init_once(void)
{
	for (uint32_t i = 0, class = 1; i <= SMALL_MAX / GRANULE; i++) {
		class += i > class_size(class);
		buddy_class_table[i] = (uint8_t)class;
	}
	have_key = !pthread_key_create(&exit_key, thread_exit);
}

/* The library leaves, with a plugin that it is part of: no thread may call it. */
__attribute__((destructor)) static void leave(void)
{
	if (have_key)
		pthread_key_delete(exit_key);
	have_key = false;
}

/* @cache: bytes that a magazine may hold; at least two objects. */
void buddy_classes_init(struct buddy_pool *pool, uint64_t cache)
{
	pthread_once(&once, init_once);
	for (uint32_t class = 1; class <= CLASSES; class++) {
		uint64_t limit;

		pool->class_granules[class] = class_size(class);
		limit = cache / ((uint64_t)class_size(class) << GRANULE_SHIFT);
		if (limit < 2)
			limit = 2;
		pool->class_limit[class] = limit > 2 * PACK ? 2 * PACK :
					   (uint32_t)limit;
		pool->depot[class].limit = buddy_depot_limit(class_size(class), cache);
	}
}

/* Both locks are held. A foreign pool has no heaps, so no call finds a fast path. */
static struct heap *heap_create(struct buddy_pool *pool)
{
	struct heap *heap = NULL;

	if (!pool->foreign)
		heap = buddy_books_alloc(sizeof(*heap));
	if (!heap)
		return NULL;
	heap->pool = pool;
	for (uint32_t class = 0; class < CLASS_END; class++)
		heap->magazine[class].end = MAGAZINE_EMPTY;
	for (uint32_t class = 1; class <= CLASSES; class++)
		heap->magazine[class].limit = MAGAZINE_EMPTY +
			pool->class_limit[class] * MAGAZINE_STEP;
	heap->next = pool->heaps;
	heap->link = &pool->heaps;
	if (heap->next)
		heap->next->link = &heap->next;
	pool->heaps = heap;
	heap->owner = &my_heaps;
	heap->thread_next = my_heaps;
	my_heaps = heap;
	return heap;
}

/*
 * Will the end of the thread be told? May call malloc(), of an allocator with locks and
 * fork handlers of its own, so it comes before our locks.
 */
static bool ends_heaps(void)
{
	return have_key && !exiting && !pthread_setspecific(exit_key, &my_heaps);
}

/* The calling thread's heap in @pool, which is now the one that it used last. */
struct heap *buddy_heap_find(struct buddy_pool *pool, bool create)
{
	struct heap *heap;

	if (buddy_heap_cache.id == pool->id)
		return buddy_heap_cache.heap;
	create = create && ends_heaps();
	buddy_lock(&buddy_registry);
	for (heap = my_heaps; heap && heap->pool != pool; heap = heap->thread_next)
		;
	if (!heap && create) {
		buddy_lock(&pool->lock);
		heap = heap_create(pool);
		buddy_unlock(&pool->lock);
	}
	if (heap)
		buddy_heap_cache = (struct heap_cache){ pool->id, heap };
	buddy_unlock(&buddy_registry);
	return heap;
}

static void set_count(struct magazine *m, uint32_t count)
{
	magazine_set_end(m, MAGAZINE_EMPTY + count * MAGAZINE_STEP);
}

static bool is_full(const struct magazine *m)
{
	return m->end >= m->limit;
}

/*
 * buddy_object_alloc(), for a caller with the lock. Where there is no memory it
 * gives what the thread's magazines and the depot have back to the trees, and the
 * empty chunk back to the device, and tries again.
 * @heap: of the calling thread, or NULL
 */
void *buddy_object_get(struct buddy_pool *pool, struct heap *heap, uint32_t class,
		       uint64_t size, uint64_t align)
{
	void *object;

	if (pool->foreign) {
		buddy_pool_is_foreign(pool, OP_POOL_ALLOC);
		return NULL;
	}
	object = buddy_object_alloc(pool, class, size, align);
	/* what is above the limit costs the caches nothing */
	if (!object && size <= pool->limit) {
		if (heap)
			buddy_heap_empty(pool, heap);
		buddy_depot_empty(pool);
		buddy_chunks_trim(pool);
		object = buddy_object_alloc(pool, class, size, align);
	}
	pool->fails += !object;
	return object;
}

/* An object of a small class for the calling thread, whose magazine is empty. */
void *buddy_magazine_refill(struct buddy_pool *pool, uint32_t class)
{
	struct heap *heap = buddy_heap_find(pool, true);
	struct magazine *m = heap ? &heap->magazine[class] : NULL;
	uint32_t want = (pool->class_limit[class] + 1) / 2, n;
	void *object = NULL;

	/* another pool was the last; its magazine may have some */
	if (m && magazine_count(m)) {
		n = magazine_count(m) - 1;
		set_count(m, n);
		return m->object[n];
	}
	buddy_lock(&pool->lock);
	pool->refills++;
	if (m && buddy_depot_get(pool, class, m->object)) {
		set_count(m, PACK - 1);
		object = m->object[PACK - 1];
		goto out;
	}
	object = buddy_object_get(pool, heap, class, 0, 0);
	if (object && m) {
		for (n = 0; n + 1 < want; n++) {
			m->object[n] = buddy_object_alloc(pool, class, 0, 0);
			if (!m->object[n])
				break;
		}
		set_count(m, n);
	}
out:
	buddy_unlock(&pool->lock);
	return object;
}

/* The @count oldest objects of a magazine leave it: they are elsewhere now. */
static void drop(struct magazine *m, uint32_t count)
{
	uint32_t rest = magazine_count(m) - count;

	memmove(m->object, m->object + count, rest * sizeof(m->object[0]));
	set_count(m, rest);
}

/* Frees the @count oldest objects of a magazine, with the lock. */
static void give_back(struct buddy_pool *pool, struct magazine *m, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		buddy_object_free(pool, m->object[i]);
	drop(m, count);
}

/*
 * Frees an object of a small class, where the calling thread has no magazine or a
 * full one. Return: 0; -EINVAL.
 */
int buddy_magazine_flush(struct buddy_pool *pool, uint32_t class, void *object)
{
	struct heap *heap = buddy_heap_find(pool, true);
	struct magazine *m = heap ? &heap->magazine[class] : NULL;
	int err = 0;

	if (m && !is_full(m))
		goto push;
	buddy_lock(&pool->lock);
	if (m && magazine_count(m) >= 2 * PACK &&
	    buddy_depot_put(pool, class, m->object))
		drop(m, PACK);
	else if (m)
		give_back(pool, m, (magazine_count(m) + 1) / 2);
	else
		err = buddy_object_free(pool, object);
	pool->flushes++;
	buddy_unlock(&pool->lock);
	if (!m)
		return err;
push:
	*magazine_at(m, m->end) = object;
	magazine_set_end(m, m->end + MAGAZINE_STEP);
	return 0;
}

/* With the lock; the heap is the caller's, or that of a thread that is no more. */
void buddy_heap_empty(struct buddy_pool *pool, struct heap *heap)
{
	for (uint32_t class = 1; class <= CLASSES; class++)
		give_back(pool, &heap->magazine[class],
			  magazine_count(&heap->magazine[class]));
}

static void heap_end(struct heap *heap)
{
	struct heap **at = heap->owner;

	while (*at != heap)
		at = &(*at)->thread_next;
	*at = heap->thread_next;
	heap_unlink(heap);
	buddy_books_free(heap, sizeof(*heap));
}

/* Ends all heaps of a pool, of whatever thread. With the registry's lock. */
void buddy_heaps_destroy(struct buddy_pool *pool)
{
	while (pool->heaps)
		heap_end(pool->heaps);
}

/*
 * In a forked child: takes over what the threads that it has not had in their
 * magazines. Of a pool that is foreign it forgets its own, too.
 */
void buddy_heaps_adopt(struct buddy_pool *pool)
{
	struct heap *heap, *next;

	for (heap = pool->heaps; heap; heap = next) {
		bool mine = heap->owner == &my_heaps;

		next = heap->next;
		if (mine && pool->foreign) {
			heap_end(heap);
		} else if (!mine) {
			buddy_heap_empty(pool, heap);
			heap_unlink(heap);
			buddy_books_free(heap, sizeof(*heap));
		}
	}
}

/* In a forked child whose pools are foreign, but not ended: no call finds a heap. */
void buddy_heaps_forget(void)
{
	my_heaps = NULL;
	buddy_heap_cache.id = 0;
}
