// SPDX-License-Identifier: MIT
/*
 * malloc.c - malloc() and its family, for LD_PRELOAD: what is at least as large as
 * the threshold comes from a pool of libbuddymem, everything else, and what the pool
 * has no memory for, from the allocator that the program has without this library
 * (next.c).
 *
 * The address of a pointer tells which of the two it belongs to. Functions that are made
 * of others (reallocarray(), valloc(), pvalloc()) call those by their names, so they
 * work if another library's malloc() comes before ours. errno is as malloc(3) says: set
 * if there is no memory, else kept.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

/* C23's; no header of today has them. */
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

static inline bool is_large(size_t size)
{
	return __builtin_expect(size >= preload_threshold, 0) && !preload_inside;
}

/* Of the function that has this. */
#define CALLER	((uintptr_t)__builtin_return_address(0))

/*
 * From the pool, or NULL. @align: a power of two; 1 for none. @zero: the first @size
 * bytes are zero. @caller: what the allocator behind this library asks for is its own.
 */
static void *large(size_t size, size_t align, bool zero, uintptr_t caller)
{
	int saved = errno;
	struct buddy_pool *pool;
	void *p = NULL;

	if (caller - preload_next.start < preload_next.bytes)
		return NULL;
	preload_inside = true;
	pool = preload_open();
	if (pool && zero)
		p = buddy_pool_zalloc(pool, 1, size);
	else if (pool)
		p = buddy_pool_alloc_aligned(pool, align, size);
	preload_inside = false;
	if (p) {
		preload_count(COUNT_SERVED, 1);
		preload_count(COUNT_SERVED_BYTES, size);
	} else {
		preload_count(pool ? COUNT_FULL : COUNT_CLOSED, 1);
	}
	errno = saved;
	return p;
}

/* Into the pool. A pointer that is none of its objects is a bug of the program. */
static void large_free(void *p)
{
	static const char text[] = "buddy_preload: free(): invalid pointer\n";
	bool inside = preload_inside;
	int saved = errno, err;

	preload_inside = true;
	err = buddy_pool_free(preload_pool, p);
	preload_inside = inside;
	/* of a child that a signal handler has made: it keeps what it has */
	if (err && err != -EPERM) {
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
		abort();
	}
	preload_count(COUNT_FREED, 1);
	errno = saved;
}

static size_t large_size(void *p)
{
	return buddy_pool_usable_size(preload_pool, p);
}

void *malloc(size_t size)
{
	void *p = is_large(size) ? large(size, 1, false, CALLER) : NULL;

	return p ? p : preload_next.malloc(size);
}

void free(void *p)
{
	if (preload_owns(p))
		large_free(p);
	else
		preload_next.free(p);
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	void *p = NULL;

	if (!__builtin_mul_overflow(count, size, &bytes) && is_large(bytes))
		p = large(bytes, 1, true, CALLER);
	return p ? p : preload_next.calloc(count, size);
}

/* What @old has is moved to @p, of @size bytes, or NULL. Return: @p */
static void *moved(void *p, size_t size, void *old, size_t old_size)
{
	if (p) {
		memcpy(p, old, old_size < size ? old_size : size);
		free(old);
	}
	return p;
}

static void *large_realloc(void *old, size_t size)
{
	int saved = errno;
	void *p;

	if (!size) {
		free(old);
		return NULL;
	}
	if (!is_large(size) && !preload_inside)
		return moved(malloc(size), size, old, large_size(old));
	preload_inside = true;
	p = buddy_pool_realloc(preload_pool, old, size);
	preload_inside = false;
	errno = saved;
	if (p)
		return p;
	preload_count(COUNT_FULL, 1);
	return moved(preload_next.malloc(size), size, old, large_size(old));
}

void *realloc(void *old, size_t size)
{
	void *p = NULL;

	if (!old)
		return malloc(size);
	if (preload_owns(old))
		return large_realloc(old, size);
	/* others move the pages of what is large already, and copy nothing */
	if (is_large(size) && preload_next.sizes_known &&
	    preload_next.usable_size(old) < preload_threshold)
		p = moved(large(size, 1, false, CALLER), size, old,
			  preload_next.usable_size(old));
	return p ? p : preload_next.realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, bytes);
}

static void *large_aligned(size_t align, size_t size, uintptr_t caller)
{
	bool power_of_two = align && !(align & (align - 1));

	return power_of_two && is_large(size) ? large(size, align, false, caller) : NULL;
}

void *memalign(size_t align, size_t size)
{
	void *p = large_aligned(align, size, CALLER);

	return p ? p : preload_next.memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	void *p = large_aligned(align, size, CALLER);

	return p ? p : preload_next.aligned_alloc(align, size);
}

int posix_memalign(void **result, size_t align, size_t size)
{
	void *p = align % sizeof(void *) ? NULL : large_aligned(align, size, CALLER);
	int saved = errno, err = 0;

	if (p)
		*result = p;
	else
		err = preload_next.posix_memalign(result, align, size);
	errno = saved;
	return err;
}

void *valloc(size_t size)
{
	return memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

void *pvalloc(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes;

	if (__builtin_add_overflow(size, page - 1, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign(page, bytes & ~(page - 1));
}

void free_sized(void *p, size_t size)
{
	(void)size;
	free(p);
}

void free_aligned_sized(void *p, size_t align, size_t size)
{
	(void)align;
	(void)size;
	free(p);
}

size_t malloc_usable_size(void *p)
{
	if (!p)
		return 0;
	return preload_owns(p) ? large_size(p) : preload_next.usable_size(p);
}

static bool trim_pool(void)
{
	struct buddy_pool_stats before = { .size = sizeof(before) }, after = before;

	buddy_pool_stats(preload_pool, &before);
	buddy_pool_trim(preload_pool);
	buddy_pool_stats(preload_pool, &after);
	return after.blocks_returned > before.blocks_returned;
}

/* Return: 1 if memory went back, as glibc's has it. */
int malloc_trim(size_t pad)
{
	bool trimmed = __atomic_load_n(&preload_pool, __ATOMIC_ACQUIRE) && trim_pool();

	return preload_next.trim(pad) || trimmed;
}
