// SPDX-License-Identifier: MIT
/*
 * pool_corner_test.c - pools in programs that do what few do.
 *
 * Usage: pool_corner_test process|device
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"

static struct buddy_pool *pool_with(uint32_t flags)
{
	struct buddy_pool_config config = { .size = sizeof(config), .flags = flags };
	struct buddy_pool *pool;

	expect_eq(buddy_pool_create(dev, &config, &pool), 0);
	return pool;
}

/* fork(), and what the child says. */
static void expect_child(bool (*child)(void *arg), void *arg)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		alarm(20);
		_exit(child(arg) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

static struct buddy_pool *at_fork;

/* Registered before there was a pool. */
static void prepare(void)
{
	if (at_fork)
		buddy_pool_free(at_fork, buddy_pool_alloc(at_fork, 100 * KIB));
}

static bool nothing(void *unused)
{
	(void)unused;
	return true;
}

static void fork_handler(void)
{
	at_fork = pool_with(0);
	alarm(20);
	expect_child(nothing, NULL);
	alarm(0);
	buddy_pool_destroy(at_fork);
	at_fork = NULL;
}

static const struct tap_case cases[] = {
	{ "a fork handler that allocates", fork_handler },
};

int main(int argc, char **argv)
{
	pthread_atfork(prepare, NULL, NULL);
	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
