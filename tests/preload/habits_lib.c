// SPDX-License-Identifier: MIT
/*
 * habits_lib.c - a library that habits_test is linked with: it has a fork handler from
 * its start, which is before that of what is preloaded in the usual order.
 */
#include <pthread.h>
#include <stddef.h>

/* What the program wants done before a fork(). */
void (*lib_at_fork)(void);

static void prepare(void)
{
	if (lib_at_fork)
		lib_at_fork();
}

__attribute__((constructor)) static void start(void)
{
	pthread_atfork(prepare, NULL, NULL);
}
