// SPDX-License-Identifier: MIT
/*
 * block.c - a block in the hands of a user: handle, mapping, end.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "private.h"

struct buddy_block {
	struct buddy_dev *dev;
	void *address;		/* NULL while not mapped */
	uint64_t length;
	uint64_t offset;
	uint32_t handle;
};

int buddy_block_request(struct buddy_dev *dev, struct buddy_alloc *request,
			struct buddy_block **result)
{
	struct buddy_block *block = malloc(sizeof(*block));
	int err;

	*result = NULL;
	if (!block)
		return -ENOMEM;
	request->size = sizeof(*request);
	err = dev->ops->call(dev, BUDDY_IOC_ALLOC, request);
	if (err) {
		free(block);
		return err;
	}
	*block = (struct buddy_block){
		.dev = dev,
		.length = request->out_length,
		.offset = request->out_offset,
		.handle = request->out_handle,
	};
	*result = block;
	return 0;
}

int buddy_block_alloc(struct buddy_dev *dev, uint64_t length, uint64_t align,
		      uint32_t flags, struct buddy_block **block)
{
	struct buddy_alloc request = {
		.length = length,
		.align = align,
		.flags = flags,
	};

	return buddy_block_request(dev, &request, block);
}

uint64_t buddy_block_length(const struct buddy_block *block)
{
	return block->length;
}

uint64_t buddy_block_offset(const struct buddy_block *block)
{
	return block->offset;
}

int buddy_block_map(struct buddy_block *block, void **address)
{
	if (!block->address) {
		void *p = mmap(NULL, block->length, PROT_READ | PROT_WRITE,
			       MAP_SHARED, block->dev->fd, (off_t)block->offset);

		if (p == MAP_FAILED)
			return -errno;
		block->address = p;
	}
	*address = block->address;
	return 0;
}

void buddy_block_unmap(struct buddy_block *block)
{
	if (block->address)
		munmap(block->address, block->length);
	block->address = NULL;
}

int buddy_block_share(struct buddy_block *block, uint32_t flags)
{
	struct buddy_share request = {
		.size = sizeof(request),
		.flags = flags,
		.handle = block->handle,
	};
	int err = block->dev->ops->call(block->dev, BUDDY_IOC_SHARE, &request);

	return err ? err : request.out_fd;
}

int buddy_block_free(struct buddy_block *block)
{
	struct buddy_free request = { .size = sizeof(request) };
	int err;

	if (!block)
		return 0;
	buddy_block_unmap(block);
	request.handle = block->handle;
	err = block->dev->ops->call(block->dev, BUDDY_IOC_FREE, &request);
	free(block);
	return err;
}
