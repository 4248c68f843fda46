// SPDX-License-Identifier: MIT
/*
 * day_bench.c - a day of a region: is as much of it used in the evening as in the
 * morning? Blocks come and go at random (tests/core/churn.h), in a region of 1 GiB of the
 * process backend, of which 95 % are asked for.
 *
 *   make bench-day        10,000,000 operations a day; day_bench OPERATIONS
 *
 * At midnight the blocks are of 4 KiB to 64 KiB. Until noon they become longer, up to
 * 256 KiB to 4 MiB, and until the next midnight shorter again. Each line is an hour: the
 * mean of the used share and its lowest, requests and how many were refused, and for how
 * many of these a place was free.
 */
#include <stdio.h>

#include "lib_churn.h"

#define REGION		(1024ull << 20)
#define HOURS		24
#define SLICES		500	/* of an hour, in which the lengths are the same */
#define POWERS		5	/* of two, that hold the lengths at one time */
#define DRIFT		6	/* powers between midnight and noon */

/* The lowest power of two at this time of the day; between two of them at random. */
static uint32_t lowest_at(double hour)
{
	double noon = hour < HOURS / 2 ? hour / (HOURS / 2) : 2 - hour / (HOURS / 2);
	double power = DRIFT * noon;

	return (uint32_t)power + (rnd() % 1000 < (power - (uint32_t)power) * 1000);
}

/* Return: false if there is no memory for the books. */
static bool run_hour(struct churn_run *run, int hour, long operations)
{
	double lowest = 1;

	churn_count_from_here(run);
	for (int slice = 0; slice < SLICES; slice++) {
		run->lowest = lowest_at(hour + (double)slice / SLICES);
		if (!churn_operations(run, operations / SLICES))
			return false;
		if (churn_share(run) < lowest)
			lowest = churn_share(run);
	}
	printf("%4d %8.1f %8.1f %9ld %8ld %10ld\n", hour, 100 * run->sum / (double)run->operations,
	       100 * lowest, run->result->requests, run->result->refused, run->result->avoidable);
	fflush(stdout);
	return true;
}

static bool run_day(const char *name, uint32_t flags, long operations)
{
	struct churn stream = { .name = name, .load = 0.95, .shortest = 1, .owners = 1,
				.flags = flags };
	struct churn_result result = { 0 };
	struct churn_run run = {
		.stream = &stream, .backend = lib_open(REGION), .result = &result,
		.flags = flags, .powers = POWERS,
	};
	bool done = run.backend && room_init(&run.room, run.backend->pages);

	seed = 88172645463325252ull;
	printf("%s\n%4s %8s %8s %9s %8s %10s\n", name, "hour", "average", "lowest", "requests",
	       "refused", "avoidable");
	for (int hour = 0; done && hour < HOURS; hour++)
		done = run_hour(&run, hour, operations / HOURS);
	if (done)
		churn_end(&run);
	return done;
}

int main(int argc, char **argv)
{
	long operations = argc > 1 ? strtol(argv[1], NULL, 0) : 10000000;

	return run_day("contiguous blocks", 0, operations) &&
	       run_day("scattered blocks", BUDDY_ALLOC_SCATTER, operations) ? 0 : 1;
}
