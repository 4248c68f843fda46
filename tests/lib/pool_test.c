// SPDX-License-Identifier: MIT
/*
 * pool_test.c - the promises of buddy_pool_*, the same cases on both backends.
 *
 * Usage: pool_test process|device
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pools.h"

static bool all(const void *p, unsigned char byte, size_t size)
{
	const unsigned char *at = p;

	for (size_t i = 0; i < size; i++)
		if (at[i] != byte)
			return false;
	return true;
}

static void config(void)
{
	static const struct buddy_pool_config wrong[] = {
		{ .size = 4 },
		{ .size = sizeof(wrong[0]), .flags = 2 },
		{ .size = sizeof(wrong[0]), .chunk = 3 * MIB },
		{ .size = sizeof(wrong[0]), .chunk = 64 * KIB },
		{ .size = sizeof(wrong[0]), .chunk = 2048 * MIB },
		{ .size = sizeof(wrong[0]), .chunk = 4 * MIB, .limit = 2 * MIB },
	};
	struct { struct buddy_pool_config known; uint64_t more; } longer = {
		{ .size = sizeof(longer) }, 0
	};
	struct { struct buddy_pool_stats known; uint64_t more; } s;
	struct buddy_pool *pool = (void *)&pool;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		expect_eq(buddy_pool_create(dev, &wrong[i], &pool), -EINVAL);
		expect(!pool);
	}
	expect_eq(buddy_pool_create(dev, NULL, &pool), 0);
	expect_eq(pool_stats(pool).chunk, 2 * MIB);
	expect_eq(pool_stats(pool).limit, stats().out_region);
	expect_eq(pool_stats(pool).bytes, 0);
	buddy_pool_destroy(pool);
	buddy_pool_destroy(NULL);
	/* of an earlier and a later header */
	expect_eq(buddy_pool_create(dev, &longer.known, &pool), 0);
	memset(&s, 0xff, sizeof(s));
	s.known.size = sizeof(s);
	expect_eq(buddy_pool_stats(pool, &s.known), 0);
	expect(s.known.size == sizeof(s) && s.known.chunk == 2 * MIB && !s.more);
	s.known.bytes = s.known.size = 24;
	expect_eq(buddy_pool_stats(pool, &s.known), 0);
	expect(s.known.chunk == 2 * MIB && s.known.bytes == 24);
	s.known.size = 4;
	expect_eq(buddy_pool_stats(pool, &s.known), -EINVAL);
	buddy_pool_destroy(pool);
	longer.more = 1;
	expect_eq(buddy_pool_create(dev, &longer.known, &pool), -E2BIG);
	/* a limit below the usual chunk */
	pool = pool_with(0, 0, MIB);
	expect_eq(pool_stats(pool).chunk, MIB);
	expect(buddy_pool_alloc(pool, 1));
	buddy_pool_destroy(pool);
}

/* Rounding, alignment and usable size of every size that has a class, and above. */
static void sizes(void)
{
	struct buddy_pool *pool = pool_with(0, 0, 0);
	uint64_t before = used();

	for (size_t size = 0; size <= 2100 * KIB;
	     size += size < 70 * KIB ? 61 : 40009) {
		unsigned char *p = buddy_pool_alloc(pool, size);
		size_t usable = buddy_pool_usable_size(pool, p);

		expect(p && usable >= size && usable >= 64);
		expect((uintptr_t)p % 64 == 0);
		expect(usable <= 64 || usable <= size + size / 4 + 63 ||
		       usable <= size + 4 * KIB);
		memset(p, 1, usable);
		expect_eq(buddy_pool_free(pool, p), 0);
	}
	expect_eq(pool_stats(pool).objects, 0);
	expect_eq(pool_stats(pool).used, 0);
	expect_eq(buddy_pool_trim(pool), 0);
	expect_eq(pool_stats(pool).bytes, 0);
	expect_eq(used(), before);
	expect(!buddy_pool_alloc(pool, SIZE_MAX));
	expect(!buddy_pool_alloc(pool, (size_t)PTRDIFF_MAX));
	expect(!buddy_pool_alloc(pool, stats().out_region + 1));
	buddy_pool_destroy(pool);
}

