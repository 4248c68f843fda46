/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * linux/buddy.h - the interface of /dev/buddy (module buddy_mem).
 *
 * DOC: General
 *
 * Every command is ioctl(fd, BUDDY_IOC_X, struct buddy_x *). The first member of each
 * struct is its size, which the caller sets to sizeof(struct buddy_x). The kernel
 * accepts the smaller struct of an older header and the larger struct of a newer one.
 * Members that the caller's struct lacks are taken as 0 and are not returned. Members
 * that the kernel does not know must be 0. The kernel evaluates only the type and the
 * number of a command, so a command keeps working when its struct grows.
 *
 * The kernel writes the members named out_ and ignores their values on entry. Members
 * named reserved and unknown flags must be 0.
 *
 * A handle is a number of 64 bits, never 0, for one block in one open file. No number is
 * issued twice in the life of the open file. A handle is private to its open file: in
 * another one the same number is invalid, or another block.
 *
 * All lengths, alignments and offsets are in bytes.
 *
 * DOC: Terms
 *
 * The region is the contiguous memory of one device node. A granule is the smallest
 * allocation, one page. A block is one allocation. A 2 MiB unit is an aligned 2 MiB of the
 * region. A unit that belongs to one block is whole. A unit that is divided into pages,
 * for small blocks and the ends of larger ones, is split, and only one open file
 * allocates from it. A range is naturally aligned if its length is a power of two and it
 * starts at a multiple of its length.
 *
 * A reference to a block is a handle, a mapping or a block fd. When the last reference is
 * dropped, the block is released. Then the kernel reclaims it: it checks that the pages
 * have no other user, zeroes them and frees them. A page that the kernel or a device still
 * references is pinned, and what was released of its 2 MiB unit is in quarantine until the
 * page is unpinned.
 *
 * DOC: Errors
 *
 * Each errno has one meaning, whatever the command:
 *
 *   EINVAL   A member is wrong: length 0, an alignment that is not a power of two or is
 *            above out_max_align, an unknown flag, a reserved member that is not 0, a
 *            size below that of the first version of the struct.
 *   EFBIG    The length can never be served: it is above the whole region, or GROW would
 *            leave the region.
 *   ENOMEM   The region has no free range of this length (the reply of ALLOC and BATCH
 *            says what is free), or the memory behind the block is not free (GROW), or
 *            the kernel has no memory for its own data.
 *   EDQUOT   ALLOC, BATCH, GROW, and mmap() of a block fd: reserved for limits on
 *            accounts. This version has no such limits and never returns it.
 *   EBUSY    TRIM, GROW: the block is mapped, or has a block fd or a dma-buf. Unmap the
 *            block and close these first. Also while another TRIM of the block runs.
 *   ENOENT   This open file has no such handle: it was never issued, is freed, or belongs
 *            to another open file.
 *   EBADF    The file is not open for writing, which all commands require except INFO,
 *            STATS, EXTENTS and BLOCK.
 *   EMFILE, ENFILE  SHARE, DMABUF: the process, or the system, has no free descriptor.
 *   EOPNOTSUPP  GROW: the block is scattered, or was allocated with BUDDY_ALLOC_ALONE.
 *            DMABUF: the kernel has no dma-bufs.
 *   E2BIG    The struct is larger than the kernel's and its tail is not 0, or it is
 *            larger than a page.
 *   EFAULT   A pointer is bad. Nothing was allocated or freed (BATCH: not by the
 *            operation that found it).
 *   EINTR    A fatal signal arrived while the call waited for memory to be reclaimed.
 *   ENOTTY   This file has no such command.
 *   EACCES   open() without permission for the node; mmap() with PROT_EXEC, or with
 *            PROT_WRITE on a file that is open for reading, or with any protection on a
 *            file that is open for writing only. (PROT_EXEC gets EPERM if the file system
 *            of the node is mounted noexec, and on block fds with newer kernels, 7.3 among
 *            them.)
 *
 * and for mmap() only:
 *
 *   EINVAL   The mapping is not MAP_SHARED.
 *   ENXIO    The range does not lie in one block of this open file, or not in the block
 *            of this block fd.
 *   EACCES   Offset 0 of a file that is not open for writing.
 *   ENOMEM   Offset 0, and there is no memory, or the length is above the whole region.
 *
 * DOC: Mapping
 *
 * A block is mapped at its out_offset, whole or in part. mmap() at offset 0 needs no
 * ALLOC: it allocates a block of the length of the mapping. This block has no handle and
 * is released when the last part of the mapping is gone. If memory is being reclaimed,
 * this mmap() waits for it with mmap_lock held: other threads of the process cannot map
 * or unmap meanwhile. ALLOC waits without that lock.
 *
 * The kernel cannot name a futex in a block that is shared between processes
 * (PTHREAD_PROCESS_SHARED, sem_init() with pshared): it returns EFAULT. Keep such locks
 * in a memfd beside the block. Futexes of one process work.
 *
 * DOC: Life of a block
 *
 * A block belongs to the open file (struct file) that allocated it. FREE, and the last
 * close of the file (exit, SIGKILL and out-of-memory included), frees its handle.
 * Mappings keep the block, as they keep an unlinked file. Pages that the kernel or a
 * device has pinned (O_DIRECT, RDMA, io_uring, a pipe) keep their unit in quarantine. Then
 * it is zeroed and becomes free. So a new block is always zero-filled, and a page
 * never belongs to two blocks.
 */
