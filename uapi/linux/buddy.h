/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * linux/buddy.h - the interface of /dev/buddy (module buddy_mem).
 *
 * DOC: General
 *
 * Every command is ioctl(fd, BUDDY_IOC_X, struct buddy_x *). The first member
 * of each struct is its size, set by the caller to sizeof(struct buddy_x). A
 * smaller struct of an older header and a larger struct of a newer one are
 * both accepted: what the caller lacks is taken as 0 and not returned, what
 * the kernel does not know must be 0. The kernel looks at the type and the
 * number of a command only, so a command keeps working when its struct grows.
 *
 * Members named out_ are written by the kernel; on entry they are ignored.
 * Members named reserved and unknown flags must be 0.
 *
 * A handle is the number of a block in the open file that allocated it, of 64 bits and
 * not 0. No number is issued twice in the life of the open file. A handle is private to
 * its open file: in another one it names nothing, or another block.
 *
 * All lengths, alignments and offsets are in bytes.
 *
 * DOC: Errors
 *
 * Each errno has one meaning, whatever the command:
 *
 *   EINVAL   a member is wrong: length 0, an alignment that is no power of two
 *            or above out_max_align, an unknown flag, a reserved member that
 *            is not 0, a size below the first version of the struct
 *   EFBIG    the length can never be served: it is above the whole region, or
 *            GROW would leave the region or a small block's unit
 *   ENOMEM   no memory now: the region has no free range of this length (the
 *            reply of ALLOC says what it has), what follows the block is not free
 *            (GROW), or the kernel has none for the handle
 *   EDQUOT   ALLOC, BATCH, GROW, and mmap() of a block fd: reserved for limits of
 *            accounts. This version has none, and never returns it
 *   EBUSY    TRIM, GROW: the block is mapped, or has a block fd or a dma-buf
 *   ENOENT   no such handle in this open file: never issued, freed, or another
 *            open file's
 *   EBADF    the file is not open for writing, which all commands need but INFO,
 *            STATS, EXTENTS and BLOCK
 *   EMFILE, ENFILE  SHARE, DMABUF: no descriptor is free in the process, or the
 *            system
 *   EOPNOTSUPP  TRIM, GROW: the block is scattered; DMABUF: the kernel has none
 *   E2BIG    the struct is larger than the kernel's and its tail is not 0, or
 *            it is larger than a page
 *   EFAULT   a pointer is bad; nothing was allocated or freed (BATCH: by the
 *            operation at which it was found)
 *   EINTR    killed while waiting for memory that was on its way back
 *   ENOTTY   no such command for this file
 *   EACCES   open() without permission for the node; mmap() with PROT_EXEC, or
 *            with PROT_WRITE on a file that is open for reading, or of any kind
 *            on one that is open for writing alone (PROT_EXEC gets EPERM where
 *            the node's file system is mounted noexec, and from newer kernels,
 *            7.3 among them, on block fds)
 *
 * and for mmap() alone:
 *
 *   EINVAL   not MAP_SHARED
 *   ENXIO    the range does not lie in one block of this open file, or not in
 *            the block of this block fd
 *   EACCES   offset 0 of a file that is not open for writing
 *   ENOMEM   offset 0, and no memory, or the length is above the whole region
 *
 * DOC: Mapping
 *
 * A block is mapped at its out_offset, whole or in part. mmap() at offset 0 needs
 * no ALLOC: it allocates a block of the mapping's length, which has no handle and
 * is freed when the last part of the mapping is gone. Where memory is on its way
 * back, that mmap() waits for it while no other thread of the process can map or
 * unmap; ALLOC waits without that.
 *
 * The pages have no address space of their own. So a futex that is shared between
 * processes (PTHREAD_PROCESS_SHARED, sem_init() with pshared) gives EFAULT in a
 * block: keep these in a memfd beside it. Futexes of one process work.
 *
 * DOC: Life of a block
 *
 * A block belongs to the open file (struct file) that allocated it. FREE, and
 * the last close of the file (exit, SIGKILL and out-of-memory included), takes
 * its handle away. Mappings that still exist keep the block, as they keep an
 * unlinked file; pages that the kernel or a device still holds (O_DIRECT, RDMA,
 * io_uring, a pipe) keep it in quarantine. When nobody can reach it any more it
 * is zeroed and becomes free. So a new block is always zero, and no page is
 * ever in two hands.
 */
#ifndef _UAPI_LINUX_BUDDY_H
#define _UAPI_LINUX_BUDDY_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Of INFO: changes when something here is no longer compatible. A program asks INFO first,
 * and goes on only if the module has this version. INFO is the same in all versions, up to
 * its last member of version 1, reserved.
 */
#define BUDDY_ABI_VERSION	2

/* Not in use by any driver that the kernel's ioctl-number.rst lists. */
#define BUDDY_IOC_TYPE		0xBD

