// SPDX-License-Identifier: MIT
/*
 * error_text.c - the texts: one table of what was attempted, and one of what failed in
 * it, why, and what would have worked.
 *
 * A cause is looked for from the top. Words in braces are replaced by error.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/buddy_core.h"
#include "error.h"
#include "private.h"

#define MAX_ALIGN	(1ull << 30)
#define CHUNK_LEAST	(128ull << 10)
#define UNIT		(2ull << 20)

static const char *const attempts[OP_END] = {
	[OP_BACKEND] = "choose a backend",
	[OP_SIZE] = "make a region of BUDDY_SIZE={text}",
	[OP_OPEN] = "open {text}",
	[OP_IDENTIFY] = "open {text}",
	[OP_REGION] = "make a region of {length} in this process",
	[OP_INFO] = "ask what {where} is",
	[OP_STATS] = "read the statistics of {where}",
	[OP_EXTENTS] = "list the extents of {where}",
	[OP_ALLOC] = "allocate {length} of {where}",
	[OP_MAP] = "map {length} of {where}",
	[OP_TRIM] = "trim a block of {have} to {length}",
	[OP_GROW] = "grow a block of {have} to {length}",
	[OP_SHARE] = "share a block of {where}",
	[OP_DMABUF] = "make a dma-buf of a block of {where}",
	[OP_FROM_FD] = "take a block from descriptor {fd}",
	[OP_FREE] = "free a block of {where}",
	[OP_BATCH_FREE] = "free a batch of blocks",
	[OP_POOL_CONFIG] = "create a pool",
	[OP_POOL_CREATE] = "create a pool on {where}",
	[OP_POOL_BLOCK] = "allocate {object} in a pool, which takes a block of {length} of {where} for it",
	[OP_POOL_ALLOC] = "allocate {length} in a pool",
	[OP_POOL_REALLOC] = "resize an object of a pool",
	[OP_POOL_FREE] = "free an object of a pool",
	[OP_POOL_TRIM] = "trim a pool",
	[OP_POOL_STATS] = "read the statistics of a pool",
};

const char *buddy_error_attempt(enum buddy_operation operation)
{
	return attempts[operation];
}

/*
 * Opening, but for the node: error_open.c
 */

static const char *why_no_backend(const struct buddy_report *r)
{
	if (*r->text)
		return "BUDDY_BACKEND={text} is none; there are device, process and auto";
	return "the argument is none of enum buddy_backend";
}

static const char *why_no_region(const struct buddy_report *r)
{
	uint64_t limit = buddy_look_limit(RLIMIT_FSIZE);

	if (r->failure.length / 4096 < BUDDY_CORE_MAX_GRANULES && limit != UINT64_MAX)
		return "its file starts at 1 GiB, and RLIMIT_FSIZE (ulimit -f) ends files at {RLIMIT_FSIZE}; raise it, or set a smaller BUDDY_SIZE";
	return "it is more than the 2^31 pages that a process backend has at most; set a smaller BUDDY_SIZE";
}

/*
 * Blocks
 */

static const char *why_no_request(const struct buddy_report *r)
{
	const struct buddy_failure *f = &r->failure;
	const uint32_t both = BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER;

	if (!f->length)
		return "the length is 0; ask for 1 byte or more";
	if (f->flags & ~(both | BUDDY_ALLOC_ALONE))
		return "flags are {flags}, of which some are unknown; there are BUDDY_ALLOC_POW2, BUDDY_ALLOC_SCATTER and BUDDY_ALLOC_ALONE";
	if ((f->flags & both) == both)
		return "BUDDY_ALLOC_POW2 wants one range and BUDDY_ALLOC_SCATTER takes several; take one of them";
	if (f->align & (f->align - 1))
		return "the alignment, {align}, is no power of two";
	if (f->align && f->flags & BUDDY_ALLOC_SCATTER)
		return "a scattered block has no alignment; take BUDDY_ALLOC_SCATTER with alignment 0";
	if (f->align > MAX_ALIGN)
		return "the alignment, {align}, is above the largest, 1 GiB";
	return NULL;
}

