// SPDX-License-Identifier: MIT
/*
 * capacity.c - how much of a region of the process backend is used when blocks come and
 * go at random: the streams of the device (tests/selftests/capacity.c), with the same
 * oracle. The memory is sparse, so the long blocks have a region of 16 GiB.
 *
 * Usage: capacity_plain [--test | --json] [--stream NAME] [--operations N] [--seed N]
 */
#define CHURN_ONE_RANGE	1
#include "churn_report.h"
#include "lib_churn.h"

#define GIB	(1024ull << 20)

#define ANY		CHURN_ANY
#define POW2		BUDDY_ALLOC_POW2
#define SCATTER		BUDDY_ALLOC_SCATTER
/* Objects of a pool with the whole region; no promise says that they are contiguous. */
#define POOL		(BUDDY_ALLOC_SCATTER | 1u << 31)

/* As on the device; the floors are one point below what the library does. */
static const struct churn_row rows[] = {
	{ { "exact, 4 KiB-4 MiB", 0.80, 1, 0, 1, false },
	  { 79, 78, 0, 100, 0 } },		/* 79.9, -, 0, 100, 0 */
	{ { "exact, 4 KiB-4 MiB", 0.95, 1, 0, 1, false },
	  { 85, 93, ANY, 100, 0 } },		/* 84, 94, any, 100, 0 */
	{ { "exact, 64 KiB-64 MiB, 16 GiB", 0.95, 16, 0, 1, false },
	  { 88, 93, ANY, 100, 0 } },		/* 88, 95, any, 100, 0 */
	{ { "POW2, 4 KiB-4 MiB", 0.95, 1, POW2, 1, false },
	  { 93, 94, ANY, 0, 0 } },		/* 94, 94, any, 0, 0 */
	{ { "POW2, 4 KiB-4 MiB, after exact", 0.95, 1, POW2, 1, true },
	  { 92, 85, ANY, 0, 0 } },		/* not less */
	{ { "scattered, 4 KiB-4 MiB", 0.80, 1, SCATTER, 1, false },
	  { 79, 78, 0, 0, 0 } },		/* 79.9, -, 0, 0, 0 */
	{ { "scattered, 4 KiB-4 MiB", 0.90, 1, SCATTER, 1, false },
	  { 85, 88, ANY, 0, 0 } },		/* 89.9, -, 0, 0, 0 */
	{ { "scattered, 4 KiB-4 MiB", 0.95, 1, SCATTER, 1, false },
	  { 85, 93, ANY, 0, 0 } },		/* 94.9, -, 0, 0, 0 */
	{ { "pool, 64 KiB-64 MiB, 16 GiB", 0.95, 16, POOL, 1, false },
	  { 88, 93, ANY, 0, 0 } },		/* 88, 94, any, 0, 0 */
};

static struct buddy_pool *pool;

static int pool_alloc(int owner, struct churn_block *block, uint32_t flags)
{
	(void)owner;
	(void)flags;
	block->handle = (uintptr_t)buddy_pool_alloc(pool, (size_t)block->pages * CHURN_PAGE);
	return block->handle ? 0 : -ENOMEM;
}

static void pool_free(int owner, struct churn_block *block)
{
	(void)owner;
	if (buddy_pool_free(pool, (void *)(uintptr_t)block->handle))
		abort();
}

static const struct churn_backend *open_pool(const struct churn_backend *region)
{
	static struct churn_backend backend = { .alloc = pool_alloc, .free = pool_free };

	backend.pages = region->pages;
	return buddy_pool_create(lib_dev, NULL, &pool) ? NULL : &backend;
}

/* An empty region for each stream. */
static const struct churn_backend *open_region(const struct churn *stream)
{
	const struct churn_backend *region;

	buddy_pool_destroy(pool);
	pool = NULL;
	region = lib_open(stream->shortest > 1 ? 16 * GIB : GIB);
	return region && stream->flags == POOL ? open_pool(region) : region;
}

int main(int argc, char **argv)
{
	struct churn_options options = { .operations = 60000, .from = CHURN_SEED };

	if (!churn_options(argc, argv, &options))
		return 2;
	return churn_table(&options, rows, (int)(sizeof(rows) / sizeof(rows[0])), open_region);
}
