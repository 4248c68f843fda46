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
	bool direct;		/* by O_DIRECT */
};

/* Return: 0; -EINVAL where it is empty or no file or disk; or a negative errno. */
int load_open(const char *path, struct load *load);
void load_close(struct load *load);

/*
 * Reads all of it to @to, @room bytes of pages, with several requests at a time.
 * Return: 0 or a negative errno; -EIO where the file got shorter meanwhile.
 */
int load_read(const struct load *load, void *to, uint64_t room);

#endif /* LOAD_H */
