/* SPDX-License-Identifier: MIT */
/*
 * tap.h - the few lines of TAP that the C tests need.
 *
 * A test program is a table of cases; tap_run() runs each and prints "ok N -
 * name" or "not ok N - name". In a case, expect() records a failure with its
 * place and goes on; skip() ends the report of the case as skipped.
 *
 * In the kernel (tests/kunit) the same cases are KUnit's: TAP_KUNIT() makes them
 * of such a table.
 */
#ifndef TAP_H
#define TAP_H

struct tap_case {
	const char *name;
	void (*run)(void);
};

#ifdef __KERNEL__

#include <kunit/test.h>

static struct kunit *tap_test;	/* the one that runs */

#define expect(cond)	KUNIT_EXPECT_TRUE(tap_test, cond)
#define expect_eq(a, b)	KUNIT_EXPECT_EQ(tap_test, (long long)(a), (long long)(b))
#define skip(why)							\
	do {								\
		kunit_mark_skipped(tap_test, why);			\
		return;							\
	} while (0)
#define printf(...)	kunit_info(tap_test, __VA_ARGS__)
#define tap_failures	(tap_test->status == KUNIT_FAILURE)
#define tap_yield()	cond_resched()	/* for what takes seconds */

static inline void tap_run_one(struct kunit *test)
{
	const struct tap_case *one = test->param_value;

	tap_test = test;
	one->run();
}

static inline void tap_name(const struct tap_case *one, char *name)
{
	strscpy(name, one->name, KUNIT_PARAM_DESC_SIZE);
}

/* The KUnit cases of a table, for struct kunit_suite.test_cases. */
#define TAP_KUNIT(_cases)						\
	KUNIT_ARRAY_PARAM(_cases, _cases, tap_name);			\
	static struct kunit_case _cases##_kunit[] = {			\
		KUNIT_CASE_PARAM(tap_run_one, _cases##_gen_params),	\
		{}							\
	}

#else /* !__KERNEL__ */

#include <stdio.h>

#define tap_yield()	((void)0)

static int tap_failures;
static const char *tap_skip;

/* Counts a failure; true for the first few of a case, which are printed. */
static inline int tap_fail(void)
{
	return ++tap_failures <= 5;
}

#define expect(cond)							\
	do {								\
		if (!(cond) && tap_fail()) {				\
			printf("# %s:%d: expected: %s\n", __FILE__,	\
			       __LINE__, #cond);			\
		}							\
	} while (0)

/* Both sides as signed numbers, so that a failure shows an errno as such. */
#define expect_eq(a, b)							\
	do {								\
		long long a_ = (long long)(a), b_ = (long long)(b);	\
									\
		if (a_ != b_ && tap_fail()) {				\
			printf("# %s:%d: %s is %lld, expected %s = %lld\n", \
			       __FILE__, __LINE__, #a, a_, #b, b_);	\
		}							\
	} while (0)

#define skip(why)							\
	do {								\
		tap_skip = (why);					\
		return;							\
	} while (0)

static inline int tap_run(const struct tap_case *cases, int count)
{
	int failed = 0;

	printf("1..%d\n", count);
	for (int i = 0; i < count; i++) {
		tap_failures = 0;
		tap_skip = NULL;
		cases[i].run();
		printf("%sok %d - %s", tap_failures ? "not " : "", i + 1,
		       cases[i].name);
		if (tap_skip)
			printf(" # SKIP %s", tap_skip);
		printf("\n");
		fflush(stdout);
		failed += !!tap_failures;
	}
	return failed ? 1 : 0;
}

#define TAP_COUNT(cases) ((int)(sizeof(cases) / sizeof((cases)[0])))

#endif /* !__KERNEL__ */

#endif /* TAP_H */
