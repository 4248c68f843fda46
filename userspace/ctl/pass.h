/* SPDX-License-Identifier: MIT */
/*
 * pass.h - a block's descriptor from one process to another, by a Unix socket.
 */
#ifndef PASS_H
#define PASS_H

#include <stdint.h>
#include <sys/types.h>

/* A listening socket, and the file that it was made as. */
struct pass_place {
	const char *path;
	int fd;			/* -1: none */
	dev_t dev;
	ino_t ino;
};

/* A block's descriptor, and how many bytes of the block mean something. */
struct pass_block {
	int fd;
	uint64_t contents;
};

/* Listens at @path, for the user alone (mode 0600). Return: 0 or a negative errno. */
int pass_listen(const char *path, struct pass_place *place);

/* Ends that and removes the file, unless another one is there by now. */
void pass_leave(struct pass_place *place);

/*
 * Sends @block to who connects next to @place. The other side's process goes to @pid.
 * Return: 0 or a negative errno; -EAGAIN where nobody was there after all.
 */
int pass_give(const struct pass_place *place, const struct pass_block *block, pid_t *pid);

/*
 * Connects to @path and waits for a block; @contents is 0 where the sender did not say.
 * Return: 0 or a negative errno.
 */
int pass_get(const char *path, struct pass_block *block);

#endif /* PASS_H */
