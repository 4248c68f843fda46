// SPDX-License-Identifier: MIT
/*
 * gate.c - where the parent waits while a forked child copies.
 *
 * The gate is a page that both share. No descriptor, which a process may have none of,
 * and which other children inherit. The child locks it, says that it has, copies, and
 * unlocks it; if it dies the kernel does. So the parent waits for as long as there is
 * a child that copies, whatever becomes of it, and whoever reaps it. Only one that was
 * killed before its first steps costs WAIT_NS, and a fork() that failed a tenth of
 * that, if there are other children.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"

#define STEP_NS		100000000ll
#define WAIT_NS		10000000000ll

struct gate {
	pthread_mutex_t copying;	/* robust; the child has it */
	uint32_t locked;		/* 1: it has */
};

/* Return: NULL where there is no memory. */
struct gate *buddy_gate_create(void)
{
	struct gate *gate = mmap(NULL, sizeof(*gate), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attr;

	if (gate == MAP_FAILED)
		return NULL;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&gate->copying, &attr);
	pthread_mutexattr_destroy(&attr);
	return gate;
}

/* In this process: others that share it still have it. */
void buddy_gate_destroy(struct gate *gate)
{
	munmap(gate, sizeof(*gate));
}

static void futex(struct gate *gate, int op, uint32_t value)
{
	const struct timespec step = { 0, STEP_NS };

	syscall(SYS_futex, &gate->locked, op, value,
		op == FUTEX_WAIT ? &step : NULL, NULL, 0);
}

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static bool no_children(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) &&
	       errno == ECHILD;
}

/* Before fork(). */
void buddy_gate_arm(struct gate *gate)
{
	gate->locked = 0;
}

/*
 * In the parent: waits until the child has copied, or is dead. @failed: fork() may
 * have made none; the handlers of others can have left that errno, too. Return: false
 * where there was none; should it come yet, it finds this gate.
 */
bool buddy_gate_wait(struct gate *gate, bool failed)
{
	long long left = failed ? WAIT_NS / 10 : WAIT_NS, took;

	while (left > 0 && !__atomic_load_n(&gate->locked, __ATOMIC_ACQUIRE) &&
	       !(failed && no_children())) {
		took = now_ns();
		futex(gate, FUTEX_WAIT, 0);
		/* signals cut it short; one that was long stopped the child, too */
		took = now_ns() - took;
		left -= took < STEP_NS ? took : STEP_NS;
	}
	if (!__atomic_load_n(&gate->locked, __ATOMIC_ACQUIRE))
		return false;
	if (pthread_mutex_lock(&gate->copying) == EOWNERDEAD)
		pthread_mutex_consistent(&gate->copying);
	pthread_mutex_unlock(&gate->copying);
	return true;
}

/* In the child, around its copying. */
void buddy_gate_enter(struct gate *gate)
{
	pthread_mutex_lock(&gate->copying);
	__atomic_store_n(&gate->locked, 1, __ATOMIC_RELEASE);
	futex(gate, FUTEX_WAKE, 1);
}

void buddy_gate_leave(struct gate *gate)
{
	pthread_mutex_unlock(&gate->copying);
}