/**
 * struct buddy_info - BUDDY_IOC_INFO: what this device is
 * @size: sizeof(struct buddy_info)
 * @flags: must be 0
 * @out_abi_version: BUDDY_ABI_VERSION of the module
 * @out_granule: allocation unit, the page size
 * @out_region: length of the region
 * @out_max_align: largest alignment that ALLOC accepts
 * @out_base_align: alignment of the region itself in physical memory; block
 *                  alignments hold physically up to this
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
 * Blocks are one contiguous physical range (not so for a process backend, and for a
 * scattered block, of which BLOCK tells).
 */
#define BUDDY_FEATURE_CONTIGUOUS	(1ULL << 0)
/* Blocks of 2 MiB and more are mapped by huge pages of 2 MiB. */
#define BUDDY_FEATURE_HUGE		(1ULL << 1)

/* Keep the whole power of two that holds the length: a classic buddy block. */
#define BUDDY_ALLOC_POW2	(1U << 0)
/*
 * Contiguous in the mapping is enough: where there is no one range the block is made
 * of several. Not together with BUDDY_ALLOC_POW2 or an alignment.
 */
#define BUDDY_ALLOC_SCATTER	(1U << 1)

/**
 * struct buddy_alloc - BUDDY_IOC_ALLOC: allocate a block
 * @size: sizeof(struct buddy_alloc)
 * @flags: BUDDY_ALLOC_POW2 or BUDDY_ALLOC_SCATTER or 0
 * @length: bytes wanted, 1 or more; rounded up to out_granule, or with
 *          BUDDY_ALLOC_POW2 to a power of two
 * @align: 0 or a power of two, up to out_max_align
 * @out_length: bytes of the block
 * @out_offset: where to mmap() it; never 0
 * @out_handle: of the block, in this open file
 * @out_free: with ENOMEM: bytes free to this file
 * @out_largest: with ENOMEM: bytes of the largest free naturally aligned range
 * @out_returning: with ENOMEM: bytes freed but not yet free (being zeroed, or
 *                 in quarantine)
 * @out_account_limit: with ENOMEM or EDQUOT: bytes that the caller's account may have; 0:
 *                     it has no limit
 * @out_account_used: with ENOMEM or EDQUOT: bytes that it has, if it has a limit; else 0
 *
 * The block starts, counted from the start of the region, at a multiple of @align and
 * of the largest power of two that divides @out_length, at most 2 MiB. With
 * BUDDY_ALLOC_POW2 it starts at a multiple of its whole length. A block of L bytes holds
 * at least floor(L / 2 MiB) - 1 whole 2 MiB units, and all L / 2 MiB of them if L is a
 * multiple of 2 MiB, or floor(L / 2 MiB) if @align is 2 MiB or more: these can be mapped
 * by huge pages. More than this is not promised. @out_offset is aligned as the block is, up
 * to 1 GiB.
 *
 * The block is contiguous and zero. It takes a time that does not depend on
 * its length, but where the region is full and blocks are on their way back,
 * the call helps to bring them back, and can be killed meanwhile.
 *
 * With BUDDY_ALLOC_SCATTER the time depends on the number of pieces, which are
 * ranges of whole units of 2 MiB and then one or more for the rest. It fails only
 * where too few units are free. The block counts as its pieces in the statistics,
 * cannot be trimmed or grown, and is to a device a list of ranges. It may still be
 * contiguous, and then is like any other block.
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
 * struct buddy_free - BUDDY_IOC_FREE: take a handle away
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
 * struct buddy_stats - BUDDY_IOC_STATS: the region now
 * @size: sizeof(struct buddy_stats)
 * @flags: must be 0
 * @out_region: length of the region
 * @out_free: bytes that are free to everybody, and zero
 * @out_used: bytes in blocks that somebody owns or maps
 * @out_private: free bytes in units of 2 MiB that one open file has for its
 *               blocks of less than that; free to this file alone (to nobody,
 *               where the file is closed and the last such block not yet back)
 * @out_returning: bytes freed, reachable by nobody as far as is known, being
 *                 checked and zeroed
 * @out_quarantined: bytes freed, but held by the kernel or a device
 * @out_reserved: bytes out of service for ever, for a page that is broken
 *                (hardware poison);
 *                region = free + used + private + returning + quarantined +
 *                reserved
 * @out_largest: bytes of the largest free naturally aligned range
 * @out_low_water: the least that out_free ever was
 * @out_blocks: number of blocks in out_used
 * @out_allocs: blocks ever allocated
 * @out_frees: blocks ever released: the last reference was dropped. Their memory returns
 *             later, and parts of a block may return apart
 * @out_fails: allocations that found no memory
 * @out_fragmentation: 1 - out_largest / out_free, in 1/1000
 * @out_orders: number of valid entries of @out_free_blocks
 * @out_free_blocks: free naturally aligned ranges of out_granule << index bytes
 *
 * The members need not be of one moment. @out_used is what the others leave of
 * @out_region, so the sum always holds.
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
#define BUDDY_EXTENT_USED	1	/* a block of somebody */
#define BUDDY_EXTENT_RETURNING	2	/* being checked and zeroed */
#define BUDDY_EXTENT_QUARANTINED 3	/* freed, held by the kernel or a device */
#define BUDDY_EXTENT_RESERVED	4	/* out of service for ever */
#define BUDDY_EXTENT_PRIVATE	5	/* free, in a unit that one file has */

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
 * struct buddy_extents - BUDDY_IOC_EXTENTS: what lies where
 * @size: sizeof(struct buddy_extents)
 * @flags: must be 0
 * @start: offset in the region of the first extent wanted; an extent that
 *         holds this byte is returned whole
 * @entries: address of an array of struct buddy_extent_entry
 * @count: its length, 1 or more
 * @out_count: entries filled
 * @out_next: @start of the next call; the region's length at the end
 *
 * The extents tile the region: in a reply each begins where the one before ended.
 * Each call is a sequence of moments: a block freed meanwhile may be seen in either
 * state.
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