static const char *why_too_long(const struct buddy_report *r)
{
	if (r->failure.flags & BUDDY_ALLOC_POW2)
		return "rounded up to a power of two (BUDDY_ALLOC_POW2) it is larger than the whole region; ask for less, or without that flag";
	if (r->failure.where == WHERE_PROCESS)
		return "it is larger than the whole region; set a larger BUDDY_SIZE, or give buddy_dev_open() a larger size";
	return "it is larger than the whole region; load the module with a larger size=";
}

/*
 * Enough is free for the length, but no range is. The module makes a scattered block of
 * whole units of 2 MiB, and what is less than one; the process backend of one range.
 */
static const char *why_in_pieces(const struct buddy_report *r)
{
	const struct buddy_failure *f = &r->failure;
	bool may_scatter = f->operation == OP_ALLOC && f->where == WHERE_DEVICE &&
			   f->largest >= UNIT && !(f->flags & BUDDY_ALLOC_POW2);

	if (f->flags & BUDDY_ALLOC_SCATTER)
		return f->where == WHERE_DEVICE ?
			"{free} are free, but too few whole units of 2 MiB; ask for less, or free blocks (buddyctl map shows them)" :
			"{free} are free, but the largest range has {largest}, and the process backend makes scattered blocks of one range, too; ask for less, or free blocks";
	if (may_scatter)
		return "{free} are free, but the largest range has {largest}; ask for less, or take BUDDY_ALLOC_SCATTER with alignment 0, which needs no single range";
	return "{free} are free, but the largest range has {largest}; ask for less, or free blocks";
}

static bool is_alone(const struct buddy_failure *f)
{
	return f->operation == OP_ALLOC && f->flags & BUDDY_ALLOC_ALONE;
}

/* What a block of the length that was asked for starts at a multiple of. */
static uint64_t alignment(const struct buddy_failure *f, uint64_t page)
{
	uint64_t length = (f->length + page - 1) & -page, own = length & -length;

	if (f->operation == OP_ALLOC && f->flags & BUDDY_ALLOC_POW2)
		own = 1ull << buddy_log2(2 * length - 1);
	else if (own > UNIT)
		own = UNIT;
	return f->operation == OP_ALLOC && own < f->align ? f->align : own;
}

/* Does it fit in a range of @largest, which may start at any page? */
static bool fits_anywhere(const struct buddy_failure *f)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), align = alignment(f, page);

	if (f->length > f->largest)
		return false;
	/* what is aligned to more than a unit is cut from a range of that length */
	return align > UNIT ? 2 * align <= f->largest : align - page <= f->largest - f->length;
}

static const char *why_no_range(const struct buddy_report *r)
{
	const struct buddy_failure *f = &r->failure;

	if (is_alone(f) && f->largest < UNIT && !f->returning)
		return "no unit of 2 MiB is free, and BUDDY_ALLOC_ALONE takes whole ones; free blocks, or ask without that flag";
	if (fits_anywhere(f))
		return "the region has a free range of {largest}, but there is no memory for what describes a block";
	if (f->length <= f->largest && f->operation == OP_ALLOC && f->align)
		return "{free} are free, and the largest range has {largest}, but none of {length} is free at a multiple of the alignment, {align}; ask for a smaller alignment, or free blocks";
	if (f->length <= f->largest)
		return "{free} are free, and the largest range has {largest}, but none of {length} is free at a multiple of the largest power of two that divides its length; ask for a page less, or free blocks";
	if (f->length <= f->free)
		return why_in_pieces(r);
	if (f->returning)
		return "{free} are free, the largest range has {largest}, and {returning} are being reclaimed or in quarantine (buddyctl stats); ask for less, or wait until they are back";
	if (f->where == WHERE_PROCESS)
		return "{free} are free, and the largest range has {largest}; ask for less, free blocks, or make the region larger (BUDDY_SIZE, or the size of buddy_dev_open())";
	return "{free} are free, and the largest range has {largest}; ask for less, free blocks (buddyctl map shows whose they are), or load the module with a larger size=";
}

