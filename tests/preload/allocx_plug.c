// SPDX-License-Identifier: MIT
/*
 * allocx_plug.c - a plugin that brings an allocator with functions named as jemalloc's
 * are, and calls them by their names. They are its own, whatever the program has.
 */
#include <stdbool.h>
#include <stddef.h>

void *mallocx(size_t size, int flags);
void *rallocx(void *p, size_t size, int flags);
size_t xallocx(void *p, size_t size, size_t extra, int flags);
size_t sallocx(const void *p, int flags);
void dallocx(void *p, int flags);
void sdallocx(void *p, size_t size, int flags);
bool plugin(void);

static char space[100];
static int in_use;

void *mallocx(size_t size, int flags)
{
	(void)flags;
	in_use++;
	return size <= sizeof(space) ? space : NULL;
}

void *rallocx(void *p, size_t size, int flags)
{
	(void)flags;
	return size <= sizeof(space) ? p : NULL;
}

size_t xallocx(void *p, size_t size, size_t extra, int flags)
{
	(void)size;
	(void)extra;
	return sallocx(p, flags);
}

size_t sallocx(const void *p, int flags)
{
	(void)flags;
	return p == space ? sizeof(space) : 0;
}

void dallocx(void *p, int flags)
{
	(void)flags;
	in_use -= p == space;
}

void sdallocx(void *p, size_t size, int flags)
{
	(void)size;
	dallocx(p, flags);
}

bool plugin(void)
{
	void *p = rallocx(mallocx(10, 0), 20, 0);
	bool right = sallocx(p, 0) == sizeof(space) && xallocx(p, 10, 0, 0) == sizeof(space);

	dallocx(p, 0);
	sdallocx(mallocx(10, 0), 10, 0);
	return right && !in_use;
}
