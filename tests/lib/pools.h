/* SPDX-License-Identifier: MIT */
/*
 * pools.h - a pool of the backend that is tested, and what it says of itself.
 */
#ifndef TEST_POOLS_H
#define TEST_POOLS_H

#include "backend.h"

/* 0 for @chunk and @limit: those that the library chooses. */
static inline struct buddy_pool *pool_with(uint32_t flags, uint64_t chunk, uint64_t limit)
{
	struct buddy_pool_config config = {
		.size = sizeof(config),
		.flags = flags,
		.chunk = chunk,
		.limit = limit,
	};
	struct buddy_pool *pool;

	expect_eq(buddy_pool_create(dev, &config, &pool), 0);
	return pool;
}

static inline struct buddy_pool_stats pool_stats(struct buddy_pool *pool)
{
	struct buddy_pool_stats s = { .size = sizeof(s) };

	expect_eq(buddy_pool_stats(pool, &s), 0);
	expect(s.used + s.cached <= s.bytes);
	return s;
}

#endif /* TEST_POOLS_H */
