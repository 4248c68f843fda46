// SPDX-License-Identifier: MIT
/*
 * fork.c - the list of all pools, and what fork() does to them.
 *
 * fork() happens with all locks of pools held by the thread that forks, so the child
 * finds every tree whole, and unlocks them as the parent does.
 *
 * Blocks are mapped shared: parent and child see one memory. So in the child a pool
 * is foreign: what it holds can be used, and nothing be allocated or freed, as with
 * blocks. A pool with BUDDY_POOL_FORK_COPY is to the child what malloc() is: a copy.
 * The child copies what is in use to private memory at the same addresses, while the
 * parent's forking thread waits at a gate (gate.c). Then the child lets go of the
 * parent's device, and opens its own when it needs more.
 *
 * A signal handler may fork while its thread is in the library, and has locks already.
 * Nothing is locked then: the child gets a copy of all that is mapped, its pools are as
 * foreign, and their locks, which another thread may have had, are new.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool.h"

pthread_mutex_t buddy_registry = PTHREAD_MUTEX_INITIALIZER;
_Thread_local unsigned int buddy_locks;

static struct buddy_pool *pools;	/* registry */
static uint64_t last_id;		/* registry */
static int cancel;			/* registry: of the thread that forks */
static struct gate *gate;		/* registry; NULL until a pool needs it */
static pid_t gate_owner;		/* registry: 0 where @gate is another's */
static bool gate_armed;			/* registry: the child has to copy */
static int errno_before;		/* registry: fork() */
static _Thread_local struct {
	struct gate *gate;
	int errno_before;
	uint8_t cancel;
	bool forks;
} inside __attribute__((tls_model("initial-exec")));	/* see prepare_inside() */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A new gate. Where there is no memory the old one stays. */
static int gate_renew(void)
{
	struct gate *new = buddy_gate_create();

	if (!new)
		return -ENOMEM;
	if (gate)
		buddy_gate_destroy(gate);
	gate = new;
	gate_owner = getpid();
	return 0;
}

static bool anything_to_copy(void)
{
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		if (pool->flags & BUDDY_POOL_FORK_COPY && pool->spans)
			return true;
	return false;
}

/*
 * The thread that forks is in the library: this is a signal handler of it. It cannot
 * wait for its own locks, and with none no book can be trusted.
 */
static void prepare_inside(void)
{
	inside.cancel = (uint8_t)buddy_cancel_off();
	inside.gate = buddy_gate_create();
	inside.forks = true;
	inside.errno_before = errno;
	errno = 0;
}

static void parent_inside(void)
{
	int err = errno;

	if (inside.gate) {
		buddy_gate_wait(inside.gate, err);
		buddy_gate_destroy(inside.gate);
	}
	inside.forks = false;
	buddy_cancel_restore(inside.cancel);
	errno = err ? err : inside.errno_before;
}

static void prepare(void)
{
	int state;

	if (buddy_locks) {
		prepare_inside();
		return;
	}
	state = buddy_cancel_off();
	buddy_lock(&buddy_registry);
	cancel = state;
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		buddy_lock(&pool->lock);
	gate_armed = anything_to_copy();
	if (!gate_armed)
		return;
	/* that of a parent, also where no handler of ours has seen the child made */
	if (gate_owner != getpid())
		gate_renew();
	buddy_gate_arm(gate);
	/* fork() sets it only where it fails */
	errno_before = errno;
	errno = 0;
}

static void in_parent(void)
{
	int state, err = errno;

	if (inside.forks) {
		parent_inside();
		return;
	}
	state = cancel;
	if (gate_armed && !buddy_gate_wait(gate, err))
		gate_renew();
	if (gate_armed && !err)
		err = errno_before;
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		buddy_unlock(&pool->lock);
	buddy_unlock(&buddy_registry);
	buddy_cancel_restore(state);
	errno = err;
}

static void copy_failed(void)
{
	static const char text[] =
		"libbuddymem: fork: no memory for the child's copy\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	abort();
}

