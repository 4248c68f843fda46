// SPDX-License-Identifier: GPL-2.0-only
/*
 * invariant_kunit.c - a broken invariant fails the test that runs. The one case that
 * breaks one makes a test of its own for that; its warning in the log is expected
 * (tests/kunit/run).
 */
#include <linux/sched.h>

#include "buddy.h"
#include "tap.h"

static struct kunit fake;

/* BUDDY_WARN_ON(@condition) in a test that is not the one that runs. */
static bool told(bool condition)
{
	struct kunit *running = current->kunit_test;
	bool result;

	kunit_init_test(&fake, "fake", NULL);
	current->kunit_test = &fake;
	result = BUDDY_WARN_ON(condition);
	current->kunit_test = running;
	kunit_cleanup(&fake);
	return result;
}

static void broken(void)
{
	/* The log has it once, the test is failed each time. */
	for (int i = 0; i < 2; i++) {
		expect(told(true));
		expect_eq(fake.status, KUNIT_FAILURE);
	}
	expect(!tap_failures);
}

static void unbroken(void)
{
	expect(!told(false));
	expect_eq(fake.status, KUNIT_SUCCESS);
}

/* Like WARN_ON_ONCE(), it evaluates its condition once. */
static void evaluated_once(void)
{
	int count = 0;

	expect(!BUDDY_WARN_ON(count++));
	expect_eq(count, 1);
}

static const struct tap_case invariant_cases[] = {
	{ "broken", broken },
	{ "unbroken", unbroken },
	{ "evaluated once", evaluated_once },
};

TAP_KUNIT(invariant_cases);

static struct kunit_suite invariant_suite = {
	.name = "buddy_invariant",
	.test_cases = invariant_cases_kunit,
};

kunit_test_suite(invariant_suite);
