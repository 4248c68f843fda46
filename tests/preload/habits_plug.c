// SPDX-License-Identifier: MIT
/*
 * habits_plug.c - a plugin for habits_test: its start waits for a thread of its own,
 * which lets a small buffer become a large one. All within dlopen().
 */
#include <pthread.h>
#include <stdlib.h>

static void *grow(void *unused)
{
	void *p = malloc(1000);

	(void)unused;
	free(realloc(p, 2u << 20));
	return NULL;
}

__attribute__((constructor)) static void start(void)
{
	pthread_t t;

	if (!pthread_create(&t, NULL, grow, NULL))
		pthread_join(t, NULL);
}
