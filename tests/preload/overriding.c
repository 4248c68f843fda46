// SPDX-License-Identifier: MIT
/*
 * overriding.c - programs that define a part of the malloc() family, or all of it.
 * tests/preload/allocators builds a program of each kind, with one of the macros below.
 *
 * Every program allocates, reallocates and frees a large buffer, and prints "ok".
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void __libc_free(void *p);

/* One of the family: the other functions are those of the libraries. */
#ifdef OWN_MALLOC
void *malloc(size_t size)
{
	return __libc_malloc(size);
}
#endif
#ifdef OWN_FREE
void free(void *p)
{
	__libc_free(p);
}
#endif
#ifdef OWN_REALLOC
void *realloc(void *p, size_t size)
{
	return __libc_realloc(p, size);
}
#endif
#ifdef OWN_USABLE_SIZE
/* As of chunks of libc, which keep their size before the buffer. */
size_t malloc_usable_size(void *p)
{
	return p ? (((size_t *)p)[-1] & ~(size_t)7) - sizeof(size_t) : 0;
}
#endif

/* A heap that its own constructor makes: before that, a malloc() is a SIGSEGV. */
#ifdef OWN_HEAP
#define HEAP_BYTES	((size_t)256 << 20)
#define HEAD		16

static char *heap;
static size_t heap_used;

__attribute__((constructor)) static void create_heap(void)
{
	heap = mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static size_t *head(void *p)
{
	return (size_t *)((char *)p - HEAD);
}

void *malloc(size_t size)
{
	char *p = heap + heap_used + HEAD;

	*head(p) = size;
	heap_used += HEAD + ((size + HEAD - 1) & ~(size_t)(HEAD - 1));
	return p;
}

void free(void *p)
{
	/* only what this malloc() has returned */
	if (p && ((char *)p < heap || (char *)p >= heap + heap_used))
		abort();
}

void *calloc(size_t count, size_t size)
{
	return malloc(count * size);
}

void *realloc(void *old, size_t size)
{
	void *p = malloc(size);

	if (old)
		memcpy(p, old, *head(old) < size ? *head(old) : size);
	return p;
}
#endif

/* On jemalloc's functions, as programs do that count what they allocate. */
#ifdef OWN_ON_JEMALLOC
void *mallocx(size_t size, int flags);
void *rallocx(void *p, size_t size, int flags);
void dallocx(void *p, int flags);

void *malloc(size_t size)
{
	return mallocx(size ? size : 1, 0);
}

void free(void *p)
{
	if (p)
		dallocx(p, 0);
}

void *calloc(size_t count, size_t size)
{
	return mallocx(count * size ? count * size : 1, 0x40);
}

void *realloc(void *p, size_t size)
{
	return p ? rallocx(p, size ? size : 1, 0) : malloc(size);
}
#endif

/* Keeps the compiler from what it knows of malloc(). */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

#ifdef WITH_PLUGIN
static bool plugin_works(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);
	bool (*plugin)(void) = NULL;

	if (library)
		*(void **)&plugin = dlsym(library, "plugin");
	return plugin && plugin();
}
#else
static bool plugin_works(const char *path)
{
	return !path;
}
#endif

/* In a program of fixed addresses the address of each lies in the program itself. */
#ifdef ADDRESSES
void *volatile addresses[] = { (void *)free, (void *)realloc, (void *)malloc,
			       (void *)calloc };
#endif

int main(int argc, char **argv)
{
	char *p = hidden(malloc(3 << 20));

	memset(p, 1, 3 << 20);
	p = hidden(realloc(p, 5 << 20));
	if (p[(3 << 20) - 1] != 1 || !plugin_works(argc > 1 ? argv[1] : NULL))
		return 1;
#if !defined(OWN_HEAP) && !defined(OTHER_HEAP)
	if (malloc_usable_size(p) < 5 << 20)
		return 1;
#endif
	free(p);
	puts("ok");
	return 0;
}
