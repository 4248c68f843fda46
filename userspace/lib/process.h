/* SPDX-License-Identifier: MIT */
/*
 * process.h - what the files of the process backend share.
 */
#ifndef BUDDY_MEM_PROCESS_H
#define BUDDY_MEM_PROCESS_H

#include <pthread.h>
#include <sys/types.h>

#include "core/buddy_place.h"
#include "private.h"

/*
 * Blocks start here in the file, which is sparse: no block has the offset 0,
 * and offsets keep every alignment.
 */
#define BUDDY_PROCESS_BASE	(1ull << 30)
#define BUDDY_PROCESS_ALIGN	BUDDY_PROCESS_BASE

/**
 * struct process_block - a block, or a slot of the table that has none
 * @handle: its handle; of an empty slot the one that it had last, 0 if none
 * @first: first granule; of an empty slot the next empty one
 * @granules: length; 0: the slot is empty
 * @alone: it has its last unit as a whole, whatever its length is
 */
struct process_block {
	uint64_t handle;
	uint32_t first;
	uint32_t granules;
	bool alone;
};

/**
 * struct process_table - blocks by handle
 * @slots: the slots
 * @nr: number of slots that were ever in use
 * @room: number of slots
 * @empty: the first of the empty slots before @nr; @nr: there is none
 */
struct process_table {
	struct process_block *slots;
	uint32_t nr;
	uint32_t room;
	uint32_t empty;
};

struct process_dev {
	struct buddy_dev dev;
	pid_t pid;		/* who opened it; a forked child must not use it */
	uint32_t shift;		/* a granule is a page: 2^shift bytes */
	uint32_t granules;	/* of the region */
	pthread_mutex_t lock;	/* protects all below */
	struct buddy_place place;
	struct buddy_place_owner owner;
	struct process_table blocks;
	void *core_mem;
	uint32_t low_water;	/* the fewest granules that were ever free */
	uint64_t allocs;
	uint64_t frees;
	uint64_t fails;
};

static inline uint64_t buddy_process_bytes(const struct process_dev *p,
					   uint64_t granules)
{
	return granules << p->shift;
}

/* There is one owner, so what is free in its split units is free to every caller. */
static inline uint32_t buddy_process_free_granules(const struct process_dev *p)
{
	return p->place.core.free * BUDDY_PLACE_UNIT + p->owner.private;
}

/* The longest block that could be had now. */
static inline uint32_t buddy_process_longest(struct process_dev *p)
{
	uint32_t granules;

	while (!buddy_place_longest(&p->place, &p->owner, &granules))
		;
	return granules;
}

/* All below is called with the lock held. Each answers the command of its name. */
int buddy_process_alloc(struct process_dev *p, struct buddy_alloc *alloc);
int buddy_process_free(struct process_dev *p, struct buddy_free *request);
int buddy_process_batch(struct process_dev *p, struct buddy_batch *batch);
int buddy_process_trim(struct process_dev *p, struct buddy_resize *resize);
int buddy_process_grow(struct process_dev *p, struct buddy_resize *resize);

/* The table is empty, whatever it was. No handle is issued twice after that. */
void buddy_process_table_reset(struct process_table *table);
/* From now on there is an empty slot. Return: 0 or -ENOMEM. */
int buddy_process_table_reserve(struct process_table *table);
/* The slot that was reserved has a block, of which all but the handle is set. */
uint64_t buddy_process_table_insert(struct process_table *table,
				    const struct process_block *block);
/* Return: the block, or NULL. */
struct process_block *buddy_process_table_find(const struct process_table *table,
					       uint64_t handle);
void buddy_process_table_remove(struct process_table *table, struct process_block *block);

#endif /* BUDDY_MEM_PROCESS_H */