#ifndef _UAPI_LINUX_BUDDY_H
#define _UAPI_LINUX_BUDDY_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Of INFO: changes when something here is no longer compatible. A program asks INFO first,
 * and continues only if the module has this version. INFO is the same in all versions, up
 * to reserved, its last member in version 1.
 */
#define BUDDY_ABI_VERSION	2

/* Not in use by any driver that the kernel's ioctl-number.rst lists. */
#define BUDDY_IOC_TYPE		0xBD

/**
 * struct buddy_info - BUDDY_IOC_INFO: constant properties of the device
 * @size: sizeof(struct buddy_info)
 * @flags: must be 0
 * @out_abi_version: BUDDY_ABI_VERSION of the module
 * @out_granule: length of a granule, the page size
 * @out_region: length of the region
 * @out_max_align: largest alignment that ALLOC accepts
 * @out_base_align: alignment of the region itself in physical memory; the alignment of
 *                  blocks holds in physical memory up to this
 * @out_features: bits of BUDDY_FEATURE_*
 * @out_node: NUMA node of the region
 * @reserved: must be 0
 */
struct buddy_info {
	__u32 size;
	__u32 flags;
	__u32 out_abi_version;
	__u32 out_granule;
	__aligned_u64 out_region;
	__aligned_u64 out_max_align;
	__aligned_u64 out_base_align;
	__aligned_u64 out_features;
	__s32 out_node;
	__u32 reserved;
};

/*
 * Blocks are one contiguous physical range. A process backend does not have this, nor
 * does a scattered block (see BLOCK).
 */
#define BUDDY_FEATURE_CONTIGUOUS	(1ULL << 0)
/* Whole 2 MiB units are mapped by huge pages of 2 MiB. */
#define BUDDY_FEATURE_HUGE		(1ULL << 1)

/* Keep the whole power of two that holds the length: a classic buddy block. */
#define BUDDY_ALLOC_POW2	(1U << 0)
/*
 * If no one range is free, make the block of several: a scattered block, which is
 * contiguous in its mapping only. Not together with BUDDY_ALLOC_POW2 or an alignment.
 */
#define BUDDY_ALLOC_SCATTER	(1U << 1)
/*
 * Let no other block lie in the 2 MiB units of the block: take whole units. For a block
 * that is shared with processes that are not trusted.
 */
#define BUDDY_ALLOC_ALONE	(1U << 2)

