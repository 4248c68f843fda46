// SPDX-License-Identifier: MIT
/*
 * family_test.c - malloc() and its family as the standards and glibc have them, run
 * with libbuddymem_preload.so before libc.
 *
 * Usage: BUDDY_BACKEND=... LD_PRELOAD=... family_test
 *
 * In /proc/self/maps, buffers of the pool are "buddy" mappings. So each case also sees
 * whether what is large went there, and what is small did not.
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

/* Is the mapping at @p one of the memfd or of the device? */
static bool in_pool(const void *p)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];
	bool found = false;

	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 &&
		    (uintptr_t)p >= from && (uintptr_t)p < to)
			found = strstr(line, "buddy") != NULL;
	fclose(maps);
	return found;
}

static bool all(const void *p, unsigned char byte, size_t size)
{
	const unsigned char *at = p;

	return !size || (at[0] == byte && !memcmp(at, at + 1, size - 1));
}

/* Keeps the compiler from what it knows of malloc(). */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static volatile size_t too_many = SIZE_MAX / 2;

static void large_and_small(void)
{
	char *small = hidden(malloc(MIB - 1)), *large = hidden(malloc(MIB));

	expect(!in_pool(small));
	expect(in_pool(large));
	expect(malloc_usable_size(small) >= MIB - 1);
	expect(malloc_usable_size(large) >= MIB);
	expect_eq(malloc_usable_size(NULL), 0);
	memset(large, 1, malloc_usable_size(large));
	free(small);
	free(large);
	free(NULL);
}

static void zero(void)
{
	for (int i = 0; i < 3; i++) {
		unsigned char *p = hidden(calloc(3, MIB));

		expect(in_pool(p));
		expect(all(p, 0, 3 * MIB));
		memset(p, 0xff, 3 * MIB);
		free(p);
	}
	errno = 0;
	expect(!hidden(calloc(too_many, 3)));
	expect_eq(errno, ENOMEM);
}

static void reallocs(void)
{
	unsigned char *p = hidden(realloc(NULL, 1000));

	memset(p, 5, 1000);
	p = hidden(realloc(p, 2 * MIB));
	expect(in_pool(p) && all(p, 5, 1000));
	memset(p, 6, 2 * MIB);
	p = hidden(realloc(p, 9 * MIB));
	expect(in_pool(p) && all(p, 6, 2 * MIB));
	p = hidden(reallocarray(p, 100, 10));
	expect(!in_pool(p) && all(p, 6, 1000));
	p = hidden(reallocarray(p, 3, MIB));
	expect(in_pool(p) && all(p, 6, 1000));
	/* what fails leaves the buffer; the compiler does not know */
	errno = 0;
	expect(!hidden(reallocarray(hidden(p), too_many, 3)));
	expect_eq(errno, ENOMEM);
	errno = 0;
	expect(!hidden(realloc(hidden(p), (size_t)PTRDIFF_MAX)));
	expect_eq(errno, ENOMEM);
	expect(in_pool(p) && all(p, 6, 1000));
	expect(!hidden(realloc(hidden(p), 0)));
}

static void alignments(void)
{
	for (size_t align = sizeof(void *); align <= 8 * MIB; align *= 2) {
		void *p = NULL;

		expect_eq(posix_memalign(&p, align, 2 * MIB), 0);
		expect(in_pool(p) && (uintptr_t)p % align == 0);
		free(p);
		expect_eq(posix_memalign(&p, align, 100), 0);
		expect(!in_pool(p) && (uintptr_t)p % align == 0);
		free(p);
		p = hidden(aligned_alloc(align, 2 * MIB));
		expect(in_pool(p) && (uintptr_t)p % align == 0);
		free(p);
		p = hidden(memalign(align, 2 * MIB));
		expect(in_pool(p) && (uintptr_t)p % align == 0);
		free(p);
	}
}

static void wrong_alignments(void)
{
	void *p = &p;

	errno = 7;
	expect_eq(posix_memalign(&p, 3, 2 * MIB), EINVAL);
	expect_eq(posix_memalign(&p, 4, 2 * MIB), EINVAL);
	expect_eq(posix_memalign(&p, 0, 2 * MIB), EINVAL);
	expect_eq(posix_memalign(&p, 64, (size_t)PTRDIFF_MAX), ENOMEM);
	expect(p == &p);
	expect_eq(errno, 7);
}

static void pages(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = hidden(valloc(MIB)), *q = hidden(pvalloc(MIB + 1));

	expect(in_pool(p) && (uintptr_t)p % page == 0);
	expect(in_pool(q) && (uintptr_t)q % page == 0);
	expect(malloc_usable_size(q) >= MIB + page);
	free(p);
	free(q);
	expect(!hidden(pvalloc(SIZE_MAX)));
}

