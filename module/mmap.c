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
 * One fault maps what the VMA has of the 2 MiB around it.
 */
#include <linux/pagemap.h>

#include "buddy.h"
#include "compat.h"

#define BATCH	64	/* page pointers on the stack: 512 bytes */

/*
 * Maps start .. end of the VMA.
 * Return: 0, or the errno at the first page that could not be mapped; -EBUSY
 * where it was mapped already.
 */
static int map_range(struct vm_area_struct *vma, unsigned long start,
		     unsigned long end)
{
	const struct buddy_block *block = vma->vm_private_data;
	struct page *pages[BATCH];

	while (start < end) {
		unsigned long n = min((end - start) >> PAGE_SHIFT, BATCH + 0ul);
		u32 first = linear_page_index(vma, start) - BUDDY_MMAP_BASE_PAGES;
		int err;

		for (u32 i = 0; i < n; i++)
			pages[i] = buddy_region_page(block->region, first + i);
		start += n << PAGE_SHIFT;
		err = vm_insert_pages(vma, start - (n << PAGE_SHIFT), pages, &n);
		if (err)
			return err;
	}
	return 0;
}

static vm_fault_t buddy_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long chunk = ALIGN_DOWN(vmf->address, BUDDY_UNIT);
	unsigned long end = min(chunk + BUDDY_UNIT, vma->vm_end);
	int err = map_range(vma, max(chunk, vma->vm_start), end);

	/*
	 * Something there is mapped already: by another thread, or from before
	 * a partial MADV_DONTNEED. From the address on, then.
	 */
	if (err == -EBUSY)
		err = map_range(vma, vmf->address & PAGE_MASK, end);
	switch (err) {
	case 0:
	case -EBUSY:
		return VM_FAULT_NOPAGE;
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

static void buddy_vm_open(struct vm_area_struct *vma)
{
	buddy_block_get(vma->vm_private_data);
}

static void buddy_vm_close(struct vm_area_struct *vma)
{
	buddy_block_put(vma->vm_private_data);
}

static const struct vm_operations_struct buddy_vm_ops = {
	.open	= buddy_vm_open,
	.close	= buddy_vm_close,
	.fault	= buddy_fault,
};

/**
 * buddy_mmap() - map a block, or a part of it
 * @file: the file that owns the block
 * @vma: at the block's out_offset, or further on in it
 *
 * Return: 0; -EINVAL (not MAP_SHARED); -EACCES (PROT_EXEC); -ENXIO (the range
 * does not lie in one block of this file).
 */
int buddy_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct buddy_block *block;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if (vma->vm_pgoff < BUDDY_MMAP_BASE_PAGES)
		return -ENXIO;
	block = buddy_block_find(file->private_data,
				 vma->vm_pgoff - BUDDY_MMAP_BASE_PAGES,
				 vma_pages(vma));
	if (!block)
		return -ENXIO;
	vm_flags_mod(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_private_data = block;
	vma->vm_ops = &buddy_vm_ops;
	return 0;
}
