// SPDX-License-Identifier: MIT
/*
 * pool_bench.c - buddy_pool_* beside the malloc() of the process, which LD_PRELOAD
 * chooses. Run by tests/bench/pool (make bench-pool).
 *
 * Usage: pool_bench ratios ROUNDS | pool_bench count
 *
 * ratios: each stream ROUNDS times with the pool and with malloc(), in turns; prints
 * per stream the medians of CPU time in ns per operation of both, and of the ratio of
 * the pairs. count: each stream once, for callgrind, with a dump named after stream
 * and allocator; "none" is what the stream itself costs.
 *
 * Streams (an operation is one alloc or one free)
 *   lifo     64 bytes, freed at once
 *   stack    64 bytes, 1000 of them, freed in the opposite order
 *   churn    1024 slots; each step frees what a random one has and allocates 64 bytes
 *            to 64 KiB, log-uniform, of which the first word is written
 *   threads  churn in two threads at once
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <valgrind/callgrind.h>

#include <buddy_mem.h>

#define SLOTS	1024
#define STEPS	(1u << 16)
#define MAX_ROUNDS 1001

struct step {
	uint32_t slot;
	uint32_t size;
};

struct slots {
	void *object[SLOTS];
};

static struct buddy_pool *pool;
static struct step steps[STEPS];
static struct slots slots[2][2];	/* by thread and allocator */
static char none_memory[64];

static uint64_t rnd(void)
{
	static uint64_t seed = 0x9e3779b97f4a7c15ull;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull >> 20;
}

enum allocator { POOL, MALLOC, NONE };
static const char *const allocator_names[] = { "pool", "malloc", "none" };

static inline __attribute__((always_inline)) void *get(enum allocator a, size_t size)
{
	void *p = none_memory;

	if (a == POOL)
		p = buddy_pool_alloc(pool, size);
	else if (a == MALLOC)
		p = malloc(size);
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static inline __attribute__((always_inline)) void put(enum allocator a, void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	if (a == POOL)
		buddy_pool_free(pool, p);
	else if (a == MALLOC)
		free(p);
}

static inline __attribute__((always_inline)) uint64_t lifo(enum allocator a)
{
	for (int i = 0; i < 100000; i++)
		put(a, get(a, 64));
	return 200000;
}

static inline __attribute__((always_inline)) uint64_t stack(enum allocator a)
{
	static void *object[1000];

	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 1000; i++)
			object[i] = get(a, 64);
		for (int i = 1000; i-- > 0;)
			put(a, object[i]);
	}
	return 200000;
}

