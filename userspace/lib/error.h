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
	OP_POOL_BLOCK,	/* the block that an object needs; see buddy_fail_in_pool() */
	OP_POOL_ALLOC,
	OP_POOL_REALLOC,
	OP_POOL_FREE,
	OP_POOL_TRIM,
	OP_POOL_STATS,
	OP_END,
};

/* Of a block or a region: where it is. */
enum buddy_where { WHERE_DEVICE, WHERE_PROCESS, WHERE_FD };

/* Each thread has one in its static block, which is scarce: no operation uses all of it. */
struct buddy_failure {
	uint8_t operation;	/* enum buddy_operation */
	uint8_t where;		/* enum buddy_where; this and the next two: by buddy_fail() */
	bool replaced;		/* the descriptor is no longer the device's */
	bool left;		/* it is closed, by this library: a forked child */
	bool own;		/* ENOMEM: malloc() or the like, not the region */
	bool mapped;		/* the block is mapped by this process */
	bool inside;		/* EPERM of a pool: fork() had interrupted this library */
	int error;		/* a negative errno */
	union {
		uint32_t flags;
		int fd;		/* FROM_FD */
	};
	uint64_t length;	/* bytes that were asked for */
	union {
		uint64_t align;
		uint64_t chunk;		/* POOL_CREATE */
		uint64_t object;	/* POOL_BLOCK */
		uint64_t need;		/* POOL_ALLOC: bytes of what it wanted from the region */
	};
	union {
		uint64_t have;	/* bytes of the block, or the pool's limit; the ABI of IDENTIFY */
		uint64_t free;	/* ALLOC, ENOMEM: this and the next two, of the region */
	};
	union {
		uint64_t largest;
		uint64_t region;	/* POOL_ALLOC: bytes of it */
	};
	union {
		uint64_t returning;
		uint64_t taken;		/* POOL_ALLOC: bytes that the pool has */
	};
};

/*
 * Records @failure as the calling thread's last one, of @dev (NULL: of a block fd, or
 * of what has no device). @text: the path, or the word that was wrong, which is copied;
 * NULL: @dev's path. Return: @failure's error.
 */
int buddy_fail(const struct buddy_failure *failure, const struct buddy_dev *dev,
	       const char *text);
/* The same for a failure without numbers. */
int buddy_fail_at(enum buddy_operation operation, const struct buddy_dev *dev, int error);
/* The same where the library has no memory for its own data. Return: -errno. */
int buddy_fail_memory(enum buddy_operation operation, const struct buddy_dev *dev,
		      uint64_t length);
/* The calling thread's last failure was for the sake of an object of a pool. */
void buddy_fail_in_pool(uint64_t length);

/* A failure and its text: what error_text.c and error_look.c look at. */
struct buddy_report {
	struct buddy_failure failure;
	const char *text;	/* a path, or a word */
};
_Static_assert(sizeof(struct buddy_report) <= 64, "it is in the static block of each thread");

/* error_text.c: both are templates, with words in braces that error.c replaces. */
const char *buddy_error_attempt(enum buddy_operation operation);
/* Return: NULL: there is no text but that of strerror(). */
const char *buddy_error_cause(const struct buddy_report *report);
/* error_open.c: the same of OP_OPEN and OP_IDENTIFY */
const char *buddy_error_open(const struct buddy_report *report);

/*
 * A row of a table of causes: of an operation and an errno, either of which may be any. It
 * has a text, or a function that chooses one by the numbers of the failure and by what it
 * sees of the system, and that leaves the failure to later rows where it returns NULL.
 */
struct buddy_cause {
	enum buddy_operation operation;
	int error;
	const char *text;
	const char *(*why)(const struct buddy_report *report);
};
#define ANY	0

const char *buddy_error_find(const struct buddy_cause *causes, size_t count,
			     const struct buddy_report *report);

/* error_look.c: the system, as it is now */
enum buddy_node { NODE_NONE, NODE_DEVICE, NODE_FILE, NODE_DIRECTORY, NODE_OTHER };

enum buddy_node buddy_look_node(const char *path);
/* Could @path be opened for reading and writing, were it a file? */
bool buddy_look_access(const char *path);
bool buddy_look_nodev(const char *path);
unsigned int buddy_look_mode(const char *path);
/* Whose bits of the mode are those of this process? */
enum buddy_rank { RANK_OWNER, RANK_GROUP, RANK_OTHERS };
enum buddy_rank buddy_look_rank(const char *path);
uint64_t buddy_look_length(const char *path);
/* Text of @size bytes, each, in @text; "" where it cannot be told. */
void buddy_look_number(const char *path, char *text, size_t size);	/* "10:123" */
/* Return: false: none has the number of the node. */
bool buddy_look_driver(const char *path, char *text, size_t size);
/* Return: false: the module has no region of that name. */
bool buddy_look_region(const char *path, char *text, size_t size);	/* "10 123" */
/* Return: false: the module is not loaded. */
bool buddy_look_regions(char *text, size_t size);	/* "/dev/buddy, /dev/buddy1" */
bool buddy_look_is_region(const char *name);
void buddy_look_target(int fd, char *text, size_t size);
bool buddy_look_is_path(int fd);	/* opened with O_PATH */
/* Of this process; UINT64_MAX: without a limit */
uint64_t buddy_look_limit(int resource);
uint64_t buddy_look_addresses(void);	/* bytes mapped */
uint64_t buddy_look_mappings(void);
uint64_t buddy_look_most_mappings(void);

#endif /* BUDDY_MEM_ERROR_H */
