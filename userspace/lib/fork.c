// SPDX-License-Identifier: MIT
/*
 * fork.c - the list of all pools, and what fork() does to them.
 *
 * fork() happens with all locks of pools held by the thread that forks, so the child
 * finds every tree whole. It begins with new locks.
 *
 * Blocks are mapped shared: parent and child see one memory. So in the child a pool
 * is foreign: what it holds can be used, and nothing be allocated or freed, as with
 * blocks. A pool with BUDDY_POOL_FORK_COPY is to the child what malloc() is: a copy.
 * The child copies what is in use to private memory at the same addresses, while the
 * parent's forking thread waits; a pipe that closes when the child is done, or dead,
 * ends the wait. Then the child lets go of the parent's device, and opens its own
 * when it needs more.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool.h"

pthread_mutex_t buddy_registry = PTHREAD_MUTEX_INITIALIZER;

static struct buddy_pool *pools;	/* registry */
static uint64_t last_id;		/* registry */
static int cancel;			/* registry: of the thread that forks */
static int gate[2];			/* registry: the pipe, or -1 */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool anything_to_copy(void)
{
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		if (pool->flags & BUDDY_POOL_FORK_COPY && pool->spans)
			return true;
	return false;
}

static void prepare(void)
{
	int state = buddy_cancel_off();

	pthread_mutex_lock(&buddy_registry);
	cancel = state;
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		pthread_mutex_lock(&pool->lock);
	gate[0] = gate[1] = -1;
	/* without a pipe the parent does not wait, and may change what is copied */
	if (anything_to_copy() && pipe2(gate, O_CLOEXEC))
		gate[0] = gate[1] = -1;
}

static void in_parent(void)
{
	int state = cancel;
	char nothing;

	if (gate[0] >= 0) {
		close(gate[1]);
		/* 0 is the end; the one error is a signal */
		while (read(gate[0], &nothing, 1) < 0)
			;
		close(gate[0]);
	}
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		pthread_mutex_unlock(&pool->lock);
	pthread_mutex_unlock(&buddy_registry);
	buddy_cancel_restore(state);
}

static void copy_failed(void)
{
	static const char text[] =
		"libbuddymem: fork: no memory for the child's copy\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	abort();
}

/* Puts private memory with the same content in the place of a span. */
static void copy_span(struct buddy_pool *pool, struct span *span, uint32_t slot)
{
	struct chunk *chunk = span->is_chunk ? (struct chunk *)span : NULL;
	uint8_t *from = slot_address(pool, slot), *to;
	struct buddy_extent e;

	to = mmap(NULL, span->length, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		copy_failed();
	if (!chunk)
		memcpy(to, from, span->length);
	for (uint32_t at = 0; chunk && at < chunk->core.granules;
	     at = e.offset + e.size) {
		uint64_t start;

		buddy_core_find(&chunk->core, at, &e);
		start = (uint64_t)e.offset << GRANULE_SHIFT;
		if (e.used)
			memcpy(to + start, from + start,
			       (uint64_t)e.size << GRANULE_SHIFT);
	}
	if (mremap(to, span->length, span->length, MREMAP_MAYMOVE | MREMAP_FIXED,
		   from) == MAP_FAILED)
		copy_failed();
}

static void child_of_pool(struct buddy_pool *pool)
{
	bool copy = pool->flags & BUDDY_POOL_FORK_COPY && !pool->foreign;
	struct buddy_extent e;

	for (uint32_t at = 0; at < pool->nr_slots; at = e.offset + e.size) {
		struct span *span;

		buddy_core_find(&pool->slots, at, &e);
		span = pool->span[e.offset];
		if (!e.used || !span)
			continue;
		if (copy && span->block)
			copy_span(pool, span, e.offset);
		/* the block is the parent's; its object here is ours */
		free(span->block);
		span->block = NULL;
		if (copy)
			buddy_span_copied(pool, span);
	}
	if (copy) {
		buddy_dev_leave(pool->dev);
	} else {
		pool->foreign = true;
		/* no heap is cached as this pool's: every call takes the lock */
		pool->id = ++last_id;
	}
	buddy_heaps_adopt(pool);
	pthread_mutex_init(&pool->lock, NULL);
}

static void in_child(void)
{
	if (gate[0] >= 0)
		close(gate[0]);
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		child_of_pool(pool);
	if (gate[1] >= 0)
		close(gate[1]);
	pthread_mutex_init(&buddy_registry, NULL);
	buddy_cancel_restore(cancel);
}

static void init_once(void)
{
	pthread_atfork(prepare, in_parent, in_child);
}

/*
 * Earlier is better: what is registered first has its locks taken last, after the
 * handlers of others, which may use pools. Hence at the start of the library.
 */
__attribute__((constructor))
void buddy_registry_init(void)
{
	pthread_once(&once, init_once);
}

void buddy_registry_add(struct buddy_pool *pool)
{
	buddy_registry_init();
	pthread_mutex_lock(&buddy_registry);
	pool->id = ++last_id;
	pool->next = pools;
	pools = pool;
	pthread_mutex_unlock(&buddy_registry);
}

/* Ends the heaps of a pool, too. */
void buddy_registry_remove(struct buddy_pool *pool)
{
	struct buddy_pool **at = &pools;

	pthread_mutex_lock(&buddy_registry);
	while (*at != pool)
		at = &(*at)->next;
	*at = pool->next;
	buddy_heaps_destroy(pool);
	pthread_mutex_unlock(&buddy_registry);
}
