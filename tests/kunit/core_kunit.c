// SPDX-License-Identifier: GPL-2.0-only
/*
 * core_kunit.c - the cases of the tree that the host runs, in the kernel: one for
 * each promise, and every sequence on a small tree; and random calls on the placement.
 */
#include <kunit/test.h>
#include <linux/mm.h>

#define aligned_alloc(align, bytes)	((void)(align), kvmalloc(bytes, GFP_KERNEL))
#define free(array)			kvfree(array)

#include "../core/core_test.c"
#include "exhaustive.h"
#include "place_random.h"

TAP_KUNIT(core_cases);

static struct kunit_suite core_suite = {
	.name = "buddy_core",
	.test_cases = core_cases_kunit,
};

static const struct tap_case exhaustive_cases[] = {
	{ "every sequence on 16 granules to depth 6", exhaustive },
};

TAP_KUNIT(exhaustive_cases);

static struct kunit_suite exhaustive_suite = {
	.name = "buddy_core_exhaustive",
	.test_cases = exhaustive_cases_kunit,
};

static void random_places(void)
{
	place_random(4000, 1);
}

static const struct tap_case place_cases[] = {
	{ "random calls on the placement, against all pages", random_places },
	{ "more is known of units than they have", place_stale },
	{ "a tail that becomes a whole unit", place_whole },
};

TAP_KUNIT(place_cases);

static struct kunit_suite place_suite = {
	.name = "buddy_place",
	.test_cases = place_cases_kunit,
};

kunit_test_suites(&core_suite, &exhaustive_suite, &place_suite);