static void alignments(void)
{
	struct buddy_pool *pool = pool_with(0, 0, 0);

	for (size_t align = 1; align <= 16 * MIB; align *= 2) {
		for (size_t size = 0; size <= 3 * align && size < 8 * MIB;
		     size += align / 3 + 1) {
			char *p = buddy_pool_alloc_aligned(pool, align, size);

			expect(p && (uintptr_t)p % align == 0);
			expect(buddy_pool_usable_size(pool, p) >= size);
			*p = 1;
			expect_eq(buddy_pool_free(pool, p), 0);
		}
	}
	/* of what is cut from trees and blocks, the alignment takes nothing */
	for (size_t align = 128 * KIB; align <= 16 * MIB; align *= 2) {
		void *p = buddy_pool_alloc_aligned(pool, align, 0);

		expect_eq(buddy_pool_usable_size(pool, p), 4 * KIB);
		expect_eq(buddy_pool_free(pool, p), 0);
		p = buddy_pool_alloc_aligned(pool, align, 68 * KIB);
		expect_eq(buddy_pool_usable_size(pool, p), 68 * KIB);
		expect_eq(buddy_pool_free(pool, p), 0);
	}
	expect_eq(pool_stats(pool).objects, 0);
	expect(!buddy_pool_alloc_aligned(pool, 0, 1));
	expect(!buddy_pool_alloc_aligned(pool, 3, 1));
	expect(!buddy_pool_alloc_aligned(pool, 2048 * MIB, 1));
	expect(!buddy_pool_alloc_aligned(pool, 64, SIZE_MAX));
	buddy_pool_destroy(pool);
}

static void zeroes(void)
{
	static const size_t lengths[] = { 1, 64, 1000, 60 * KIB, 300 * KIB, 3 * MIB };
	struct buddy_pool *pool = pool_with(0, 0, 0);

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 6; i++) {
			void *p = buddy_pool_zalloc(pool, 1, lengths[i]);

			expect(p && all(p, 0, lengths[i]));
			memset(p, 0xff, lengths[i]);
			expect_eq(buddy_pool_free(pool, p), 0);
		}
	}
	expect(!buddy_pool_zalloc(pool, SIZE_MAX / 2, 3));
	expect(buddy_pool_zalloc(pool, 0, 3));
	buddy_pool_destroy(pool);
}

static void reallocs(void)
{
	struct buddy_pool *pool = pool_with(0, 0, 0);
	unsigned char *p = buddy_pool_realloc(pool, NULL, 10), *q;
	size_t size = 10;

	memset(p, 3, 10);
	while (size < 5 * MIB) {
		size_t more = size + size / 2;

		p = buddy_pool_realloc(pool, p, more);
		expect(p && all(p, 3, size));
		memset(p, 3, more);
		size = more;
	}
	while (size > 10) {
		size = size / 3 + 1;
		p = buddy_pool_realloc(pool, p, size);
		expect(p && all(p, 3, size));
		expect(buddy_pool_usable_size(pool, p) <= 2 * size + 64);
	}
	expect_eq(pool_stats(pool).objects, 1);
	expect(!buddy_pool_realloc(pool, p, stats().out_region));
	expect(all(p, 3, size));
	expect(!buddy_pool_realloc(pool, &size, 10));
	expect_eq(buddy_pool_free(pool, p), 0);
	/* a large one grows where it is */
	p = buddy_pool_alloc(pool, 260 * KIB);
	q = buddy_pool_realloc(pool, p, 500 * KIB);
	expect(p == q);
	expect_eq(buddy_pool_usable_size(pool, p), 500 * KIB);
	expect_eq(buddy_pool_free(pool, p), 0);
	buddy_pool_destroy(pool);
}

static void wrong_frees(void)
{
	struct buddy_pool *pool = pool_with(0, 0, 0), *other = pool_with(0, 0, 0);
	char *p = buddy_pool_alloc(pool, 1000), *big = buddy_pool_alloc(pool, MIB);
	char *huge = buddy_pool_alloc(pool, 3 * MIB);
	int local;

	expect_eq(buddy_pool_free(pool, NULL), 0);
	expect_eq(buddy_pool_free(pool, &local), -EINVAL);
	expect_eq(buddy_pool_free(other, p), -EINVAL);
	expect_eq(buddy_pool_free(pool, p + 1), -EINVAL);
	expect_eq(buddy_pool_free(pool, p + 64), -EINVAL);
	expect_eq(buddy_pool_free(pool, big + 4096), -EINVAL);
	expect_eq(buddy_pool_free(pool, huge + 64), -EINVAL);
	expect_eq(buddy_pool_free(pool, huge + 30 * MIB), -EINVAL);
	expect_eq(buddy_pool_usable_size(pool, p + 64), 0);
	expect_eq(buddy_pool_usable_size(pool, &local), 0);
	expect_eq(buddy_pool_owns(pool, p), 1);
	expect_eq(buddy_pool_owns(other, p), 0);
	expect_eq(buddy_pool_free(pool, p), 0);
	expect_eq(buddy_pool_free(pool, big), 0);
	expect_eq(buddy_pool_free(pool, big), -EINVAL);
	expect_eq(buddy_pool_free(pool, huge), 0);
	expect_eq(buddy_pool_free(pool, huge), -EINVAL);
	expect_eq(pool_stats(pool).objects, 0);
	expect_eq(pool_stats(pool).bad_frees, 6);
	buddy_pool_destroy(pool);
	buddy_pool_destroy(other);
}

