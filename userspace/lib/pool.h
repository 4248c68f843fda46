/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the private types of buddy_pool_*: memory by the 64 bytes.
 *
 * Terms
 *   arena     a range of addresses, reserved at creation and never moved, many
 *             times as large as what the pool may take. So whether a pointer is
 *             the pool's, and where its books are, is one subtraction.
 *   slot      the arena is cut into slots of one chunk each; a tree (module/core)
 *             says which are in use
 *   span      one block of the device, mapped at a slot: a chunk, or a huge object
 *   chunk     a span with a tree over its granules of 64 bytes
 *   object    what a caller gets. Small (up to 64 KiB): of a size class, through a
 *             magazine. Large (up to half a chunk): from a tree, exact to 4 KiB.
 *             Huge: a span of its own, exact to the page
 *   map       a byte for each granule of the arena: the class of the object that
 *             starts there, or 0
 *   magazine  a stack of free objects of one class, of one thread
 *   heap      the magazines of one thread in one pool
 *   depot     free objects of the smallest classes, by the half magazine, of all
 *             threads
 *
 * Objects in magazines and the depot are used for the trees. All books lie outside of the
 * memory that callers get, and nothing here writes there.
 *
 * Locks, outermost first
 * Taken by buddy_lock(), which a handler of a signal can see.
 *   registry  fork.c: the list of pools, the list of heaps of each thread
 *   pool      everything in struct buddy_pool but what never changes; calls of the
 *             device are made under it
 *   renewing  dev.c: which pool of a device opens it again in a child. fork() finds it
 *             free, as it has the locks of all pools
 *   (none)    a heap's magazines: their thread alone. Others read their ends for
 *             statistics; a forked child empties those of threads that it has not
 */
#ifndef BUDDY_MEM_POOL_H
#define BUDDY_MEM_POOL_H

#include <pthread.h>
#include <stdbool.h>

#include "core/buddy_core.h"
#include "private.h"

#define GRANULE_SHIFT	6
#define GRANULE		(1u << GRANULE_SHIFT)
#define SMALL_MAX	(64u << 10)
/* Large objects are exact to this: finer cuts leave crumbs that nobody wants. */
#define LARGE_UNIT	4096u
#define CHUNK_MIN	(2ull * SMALL_MAX)
#define CHUNK_MAX	(1ull << 30)
/* Class 0 is none; 1 .. CLASSES are small; then two more. */
#define CLASSES		36
#define CLASS_LARGE	(CLASSES + 1)
#define CLASS_HUGE	(CLASSES + 2)
#define CLASS_END	(CLASSES + 3)
#define MAGAZINE_MAX	63
/* Half of a magazine without other limits: what goes to the depot at once. */
#define PACK		31

#define likely(x)	__builtin_expect(!!(x), 1)

/*
 * 512 bytes: the address of one is a shift away from its class. Both ends are bytes
 * from the start of the magazine, so that the fast path computes no address twice.
 */
struct magazine {
	uint32_t end;		/* of the objects that it has */
	uint32_t limit;		/* @end of a full one; 0 for what is not small */
	void *object[MAGAZINE_MAX];
};

#define MAGAZINE_EMPTY	((uint32_t)offsetof(struct magazine, object))
#define MAGAZINE_STEP	((uint32_t)sizeof(void *))

struct heap {
	struct buddy_pool *pool;
	struct heap **owner;		/* registry: its thread's list of heaps */
	struct heap *thread_next;	/* registry: the next of that list */
	struct heap *next, **link;	/* pool: the pool's heaps */
	struct magazine magazine[CLASS_END];
};

struct span {
	struct buddy_block *block;	/* NULL: copied at a fork, private memory */
	uint64_t length;		/* bytes mapped */
	uint32_t slots;
	bool is_chunk;
};

struct chunk {
	struct span span;
	uint32_t slot;
	uint32_t bucket;		/* in which it is; see struct buddy_pool */
	struct chunk *next, **link;
	struct buddy_core core;		/* over granules; its array follows */
};

struct depot {
	struct pack *first;
	uint32_t packs, limit;
};

