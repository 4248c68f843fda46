/* SPDX-License-Identifier: MIT */
/*
 * harness.h - what the programs against /dev/buddy share: the raw calls, so
 * that each test can get one thing wrong, and a look at the region.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/buddy.h>

#include "placement.h"

#ifndef expect	/* not by the harness of kselftest: ktest.h */
#include "tap.h"
#endif

#ifndef PAGE
#define PAGE	4096ul
#endif
#define MIB	(1ul << 20)
#define FILLED	0x5a	/* by take_filled() */

static inline int device_open(void)
{
	int fd = open("/dev/buddy", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		printf("Bail out! /dev/buddy: %s\n", strerror(errno));
		exit(1);
	}
	return fd;
}

/* 0 or a negative errno. */
static inline int call(int fd, unsigned long command, void *arg)
{
	return ioctl(fd, command, arg) ? -errno : 0;
}

static inline int alloc_block(int fd, uint64_t length, struct buddy_alloc *a)
{
	*a = (struct buddy_alloc){ .size = sizeof(*a), .length = length };
	return call(fd, BUDDY_IOC_ALLOC, a);
}

/* What ALLOC has replied is where the interface promises it; not of scattered blocks. */
static inline bool is_placed(const struct buddy_alloc *a)
{
	return is_well_placed(a->out_offset, a->out_length, a->align,
			      a->flags & BUDDY_ALLOC_POW2);
}

static inline int free_block(int fd, uint64_t handle)
{
	struct buddy_free f = { .size = sizeof(f), .handle = handle };

	return call(fd, BUDDY_IOC_FREE, &f);
}

/* @flags: BUDDY_ALLOC_* */
static inline int alloc_flagged(int fd, uint64_t length, uint32_t flags,
				struct buddy_alloc *a)
{
	*a = (struct buddy_alloc){ .size = sizeof(*a), .flags = flags, .length = length };
	return call(fd, BUDDY_IOC_ALLOC, a);
}

static inline int scatter_block(int fd, uint64_t length, struct buddy_alloc *a)
{
	return alloc_flagged(fd, length, BUDDY_ALLOC_SCATTER, a);
}

static inline int alone_block(int fd, uint64_t length, struct buddy_alloc *a)
{
	return alloc_flagged(fd, length, BUDDY_ALLOC_ALONE, a);
}

/* @command is BUDDY_IOC_TRIM or BUDDY_IOC_GROW. */
static inline int resize(int fd, unsigned long command, uint64_t handle,
			 uint64_t length)
{
	struct buddy_resize r = {
		.size = sizeof(r),
		.handle = handle,
		.length = length,
	};

	return call(fd, command, &r);
}

/* A descriptor or a negative errno; @command is BUDDY_IOC_SHARE or _DMABUF. */
static inline int share_block(int fd, unsigned long command, uint64_t handle,
			      uint32_t flags)
{
	struct buddy_share s = {
		.size = sizeof(s),
		.flags = flags,
		.handle = handle,
		.out_fd = -1,
	};

	return call(fd, command, &s) ?: s.out_fd;
}

static inline void *map_block(int fd, const struct buddy_alloc *a)
{
	return mmap(NULL, a->out_length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    (off_t)a->out_offset);
}

/* As map_block(), @skew bytes beyond a multiple of 2 MiB. */
static inline void *map_skewed(int fd, const struct buddy_alloc *a, size_t skew)
{
	size_t room = a->out_length + 4 * MIB;
	char *p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)p + 2 * MIB) & ~(2 * MIB - 1)) + skew;
	void *mapped = mmap(at, a->out_length, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, fd, (off_t)a->out_offset);

	munmap(p, (size_t)(at - p));
	munmap(at + a->out_length, room - (size_t)(at - p) - a->out_length);
	return mapped;
}

static inline void fill(void *p, int value, size_t length)
{
	memset(p, value, length);
}

static inline bool is_zero(const void *p, size_t length)
{
	const unsigned char *c = p;

	return !length || (!c[0] && !memcmp(c, c + 1, length - 1));
}

/* Can whole units be huge there? Of a 32-bit program no kernel aligns a mapping for that. */
static inline bool fits_huge(const void *p)
{
	return sizeof(long) > 4 || !((uintptr_t)p % (2ul << 20));
}

/* The first word of each page has its place, and whose it is. */
static inline void mark_pages(char *p, uint64_t length, uint64_t mark)
{
	for (uint64_t at = 0; at < length; at += PAGE)
		*(uint64_t *)(p + at) = mark + at;
}

static inline bool are_marked(const char *p, uint64_t length, uint64_t mark)
{
	for (uint64_t at = 0; at < length; at += PAGE)
		if (*(const uint64_t *)(p + at) != mark + at)
			return false;
	return true;
}

