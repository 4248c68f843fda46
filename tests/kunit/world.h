/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * world.h - what the suites stand on: a region and an open file of it, without
 * device nodes, and the invariants that hold whenever nobody is inside.
 */
#ifndef WORLD_H
#define WORLD_H

#include "buddy.h"

extern struct buddy_region *world_region;
extern struct buddy_file *world_file;

/* Units of the region of most suites: 16 MiB. */
#define WORLD_UNITS	8

/* For struct kunit_suite: init and exit of each case, with WORLD_UNITS. */
struct kunit;
struct kunit_suite;
int world_suite_init(struct kunit_suite *suite);
void world_suite_exit(struct kunit_suite *suite);
int world_init(struct kunit *test);
void world_exit(struct kunit *test);

/* The suite buddy_NAME of the table NAME_cases; each case has a new region. */
#define WORLD_SUITE(_name)						\
	TAP_KUNIT(_name##_cases);					\
	static struct kunit_suite _name##_suite = {			\
		.name = "buddy_" #_name,				\
		.suite_init = world_suite_init,				\
		.suite_exit = world_suite_exit,				\
		.init = world_init,					\
		.exit = world_exit,					\
		.test_cases = _name##_cases_kunit,			\
	};								\
	kunit_test_suite(_name##_suite)
/* A block with one reference; or an errno. @flags: BUDDY_ALLOC_* */
static inline struct buddy_kblock *world_alloc_as(struct buddy_file *file, u32 pages,
						  u32 flags)
{
	struct buddy_want want = { .pages = pages, .flags = flags };

	return buddy_kblock_alloc(file, &want);
}

static inline struct buddy_kblock *world_alloc(struct buddy_file *file, u32 pages)
{
	return world_alloc_as(file, pages, 0);
}

/* A sentence that names a broken invariant, or NULL. */
const char *world_fault(u32 used);

/* The same, for a case of tap.h. */
#define expect_no_fault(used)						\
	do {								\
		const char *why_ = world_fault(used);			\
									\
		if (why_)						\
			printf("%s\n", why_);				\
		expect(!why_);						\
	} while (0)

/* Has all that was freed come back? Waits for it, some seconds at most. */
bool world_is_free(void);

#endif /* WORLD_H */
