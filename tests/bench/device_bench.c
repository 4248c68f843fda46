// SPDX-License-Identifier: MIT
/*
 * device_bench.c - what ALLOC and FREE of /dev/buddy cost, by length.
 *
 *   make bench-device [KERNEL=7.3]
 *
 * Medians over many pairs, lengths taken in turn, so that a noisy machine disturbs
 * all of them alike; only ratios within one run mean something. Blocks are not
 * touched; a touched one is zeroed in the background when it is freed.
 */
#include <stdio.h>

#include "harness.h"

#define PAIRS	2000

static const uint64_t lengths[] = {
	4096, 65536, 2 * MIB, 2 * MIB + 4096, 64 * MIB, 1024 * MIB,
};
#define LENGTHS	(sizeof(lengths) / sizeof(lengths[0]))

static double alloc_ns[LENGTHS][PAIRS], free_ns[LENGTHS][PAIRS];

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values)
{
	qsort(values, PAIRS, sizeof(*values), by_value);
	return values[PAIRS / 2];
}

int main(void)
{
	int fd = device_open();
	struct buddy_alloc a;
	double first;

	/* a file that keeps a unit for its small blocks, as programs do */
	if (alloc_block(fd, PAGE, &a))
		return 1;
	for (int i = 0; i < PAIRS; i++) {
		for (size_t l = 0; l < LENGTHS; l++) {
			double t0 = now(), t1, t2;

			if (alloc_block(fd, lengths[l], &a)) {
				fprintf(stderr, "no %llu bytes\n",
					(unsigned long long)lengths[l]);
				return 1;
			}
			t1 = now();
			free_block(fd, a.out_handle);
			t2 = now();
			alloc_ns[l][i] = (t1 - t0) * 1e9;
			free_ns[l][i] = (t2 - t1) * 1e9;
		}
	}
	printf("%12s %10s %10s %22s\n", "bytes", "ALLOC ns", "FREE ns",
	       "ALLOC, 4096 bytes = 1");
	first = median(alloc_ns[0]);
	for (size_t l = 0; l < LENGTHS; l++) {
		double ns = median(alloc_ns[l]);

		printf("%12llu %10.0f %10.0f %22.2f\n",
		       (unsigned long long)lengths[l], ns, median(free_ns[l]),
		       ns / first);
	}
	return 0;
}
