// SPDX-License-Identifier: MIT
/*
 * stress.c - several processes that allocate, map, write, check and free at
 * random, and are killed and replaced now and then.
 *
 * Usage: stress [PROCESSES [SECONDS [SEED]]]    (default 8, 30, the time)
 *
 * Each word of a block is written with a stamp of its owner and place. A word
 * that is not zero in a new block, or not the stamp later, is corruption. The
 * parent kills a child every half second. At the end everything must be free
 * and the counters must balance.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "harness.h"
#include "rnd.h"

#define BLOCKS 64

struct held {
	struct buddy_alloc a;
	uint64_t *p;
	uint64_t stamp;
};

struct totals {
	uint64_t allocs, fails, corrupt;
};


static bool block_is(const uint64_t *p, uint64_t words, uint64_t stamp)
{
	/* all of small blocks, a word in 64 of large ones */
	uint64_t step = words > 16384 ? 61 : 1;

	for (uint64_t i = 0; i < words; i += step)
		if (p[i] != (stamp ? stamp + i : 0))
			return false;
	return true;
}

static void block_write(uint64_t *p, uint64_t words, uint64_t stamp)
{
	uint64_t step = words > 16384 ? 61 : 1;

	for (uint64_t i = 0; i < words; i += step)
		p[i] = stamp + i;
}

static void take(int fd, struct held *h, volatile struct totals *t)
{
	/* 4 KiB to 4 MiB, log-uniform */
	uint64_t length = (PAGE << rnd() % 11) - rnd() % PAGE;

	if (alloc_block(fd, length, &h->a)) {
		t->fails++;
		return;
	}
	h->p = map_block(fd, &h->a);
	if (h->p == MAP_FAILED) {
		t->corrupt++;
		_exit(1);
	}
	h->stamp = rnd() << 20 | 1;
	if (!block_is(h->p, h->a.out_length / 8, 0))
		t->corrupt++;
	block_write(h->p, h->a.out_length / 8, h->stamp);
	t->allocs++;
}

static void give(int fd, struct held *h, volatile struct totals *t)
{
	if (!block_is(h->p, h->a.out_length / 8, h->stamp))
		t->corrupt++;
	/* in both orders: the handle or the mapping last */
	if (rnd() % 2) {
		munmap(h->p, h->a.out_length);
		t->corrupt += free_block(fd, h->a.out_handle) != 0;
	} else {
		t->corrupt += free_block(fd, h->a.out_handle) != 0;
		munmap(h->p, h->a.out_length);
	}
	h->p = NULL;
}

static void worker(volatile struct totals *t)
{
	static struct held held[BLOCKS];
	int fd = device_open();

	for (;;) {
		struct held *h = &held[rnd() % BLOCKS];

		if (!h->p)
			take(fd, h, t);
		else
			give(fd, h, t);
	}
}

static pid_t spawn(volatile struct totals *t)
{
	pid_t pid;

	rnd();
	pid = fork();
	if (!pid)
		worker(t);
	return pid;
}

int main(int argc, char **argv)
{
	int processes = argc > 1 ? atoi(argv[1]) : 8;
	int seconds = argc > 2 ? atoi(argv[2]) : 30;
	double end = now() + seconds;
	volatile struct totals *t;
	struct totals sum = { 0 };
	pid_t pids[64];
	int kills = 0;

	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : (uint64_t)time(NULL) | 1;
	if (processes < 1 || processes > 64 || seconds < 1)
		return 2;
	printf("1..1\n# %d processes, %d s, seed %llu\n", processes, seconds,
	       (unsigned long long)seed);
	fflush(stdout);
	t = mmap(NULL, sizeof(*t) * 64, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < processes; i++)
		pids[i] = spawn(&t[i]);
	while (now() < end) {
		int i = (int)(rnd() % (uint64_t)processes), status;

		usleep(500000);
		kill(pids[i], SIGKILL);
		waitpid(pids[i], &status, 0);
		/* died before: only a failed check does that */
		expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		pids[i] = spawn(&t[i]);
		kills++;
	}
	for (int i = 0; i < processes; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		sum.allocs += t[i].allocs;
		sum.fails += t[i].fails;
		sum.corrupt += t[i].corrupt;
	}
	expect(sum.allocs > 0);
	expect_eq(sum.corrupt, 0);
	expect_empty();
	printf("# %llu blocks, %llu times no memory, %d killed\n",
	       (unsigned long long)sum.allocs, (unsigned long long)sum.fails,
	       kills);
	printf("%sok 1 - stress: no corruption, all memory came back\n",
	       tap_failures ? "not " : "");
	return tap_failures ? 1 : 0;
}