/* A figure in kB of the mapping at @p, from smaps. */
static inline long smaps(const void *p, const char *name)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[512];
	bool here = false;
	long value = -1;

	while (fgets(line, sizeof(line), file)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start == (uintptr_t)p;
		else if (here && !strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %ld", &value);
	}
	fclose(file);
	return value;
}

/* The entry of /proc/self/pagemap for @p, a page that is mapped. */
static inline uint64_t pagemap(const void *p)
{
	int file = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	expect_eq(pread(file, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)), 8);
	close(file);
	return entry;
}

/* Where the page at @p lies in physical memory: its frame number. */
static inline uint64_t frame(const void *p)
{
	return pagemap(p) & ((1ull << 55) - 1);
}

static inline bool is_huge(int fd)
{
	struct buddy_info info = { .size = sizeof(info) };

	expect_eq(call(fd, BUDDY_IOC_INFO, &info), 0);
	return info.out_features & BUDDY_FEATURE_HUGE;
}

static inline struct buddy_stats get_stats(int fd)
{
	struct buddy_stats s = { .size = sizeof(s) };

	expect_eq(call(fd, BUDDY_IOC_STATS, &s), 0);
	expect_eq(s.out_free + s.out_used + s.out_private + s.out_returning +
		  s.out_quarantined + s.out_reserved, s.out_region);
	return s;
}

/* The first @count extents of the region. Return: how many there are of these. */
static inline uint32_t read_extents(int fd, struct buddy_extent_entry *entries,
				    uint32_t count)
{
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)entries,
		.count = count,
	};

	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	return x.out_count;
}

/* 0 or a negative errno. */
static inline int try_send_fd(int socket, int what)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &what, sizeof(int));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -errno;
}

static inline void send_fd(int socket, int what)
{
	expect_eq(try_send_fd(socket, what), 0);
}

static inline int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	int what = -1;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1) {
		c = CMSG_FIRSTHDR(&message);
		if (c)
			memcpy(&what, CMSG_DATA(c), sizeof(int));
	}
	return what;
}

/* A block, mapped at a multiple of 2 MiB and filled. */
static inline char *take_filled(int fd, uint64_t length, struct buddy_alloc *a)
{
	int err = alloc_block(fd, length, a);
	char *p = err ? MAP_FAILED : map_skewed(fd, a, 0);

	if (p == MAP_FAILED) {
		printf("Bail out! no block of %llu bytes (%d)\n",
		       (unsigned long long)length, err);
		exit(1);
	}
	fill(p, FILLED, length);
	return p;
}

static inline bool intact(const char *p, size_t length)
{
	return p[0] == FILLED && !memcmp(p, p + 1, length - 1);
}

static inline void give_back(int fd, char *p, const struct buddy_alloc *a)
{
	munmap(p, a->out_length);
	expect_eq(free_block(fd, a->out_handle), 0);
}

/* 0 or a negative errno, of a call that returns -1. */
static inline int result(long returned)
{
	return returned == -1 ? -errno : 0;
}

static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * STATS, when all that was released is free, but for @quarantined bytes that are pinned.
 * Waits for that: a poll is at most 1 s away, the rest is for a slow machine.
 */
static inline struct buddy_stats settled_stats(int fd, uint64_t quarantined)
{
	struct buddy_stats s = get_stats(fd);
	double end = now() + 20;

	while ((s.out_returning || s.out_quarantined != quarantined) && now() < end) {
		usleep(2000);
		s = get_stats(fd);
	}
	expect_eq(s.out_returning, 0);
	expect_eq(s.out_quarantined, quarantined);
	return s;
}

/* Waits until the region has @bytes free, at most @seconds. */
static inline bool wait_free(int fd, uint64_t bytes, double seconds)
{
	double end = now() + seconds;

	while (get_stats(fd).out_free != bytes) {
		if (now() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/* What a contiguous block has of the unit of 2 MiB that holds its byte @at. */
static inline struct buddy_alloc part_with(const struct buddy_alloc *a, uint64_t at)
{
	uint64_t unit = 2ull << 20, start = (a->out_offset + at) / unit * unit;
	uint64_t end = start + unit;
	struct buddy_alloc part = *a;

	if (start < a->out_offset)
		start = a->out_offset;
	if (end > a->out_offset + a->out_length)
		end = a->out_offset + a->out_length;
	part.out_offset = start;
	part.out_length = end - start;
	return part;
}

/* At the end of each test the region is empty and its counters balance. */
static inline void expect_empty(void)
{
	int fd = device_open();
	struct buddy_stats s = get_stats(fd);

	expect(wait_free(fd, s.out_region, 20));
	s = get_stats(fd);
	expect_eq(s.out_allocs, s.out_frees);
	expect_eq(s.out_blocks, 0);
	expect_eq(s.out_private, 0);
	expect_eq(s.out_largest, s.out_region);
	close(fd);
}

#endif /* HARNESS_H */
