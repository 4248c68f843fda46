/* SPDX-License-Identifier: MIT */
/*
 * ktest.h - the tests of the device as kselftest programs. The kernel's own harness
 * (kselftest_harness.h, by tests/vm/kselftest; its licence is GPL-2.0) runs each
 * test in a process of its own, counts one that crashes or hangs as failed, and
 * goes on: PROGRAM -l lists the tests, -t NAME runs one of them.
 *
 * expect(), expect_eq() and skip() are those of tap.h, by the harness; they work in
 * helpers, threads and children, too. The fixture `device` opens the node as `fd`
 * and knows the length of the region; when a test of it has ended, nothing may be
 * left of it there.
 *
 * Include it first.
 */
#ifndef KTEST_H
#define KTEST_H

#include <kselftest_harness.h>

/* In seconds. A kernel with checkers under an emulator is ten times as slow. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	240

/* The test that runs, for what is not in its body. */
static struct __test_metadata *_metadata;

#define expect(cond)	do { EXPECT_TRUE(cond); } while (0)

/* Both sides as signed numbers, so that a failure shows an errno as such. */
#define expect_eq(a, b)							\
	do { EXPECT_EQ((long long)(b), (long long)(a)); } while (0)

/* What failed before is not forgotten for it. */
#define skip(why)							\
	do {								\
		if (!_metadata->exit_code)				\
			SKIP(return, "%s", (why));			\
		return;							\
	} while (0)

static inline bool has_failed(void)
{
	return _metadata->exit_code == KSFT_FAIL;
}

#include "harness.h"

static int fd;
static uint64_t region;

static inline void test_begin(struct __test_metadata *running)
{
	_metadata = running;
	fd = device_open();
	region = get_stats(fd).out_region;
}

static inline void test_end(void)
{
	close(fd);
	expect_empty();
}

/* One more fixture like `device`, for tests with variants. */
#define DEVICE_FIXTURE(_name)						\
	FIXTURE(_name) {};						\
	FIXTURE_SETUP(_name) { test_begin(_metadata); }			\
	FIXTURE_TEARDOWN(_name) { test_end(); }				\
	FIXTURE_VARIANT(_name)

DEVICE_FIXTURE(device) {};

#endif /* KTEST_H */
