// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmap.c - mappings of blocks, page-backed, so that O_DIRECT, io_uring, RDMA,
 * process_vm_readv() and debuggers work on them.
 *
 * A VMA holds a reference to its block (vm_private_data), taken at mmap(), fork
 * and split, dropped when the VMA goes; the kernel drops PTEs, and flushes the
 * TLB, before that. The fault handler trusts the block alone: a fault runs
 * inside its VMA, so the block is alive and the pages are its own.
 *
 * Two ways to map, decided at mmap():
 *   whole     where units are folios, and the VMA has room for one at a place
 *             that fits: the fault returns its page, and the kernel maps the
 *             folio by one huge entry where the VMA covers it
 *   batched   all others: one fault inserts what the VMA has of the 2 MiB around
 *             it (VM_MIXEDMAP)
 *
 * A fault into a split unit holds unit->faults: the reference test of a
 * neighbour's block excludes it, and learns of it by unit->faulted.
 */
#include <linux/pagemap.h>

#include "buddy.h"
#include "compat.h"

#define BATCH	64	/* page pointers on the stack: 512 bytes */

/* The page of the address space, as blocks count it. */
static u64 page_at(struct vm_area_struct *vma, unsigned long address)
{
	return linear_page_index(vma, address) - BUDDY_MMAP_BASE_PAGES;
}

/**
 * struct buddy_target - where a fault falls
 * @region: the region
 * @extent: the extent of the block
 * @pgoff: of its first page, as page_at() has it
 */
struct buddy_target {
	struct buddy_region *region;
	struct buddy_extent *extent;
	u64 pgoff;
};

static struct page *target_page(const struct buddy_target *target, u64 page)
{
	return buddy_region_page(target->region,
				 target->extent->first + (page - target->pgoff));
}

/* Of whole units each has its own mark: what was never touched need not be zeroed. */
static void touch_units(const struct buddy_target *target, u64 first, u64 last)
{
	const struct buddy_extent *e = target->extent;

	if (e->split)
		return;
	WRITE_ONCE(buddy_unit_of(target->region, e->first + (first - target->pgoff))->touched,
		   true);
	WRITE_ONCE(buddy_unit_of(target->region, e->first + (last - target->pgoff))->touched,
		   true);
}

/* The kernel maps the page, or its folio, and has the reference from then on. */
static vm_fault_t fault_whole(struct vm_fault *vmf, const struct buddy_target *target)
{
	u64 page = vmf->pgoff - BUDDY_MMAP_BASE_PAGES;

	touch_units(target, page, page);
	vmf->page = target_page(target, page);
	get_page(vmf->page);
	return 0;
}

/*
 * Maps *at .. end of the VMA, up to a page that is mapped already, is broken, or
 * cannot be mapped; moves *at on to that.
 * Return: VM_FAULT_NOPAGE, or what a fault at that page is to return.
 */
static vm_fault_t map_range(struct vm_area_struct *vma,
			    const struct buddy_target *target, unsigned long *at,
			    unsigned long end)
{
	struct page *pages[BATCH];

	while (*at < end) {
		u64 first = page_at(vma, *at);
		unsigned long n, left;
		int err;

		for (n = 0; n < BATCH && *at + (n << PAGE_SHIFT) < end; n++) {
			pages[n] = target_page(target, first + n);
			if (PageHWPoison(pages[n]))
				break;
		}
		if (!n)
			return VM_FAULT_HWPOISON;
		touch_units(target, first, first + n - 1);
		left = n;
		err = vm_insert_pages(vma, *at, pages, &left);
		*at += (n - left) << PAGE_SHIFT;
		/* mapped already; else it is page tables that have no memory */
		if (err)
			return err == -EBUSY ? VM_FAULT_NOPAGE : VM_FAULT_OOM;
	}
	return VM_FAULT_NOPAGE;
}

/*
 * Never by way of fault_whole(): mremap() may have moved the VMA to where a huge
 * entry fits, and the kernel drops no reference for one of a VM_MIXEDMAP.
 */
