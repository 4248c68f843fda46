/* SPDX-License-Identifier: MIT */
/*
 * buddyctl.h - what the commands of buddyctl share.
 *
 * A command is a function of its options and operands; the table is in buddyctl.c.
 */
#ifndef BUDDYCTL_H
#define BUDDYCTL_H

#include <stdbool.h>
#include <stdint.h>

#include <buddy_mem.h>

enum ctl_format { CTL_TEXT, CTL_JSON, CTL_PROMETHEUS, CTL_SVG };

struct ctl {
	struct buddy_dev *dev;	/* NULL for commands that need none */
	const char *name;	/* of the device, for people */
	const char *command;
	enum ctl_format format;
	int rows, columns;	/* of the map; 0: sensible */
	bool color;
	double seconds;		/* between two pictures of top; 0: sensible */
	uint64_t align;		/* of the block */
	uint32_t flags;		/* BUDDY_ALLOC_*, of the block */
	uint32_t share_flags;	/* BUDDY_SHARE_* */
	const char *socket;	/* where the block is given to others, or NULL */
	const char *output;	/* of recv, or NULL */
	bool chosen;		/* the device, by the user */
	const char *plan;	/* of doctor: the size of regions to come, or NULL */
	const char *root;	/* of doctor: where another machine's files are; for tests */
	char **operands;	/* as many as the command has */
	char **argv;		/* COMMAND; ends with NULL, which is all where none is run */
};

/*
 * Each returns 0, a negative errno of a call of the library that failed last, or, having
 * said why, one of these plus an exit status, or CTL_MEMORY.
 */
#define CTL_SAID	0x1000
#define CTL_MEMORY	1	/* malloc() failed in buddyctl itself */

int ctl_info(const struct ctl *ctl);
int ctl_stats(const struct ctl *ctl);
int ctl_map(const struct ctl *ctl);
int ctl_top(const struct ctl *ctl);
int ctl_alloc(const struct ctl *ctl);
int ctl_hold(const struct ctl *ctl);
int ctl_share(const struct ctl *ctl);
int ctl_load(const struct ctl *ctl);
int ctl_recv(const struct ctl *ctl);
int ctl_doctor(const struct ctl *ctl);
int ctl_bench(const struct ctl *ctl);

/* "1.5 MiB"; the text lives until the eighth next call. */
const char *ctl_bytes(uint64_t bytes);

/*
 * "64M", "4096", "1.5G", "25%" of @base (0: no percentages) as bytes, by the grammar
 * of module/core/buddy_size.h. Return: false if it is no length of 1 byte or more.
 */
bool ctl_parse_bytes(const char *text, uint64_t base, uint64_t *bytes);

/* Bytes of the UTF-8 character that @text begins with; 0 where that is none. */
int ctl_utf8(const char *text);

/* A string as JSON has it, with its quotation marks. */
void ctl_print_string(const char *text);

/* Says on standard error what went wrong with what. Return: CTL_SAID + 1. */
int ctl_failed(const char *what, int error);

/* The same for a call of the library: what buddy_error() says. */
int ctl_refused(void);

/* Seconds of a clock that only goes forward. */
double ctl_now(void);

#endif /* BUDDYCTL_H */