/**
 * struct buddy_alloc - BUDDY_IOC_ALLOC: allocate a block
 * @size: sizeof(struct buddy_alloc)
 * @flags: BUDDY_ALLOC_POW2 or BUDDY_ALLOC_SCATTER or 0; BUDDY_ALLOC_ALONE with each
 * @length: bytes wanted, 1 or more; rounded up to out_granule, or with
 *          BUDDY_ALLOC_POW2 to a power of two
 * @align: 0 or a power of two, up to out_max_align
 * @out_length: bytes of the block
 * @out_offset: offset of the block for mmap(); never 0
 * @out_handle: handle of the block
 * @out_free: with ENOMEM: bytes that this file can allocate; with BUDDY_ALLOC_ALONE those
 *            in whole units
 * @out_largest: with ENOMEM: bytes of the longest block that this file could have; with
 *               BUDDY_ALLOC_ALONE of whole units, 0 if no unit is free
 * @out_returning: with ENOMEM: bytes being reclaimed, or in quarantine
 * @out_account_limit: with ENOMEM or EDQUOT: bytes that the account of the caller may
 *                     hold; 0: the account has no limit
 * @out_account_used: with ENOMEM or EDQUOT: bytes that the account holds, if it has a
 *                    limit; else 0
 *
 * The block is contiguous and zero-filled.
 *
 * It starts, counted from the start of the region, at a multiple of @align and of the
 * largest power of two that divides @out_length, at most 2 MiB. With BUDDY_ALLOC_POW2 it
 * starts at a multiple of its whole length. A block of L bytes holds at least
 * floor(L / 2 MiB) - 1 whole 2 MiB units. It holds floor(L / 2 MiB) of them if L is a
 * multiple of 2 MiB, or if @align is 2 MiB or more. A later version may place blocks
 * differently within this promise. @out_offset is aligned as the block is, up to 1 GiB.
 *
 * The time of the call does not depend on the length. If nothing fits and memory is being
 * reclaimed, the call reclaims memory itself, or waits for it, before it fails. A fatal
 * signal ends it.
 *
 * It fails only if there is no free range of this length, so aligned, in free units and the
 * split ones of this file. If many ranges are long enough and none of them fits by its
 * alignment, the call looks at some of them only. For BUDDY_ALLOC_POW2 and an @align above
 * 2 MiB the range is a node of the buddy tree: 2^n units at a multiple of 2^n.
 *
 * With BUDDY_ALLOC_SCATTER the time depends on the number of extents: ranges of whole
 * units, then one range or more for the rest. The call fails only if fewer bytes are free
 * to this file, in free units and in its split ones, than it asks for. A scattered block
 * can be trimmed but not grown, and a device sees a list of ranges. It starts at a multiple
 * of the granule. If one range is free, the block is contiguous and like any other.
 *
 * With BUDDY_ALLOC_ALONE no other block, of the same open file or another, ever lies in a
 * 2 MiB unit of the block. So a process that has a block fd or a dma-buf of it cannot delay
 * the reclaim of other blocks by mapping or pinning its pages. @out_length, and what can be
 * mapped, are the same as without the flag, but the block takes its last unit as a whole,
 * which STATS and EXTENTS show as used. A scattered block consists of whole units then.
 * TRIM frees whole units only, and the block cannot be grown.
 */
struct buddy_alloc {
	__u32 size;
	__u32 flags;
	__aligned_u64 length;
	__aligned_u64 align;
	__aligned_u64 out_length;
	__aligned_u64 out_offset;
	__aligned_u64 out_handle;
	__aligned_u64 out_free;
	__aligned_u64 out_largest;
	__aligned_u64 out_returning;
	__aligned_u64 out_account_limit;
	__aligned_u64 out_account_used;
};

/**
 * struct buddy_free - BUDDY_IOC_FREE: free a handle
 * @size: sizeof(struct buddy_free)
 * @flags: must be 0
 * @handle: out_handle of an ALLOC on this open file
 */
