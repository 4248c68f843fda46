/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - all knowledge of kernel versions. Each shim has the name and the
 * form of the newest kernel's interface; the rest of the module uses that.
 */
#ifndef BUDDY_COMPAT_H
#define BUDDY_COMPAT_H

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/version.h>

/*
 * 6.16 replaced the migrate type of alloc_contig_range() by flags. The type
 * was MIGRATE_MOVABLE for everybody outside CMA, and no flag means just that.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#define ACR_FLAGS_NONE	MIGRATE_MOVABLE
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

#endif /* BUDDY_COMPAT_H */