struct buddy_pool {
	/* what never changes: read on every call, without a lock */
	uint64_t id;			/* never used twice in a process */
	uintptr_t base;			/* of the arena */
	uint64_t granules;		/* of the arena */
	uint8_t *map;
	struct buddy_dev *dev;
	uint32_t flags;
	uint32_t chunk_shift;
	uint32_t page;			/* granule of the device, bytes */
	uint32_t nr_slots;
	uint64_t limit, region;
	uint64_t books_bytes;		/* map, spans and array of the slot tree */
	uint32_t class_granules[CLASS_END];
	uint32_t class_limit[CLASS_END];	/* objects in a magazine */

	pthread_mutex_t lock;		/* protects all below, and map and chunks */
	bool foreign;			/* a forked child without a copy */
	bool inside;			/* foreign: fork() had interrupted this library */
	struct span **span;		/* by slot */
	struct buddy_core slots;
	/* chunks by the order of their largest free node; full ones in the last */
	struct chunk *bucket[BUDDY_CORE_ORDERS + 1];
	uint64_t bucket_mask;
	uint32_t nr_empty;
	struct heap *heaps;
	struct depot depot[CLASS_END];
	struct pack *no_packs, *pack_pages;	/* of depot.c */
	struct buddy_pool *next;	/* registry */

	uint64_t bytes;			/* in spans */
	uint64_t used;			/* in objects and magazines */
	uint64_t objects;		/* likewise */
	uint64_t spans, huge;
	uint64_t takes, returns;	/* spans, ever */
	uint64_t refills, flushes;
	uint64_t fails, bad_frees;
};

/* Of each thread: its heap in the pool that it used last. */
struct heap_cache {
	uint64_t id;
	struct heap *heap;
};

extern _Thread_local struct heap_cache buddy_heap_cache
	__attribute__((tls_model("initial-exec"), visibility("hidden")));
/* by (size + 63) / 64 */
extern uint8_t buddy_class_table[SMALL_MAX / GRANULE + 1]
	__attribute__((visibility("hidden")));

/* Locks of pools, and the registry, that the calling thread has or waits for. */
extern _Thread_local unsigned int buddy_locks
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline void buddy_lock(pthread_mutex_t *lock)
{
	buddy_locks++;
	pthread_mutex_lock(lock);
}

static inline void buddy_unlock(pthread_mutex_t *lock)
{
	pthread_mutex_unlock(lock);
	buddy_locks--;
}

static inline void **magazine_at(struct magazine *m, uint32_t at)
{
	return (void **)((char *)m + at);
}

static inline void magazine_set_end(struct magazine *m, uint32_t end)
{
	__atomic_store_n(&m->end, end, __ATOMIC_RELEASE);
}

/* Of any thread's. */
static inline uint32_t magazine_count(const struct magazine *m)
{
	uint32_t end = __atomic_load_n(&m->end, __ATOMIC_RELAXED);

	return end ? (end - MAGAZINE_EMPTY) / MAGAZINE_STEP : 0;
}

static inline uint64_t chunk_bytes(const struct buddy_pool *pool)
{
	return 1ull << pool->chunk_shift;
}

static inline uint64_t granule_of(const struct buddy_pool *pool, const void *p)
{
	return ((uintptr_t)p - pool->base) >> GRANULE_SHIFT;
}

static inline uint32_t slot_of(const struct buddy_pool *pool, const void *p)
{
	return (uint32_t)(((uintptr_t)p - pool->base) >> pool->chunk_shift);
}

static inline void *slot_address(const struct buddy_pool *pool, uint32_t slot)
{
	return (void *)(pool->base + ((uintptr_t)slot << pool->chunk_shift));
}

/*
 * Rotates the offset so that one comparison finds what is not in the arena and
 * what is not at a granule.
 */
static inline uint64_t granule_or_beyond(const struct buddy_pool *pool,
					 const void *p)
{
	uint64_t offset = (uintptr_t)p - pool->base;

	return offset >> GRANULE_SHIFT | offset << (64 - GRANULE_SHIFT);
}

/* arena.c: addresses, and blocks of the device mapped there */
#define ARENA_ALIGN	(1ull << 30)
/*
 * Addresses are cheap: with four times what the pool may take, whole slots for
 * huge objects and holes between them do not run out before the memory does.
 */
#define ARENA_TIMES	4