struct buddy_free {
	__u32 size;
	__u32 flags;
	__aligned_u64 handle;
};

#define BUDDY_ORDERS	32

/**
 * struct buddy_stats - BUDDY_IOC_STATS: the current state of the region
 * @size: sizeof(struct buddy_stats)
 * @flags: must be 0
 * @out_region: length of the region
 * @out_free: free bytes that every file can allocate
 * @out_used: bytes in blocks with at least one reference; of a block that was allocated
 *            with BUDDY_ALLOC_ALONE its whole units
 * @out_private: free bytes in split 2 MiB units; only the file that owns the unit can
 *               allocate them (no file, if that one is closed)
 * @out_returning: bytes being reclaimed
 * @out_quarantined: bytes in quarantine: released, but pinned by the kernel or a device
 * @out_reserved: bytes retired because of a poisoned page (HWPoison): the page, or the
 *                whole unit of a block that had it whole;
 *                withheld until the module is unloaded.
 *                region = free + used + private + returning + quarantined + reserved
 * @out_largest: bytes of the longest block that the calling file could have
 * @out_low_water: smallest value that out_free ever had
 * @out_blocks: number of blocks in out_used
 * @out_allocs: blocks allocated since load
 * @out_frees: blocks released since load; their memory is reclaimed later, in parts
 * @out_fails: allocations that failed for lack of memory since load
 * @out_fragmentation: 1 - out_largest / (out_free + out_private), in 1/1000; 0 if that is
 *                     one range, or nothing is free
 * @out_orders: number of valid entries of @out_free_blocks
 * @out_free_blocks: naturally aligned free ranges of out_granule << index bytes
 *
 * The reply is not a snapshot: the members may be read at different moments. @out_used is
 * the remainder, so that the sum always holds.
 */
struct buddy_stats {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_region;
	__aligned_u64 out_free;
	__aligned_u64 out_used;
	__aligned_u64 out_private;
	__aligned_u64 out_returning;
	__aligned_u64 out_quarantined;
	__aligned_u64 out_reserved;
	__aligned_u64 out_largest;
	__aligned_u64 out_low_water;
	__aligned_u64 out_blocks;
	__aligned_u64 out_allocs;
	__aligned_u64 out_frees;
	__aligned_u64 out_fails;
	__u32 out_fragmentation;
	__u32 out_orders;
	__aligned_u64 out_free_blocks[BUDDY_ORDERS];
};

/* States of an extent */
#define BUDDY_EXTENT_FREE	0	/* free and zero */
#define BUDDY_EXTENT_USED	1	/* of a block with a reference */
#define BUDDY_EXTENT_RETURNING	2	/* being reclaimed */
#define BUDDY_EXTENT_QUARANTINED 3	/* released, but pinned */
#define BUDDY_EXTENT_RESERVED	4	/* retired: poisoned, until unload */
#define BUDDY_EXTENT_PRIVATE	5	/* free, in a split unit of one file */

/**
 * struct buddy_extent_entry - one range of the region
 * @offset: from the start of the region
 * @length: bytes
 * @state: BUDDY_EXTENT_*
 * @pid: process that opened the owning file, as a number of the caller's PID
 *       namespace; 0 if it has none there, if it is gone, or if there is no owner.
 *       Also 0 if the effective user of that process, when it opened the file, was
 *       not the effective user of the caller, and the caller lacks CAP_SYS_ADMIN
 *       in the initial user namespace
 */
struct buddy_extent_entry {
	__aligned_u64 offset;
	__aligned_u64 length;
	__u32 state;
	__s32 pid;
};

