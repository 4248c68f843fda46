// SPDX-License-Identifier: MIT
/*
 * capacity.c - how much of a region of the process backend is used when blocks come and
 * go at random: the streams of the device (tests/selftests/capacity.c), with the same
 * oracle. The memory is sparse, so the long blocks have a region of 16 GiB.
 *
 * Usage: capacity_plain [--test | --json] [--stream NAME] [--operations N] [--seed N]
 */
#include "churn_report.h"
#include "lib_churn.h"

#define GIB	(1024ull << 20)

#define ANY		CHURN_ANY
#define POW2		BUDDY_ALLOC_POW2
#define SCATTER		BUDDY_ALLOC_SCATTER

/* As on the device; the floors are one point below what the library does. */
static const struct churn_row rows[] = {
	{ { "exact, 4 KiB-4 MiB", 0.80, 1, 0, 1, false },
	  { 71, 78, ANY, 100, 0 } },		/* 79.9, -, 0, 100, 0 */
	{ { "exact, 4 KiB-4 MiB", 0.95, 1, 0, 1, false },
	  { 71, 92, ANY, 100, 0 } },		/* 84, 94, any, 100, 0 */
	{ { "exact, 64 KiB-64 MiB, 16 GiB", 0.95, 16, 0, 1, false },
	  { 71, 91, ANY, 100, 0 } },		/* 88, 95, any, 100, 0 */
	{ { "POW2, 4 KiB-4 MiB", 0.95, 1, POW2, 1, false },
	  { 93, 94, ANY, 0, 0 } },		/* 94, 94, any, 0, 0 */
	{ { "POW2, 4 KiB-4 MiB, after exact", 0.95, 1, POW2, 1, true },
	  { 92, 71, ANY, 0, 0 } },		/* not less */
	{ { "scattered, 4 KiB-4 MiB", 0.80, 1, SCATTER, 1, false },
	  { 71, 78, ANY, 0, 0 } },		/* 79.9, -, 0, 0, 0 */
	{ { "scattered, 4 KiB-4 MiB", 0.90, 1, SCATTER, 1, false },
	  { 71, 88, ANY, 0, 0 } },		/* 89.9, -, 0, 0, 0 */
	{ { "scattered, 4 KiB-4 MiB", 0.95, 1, SCATTER, 1, false },
	  { 71, 92, ANY, 0, 0 } },		/* 94.9, -, 0, 0, 0 */
};

/* An empty region for each stream. */
static const struct churn_backend *open_region(const struct churn *stream)
{
	return lib_open(stream->shortest > 1 ? 16 * GIB : GIB);
}

int main(int argc, char **argv)
{
	struct churn_options options = { .operations = 60000, .from = CHURN_SEED };

	if (!churn_options(argc, argv, &options))
		return 2;
	return churn_table(&options, rows, (int)(sizeof(rows) / sizeof(rows[0])), open_region);
}
