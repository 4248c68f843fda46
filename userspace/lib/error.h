/* SPDX-License-Identifier: MIT */
/*
 * error.h - what failed last in each thread, and how it becomes a sentence.
 *
 * A function that fails records what it attempted, and the numbers of it: a few
 * stores, no formatting, no memory. buddy_error() makes the text when it is asked for.
 * Only then does it look at what may have been the cause: limits, the node, /proc.
 */
#ifndef BUDDY_MEM_ERROR_H
#define BUDDY_MEM_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buddy_dev;

/* What was attempted. error_text.c has a phrase for each. */
enum buddy_operation {
	OP_NONE,	/* in the table of texts: any */
	OP_BACKEND,
	OP_SIZE,
	OP_OPEN,	/* open() of the node */
	OP_IDENTIFY,	/* INFO of what was opened */
	OP_REGION,	/* the memory of a process backend */
	OP_INFO,
	OP_STATS,
	OP_EXTENTS,
	OP_ALLOC,
	OP_MAP,
	OP_TRIM,
	OP_GROW,
	OP_SHARE,
	OP_DMABUF,
	OP_FROM_FD,
	OP_FREE,
	OP_BATCH_FREE,
	OP_POOL_CONFIG,
	OP_POOL_CREATE,
	OP_POOL_ALLOC,
	OP_POOL_REALLOC,
	OP_POOL_FREE,
	OP_POOL_TRIM,
	OP_POOL_STATS,
	OP_END,
};

/* Of a block or a region: where it is. */
enum buddy_where { WHERE_DEVICE, WHERE_PROCESS, WHERE_FD };

/* All but the first two may be 0. */
struct buddy_failure {
	enum buddy_operation operation;
	int error;		/* a negative errno */
	enum buddy_where where;	/* set by buddy_fail() */
	bool own;		/* ENOMEM: malloc() or the like, not the region */
	bool mapped;		/* the block is mapped by this process */
	int fd;			/* FROM_FD */
	uint32_t flags;
	uint64_t length;	/* bytes that were asked for */
	uint64_t align;		/* likewise; POOL_CREATE: bytes of a chunk */
	uint64_t have;		/* bytes of the block, or the pool's limit; the ABI of IDENTIFY */
	/* ALLOC: what the region says with ENOMEM */
	uint64_t free, largest, returning;
};

/*
 * Records @failure as the calling thread's last one, of @dev (NULL: of a block fd, or
 * of what has no device). @text: the path, or the word that was wrong; NULL: @dev's
 * path. Return: @failure's error.
 */
int buddy_fail(const struct buddy_failure *failure, const struct buddy_dev *dev,
	       const char *text);
/* The same for a failure without numbers. */
int buddy_fail_at(enum buddy_operation operation, const struct buddy_dev *dev, int error);
/* The same where the library has no memory for its own data. Return: -ENOMEM. */
int buddy_fail_memory(enum buddy_operation operation, const struct buddy_dev *dev,
		      uint64_t length);

/* A failure and its text: what error_text.c and error_look.c look at. */
struct buddy_report {
	struct buddy_failure failure;
	char text[96];		/* a path, or a word; cut where it is longer */
};

/* error_text.c: both are templates, with words in braces that error.c replaces. */
const char *buddy_error_attempt(enum buddy_operation operation);
/* Return: NULL: there is no text but that of strerror(). */
const char *buddy_error_cause(const struct buddy_report *report);

/* error_look.c: the system, as it is now */
enum buddy_node { NODE_NONE, NODE_DEVICE, NODE_FILE, NODE_DIRECTORY, NODE_OTHER };

enum buddy_node buddy_look_node(const char *path);
/* Could @path be opened for reading and writing, were it a file? */
bool buddy_look_access(const char *path);
bool buddy_look_nodev(const char *path);
unsigned int buddy_look_mode(const char *path);
uint64_t buddy_look_length(const char *path);
/* Text of @size bytes, each, in @text; "" where it cannot be told. */
void buddy_look_number(const char *path, char *text, size_t size);	/* "10:123" */
void buddy_look_driver(const char *path, char *text, size_t size);
void buddy_look_module(const char *path, char *text, size_t size);	/* "10 123" */
void buddy_look_target(int fd, char *text, size_t size);
bool buddy_look_loaded(const char *path);
/* Of this process; UINT64_MAX: without a limit */
uint64_t buddy_look_limit(int resource);
uint64_t buddy_look_addresses(void);	/* bytes mapped */
uint64_t buddy_look_mappings(void);
uint64_t buddy_look_most_mappings(void);

#endif /* BUDDY_MEM_ERROR_H */
