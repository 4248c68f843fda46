// SPDX-License-Identifier: MIT
/*
 * allocator_test.c - the malloc() family of a program that has another allocator than
 * libc's (linked, or preloaded before or after libbuddymem_preload.so): what one
 * function of the family returns, every other one takes.
 *
 * Usage: LD_PRELOAD=... allocator_test
 *
 * tests/preload/allocators links it with each allocator and runs it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#define MIB	(1u << 20)
#define SECONDS	120

/* C23; libraries of today's Debian do not have them. */
void free_sized(void *p, size_t size) __attribute__((weak));
void free_aligned_sized(void *p, size_t align, size_t size) __attribute__((weak));
/* jemalloc's own */
void *mallocx(size_t size, int flags) __attribute__((weak));
void *rallocx(void *p, size_t size, int flags) __attribute__((weak));
size_t xallocx(void *p, size_t size, size_t extra, int flags) __attribute__((weak));
size_t sallocx(const void *p, int flags) __attribute__((weak));
void dallocx(void *p, int flags) __attribute__((weak));
void sdallocx(void *p, size_t size, int flags) __attribute__((weak));

#define LG_ALIGN_64	6
#define ZERO		0x40

/* Around the thresholds of 4 KiB and 1 MiB, and beyond half a chunk of the pool. */
static const size_t sizes[] = { 1, 100, 4095, 4096, 70000, MIB - 1, MIB, 5 * MIB };

#define FOR_SIZES(size)	\
	for (size_t i_##size = 0, size; \
	     i_##size < TAP_COUNT(sizes) && (size = sizes[i_##size], 1); i_##size++)

/* Keeps the compiler from what it knows of malloc(). */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static bool all(const void *p, unsigned char byte, size_t size)
{
	const unsigned char *at = p;

	return !size || (at[0] == byte && !memcmp(at, at + 1, size - 1));
}

/* All that malloc_usable_size() tells may be written. */
static void *filled(void *p, size_t size)
{
	expect(p && malloc_usable_size(p) >= size);
	memset(p, 7, malloc_usable_size(p));
	return p;
}

static void usable(void)
{
	FOR_SIZES(size) {
		free(filled(hidden(malloc(size)), size));
		free(filled(hidden(realloc(NULL, size)), size));
		free(filled(hidden(reallocarray(NULL, 1, size)), size));
		free(filled(hidden(aligned_alloc(64, (size + 63) & ~63ul)), size));
		free(filled(hidden(memalign(128, size)), size));
		free(filled(hidden(valloc(size)), size));
		free(filled(hidden(pvalloc(size)), size));
	}
	expect_eq(malloc_usable_size(NULL), 0);
}

static void zero(void)
{
	FOR_SIZES(size) {
		unsigned char *p = hidden(calloc(1, size));

		expect(p && all(p, 0, size));
		free(filled(p, size));
	}
}

static void reallocs(void)
{
	FOR_SIZES(from) {
		FOR_SIZES(to) {
			unsigned char *p = filled(hidden(malloc(from)), from);

			p = hidden(realloc(p, to));
			expect(all(p, 7, from < to ? from : to));
			p = hidden(reallocarray(filled(p, to), 1, from));
			expect(all(p, 7, from < to ? from : to));
			free(p);
		}
	}
}

static void alignments(void)
{
	for (size_t align = sizeof(void *); align <= MIB; align *= 4) {
		FOR_SIZES(size) {
			void *p = NULL;

			expect_eq(posix_memalign(&p, align, size), 0);
			expect((uintptr_t)p % align == 0);
			p = hidden(realloc(filled(p, size), size + 1));
			expect(all(p, 7, size));
			free(p);
		}
	}
	/* what the standards call wrong stays so */
	expect_eq(posix_memalign(&(void *){ NULL }, 3, 100), EINVAL);
	expect_eq(posix_memalign(&(void *){ NULL }, 3, 2 * MIB), EINVAL);
}

static void hopeless(void)
{
	static volatile size_t much = SIZE_MAX / 4;
	void *p = filled(hidden(malloc(100)), 100);

	errno = 0;
	expect(!hidden(malloc(much)));
	expect_eq(errno, ENOMEM);
	expect(!hidden(realloc(hidden(p), much)));
	expect(!hidden(calloc(much, 8)));
	expect_eq(posix_memalign(&(void *){ NULL }, 64, much), ENOMEM);
	expect(all(p, 7, 100));
	free(p);
}

static void sized(void)
{
	FOR_SIZES(size) {
		if (free_sized)
			free_sized(filled(hidden(malloc(size)), size), size);
		if (free_aligned_sized)
			free_aligned_sized(filled(hidden(aligned_alloc(64, size)), size),
					   64, size);
	}
}

/* The family takes what jemalloc's own functions return, as its manual says. */
static void with_flags(void)
{
	if (!mallocx)
		return;
	FOR_SIZES(size) {
		unsigned char *p = filled(mallocx(size, 0), size);

		free(p);
		p = hidden(realloc(filled(mallocx(size, 0), size), size + 1));
		expect(all(p, 7, size));
		free(p);
		p = filled(mallocx(size, 0), size);
		expect(sallocx(p, 0) >= size);
		expect(xallocx(p, size, 0, 0) >= size);
		p = rallocx(p, size + 2 * MIB, LG_ALIGN_64 | ZERO);
		expect((uintptr_t)p % 64 == 0 && all(p, 7, size));
		expect(all(p + sallocx(p, 0) - MIB, 0, MIB));
		p = rallocx(filled(p, size), size, 0);
		expect(all(p, 7, size));
		dallocx(p, 0);
		sdallocx(mallocx(size, 0), size, 0);
	}
}

static void trim(void)
{
	free(filled(hidden(malloc(2 * MIB)), 2 * MIB));
	expect(malloc_trim(0) >= 0);
}

static volatile bool stop;

/* The last size makes the pool take and return a block of the device. */
static void *churn(void *unused)
{
	size_t k = 0;

	while (!stop) {
		size_t size = sizes[k++ % TAP_COUNT(sizes)];
		unsigned char *p = malloc(size);

		p[0] = p[size - 1] = 1;
		p = realloc(p, size + 5000);
		free(p);
	}
	return unused;
}

/* The locks of both allocators are free in the child, and no fork() waits for ever. */
static void forks(void)
{
	pthread_t t[2];
	int status;

	for (int i = 0; i < 2; i++)
		expect(!pthread_create(&t[i], NULL, churn, NULL));
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid) {
			FOR_SIZES(size)
				free(realloc(malloc(size), size + 5000));
			_exit(0);
		}
		waitpid(pid, &status, 0);
		expect_eq(status, 0);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

int main(void)
{
	static const struct tap_case cases[] = {
		{ "malloc_usable_size", usable },
		{ "calloc", zero },
		{ "realloc", reallocs },
		{ "alignments", alignments },
		{ "no memory", hopeless },
		{ "free_sized", sized },
		{ "mallocx and its kind", with_flags },
		{ "malloc_trim", trim },
		{ "forks amid threads", forks },
	};

	alarm(SECONDS);
	return tap_run(cases, TAP_COUNT(cases));
}