/* Each records a failure. Return: @error, -EPERM. */
int buddy_pool_refused(const struct buddy_pool *pool, uint64_t bytes, int error);
/* @wrong: the alignment of -EINVAL; else the bytes that the pool would have to take */
int buddy_object_refused(const struct buddy_pool *pool, uint64_t length, uint64_t wrong,
			 int error);
int buddy_pool_is_foreign(const struct buddy_pool *pool, enum buddy_operation operation);
int buddy_arena_create(struct buddy_pool *pool, uint64_t bytes);
void buddy_arena_destroy(struct buddy_pool *pool);
void *buddy_arena_reserve(void *address, uint64_t bytes, int flags);
int buddy_span_allowed(const struct buddy_pool *pool, uint64_t length);
int buddy_span_take(struct buddy_pool *pool, struct span *span, uint64_t length,
		    uint64_t align, uint32_t *slot);
void buddy_span_return(struct buddy_pool *pool, struct span *span, uint32_t slot);
/* Return: NULL with errno. */
void *buddy_books_alloc(size_t bytes);
void buddy_books_free(void *books, size_t bytes);

/* chunk.c: objects from trees and spans; with the pool's lock */
void *buddy_object_alloc(struct buddy_pool *pool, uint32_t class, uint64_t size,
			 uint64_t align);
int buddy_object_free(struct buddy_pool *pool, void *object);
uint64_t buddy_object_size(struct buddy_pool *pool, const void *object);
bool buddy_object_extend(struct buddy_pool *pool, void *object, uint64_t size);
void buddy_span_copied(struct buddy_pool *pool, struct span *span);
void buddy_chunks_trim(struct buddy_pool *pool);
size_t buddy_chunk_books(const struct buddy_pool *pool);

/* depot.c; with the pool's lock */
uint32_t buddy_depot_limit(uint32_t class_granules, uint64_t cache);
bool buddy_depot_put(struct buddy_pool *pool, uint32_t class, void *const *objects);
bool buddy_depot_get(struct buddy_pool *pool, uint32_t class, void **objects);
void buddy_depot_empty(struct buddy_pool *pool);
void buddy_depot_destroy(struct buddy_pool *pool);

/* magazine.c */
void buddy_classes_init(struct buddy_pool *pool, uint64_t cache);
void *buddy_object_get(struct buddy_pool *pool, struct heap *heap, uint32_t class,
		       uint64_t size, uint64_t align);
void *buddy_magazine_refill(struct buddy_pool *pool, uint32_t class);
int buddy_magazine_flush(struct buddy_pool *pool, uint32_t class, void *object);
void buddy_heap_empty(struct buddy_pool *pool, struct heap *heap);
struct heap *buddy_heap_find(struct buddy_pool *pool, bool create);
void buddy_heaps_destroy(struct buddy_pool *pool);
void buddy_heaps_adopt(struct buddy_pool *pool);
void buddy_heaps_forget(void);

/*
 * copy.c: what a forked child does with each span, in the order of their addresses.
 * Nothing here allocates.
 */
struct maps {
	int fd;				/* of /proc/self/maps, or -1 */
	uint32_t at, end;		/* of what is read and not looked at yet */
	uint64_t from, to;		/* a mapping: its addresses, */
	int prot;			/* access, */
	bool shared;			/* and kind */
	char text[1024];
};

void buddy_maps_open(struct maps *maps);
void buddy_maps_close(struct maps *maps);
int buddy_span_copy(struct maps *maps, struct buddy_pool *pool, struct span *span,
		    uint32_t slot);
int buddy_arena_copy(struct buddy_pool *pool);

/* gate.c */
struct gate *buddy_gate_create(void);
void buddy_gate_destroy(struct gate *gate);
void buddy_gate_arm(struct gate *gate);
bool buddy_gate_wait(struct gate *gate, bool failed);
void buddy_gate_enter(struct gate *gate);
void buddy_gate_leave(struct gate *gate);

/* fork.c */
extern pthread_mutex_t buddy_registry __attribute__((visibility("hidden")));
void buddy_registry_init(void);
/* At the start of the library? Not of libbuddymem_preload.so, which has another of these. */
bool buddy_registry_starts(void) __attribute__((visibility("hidden")));
int buddy_registry_add(struct buddy_pool *pool);
void buddy_registry_remove(struct buddy_pool *pool);

#endif /* BUDDY_MEM_POOL_H */
