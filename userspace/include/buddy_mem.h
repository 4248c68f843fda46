/* SPDX-License-Identifier: MIT */
/*
 * buddy_mem.h - libbuddymem: blocks of large contiguous memory.
 *
 * A device is a region with a buddy tree over it. A block is one allocation of it,
 * zero-filled, and reclaimed when it is freed or when the process ends, however
 * it ends. Two backends have the same API:
 *
 *   device    /dev/buddy of the module buddy_mem: physically contiguous, from
 *             a region reserved at load, shared by all processes
 *   process   a memfd and the same tree, private to the process: no module, no
 *             permission needed, not contiguous; for development and tests
 *
 * Functions return 0 or a negative errno and never set errno. All lengths are
 * in bytes. After a failure buddy_error() says what failed, why, and what would have
 * worked.
 *
 * Threads: calls on one device may come from any thread at any time. Calls on
 * one block must not overlap one another. After fork() the child may use blocks
 * that are mapped; on a device of the process backend it cannot allocate, free
 * or ask (-EPERM): the tree is its parent's, and what the parent frees is lost
 * for the child's mapping, too.
 */
#ifndef BUDDY_MEM_H
#define BUDDY_MEM_H

#include <stddef.h>
#include <stdint.h>

#include <linux/buddy.h>

