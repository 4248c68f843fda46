// SPDX-License-Identifier: MIT
/*
 * error_text.c - the texts: one table of what was attempted, and one of what failed in
 * it, why, and what would have worked.
 *
 * A cause is looked for from the top. A row is of an operation and an errno, either of
 * which may be any. It has a text, or a function that chooses one by the numbers of the
 * failure and by what it sees of the system, and that leaves the failure to later rows
 * where it returns NULL. Words in braces are replaced by error.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include "core/buddy_core.h"
#include "error.h"
#include "private.h"

#define MAX_ALIGN	(1ull << 30)
#define CHUNK_LEAST	(128ull << 10)

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
 * Opening
 */

static const char *why_no_backend(const struct buddy_report *r)
{
	if (*r->text)
		return "BUDDY_BACKEND={text} is none; there are device, process and auto";
	return "the argument is none of enum buddy_backend";
}

/*
 * Is it one of the module's nodes, or in the place of one? Only then is it said to
 * remove what is there.
 */
static bool is_ours(const struct buddy_report *r)
{
	return !strncmp(r->text, "/dev/buddy", 10);
}

/* What is there, but is no device. */
static const char *why_no_node(const struct buddy_report *r)
{
	switch (buddy_look_node(r->text)) {
	case NODE_FILE:
		return is_ours(r) ? "it is a regular file of {file_length}, not a device node: a program made it when the module was not loaded; rm {text}, then modprobe buddy_mem" :
			"it is a regular file of {file_length}, not a device node; the module's is /dev/buddy";
	case NODE_DIRECTORY:
		return "it is a directory, not a device node";
	case NODE_OTHER:
		return "it is neither a device node nor a file";
	default:
		return NULL;
	}
}

static const char *why_nothing(const struct buddy_report *r)
{
	if (buddy_look_loaded(r->text))
		return "there is no such node, although the module is loaded: this /dev is not the host's; give the container --device {text}, or mknod {text} c {module}";
	return "there is no such node; modprobe buddy_mem makes /dev/buddy, BUDDY_BACKEND=process needs no module";
}

static const char *why_no_access(const struct buddy_report *r)
{
	if (buddy_look_node(r->text) == NODE_NONE)
		return "a directory of the path may not be searched";
	if (buddy_look_nodev(r->text))
		return "its file system is mounted nodev, where no device node can be opened; bind-mount the host's node (container: --device {text})";
	if (buddy_look_access(r->text))
		return "its mode would permit it, but its file system was mounted in a user namespace, or a security module forbids it; bind-mount the host's node (container: --device {text})";
	if (!(buddy_look_mode(r->text) & 077))
		return "no permission: the node is its owner's alone (mode {mode}); install the udev rule 60-buddy.rules (make install), then udevadm trigger, or use BUDDY_BACKEND=process";
	return "no permission: the node has mode {mode}; be in its group (ls -l {text}; usermod -aG GROUP USER, and log in again), or use BUDDY_BACKEND=process";
}

/* The number of the node is nobody's. */
static const char *why_no_driver(const struct buddy_report *r)
{
	if (buddy_look_loaded(r->text) && is_ours(r))
		return "the node is stale: no driver has its number {number}, and buddy has {module}; rm {text}, then mknod {text} c {module}";
	if (is_ours(r))
		return "no driver has the number of the node, {number}: the module is not loaded; modprobe buddy_mem, or use BUDDY_BACKEND=process";
	return "no driver has the number of the node, {number}; the module's node is /dev/buddy";
}

static const char *why_other_driver(const struct buddy_report *r)
{
	if (!is_ours(r))
		return "it is not a buddy device: its number {number} is of the driver {driver}; the module's node is /dev/buddy";
	if (buddy_look_loaded(r->text))
		return "the node is stale: its number {number} is of the driver {driver}, and buddy has {module}; rm {text}, then mknod {text} c {module}";
	return "the node is stale: its number {number} is of the driver {driver}, and the module is not loaded; rm {text}, then modprobe buddy_mem";
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
	const uint32_t known = BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER;

	if (!f->length)
		return "the length is 0; ask for 1 byte or more";
	if (f->flags & ~known)
		return "flags are {flags}, of which some are unknown; there are BUDDY_ALLOC_POW2 and BUDDY_ALLOC_SCATTER";
	if (f->flags == known)
		return "BUDDY_ALLOC_POW2 wants one range and BUDDY_ALLOC_SCATTER takes several; take one of them";
	if (f->align & (f->align - 1))
		return "the alignment, {align}, is no power of two";
	if (f->align && f->flags & BUDDY_ALLOC_SCATTER)
		return "a scattered block has no alignment; take BUDDY_ALLOC_SCATTER with alignment 0";
	if (f->align > MAX_ALIGN)
		return "the alignment, {align}, is above the largest, 1 GiB";
	return "a reserved member of the request is not 0";
}