static void keeps_errno(void)
{
	int status;
	pid_t pid;
	void *p;

	errno = 7;
	p = hidden(malloc(2 * MIB));
	p = hidden(realloc(p, 20 * MIB));
	free(p);
	free(hidden(calloc(1, 2 * MIB)));
	expect_eq(errno, 7);
	p = hidden(malloc(2 * MIB));
	pid = fork();
	if (!pid)
		_exit(errno != 7);
	expect_eq(errno, 7);
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	free(p);
}

/* More than the region has: the rest is libc's. */
static void full(void)
{
	static unsigned char *p[64];
	int pool = 0;

	for (int i = 0; i < 64; i++) {
		p[i] = hidden(malloc(3 * MIB));
		memset(p[i], i, 3 * MIB);
		pool += in_pool(p[i]);
	}
	expect(pool > 5 && pool < 64);
	for (int i = 0; i < 64; i++) {
		expect(all(p[i], (unsigned char)i, 3 * MIB));
		p[i] = hidden(realloc(p[i], 3 * MIB + MIB / 2));
		expect(all(p[i], (unsigned char)i, 3 * MIB));
		free(p[i]);
	}
	p[0] = hidden(malloc(3 * MIB));
	expect(in_pool(p[0]));
	free(p[0]);
}

static void *churn(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	unsigned char *p[8] = { NULL };
	uintptr_t bad = 0;

	for (int i = 0; i < 200; i++) {
		int k = rand_r(&seed) % 8;
		size_t size = 1 + (size_t)rand_r(&seed) % (3 * MIB);

		bad += p[k] && *p[k] != k;
		if (rand_r(&seed) % 2) {
			free(p[k]);
			p[k] = malloc(size);
		} else {
			p[k] = realloc(p[k], size);
		}
		p[k][size - 1] = 1;
		p[k][0] = (unsigned char)k;
	}
	for (int k = 0; k < 8; k++)
		free(p[k]);
	return (void *)bad;
}

static void threads(void)
{
	pthread_t t[4];
	void *bad;

	for (uintptr_t i = 0; i < 4; i++)
		expect(!pthread_create(&t[i], NULL, churn, (void *)(i + 1)));
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		expect(!bad);
	}
}

/* The child has a copy, and what it writes is its own; so through generations. */
static void forks(void)
{
	unsigned char *p = hidden(malloc(5 * MIB));
	int status;
	pid_t pid;

	memset(p, 1, 5 * MIB);
	pid = fork();
	if (!pid) {
		bool ok = all(p, 1, 5 * MIB);
		unsigned char *own = hidden(malloc(2 * MIB));

		memset(p, 2, 5 * MIB);
		memset(own, 3, 2 * MIB);
		pid = fork();
		if (!pid) {
			ok = ok && all(p, 2, 5 * MIB) && all(own, 3, 2 * MIB);
			memset(own, 4, 2 * MIB);
			free(p);
			free(own);
			_exit(ok ? 0 : 1);
		}
		waitpid(pid, &status, 0);
		ok = ok && !status && all(own, 3, 2 * MIB) && in_pool(own);
		free(own);
		free(p);
		_exit(ok ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect(all(p, 1, 5 * MIB));
	free(p);
}

static volatile bool stop;

static void *churn_until(void *arg)
{
	while (!stop)
		churn(arg);
	return NULL;
}

static void forks_amid_threads(void)
{
	pthread_t t[2];
	int status;

	for (uintptr_t i = 0; i < 2; i++)
		expect(!pthread_create(&t[i], NULL, churn_until, (void *)(i + 7)));
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(churn((void *)3) ? 1 : 0);
		waitpid(pid, &status, 0);
		expect_eq(status, 0);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

/* As daemons and shells do. What is mapped lives; what is new is libc's. */
static void descriptors_closed(void)
{
	unsigned char *p = hidden(malloc(20 * MIB)), *q;

	memset(p, 1, 20 * MIB);
	expect(in_pool(p));
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	q = hidden(malloc(20 * MIB));
	expect(q && !in_pool(q));
	memset(q, 2, 20 * MIB);
	expect(all(p, 1, 20 * MIB));
	free(p);
	free(q);
}

/* One empty block stays with the pool until it is told. */
static void trim(void)
{
	void *p = hidden(malloc(2 * MIB));

	free(p);
	expect(in_pool(p));
	expect_eq(malloc_trim(0), 1);
	expect(!in_pool(p));
}

int main(void)
{
	static const struct tap_case cases[] = {
		{ "large and small", large_and_small },
		{ "calloc", zero },
		{ "realloc", reallocs },
		{ "alignments", alignments },
		{ "wrong alignments", wrong_alignments },
		{ "valloc, pvalloc", pages },
		{ "errno is kept", keeps_errno },
		{ "a full region", full },
		{ "malloc_trim", trim },
		{ "threads", threads },
		{ "forks", forks },
		{ "forks amid threads", forks_amid_threads },
		{ "a program that closes all descriptors", descriptors_closed },
	};

	return tap_run(cases, TAP_COUNT(cases));
}
