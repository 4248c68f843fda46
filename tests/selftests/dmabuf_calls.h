/* SPDX-License-Identifier: MIT */
/*
 * dmabuf_calls.h - what the tests of dma-bufs share: making one, importing it to
 * /dev/buddy_peer, mapping it. Needs buddy_peer.ko loaded.
 */
#ifndef DMABUF_CALLS_H
#define DMABUF_CALLS_H

#include <linux/dma-buf.h>

#include "peer_calls.h"

#define W1	0x1111111111111111ull
#define W2	0x2222222222222222ull
#define W3	0x3333333333333333ull

#define DMA	PEER_THROUGH_DMA
#define VMAP	PEER_THROUGH_VMAP
#define RW	(PROT_READ | PROT_WRITE)

/* A descriptor or a negative errno. */
static inline int make_dmabuf(int file, uint64_t handle, uint32_t flags)
{
	return share_block(file, BUDDY_IOC_DMABUF, handle, flags);
}

static inline int import(int peer, int dmabuf, uint32_t flags)
{
	struct peer_import i = { .fd = dmabuf, .flags = flags };

	return call(peer, PEER_IMPORT, &i);
}

static inline int detach(int peer)
{
	return call(peer, PEER_DETACH, NULL);
}

static inline void *map_fd(int file, size_t length, int prot, off_t offset)
{
	void *p = mmap(NULL, length, prot, MAP_SHARED, file, offset);

	expect(p != MAP_FAILED);
	return p;
}

static inline int sync_cpu(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return call(dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
}

#endif /* DMABUF_CALLS_H */
