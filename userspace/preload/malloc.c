// SPDX-License-Identifier: MIT
/*
 * malloc.c - malloc() and its family, for LD_PRELOAD: what is at least as large as
 * the threshold comes from a pool of libbuddymem, everything else, and what the pool
 * has no memory for, from libc.
 *
 * Whose a pointer is its address tells. libc's functions are reached by glibc's own
 * names for them, not by dlsym(), which may allocate; those that have no such name are
 * looked up when the program starts. errno is as malloc(3) says: set
 * where there is no memory, else kept.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <dlfcn.h>
#include <unistd.h>

#include "preload.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static inline bool is_large(size_t size)
{
	return __builtin_expect(size >= preload_threshold, 0) && !preload_inside;
}

/*
 * From the pool, or NULL. @align: a power of two; 1 for none. @zero: the first @size
 * bytes are zero.
 */
static void *large(size_t size, size_t align, bool zero)
{
	int saved = errno;
	struct buddy_pool *pool;
	void *p = NULL;

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
	void *p = is_large(size) ? large(size, 1, false) : NULL;

	return p ? p : __libc_malloc(size);
}

void free(void *p)
{
	if (preload_owns(p))
		large_free(p);
	else
		__libc_free(p);
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	void *p = NULL;

	if (!__builtin_mul_overflow(count, size, &bytes) && is_large(bytes))
		p = large(bytes, 1, true);
	return p ? p : __libc_calloc(count, size);
}

/* A buffer of libc that becomes large, or one of the pool that becomes small. */
static void *move(void *old, size_t old_size, size_t size)
{
	void *p = malloc(size);

	if (!p)
		return NULL;
	memcpy(p, old, old_size < size ? old_size : size);
	free(old);
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
		return move(old, large_size(old), size);
	preload_inside = true;
	p = buddy_pool_realloc(preload_pool, old, size);
	preload_inside = false;
	errno = saved;
	return p ? p : move(old, large_size(old), size);
}

void *realloc(void *old, size_t size)
{
	int saved = errno;
	void *p = NULL;

	if (!old)
		return malloc(size);
	if (preload_owns(old))
		return large_realloc(old, size);
	/* libc moves the pages of what is large already, and copies nothing */
	if (is_large(size) && malloc_usable_size(old) < preload_threshold)
		p = move(old, malloc_usable_size(old), size);
	if (p)
		return p;
	/* where there is no memory for two, libc may make it longer where it is */
	errno = saved;
	return __libc_realloc(old, size);
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

void *memalign(size_t align, size_t size)
{
	void *p = NULL;

	if (is_large(size) && align && !(align & (align - 1)))
		p = large(size, align, false);
	return p ? p : __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int posix_memalign(void **result, size_t align, size_t size)
{
	int saved = errno;
	void *p;

	if (align % sizeof(void *) || !align || (align & (align - 1)))
		return EINVAL;
	p = memalign(align, size);
	errno = saved;
	if (!p)
		return ENOMEM;
	*result = p;
	return 0;
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

static size_t (*libc_usable_size)(void *p);
static int (*libc_trim)(size_t pad);

/*
 * dlsym() takes the loader's lock, which a thread of the program must not wait for: the
 * one in dlopen() may wait for that thread. So it is called before there are threads.
 */
void preload_resolve(void)
{
	/* ISO C has no conversion from an object's address to a function's */
	*(void **)&libc_usable_size = dlsym(RTLD_NEXT, "malloc_usable_size");
	*(void **)&libc_trim = dlsym(RTLD_NEXT, "malloc_trim");
}

size_t malloc_usable_size(void *p)
{
	if (!p)
		return 0;
	if (preload_owns(p))
		return large_size(p);
	/* a library's start that is before ours */
	if (!libc_usable_size)
		preload_resolve();
	return libc_usable_size(p);
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

	return (libc_trim && libc_trim(pad)) || trimmed;
}
