/* SPDX-License-Identifier: MIT */
/*
 * io.h - a row of the I/O matrix: one way of the kernel to reach user memory,
 * tried on a buffer that is a block.
 *
 * A row runs in a process of its own, on a fresh buffer that nobody has touched,
 * and returns an outcome: 0 (it worked, and the data is right), a negative errno
 * (the call under test refused the buffer) or WRONG (anything else, with a line
 * that says where).
 */
#ifndef IO_H
#define IO_H

#include <stdint.h>
#include <stdio.h>

#include "../harness.h"

#define WRONG		255	/* outcomes are exit statuses: below 256 */
#define SMALL_PAGES	254	/* works, but not by 2 MiB entries */

struct buffer {
	const char *name;
	uint64_t length;
	bool plain;		/* by mmap() at offset 0, else by ALLOC */
	bool pieces;		/* by SCATTER, not contiguous */
	int fd;
	uint64_t handle;	/* of ALLOC */
	unsigned char *p;
};

struct row {
	const char *name;
	int (*run)(const struct buffer *b);
	int on_6_1, on_later;	/* the outcome, where it is not 0 */
	const char *check;	/* how it is known to have worked */
};

/* The call under test: the row ends with its errno where it is refused. */
#define TRY(call)							\
	({								\
		long long r_ = (long long)(call);			\
									\
		if (r_ == -1)						\
			return -errno;					\
		r_;							\
	})

/* What has to hold for the row to have a meaning, and the data to be right. */
#define MUST(cond)							\
	do {								\
		if (!(cond)) {						\
			printf("# %s:%d: not so: %s (errno %d)\n",	\
			       __FILE__, __LINE__, #cond, errno);	\
			return WRONG;					\
		}							\
	} while (0)

/* The row's own result of a part of it, passed on. */
#define PART(call)							\
	do {								\
		int part_ = (call);					\
									\
		if (part_)						\
			return part_;					\
	} while (0)

/* No two bytes of 8 agree for two seeds or two places. */
static inline void pattern_fill(void *p, size_t length, uint64_t seed)
{
	uint64_t *word = p;

	for (size_t i = 0; i < length / 8; i++)
		word[i] = seed * 0x9e3779b97f4a7c15 ^ i * 0x0101010101010101;
}

static inline bool pattern_is(const void *p, size_t length, uint64_t seed)
{
	const uint64_t *word = p;

	for (size_t i = 0; i < length / 8; i++)
		if (word[i] != (seed * 0x9e3779b97f4a7c15 ^ i * 0x0101010101010101))
			return false;
	return true;
}

/* Page-aligned memory of the usual kind, to compare with. */
static inline void *plain_memory(size_t length)
{
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The disk to write to. */
extern const char *io_disk;

#define ROW(name) int name(const struct buffer *b)

ROW(map_huge);
ROW(map_msync);
ROW(disk_write);
ROW(disk_read);
ROW(disk_vectored);
ROW(disk_aio);
ROW(uring_plain);
ROW(uring_registered);
ROW(uring_send_zc);
ROW(pipe_file);
ROW(pipe_vmsplice);
ROW(pipe_onward);
ROW(process_readv);
ROW(process_writev);
ROW(process_ptrace);
ROW(process_mem);
ROW(process_dd);
ROW(pin_longterm);
ROW(futex_shared);
ROW(futex_private);
ROW(socket_unix);
ROW(socket_zerocopy);
ROW(socket_xdp);

#endif /* IO_H */
