// SPDX-License-Identifier: MIT
/*
 * dmabuf_device_test.c - what a device that imports a block sees of it, what it may
 * do, and what it leaves. Needs root, the module and buddy_peer.ko.
 */
#define _GNU_SOURCE
#include "ktest.h"
#include "dmabuf_calls.h"

static int sync_device(int peer, uint32_t flags)
{
	struct peer_sync sync = { .flags = flags };

	return call(peer, PEER_SYNC, &sync);
}

/* What the device writes the process reads, and the other way round. */
static void imported_of(uint64_t length, uint32_t flags, uint32_t through)
{
	int peer = peer_open(), dmabuf;
	struct peer_import i = { .flags = PEER_WRITE };
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_flagged(fd, length, flags, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	i.fd = dmabuf;
	expect_eq(call(peer, PEER_IMPORT, &i), 0);
	expect_eq(i.out_entries, 1);
	expect_eq(i.out_contiguous, 1);
	expect_eq(i.out_length, length);
	p = map_fd(dmabuf, length, RW, 0);
	expect_eq(peer_check(peer, through, 0, length, 0), 0);
	expect_eq(peer_fill(peer, through, 0, length, W1), 0);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_RW), 0);
	expect_eq(words_check(p, length, W1), 0);
	words_fill(p, length, W2);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END), 0);
	expect_eq(peer_check(peer, through, 0, length, W2), 0);
	/* the last word alone; a vmap is an access of the driver's processor */
	if (through == VMAP)
		expect_eq(sync_device(peer, 0), 0);
	expect_eq(peer_fill(peer, through, length - 8, 8, W3), 0);
	expect_eq(peer_check(peer, through, 0, length, W2), 1);
	if (through == VMAP)
		expect_eq(sync_device(peer, PEER_SYNC_END), 0);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_READ), 0);
	expect_eq(words_check(p, length - 8, W2), 0);
	expect_eq(words_check(p + length - 8, 8, W3), 0);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END), 0);
	munmap(p, length);
	expect_eq(detach(peer), 0);
	close(peer);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_back_soon(fd, region, &a);
}

TEST_F(device, one_range_and_what_the_process_writes)
{
	for (size_t i = 0; i < LENGTHS; i++)
		imported_of(lengths[i], 0, DMA);
}

TEST_F(device, the_kernels_mapping)
{
	for (size_t i = 0; i < LENGTHS; i++)
		imported_of(lengths[i], 0, VMAP);
}

/* No more than its length, whatever it takes. */
TEST_F(device, a_block_that_lies_alone)
{
	for (size_t i = 0; i < LENGTHS; i++) {
		imported_of(lengths[i], BUDDY_ALLOC_ALONE, DMA);
		imported_of(lengths[i], BUDDY_ALLOC_ALONE, VMAP);
	}
}

/* The device's own rules, which the other cases build on. */
TEST_F(device, wrong_imports)
{
	int peer = peer_open(), dmabuf, block;
	struct buddy_share s = { .size = sizeof(s) };
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	s.handle = a.out_handle;
	expect_eq(call(fd, BUDDY_IOC_SHARE, &s), 0);
	block = s.out_fd;
	expect_eq(import(peer, -1, PEER_WRITE), -EBADF);
	/* neither a block fd nor the node is a dma-buf */
	expect_eq(import(peer, block, PEER_WRITE), -EINVAL);
	expect_eq(import(peer, fd, PEER_WRITE), -EINVAL);
	expect_eq(import(peer, dmabuf, PEER_LONGTERM), -EINVAL);
	expect_eq(detach(peer), -ENXIO);
	expect_eq(sync_device(peer, 0), -ENXIO);
	expect_eq(peer_fill(peer, DMA, 0, 8, W1), -ENXIO);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), -EBUSY);
	expect_eq(sync_device(peer, 2), -EINVAL);
	expect_eq(peer_fill(peer, DMA, PAGE, 8, W1), -EINVAL);
	expect_eq(peer_fill(peer, VMAP, 8, PAGE, W1), -EINVAL);
	expect_eq(call(peer, PEER_IMPORT, NULL), -EFAULT);
	close(block);
	close(dmabuf);
	close(peer);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, SOON));
}

