/* SPDX-License-Identifier: MIT */
/*
 * process.h - what the two halves of the process backend share.
 */
#ifndef BUDDY_MEM_PROCESS_H
#define BUDDY_MEM_PROCESS_H

#include <pthread.h>
#include <sys/types.h>

#include "core/buddy_core.h"
#include "private.h"

/*
 * Blocks start here in the file, which is sparse: no block has the offset 0,
 * and offsets keep every alignment.
 */
#define BUDDY_PROCESS_BASE	(1ull << 30)
#define BUDDY_PROCESS_ALIGN	BUDDY_PROCESS_BASE
/* What blocks that lie alone take whole ones of, as on a device. */
#define BUDDY_PROCESS_UNIT	(2ull << 20)

struct process_dev {
	struct buddy_dev dev;
	pid_t pid;		/* who opened it; a forked child must not use it */
	uint32_t shift;		/* a granule is a page: 2^shift bytes */
	pthread_mutex_t lock;	/* protects all below */
	struct buddy_core core;
	void *core_mem;
	uint32_t *alone;	/* by unit: granules of the block that lies alone and starts there, or 0 */
	uint64_t fails;
};

static inline uint64_t buddy_process_bytes(const struct process_dev *p,
					   uint64_t granules)
{
	return granules << p->shift;
}

static inline uint32_t buddy_process_unit(const struct process_dev *p)
{
	return (uint32_t)(BUDDY_PROCESS_UNIT >> p->shift);
}

/* Each answers the command of its name; called with the lock held. */
int buddy_process_alloc(struct process_dev *p, struct buddy_alloc *alloc);
int buddy_process_free(struct process_dev *p, struct buddy_free *request);
int buddy_process_batch(struct process_dev *p, struct buddy_batch *batch);
int buddy_process_trim(struct process_dev *p, struct buddy_resize *resize);
int buddy_process_grow(struct process_dev *p, struct buddy_resize *resize);

#endif /* BUDDY_MEM_PROCESS_H */
