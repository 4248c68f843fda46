// SPDX-License-Identifier: MIT
/*
 * block.c - a block in the hands of a user: handle, mapping, length, descriptors, end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "private.h"

void buddy_block_init(struct buddy_block *block, struct buddy_dev *dev,
		      const struct buddy_alloc *reply)
{
	*block = (struct buddy_block){
		.dev = dev,
		.length = reply->out_length,
		.offset = reply->out_offset,
		.handle = reply->out_handle,
		.fd = -1,
		.prot = PROT_READ | PROT_WRITE,
	};
}

int buddy_block_refused(struct buddy_dev *dev, const struct buddy_alloc *request, int error)
{
	struct buddy_failure failure = {
		.operation = OP_ALLOC,
		.error = error,
		.flags = request->flags,
		.length = request->length,
		.align = request->align,
	};

	if (error == -ENOMEM) {
		failure.free = request->out_free;
		failure.largest = request->out_largest;
		failure.returning = request->out_returning;
	}
	return buddy_fail(&failure, dev, NULL);
}

int buddy_block_request(struct buddy_dev *dev, struct buddy_alloc *request,
			struct buddy_block **result)
{
	struct buddy_block *block = malloc(sizeof(*block));
	int err;

	*result = NULL;
	if (!block)
		return buddy_fail_memory(OP_ALLOC, dev, request->length);
	request->size = sizeof(*request);
	err = dev->ops->call(dev, BUDDY_IOC_ALLOC, request);
	if (err) {
		free(block);
		return buddy_block_refused(dev, request, err);
	}
	buddy_block_init(block, dev, request);
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

int buddy_block_writable(const struct buddy_block *block)
{
	return (block->prot & PROT_WRITE) != 0;
}

/* Return: 0 or a negative errno; @address: where. */
static int map_block(const struct buddy_block *block, void **address, int flags)
{
	int fd = block->dev ? block->dev->fd : block->fd, err = -ENOMEM;
	void *p;

	/* a process of 32 bits cannot map all blocks */
	if (block->length <= SIZE_MAX) {
		p = mmap(*address, block->length, block->prot, MAP_SHARED | flags, fd,
			 (off_t)block->offset);
		err = p == MAP_FAILED ? -errno : 0;
	}
	if (err)
		return buddy_fail(&(struct buddy_failure){
			.operation = OP_MAP, .error = err, .length = block->length },
			block->dev, NULL);
	*address = p;
	return 0;
}

int buddy_block_map(struct buddy_block *block, void **address)
{
	int err = block->address ? 0 : map_block(block, &block->address, 0);

	if (!err)
		*address = block->address;
	return err;
}

int buddy_block_map_at(const struct buddy_block *block, void *address)
{
	return map_block(block, &address, MAP_FIXED);
}

void buddy_block_unmap(struct buddy_block *block)
{
	if (block->address)
		munmap(block->address, block->length);
	block->address = NULL;
}

static int resize_refused(const struct buddy_block *block, uint64_t length,
			  enum buddy_operation operation, int error)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = operation, .error = error, .length = length,
		.have = block->length, .mapped = block->address }, block->dev, NULL);
}

static int block_resize(struct buddy_block *block, uint64_t length,
			unsigned long command, enum buddy_operation operation)
{
	struct buddy_resize request = {
		.size = sizeof(request),
		.handle = block->handle,
		.length = length,
	};
	uint64_t granule;
	int err;

	if (!block->dev)
		return resize_refused(block, length, operation, -EOPNOTSUPP);
	/* as the kernel says it, and for the process backend, which cannot know */
	if (block->address)
		return resize_refused(block, length, operation, -EBUSY);
	err = block->dev->ops->call(block->dev, command, &request);
	if (err)
		return resize_refused(block, length, operation, err);
	granule = (uint64_t)sysconf(_SC_PAGESIZE);
	block->length = (length + granule - 1) & ~(granule - 1);
	return 0;
}

int buddy_block_trim(struct buddy_block *block, uint64_t length)
{
	return block_resize(block, length, BUDDY_IOC_TRIM, OP_TRIM);
}

int buddy_block_grow(struct buddy_block *block, uint64_t length)
{
	return block_resize(block, length, BUDDY_IOC_GROW, OP_GROW);
}

static int block_export(struct buddy_block *block, uint32_t flags,
			unsigned long command, enum buddy_operation operation)
{
	struct buddy_share request = {
		.size = sizeof(request),
		.flags = flags,
		.handle = block->handle,
	};
	int err = -EOPNOTSUPP;

	if (block->dev)
		err = block->dev->ops->call(block->dev, command, &request);
	if (err)
		return buddy_fail(&(struct buddy_failure){
			.operation = operation, .error = err, .flags = flags },
			block->dev, NULL);
	return request.out_fd;
}

int buddy_block_share(struct buddy_block *block, uint32_t flags)
{
	return block_export(block, flags, BUDDY_IOC_SHARE, OP_SHARE);
}

int buddy_block_dmabuf(struct buddy_block *block, uint32_t flags)
{
	return block_export(block, flags, BUDDY_IOC_DMABUF, OP_DMABUF);
}

static int fd_refused(int fd, int error)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = OP_FROM_FD, .error = error, .fd = fd }, NULL, NULL);
}

int buddy_block_from_fd(int fd, struct buddy_block **result)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	struct buddy_block *block;
	int mode;

	*result = NULL;
	if (ioctl(fd, BUDDY_IOC_BLOCK, &info))
		return fd_refused(fd, -errno);
	mode = fcntl(fd, F_GETFL);
	if (mode < 0)
		return fd_refused(fd, -errno);
	block = calloc(1, sizeof(*block));
	if (!block)
		return buddy_fail(&(struct buddy_failure){
			.operation = OP_FROM_FD, .error = -ENOMEM, .own = true, .fd = fd },
			NULL, NULL);
	block->length = info.out_length;
	block->prot = PROT_READ;
	if ((mode & O_ACCMODE) == O_RDWR)
		block->prot |= PROT_WRITE;
	block->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (block->fd < 0) {
		int err = fd_refused(fd, -errno);

		free(block);
		return err;
	}
	*result = block;
	return 0;
}

int buddy_block_free(struct buddy_block *block)
{
	struct buddy_free request = { .size = sizeof(request) };
	int err = 0;

	if (!block)
		return 0;
	buddy_block_unmap(block);
	request.handle = block->handle;
	if (block->dev)
		err = block->dev->ops->call(block->dev, BUDDY_IOC_FREE, &request);
	else
		close(block->fd);
	if (err)
		buddy_fail_at(OP_FREE, block->dev, err);
	free(block);
	return err;
}
