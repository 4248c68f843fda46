// SPDX-License-Identifier: MIT
/*
 * forms.c - the table of calls: what they are called, what their arguments are, and
 * how often they are made.
 */
#include <sys/mman.h>

#include <linux/dma-buf.h>
#include <linux/falloc.h>

#include "fuzz.h"

#define LIST(_list)	sizeof(_list) / 8, _list

/* The kernel's name of a flag that only newer headers have. */
#define MREMAP_KEEP	4	/* MREMAP_DONTUNMAP */

static const uint64_t opens[] = { O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY,
				  O_RDWR | O_NONBLOCK, O_PATH };
static const uint64_t protections[] = { PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
					PROT_READ, PROT_WRITE, PROT_NONE,
					PROT_READ | PROT_EXEC };
static const uint64_t mappings[] = { MAP_SHARED, MAP_SHARED, MAP_SHARED | MAP_FIXED,
				     MAP_SHARED | MAP_FIXED, MAP_SHARED | MAP_POPULATE,
				     MAP_SHARED | MAP_FIXED | MAP_POPULATE,
				     MAP_SHARED | MAP_LOCKED, MAP_PRIVATE,
				     MAP_SHARED_VALIDATE, MAP_SHARED_VALIDATE | MAP_SYNC,
				     MAP_SHARED | MAP_FIXED_NOREPLACE,
				     MAP_SHARED | MAP_NORESERVE };
static const uint64_t moves[] = { MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED,
				  MREMAP_MAYMOVE | MREMAP_FIXED,
				  MREMAP_MAYMOVE | MREMAP_KEEP, 0 };
/* But HWPOISON and SOFT_OFFLINE, which take memory away for ever. */
static const uint64_t advices[] = { MADV_DONTNEED, MADV_DONTNEED, MADV_NORMAL,
				    MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
				    MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK,
				    MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE,
				    MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP,
				    MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD,
				    MADV_PAGEOUT, 22, 23, 24, 25, 102, 103 };
static const uint64_t ops[] = { BUDDY_BATCH_ALLOC, BUDDY_BATCH_ALLOC, BUDDY_BATCH_FREE };
static const uint64_t commands[] = {
	BUDDY_IOC_INFO, BUDDY_IOC_ALLOC, BUDDY_IOC_FREE, BUDDY_IOC_STATS,
	BUDDY_IOC_EXTENTS, BUDDY_IOC_SHARE, BUDDY_IOC_BLOCK, BUDDY_IOC_BATCH,
	BUDDY_IOC_TRIM, BUDDY_IOC_GROW, BUDDY_IOC_DMABUF,
	_IO(BUDDY_IOC_TYPE, 0x80), _IO(BUDDY_IOC_TYPE, 0x86), _IO(BUDDY_IOC_TYPE, 0x7f),
	_IO(BUDDY_IOC_TYPE, 0x8b), _IO(BUDDY_IOC_TYPE, 0), _IO(BUDDY_IOC_TYPE, 0xff),
	_IOR(BUDDY_IOC_TYPE, 0x83, uint64_t), _IOC(3, BUDDY_IOC_TYPE, 0x81, 0x3fff),
	_IOWR(0xbc, 0x80, struct buddy_info), _IO(0, 0x81), DMA_BUF_SET_NAME,
	DMA_BUF_IOCTL_SYNC, 0x5452 /* FIOASYNC */,
	0x541b /* FIONREAD */, 0x5460 /* FIOQSIZE */, 0x5451 /* FIOCLEX */,
};
static const uint64_t falls[] = { 0, FALLOC_FL_KEEP_SIZE,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  FALLOC_FL_ZERO_RANGE, FALLOC_FL_COLLAPSE_RANGE };
static const uint64_t fcntls[] = { F_GETFL, F_SETFL, F_GETFD, F_GET_SEALS, F_ADD_SEALS,
				   F_SETLEASE, F_GETLEASE, F_NOTIFY, F_GETPIPE_SZ };
