/* SPDX-License-Identifier: MIT */
/*
 * preload.h - what the two halves of libbuddymem_preload.so share: state.c opens the
 * pool and keeps the counters, malloc.c is what programs call.
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
	COUNT_FULL,		/* large, but the pool had no memory: libc's */
	COUNT_CLOSED,		/* large, but there is no pool: libc's */
	COUNT_END,
};

/* Before there is a pool, and where there will be none: above every size. */
extern size_t preload_threshold;
/* NULL until the first large allocation. */
extern struct buddy_pool *preload_pool;
/* The calling thread is inside the library: what it allocates there is libc's. */
extern _Thread_local bool preload_inside __attribute__((tls_model("initial-exec")));

/* Finds the functions of libc that have no other name. Before there are threads. */
void preload_resolve(void);
void preload_count(enum preload_count what, uint64_t n);
/* The pool, opened by the first call; NULL where it cannot be had. */
struct buddy_pool *preload_open(void);

/* An object of the pool is there to be looked at: is this one? */
static inline bool preload_owns(const void *p)
{
	struct buddy_pool *pool = __atomic_load_n(&preload_pool, __ATOMIC_ACQUIRE);

	return __builtin_expect(pool != NULL, 0) && buddy_pool_owns(pool, p);
}

#endif /* BUDDY_PRELOAD_H */
