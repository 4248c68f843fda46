// SPDX-License-Identifier: MIT
/*
 * jemalloc.c - jemalloc's own functions that take a pointer, for programs that give them
 * what malloc() returned, as its manual allows (folly does).
 *
 * They do the same without jemalloc, since a program may ask for each by a weak reference.
 * mallocx(), by which programs find out whether there is jemalloc, is not here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <string.h>

#include "preload.h"

#define LG_ALIGN_MASK	63
#define FLAG_ZERO	0x40

static void *(*next_rallocx)(void *p, size_t size, int flags);
static size_t (*next_xallocx)(void *p, size_t size, size_t extra, int flags);
static size_t (*next_sallocx)(const void *p, int flags);
static void (*next_dallocx)(void *p, int flags);
static void (*next_sdallocx)(void *p, size_t size, int flags);

extern void *mallocx(size_t size, int flags) __attribute__((weak));
void *rallocx(void *p, size_t size, int flags);
size_t xallocx(void *p, size_t size, size_t extra, int flags);
size_t sallocx(const void *p, int flags);
void dallocx(void *p, int flags);
void sdallocx(void *p, size_t size, int flags);

/* Where there is no jemalloc, a dlsym() would leave its message for the program. */
void preload_resolve_jemalloc(void)
{
	if (!mallocx)
		return;
	/* ISO C has no conversion from an object's address to a function's */
	*(void **)&next_rallocx = dlsym(RTLD_NEXT, "rallocx");
	*(void **)&next_xallocx = dlsym(RTLD_NEXT, "xallocx");
	*(void **)&next_sallocx = dlsym(RTLD_NEXT, "sallocx");
	*(void **)&next_dallocx = dlsym(RTLD_NEXT, "dallocx");
	*(void **)&next_sdallocx = dlsym(RTLD_NEXT, "sdallocx");
}

void *rallocx(void *old, size_t size, int flags)
{
	size_t align = (size_t)1 << (flags & LG_ALIGN_MASK), had;
	void *p;

	if (next_rallocx && !preload_owns(old))
		return next_rallocx(old, size, flags);
	had = malloc_usable_size(old);
	p = align > 1 ? memalign(align, size) : __real_malloc(size);
	if (!p)
		return NULL;
	memcpy(p, old, had < size ? had : size);
	if (flags & FLAG_ZERO && had < size)
		memset((char *)p + had, 0, malloc_usable_size(p) - had);
	__real_free(old);
	return p;
}

/* Never makes an object of the pool longer or shorter where it lies. */
size_t xallocx(void *p, size_t size, size_t extra, int flags)
{
	if (next_xallocx && !preload_owns(p))
		return next_xallocx(p, size, extra, flags);
	return malloc_usable_size(p);
}

size_t sallocx(const void *p, int flags)
{
	if (next_sallocx && !preload_owns(p))
		return next_sallocx(p, flags);
	return malloc_usable_size((void *)p);
}

void dallocx(void *p, int flags)
{
	if (next_dallocx && !preload_owns(p))
		next_dallocx(p, flags);
	else
		__real_free(p);
}

void sdallocx(void *p, size_t size, int flags)
{
	if (next_sdallocx && !preload_owns(p))
		next_sdallocx(p, size, flags);
	else
		__real_free(p);
}
