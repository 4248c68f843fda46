// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabuf.c - a block as a dma-buf, for devices.
 *
 * The dma-buf holds a block file (share.c), and that the block. Owns the tables of
 * the devices that have the block mapped: one contiguous range, or one an extent,
 * cut where an entry of a table is full. Its mmap() is that of the block file.
 *
 * Pages are not pinned for a device: the block is there as long as the dma-buf,
 * and that as long as an attachment.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "buddy.h"
#include "compat.h"

/* The length of an entry is an unsigned int; keep the next one aligned. */
#define ENTRY_PAGES	((u32)((UINT_MAX - BUDDY_UNIT + 1) >> PAGE_SHIFT))

/**
 * struct buddy_export - a block as a dma-buf
 * @file: the block file, which keeps the block
 * @block: the block
 * @writable: devices may write, too
 * @lock: protects @mapped; inside the dma-buf's reservation lock
 * @mapped: tables of devices that have the block mapped
 */
struct buddy_export {
	struct file *file;
	struct buddy_kblock *block;
	bool writable;
	struct mutex lock;	/* protects @mapped */
	struct list_head mapped;
};

/**
 * struct buddy_table - a block as one device sees it
 * @sgt: addresses for the device
 * @device: the device
 * @direction: what it was mapped for
 * @entry: in export->mapped
 */
struct buddy_table {
	struct sg_table sgt;
	struct device *device;
	enum dma_data_direction direction;
	struct list_head entry;
};

/* What fits an entry; less where the device needs bounce buffers. */
static u32 entry_pages(struct device *device)
{
	size_t most = dma_max_mapping_size(device) >> PAGE_SHIFT;

	return clamp_t(size_t, most, 1, ENTRY_PAGES);
}

/*
 * What is contiguous is one range, whatever extents it has. The last extent may be longer
 * than what the block has of it.
 * Return: the pages of the range that begins with @e.
 */
static u32 range_pages(const struct buddy_kblock *block, const struct buddy_extent *e)
{
	return block->scattered ? min(e->pages, block->pages - e->at) : block->pages;
}

static u32 nr_entries(struct buddy_kblock *block, u32 most)
{
	struct buddy_extent *e = block->extents;
	u32 n = 0;

	if (!block->scattered)
		return DIV_ROUND_UP(block->pages, most);
	buddy_for_each_extent(e, block)
		n += DIV_ROUND_UP(range_pages(block, e), most);
	return n;
}

static void fill_entries(struct sg_table *sgt, struct buddy_kblock *block, u32 most)
{
	struct buddy_region *region = block->file->region;
	struct buddy_extent *e = block->extents;
	struct scatterlist *sg;
	u32 at = 0;
	int i;

	for_each_sgtable_sg(sgt, sg, i) {
		u32 pages = range_pages(block, e);
		u32 n = min(pages - at, most);

		sg_set_page(sg, buddy_region_page(region, e->first + at),
			    n << PAGE_SHIFT, 0);
		at += n;
		if (at == pages) {
			e++;
			at = 0;
		}
	}
}

static struct sg_table *buddy_dmabuf_map(struct dma_buf_attachment *attachment,
					 enum dma_data_direction direction)
{
	struct buddy_export *export = attachment->dmabuf->priv;
	u32 most = entry_pages(attachment->dev);
	struct buddy_table *table;
	int err;

	if (!export->writable && direction != DMA_TO_DEVICE)
		return ERR_PTR(-EACCES);
	table = kzalloc(sizeof(*table), GFP_KERNEL_ACCOUNT);
	if (!table)
		return ERR_PTR(-ENOMEM);
	table->device = attachment->dev;
	table->direction = direction;
	err = sg_alloc_table(&table->sgt, nr_entries(export->block, most),
			     GFP_KERNEL);
	if (err)
		goto free_table;
	fill_entries(&table->sgt, export->block, most);
	err = dma_map_sgtable(table->device, &table->sgt, direction, 0);
	if (err)
		goto free_entries;
	mutex_lock(&export->lock);
	list_add(&table->entry, &export->mapped);
	mutex_unlock(&export->lock);
	return &table->sgt;

free_entries:
	sg_free_table(&table->sgt);
free_table:
	kfree(table);
	return ERR_PTR(err);
}

static void buddy_dmabuf_unmap(struct dma_buf_attachment *attachment,
			       struct sg_table *sgt,
			       enum dma_data_direction direction)
{
	struct buddy_export *export = attachment->dmabuf->priv;
	struct buddy_table *table = container_of(sgt, struct buddy_table, sgt);

