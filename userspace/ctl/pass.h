/* SPDX-License-Identifier: MIT */
/*
 * pass.h - a block's descriptor from one process to another, by a Unix socket.
 */
#ifndef PASS_H
#define PASS_H

#include <sys/types.h>

/*
 * A listening socket at @path, for the user alone (mode 0600).
 * Return: a descriptor or a negative errno.
 */
int pass_listen(const char *path);

/*
 * Sends @fd to who connects next to @listener. The other side's process goes to @pid.
 * Return: 0 or a negative errno; -EAGAIN where nobody was there after all.
 */
int pass_give(int listener, int fd, pid_t *pid);

/* Connects to @path and waits for a descriptor. Return: it, or a negative errno. */
int pass_get(const char *path);

#endif /* PASS_H */
