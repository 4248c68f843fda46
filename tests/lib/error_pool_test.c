// SPDX-License-Identifier: MIT
/*
 * error_pool_test.c - buddy_error() after a call for a pool: what was wrong, and what
 * would have worked. The same cases on both backends.
 *
 * Usage: error_pool_test process|device
 *
 * Limits, mounts and filters are those of a child of its own. Without sanitizers, which
 * need more addresses than a limit leaves.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>

#include "error.h"

static void bad_configurations(void)
{
	struct buddy_pool_config bad = { .size = sizeof(bad), .flags = 8 };
	struct buddy_pool *pool;

	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "cannot create a pool on ", place(),
	     "flags are 0x8", "BUDDY_POOL_FORK_COPY");
	bad.flags = 0;
	bad.chunk = 3 * MIB;
	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "a chunk of 3 MiB is none");
	bad.chunk = 0;
	bad.limit = 64 * KIB;
	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "has 64 KiB", "128 KiB");
	bad.size = 0;
	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "sizeof(struct buddy_pool_config)");
	bad.size = 1 << 20;
	says(buddy_pool_create(dev, &bad, &pool), -E2BIG, "install the library of the header");
}

static struct buddy_pool *parents;

static void forked_pool(void)
{
	says(buddy_pool_trim(parents), -EPERM, "cannot trim a pool: after fork()",
	     "BUDDY_POOL_FORK_COPY");
	says(buddy_pool_alloc(parents, 100) != NULL, 0, "in a pool: after fork()");
}

static void pools(void)
{
	struct buddy_pool_config small = {
		.size = sizeof(small), .chunk = 128 * KIB, .limit = 4 * MIB,
	};
	struct buddy_pool_stats stats = { 0 };
	char local;

	bad_configurations();
	expect_eq(buddy_pool_create(dev, &small, &parents), 0);
	says(buddy_pool_alloc(parents, 8 * MIB) != NULL, 0, "cannot allocate 8 MiB in a pool",
	     "more than the limit of the pool, 4 MiB", "a larger limit");
	says(buddy_pool_alloc(parents, 1ull << 30) != NULL, 0, "cannot allocate 1 GiB in a pool",
	     "more than the whole region, ", on_device() ? "size=" : "BUDDY_SIZE");
	expect(!strstr(buddy_error(), "limit"));
	says(buddy_pool_alloc(parents, SIZE_MAX) != NULL, 0, "more than the pool can ever have");
	says(buddy_pool_zalloc(parents, SIZE_MAX, 2) != NULL, 0, "more than the pool can ever");
	says(buddy_pool_alloc_aligned(parents, 3, 1) != NULL, 0, "the alignment, 3 bytes, is no");
	says(buddy_pool_free(parents, &local), -EINVAL, "no object of this pool starts there");
	says(buddy_pool_realloc(parents, &local, 8) != NULL, 0, "cannot resize an object");
	says(buddy_pool_stats(parents, &stats), -EINVAL, "sizeof(struct buddy_pool_stats)");
	in_child(forked_pool);
	buddy_pool_destroy(parents);
}

/* 100 bytes until there is nothing more. */
static void fill(struct buddy_pool *pool)
{
	while (buddy_pool_alloc(pool, 100))
		;
}

static void full_pools(void)
{
	struct buddy_pool_config small = {
		.size = sizeof(small), .chunk = 128 * KIB, .limit = 1 * MIB,
	};
	struct buddy_pool *pool;
	struct buddy_block *b;

	expect_eq(buddy_pool_create(dev, &small, &pool), 0);
	fill(pool);
	check_text(__LINE__, (const char *const[]){ "cannot allocate 100 bytes in a pool: ",
		"the pool has 1 MiB of the 1 MiB", "a larger limit", NULL });
	buddy_pool_destroy(pool);
	expect_eq(buddy_pool_create(dev, NULL, &pool), 0);
	fill(pool);
	check_text(__LINE__, (const char *const[]){ "cannot allocate 100 bytes in a pool: ",
		"of the whole region; free objects, or ",
		on_device() ? "size=" : "BUDDY_SIZE", NULL });
	expect(!strstr(buddy_error(), "limit"));
	buddy_pool_destroy(pool);
	/* it is others that have the region */
	expect_eq(buddy_block_alloc(dev, stats().out_largest, 0, 0, &b), 0);
	small.limit = 0;
	expect_eq(buddy_pool_create(dev, &small, &pool), 0);
	says(buddy_pool_alloc(pool, 60 * MIB) != NULL, 0, "cannot allocate 60 MiB in a pool",
	     "takes a block of 60 MiB of ", place(), " are free");
	expect(!strstr(buddy_error(), "SCATTER"));
	buddy_pool_destroy(pool);
	expect_eq(buddy_block_free(b), 0);
}

static struct buddy_dev *own;

/* As where a program is in the library when a signal comes, whose handler forks. */
static void fork_inside(int signal)
{
	pid_t pid = fork();
	int status;

	(void)signal;
	if (!pid) {
		says(buddy_pool_alloc(parents, 100) != NULL, 0,
		     "cannot allocate 100 bytes in a pool: fork() came from a signal handler");
		expect(!strstr(buddy_error(), "BUDDY_POOL_FORK_COPY"));
		says(buddy_pool_trim(parents), -EPERM, "fork() came from a signal handler");
		if (on_device())
			says(buddy_block_alloc(own, 1, 0, 0, &(struct buddy_block *){ 0 }),
			     -EBADF, "after fork() the library has closed the parent's device");
		fflush(stdout);
		_exit(tap_failures != 0);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	fflush(stdout);
	_exit(tap_failures != 0);
}

static void interrupted(void)
{
	const struct buddy_pool_config copied = {
		.size = sizeof(copied), .flags = BUDDY_POOL_FORK_COPY,
	};

	expect_eq(buddy_dev_open(&own, backend, NULL, 16 * MIB), 0);
	expect_eq(buddy_pool_create(own, &copied, &parents), 0);
	signal(SIGSYS, fork_inside);
	expect(filter(MAP_SHARED | MAP_FIXED, SECCOMP_RET_TRAP));
	buddy_pool_alloc(parents, 100);
	expect(false);
}

static void forks_inside(void)
{
	in_child(interrupted);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "pools", pools },
		{ "full pools", full_pools },
		{ "fork() inside the library", forks_inside },
	};

	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