/* The block fd maps readable only. */
#define BUDDY_SHARE_READ_ONLY	(1U << 0)

/**
 * struct buddy_share - BUDDY_IOC_SHARE: a file descriptor for one block
 * @size: sizeof(struct buddy_share)
 * @flags: BUDDY_SHARE_READ_ONLY or 0
 * @handle: of the block
 * @out_fd: a new descriptor, close-on-exec
 * @reserved: must be 0
 *
 * The descriptor names this block and nothing else: mmap() of it begins at
 * offset 0, BUDDY_IOC_BLOCK tells its length. Send it to others by SCM_RIGHTS.
 * It keeps the block until its last copy is closed and unmapped, whatever
 * becomes of the handle and of the process that shared it. What was shared
 * cannot be called back.
 *
 * What a block has beyond a multiple of 2 MiB shares a unit of 2 MiB with small
 * blocks of the file that allocated it. Who gets the descriptor can delay the return
 * of these, by pinning pages there: share multiples of 2 MiB with those whom you do
 * not trust in this.
 */
struct buddy_share {
	__u32 size;
	__u32 flags;
	__aligned_u64 handle;
	__s32 out_fd;
	__u32 reserved;
};

/*
 * BUDDY_IOC_DMABUF takes a struct buddy_share, too; its descriptor is a dma-buf.
 * Drivers attach to it and get the block as one contiguous range (a scattered one as
 * a list of ranges). It can be mapped
 * like a block fd; bracket accesses by DMA_BUF_IOCTL_SYNC where a device uses the
 * block at the same time. With BUDDY_SHARE_READ_ONLY devices may only read: the
 * driver that maps it for more gets EACCES.
 */

/**
 * struct buddy_block_info - BUDDY_IOC_BLOCK: on a block fd alone, what it is
 * @size: sizeof(struct buddy_block_info)
 * @flags: must be 0
 * @out_length: bytes of the block
 * @out_features: as out_features of INFO
 */
struct buddy_block_info {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_length;
	__aligned_u64 out_features;
};

#define BUDDY_BATCH_MAX		1024

/* What an entry of a batch does */
#define BUDDY_BATCH_ALLOC	1
#define BUDDY_BATCH_FREE	2

/**
 * struct buddy_batch_entry - one operation of a batch
 * @op: BUDDY_BATCH_ALLOC, BUDDY_BATCH_FREE
 * @flags: as for ALLOC; for FREE 0
 * @length: as for ALLOC; for FREE 0
 * @align: as for ALLOC; for FREE 0
 * @out_length: by ALLOC; FREE writes nothing
 * @out_offset: by ALLOC
 * @handle: FREE: of the block; ALLOC: written, ignored on entry
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
 * @count: its length, 1 to BUDDY_BATCH_MAX
 * @entry_size: sizeof(struct buddy_batch_entry)
 * @out_done: operations done, the first ones of the array
 * @reserved: must be 0
 * @out_free: with ENOMEM, as in struct buddy_alloc
 * @out_largest: with ENOMEM, as in struct buddy_alloc
 * @out_returning: with ENOMEM, as in struct buddy_alloc
 * @out_account_limit: with ENOMEM or EDQUOT, as in struct buddy_alloc
 * @out_account_used: with ENOMEM or EDQUOT, as in struct buddy_alloc
 *
 * Operations are done in the order of the array. The call ends with the first one
 * that fails, and with its errno; those before it (out_done) stay done, it and those
 * after it have done nothing. Each operation is one for itself: others may allocate
 * and free in between. Where this struct cannot be written at the end, the call gives
 * EFAULT and what is done is done: the entries tell.
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
 * struct buddy_resize - BUDDY_IOC_TRIM, BUDDY_IOC_GROW: another length, in place
 * @size: sizeof(struct buddy_resize)
 * @flags: must be 0
 * @handle: of the block
 * @length: bytes that the block is to have, 1 or more; rounded up to out_granule.
 *          For TRIM not above, for GROW not below what it has
 *
 * TRIM gives the end of a block back; GROW adds what follows it, if that is free.
 * Offset, handle and contents stay; what GROW adds is zero. Both only while nothing
 * but the handle refers to the block: it must not be mapped, nor have a block fd or
 * a dma-buf. A block below 2 MiB grows within the unit of 2 MiB that it lies in, and
 * beyond that if it starts it. Neither moves the start of the block.
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