/* Grows by chunks to its limit, and gives them back, but one. */
static void chunks_come_and_go(void)
{
	struct buddy_pool *pool = pool_with(0, MIB, 8 * MIB);
	uint64_t before = used();
	void *p[300];
	int n = 0;

	while (n < 300 && (p[n] = buddy_pool_alloc(pool, 60 * KIB)))
		memset(p[n], n, 60 * KIB), n++;
	/* 60 KiB are in the class of 64 KiB */
	expect_eq(n, 8 * 16);
	expect_eq(pool_stats(pool).bytes, 8 * MIB);
	expect_eq(pool_stats(pool).blocks, 8);
	expect_eq(pool_stats(pool).fails, 1);
	expect_eq(used(), before + 8 * MIB);
	for (int i = 0; i < n; i++) {
		expect(all(p[i], (unsigned char)i, 60 * KIB));
		expect_eq(buddy_pool_free(pool, p[i]), 0);
	}
	expect(pool_stats(pool).bytes <= 2 * MIB);
	expect(pool_stats(pool).blocks_returned >= 6);
	expect_eq(buddy_pool_trim(pool), 0);
	expect_eq(pool_stats(pool).bytes, 0);
	expect_eq(used(), before);
	buddy_pool_destroy(pool);
}

/* What a thread keeps is not in the way of a larger object. */
static void own_cache_is_no_shortage(void)
{
	struct buddy_pool *pool = pool_with(0, MIB, MIB);
	void *p[32];

	for (int i = 0; i < 32; i++)
		p[i] = buddy_pool_alloc(pool, 20 * KIB);
	for (int i = 0; i < 32; i++)
		buddy_pool_free(pool, p[i]);
	expect(pool_stats(pool).cached > 0);
	p[0] = buddy_pool_alloc(pool, 512 * KIB);
	p[1] = buddy_pool_alloc(pool, 512 * KIB);
	expect(p[0] && p[1]);
	expect(!buddy_pool_alloc(pool, 1));
	buddy_pool_destroy(pool);
}

/* The end of a pool gives back what is in use. */
static void destroy_with_objects(void)
{
	uint64_t before = used();
	struct buddy_pool *pool = pool_with(0, 0, 0);

	for (int i = 0; i < 100; i++)
		expect(buddy_pool_alloc(pool, (size_t)i * 37 * KIB + 1) || i > 30);
	expect(used() > before);
	buddy_pool_destroy(pool);
	expect_eq(used(), before);
}

static void *free_all(void *arg)
{
	void **p = arg;

	for (int i = 1; i < 1000; i++)
		buddy_pool_free(p[0], p[i]);
	return NULL;
}

/* Objects of one thread, freed by another that ends: all come back. */
static void threads_end(void)
{
	uint64_t before = used();
	struct buddy_pool *pool = pool_with(0, 0, 0), *other = pool_with(0, 0, 0);
	void *p[1000] = { pool };
	pthread_t t;

	for (int round = 0; round < 5; round++) {
		for (int i = 1; i < 1000; i++) {
			p[i] = buddy_pool_alloc(pool, (size_t)i * 7);
			memset(p[i], 1, (size_t)i * 7);
			buddy_pool_free(other, buddy_pool_alloc(other, 64));
		}
		expect(!pthread_create(&t, NULL, free_all, p));
		pthread_join(t, NULL);
		expect_eq(pool_stats(pool).objects, 0);
	}
	expect_eq(buddy_pool_trim(pool), 0);
	expect_eq(pool_stats(pool).bytes, 0);
	buddy_pool_destroy(pool);
	buddy_pool_destroy(other);
	expect_eq(used(), before);
}

