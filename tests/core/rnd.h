/* SPDX-License-Identifier: MIT */
/*
 * rnd.h - random numbers that a seed repeats (xorshift64*, Marsaglia and Vigna).
 *
 * Set seed, which is never 0, and print it. One stream a process.
 */
#ifndef RND_H
#define RND_H

#include <stdint.h>

static uint64_t seed;

static inline uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull >> 20;
}

#endif /* RND_H */
