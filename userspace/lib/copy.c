// SPDX-License-Identifier: MIT
/*
 * copy.c - puts private memory with the same content in the place of a span, in a
 * forked child.
 *
 * The program may have changed the access of pages (mprotect(): guards, code), or kept
 * some from its children (MADV_DONTFORK). So the copy is made by mapping, as
 * /proc/self/maps has them: each gets the access that it had, and what is not there
 * stays so. Without /proc a span is one mapping, to be read and written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool.h"

static int next_char(struct maps *maps)
{
	ssize_t n;

	if (maps->at == maps->end) {
		do
			n = read(maps->fd, maps->text, sizeof(maps->text));
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			return -1;
		maps->at = 0;
		maps->end = (uint32_t)n;
	}
	return maps->text[maps->at++];
}

/* A hexadecimal number, and the character after it. */
static uint64_t next_number(struct maps *maps)
{
	uint64_t value = 0;

	for (int c = next_char(maps); ; c = next_char(maps)) {
		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return value;
	}
}

/* The next mapping; after the last one, one at the end of all addresses. */
static void next_mapping(struct maps *maps)
{
	int c;

	maps->from = next_number(maps);
	maps->to = next_number(maps);
	maps->prot = next_char(maps) == 'r' ? PROT_READ : 0;
	maps->prot |= next_char(maps) == 'w' ? PROT_WRITE : 0;
	maps->prot |= next_char(maps) == 'x' ? PROT_EXEC : 0;
	maps->shared = next_char(maps) == 's';
	do
		c = next_char(maps);
	while (c >= 0 && c != '\n');
	if (c < 0)
		maps->from = maps->to = UINT64_MAX;
}

/* Without /proc: one mapping of everything. */
void buddy_maps_open(struct maps *maps)
{
	maps->fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	maps->at = maps->end = 0;
	maps->from = maps->to = 0;
	if (maps->fd >= 0)
		return;
	maps->to = UINT64_MAX;
	maps->prot = PROT_READ | PROT_WRITE;
	maps->shared = true;
}

void buddy_maps_close(struct maps *maps)
{
	if (maps->fd >= 0)
		close(maps->fd);
}

/* Bytes @from to @to; of those of a span the used ones. */
static void copy_used(const struct span *span, uint64_t base, uint64_t from, uint64_t to,
		      uint8_t *copy)
{
	const struct chunk *chunk = span && span->is_chunk ?
				    (const struct chunk *)span : NULL;
	struct buddy_core_span e;

	if (!chunk) {
		memcpy(copy, (void *)(uintptr_t)from, to - from);
		return;
	}
	for (uint32_t at = (uint32_t)((from - base) >> GRANULE_SHIFT);
	     at < (to - base) >> GRANULE_SHIFT; at = e.offset + e.size) {
		uint64_t first, last;

		buddy_core_find(&chunk->core, at, &e);
		if (!e.used)
			continue;
		first = base + ((uint64_t)e.offset << GRANULE_SHIFT);
		last = first + ((uint64_t)e.size << GRANULE_SHIFT);
		first = first > from ? first : from;
		last = last < to ? last : to;
		memcpy(copy + (first - from), (void *)(uintptr_t)first, last - first);
	}
}

/* The part of a mapping that is in the span; NULL: whatever lies there. */
static int copy_part(struct maps *maps, const struct span *span, uint64_t base,
		     uint64_t from, uint64_t to)
{
	uint64_t length = to - from;
	uint8_t *copy = mmap(NULL, length, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		return -ENOMEM;
	/* this mapping is the child's own, and has its end here */
	if ((!(maps->prot & PROT_READ) || maps->fd < 0) &&
	    mprotect((void *)(uintptr_t)from, length, PROT_READ))
		return -ENOMEM;
	copy_used(span, base, from, to, copy);
	if (maps->prot != (PROT_READ | PROT_WRITE) &&
	    mprotect(copy, length, maps->prot))
		return -ENOMEM;
	return mremap(copy, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
		      (void *)(uintptr_t)from) == MAP_FAILED ? -ENOMEM : 0;
}

/* Return: 0; -ENOMEM. */
int buddy_span_copy(struct maps *maps, struct buddy_pool *pool, struct span *span,
		    uint32_t slot)
{
	uint64_t base = (uintptr_t)slot_address(pool, slot), end = base + span->length;
	int err = 0;

	for (uint64_t at = base; at < end && !err;) {
		uint64_t from, to;

		while (maps->to <= at)
			next_mapping(maps);
		from = maps->from < at ? at : maps->from;
		from = from < end ? from : end;
		to = maps->to < end ? maps->to : end;
		/* a hole is not for others to be mapped in */
		if (at < from && buddy_arena_reserve((void *)(uintptr_t)at, from - at, MAP_FIXED) ==
		    MAP_FAILED)
			err = -ENOMEM;
		else if (from < to && maps->shared)
			err = copy_part(maps, span, base, from, to);
		at = from < end ? to : end;
	}
	return err;
}

/* Everything in the arena, where the books cannot be trusted. Return: 0; -ENOMEM. */
int buddy_arena_copy(struct buddy_pool *pool)
{
	uint64_t end = pool->base + (pool->granules << GRANULE_SHIFT);
	struct maps maps;
	int err = 0;

	buddy_maps_open(&maps);
	if (maps.fd < 0)
		return -ENOMEM;
	while (maps.to < end && !err) {
		next_mapping(&maps);
		if (maps.from >= pool->base && maps.to <= end && maps.shared)
			err = copy_part(&maps, NULL, pool->base, maps.from, maps.to);
	}
	buddy_maps_close(&maps);
	return err;
}