static void fork_shares(void)
{
	struct buddy_pool *pool = pool_with(0, 0, 0);
	char *p = buddy_pool_alloc(pool, 100), *q = buddy_pool_alloc(pool, 3 * MIB);
	uint64_t before = used();
	int status;
	pid_t pid = fork();

	if (!pid) {
		bool ok = !buddy_pool_alloc(pool, 100) && !buddy_pool_alloc(pool, MIB) &&
			  !buddy_pool_realloc(pool, p, 1000) &&
			  buddy_pool_free(pool, p) == -EPERM &&
			  buddy_pool_trim(pool) == -EPERM &&
			  buddy_pool_usable_size(pool, p) == 128;

		p[5] = q[3 * MIB - 1] = 5;
		buddy_pool_destroy(pool);
		_exit(ok ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_eq(p[5], 5);
	expect_eq(q[3 * MIB - 1], 5);
	expect_eq(used(), before);
	expect_eq(buddy_pool_free(pool, p), 0);
	expect_eq(buddy_pool_free(pool, q), 0);
	buddy_pool_destroy(pool);
}

static bool child_of_copy(struct buddy_pool *pool, unsigned char *p,
			  unsigned char *q, unsigned char *large)
{
	bool ok = all(p, 1, 100) && all(q, 2, 3 * MIB) && all(large, 3, 500 * KIB);
	unsigned char *own;

	memset(p, 9, 100);
	memset(q, 9, 3 * MIB);
	memset(large, 9, 500 * KIB);
	for (int i = 0; i < 100; i++) {
		own = buddy_pool_zalloc(pool, 1, (size_t)i * KIB * 11);
		ok = ok && own && all(own, 0, (size_t)i * KIB * 11);
		memset(own, 9, (size_t)i * KIB * 11);
		ok = ok && !buddy_pool_free(pool, own);
	}
	ok = ok && !buddy_pool_free(pool, p) && !buddy_pool_free(pool, q) &&
	     !buddy_pool_free(pool, large) && !buddy_pool_trim(pool);
	buddy_pool_destroy(pool);
	return ok;
}

static void fork_copies(void)
{
	struct buddy_dev *own;
	struct buddy_pool_config c = {
		.size = sizeof(c),
		.flags = BUDDY_POOL_FORK_COPY,
	};
	struct buddy_pool *pool;
	unsigned char *p, *q, *large;
	int status;
	pid_t pid;

	expect_eq(buddy_dev_open(&own, backend, NULL, 64 * MIB), 0);
	expect_eq(buddy_pool_create(own, &c, &pool), 0);
	p = buddy_pool_alloc(pool, 100);
	q = buddy_pool_alloc(pool, 3 * MIB);
	large = buddy_pool_alloc(pool, 500 * KIB);
	memset(p, 1, 100);
	memset(q, 2, 3 * MIB);
	memset(large, 3, 500 * KIB);
	pid = fork();
	if (!pid)
		_exit(child_of_copy(pool, p, q, large) ? 0 : 1);
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect(all(p, 1, 100));
	expect(all(q, 2, 3 * MIB));
	expect(all(large, 3, 500 * KIB));
	expect_eq(buddy_pool_free(pool, p), 0);
	expect_eq(buddy_pool_free(pool, q), 0);
	expect_eq(buddy_pool_free(pool, large), 0);
	buddy_pool_destroy(pool);
	buddy_dev_close(own);
}

static _Atomic bool stop;

static void *churner(void *arg)
{
	struct buddy_pool *pool = arg;

	for (unsigned int i = 0; !stop; i++) {
		size_t size = i * 97 % (200 * KIB);
		unsigned char *p = buddy_pool_alloc(pool, size + 1);

		if (p) {
			p[0] = p[size] = 1;
			buddy_pool_free(pool, p);
		}
	}
	return NULL;
}

/* Forks amid the calls of other threads; each child finds a whole pool. */
static void forks_amid_threads(void)
{
	struct buddy_pool_config c = {
		.size = sizeof(c),
		.flags = BUDDY_POOL_FORK_COPY,
	};
	struct buddy_dev *own;
	struct buddy_pool *pool;
	pthread_t t[2];
	int status;

	expect_eq(buddy_dev_open(&own, backend, NULL, 64 * MIB), 0);
	expect_eq(buddy_pool_create(own, &c, &pool), 0);
	stop = false;
	for (int i = 0; i < 2; i++)
		expect(!pthread_create(&t[i], NULL, churner, pool));
	for (int i = 0; i < 30; i++) {
		pid_t pid = fork();

		if (!pid) {
			bool ok = true;

			for (size_t k = 0; k < 300; k++) {
				void *p = buddy_pool_alloc(pool, k * 1000);

				ok = ok && p && !buddy_pool_free(pool, p);
			}
			_exit(ok ? 0 : 1);
		}
		waitpid(pid, &status, 0);
		expect_eq(status, 0);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	expect_eq(pool_stats(pool).objects, 0);
	buddy_pool_destroy(pool);
	buddy_dev_close(own);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "configuration", config },
		{ "sizes", sizes },
		{ "alignments", alignments },
		{ "zeroes", zeroes },
		{ "realloc", reallocs },
		{ "wrong frees", wrong_frees },
		{ "chunks come and go", chunks_come_and_go },
		{ "what a thread keeps is no shortage", own_cache_is_no_shortage },
		{ "destroyed with objects", destroy_with_objects },
		{ "threads that end", threads_end },
		{ "a fork shares", fork_shares },
		{ "a fork copies", fork_copies },
		{ "forks amid threads", forks_amid_threads },
	};

	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