static const uint64_t limits[] = { 0, 4, 8, 16, 256 };

#define SYNC_BITS	(DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END)
#define ALLOC_BITS	(BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_ALONE)

/* What most commands of the module have in common. */
#define HEAD(_type, _struct)						\
	{ "fd", OLD_FD, 0, _type, NULL },				\
	{ "at", PLACE, 0, sizeof(_struct), NULL },			\
	{ "size", SIZE, sizeof(_struct), 0, NULL }
#define FLAGS(_bits)	{ "flags", BITS, 0, _bits, NULL }
#define RESERVED	{ "reserved", ZERO, 0, 0, NULL }
#define TAIL		{ "tail", ZERO, 0, 0, NULL }	/* bytes beyond the struct */
#define ON(_type)	{ "fd", OLD_FD, 0, _type, NULL }
#define NEW(_kind)	{ "new", _kind, 0, 0, NULL }
#define BY_HANDLE	{ "handle", BLOCK_HANDLE, 0, 0, NULL }
#define LENGTH_OF	{ "length", BYTES, 4096, 0, NULL }
#define RANGE_AT	{ "at", ADDRESS, 0, 0, NULL }, { "length", RANGE, 4096, 0, NULL }
#define DATA		{ "data", POINTER, 0, 0, NULL }, { "length", BYTES, 4096, 0, NULL }

