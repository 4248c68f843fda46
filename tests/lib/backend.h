/* SPDX-License-Identifier: MIT */
/*
 * backend.h - main() of a test program that runs its cases on the backend named as
 * its argument.
 */
#ifndef TEST_BACKEND_H
#define TEST_BACKEND_H

#include <stdint.h>
#include <string.h>

#include <buddy_mem.h>

#include "tap.h"

#define KIB	1024ull
#define MIB	(1024 * KIB)

static enum buddy_backend backend;
static struct buddy_dev *dev;

static inline struct buddy_stats stats(void)
{
	struct buddy_stats s;

	expect_eq(buddy_dev_stats(dev, &s), 0);
	return s;
}

/* Bytes in blocks: what must be as before, after a case. */
static inline uint64_t used(void)
{
	return stats().out_used;
}

static inline int run_on_backend(int argc, char **argv,
				 const struct tap_case *cases, int count)
{
	int failed, err;

	if (argc >= 2 && !strcmp(argv[1], "process"))
		backend = BUDDY_BACKEND_PROCESS;
	else if (argc >= 2 && !strcmp(argv[1], "device"))
		backend = BUDDY_BACKEND_DEVICE;
	else
		return 2;
	err = buddy_dev_open(&dev, backend, NULL, 64 * MIB);
	if (err) {
		printf("Bail out! %s\n", buddy_error());
		return 1;
	}
	failed = tap_run(cases, count);
	buddy_dev_close(dev);
	return failed;
}

#endif /* TEST_BACKEND_H */