static inline __attribute__((always_inline)) uint64_t churn(enum allocator a,
							    struct slots *s)
{
	for (uint32_t i = 0; i < STEPS; i++) {
		void **object = &s->object[steps[i].slot];

		put(a, *object);
		*object = get(a, steps[i].size);
		*(void **)*object = object;
	}
	return 2 * STEPS;
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct job {
	enum allocator a;
	int thread;
	pthread_barrier_t *start;
	double ns;
};

static void *churner(void *arg)
{
	struct job *job = arg;
	struct slots *s = &slots[job->thread][job->a == MALLOC];
	double begin;

	pthread_barrier_wait(job->start);
	begin = cpu_ns();
	for (int i = 0; i < 3; i++) {
		if (job->a == POOL)
			churn(POOL, s);
		else if (job->a == MALLOC)
			churn(MALLOC, s);
		else
			churn(NONE, s);
	}
	job->ns = cpu_ns() - begin;
	return NULL;
}

/* Both threads begin together; their CPU time is added. */
static double two_threads(enum allocator a, uint64_t *ops)
{
	pthread_barrier_t start;
	struct job job[2];
	pthread_t t[2];

	pthread_barrier_init(&start, NULL, 2);
	for (int i = 0; i < 2; i++) {
		job[i] = (struct job){ a, i, &start, 0 };
		pthread_create(&t[i], NULL, churner, &job[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&start);
	*ops = 12ull * STEPS;
	return job[0].ns + job[1].ns;
}

static inline __attribute__((always_inline)) double run(enum allocator a, int stream,
							uint64_t *ops)
{
	double begin = cpu_ns();

	switch (stream) {
	case 0:
		*ops = lifo(a);
		break;
	case 1:
		*ops = stack(a);
		break;
	case 2:
		*ops = churn(a, &slots[0][a == MALLOC]);
		break;
	default:
		return two_threads(a, ops);
	}
	return cpu_ns() - begin;
}

static const char *const stream_names[] = { "lifo", "stack", "churn", "threads" };

static double once(enum allocator a, int stream, uint64_t *ops)
{
	if (a == POOL)
		return run(POOL, stream, ops);
	if (a == MALLOC)
		return run(MALLOC, stream, ops);
	return run(NONE, stream, ops);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), ascending);
	return values[n / 2];
}

static void ratios(int stream, int rounds)
{
	static double of_pool[MAX_ROUNDS], of_malloc[MAX_ROUNDS], ratio[MAX_ROUNDS];
	uint64_t ops;

	once(POOL, stream, &ops);
	once(MALLOC, stream, &ops);
	for (int i = 0; i < rounds; i++) {
		/* who goes first changes, too */
		if (i % 2)
			of_malloc[i] = once(MALLOC, stream, &ops);
		of_pool[i] = once(POOL, stream, &ops);
		if (i % 2 == 0)
			of_malloc[i] = once(MALLOC, stream, &ops);
		ratio[i] = of_pool[i] / of_malloc[i];
	}
	printf("%s %.2f %.2f %.3f\n", stream_names[stream],
	       median(of_pool, rounds) / (double)ops,
	       median(of_malloc, rounds) / (double)ops, median(ratio, rounds));
	fflush(stdout);
}

static void count(int stream, enum allocator a)
{
	char name[64];
	uint64_t ops;

	snprintf(name, sizeof(name), "%s.%s", stream_names[stream], allocator_names[a]);
	once(a, stream, &ops);
	CALLGRIND_ZERO_STATS;
	once(a, stream, &ops);
	CALLGRIND_DUMP_STATS_AT(name);
	printf("%s %llu\n", name, (unsigned long long)ops);
	fflush(stdout);
}

/* 64 bytes to 64 KiB: an order, then a place within it. */
static void make_steps(void)
{
	for (uint32_t i = 0; i < STEPS; i++) {
		uint32_t order = 6 + (uint32_t)(rnd() % 10);

		steps[i].slot = (uint32_t)(rnd() % SLOTS);
		steps[i].size = (1u << order) + (uint32_t)(rnd() % (1u << order)) + 1;
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t size = steps[i].size;

		slots[0][0].object[i] = buddy_pool_alloc(pool, size);
		slots[1][0].object[i] = buddy_pool_alloc(pool, size);
		slots[0][1].object[i] = malloc(size);
		slots[1][1].object[i] = malloc(size);
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 31;
	struct buddy_dev *dev;

	if (argc < 2 || rounds < 1 || rounds > MAX_ROUNDS)
		return 2;
	if (buddy_dev_open(&dev, BUDDY_BACKEND_PROCESS, NULL, 1ull << 30) ||
	    buddy_pool_create(dev, NULL, &pool))
		return 1;
	make_steps();
	for (int stream = 0; stream < 4; stream++) {
		if (!strcmp(argv[1], "ratios")) {
			ratios(stream, rounds);
			continue;
		}
		count(stream, POOL);
		count(stream, MALLOC);
		if (stream == 3)
			continue;
		/* its objects are not to be freed by others */
		memset(slots[0], 0, sizeof(slots[0]));
		count(stream, NONE);
	}
	buddy_pool_destroy(pool);
	buddy_dev_close(dev);
	return 0;
}