static const char *why_too_long(const struct buddy_report *r)
{
	if (r->failure.where == WHERE_PROCESS)
		return "it is larger than the whole region; set a larger BUDDY_SIZE, or give buddy_dev_open() a larger size";
	return "it is larger than the whole region; load the module with a larger size=";
}

/* @largest is a power of two, aligned to itself: what is not above it fits in it. */
static const char *why_no_range(const struct buddy_report *r)
{
	const struct buddy_failure *f = &r->failure;

	if (f->length <= f->largest && f->align <= f->largest)
		return "the region has a free range of {largest}, but the kernel has no memory for its own data";
	if (f->length <= f->free && f->flags & BUDDY_ALLOC_SCATTER)
		return "{free} are free, but too few whole units of 2 MiB; ask for less, or free blocks (buddyctl map shows them)";
	if (f->length <= f->free)
		return "{free} are free, but the largest range has {largest}; ask for less, or take BUDDY_ALLOC_SCATTER, which needs no single range";
	if (f->returning)
		return "{free} are free, the largest range has {largest}, and {returning} are freed but still held (buddyctl stats); ask for less, or wait until they are back";
	return "{free} are free, and the largest range has {largest}; ask for less, free blocks (buddyctl map shows whose they are), or make the region larger";
}

/* Both ways to have no addresses for a mapping that the region has memory for. */
static const char *why_no_addresses(const struct buddy_report *r)
{
	uint64_t limit = buddy_look_limit(RLIMIT_AS), most = buddy_look_most_mappings();
	uint64_t bytes = r->failure.length;

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
	(void)r;
	if (personality(0xffffffff) & READ_IMPLIES_EXEC)
		return "this program runs with READ_IMPLIES_EXEC, which makes every mapping executable, and blocks are not; clear the flag of its stack (execstack -c PROGRAM)";
	return "the descriptor is not open for that, or a security module forbids it";
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
	return "the block is scattered, and such a block has one length for life; allocate another, or allocate it without BUDDY_ALLOC_SCATTER";
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
	if (f->align & (f->align - 1) || f->align < CHUNK_LEAST || f->align > MAX_ALIGN)
		return "a chunk of {align} is none; take a power of two from 128 KiB to 1 GiB, or 0";
	if (f->align > f->length)
		return "a chunk of {align} is more than the {length} of the region, or of the limit";
	return "it would have too many chunks; take larger ones";
}

static const char *why_no_arena(const struct buddy_report *r)
{
	const char *why = why_no_addresses(r);

	return why ? why : "there are no addresses for it: a pool reserves four times its limit; set a smaller one";
}

static const char *why_forked(const struct buddy_report *r)
{
	if (r->failure.operation >= OP_POOL_ALLOC)
		return "after fork() the pool is the parent's; create it with BUDDY_POOL_FORK_COPY, or create another one here";
	if (r->failure.where == WHERE_PROCESS)
		return "after fork() a process backend belongs to the parent; open another one here";
	return NULL;
}

static const char *why_own(const struct buddy_report *r)
{
	const char *why = r->failure.own ? why_no_addresses(r) : NULL;

	if (why || !r->failure.own)
		return why;
	return "this process has no memory for the library's own data";
}

#define ANY	0