/* The pool's spans lie in the order of their addresses, as maps does. */
static void child_of_pool(struct buddy_pool *pool)
{
	bool copy = pool->flags & BUDDY_POOL_FORK_COPY && !pool->foreign;
	struct buddy_core_span e;
	struct maps maps;

	if (copy) {
		/* its descriptor may be the last there is, and is wanted now */
		buddy_dev_leave(pool->dev);
		buddy_maps_open(&maps);
	}
	for (uint32_t at = 0; at < pool->nr_slots; at = e.offset + e.size) {
		struct span *span;

		buddy_core_find(&pool->slots, at, &e);
		span = pool->span[e.offset];
		if (!e.used || !span)
			continue;
		if (copy && span->block && buddy_span_copy(&maps, pool, span, e.offset))
			copy_failed();
		/* the block is the parent's; its object here is ours */
		free(span->block);
		span->block = NULL;
		if (copy)
			buddy_span_copied(pool, span);
	}
	if (copy) {
		buddy_maps_close(&maps);
	} else {
		pool->foreign = true;
		/* no heap is cached as this pool's: every call takes the lock */
		pool->id = ++last_id;
	}
	buddy_heaps_adopt(pool);
	buddy_unlock(&pool->lock);
}

/*
 * The child has everything that its pools had, and is done with them: nothing can be
 * allocated or freed. Should the handler return, the call that it interrupted ends as
 * it would, or fails for want of the device.
 */
static void child_inside(void)
{
	if (inside.gate)
		buddy_gate_enter(inside.gate);
	for (struct buddy_pool *pool = pools; pool; pool = pool->next) {
		if (pool->flags & BUDDY_POOL_FORK_COPY && !pool->foreign) {
			buddy_dev_leave(pool->dev);
			if (buddy_arena_copy(pool))
				copy_failed();
		}
		pool->foreign = true;
		pool->inside = true;
		pool->id = ++last_id;
		pthread_mutex_init(&pool->lock, NULL);
	}
	buddy_heaps_forget();
	if (inside.gate)
		buddy_gate_leave(inside.gate);
	gate_owner = 0;
	inside.forks = false;
	pthread_mutex_init(&buddy_registry, NULL);
	buddy_cancel_restore(inside.cancel);
	errno = inside.errno_before;
}

static void in_child(void)
{
	int err = gate_armed ? errno_before : errno;

	if (inside.forks) {
		child_inside();
		return;
	}
	if (gate_armed)
		buddy_gate_enter(gate);
	for (struct buddy_pool *pool = pools; pool; pool = pool->next)
		child_of_pool(pool);
	if (gate_armed)
		buddy_gate_leave(gate);
	gate_owner = 0;
	buddy_unlock(&buddy_registry);
	buddy_cancel_restore(cancel);
	errno = err;
}

static void init_once(void)
{
	pthread_atfork(prepare, in_parent, in_child);
}

void buddy_registry_init(void)
{
	pthread_once(&once, init_once);
}

__attribute__((weak)) bool buddy_registry_starts(void)
{
	return true;
}

/*
 * Earlier is better: what is registered first has its locks taken last, after the
 * handlers of others, which may use pools. Hence at the start of the library.
 */
__attribute__((constructor)) static void start(void)
{
	if (buddy_registry_starts())
		buddy_registry_init();
}

/* Return: 0; -errno. */
int buddy_registry_add(struct buddy_pool *pool)
{
	buddy_registry_init();
	buddy_lock(&buddy_registry);
	if (pool->flags & BUDDY_POOL_FORK_COPY && !gate && gate_renew()) {
		buddy_unlock(&buddy_registry);
		return buddy_fail_memory(OP_POOL_CREATE, pool->dev, 0);
	}
	pool->id = ++last_id;
	pool->next = pools;
	pools = pool;
	buddy_unlock(&buddy_registry);
	return 0;
}

/* Ends the heaps of a pool, too. */
void buddy_registry_remove(struct buddy_pool *pool)
{
	struct buddy_pool **at = &pools;

	buddy_lock(&buddy_registry);
	while (*at != pool)
		at = &(*at)->next;
	*at = pool->next;
	buddy_heaps_destroy(pool);
	buddy_unlock(&buddy_registry);
}
