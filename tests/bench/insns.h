/* SPDX-License-Identifier: MIT */
/*
 * insns.h - instructions that the guest has executed, for programs that run under
 * `tests/vm/run --icount`. There the time stamp counter advances by one for each
 * instruction, of any program and of the kernel, and a clock by one nanosecond.
 */
#ifndef INSNS_H
#define INSNS_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t insns(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/*
 * Those of the calling process alone, its time in the kernel included. For work that
 * waits for a disk: while a processor is idle, its clock jumps to the next timer.
 */
static inline uint64_t insns_of_process(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline int insns_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static inline uint64_t insns_median(uint64_t *values, size_t count)
{
	qsort(values, count, sizeof(*values), insns_compare);
	return values[count / 2];
}

#endif /* INSNS_H */
