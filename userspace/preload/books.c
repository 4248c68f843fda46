// SPDX-License-Identifier: MIT
/*
 * books.c - memory for libbuddymem inside this library: a mapping for each object.
 *
 * The library allocates and frees what describes a block while it holds its locks, and in
 * fork handlers. The allocator of the program has locks and fork handlers, too, and in
 * which order both take theirs at fork() is beyond us: jemalloc registers at its first
 * malloc(), tcmalloc at its start. So the library calls no allocator. The linker puts these
 * functions in the place of those that its objects call (--wrap; Makefile.inc).
 *
 * Every such object is one of a device, or of a block of at least 128 KiB, so a page for it
 * is little.
 */

#include "pool.h"

/* Before each object; keeps its alignment. */
struct head {
	size_t bytes;		/* of the mapping */
} __attribute__((aligned(64)));

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void __wrap_free(void *p);

void *__wrap_malloc(size_t size)
{
	struct head *head = NULL;
	size_t bytes;

	if (!__builtin_add_overflow(size, sizeof(*head), &bytes))
		head = buddy_books_alloc(bytes);
	if (!head)
		return NULL;
	head->bytes = bytes;
	return head + 1;
}

/* What is mapped is zero. */
void *__wrap_calloc(size_t count, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(count, size, &bytes) ? NULL : __wrap_malloc(bytes);
}

/* @align: at most that of the head. */
void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return align <= _Alignof(struct head) ? __wrap_malloc(size) : NULL;
}

void __wrap_free(void *p)
{
	struct head *head = p;

	if (p)
		buddy_books_free(head - 1, head[-1].bytes);
}