	scoped_guard(mutex, &export->lock)
		list_del(&table->entry);
	dma_unmap_sgtable(table->device, sgt, direction, 0);
	sg_free_table(sgt);
	kfree(table);
}

/* Each table is synced for what it was mapped, whatever the CPU is about to do. */
static int buddy_dmabuf_begin(struct dma_buf *dmabuf,
			      enum dma_data_direction direction)
{
	struct buddy_export *export = dmabuf->priv;
	struct buddy_table *table;

	guard(mutex)(&export->lock);
	list_for_each_entry(table, &export->mapped, entry) {
		/* A device that only reads has nothing new, but may have old copies. */
		if (table->direction != DMA_TO_DEVICE)
			dma_sync_sgtable_for_cpu(table->device, &table->sgt,
						 table->direction);
	}
	return 0;
}

static int buddy_dmabuf_end(struct dma_buf *dmabuf,
			    enum dma_data_direction direction)
{
	struct buddy_export *export = dmabuf->priv;
	struct buddy_table *table;

	guard(mutex)(&export->lock);
	list_for_each_entry(table, &export->mapped, entry)
		dma_sync_sgtable_for_device(table->device, &table->sgt,
					    table->direction);
	return 0;
}

static int buddy_dmabuf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct buddy_export *export = dmabuf->priv;
	int err;

	/* For drivers that map it into a VMA of their own. */
	if (!export->writable) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_mod(vma, 0, VM_MAYWRITE);
	}
	err = export->file->f_op->mmap(export->file, vma);
	/* Its address space is where the reference check unmaps. */
	if (!err)
		vma_set_file(vma, export->file);
	return err;
}

/* Never highmem: ZONE_NORMAL and below. */
static int buddy_dmabuf_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct buddy_export *export = dmabuf->priv;
	struct buddy_kblock *block = export->block;

	iosys_map_set_vaddr(map, page_address(buddy_region_page(block->file->region,
								block->pgoff)));
	return 0;
}

static void buddy_dmabuf_release(struct dma_buf *dmabuf)
{
	struct buddy_export *export = dmabuf->priv;

	fput(export->file);
	mutex_destroy(&export->lock);
	kfree(export);
}

#define COMMON_OPS							\
	.map_dma_buf	= buddy_dmabuf_map,				\
	.unmap_dma_buf	= buddy_dmabuf_unmap,				\
	.begin_cpu_access = buddy_dmabuf_begin,				\
	.end_cpu_access	= buddy_dmabuf_end,				\
	.mmap		= buddy_dmabuf_mmap,				\
	.release	= buddy_dmabuf_release

static const struct dma_buf_ops buddy_dmabuf_ops = {
	COMMON_OPS,
	.vmap		= buddy_dmabuf_vmap,
};

/*
 * For blocks that are not contiguous, and for what may not be written, which a
 * mapping of the kernel's own cannot tell. Drivers then get EINVAL for a vmap.
 */
static const struct dma_buf_ops buddy_dmabuf_ops_without_vmap = {
	COMMON_OPS,
};

static struct dma_buf *export_dmabuf(struct buddy_export *export)
{
	bool vmap = export->writable && !export->block->scattered;
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	info.ops = vmap ? &buddy_dmabuf_ops : &buddy_dmabuf_ops_without_vmap;
	info.size = buddy_bytes(export->block->pages);
	info.flags = export->writable ? O_RDWR : O_RDONLY;
	info.priv = export;
	return dma_buf_export(&info);
}

/**
 * buddy_dmabuf_file() - a new dma-buf for a block
 * @share: a block file; on success the caller's reference is the dma-buf's
 * @writable: it may be mapped for writing, and written by devices
 *
 * Return: its file, not yet in any table; or a negative errno.
 */
struct file *buddy_dmabuf_file(struct file *share, bool writable)
{
	struct buddy_export *export = kzalloc(sizeof(*export), GFP_KERNEL_ACCOUNT);
	struct dma_buf *dmabuf;

	if (!export)
		return ERR_PTR(-ENOMEM);
	mutex_init(&export->lock);
	INIT_LIST_HEAD(&export->mapped);
	export->file = share;
	export->block = share->private_data;
	export->writable = writable;
	dmabuf = export_dmabuf(export);
	if (IS_ERR(dmabuf)) {
		kfree(export);
		return ERR_CAST(dmabuf);
	}
	/* A device writes without a fault. */
	buddy_extent_touch(export->block);
	return dmabuf->file;
}

MODULE_IMPORT_NS("DMA_BUF");
