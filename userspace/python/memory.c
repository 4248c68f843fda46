// SPDX-License-Identifier: MIT
/*
 * memory.c - where the bytes of a region come from: one block of libbuddymem, mapped.
 *
 * Calls nothing of Python: the interpreter's lock is released around these.
 */
#include <unistd.h>

#include "types.h"

#define HUGE	(2ull << 20)

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t pow2_above(uint64_t bytes)
{
	return bytes > 1 ? 2ull << (63 - __builtin_clzll(bytes - 1)) : 1;
}

/*
 * The process backend maps at any page. Its memory is sparse, so room for an aligned
 * start costs nothing; on a device the kernel finds one for what is 2 MiB or more.
 */
static uint64_t slack_for(uint64_t size)
{
	uint64_t page = page_size();
	uint64_t wanted = pow2_above(size < page ? page : size);

	return wanted < HUGE ? wanted : HUGE;
}

/* What is promised of an address; by luck it may be a multiple of more. */
static uint64_t promised(uint64_t start, uint64_t size, uint64_t slack)
{
	uint64_t most = slack ? slack : size < HUGE ? page_size() : HUGE;
	uint64_t least = start & -start;

	return least < most ? least : most;
}

static int map_block(struct memory *memory, uint64_t size, uint64_t slack)
{
	uint64_t start;
	void *p;
	int err = buddy_block_map(memory->block, &p);

	if (err)
		return err;
	start = (uint64_t)(uintptr_t)p;
	if (slack)
		start = (start + slack - 1) & ~(slack - 1);
	memory->base = (char *)(uintptr_t)start;
	memory->align = promised(start, size, slack);
	return 0;
}

static int open_block(struct memory *memory, struct memory_request *request)
{
	bool process = buddy_dev_backend(memory->dev)[0] == 'p';
	uint64_t slack = process ? slack_for(request->size) : 0;
	struct buddy_info info;
	int err = buddy_dev_info(memory->dev, &info);

	if (err)
		return err;
	memory->features = info.out_features;
	err = buddy_block_alloc(memory->dev, request->size + slack, 0, request->flags,
				&memory->block);
	request->mapping = !err;
	return err ? err : map_block(memory, request->size, slack);
}

int memory_open(struct memory *memory, struct memory_request *request)
{
	uint64_t all = request->size + slack_for(request->size);
	int err;

	/* the whole units that it takes there */
	if (request->flags & BUDDY_ALLOC_ALONE)
		all = (all + HUGE - 1) & ~(HUGE - 1);
	err = buddy_dev_open(&memory->dev, request->backend, request->path, all);

	if (!err)
		err = open_block(memory, request);
	if (err)
		memory_close(memory);
	return err;
}

void memory_close(struct memory *memory)
{
	buddy_block_free(memory->block);
	buddy_dev_close(memory->dev);
	memory->block = NULL;
	memory->dev = NULL;
	memory->base = NULL;
}

/* In a child of fork(): lets go of its copies; the block stays its parent's. */
void memory_forget(struct memory *memory)
{
	if (memory->block)
		buddy_block_unmap(memory->block);
	buddy_dev_close(memory->dev);
	memory->block = NULL;
	memory->dev = NULL;
}
