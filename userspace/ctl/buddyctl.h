/* SPDX-License-Identifier: MIT */
/*
 * buddyctl.h - what the commands of buddyctl share.
 *
 * A command is a function of its options; the table is in buddyctl.c.
 */
#ifndef BUDDYCTL_H
#define BUDDYCTL_H

#include <stdbool.h>
#include <stdint.h>

#include <buddy_mem.h>

struct ctl {
	struct buddy_dev *dev;
	const char *name;	/* of the device, for people */
	bool json;
	int rows, columns;	/* of the map; 0: sensible */
};

/* Each returns 0 or a negative errno, having printed to standard output. */
int ctl_info(const struct ctl *ctl);
int ctl_stats(const struct ctl *ctl);
int ctl_map(const struct ctl *ctl);

/* "1.5 MiB"; the text lives until the eighth next call. */
const char *ctl_bytes(uint64_t bytes);

#endif /* BUDDYCTL_H */