/* Both ways to have no addresses for a mapping that the region has memory for. */
static const char *why_no_addresses(const struct buddy_report *r)
{
	uint64_t limit = buddy_look_limit(RLIMIT_AS), most = buddy_look_most_mappings();
	uint64_t bytes = r->failure.operation == OP_POOL_ALLOC ? r->failure.need :
			 r->failure.length;

	if (limit != UINT64_MAX && buddy_look_addresses() + bytes > limit)
		return "RLIMIT_AS (ulimit -v) allows this process {RLIMIT_AS} of addresses, and {addresses} are taken; raise it";
	/* mappings that lie side by side may have become one since */
	if (most && buddy_look_mappings() + 16 > most)
		return "this process has {mappings} mappings, and vm.max_map_count allows {max_map_count}; unmap some, or raise it (sysctl -w vm.max_map_count=N)";
	if (sizeof(void *) == 4)
		return "a process of 32 bits has no free range of addresses of this length";
	return NULL;
}

static const char *why_no_mapping(const struct buddy_report *r)
{
	const char *why = why_no_addresses(r);

	return why ? why : "the block is there, but the kernel has no memory for its mapping";
}

static const char *why_no_permission(const struct buddy_report *r)
{
	int flags = personality(0xffffffff);

	(void)r;
	/* negative: a filter refuses to say */
	if (flags >= 0 && flags & READ_IMPLIES_EXEC)
		return "this program runs with READ_IMPLIES_EXEC, which makes every mapping executable, and blocks are not; clear the flag of its stack (execstack -c PROGRAM)";
	return "a security module or a seccomp filter forbids it";
}

static const char *why_busy(const struct buddy_report *r)
{
	if (r->failure.mapped)
		return "the block is mapped here; buddy_block_unmap() it first";
	return "the block is mapped by another process, or has a block fd or a dma-buf; close and unmap these first";
}

static const char *why_no_resize(const struct buddy_report *r)
{
	if (!r->failure.length)
		return "the length is 0; free the block instead";
	if (r->failure.operation == OP_TRIM)
		return "that is longer than the block; buddy_block_grow() makes it longer";
	return "that is shorter than the block; buddy_block_trim() makes it shorter";
}

static const char *why_one_length(const struct buddy_report *r)
{
	if (r->failure.where == WHERE_FD)
		return "the block came as a descriptor, and only the process that allocated it can change its length";
	return "the block is scattered, or was allocated with BUDDY_ALLOC_ALONE, and such a block only becomes shorter; allocate another, or allocate it without that flag";
}

static const char *why_not_shared(const struct buddy_report *r)
{
	if (r->failure.where == WHERE_PROCESS)
		return "its blocks are ranges of one file; take /dev/buddy (BUDDY_BACKEND=device)";
	if (r->failure.where == WHERE_FD)
		return "the block came as a descriptor; dup(2) that one";
	return "this kernel has no dma-bufs (CONFIG_DMA_SHARED_BUFFER); buddy_block_share() needs none";
}

/*
 * Pools
 */

static const char *why_no_pool(const struct buddy_report *r)
{
	const struct buddy_failure *f = &r->failure;

	if (f->flags & ~BUDDY_POOL_FORK_COPY)
		return "flags are {flags}, of which some are unknown; there is BUDDY_POOL_FORK_COPY";
	if (f->length < CHUNK_LEAST)
		return "the region, or the limit, has {length}, less than the smallest chunk, 128 KiB";
	if (f->chunk & (f->chunk - 1) || f->chunk < CHUNK_LEAST || f->chunk > MAX_ALIGN)
		return "a chunk of {chunk} is none; take a power of two from 128 KiB to 1 GiB, or 0";
	if (f->chunk > f->length)
		return "a chunk of {chunk} is more than the {length} of the region, or of the limit";
	return "it would have too many chunks; take larger ones";
}

static const char *why_no_arena(const struct buddy_report *r)
{
	const char *why = why_no_addresses(r);

	return why ? why : "there are no addresses for it: a pool reserves four times its limit; set a smaller one";
}

static const char *why_too_long_for_pool(const struct buddy_report *r)
{
	const struct buddy_failure *f = &r->failure;

	if (f->length > PTRDIFF_MAX)
		return "that is more than the pool can ever have";
	if (f->need <= f->region)
		return "that is more than the limit of the pool, {have}; create it with a larger limit";
	if (f->where == WHERE_PROCESS)
		return "that is more than the whole region, {bytes_of_region}; set a larger BUDDY_SIZE, or give buddy_dev_open() a larger size";
	return "that is more than the whole region, {bytes_of_region}; load the module with a larger size=";
}