/* No process ever had a mapping of it; what the device wrote is gone, too. */
TEST_F(device, written_by_device_alone)
{
	for (size_t i = 0; i < LENGTHS; i++) {
		int peer = peer_open(), dmabuf;
		struct buddy_alloc a;

		expect_eq(alloc_block(fd, lengths[i], &a), 0);
		dmabuf = make_dmabuf(fd, a.out_handle, 0);
		expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
		expect_eq(peer_check(peer, DMA, 0, lengths[i], 0), 0);
		expect_eq(peer_fill(peer, i & 1 ? VMAP : DMA, 0, lengths[i], W1), 0);
		close(dmabuf);
		expect_eq(detach(peer), 0);
		close(peer);
		expect_eq(free_block(fd, a.out_handle), 0);
		expect_back_soon(fd, region, &a);
	}
}

/* A writable dma-buf for a device that only reads. */
TEST_F(device, a_device_that_only_reads)
{
	int peer = peer_open(), dmabuf;
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(import(peer, dmabuf, 0), 0);
	expect_eq(peer_check(peer, DMA, 0, 2 * MIB, 0), 0);
	expect_eq(peer_fill(peer, DMA, 0, 8, W1), -EACCES);
	expect_eq(detach(peer), 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	expect_eq(peer_fill(peer, DMA, 0, 8, W1), 0);
	close(peer);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_back_soon(fd, region, &a);
}

/* In pieces: a device sees them in the order of the mapping. */
static void scattered_of(uint64_t length, uint32_t flags)
{
	uint64_t units = (length + 2 * MIB - 1) / (2 * MIB);
	struct peer_import i = { .flags = PEER_WRITE };
	int peer = peer_open(), count;
	uint64_t fence[FENCE_MAX];
	struct buddy_alloc a;
	char *p;

	count = fence_up(fd, fence);
	expect_eq(alloc_block(fd, length, &a), -ENOMEM);
	expect_eq(alloc_flagged(fd, length, BUDDY_ALLOC_SCATTER | flags, &a), 0);
	i.fd = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(lseek(i.fd, 0, SEEK_END), length);
	expect_eq(call(peer, PEER_IMPORT, &i), 0);
	expect_eq(i.out_entries, units);
	expect_eq(i.out_contiguous, 0);
	expect_eq(i.out_length, length);
	p = map_fd(i.fd, length, RW, 0);
	for (uint64_t at = 0; at < length; at += PAGE)
		words_fill(p + at, PAGE, at);
	for (uint64_t at = 0; at < length; at += PAGE)
		expect_eq(peer_check(peer, DMA, at, PAGE, at), 0);
	/* across the border of two pieces */
	expect_eq(peer_fill(peer, DMA, 2 * MIB - PAGE, 2 * PAGE, W1), 0);
	expect_eq(words_check(p + 2 * MIB - PAGE, 2 * PAGE, W1), 0);
	/* there is no vmap: one that fails would make the kernel's core warn */
	expect_eq(peer_check(peer, VMAP, 0, PAGE, 0), -EINVAL);
	munmap(p, length);
	close(i.fd);
	expect_eq(free_block(fd, a.out_handle), 0);
	fence_down(fd, fence, count);
	/* the device alone has it, all pieces */
	expect_eq(peer_fill(peer, DMA, 0, length, W2), 0);
	expect_eq(get_stats(fd).out_used, flags ? units * 2 * MIB : length);
	expect_eq(peer_check(peer, DMA, 0, length, W2), 0);
	expect_eq(detach(peer), 0);
	close(peer);
	expect(wait_free(fd, region, SOON));
	expect_all_zero(region);
}

TEST_F(device, a_scattered_block)
{
	scattered_of(5 * MIB + PAGE, 0);
	scattered_of(5 * MIB + PAGE, BUDDY_ALLOC_ALONE);
	scattered_of(region / 2, 0);
}

/* Its length is the device's business, too, until it lets go. */
TEST_F(device, trim_and_grow_before_and_after)
{
	int peer = peer_open(), dmabuf;
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, 4 * MIB, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	close(dmabuf);
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, MIB), -EBUSY);
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, 6 * MIB), -EBUSY);
	expect_eq(peer_fill(peer, DMA, 0, 4 * MIB, W1), 0);
	expect_eq(detach(peer), 0);
	/* what a device wrote is as dirty as what a process wrote */
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, MIB), 0);
	expect(wait_free(fd, region - 2 * MIB, SOON));
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, 6 * MIB), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(lseek(dmabuf, 0, SEEK_END), 6 * MIB);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	expect_eq(peer_check(peer, DMA, 0, MIB, W1), 0);
	expect_eq(peer_check(peer, DMA, MIB, 5 * MIB, 0), 0);
	close(dmabuf);
	close(peer);
	expect_eq(free_block(fd, a.out_handle), 0);
	a.out_length = 6 * MIB;
	expect_back_soon(fd, region, &a);
}

TEST_HARNESS_MAIN
