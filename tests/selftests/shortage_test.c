// SPDX-License-Identifier: MIT
/*
 * shortage_test.c - ENOMEM: what it says, and that it does not come while enough is
 * on its way back. Needs root and the module.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>

#include "ktest.h"

TEST_F(device, no_memory_explains_itself)
{
	struct buddy_alloc all, a;

	expect_eq(alloc_block(fd, region - PAGE, &all), 0);
	expect_eq(alloc_block(fd, 2 * PAGE, &a), -ENOMEM);
	expect_eq(a.out_free, PAGE);
	expect_eq(a.out_largest, PAGE);
	expect_eq(a.out_returning, 0);
	/* no account has a limit */
	expect_eq(a.out_account_limit, 0);
	expect_eq(a.out_account_used, 0);
	expect_eq(a.out_handle, 0);
	expect_eq(a.out_offset, 0);
	expect_eq(get_stats(fd).out_fragmentation, 0);
	expect_eq(free_block(fd, all.out_handle), 0);
	/* what is on its way back is waited for */
	expect_eq(alloc_block(fd, region, &a), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
}

/*
 * What was freed before is waited for, however much others free meanwhile. The
 * other process churns in a unit that it keeps, out of the way.
 */
TEST_F(device, no_shortage_while_memory_is_on_its_way_back)
{
	uint64_t most = region / 2;
	struct buddy_alloc a;
	int ready[2], status;
	char *p, c;
	pid_t pid;

	expect(!pipe(ready));
	expect_eq(alloc_block(fd, most, &a), 0);
	pid = fork();
	if (!pid) {
		int own = device_open();
		struct buddy_alloc keep, b;

		if (alloc_block(own, PAGE, &keep) || write(ready[1], "x", 1) != 1)
			_exit(1);
		while (!alloc_block(own, PAGE, &b) && !free_block(own, b.out_handle))
			;
		_exit(2);
	}
	expect_eq(read(ready[0], &c, 1), 1);
	for (int i = 0; i < 20; i++) {
		p = map_block(fd, &a);
		p[0] = 1;
		munmap(p, most);
		expect_eq(free_block(fd, a.out_handle), 0);
		/* let the worker have it */
		usleep((unsigned int)i * 500);
		expect_eq(alloc_block(fd, most, &a), 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status));
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 20));
	close(ready[0]);
	close(ready[1]);
}

/*
 * An allocation that finds no room has the quarantine checked, and does not wait until
 * that is polled: else each of these would take a second.
 */
TEST_F(device, a_shortage_waits_for_no_poll)
{
	struct buddy_alloc a, b;
	struct iovec io;
	int pipes[2];
	char *p;

	expect(!pipe(pipes));
	p = take_filled(fd, PAGE, &a);
	io = (struct iovec){ p, PAGE };
	expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
	give_back(fd, p, &a);
	for (int i = 0; i < 1000; i++)
		expect_eq(alloc_block(fd, region, &b), -ENOMEM);
	expect_eq(get_stats(fd).out_quarantined, PAGE);
	close(pipes[0]);
	close(pipes[1]);
	expect_eq(alloc_block(fd, region, &b), 0);
	expect_eq(free_block(fd, b.out_handle), 0);
}

/*
 * All that was released is checked before it gives up, also when what is checked first
 * is pinned.
 */
TEST_F(device, a_shortage_waits_for_all_that_was_released)
{
	const uint64_t most = region - 2 * MIB;
	int other = device_open(), pipes[2];
	struct buddy_alloc small, a;
	struct iovec io;
	char *p;

	expect(!pipe(pipes));
	p = take_filled(other, PAGE, &small);
	io = (struct iovec){ p, PAGE };
	expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
	give_back(other, p, &small);
	for (int i = 0; i < 20; i++) {
		int err = scatter_block(fd, most, &a);

		expect_eq(err, 0);
		if (err)
			break;
		p = map_block(fd, &a);
		for (uint64_t at = 0; at < most; at += 2 * MIB)
			p[at] = 1;
		give_back(fd, p, &a);
	}
	close(pipes[0]);
	close(pipes[1]);
	close(other);
	expect(wait_free(fd, region, 20));
}

static volatile bool churn_on;
static uint64_t churn_failures;

static void *churn(void *arg)
{
	const size_t length = 4 * MIB;
	int own = device_open();

	(void)arg;
	while (churn_on) {
		char *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);

		if (p == MAP_FAILED) {
			__atomic_add_fetch(&churn_failures, 1, __ATOMIC_RELAXED);
			continue;
		}
		p[length / 2] = 1;
		munmap(p, length);
	}
	close(own);
	return NULL;
}

/*
 * All together never want more than there is, and it is never in crumbs: but what is
 * free is always on its way back, and others take it when it arrives.
 */
TEST_F(device, nor_where_others_take_what_comes_back)
{
	enum { THREADS = 10 };
	pthread_t threads[THREADS];
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, region - THREADS * 4 * MIB, &a), 0);
	churn_on = true;
	for (int i = 0; i < THREADS; i++)
		expect(!pthread_create(&threads[i], NULL, churn, NULL));
	usleep(3000000);
	churn_on = false;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	expect_eq(churn_failures, 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 20));
}

TEST_HARNESS_MAIN
