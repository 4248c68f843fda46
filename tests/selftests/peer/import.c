// SPDX-License-Identifier: GPL-2.0-only
/*
 * import.c - a dma-buf of somebody else, as the driver of a device uses it.
 *
 * "Through DMA" goes to where the device's addresses lead: with neither IOMMU nor
 * bounce buffers, to the memory itself. The struct pages of the table are left
 * alone, as importers must.
 *
 * An import holds the dma-buf, so neither the exporter's process nor its file need
 * be there.
 */
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/scatterlist.h>

#include "device.h"

static int import_attach(struct peer_file *peer, struct dma_buf *dmabuf)
{
	struct dma_buf_attachment *attachment;
	struct sg_table *sgt;

	attachment = dma_buf_attach(dmabuf, peer_device());
	if (IS_ERR(attachment))
		return PTR_ERR(attachment);
	sgt = dma_buf_map_attachment_unlocked(attachment, peer->direction);
	if (IS_ERR(sgt)) {
		dma_buf_detach(dmabuf, attachment);
		return PTR_ERR(sgt);
	}
	peer->attachment = attachment;
	peer->sgt = sgt;
	return 0;
}

static void import_describe(const struct peer_file *peer,
			    struct peer_import *import)
{
	struct scatterlist *sg;
	dma_addr_t end = 0;
	int i;

	import->out_entries = 0;
	import->out_contiguous = 1;
	import->out_length = 0;
	for_each_sgtable_dma_sg(peer->sgt, sg, i) {
		if (i && sg_dma_address(sg) != end)
			import->out_contiguous = 0;
		end = sg_dma_address(sg) + sg_dma_len(sg);
		import->out_entries++;
		import->out_length += sg_dma_len(sg);
	}
}

/**
 * peer_import() - import a dma-buf for this file
 * @peer: the file
 * @import: which, how; the answer
 *
 * Return: 0; -EINVAL, -EBUSY, -EBADF as in peer.h; what the exporter answers.
 */
int peer_import(struct peer_file *peer, struct peer_import *import)
{
	struct dma_buf *dmabuf;
	int err;

	lockdep_assert_held(&peer->lock);
	if (import->flags & ~PEER_WRITE)
		return -EINVAL;
	if (peer->attachment)
		return -EBUSY;
	dmabuf = dma_buf_get(import->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	peer->direction = import->flags & PEER_WRITE ? DMA_BIDIRECTIONAL :
						       DMA_TO_DEVICE;
	err = import_attach(peer, dmabuf);
	if (err) {
		dma_buf_put(dmabuf);
		return err;
	}
	import_describe(peer, import);
	return 0;
}

/**
 * peer_detach() - let go of the dma-buf
 * @peer: the file
 *
 * Return: 0, or -ENXIO where there is none.
 */
int peer_detach(struct peer_file *peer)
{
	struct dma_buf_attachment *attachment = peer->attachment;
	struct dma_buf *dmabuf;

	lockdep_assert_held(&peer->lock);
	if (!attachment)
		return -ENXIO;
	dmabuf = attachment->dmabuf;
	dma_buf_unmap_attachment_unlocked(attachment, peer->sgt, peer->direction);
	dma_buf_detach(dmabuf, attachment);
	dma_buf_put(dmabuf);
	peer->attachment = NULL;
	peer->sgt = NULL;
	return 0;
}

/**
 * peer_sync() - begin or end an access of the kernel to the dma-buf
 * @peer: the file
 * @flags: PEER_SYNC_END or 0
 *
 * Return: 0; -EINVAL; -ENXIO; what the exporter answers.
 */
int peer_sync(struct peer_file *peer, u32 flags)
{
	lockdep_assert_held(&peer->lock);
	if (flags & ~PEER_SYNC_END)
		return -EINVAL;
	if (!peer->attachment)
		return -ENXIO;
	if (flags & PEER_SYNC_END)
		return dma_buf_end_cpu_access(peer->attachment->dmabuf,
					      peer->direction);
	return dma_buf_begin_cpu_access(peer->attachment->dmabuf, peer->direction);
}

/* The part of the range that lies in the entry which begins at @start. */
static int walk_entry(const struct peer_file *peer, struct peer_walk *walk,
		      struct scatterlist *sg, u64 start)
{
	u64 end = min(walk->range->offset + walk->range->length,
		      start + sg_dma_len(sg));
	char *memory = phys_to_virt(dma_to_phys(peer->attachment->dev,
						sg_dma_address(sg)));
	int err = 0;

	while (!err && walk->range->offset + walk->done < end) {
		u64 at = walk->range->offset + walk->done;

		err = peer_walk_chunk(walk, memory + (at - start),
				      min_t(u64, PAGE_SIZE, end - at));
	}
	return err;
}

static int walk_dma(const struct peer_file *peer, struct peer_walk *walk)
{
	struct scatterlist *sg;
	u64 start = 0;
	int i, err = 0;

	for_each_sgtable_dma_sg(peer->sgt, sg, i) {
		/* else it begins in a later entry, or has ended */
		if (walk->range->offset + walk->done < start + sg_dma_len(sg))
			err = walk_entry(peer, walk, sg, start);
		if (err)
			return err;
		start += sg_dma_len(sg);
	}
	return 0;
}

/*
 * From 6.2 on dma_buf_vmap() wants the lock held, before it did not care; so with
 * the lock it is right on all kernels. 6.1 has no dma_buf_vmap_unlocked().
 */
static int walk_vmap(const struct peer_file *peer, struct peer_walk *walk)
{
	struct dma_buf *dmabuf = peer->attachment->dmabuf;
	struct peer_range *range = walk->range;
	struct iosys_map map;
	int err;

	dma_resv_lock(dmabuf->resv, NULL);
	err = dma_buf_vmap(dmabuf, &map);
	dma_resv_unlock(dmabuf->resv);
	if (err)
		return err;
	if (map.is_iomem)
		err = -EOPNOTSUPP;
	while (!err && walk->done < range->length)
		err = peer_walk_chunk(walk, map.vaddr + range->offset + walk->done,
				      min_t(u64, PAGE_SIZE,
					    range->length - walk->done));
	dma_resv_lock(dmabuf->resv, NULL);
	dma_buf_vunmap(dmabuf, &map);
	dma_resv_unlock(dmabuf->resv);
	return err;
}

/**
 * peer_import_walk() - fill or check a range of the dma-buf
 * @peer: the file
 * @walk: the range; nothing is done yet
 *
 * Return: 0; -ENXIO, -EINVAL, -EACCES or -EINTR as in peer.h; what the exporter
 * answers to vmap.
 */
int peer_import_walk(struct peer_file *peer, struct peer_walk *walk)
{
	const struct peer_range *range = walk->range;
	u64 size;

	lockdep_assert_held(&peer->lock);
	if (!peer->attachment)
		return -ENXIO;
	size = peer->attachment->dmabuf->size;
	if (range->offset > size || range->length > size - range->offset)
		return -EINVAL;
	if (walk->write && peer->direction == DMA_TO_DEVICE)
		return -EACCES;
	if (!range->length)
		return 0;
	return range->through == PEER_THROUGH_DMA ? walk_dma(peer, walk) :
						    walk_vmap(peer, walk);
}

/* MODULE_IMPORT_NS() takes a word up to 6.12 and a string since: this is both. */
MODULE_INFO(import_ns, "DMA_BUF");
