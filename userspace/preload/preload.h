/* SPDX-License-Identifier: MIT */
/*
 * preload.h - what the parts of libbuddymem_preload.so share: malloc.c is what programs
 * call, next.c the allocator behind it, state.c opens the pool and keeps the counters,
 * books.c is the memory of the library itself.
 */
#ifndef BUDDY_PRELOAD_H
#define BUDDY_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <buddy_mem.h>

/* Each is the number of calls that ended so. */
enum preload_count {
	COUNT_SERVED,		/* large, and the pool's */
	COUNT_SERVED_BYTES,	/* as asked for */
	COUNT_FREED,
	COUNT_FULL,		/* large, but the pool had no memory: the next allocator's */
	COUNT_CLOSED,		/* large, but there is no pool: the next allocator's */
	COUNT_END,
};

/* The functions that serve what the pool does not; see next.c. */
struct preload_next {
	void *(*malloc)(size_t size);
	void (*free)(void *p);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *p, size_t size);
	void *(*memalign)(size_t align, size_t size);
	void *(*aligned_alloc)(size_t align, size_t size);
	int (*posix_memalign)(void **result, size_t align, size_t size);
	size_t (*usable_size)(void *p);
	int (*trim)(size_t pad);
	/* usable_size() knows what realloc() takes: both are of one allocator */
	bool sizes_known;
	/* its library, unless that is libc, which calls malloc() for programs */
	uintptr_t start, bytes;
};

extern struct preload_next preload_next;
/* Fill preload_next. Before there are threads. */
void preload_resolve(void);
/*
 * The name of a function that the program or a library before this one has too; NULL if
 * there is none. What the pool gives would not come back: malloc() may be ours, and free()
 * not. Only the loader is asked. To call the other function is no way to find out, since
 * this library starts before the one that has it.
 */
const char *preload_overridden(void);

/* Before there is a pool, and if there will be none: above every size. */
extern size_t preload_threshold;
/* NULL until the first large allocation. */
extern struct buddy_pool *preload_pool;
/* The calling thread is inside the library: what it allocates there is not the pool's. */
extern _Thread_local bool preload_inside __attribute__((tls_model("initial-exec")));

void preload_count(enum preload_count what, uint64_t n);
/* The pool, opened by the first call; NULL if it cannot be had. */
struct buddy_pool *preload_open(void);

/* An object of the pool is there to be looked at: is this one? */
static inline bool preload_owns(const void *p)
{
	struct buddy_pool *pool = __atomic_load_n(&preload_pool, __ATOMIC_ACQUIRE);

	return __builtin_expect(pool != NULL, 0) && buddy_pool_owns(pool, p);
}

#endif /* BUDDY_PRELOAD_H */