static const struct row {
	enum buddy_operation operation;
	int error;
	const char *text;
	const char *(*why)(const struct buddy_report *r);
} rows[] = {
	{ OP_BACKEND, EINVAL, .why = why_no_backend },
	{ OP_SIZE, EINVAL, .text = "that is no size; give it as 256M, 1.5G or 25%" },

	{ OP_OPEN, ANY, .why = why_no_node },
	{ OP_OPEN, ENOENT, .why = why_nothing },
	{ OP_OPEN, EACCES, .why = why_no_access },
	{ OP_OPEN, EPERM, .text = "the device cgroup of this container or service forbids the device {number}; start it with --device {text} (systemd: DeviceAllow={text} rw), or use BUDDY_BACKEND=process" },
	{ OP_OPEN, ENODEV, .why = why_no_driver },
	{ OP_OPEN, ENXIO, .why = why_no_driver },
	{ OP_IDENTIFY, ANY, .why = why_no_node },
	{ OP_IDENTIFY, EPROTO, .text = "the module has version {abi} of the interface, and this library another one; install both from one release" },
	{ OP_IDENTIFY, ANY, .why = why_other_driver },

	{ ANY, ENOMEM, .why = why_own },
	{ OP_REGION, EFBIG, .why = why_no_region },
	{ OP_REGION, EACCES, .text = "memfd_create() is refused; sysctl vm.memfd_noexec is 2, set it to 1" },
	{ OP_REGION, EPERM, .text = "memfd_create() is refused, as by the seccomp filter of a container; allow it there" },
	{ OP_REGION, ENOSYS, .text = "memfd_create() is refused, as by the seccomp filter of a container; allow it there" },

	{ OP_EXTENTS, EINVAL, .text = "the array has no entries; give it one or more" },
	{ OP_EXTENTS, EFAULT, .text = "the array of entries is not memory of this process" },

	{ OP_ALLOC, EINVAL, .why = why_no_request },
	{ OP_ALLOC, EFBIG, .why = why_too_long },
	{ OP_ALLOC, ENOMEM, .why = why_no_range },
	{ OP_MAP, ENOMEM, .why = why_no_mapping },
	{ OP_MAP, EAGAIN, .text = "mlockall(MCL_FUTURE) locks each new mapping, and RLIMIT_MEMLOCK (ulimit -l) allows {RLIMIT_MEMLOCK}; raise it, or munlockall() before" },
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
	{ OP_FROM_FD, EBADF, .text = "that is not open" },
	{ OP_BATCH_FREE, EINVAL, .text = "all must be blocks of one device, and none may have come as a descriptor; nothing was freed" },

	{ OP_POOL_CONFIG, EINVAL, .text = "size of its configuration is not set; set it to sizeof(struct buddy_pool_config)" },
	{ OP_POOL_CONFIG, E2BIG, .text = "its configuration is longer than this library knows, and not zero there; install the library of the header" },
	{ OP_POOL_CREATE, EINVAL, .why = why_no_pool },
	{ OP_POOL_CREATE, ENOMEM, .why = why_no_arena },
	{ OP_POOL_ALLOC, EFBIG, .text = "that is more than the pool can ever have" },
	{ OP_POOL_ALLOC, ENOMEM, .text = "the pool may take {have}, and has no free memory for it; free objects, or create the pool with a larger limit" },
	{ OP_POOL_ALLOC, EINVAL, .text = "the alignment, {align}, is no power of two up to 1 GiB" },
	{ OP_POOL_REALLOC, EINVAL, .text = "no object of this pool starts there" },
	{ OP_POOL_FREE, EINVAL, .text = "no object of this pool starts there" },
	{ OP_POOL_STATS, EINVAL, .text = "size is not set; set it to sizeof(struct buddy_pool_stats)" },

	{ ANY, EPERM, .why = why_forked },
	{ ANY, EMFILE, .text = "this process has as many descriptors open as RLIMIT_NOFILE (ulimit -n) allows, {RLIMIT_NOFILE}; close some, or raise it" },
	{ ANY, ENFILE, .text = "the system has as many files open as sysctl fs.file-max allows; raise it" },
	{ ANY, EBADF, .text = "the program has closed the descriptor of {where}, which is the library's" },
	{ ANY, ENOTTY, .text = "its descriptor is another file: the program has closed it, which is the library's, and opened that; or the module is older than the library" },
	{ ANY, ENOENT, .text = "there is no such block: it was freed before, here or by another process that shares this device since fork()" },
	{ ANY, ENOMEM, .text = "the kernel has no memory for it" },
	{ ANY, EINTR, .text = "a signal has killed the process while it waited for memory that comes back" },
};

const char *buddy_error_cause(const struct buddy_report *report)
{
	const struct buddy_failure *f = &report->failure;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		const char *text = row->text;

		if ((row->operation != ANY && row->operation != f->operation) ||
		    (row->error != ANY && row->error != -f->error))
			continue;
		if (row->why)
			text = row->why(report);
		if (text)
			return text;
	}
	return NULL;
}