static vm_fault_t fault_batched(struct vm_fault *vmf,
				const struct buddy_target *target)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long address = vmf->address & PAGE_MASK;
	unsigned long chunk = ALIGN_DOWN(address, BUDDY_UNIT);
	u64 page = page_at(vma, address), before = page - target->pgoff;
	u64 after = buddy_bytes(target->extent->pages - before);
	unsigned long end = min(chunk + BUDDY_UNIT, vma->vm_end);
	unsigned long at = max(chunk, vma->vm_start);
	vm_fault_t ret;

	/* Nor beyond the extent, where the next one begins elsewhere. */
	end = min_t(u64, end - address, after) + address;
	at = address - min_t(u64, address - at, buddy_bytes(before));
	ret = map_range(vma, target, &at, end);
	/*
	 * Something before is mapped already (by another thread, or from before
	 * a partial MADV_DONTNEED) or cannot be. From the address on, then.
	 */
	if (at <= address) {
		at = address;
		ret = map_range(vma, target, &at, end);
	}
	return at > address ? VM_FAULT_NOPAGE : ret;
}

static vm_fault_t fault_mapped(struct vm_fault *vmf, const struct buddy_target *target)
{
	if (vmf->vma->vm_flags & VM_MIXEDMAP)
		return fault_batched(vmf, target);
	return fault_whole(vmf, target);
}

static vm_fault_t buddy_fault(struct vm_fault *vmf)
{
	struct buddy_kblock *block = vmf->vma->vm_private_data;
	u32 page = vmf->pgoff - BUDDY_MMAP_BASE_PAGES - block->pgoff;
	struct buddy_extent *e = buddy_extent_find(block, page);
	struct buddy_target target = {
		.region = block->file->region,
		.extent = e,
		.pgoff = block->pgoff + e->at,
	};
	struct buddy_unit *unit;
	vm_fault_t ret;

	WRITE_ONCE(e->touched, true);
	if (!e->split)
		return fault_mapped(vmf, &target);
	unit = buddy_unit_of(target.region, e->first);
	down_read(&unit->faults);
	WRITE_ONCE(unit->faulted, true);
	ret = fault_mapped(vmf, &target);
	up_read(&unit->faults);
	return ret;
}

static void count_map(struct buddy_kblock *block, u32 i, int more)
{
	atomic_add(more, &buddy_unit_of(block->file->region, block->extents[i].first)->maps);
}

/* The reference check asks how many mappings it would have to drop. */
static void count_maps(struct buddy_kblock *block, int more)
{
	u32 i = block->nr;

	/* What is less than a unit comes last, and one such extent first. */
	while (i > 0 && block->extents[i - 1].split)
		count_map(block, --i, more);
	if (i > 0 && block->extents[0].split)
		count_map(block, 0, more);
}

static void buddy_vm_open(struct vm_area_struct *vma)
{
	struct buddy_kblock *block = vma->vm_private_data;

	buddy_kblock_get(block);
	count_maps(block, 1);
}

static void buddy_vm_close(struct vm_area_struct *vma)
{
	struct buddy_kblock *block = vma->vm_private_data;

	count_maps(block, -1);
	buddy_kblock_put(block, vma->vm_file->private_data == block->file);
}

static const struct vm_operations_struct buddy_vm_ops = {
	.open	= buddy_vm_open,
	.close	= buddy_vm_close,
	.fault	= buddy_fault,
};

/*
 * Offset 0 names no block: one is allocated for this mapping alone, has no
 * handle, and ends with its last VMA. The VMA moves to the block's own offset.
 */
static struct buddy_kblock *block_for_mapping(struct file *file,
					      struct vm_area_struct *vma)
{
	struct buddy_file *bf = file->private_data;
	/* Its address has been chosen, and fits a place at the start of a unit. */
	struct buddy_want want = { .pages = vma_pages(vma), .huge = true };
	struct buddy_kblock *block;

	if (!(file->f_mode & FMODE_WRITE))
		return ERR_PTR(-EACCES);
	if (vma_pages(vma) > bf->region->pages)
		return ERR_PTR(-ENOMEM);
	block = buddy_kblock_alloc(bf, &want);
	if (!IS_ERR(block))
		vma->vm_pgoff = BUDDY_MMAP_BASE_PAGES + block->pgoff;
	return block;
}

