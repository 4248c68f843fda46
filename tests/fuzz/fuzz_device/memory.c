// SPDX-License-Identifier: MIT
/*
 * memory.c - calls on mappings. Those that would change memory that is no mapping of
 * the program are skipped.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "fuzz.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

/* The arguments of most: a range of a mapping. */
enum { V_AT, V_LENGTH, V_REST };

static uint64_t whole_pages(uint64_t length)
{
	return (length + PAGE - 1) & ~(PAGE - 1);
}

static bool may_change(const uint64_t *v)
{
	return is_ours(v[V_AT] & ~(PAGE - 1), whole_pages(v[V_LENGTH] + v[V_AT] % PAGE));
}

static void *as_pointer(uint64_t address)
{
	return (void *)address;
}

/* A block fd maps nothing but its block. With one thread: else it may be another now. */
static void check_inside(const struct runner *r, int fd, uint64_t offset, uint64_t length)
{
	struct buddy_block_info b = { .size = sizeof(b) };

	if (r->child || r->program->other || ioctl(fd, BUDDY_IOC_BLOCK, &b))
		return;
	if (offset + length > b.out_length)
		complain("mapped %#llx + %#llx of a block of %#llx",
			 (unsigned long long)offset, (unsigned long long)length,
			 (unsigned long long)b.out_length);
}

long run_mmap(struct runner *r, const uint64_t *v, const struct call *c)
{
	uint64_t where = v[2], length = v[3];
	int flags = (int)v[5] & ~(MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_HUGETLB);
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	char *p;

	(void)c;
	if (!where)
		flags &= ~(MAP_FIXED | MAP_FIXED_NOREPLACE);
	else if (fixed && !is_ours(where & ~(PAGE - 1), whole_pages(length)))
		return SKIPPED;
	p = mmap(as_pointer(where), length, (int)v[4], flags, (int)v[0], (off_t)v[6]);
	if (p == MAP_FAILED)
		return -errno;
	check_inside(r, (int)v[0], v[6], whole_pages(length));
	remember_mapping((uint64_t)p, length);
	slots.maps[v[1]] = (struct slot_map){ (uint64_t)p, whole_pages(length) };
	return 0;
}

long run_munmap(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return may_change(v) ? result(munmap(as_pointer(v[V_AT]), v[V_LENGTH])) : SKIPPED;
}

long run_mprotect(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	if (!may_change(v))
		return SKIPPED;
	return result(mprotect(as_pointer(v[V_AT]), v[V_LENGTH], (int)v[V_REST]));
}

long run_madvise(struct runner *r, const uint64_t *v, const struct call *c)
{
	int advice = (int)v[V_REST];

	(void)r;
	(void)c;
	/* These take pages out of service for ever, and say so in the log. */
	if (!may_change(v) || advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE)
		return SKIPPED;
	return result(madvise(as_pointer(v[V_AT]), v[V_LENGTH], advice));
}

long run_mremap(struct runner *r, const uint64_t *v, const struct call *c)
{
	uint64_t more = v[V_REST + 1], where = v[V_REST + 3];
	int flags = (int)v[V_REST + 2];
	char *p;

	(void)r;
	(void)c;
	if (!may_change(v))
		return SKIPPED;
	if ((flags & MREMAP_FIXED) && !is_ours(where & ~(PAGE - 1), whole_pages(more)))
		flags &= ~MREMAP_FIXED;
	/* To grow in place it would need room that is ours. */
	if (more > v[V_LENGTH] && !is_ours(v[V_AT], whole_pages(more)))
		return SKIPPED;
	p = mremap(as_pointer(v[V_AT]), v[V_LENGTH], more, flags, as_pointer(where));
	if (p == MAP_FAILED)
		return -errno;
	remember_mapping((uint64_t)p, more);
	slots.maps[v[V_REST]] = (struct slot_map){ (uint64_t)p, whole_pages(more) };
	return 0;
}

long run_mlock(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	if (!may_change(v))
		return SKIPPED;
	return result(mlock2(as_pointer(v[V_AT]), v[V_LENGTH], (unsigned int)v[V_REST]));
}

long run_munlock(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return may_change(v) ? result(munlock(as_pointer(v[V_AT]), v[V_LENGTH])) : SKIPPED;
}

long run_msync(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	if (!may_change(v))
		return SKIPPED;
	return result(msync(as_pointer(v[V_AT]), v[V_LENGTH], (int)v[V_REST]));
}

long run_mincore(struct runner *r, const uint64_t *v, const struct call *c)
{
	static __thread unsigned char seen[64 * MIB / PAGE];

	(void)r;
	(void)c;
	if (!may_change(v) || v[V_LENGTH] > 64 * MIB)
		return SKIPPED;
	return result(mincore(as_pointer(v[V_AT]), v[V_LENGTH], seen));
}

/* The old call by which a mapping shows another part of its file. */
long run_remap(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	if (!may_change(v))
		return SKIPPED;
	return result(syscall(SYS_remap_file_pages, v[V_AT], v[V_LENGTH], 0,
			      v[V_REST] / PAGE, 0));
}

/* At most 64 pages, so that no program is long. */
long run_touch(struct runner *r, const uint64_t *v, const struct call *c)
{
	uint64_t stride = v[V_REST] ? v[V_REST] : 1, count = v[V_LENGTH] / stride;

	(void)r;
	(void)c;
	if (!is_ours(v[V_AT], v[V_LENGTH]))
		return SKIPPED;
	touch_pages(as_pointer(v[V_AT]), stride, count > 64 ? 64 : (unsigned int)count,
		    v[V_REST + 1]);
	return 0;
}

/* The memory of a process, this one, by way of the kernel: at most 64 KiB. */
static long transfer(struct runner *r, const uint64_t *v, bool write)
{
	uint64_t length = v[V_LENGTH] > 65536 ? 65536 : v[V_LENGTH];
	struct iovec far = { as_pointer(v[V_AT]), length };
	struct iovec near = { pointer(r, v[V_REST], length), length };

	if (!is_ours(v[V_AT], length))
		return SKIPPED;
	if (write)
		return result(process_vm_writev(getpid(), &near, 1, &far, 1, 0));
	return result(process_vm_readv(getpid(), &near, 1, &far, 1, 0));
}

long run_peek(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)c;
	return transfer(r, v, false);
}

long run_poke(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)c;
	return transfer(r, v, true);
}

/* Pages of a block into a pipe, which holds them. */
long run_vmsplice(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct iovec io = { as_pointer(v[1]), v[2] > MIB ? MIB : v[2] };

	(void)r;
	(void)c;
	if (!is_ours(v[1], io.iov_len))
		return SKIPPED;
	return result(vmsplice((int)v[0], &io, 1, (unsigned int)v[3] | SPLICE_F_NONBLOCK));
}
