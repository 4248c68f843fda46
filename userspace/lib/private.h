/* SPDX-License-Identifier: MIT */
/*
 * private.h - what the sources of libbuddymem share.
 *
 * A backend is one function that takes the commands of linux/buddy.h with their
 * structs, and a file descriptor to mmap() blocks from.
 */
#ifndef BUDDY_MEM_PRIVATE_H
#define BUDDY_MEM_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "buddy_mem.h"
#include "error.h"

/* Blocks of the process backend begin at 1 GiB of their file. */
_Static_assert(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64");

/*
 * Allocating and freeing are no cancellation points, as malloc() and free() are none;
 * close(), open(), fallocate() and more are, and a thread that ended there would keep
 * its locks. Around these: what _off() returned goes to _restore().
 */
static inline int buddy_cancel_off(void)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

static inline void buddy_cancel_restore(int state)
{
	pthread_setcancelstate(state, NULL);
}

struct buddy_backend_ops {
	const char *name;
	/* a command of linux/buddy.h; returns 0 or a negative errno */
	int (*call)(struct buddy_dev *dev, unsigned long command, void *arg);
	void (*close)(struct buddy_dev *dev);
	/* in a forked child, for pools: an open device of the child's own */
	int (*reopen)(struct buddy_dev *dev);
};

/* The head of each backend's own struct. */
struct buddy_dev {
	const struct buddy_backend_ops *ops;
	const char *path;	/* of the node; NULL: a process backend */
	int fd;
	uint64_t st_dev, st_ino;	/* of the file that fd was when opened */
};

/* Takes @fd, or a negative errno. Return: 0 or that errno. */
int buddy_dev_set_fd(struct buddy_dev *dev, int fd);
/*
 * Programs close descriptors that they do not know, and get the number for a file of
 * their own: is @dev's still the device? Before what would change that file.
 */
bool buddy_dev_is_open(const struct buddy_dev *dev);
/*
 * leave() lets the device go, at its end, or in a forked child with a copy of its
 * pools; renew() sees to it that there is one: it opens the child's own, and
 * finds out where others have closed the descriptor. Return: 0; -EBADF; others of
 * open().
 */
void buddy_dev_leave(struct buddy_dev *dev);
int buddy_dev_renew(struct buddy_dev *dev);

/* A block in the hands of a user: one of a device, or one that came as a block fd. */
struct buddy_block {
	struct buddy_dev *dev;	/* NULL where it came as a block fd */
	void *address;		/* NULL while not mapped */
	uint64_t length;
	uint64_t offset;
	uint64_t handle;
	int fd;			/* the block fd, without a device */
	int prot;		/* of its mapping */
};

/* Records that ALLOC answered @error, and what the region has. Return: @error. */
int buddy_block_refused(struct buddy_dev *dev, const struct buddy_alloc *request, int error);
/* Fills a new block from what ALLOC replied. */
void buddy_block_init(struct buddy_block *block, struct buddy_dev *dev,
		      const struct buddy_alloc *reply);
/*
 * Maps a block at this address, over what is there, and leaves it to the caller to
 * unmap it. Return: 0 or a negative errno.
 */
int buddy_block_map_at(const struct buddy_block *block, void *address);

int buddy_device_open(struct buddy_dev **dev, const char *path);
int buddy_process_open(struct buddy_dev **dev, uint64_t size);

#endif /* BUDDY_MEM_PRIVATE_H */