/**
 * struct buddy_extents - BUDDY_IOC_EXTENTS: list the extents of the region
 * @size: sizeof(struct buddy_extents)
 * @flags: must be 0
 * @start: offset in the region of the first extent wanted; an extent that
 *         contains this byte is returned whole
 * @entries: address of an array of struct buddy_extent_entry
 * @count: length of the array, 1 or more
 * @out_count: entries filled
 * @out_next: @start of the next call; the region's length at the end
 *
 * The whole units of a block and its tail are two extents. A block that was allocated with
 * BUDDY_ALLOC_ALONE has no tail: its last unit is in an extent of whole units. The extents
 * of a reply follow each other without a gap: each starts at the end of the one before. The
 * reply is not a snapshot: a block that is freed meanwhile may appear in either state.
 */
struct buddy_extents {
	__u32 size;
	__u32 flags;
	__aligned_u64 start;
	__aligned_u64 entries;
	__u32 count;
	__u32 out_count;
	__aligned_u64 out_next;
};

/* The block fd can be mapped for reading only. */
#define BUDDY_SHARE_READ_ONLY	(1U << 0)

/**
 * struct buddy_share - BUDDY_IOC_SHARE: make a file descriptor for one block
 * @size: sizeof(struct buddy_share)
 * @flags: BUDDY_SHARE_READ_ONLY or 0
 * @handle: handle of the block
 * @out_fd: new descriptor, close-on-exec
 * @reserved: must be 0
 *
 * The descriptor, a block fd, gives access to this block only: mmap() of it starts at
 * offset 0, and BUDDY_IOC_BLOCK returns its length. Send it to other processes by
 * SCM_RIGHTS. It keeps the block until its last copy is closed and unmapped, even if the
 * handle is freed or the process that shared the block is gone. Sharing cannot be revoked.
 *
 * The end of a block beyond a multiple of 2 MiB may lie in a split unit, with small blocks
 * of the file that allocated it. A process that has the descriptor can delay the reclaim
 * of these blocks by pinning pages there. Allocate a block with BUDDY_ALLOC_ALONE to share
 * it with a process that you do not trust in this.
 */
struct buddy_share {
	__u32 size;
	__u32 flags;
	__aligned_u64 handle;
	__s32 out_fd;
	__u32 reserved;
};

/*
 * BUDDY_IOC_DMABUF takes a struct buddy_share, too, and its descriptor is a dma-buf.
 * Drivers that attach to it get the block as one contiguous range (a scattered block as a
 * list of ranges). It can be mapped like a block fd. Bracket accesses by
 * DMA_BUF_IOCTL_SYNC if a device uses the block at the same time. With
 * BUDDY_SHARE_READ_ONLY devices may only read: a driver that maps it for writing gets
 * EACCES.
 */

/**
 * struct buddy_block_info - BUDDY_IOC_BLOCK: properties of a block fd
 * @size: sizeof(struct buddy_block_info)
 * @flags: must be 0
 * @out_length: bytes of the block
 * @out_features: as out_features of INFO
 *
 * This is the only command of a block fd.
 */
struct buddy_block_info {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_length;
	__aligned_u64 out_features;
};

#define BUDDY_BATCH_MAX		1024

/* Operations of a batch */
#define BUDDY_BATCH_ALLOC	1
#define BUDDY_BATCH_FREE	2

/**
 * struct buddy_batch_entry - one operation of a batch
 * @op: BUDDY_BATCH_ALLOC or BUDDY_BATCH_FREE
 * @flags: as for ALLOC; for FREE 0
 * @length: as for ALLOC; for FREE 0
 * @align: as for ALLOC; for FREE 0
 * @out_length: written by ALLOC, not by FREE
 * @out_offset: likewise
 * @handle: read by FREE; written by ALLOC, which ignores its value on entry
 */
struct buddy_batch_entry {
	__u32 op;
	__u32 flags;
	__aligned_u64 length;
	__aligned_u64 align;
	__aligned_u64 out_length;
	__aligned_u64 out_offset;
	__aligned_u64 handle;
};

