/* SPDX-License-Identifier: MIT */
/*
 * lib_churn.h - what serves the streams of churn.h: libbuddymem, on the process backend.
 * Its memory is sparse: a region costs what its books cost.
 */
#ifndef LIB_CHURN_H
#define LIB_CHURN_H

#include <buddy_mem.h>

#include "churn.h"

static struct buddy_dev *lib_dev;
static uint64_t lib_base;	/* offset of a block at the start of the region */
static uint64_t lib_largest;	/* out_largest of the last refusal */

static inline struct buddy_block *lib_block(const struct churn_block *block)
{
	return (struct buddy_block *)(uintptr_t)block->handle;
}

static inline int lib_alloc(int owner, struct churn_block *block, uint32_t flags)
{
	struct buddy_alloc request = { .length = (uint64_t)block->pages * CHURN_PAGE, .flags = flags };
	struct buddy_block *b;
	int err = buddy_block_request(lib_dev, &request, &b);

	(void)owner;
	if (err) {
		lib_largest = request.out_largest;
		return err;
	}
	block->handle = (uintptr_t)b;
	block->offset = buddy_block_offset(b);
	if (!(flags & BUDDY_ALLOC_SCATTER))
		block->first = (uint32_t)((block->offset - lib_base) / CHURN_PAGE);
	return 0;
}

static inline void lib_free(int owner, struct churn_block *block)
{
	(void)owner;
	if (buddy_block_free(lib_block(block)))
		abort();
}

static inline uint32_t lib_largest_pages(void)
{
	return (uint32_t)(lib_largest / CHURN_PAGE);
}

static inline bool lib_agrees(const struct room *room)
{
	struct buddy_extent_entry entries[256];
	uint64_t start = 0;
	int n;

	while ((n = buddy_dev_extents(lib_dev, &start, entries, 256)) > 0)
		for (int i = 0; i < n; i++)
			if (!churn_agrees(room, &entries[i]))
				return false;
	return !n;
}

static inline bool lib_grows(int owner, const struct churn_block *block, uint32_t more)
{
	uint64_t length = (uint64_t)block->pages * CHURN_PAGE;

	(void)owner;
	if (buddy_block_grow(lib_block(block), length + (uint64_t)more * CHURN_PAGE))
		return false;
	if (buddy_block_trim(lib_block(block), length))
		abort();
	return true;
}

/* A new region of @bytes in place of the last one; NULL if there is none. */
static inline const struct churn_backend *lib_open(uint64_t bytes)
{
	static struct churn_backend backend = {
		.alloc = lib_alloc, .free = lib_free, .agrees = lib_agrees, .grows = lib_grows,
		.largest = lib_largest_pages,
	};
	struct buddy_block *all;

	buddy_dev_close(lib_dev);
	if (buddy_dev_open(&lib_dev, BUDDY_BACKEND_PROCESS, NULL, bytes) ||
	    buddy_block_alloc(lib_dev, bytes, 0, 0, &all)) {
		printf("# %s\n", buddy_error());
		return NULL;
	}
	lib_base = buddy_block_offset(all);
	backend.pages = (uint32_t)(bytes / CHURN_PAGE);
	return buddy_block_free(all) ? NULL : &backend;
}

#endif /* LIB_CHURN_H */