static struct buddy_kblock *block_of_mapping(struct file *file,
					     struct vm_area_struct *vma)
{
	struct buddy_kblock *block;

	if (!vma->vm_pgoff)
		return block_for_mapping(file, vma);
	if (vma->vm_pgoff < BUDDY_MMAP_BASE_PAGES)
		return ERR_PTR(-ENXIO);
	block = buddy_kblock_find(file->private_data,
				  vma->vm_pgoff - BUDDY_MMAP_BASE_PAGES,
				  vma_pages(vma));
	return block ?: ERR_PTR(-ENXIO);
}

static int check_mapping(const struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	return vma->vm_flags & VM_EXEC ? -EACCES : 0;
}

/*
 * Has it room for a huge entry? A part below 2 MiB has none, nor has an address
 * that does not fit the offset; there a fault for each page would be dear.
 */
static bool can_map_folio(const struct vm_area_struct *vma,
			  const struct buddy_kblock *block)
{
	unsigned long first = ALIGN(vma->vm_start, BUDDY_UNIT);

	if (!block->huge)
		return false;
	if (!IS_ALIGNED(vma->vm_start - (vma->vm_pgoff << PAGE_SHIFT), BUDDY_UNIT))
		return false;
	return first >= vma->vm_start && first < vma->vm_end &&
	       vma->vm_end - first >= BUDDY_UNIT;
}

/* The VMA, at its block's own offset, takes over a reference. */
static void finish_mapping(struct vm_area_struct *vma, struct buddy_kblock *block)
{
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	if (!can_map_folio(vma, block))
		vm_flags_mod(vma, VM_MIXEDMAP, 0);
	count_maps(block, 1);
	vma->vm_private_data = block;
	vma->vm_ops = &buddy_vm_ops;
}

/**
 * buddy_mmap() - map a block, or a part of it; at offset 0 a new one
 * @file: an open node, which owns the block
 * @vma: at the block's out_offset, or further on in it; or at 0
 *
 * Return: 0; -EINVAL (not MAP_SHARED); -EACCES (PROT_EXEC; offset 0 of a file
 * that is not open for writing); -ENXIO (the range does not lie in one block of
 * this file); at offset 0 also -ENOMEM and -EINTR.
 */
int buddy_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct buddy_kblock *block;
	int err = check_mapping(vma);

	if (err)
		return err;
	block = block_of_mapping(file, vma);
	if (IS_ERR(block))
		return PTR_ERR(block);
	finish_mapping(vma, block);
	return 0;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/**
 * buddy_kblock_unmapped_area() - an address at which whole units can be huge pages
 * @file: the block fd's file
 * @address: what the caller would like
 * @length: bytes
 * @pgoff: from the start of the block, which need not start a unit
 * @flags: of mmap()
 *
 * Return: the address, or a negative errno.
 */
unsigned long buddy_kblock_unmapped_area(struct file *file, unsigned long address,
					 unsigned long length, unsigned long pgoff,
					 unsigned long flags)
{
	const struct buddy_kblock *block = file->private_data;

	return thp_get_unmapped_area(file, address, length, pgoff + block->pgoff, flags);
}
#endif

/**
 * buddy_kblock_mmap() - map the block of a block fd, or a part of it
 * @file: the block fd's file
 * @vma: at an offset from the start of the block
 *
 * Return: 0; -EINVAL (not MAP_SHARED); -EACCES (PROT_EXEC); -ENXIO (the range
 * does not lie in the block).
 */
int buddy_kblock_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct buddy_kblock *block = file->private_data;
	int err = check_mapping(vma);

	if (err)
		return err;
	if (vma->vm_pgoff >= block->pages ||
	    vma_pages(vma) > block->pages - vma->vm_pgoff)
		return -ENXIO;
	vma->vm_pgoff += BUDDY_MMAP_BASE_PAGES + block->pgoff;
	buddy_kblock_get(block);
	finish_mapping(vma, block);
	return 0;
}