/**
 * struct buddy_batch - BUDDY_IOC_BATCH: many ALLOCs and FREEs in one call
 * @size: sizeof(struct buddy_batch)
 * @flags: must be 0
 * @entries: address of an array of struct buddy_batch_entry
 * @count: length of the array, 1 to BUDDY_BATCH_MAX
 * @entry_size: sizeof(struct buddy_batch_entry)
 * @out_done: operations done, the first ones of the array
 * @reserved: must be 0
 * @out_free: with ENOMEM, as in struct buddy_alloc
 * @out_largest: with ENOMEM, as in struct buddy_alloc
 * @out_returning: with ENOMEM, as in struct buddy_alloc
 * @out_account_limit: with ENOMEM or EDQUOT, as in struct buddy_alloc
 * @out_account_used: with ENOMEM or EDQUOT, as in struct buddy_alloc
 *
 * The operations are executed in the order of the array. The call ends at the first one
 * that fails, with its errno. The operations before it (out_done) stay done; it and those
 * after it have no effect. The operations are separate: other calls may allocate and free
 * between them. If this struct cannot be written at the end, the call returns EFAULT and
 * the operations stay done: the entries show which.
 */
struct buddy_batch {
	__u32 size;
	__u32 flags;
	__aligned_u64 entries;
	__u32 count;
	__u32 entry_size;
	__u32 out_done;
	__u32 reserved;
	__aligned_u64 out_free;
	__aligned_u64 out_largest;
	__aligned_u64 out_returning;
	__aligned_u64 out_account_limit;
	__aligned_u64 out_account_used;
};

/**
 * struct buddy_resize - BUDDY_IOC_TRIM, BUDDY_IOC_GROW: change a block's length in place
 * @size: sizeof(struct buddy_resize)
 * @flags: must be 0
 * @handle: handle of the block
 * @length: new length, 1 or more; rounded up to out_granule. At most the present length
 *          for TRIM, at least the present length for GROW
 *
 * TRIM frees the end of a block. GROW adds the memory behind the block, if that is free.
 * Offset, handle and contents of the block do not change, and the memory that GROW adds
 * is zero-filled. Of a block that was allocated with BUDDY_ALLOC_ALONE TRIM frees the whole
 * 2 MiB units beyond @length. The rest of its last unit stays with the block; it cannot be
 * mapped any more, and is zeroed with the block.
 *
 * Both require that the handle is the only reference to the block, otherwise they return
 * EBUSY: the block must not be mapped, nor have a block fd or a dma-buf.
 */
struct buddy_resize {
	__u32 size;
	__u32 flags;
	__aligned_u64 handle;
	__aligned_u64 length;
};

#define BUDDY_IOC_INFO		_IOWR(BUDDY_IOC_TYPE, 0x80, struct buddy_info)
#define BUDDY_IOC_ALLOC		_IOWR(BUDDY_IOC_TYPE, 0x81, struct buddy_alloc)
#define BUDDY_IOC_FREE		_IOWR(BUDDY_IOC_TYPE, 0x82, struct buddy_free)
#define BUDDY_IOC_STATS		_IOWR(BUDDY_IOC_TYPE, 0x83, struct buddy_stats)
#define BUDDY_IOC_EXTENTS	_IOWR(BUDDY_IOC_TYPE, 0x84, struct buddy_extents)
#define BUDDY_IOC_SHARE		_IOWR(BUDDY_IOC_TYPE, 0x85, struct buddy_share)
#define BUDDY_IOC_BLOCK		_IOWR(BUDDY_IOC_TYPE, 0x86, struct buddy_block_info)
#define BUDDY_IOC_BATCH		_IOWR(BUDDY_IOC_TYPE, 0x87, struct buddy_batch)
#define BUDDY_IOC_TRIM		_IOWR(BUDDY_IOC_TYPE, 0x88, struct buddy_resize)
#define BUDDY_IOC_GROW		_IOWR(BUDDY_IOC_TYPE, 0x89, struct buddy_resize)
#define BUDDY_IOC_DMABUF	_IOWR(BUDDY_IOC_TYPE, 0x8a, struct buddy_share)

#endif /* _UAPI_LINUX_BUDDY_H */
