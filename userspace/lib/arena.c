// SPDX-License-Identifier: MIT
/*
 * arena.c - the addresses of a pool, and blocks of the device mapped there.
 *
 * The arena is reserved without access, aligned to the largest alignment there is,
 * so that alignment in it is alignment. A span lies at a slot and covers as many as
 * it needs; where it ends before its last slot, the rest of that stays without
 * access, and catches who runs over the end.
 *
 * Everything but creation and end is called with the pool's lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pool.h"

void *buddy_books_alloc(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void buddy_books_free(void *books, size_t bytes)
{
	if (books)
		munmap(books, bytes);
}

/* Addresses without access. Return: where, or MAP_FAILED. */
void *buddy_arena_reserve(void *address, uint64_t bytes, int flags)
{
	return mmap(address, bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

static int reserve_aligned(struct buddy_pool *pool, uint64_t bytes)
{
	uint64_t all = bytes + ARENA_ALIGN, before;
	void *p;

	if (all < bytes || all > SIZE_MAX)
		return -ENOMEM;
	p = buddy_arena_reserve(NULL, all, 0);
	if (p == MAP_FAILED)
		return -errno;
	pool->base = ((uintptr_t)p + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
	before = pool->base - (uintptr_t)p;
	if (before)
		munmap(p, before);
	if (ARENA_ALIGN - before)
		munmap((void *)(pool->base + (uintptr_t)bytes), ARENA_ALIGN - before);
	return 0;
}

int buddy_pool_refused(const struct buddy_pool *pool, uint64_t bytes, int error)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = OP_POOL_CREATE, .error = error, .length = bytes,
		.flags = pool->flags, .chunk = pool->chunk_shift ? chunk_bytes(pool) : 0 },
		pool->dev, NULL);
}

int buddy_object_refused(const struct buddy_pool *pool, uint64_t length, uint64_t wrong,
			 int error)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = OP_POOL_ALLOC, .error = error, .length = length,
		.need = wrong, .have = pool->limit, .region = pool->region,
		.taken = pool->bytes }, pool->dev, NULL);
}

int buddy_pool_is_foreign(const struct buddy_pool *pool, enum buddy_operation operation)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = operation, .error = -EPERM, .inside = pool->inside },
		pool->dev, NULL);
}

int buddy_arena_create(struct buddy_pool *pool, uint64_t bytes)
{
	uint64_t slots = ((bytes - 1) >> pool->chunk_shift) + 1;
	uint64_t map_bytes, span_bytes;
	uint8_t *books;
	int err;

	if (slots > BUDDY_CORE_MAX_GRANULES / ARENA_TIMES)
		return buddy_pool_refused(pool, bytes, -EINVAL);
	slots *= ARENA_TIMES;
	pool->nr_slots = (uint32_t)slots;
	pool->granules = slots << (pool->chunk_shift - GRANULE_SHIFT);
	map_bytes = pool->granules;
	span_bytes = (slots * sizeof(*pool->span) + 15) & ~15ull;
	pool->books_bytes = map_bytes + span_bytes +
			    buddy_core_bytes(pool->nr_slots);
	if (pool->books_bytes > SIZE_MAX)
		return buddy_pool_refused(pool, pool->books_bytes, -ENOMEM);
	books = buddy_books_alloc(pool->books_bytes);
	if (!books)
		return buddy_pool_refused(pool, pool->books_bytes, -errno);
	pool->map = books;
	pool->span = (void *)(books + map_bytes);
	buddy_core_init(&pool->slots, pool->nr_slots, books + map_bytes + span_bytes);
	err = reserve_aligned(pool, slots << pool->chunk_shift);
	if (!err)
		return 0;
	buddy_books_free(books, pool->books_bytes);
	return buddy_pool_refused(pool, (slots << pool->chunk_shift) + ARENA_ALIGN, err);
}

void buddy_arena_destroy(struct buddy_pool *pool)
{
	munmap((void *)pool->base, pool->granules << GRANULE_SHIFT);
	buddy_books_free(pool->map, pool->books_bytes);
}

static int span_map(struct buddy_pool *pool, struct span *span, uint64_t length,
		    void *address)
{
	int err = buddy_dev_renew(pool->dev);

	if (err)
		return err;
	err = buddy_block_alloc(pool->dev, length, 0, 0, &span->block);
	if (err)
		return err;
	span->length = buddy_block_length(span->block);
	err = buddy_block_map_at(span->block, address);
	if (err) {
		/* a failed MAP_FIXED may have taken the reservation away */
		buddy_arena_reserve(address, span->length, MAP_FIXED);
		buddy_block_free(span->block);
	}
	return err;
}

/* May the pool take as much? Before anything is mapped for it. Return: 0, -errno. */
int buddy_span_allowed(const struct buddy_pool *pool, uint64_t length)
{
	uint64_t page_length = (length + pool->page - 1) & ~(uint64_t)(pool->page - 1);

	if (page_length > pool->limit || page_length < length)
		return buddy_object_refused(pool, length, page_length, -EFBIG);
	if (page_length > pool->limit - pool->bytes)
		return buddy_object_refused(pool, length, page_length, -ENOMEM);
	return 0;
}

/* Takes a block that is allowed, and maps it. @align: a power of two. Return: 0, -errno. */
int buddy_span_take(struct buddy_pool *pool, struct span *span, uint64_t length,
		    uint64_t align, uint32_t *slot)
{
	uint64_t slots = ((length - 1) >> pool->chunk_shift) + 1;
	long at;
	int err;

	at = buddy_core_alloc(&pool->slots, (uint32_t)slots,
			      (uint32_t)(align >> pool->chunk_shift));
	if (at < 0)
		return buddy_object_refused(pool, length, length, -ENOMEM);
	err = span_map(pool, span, length, slot_address(pool, (uint32_t)at));
	if (err) {
		buddy_core_free(&pool->slots, (uint32_t)at, (uint32_t)slots);
		return err;
	}
	span->slots = (uint32_t)slots;
	*slot = (uint32_t)at;
	pool->span[*slot] = span;
	pool->bytes += span->length;
	pool->spans++;
	pool->takes++;
	return 0;
}

/* Where the addresses cannot be reserved again, others may get them: the slots stay used. */
void buddy_span_return(struct buddy_pool *pool, struct span *span, uint32_t slot)
{
	void *p = buddy_arena_reserve(slot_address(pool, slot), span->length, MAP_FIXED);

	if (buddy_dev_is_open(pool->dev))
		buddy_block_free(span->block);
	else
		free(span->block);	/* the file is closed: it ends with the mapping */
	if (p != MAP_FAILED)
		buddy_core_free(&pool->slots, slot, span->slots);
	pool->span[slot] = NULL;
	pool->bytes -= span->length;
	pool->spans--;
	pool->returns++;
}
