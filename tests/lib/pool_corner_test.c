// SPDX-License-Identifier: MIT
/*
 * pool_corner_test.c - pools in programs that do what few do.
 *
 * Usage: pool_corner_test process|device
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pools.h"

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

static bool keys_stay(void *unused)
{
	static pthread_key_t key[PTHREAD_KEYS_MAX];
	struct buddy_dev *own;
	struct buddy_pool *pool;
	int n = 0;
	bool ok;

	(void)unused;
	while (!pthread_key_create(&key[n], NULL))
		pthread_setspecific(key[n], &key[n]), n++;
	ok = n && !buddy_dev_open(&own, backend, NULL, 64 * MIB) &&
	     !buddy_pool_create(own, NULL, &pool);
	for (int i = 0; i < 1000; i++)
		ok = ok && !buddy_pool_free(pool, buddy_pool_alloc(pool, 100));
	while (n--)
		ok = ok && pthread_getspecific(key[n]) == &key[n];
	buddy_pool_destroy(pool);
	buddy_dev_close(own);
	return ok;
}

/* The first case: there was no pool yet, which is when the library takes its key. */
static void no_keys(void)
{
	expect_child(keys_stay, NULL);
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
	at_fork = pool_with(0, 0, 0);
	alarm(20);
	expect_child(nothing, NULL);
	alarm(0);
	buddy_pool_destroy(at_fork);
	at_fork = NULL;
}

static struct buddy_pool *late;
static pthread_key_t late_key;

/* The library's destructor has run, in the first round of four. */
static void use_late(void *round)
{
	if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS)
		pthread_setspecific(late_key, (void *)((uintptr_t)round + 1));
	else
		buddy_pool_free(late, buddy_pool_alloc(late, 100));
}

static void *end_late(void *unused)
{
	buddy_pool_free(late, buddy_pool_alloc(late, 100));
	pthread_setspecific(late_key, (void *)1);
	return unused;
}

/* Nothing is left of a thread that used a pool until its very end. */
static void last_breath(void)
{
	pthread_t t;

	late = pool_with(0, 0, 0);
	expect(!pthread_key_create(&late_key, use_late));
	for (int i = 0; i < 2; i++) {
		expect(!pthread_create(&t, NULL, end_late, NULL));
		pthread_join(t, NULL);
	}
	expect_eq(buddy_pool_trim(late), 0);
	expect_eq(pool_stats(late).cached, 0);
	expect_eq(pool_stats(late).bytes, 0);
	buddy_pool_destroy(late);
	pthread_key_delete(late_key);
}

static useconds_t memfd_takes;

/* The library's, as slow as wanted. */
int memfd_create(const char *name, unsigned int flags)
{
	usleep(memfd_takes);
	return (int)syscall(SYS_memfd_create, name, flags);
}

static struct buddy_pool *two[2];
static unsigned char *got[2];

static void *fill(void *which)
{
	uintptr_t i = (uintptr_t)which;

	got[i] = buddy_pool_alloc(two[i], 3 * MIB);
	if (got[i])
		memset(got[i], (int)i + 1, 3 * MIB);
	return NULL;
}

static bool two_at_once(void *unused)
{
	pthread_t t[2];

	(void)unused;
	memfd_takes = 50000;
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, fill, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	return got[0] && got[1] && got[0][MIB] == 1 && got[1][MIB] == 2 &&
	       !buddy_pool_free(two[0], got[0]) && got[1][MIB] == 2 &&
	       !buddy_pool_free(two[1], got[1]);
}

/* Two pools on one device, which both find that the child has to open its own. */
static void two_pools(void)
{
	struct buddy_dev *own, *before = dev;

	expect_eq(buddy_dev_open(&own, backend, NULL, 64 * MIB), 0);
	dev = own;
	for (int i = 0; i < 2; i++)
		two[i] = pool_with(BUDDY_POOL_FORK_COPY, 0, 0);
	dev = before;
	for (int i = 0; i < 10; i++)
		expect_child(two_at_once, NULL);
	for (int i = 0; i < 2; i++)
		buddy_pool_destroy(two[i]);
	buddy_dev_close(own);
}

/* The library does not close a number that is another's by now. */
static void foreign_number(void)
{
	struct buddy_dev *own;
	int number = fcntl(0, F_DUPFD, 400);

	/* the lowest one from 400 */
	close(number);
	expect_eq(buddy_dev_open(&own, backend, NULL, 64 * MIB), 0);
	expect_eq(dup2(0, number), number);
	buddy_dev_close(own);
	expect(!close(number));
}

static const struct tap_case cases[] = {
	{ "no key left for the library", no_keys },
	{ "a fork handler that allocates", fork_handler },
	{ "a thread's last breath", last_breath },
	{ "two pools on one device, in a child", two_pools },
	{ "a descriptor that is another's", foreign_number },
};

int main(int argc, char **argv)
{
	pthread_atfork(prepare, NULL, NULL);
	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