static const char *why_pool_is_full(const struct buddy_report *r)
{
	const struct buddy_failure *f = &r->failure;

	if (f->need <= f->have - f->taken)
		return "the addresses of the pool have no free range for this length and alignment; free objects, or take a smaller alignment";
	if (f->have < f->region)
		return "it needs {need} more, and the pool has {taken} of the {have} that it may take; free objects, or create the pool with a larger limit";
	if (f->where == WHERE_PROCESS)
		return "it needs {need} more, and the pool has {taken} of the {have} of the whole region; free objects, or make the region larger (BUDDY_SIZE, or the size of buddy_dev_open())";
	return "it needs {need} more, and the pool has {taken} of the {have} of the whole region; free objects, or load the module with a larger size=";
}

static const char *why_forked(const struct buddy_report *r)
{
	if (r->failure.inside)
		return "fork() came from a signal handler that had interrupted this library, and such a child can only read and write what the pool has; fork() elsewhere, or open a device and create a pool here";
	if (r->failure.operation >= OP_POOL_ALLOC)
		return "after fork() the pool is the parent's; create it with BUDDY_POOL_FORK_COPY, or create another one here";
	if (r->failure.where == WHERE_PROCESS)
		return "after fork() a process backend belongs to the parent; open another one here";
	return NULL;
}

static const char *why_replaced(const struct buddy_report *r)
{
	if (!r->failure.replaced || r->failure.error == -EBADF)
		return NULL;
	return "its descriptor is another file: the program has closed it, which is the library's, and opened that";
}

static const char *why_closed(const struct buddy_report *r)
{
	if (r->failure.left)
		return "after fork() the library has closed the parent's device, and a pool with BUDDY_POOL_FORK_COPY opens its own when it allocates; open another one here";
	return "the program has closed the descriptor of {where}, which is the library's";
}

static const char *why_not_open(const struct buddy_report *r)
{
	if (buddy_look_is_path(r->failure.fd))
		return "it was opened with O_PATH, and names the file alone; send what buddy_block_share() returned";
	return "that is not open";
}

static const char *why_own(const struct buddy_report *r)
{
	const char *why = r->failure.own ? why_no_addresses(r) : NULL;

	if (why || !r->failure.own)
		return why;
	return "this process has no memory for the library's own data";
}

