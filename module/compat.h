/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - all knowledge of kernel versions. Each shim has the name and the
 * form of the newest kernel's interface; the rest of the module uses that. What is
 * for a checker of one kernel is here, too.
 */
#ifndef BUDDY_COMPAT_H
#define BUDDY_COMPAT_H

#include <linux/cleanup.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/sizes.h>
#include <linux/version.h>

/*
 * 6.16 replaced the migrate type of alloc_contig_range() by flags. The type
 * was MIGRATE_MOVABLE for everybody outside CMA, and no flag means just that.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#define ACR_FLAGS_NONE	MIGRATE_MOVABLE
#endif

/*
 * Units as folios. 6.12 lets alloc_contig_range() make a compound page of its
 * range (__GFP_COMP); by 7.3 alloc_contig_frozen_range() does that instead, and
 * leaves the reference count at 0. Kernels between the two were not tried, nor
 * newer ones: they get order-0 pages, as all before 6.12. So do kernels with pages
 * of 16 or 64 KiB (arm64), where a huge page is not 2 MiB but 32 or 512.
 */
#define BUDDY_SERIES(major, minor) \
	(LINUX_VERSION_CODE >> 8 == KERNEL_VERSION(major, minor, 0) >> 8)
#define BUDDY_FOLIOS	(IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&	\
			 PMD_SIZE == SZ_2M &&				\
			 (BUDDY_SERIES(6, 12) || BUDDY_SERIES(7, 3)))

/* Takes start .. end, a unit, as one folio with one reference. */
static inline int buddy_alloc_folio_range(unsigned long start, unsigned long end,
					  gfp_t gfp)
{
#ifdef alloc_contig_frozen_range
	int err = alloc_contig_frozen_range(start, end, ACR_FLAGS_NONE, gfp);

	if (!err)
		folio_ref_unfreeze(page_folio(pfn_to_page(start)), 1);
	return err;
#else
	return alloc_contig_range(start, end, ACR_FLAGS_NONE, gfp);
#endif
}

/*
 * An inline function by 6.12; before, one that modules could not call. There no
 * unit is a folio, so nobody asks.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define folio_mapcount(folio)	((void)(folio), INT_MAX - 1)
#endif

/*
 * 6.3 made vm_flags read-only and added these; before that, writing the member
 * in mmap(), where the mmap_lock is held for writing, was the interface.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set,
				vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

/* 6.13 wants the name of the namespace as a string; before, it was a bare word. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#undef MODULE_IMPORT_NS
#define MODULE_IMPORT_NS(name)	MODULE_INFO(import_ns, name)
#endif

/*
 * All kernels have guard() and scoped_guard() (6.1 since 6.1.80). sparse ignores the
 * attribute that gives the lock back, and says of each function with a guard that it
 * keeps the lock. A guard cannot be unbalanced: sparse is shown none.
 */
#ifdef __CHECKER__
#undef guard
#undef scoped_guard
#define buddy_unchecked(...)		do { } while (0)
#define guard(name)			buddy_unchecked
#define scoped_guard(name, ...)		if (true)
#endif

#endif /* BUDDY_COMPAT_H */
