/* SPDX-License-Identifier: MIT */
/*
 * share_calls.h - what holds for block fds and dma-bufs alike: the two commands
 * have one struct and fail in the same way.
 */
#ifndef SHARE_CALLS_H
#define SHARE_CALLS_H

#include <sys/resource.h>

#include "ktest.h"

static inline int map_errno(int file, size_t length, int prot, int flags, off_t offset)
{
	void *p = mmap(NULL, length, prot, flags, file, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, length);
	return 0;
}

static inline void expect_no_descriptor_left(unsigned long command)
{
	struct buddy_alloc a;
	int status;
	pid_t pid;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	pid = fork();
	if (!pid) {
		struct rlimit few;

		getrlimit(RLIMIT_NOFILE, &few);
		few.rlim_cur = 0;
		setrlimit(RLIMIT_NOFILE, &few);
		_exit(share_block(fd, command, a.out_handle, 0) == -EMFILE ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_eq(get_stats(fd).out_used, PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	/* the failed call left no reference */
	expect(wait_free(fd, region, 5));
}

/* The reply cannot be written: no descriptor, no reference. */
static inline void expect_reply_fault(unsigned long command)
{
	struct buddy_share *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct buddy_alloc a;
	int before = dup(fd), after;

	close(before);
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	*s = (struct buddy_share){ .size = sizeof(*s), .handle = a.out_handle };
	mprotect(s, PAGE, PROT_READ);
	expect_eq(call(fd, command, s), -EFAULT);
	after = dup(fd);
	expect_eq(after, before);
	close(after);
	munmap(s, PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

#endif /* SHARE_CALLS_H */
