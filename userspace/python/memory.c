// SPDX-License-Identifier: MIT
/*
 * memory.c - where the bytes of a region come from: one block of libbuddymem, mapped.
 *
 * Calls nothing of Python: the interpreter's lock is released around these.
 */
#include "types.h"

#define HUGE	(2ull << 20)
#define PAGE	4096ull

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
	uint64_t wanted = pow2_above(size < PAGE ? PAGE : size);

	return wanted < HUGE ? wanted : HUGE;
}

/* What is promised of an address; by luck it may be a multiple of more. */
static uint64_t promised(uint64_t start, uint64_t size, uint64_t slack)
{
	uint64_t most = slack ? slack : size < HUGE ? PAGE : HUGE;
	uint64_t least = start & -start;

	return least < most ? least : most;
}

static int map_block(struct region *region, uint64_t slack)
{
	uint64_t start;
	void *p;
	int err = buddy_block_map(region->block, &p);

	if (err)
		return err;
	start = (uint64_t)(uintptr_t)p;
	if (slack)
		start = (start + slack - 1) & ~(slack - 1);
	region->base = (char *)(uintptr_t)start;
	region->align = promised(start, region->size, slack);
	return 0;
}

static int open_block(struct region *region, struct memory_request *request)
{
	bool process = buddy_dev_backend(region->dev)[0] == 'p';
	uint64_t slack = process ? slack_for(request->size) : 0;
	struct buddy_info info;
	int err = buddy_dev_info(region->dev, &info);

	if (err)
		return err;
	region->features = info.out_features;
	request->reply = (struct buddy_alloc){
		.length = request->size + slack,
		.flags = request->flags,
	};
	err = buddy_block_request(region->dev, &request->reply, &region->block);
	return err ? err : map_block(region, slack);
}

int memory_open(struct region *region, struct memory_request *request)
{
	uint64_t all = request->size + slack_for(request->size);
	int err = buddy_dev_open(&region->dev, request->backend, request->path, all);

	if (!err)
		err = open_block(region, request);
	if (err)
		memory_close(region);
	return err;
}

void memory_close(struct region *region)
{
	buddy_block_free(region->block);
	buddy_dev_close(region->dev);
	region->block = NULL;
	region->dev = NULL;
	region->base = NULL;
}

/* In a child of fork(): lets go of its copies; the block stays its parent's. */
void memory_forget(struct region *region)
{
	if (region->block)
		buddy_block_unmap(region->block);
	buddy_dev_close(region->dev);
	region->block = NULL;
	region->dev = NULL;
}
