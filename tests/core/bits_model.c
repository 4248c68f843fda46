// SPDX-License-Identifier: MIT
/*
 * bits_model.c - the map of a split unit against the tree, and what a call of it costs.
 *
 * Usage: bits_model [CALLS [SEED]] (3,000,000). The seed is printed.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buddy_core.h"
#include "tap.h"
#include "bits_replay.h"

static struct twins twins;
static u32 calls = 3000000;

static void every_state(void)
{
	u32 states = bits_every_state(&twins, 1);

	printf("# %u states of 8 pages\n", states);
	expect_eq(states, 1597);
}

static void random_calls(void)
{
	printf("# %u calls, seed %llu\n", calls, (unsigned long long)twins.dice);
	for (u32 left = calls; left >= 10000 && !tap_failures; left -= 10000)
		bits_random(&twins, twins_roll(&twins, 2) ? 512 :
			    1u << twins_roll(&twins, 10), 10000);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "every call in every state of 8 pages", every_state },
		{ "random calls on 1 to 512 pages", random_calls },
	};

	if (argc > 1)
		calls = (u32)strtoul(argv[1], NULL, 0);
	twins.dice = argc > 2 ? strtoull(argv[2], NULL, 0) : (u64)time(NULL);
	return tap_run(cases, TAP_COUNT(cases));
}