static const struct buddy_cause rows[] = {
	{ ANY, ANY, .why = why_replaced },

	{ OP_BACKEND, EINVAL, .why = why_no_backend },
	{ OP_SIZE, EINVAL, .text = "that is no size; give it as 256M, 1.5G or 25%" },

	{ OP_OPEN, ANY, .why = buddy_error_open },
	{ OP_IDENTIFY, ANY, .why = buddy_error_open },

	{ ANY, ENOMEM, .why = why_own },
	{ OP_REGION, EFBIG, .why = why_no_region },
	{ OP_REGION, EACCES, .text = "memfd_create() is refused; sysctl vm.memfd_noexec is 2, set it to 1" },
	{ OP_REGION, EPERM, .text = "memfd_create() is refused, as by the seccomp filter of a container; allow it there" },
	{ OP_REGION, ENOSYS, .text = "memfd_create() is refused, as by the seccomp filter of a container; allow it there" },

	{ OP_EXTENTS, EINVAL, .text = "the array has no entries; give it one or more" },

	{ OP_ALLOC, EINVAL, .why = why_no_request },
	{ OP_ALLOC, EFBIG, .why = why_too_long },
	{ OP_ALLOC, ENOMEM, .why = why_no_range },
	{ OP_MAP, ENOMEM, .why = why_no_mapping },
	{ ANY, EAGAIN, .text = "mlockall(MCL_FUTURE) locks each new mapping, and RLIMIT_MEMLOCK (ulimit -l) allows {RLIMIT_MEMLOCK}; raise it, or munlockall() before" },
	{ OP_MAP, EACCES, .why = why_no_permission },
	{ OP_MAP, EPERM, .why = why_no_permission },
	{ OP_MAP, ENXIO, .text = "no such block any more: it was freed by another process that shares this device since fork(), or the program closed the device's descriptor and opened another" },

	{ OP_TRIM, EINVAL, .why = why_no_resize },
	{ OP_GROW, EINVAL, .why = why_no_resize },
	{ OP_TRIM, EFBIG, .text = "that is longer than the whole region" },
	{ OP_GROW, EFBIG, .text = "it would leave the region or, if it is below 2 MiB, its unit of 2 MiB; allocate a longer block and copy" },
	{ OP_GROW, ENOMEM, .text = "what follows the block is not free; allocate a longer block and copy" },
	{ OP_TRIM, EBUSY, .why = why_busy },
	{ OP_GROW, EBUSY, .why = why_busy },
	{ OP_TRIM, EOPNOTSUPP, .why = why_one_length },
	{ OP_GROW, EOPNOTSUPP, .why = why_one_length },

	{ OP_SHARE, EINVAL, .text = "flags are {flags}, of which some are unknown; there is BUDDY_SHARE_READ_ONLY" },
	{ OP_DMABUF, EINVAL, .text = "flags are {flags}, of which some are unknown; there is BUDDY_SHARE_READ_ONLY" },
	{ OP_SHARE, EOPNOTSUPP, .why = why_not_shared },
	{ OP_DMABUF, EOPNOTSUPP, .why = why_not_shared },
	{ OP_FROM_FD, ENOTTY, .text = "that is no block fd; send what buddy_block_share() returned (a dma-buf is mapped by mmap(2))" },
	{ OP_FROM_FD, EINVAL, .text = "that is no block fd; send what buddy_block_share() returned (a dma-buf is mapped by mmap(2))" },
	{ OP_FROM_FD, EBADF, .why = why_not_open },
	{ OP_BATCH_FREE, EINVAL, .text = "all must be blocks of one device, and none may have come as a descriptor; nothing was freed" },

	{ OP_POOL_CONFIG, EINVAL, .text = "size of its configuration is not set; set it to sizeof(struct buddy_pool_config)" },
	{ OP_POOL_CONFIG, E2BIG, .text = "its configuration is longer than this library knows, and not zero there; install the library of the header" },
	{ OP_POOL_CREATE, EINVAL, .why = why_no_pool },
	{ OP_POOL_CREATE, ENOMEM, .why = why_no_arena },
	{ OP_POOL_BLOCK, EFBIG, .why = why_too_long },
	{ OP_POOL_BLOCK, ENOMEM, .why = why_no_range },
	{ OP_POOL_ALLOC, EFBIG, .why = why_too_long_for_pool },
	{ OP_POOL_ALLOC, ENOMEM, .why = why_pool_is_full },
	{ OP_POOL_ALLOC, EINVAL, .text = "the alignment, {align}, is no power of two up to 1 GiB" },
	{ OP_POOL_REALLOC, EINVAL, .text = "no object of this pool starts there" },
	{ OP_POOL_FREE, EINVAL, .text = "no object of this pool starts there" },
	{ OP_POOL_STATS, EINVAL, .text = "size is not set; set it to sizeof(struct buddy_pool_stats)" },

	{ ANY, EPERM, .why = why_forked },
	{ ANY, EMFILE, .text = "this process has as many descriptors open as RLIMIT_NOFILE (ulimit -n) allows, {RLIMIT_NOFILE}; close some, or raise it" },
	{ ANY, ENFILE, .text = "the system has as many files open as sysctl fs.file-max allows; raise it" },
	{ ANY, EBADF, .why = why_closed },
	{ ANY, ENOTTY, .text = "the module does not know this call: it is older than the library; install both from one release" },
	{ ANY, ENOENT, .text = "there is no such block: it was freed before, here or by another process that shares this device since fork()" },
	{ ANY, ENOMEM, .text = "the kernel has no memory for it" },
	{ ANY, EINTR, .text = "a fatal signal arrived while the call waited for memory to be reclaimed" },
};

const char *buddy_error_find(const struct buddy_cause *causes, size_t count,
			     const struct buddy_report *report)
{
	const struct buddy_failure *f = &report->failure;

	for (size_t i = 0; i < count; i++) {
		const struct buddy_cause *cause = &causes[i];
		const char *text = cause->text;

		if ((cause->operation != ANY && cause->operation != f->operation) ||
		    (cause->error != ANY && cause->error != -f->error))
			continue;
		if (cause->why)
			text = cause->why(report);
		if (text)
			return text;
	}
	return NULL;
}

const char *buddy_error_cause(const struct buddy_report *report)
{
	return buddy_error_find(rows, sizeof(rows) / sizeof(rows[0]), report);
}
