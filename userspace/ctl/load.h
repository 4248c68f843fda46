/* SPDX-License-Identifier: MIT */
/*
 * load.h - a file into memory, past the page cache, with a sign of progress.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct load {
	const char *path;
	int fd;
	uint64_t length;	/* of the file, in bytes */
	_Atomic bool direct;	/* by O_DIRECT */
	double seconds;		/* that load_read() took */
};

/* Return: 0, or, having said why, CTL_SAID and an exit status. */
int load_open(const char *path, struct load *load);
void load_close(struct load *load);

/*
 * Reads all of it to @to, @room bytes of pages, with several requests at a time, until
 * @stop can be read from.
 * Return: 0 or a negative errno; -EIO where the file got shorter meanwhile, -EINTR where
 * it was stopped.
 */
int load_read(struct load *load, void *to, uint64_t room, int stop);

#endif /* LOAD_H */
