/* SPDX-License-Identifier: MIT */
/*
 * private.h - what the sources of libbuddymem share.
 *
 * A backend is one function that takes the commands of linux/buddy.h with their
 * structs, and a file descriptor to mmap() blocks from.
 */
#ifndef BUDDY_MEM_PRIVATE_H
#define BUDDY_MEM_PRIVATE_H

#include "buddy_mem.h"

struct buddy_backend_ops {
	const char *name;
	/* a command of linux/buddy.h; returns 0 or a negative errno */
	int (*call)(struct buddy_dev *dev, unsigned long command, void *arg);
	void (*close)(struct buddy_dev *dev);
};

/* The head of each backend's own struct. */
struct buddy_dev {
	const struct buddy_backend_ops *ops;
	int fd;
};

int buddy_device_open(struct buddy_dev **dev, const char *path);
int buddy_process_open(struct buddy_dev **dev, uint64_t size);

#endif /* BUDDY_MEM_PRIVATE_H */