#ifdef __cplusplus
extern "C" {
#endif

struct buddy_dev;
struct buddy_block;
struct buddy_pool;

/** enum buddy_backend - where the memory comes from */
enum buddy_backend {
	BUDDY_BACKEND_DEFAULT,	/* what $BUDDY_BACKEND says, or AUTO */
	BUDDY_BACKEND_AUTO,	/* DEVICE, or where there is no node PROCESS */
	BUDDY_BACKEND_DEVICE,
	BUDDY_BACKEND_PROCESS,
};

/**
 * buddy_dev_open() - open a region
 * @dev: the device
 * @backend: which kind
 * @path: device node; NULL for $BUDDY_DEVICE or /dev/buddy
 * @size: bytes of the region of a process backend; 0 for $BUDDY_SIZE (as
 *        64M, 1.5G or 25% of the machine's memory) or 256 MiB
 *
 * AUTO takes the process backend only where the node does not exist: a node
 * that may not be opened is an error. buddy_dev_backend() tells what it took.
 *
 * A program that has more rights than its caller (set-user-ID, see secure_getenv(3)) has
 * none of these variables.
 *
 * Return: 0; -ENOENT (no node: is the module loaded?); -EACCES (no permission for it, or
 * its file system is mounted nodev); -EPERM (the device cgroup of a container forbids
 * it); -ENODEV, -ENXIO (no driver has the number of the node); -ENOTTY (not a buddy
 * device: another driver's node, or a regular file); -EPROTO (module and library have
 * different versions of the interface); -EINVAL (unknown backend, bad $BUDDY_BACKEND or $BUDDY_SIZE); -EFBIG (@size
 * is more than a process backend can have, or RLIMIT_FSIZE allows: 1 GiB and the
 * region); -ENOMEM; others of open(2).
 */
int buddy_dev_open(struct buddy_dev **dev, enum buddy_backend backend,
		   const char *path, uint64_t size);

/**
 * buddy_dev_close() - close a region; its blocks must be freed before
 * @dev: the device, or NULL
 */
void buddy_dev_close(struct buddy_dev *dev);

/** buddy_dev_backend() - "device" or "process" */
const char *buddy_dev_backend(const struct buddy_dev *dev);

/**
 * buddy_dev_info() - constant facts, see struct buddy_info
 * Return: 0 or an errno of linux/buddy.h.
 */
int buddy_dev_info(struct buddy_dev *dev, struct buddy_info *info);

/**
 * buddy_dev_stats() - the region now, see struct buddy_stats
 * Return: 0 or an errno of linux/buddy.h.
 */
int buddy_dev_stats(struct buddy_dev *dev, struct buddy_stats *stats);

/**
 * buddy_dev_extents() - what lies where, in order of offset
 * @dev: the device
 * @start: in: offset of the first extent wanted; out: that of the next call
 * @entries: array to fill
 * @count: its length
 *
 * Return: number of entries filled, 0 at the end; or an errno of linux/buddy.h.
 */
int buddy_dev_extents(struct buddy_dev *dev, uint64_t *start,
		      struct buddy_extent_entry *entries, uint32_t count);

/**
 * buddy_block_alloc() - allocate a block
 * @dev: the device
 * @length: bytes, rounded up to the granule
 * @align: 0 or a power of two
 * @flags: BUDDY_ALLOC_POW2, BUDDY_ALLOC_SCATTER or 0; BUDDY_ALLOC_ALONE with each
 * @block: the block
 *
 * The block starts at a multiple of @align and of the largest power of two that divides
 * its length, at most 2 MiB; with BUDDY_ALLOC_POW2 of its whole length. With
 * BUDDY_ALLOC_ALONE it takes whole units of 2 MiB, and no other block lies in these, with
 * either backend. See struct buddy_alloc.
 *
 * Return: 0; -EINVAL, -EFBIG, -ENOMEM, -EINTR as in linux/buddy.h.
 */
int buddy_block_alloc(struct buddy_dev *dev, uint64_t length, uint64_t align,
		      uint32_t flags, struct buddy_block **block);

/**
 * buddy_block_request() - the same, with the whole request and reply
 * @dev: the device
 * @request: in and out, see struct buddy_alloc; its size member is set here.
 *           After -ENOMEM it says what the region has
 * @block: the block
 *
 * Return: as buddy_block_alloc().
 */
int buddy_block_request(struct buddy_dev *dev, struct buddy_alloc *request,
			struct buddy_block **block);

/** buddy_block_length() - bytes, rounding included */
uint64_t buddy_block_length(const struct buddy_block *block);

/** buddy_block_offset() - where the block lies in the device's mmap() space */
uint64_t buddy_block_offset(const struct buddy_block *block);

/**
 * buddy_block_trim() - give the end of a block back
 * @block: the block, not mapped
 * @length: bytes that it keeps, rounded up to the granule; 1 to its length
 *
 * Offset and contents stay. A block that was allocated with BUDDY_ALLOC_ALONE gives back
 * whole units of 2 MiB only.
 *
 * Return: 0; -EINVAL (@length is 0 or above the block's); -EFBIG (above the
 * region); -EBUSY (it is mapped, or has a block fd or a dma-buf, or another trim of it
 * runs); -EOPNOTSUPP (it came from buddy_block_from_fd()); -EPERM.
 */
int buddy_block_trim(struct buddy_block *block, uint64_t length);

/**
 * buddy_block_grow() - make a block longer where it lies
 * @block: the block, not mapped
 * @length: bytes that it is to have, rounded up to the granule
 *
 * Offset and contents stay; what is added is zero.
 *
 * Return: 0; -ENOMEM (what follows the block is not free); -EFBIG (it would leave
 * the region, or, on a device, the unit of 2 MiB in which a small block lies);
 * -EINVAL (@length is 0 or below the block's); -EOPNOTSUPP (it is scattered, or was
 * allocated with BUDDY_ALLOC_ALONE); -EINTR; others as buddy_block_trim().
 */
int buddy_block_grow(struct buddy_block *block, uint64_t length);

/** buddy_block_writable() - 0 for a block from a read-only block fd, else 1 */
int buddy_block_writable(const struct buddy_block *block);

/**
 * buddy_block_map() - map the whole block, readable and (buddy_block_writable())
 * writable
 * @block: the block
 * @address: where; a second call gives the same address
 *
 * Return: 0 or a negative errno of mmap(2).
 */
int buddy_block_map(struct buddy_block *block, void **address);

/**
 * buddy_block_unmap() - undo buddy_block_map(); fine if it is not mapped
 * @block: the block
 */
void buddy_block_unmap(struct buddy_block *block);

/**
 * buddy_block_share() - a file descriptor for this block alone
 * @block: the block
 * @flags: BUDDY_SHARE_READ_ONLY or 0
 *
 * For other processes, by SCM_RIGHTS: they make a block of it by buddy_block_from_fd(),
 * or mmap() it at offset 0 and ask its length by BUDDY_IOC_BLOCK. It keeps the memory,
 * even if the block is freed or this process is gone. Close-on-exec. Allocate a block with
 * BUDDY_ALLOC_ALONE to share it with processes that you do not trust: then they cannot
 * delay the reclaim of other blocks.
 *
 * Return: the descriptor; -EINVAL (an unknown flag); -EMFILE, -ENFILE;
 * -EOPNOTSUPP with the process backend, whose blocks cannot be shared, and for a
 * block from buddy_block_from_fd() (dup(2) the descriptor it came from).
 */
int buddy_block_share(struct buddy_block *block, uint32_t flags);

/**
 * buddy_block_dmabuf() - the same as a dma-buf, for devices
 * @block: the block
 * @flags: BUDDY_SHARE_READ_ONLY (devices may only read) or 0
 *
 * Return: as buddy_block_share(); -EOPNOTSUPP also where the kernel has no
 * dma-bufs.
 */
int buddy_block_dmabuf(struct buddy_block *block, uint32_t flags);

/**
 * buddy_block_from_fd() - a block of a block fd that another process has sent
 * @fd: what buddy_block_share() gave in some process; stays open, the block has
 *      its own copy
 * @block: the block
 *
 * Needs no device. The block can be mapped (for reading only, where @fd is
 * read-only) and freed, which ends this reference alone; its offset is 0, and all
 * else that one does to blocks is -EOPNOTSUPP.
 *
 * Return: 0; -ENOTTY (no block fd); -EBADF; -EMFILE; -ENOMEM.
 */
int buddy_block_from_fd(int fd, struct buddy_block **block);

/**
 * buddy_block_free() - unmap it and give it back
 * @block: the block, or NULL
 *
 * Return: 0; -ENOENT where the handle was gone (the block is freed here all
 * the same); -EPERM in a child of fork() with the process backend.
 */
int buddy_block_free(struct buddy_block *block);

/**
 * buddy_batch_alloc() - allocate many blocks, in few calls of the kernel
 * @dev: the device
 * @requests: @count requests: length, align and flags as for
 *            buddy_block_request(). The out_ members of the first @done are set;
 *            after -ENOMEM those of the next one say what the region has
 * @count: how many; any number
 * @blocks: @count pointers: the first @done are the blocks, the others NULL
 * @done: blocks allocated: all, or those before the first that failed
 *
 * Return: 0, or the error of the first that failed, as buddy_block_alloc().
 */
int buddy_batch_alloc(struct buddy_dev *dev, struct buddy_alloc *requests,
		      uint32_t count, struct buddy_block **blocks, uint32_t *done);

/**
 * buddy_batch_free() - unmap many blocks and give them back
 * @blocks: blocks of one device; those that are freed become NULL
 * @count: how many; any number
 * @done: blocks freed: all, or those before the first that failed
 *
 * Unlike buddy_block_free() it keeps the first block that cannot be freed and
 * those after it, though some of them are unmapped.
 *
 * Return: 0; -EINVAL (a block of another device, or from buddy_block_from_fd();
 * nothing was done); -ENOENT; -EPERM.
 */
int buddy_batch_free(struct buddy_block **blocks, uint32_t count, uint32_t *done);

/*
 * Pools: objects of 64 bytes and more, cut from blocks of a device.
 *
 * A pool takes blocks of one size, chunks, from its device, cuts them up with the
 * same tree that cuts up the region, and gives a chunk back when it is empty (one it
 * keeps). An object above half a chunk is a block of its own. Objects are not zero,
 * but for buddy_pool_zalloc(); their contents are private to the process as blocks
 * are.
 *
 * An object's size is rounded up: to 64 bytes up to 512, to a quarter of the power of
 * two below it up to 64 KiB, to 4 KiB up to half a chunk, to the page above. A new
 * object is aligned to the power of two that holds its rounded size, up to a chunk; one
 * that has grown where it lies keeps the alignment that it had.
 *
 * Threads: all calls on a pool, but buddy_pool_destroy(), may come from any thread at
 * any time; an object may be freed by another thread than allocated it. Each thread
 * keeps some freed small objects for itself, so that most calls take no lock; when it
 * ends they go back. To the others they are no free memory: an allocation takes what the
 * calling thread keeps before it fails, and not what other threads keep.
 *
 * fork(): in the child a pool is its parent's, as blocks are: objects can be used,
 * and are shared with the parent; what allocates gives NULL, free and trim -EPERM. With
 * BUDDY_POOL_FORK_COPY the child has its own copy of everything, as with malloc();
 * fork() takes the time of copying all objects.
 */

/* The child of a fork() gets a copy. The device must serve pools of this kind alone. */
#define BUDDY_POOL_FORK_COPY	(1u << 0)

/**
 * struct buddy_pool_config - how a pool is to be
 * @size: sizeof(struct buddy_pool_config). A later library takes a shorter one, and this
 *        one takes a longer, if what it does not know is zero
 * @flags: BUDDY_POOL_FORK_COPY or 0
 * @chunk: bytes of a chunk: a power of two, 128 KiB to 1 GiB; 0: 2 MiB, or what the
 *         region or @limit has
 * @limit: bytes that the pool may take from the device; 0: as many as it has
 * @cache: bytes of each size class that a thread may keep; 0: 256 KiB. It keeps 2 to
 *         62 objects whatever this says
 */
struct buddy_pool_config {
	uint32_t size;
	uint32_t flags;
	uint64_t chunk;
	uint64_t limit;
	uint64_t cache;
};

/**
 * struct buddy_pool_stats - a pool now
 * @size: sizeof(struct buddy_pool_stats), set by the caller: so many bytes are filled,
 *        with zeroes where the library has no more to say
 * @reserved: 0
 * @limit: bytes that it may take from the device
 * @chunk: bytes of a chunk
 * @bytes: bytes that it has from the device
 * @used: of these, bytes of objects, rounding included
 * @cached: of these, bytes that threads keep for themselves; the rest is free in
 *          chunks
 * @objects: number of objects in use
 * @blocks: blocks that it has from the device
 * @huge: of these, objects of more than half a chunk
 * @blocks_taken: blocks ever taken
 * @blocks_returned: blocks ever given back
 * @refills: times that a thread had to get objects of a small size from the trees
 * @flushes: times that a thread had to give some back to them
 * @fails: allocations that found no memory
 * @bad_frees: frees that were refused (of those that got as far as the trees)
 *
 * While other threads allocate, @used, @cached and @objects are near the truth.
 */
struct buddy_pool_stats {
	uint32_t size;
	uint32_t reserved;
	uint64_t limit;
	uint64_t chunk;
	uint64_t bytes;
	uint64_t used;
	uint64_t cached;
	uint64_t objects;
	uint64_t blocks;
	uint64_t huge;
	uint64_t blocks_taken;
	uint64_t blocks_returned;
	uint64_t refills;
	uint64_t flushes;
	uint64_t fails;
	uint64_t bad_frees;
};

/**
 * buddy_pool_create() - make a pool
 * @dev: where it takes its blocks; must stay open for the life of the pool
 * @config: how, or NULL for what is usual
 * @pool: the pool
 *
 * Takes nothing from the device yet; reserves addresses, four times @limit.
 *
 * Return: 0; -E2BIG (@config is longer than this library knows, and not zero there);
 * -EINVAL (a member of @config is wrong, or the region or @limit is below
 * 128 KiB, the smallest chunk); -ENOMEM; -EPERM in a child of
 * fork() with the process backend.
 */
int buddy_pool_create(struct buddy_dev *dev, const struct buddy_pool_config *config,
		      struct buddy_pool **pool);

/**
 * buddy_pool_destroy() - give everything back, objects in use included
 * @pool: the pool, or NULL; nobody else is using it
 */
void buddy_pool_destroy(struct buddy_pool *pool);

/**
 * buddy_pool_alloc() - allocate an object
 * @pool: the pool
 * @size: bytes; 0 counts as 1
 *
 * Return: the object; NULL where there is no memory that is free or that the calling
 * thread keeps, or in a child of fork().
 */
void *buddy_pool_alloc(struct buddy_pool *pool, size_t size);

/**
 * buddy_pool_alloc_aligned() - allocate an object at an alignment
 * @pool: the pool
 * @align: a power of two, up to 1 GiB
 * @size: bytes; 0 counts as 1
 *
 * Return: the object; NULL where there is no memory, or @align is wrong.
 */
void *buddy_pool_alloc_aligned(struct buddy_pool *pool, size_t align, size_t size);

/**
 * buddy_pool_zalloc() - allocate an array whose first @count * @size bytes are zero
 * @pool: the pool
 * @count: elements
 * @size: bytes of one
 *
 * Return: the object; NULL where there is no memory, or the product overflows.
 */
void *buddy_pool_zalloc(struct buddy_pool *pool, size_t count, size_t size);

/**
 * buddy_pool_realloc() - another size for an object
 * @pool: the pool
 * @object: of this pool; NULL: as buddy_pool_alloc()
 * @size: bytes; 0 counts as 1
 *
 * The content stays, up to the smaller of both sizes. An object that shrinks by less
 * than half stays where it is, and one above 64 KiB grows where it is, up to half a
 * chunk, if what follows is free.
 *
 * Return: the object, here or elsewhere; NULL where there is no memory, or @object is
 * no object of this pool: it then is as before.
 */
void *buddy_pool_realloc(struct buddy_pool *pool, void *object, size_t size);

/**
 * buddy_pool_free() - give an object back
 * @pool: the pool
 * @object: of this pool, or NULL
 *
 * An object that is freed twice is not always found out, and then may be given to
 * two.
 *
 * Return: 0; -EINVAL (no object of this pool starts there); -EPERM in a child of
 * fork().
 */
int buddy_pool_free(struct buddy_pool *pool, void *object);

/**
 * buddy_pool_usable_size() - bytes of an object, rounding included
 * @pool: the pool
 * @object: of this pool
 *
 * Return: bytes, all of which may be used; 0 where no object of this pool starts
 * there.
 */
size_t buddy_pool_usable_size(struct buddy_pool *pool, const void *object);

/** buddy_pool_owns() - 1 where an address is one of this pool's addresses, else 0 */
int buddy_pool_owns(const struct buddy_pool *pool, const void *address);

/**
 * buddy_pool_trim() - give back what can be: what the calling thread keeps, and empty
 * chunks
 * @pool: the pool
 *
 * Return: 0; -EPERM in a child of fork().
 */
int buddy_pool_trim(struct buddy_pool *pool);

/**
 * buddy_pool_stats() - a pool now
 * @pool: the pool
 * @stats: @size is set by the caller, all else is filled
 *
 * Return: 0; -EINVAL (@size is not set).
 */
int buddy_pool_stats(struct buddy_pool *pool, struct buddy_pool_stats *stats);

/**
 * buddy_error() - the last failure of the calling thread, as a sentence
 *
 * Names what was attempted, why it failed, and what would have worked. Ask at once: the
 * sentence is made by this call, of the numbers of the failed call and of what the
 * system is now (limits of the process, the device node, /proc), and a later failure
 * takes its place. Calls that succeed leave it.
 *
 * Return: a sentence without a full stop, of this thread, until its next buddy_error().
 */
const char *buddy_error(void);

#ifdef __cplusplus
}
#endif

#endif /* BUDDY_MEM_H */
