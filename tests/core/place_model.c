// SPDX-License-Identifier: MIT
/*
 * place_model.c - placement against one byte a page: place_random.h.
 *
 * Usage: place_model [OPERATIONS [SEED]]. The seed is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tap.h"
#include "place_random.h"

static u64 operations = 300000, seed;

static void random_calls(void)
{
	printf("# %llu calls, seed %llu\n", (unsigned long long)operations,
	       (unsigned long long)seed);
	place_random(operations, seed);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "random calls against all pages", random_calls },
		{ "more is known of units than they have", place_stale },
		{ "a tail that becomes a whole unit", place_whole },
	};

	if (argc > 1)
		operations = strtoull(argv[1], NULL, 0);
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (u64)time(NULL);
	return tap_run(cases, TAP_COUNT(cases));
}