const struct form forms[] = {
	/* the module's own */
	{ "info", 6, run_info, ANY, { HEAD(NODE, struct buddy_info), FLAGS(0), RESERVED, TAIL } },
	{ "alloc", 60, run_alloc, ANY, {
		HEAD(NODE, struct buddy_alloc), NEW(NEW_BLOCK), FLAGS(ALLOC_BITS),
		LENGTH_OF, { "align", ALIGNMENT, 0, 0, NULL }, TAIL } },
	{ "free", 20, run_free, ANY, {
		HEAD(NODE, struct buddy_free), FLAGS(0), BY_HANDLE, TAIL } },
	{ "stats", 8, run_stats, ANY, { HEAD(NODE, struct buddy_stats), FLAGS(0), TAIL } },
	{ "extents", 16, run_extents, ANY, {
		HEAD(NODE, struct buddy_extents), FLAGS(0), { "start", BYTES, 0, 0, NULL },
		{ "entries", POINTER, 0, 0, NULL }, { "count", SMALL, 8, 200, NULL }, TAIL } },
	{ "share", 20, run_share, SHARED, {
		HEAD(NODE, struct buddy_share), NEW(NEW_FD), FLAGS(BUDDY_SHARE_READ_ONLY),
		BY_HANDLE, RESERVED, TAIL } },
	{ "dmabuf", 20, run_dmabuf, DMABUF, {
		HEAD(NODE, struct buddy_share), NEW(NEW_FD), FLAGS(BUDDY_SHARE_READ_ONLY),
		BY_HANDLE, RESERVED, TAIL } },
	{ "block", 8, run_block, ANY, { HEAD(SHARED, struct buddy_block_info), FLAGS(0), TAIL } },
	{ "entry", 24, run_entry, ANY, {
		{ "index", SMALL, 0, STAGED - 1, NULL },
		{ "op", CHOICE, BUDDY_BATCH_ALLOC, LIST(ops) }, FLAGS(ALLOC_BITS),
		{ "length", BYTES, 0, 0, NULL }, { "align", ALIGNMENT, 0, 0, NULL },
		{ "handle", BLOCK_HANDLE, 0, 0, NULL } } },
	{ "batch", 24, run_batch, ANY, {
		HEAD(NODE, struct buddy_batch), NEW(NEW_BLOCK), FLAGS(0),
		{ "entries", POINTER, 0, 0, NULL }, { "count", SMALL, 2, 40, NULL },
		{ "entry_size", SIZE, sizeof(struct buddy_batch_entry), 0, NULL },
		RESERVED, TAIL } },
	{ "trim", 30, run_trim, ANY, {
		HEAD(NODE, struct buddy_resize), BY_HANDLE, FLAGS(0), LENGTH_OF, TAIL } },
	{ "grow", 30, run_grow, ANY, {
		HEAD(NODE, struct buddy_resize), BY_HANDLE, FLAGS(0), LENGTH_OF, TAIL } },
	{ "raw", 10, run_raw, ANY, {
		ON(ANY), { "command", CHOICE, 0, LIST(commands) }, { "at", POINTER, 0, 0, NULL } } },
	{ "fresh", 6, run_fresh, ANY, { LENGTH_OF } },
	/* mappings */
	{ "mmap", 70, run_mmap, ANY, {
		ON(NODE), NEW(NEW_MAP), { "where", WHERE, 0, 0, NULL }, LENGTH_OF,
		{ "prot", CHOICE, PROT_READ | PROT_WRITE, LIST(protections) },
		{ "flags", CHOICE, MAP_SHARED, LIST(mappings) },
		{ "offset", MAP_OFFSET, 0, 0, NULL } } },
	{ "mmap_other", 40, run_mmap, ANY, {
		ON(SHARED), NEW(NEW_MAP), { "where", WHERE, 0, 0, NULL }, LENGTH_OF,
		{ "prot", CHOICE, PROT_READ | PROT_WRITE, LIST(protections) },
		{ "flags", CHOICE, MAP_SHARED, LIST(mappings) },
		{ "offset", BYTES, 0, 0, NULL } } },
	{ "mmap_dmabuf", 20, run_mmap, ANY, {
		ON(DMABUF), NEW(NEW_MAP), { "where", WHERE, 0, 0, NULL }, LENGTH_OF,
		{ "prot", CHOICE, PROT_READ | PROT_WRITE, LIST(protections) },
		{ "flags", CHOICE, MAP_SHARED, LIST(mappings) },
		{ "offset", BYTES, 0, 0, NULL } } },
	{ "munmap", 20, run_munmap, ANY, { RANGE_AT } },
	{ "mprotect", 14, run_mprotect, ANY, {
		RANGE_AT, { "prot", CHOICE, PROT_READ, LIST(protections) } } },
	{ "madvise", 24, run_madvise, ANY, {
		RANGE_AT, { "advice", CHOICE, MADV_DONTNEED, LIST(advices) } } },
	{ "mremap", 24, run_mremap, ANY, {
		RANGE_AT, NEW(NEW_MAP), { "more", RANGE_AGAIN, 4096, 0, NULL },
		{ "flags", CHOICE, MREMAP_MAYMOVE, LIST(moves) },
		{ "where", WHERE, 0, 0, NULL } } },
	{ "mlock", 6, run_mlock, ANY, { RANGE_AT, { "flags", SMALL, 0, 1, NULL } } },
	{ "munlock", 4, run_munlock, ANY, { RANGE_AT } },
	{ "msync", 4, run_msync, ANY, { RANGE_AT, { "flags", BITS, 4, 7, NULL } } },
	{ "mincore", 3, run_mincore, ANY, { RANGE_AT } },
	{ "remap", 8, run_remap, ANY, { RANGE_AT, { "offset", MAP_OFFSET, 0, 0, NULL } } },
	{ "touch", 60, run_touch, ANY, {
		RANGE_AT, { "stride", BYTES, 4096, 0, NULL },
		{ "write", SMALL, 0, 1, NULL } } },
	{ "peek", 10, run_peek, ANY, { RANGE_AT, { "data", POINTER, 0, 0, NULL } } },
	{ "poke", 10, run_poke, ANY, { RANGE_AT, { "data", POINTER, 0, 0, NULL } } },
	{ "vmsplice", 16, run_vmsplice, ANY, {
		ON(PIPE), RANGE_AT, { "flags", BITS, 2, 15, NULL } } },
	/* descriptors */
	{ "open", 14, run_open, NODE, {
		NEW(NEW_FD), { "flags", CHOICE, O_RDWR, LIST(opens) } } },
	{ "reopen", 4, run_reopen, NODE, {
		ON(ANY), NEW(NEW_FD), { "flags", CHOICE, O_RDWR, LIST(opens) } } },
	{ "dup", 6, run_dup, ANY, { ON(ANY), NEW(NEW_FD) } },
	{ "close", 14, run_close, ANY, { ON(ANY) } },
	{ "sync", 8, run_sync, ANY, { ON(DMABUF), { "flags", BITS, 0, SYNC_BITS, NULL } } },
	{ "fence", 3, run_fence, ANY, {
		ON(DMABUF), NEW(NEW_FD), { "flags", BITS, DMA_BUF_SYNC_READ, SYNC_BITS, NULL } } },
	{ "import", 2, run_import, ANY, {
		ON(DMABUF), { "fence", OLD_FD, 0, ANY, NULL },
		{ "flags", BITS, DMA_BUF_SYNC_READ, SYNC_BITS, NULL } } },
	{ "child", 1, run_child, ANY, {
		{ "does", SMALL, 0, 3, NULL }, { "lives", SMALL, 0, 20, NULL } } },
	{ "send", 6, run_send, ANY, { ON(ANY) } },
	{ "receive", 6, run_receive, ANY, { NEW(NEW_FD) } },
	{ "read", 6, run_read, ANY, { ON(ANY), DATA } },
	{ "write", 8, run_write, ANY, { ON(PIPE), DATA } },
	{ "pread", 3, run_pread, ANY, { ON(ANY), DATA, { "offset", BYTES, 0, 0, NULL } } },
	{ "pwrite", 3, run_pwrite, ANY, { ON(ANY), DATA, { "offset", BYTES, 0, 0, NULL } } },
	{ "lseek", 3, run_lseek, ANY, {
		ON(ANY), { "offset", BYTES, 0, 0, NULL }, { "whence", SMALL, 0, 4, NULL } } },
	{ "truncate", 3, run_truncate, ANY, { ON(ANY), LENGTH_OF } },
	{ "fallocate", 3, run_fallocate, ANY, {
		ON(ANY), { "mode", CHOICE, 0, LIST(falls) },
		{ "offset", BYTES, 0, 0, NULL }, LENGTH_OF } },
	{ "poll", 3, run_poll, ANY, { ON(ANY), { "events", BITS, 1, 0x7fff, NULL } } },
	{ "fsync", 2, run_fsync, ANY, { ON(ANY), { "data", SMALL, 0, 1, NULL } } },
	{ "fcntl", 3, run_fcntl, ANY, {
		ON(ANY), { "command", CHOICE, F_GETFL, LIST(fcntls) },
		{ "value", BITS, 0, 0xffff, NULL } } },
	{ "pipe", 4, run_pipe, PIPE, { NEW(NEW_FD) } },
	{ "splice", 6, run_splice, ANY, {
		ON(PIPE), { "to", OLD_FD, 0, PIPE, NULL }, LENGTH_OF } },
	{ "tee", 3, run_tee, ANY, { ON(PIPE), { "to", OLD_FD, 0, PIPE, NULL }, LENGTH_OF } },
	{ "sendfile", 2, run_sendfile, ANY, {
		ON(ANY), { "to", OLD_FD, 0, PIPE, NULL }, LENGTH_OF } },
	{ "limit", 2, run_limit, ANY, { { "files", CHOICE, 256, LIST(limits) } } },
};

const unsigned int nr_forms = sizeof(forms) / sizeof(forms[0]);

_Static_assert(sizeof(forms) / sizeof(forms[0]) <= MAX_FORMS, "state has no room");

int form_find(const char *name)
{
	for (unsigned int i = 0; i < nr_forms; i++)
		if (!strcmp(forms[i].name, name))
			return (int)i;
	return -1;
}
